"""Frames as the networks have them, as videos, and what is done with videos at the end."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from mmdisco.media.clip import Video
from mmdisco.shapes import Latent


class Frames(ABC):
    """What becomes of decoded videos."""

    @abstractmethod
    def shown(self, videos: Sequence[Video]) -> list[Video]:
        """The videos of a batch as a clip has them."""


@dataclass(frozen=True)
class AsTheyAre(Frames):
    """Nothing."""

    def shown(self, videos: Sequence[Video]) -> list[Video]:
        """The same videos."""
        return list(videos)


def to_videos(x_0: Latent, fps: Fraction) -> list[Video]:
    """Frames (b, 3, f, h, w) in [−1, 1] as videos."""
    frames = ((x_0 + 1) / 2).clamp(0, 1).movedim(1, -1).to("cpu").float().numpy()
    return [Video(np.ascontiguousarray(one), fps) for one in frames]

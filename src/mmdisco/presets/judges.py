"""Where a preset's discriminator comes from."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mmdisco.adapters.parts import Part
from mmdisco.discriminator.base import Discriminator
from mmdisco.presets.base import Component
from mmdisco.presets.options import Options
from mmdisco.released.clamp import ClampedLogit
from mmdisco.released.config import ReleasedConfig
from mmdisco.released.fusion import MeanFusionConfig

SOURCE: Final = "AkioHayakawa/MMDisCo"


class Judge(ABC):
    """A discriminator to be loaded."""

    @property
    @abstractmethod
    def component(self) -> Component:
        """Its checkpoint."""

    @property
    @abstractmethod
    def apart(self) -> bool:
        """Whether it judges either side by itself, so that none follows the other."""

    @abstractmethod
    def load(self, options: Options) -> Discriminator:
        """On the CPU, in single precision.

        Raises:
            UserError: Its file is missing or damaged.
        """


@dataclass(frozen=True)
class Released(Judge):
    """One that was published with the method; it reads one noise level for both sides.

    Attributes:
        stem: Of the published file.
        config: Its shape.
        gigabytes: Its size.
    """

    stem: str
    config: ReleasedConfig
    gigabytes: float

    @property
    def component(self) -> Component:
        """The published file, or the folder that it was converted to."""
        file = f"{self.stem}.pt"
        converted = (
            f"{file}.converted/discriminator.safetensors",
            f"{file}.converted/config.json",
        )
        return Component(
            role="discriminator",
            source=SOURCE,
            parts=(Part("", (), ((file,), converted)),),
            gigabytes=self.gigabytes,
            licence="see its page",
            folder="mmdisco",
        )

    @property
    def apart(self) -> bool:
        """True of means over time: the logit is a sum of either side's."""
        return isinstance(self.config.fusion, MeanFusionConfig)

    def load(self, options: Options) -> Discriminator:
        """Converted at the first use."""
        # its own module, for whoever only lists presets
        from mmdisco.released.checkpoint import load_checkpoint

        return load_checkpoint(self._file(options), self.config)

    def _file(self, options: Options) -> Path:
        return self.component.find(options).folder / f"{self.stem}.pt"


@dataclass(frozen=True)
class Clamped(Judge):
    """Another one with the release's bound on its logit."""

    judge: Judge

    @property
    def component(self) -> Component:
        """That of the other."""
        return self.judge.component

    @property
    def apart(self) -> bool:
        """As the other."""
        return self.judge.apart

    def load(self, options: Options) -> Discriminator:
        """Bounded."""
        return ClampedLogit(self.judge.load(options))


def told_of_one_side(judge: Judge) -> str:
    """What guidance by a released discriminator comes to where one side is given, in a line."""
    if judge.apart:
        return (
            "the released discriminator judges sound and video apart: it mends what is made, and "
            "does not lead it towards what is given"
        )
    return (
        "the released discriminator knows one noise level for both sides: it is shown the given "
        "one noised along, which is guidance, but not the exact one"
    )

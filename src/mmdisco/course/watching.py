"""Observers of a training: its pace, its samples, and TensorBoard."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmdisco.av import AV
from mmdisco.discriminator.base import Discriminator
from mmdisco.discriminator.wrappers import Indifferent
from mmdisco.guidance import ConstantScale
from mmdisco.media.writing import write_clip
from mmdisco.models import JointModel
from mmdisco.pair import Pair, Sampling
from mmdisco.pipeline import Generation, Jointly, generate
from mmdisco.training.observer import Observer


class Pace(Observer):
    """Pairs a second, wherever the log has a line.

    Args:
        batch_size: Real pairs a step.
        every: Steps a line.
    """

    def __init__(self, batch_size: int, every: int) -> None:
        self._batch_size = batch_size
        self._every = every
        self._steps = 0
        self._since = time.monotonic()

    def look(self, step: int, network: Discriminator) -> Mapping[str, Any]:
        """Since the last line."""
        self._steps += 1
        if step % self._every:
            return {}
        now = time.monotonic()
        pace = self._steps * self._batch_size / max(now - self._since, 1e-9)
        self._steps, self._since = 0, now
        return {"samples_per_second": round(pace, 3)}

    def note(self, line: Mapping[str, Any]) -> None:
        """Nothing to do."""


@dataclass(frozen=True)
class Auditions(Observer):
    """Clips of held-out captions, made with the discriminator as it is; always the same noise.

    The first time the bases make them alone too, for comparison.

    Attributes:
        pair: Whose bases.
        model: Its bases.
        sampling: How; joint scales are 1.
        captions: One a clip.
        folder: Gets ``bases-0.mp4`` and ``step-00002500-0.mp4``.
        every: Steps between them.
    """

    pair: Pair
    model: JointModel
    sampling: Sampling
    captions: Sequence[str]
    folder: Path
    every: int

    def look(self, step: int, network: Discriminator) -> Mapping[str, Any]:
        """The names of new clips."""
        if step % self.every:
            return {}
        names: list[str] = []
        # the first time also where a stopped run made them: the log is the same
        if step == self.every or not self._path("bases", len(self.captions) - 1).exists():
            names += self._make("bases", Indifferent(), 0.0)
        return {"clips": names + self._make(f"step-{step:08d}", network, 1.0)}

    def note(self, line: Mapping[str, Any]) -> None:
        """Nothing to do."""

    def _make(self, stem: str, network: Discriminator, scale: float) -> list[str]:
        both = AV(ConstantScale(scale), ConstantScale(scale))
        generation = Generation(
            model=self.model,
            discriminator=network,
            settings=replace(self.sampling.settings, joint_scale=both),
            task=Jointly(),
            seconds=float(self.pair.form.seconds),
            method=self.pair.method,
        )
        clips = generate(generation, self.captions, range(len(self.captions)))
        paths = [self._path(stem, index) for index in range(len(clips))]
        for path, clip in zip(paths, clips, strict=True):
            write_clip(path, clip)
        return [path.name for path in paths]

    def _path(self, stem: str, index: int) -> Path:
        return self.folder / f"{stem}-{index}.mp4"


class Board(Observer):
    """TensorBoard: every number of every line of the log.

    Args:
        folder: Of the event files.

    Raises:
        ImportError: tensorboardX is not installed.
    """

    def __init__(self, folder: Path) -> None:
        from tensorboardX import SummaryWriter

        self._open = SummaryWriter
        self._folder = folder
        self._writer: SummaryWriter | None = None

    def look(self, step: int, network: Discriminator) -> Mapping[str, Any]:
        """Nothing to add."""
        return {}

    def note(self, line: Mapping[str, Any]) -> None:
        """Write the numbers; what an earlier run wrote from this step on is dropped."""
        step = int(line["step"])
        if self._writer is None:
            self._writer = self._open(str(self._folder), purge_step=step)
        for name, value in numbers(line):
            self._writer.add_scalar(name, value, step)
        self._writer.flush()


def numbers(line: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Every number of a line but the step, named by its way through sections and lists."""
    for name, value in line.items():
        if isinstance(value, Mapping):
            yield from numbers(value, f"{prefix}{name}/")
        elif isinstance(value, list):
            yield from numbers({str(i): one for i, one in enumerate(value)}, f"{prefix}{name}/")
        elif isinstance(value, int | float) and name != "step":
            yield f"{prefix}{name}", float(value)

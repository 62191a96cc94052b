"""Callbacks of a training: throughput, progress, sample clips, TensorBoard, and validation.

Validation classifies held-out pairs, level by level. Real pairs are compared with fake pairs, and
with real pairs whose sounds are shuffled. Shuffled pairs hold the same sounds and videos, so only a
network that compares the two modalities can classify them.

``build_callbacks`` makes the callbacks that a training configuration asks for.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmdisco.core.av import AV
from mmdisco.core.coupling import LevelCoupling
from mmdisco.core.denoiser import JointModel
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.guidance import ConstantScale
from mmdisco.data.pairing import evenly_spaced, select_pairs
from mmdisco.discriminators.wrappers import ZeroLogit
from mmdisco.generation.pipeline import GenerationRun, JointGeneration, generate
from mmdisco.generation.system import JointSystem, SamplingDefaults
from mmdisco.media.write import write_clip
from mmdisco.training.config import TrainingConfig
from mmdisco.training.datasets import TrainingData
from mmdisco.training.diagnostics.measure import RealVsOther, comparisons, logits_by_level
from mmdisco.training.diagnostics.scores import accuracy, ranking
from mmdisco.training.trainer import Callback, Trainer


class Throughput(Callback):
    """Throughput in pairs per second, in every line of the log.

    Args:
        batch_size: Real pairs per step.
        every: Steps per line.
    """

    def __init__(self, batch_size: int, every: int) -> None:
        self._batch_size = batch_size
        self._every = every
        self._steps = 0
        self._since = time.monotonic()

    def on_step(self, step: int, network: Discriminator) -> Mapping[str, Any]:
        """Measure since the last line."""
        self._steps += 1
        if step % self._every:
            return {}
        now = time.monotonic()
        pace = self._steps * self._batch_size / max(now - self._since, 1e-9)
        self._steps, self._since = 0, now
        return {"samples_per_second": round(pace, 3)}


class ProgressCallback(Callback):
    """Progress of a training: its step, and cross-entropy and accuracy of the last line.

    Args:
        show: Called with the name, the number of steps done, their total, and a remark.
        name: Name of what is trained.
        total: Number of steps.
    """

    def __init__(self, show: Callable[[str, int, int, str], object], name: str, total: int) -> None:
        self._show = show
        self._name, self._total, self._remark = name, total, ""

    def on_step(self, step: int, network: Discriminator) -> Mapping[str, Any]:
        """Show the step; add nothing to the log."""
        self._show(self._name, step, self._total, self._remark)
        return {}

    def on_log(self, line: Mapping[str, Any]) -> None:
        """Keep the losses of a line that has them."""
        if "discrimination" in line:
            scores = f"{line['discrimination']:.3f}, accuracy {line['accuracy']:.2f}"
            self._remark = f"cross-entropy {scores}"


@dataclass(frozen=True)
class SampleClips(Callback):
    """Clips of held-out captions, sampled with the current discriminator from the same noise.

    The first time, the unguided baseline is sampled too, for comparison.

    Attributes:
        pair: System of the base models.
        model: The base models, loaded.
        sampling: Settings of sampling; joint scales are 1.
        captions: One caption per clip.
        folder: Gets ``unguided-0.mp4`` and ``step-00002500-0.mp4``.
        every: Steps between samples.
    """

    pair: JointSystem
    model: JointModel
    sampling: SamplingDefaults
    captions: AV[Sequence[str]]
    folder: Path
    every: int

    def on_step(self, step: int, network: Discriminator) -> Mapping[str, Any]:
        """Sample, and return the names of new clips."""
        if step % self.every:
            return {}
        names: list[str] = []
        # the first time also after an interrupted run made them, so that the log is the same
        if step == self.every or not self._path("unguided", len(self.captions.video) - 1).exists():
            names += self._make("unguided", ZeroLogit(), 0.0)
        return {"clips": names + self._make(f"step-{step:08d}", network, 1.0)}

    def _make(self, stem: str, network: Discriminator, scale: float) -> list[str]:
        both = AV(ConstantScale(scale), ConstantScale(scale))
        generation = GenerationRun(
            model=self.model,
            discriminator=network,
            settings=replace(self.sampling.settings, joint_scale=both),
            task=JointGeneration(),
            seconds=float(self.pair.form.seconds),
            method=self.pair.method,
        )
        clips = generate(generation, self.captions, range(len(self.captions.video)))
        paths = [self._path(stem, index) for index in range(len(clips))]
        for path, clip in zip(paths, clips, strict=True):
            write_clip(path, clip)
        return [path.name for path in paths]

    def _path(self, stem: str, index: int) -> Path:
        return self.folder / f"{stem}-{index}.mp4"


class TensorBoardLogger(Callback):
    """TensorBoard log of every number in every line of the log.

    Args:
        folder: Folder of the event files.

    Raises:
        ImportError: tensorboardX is not installed.
    """

    def __init__(self, folder: Path) -> None:
        from tensorboardX import SummaryWriter

        self._open = SummaryWriter
        self._folder = folder
        self._writer: SummaryWriter | None = None

    def on_step(self, step: int, network: Discriminator) -> Mapping[str, Any]:
        """Add nothing to the log."""
        return {}

    def on_log(self, line: Mapping[str, Any]) -> None:
        """Write the numbers; what an earlier run wrote from this step on is dropped."""
        step = int(line["step"])
        if self._writer is None:
            self._writer = self._open(str(self._folder), purge_step=step)
        for name, value in numbers(line):
            self._writer.add_scalar(name, value, step)
        self._writer.flush()


def numbers(line: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """List every number of a line but the step, named by its path of sections and list indices."""
    for name, value in line.items():
        if isinstance(value, Mapping):
            yield from numbers(value, f"{prefix}{name}/")
        elif isinstance(value, list):
            yield from numbers({str(i): one for i, one in enumerate(value)}, f"{prefix}{name}/")
        elif isinstance(value, int | float) and name != "step":
            yield f"{prefix}{name}", float(value)


@dataclass(frozen=True)
class ValidationCallback(Callback):
    """Validation every ``every`` steps, always with the same noise.

    Attributes:
        against: Comparisons of held-out pairs by the kind of negatives.
        coupling: Coupling of noise levels, that of training.
        levels: Number of levels, at equal steps of u.
        every: Steps between two measurements.
        seed: Seed of the noise.
    """

    against: Mapping[str, RealVsOther]
    coupling: LevelCoupling
    levels: int
    every: int
    seed: int

    def on_step(self, step: int, network: Discriminator) -> Mapping[str, Any]:
        """Measure, at the steps for it."""
        return {} if step % self.every else {"held_out": self.measure(network)}

    def measure(self, network: Discriminator) -> dict[str, Any]:
        """Measure at each level, from least noise to most; for the scores see ``BinaryScores``."""
        found: dict[str, Any] = {"angle": [], "u": []}
        for one in logits_by_level(network, self.against, self.coupling, self.levels, self.seed):
            found["angle"].append(one.angle)
            found["u"].append(one.u)
            for name, (real, other) in one.against.items():
                scores = found.setdefault(f"against_{name}", {"accuracy": [], "ranking": []})
                scores["accuracy"].append(accuracy(real, other))
                scores["ranking"].append(ranking(real, other))
        return found


def build_callbacks(
    config: TrainingConfig,
    inputs: TrainingData,
    run_dir: Path,
    pair: JointSystem,
    trainer: Trainer,
    model: JointModel,
    sampling: SamplingDefaults,
) -> tuple[Callback, ...]:
    """Make the callbacks that a configuration asks for.

    Args:
        config: Configuration of the training.
        inputs: Clips and fake pairs.
        run_dir: Folder of clips and TensorBoard.
        pair: System of the base models.
        trainer: The trainer that will run them.
        model: The base models, loaded.
        sampling: Settings of the sample clips.
    """
    plan = config.validation
    found: list[Callback] = []
    whole = inputs.clips.captions["validation"]
    rows = evenly_spaced(len(whole), plan.pairs)
    captions = [whole[row] for row in rows]
    if plan.every and len(captions) > 1:
        real = select_pairs(inputs.clips.store("validation").read(), rows)
        fake = inputs.fake("validation")
        some = select_pairs(fake.read(), evenly_spaced(len(fake), plan.pairs))
        found.append(
            ValidationCallback(
                against=comparisons(real, some, captions, trainer.null),
                coupling=trainer.levels.path,
                levels=plan.levels,
                every=plan.every,
                seed=config.training.seed,
            )
        )
    if plan.clips:
        both = inputs.clips.texts("train")
        if captions:
            held = inputs.clips.texts("validation")
            both = held.map(lambda side: [side[row] for row in rows])
        different = list(dict.fromkeys(zip(both.audio, both.video, strict=True)))
        chosen = [different[index % len(different)] for index in range(plan.clips)]
        texts = AV([audio for audio, _ in chosen], [video for _, video in chosen])
        if plan.clip_steps is not None:
            sampling = replace(sampling, steps=plan.clip_steps)
        folder = run_dir / "samples"
        found.append(SampleClips(pair, model, sampling, texts, folder, plan.clips_every))
    found.append(Throughput(config.training.batch_size, config.training.log_every))
    # tensorboardX is an optional dependency; the log holds the same numbers
    with suppress(ImportError):
        found.append(TensorBoardLogger(run_dir / "tensorboard"))
    return tuple(found)

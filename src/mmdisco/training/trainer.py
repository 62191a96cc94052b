"""Training loop, independent of argument parsing and data sets.

``Callback`` observes a run and may add to its log; it never changes the run. ``EMA`` averages a
network's weights, ``LossAverages`` the losses since the last line of the log, in all and by noise
level. ``TrainerState`` holds the changing parts of one run: network, average, optimiser, log. It is
built by ``Trainer``.
"""

import copy
import json
import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.profiler import record_function

from mmdisco.core.av import AV
from mmdisco.core.denoiser import Conditioning, JointDenoiser
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.losses import Loss, Losses, NoisedPairs
from mmdisco.core.noise import NoiseLevel
from mmdisco.core.noise_levels import NoiseLevelDraw, NoiseLevelSampler
from mmdisco.core.pairs import PairSource
from mmdisco.errors import UserError
from mmdisco.io.files import MOST_LIST_BYTES, parse_json, read_text, understood, write_text
from mmdisco.training.batches import Batches, rows_of
from mmdisco.training.checkpoint import (
    TrainingCheckpoint,
    grouped,
    load_weights,
    optimizer_tensors,
    restore_optimizer,
)
from mmdisco.training.config import TrainerConfig
from mmdisco.training.distributed import Distributed, SingleProcess


class Callback(ABC):
    """Observer of a run after each step, before the step is saved in a checkpoint."""

    @abstractmethod
    def on_step(self, step: int, network: Discriminator) -> Mapping[str, Any]:
        """Return entries for the log's line of this step; none after most steps.

        Args:
            step: Steps done.
            network: The averaged network, frozen.
        """

    def on_log(self, line: Mapping[str, Any]) -> None:
        """Receive a line that was added to the log; ``line["step"]`` is its step."""
        del line


Module = TypeVar("Module", bound=nn.Module)


class EMA(Generic[Module]):
    """Exponential moving average of a network's weights.

    Args:
        network: The network to follow; copied, not kept.
        decay: Weight of the past in [0, 1), at most (1 + n) / (10 + n) after n updates.
    """

    def __init__(self, network: Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)  # noqa: FBT003
        self._decay = decay

    def update(self, network: Module, step: int) -> None:
        """Move towards ``network`` after its ``step``-th update, counted from 0."""
        decay = min(self._decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for mean, value in zip(self.network.parameters(), network.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)


BINS = 8


class LossAverages:
    """Sums of the losses, by eighths of the noise angle of the noisier modality."""

    def __init__(self) -> None:
        # rows: count, discrimination, audio's and video's denoising, correct; columns: bins
        self._sums = torch.zeros(5, BINS, dtype=torch.float64)
        self._norms = torch.zeros(2, dtype=torch.float64)

    def add(self, level: AV[NoiseLevel], losses: Losses, gradient_norm: Tensor) -> None:
        """Add the losses of one step."""
        angle = torch.maximum(level.audio.angle, level.video.angle)
        bins = (angle * BINS).long().clamp(0, BINS - 1)
        columns = (
            torch.ones_like(losses.correct),
            losses.discrimination,
            losses.denoising.audio,
            losses.denoising.video,
            losses.correct,
        )
        values = torch.stack([one.detach().double() for one in columns])
        self._sums.index_add_(1, bins, values)
        self._norms += torch.stack([torch.ones(()), gradient_norm.detach()]).double()

    def summary(self) -> dict[str, object]:
        """Return means for the log; an empty bin is null."""
        names = ("discrimination", "denoising_audio", "denoising_video", "accuracy")
        count, *sums = self._sums.tolist()
        means = {
            name: sum(row) / max(1.0, sum(count)) for name, row in zip(names, sums, strict=True)
        }
        by_level = {
            name: [value / n if n else None for value, n in zip(row, count, strict=True)]
            for name, row in zip(names, sums, strict=True)
        }
        norm = float(self._norms[1] / self._norms[0].clamp(min=1))
        return {**means, "gradient_norm": norm, "by_angle": by_level}

    def state(self) -> dict[str, Tensor]:
        """Return the sums, for a checkpoint between two lines."""
        return {"sums": self._sums, "norms": self._norms}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Restore a ``state``."""
        self._sums, self._norms = state["sums"], state["norms"]


DATA, NETWORKS, OPTIMISER = "step: data", "step: networks", "step: optimiser"
"""Names of a step's parts in a torch profile."""


@dataclass
class TrainerState:
    """State of one run.

    Attributes:
        base: The frozen base models.
        batches: Batches of each step.
        loss: Loss to minimise.
        distributed: Processes that work on it.
        callbacks: Callbacks of the main process.
        network: The network in training.
        run_dir: Folder of checkpoint and log.
    """

    base: JointDenoiser
    batches: Batches
    loss: Loss
    distributed: Distributed
    callbacks: tuple[Callback, ...]
    network: Discriminator
    run_dir: Path
    averages: LossAverages = field(default_factory=LossAverages)
    lines: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        config = self.batches.config
        self.network.train()
        self.average = EMA(self.network, config.ema_decay)
        self.wrapped = self.distributed.wrap(self.network)
        self.wrapped_average = self.distributed.wrap(self.average.network)
        self.optimizer = AdamW(
            self.network.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.settings = config.tree() | self.loss.settings()
        self.checkpoint = self.run_dir / "checkpoint.safetensors"
        self.log = self.run_dir / "log.jsonl"

    def resume(self) -> int:
        """Resume from the checkpoint, or write the first one; return the number of steps done.

        Raises:
            UserError: The checkpoint is of another network or of other settings.
        """
        found = self.checkpoint.exists()
        # no process writes before all have looked, and none goes on before all have read
        self.distributed.wait()
        start = self._restore() if found else 0
        if not found:
            self.save(0)
        self.distributed.wait()
        return start

    def _restore(self) -> int:
        kept = TrainingCheckpoint.load(self.checkpoint)
        load_weights(self.network, kept.group("network"), self.checkpoint)
        load_weights(self.average.network, kept.group("average"), self.checkpoint)
        for name, value in self.settings.items():
            if kept.settings.get(name) != value:
                raise UserError(
                    f"{self.checkpoint} was trained with {name} {kept.settings.get(name)}, this "
                    f"run asks for {value}: give the same settings or another folder"
                )
        with understood(self.checkpoint):
            restore_optimizer(self.optimizer, kept.group("optimizer"))
            self.batches.levels.time.restore(kept.group("time"))
            self.averages.restore(kept.group("losses"))
        if self.log.exists():
            lines = read_text(self.log, MOST_LIST_BYTES).splitlines()
            with understood(self.log):
                self.lines = [
                    line for line in lines if parse_json(line, str(self.log))["step"] <= kept.step
                ]
        return kept.step

    def save(self, step: int) -> None:
        """Write log and checkpoint, in the main process."""
        if not self.distributed.main:
            return
        tensors = (
            grouped("network", self.network.state_dict())
            | grouped("average", self.average.network.state_dict())
            | grouped("optimizer", optimizer_tensors(self.optimizer))
            | grouped("time", self.batches.levels.time.state())
            | grouped("losses", self.averages.state())
        )
        # the log first: on resumption lines beyond the checkpoint are dropped, but none is
        # missing
        write_text(self.log, "".join(f"{line}\n" for line in self.lines))
        TrainingCheckpoint(step, self.settings, tensors).save(self.checkpoint)

    def update(self, step: int, real: PairSource, fake: PairSource) -> None:
        """Do one step.

        Raises:
            UserError: The loss is not finite.
        """
        config = self.batches.config
        with record_function(DATA):
            draw, noised_real = self.batches.real(step, real)
            noised_fake = self.batches.fake(step, fake, draw.levels)
        self.optimizer.zero_grad()
        with record_function(NETWORKS):
            losses = self._differentiate(draw, noised_real, noised_fake)
        per_sample = self.loss.total(losses)
        if not math.isfinite(float((draw.weight.to(per_sample.dtype) * per_sample).mean())):
            raise UserError(
                f"the loss is not finite at step {step}: look for NaN in the data, or lower the "
                f"learning rate; the last checkpoint is {self.checkpoint}"
            )
        with record_function(OPTIMISER):
            for group in self.optimizer.param_groups:
                group["lr"] = config.rate(step)
            gradients = [one.grad for one in self.network.parameters() if one.grad is not None]
            self.distributed.all_reduce(gradients)
            norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.max_grad_norm)
            self.optimizer.step()
            self.average.update(self.network, step)
        self.batches.levels.time.observe(draw.u, per_sample)
        self.averages.add(draw.levels, losses, norm.cpu())

    def log_step(self, done: int) -> None:
        """Add the callbacks' entries of a step to the log."""
        line: dict[str, Any] = {}
        if done % self.batches.config.log_every == 0:
            line |= self.averages.summary()
            self.averages = LossAverages()
        if not self.distributed.main:
            return
        for callback in self.callbacks:
            line |= callback.on_step(done, self.wrapped_average)
        if not line:
            return
        line = {"step": done, **line}
        self.lines.append(json.dumps(line))
        for callback in self.callbacks:
            callback.on_log(line)

    def _differentiate(self, draw: NoiseLevelDraw, real: NoisedPairs, fake: NoisedPairs) -> Losses:
        """Backpropagate this process's rows, and return the losses of all rows."""
        size = self.batches.config.batch_size
        own: list[Losses] = []
        for rows in self.distributed.parts(size):
            losses = self.loss.losses(
                self.wrapped, self.base, rows_of(real, rows), rows_of(fake, rows)
            )
            per_sample = self.loss.total(losses)
            # scaled to the mean over the whole batch, so that parts and processes only add up
            ((draw.weight[rows].to(per_sample.dtype) * per_sample).sum() / size).backward()
            own.append(losses)
        return Losses(
            self._whole([one.discrimination for one in own]),
            AV(
                self._whole([one.denoising.audio for one in own]),
                self._whole([one.denoising.video for one in own]),
            ),
            self._whole([one.correct for one in own]),
        )

    def _whole(self, parts: list[Tensor]) -> Tensor:
        return self.distributed.gather(torch.cat([one.detach() for one in parts]))


__all__ = ["Trainer", "TrainerConfig"]


@dataclass(frozen=True)
class Trainer:
    """Trainer of a discriminator for base models; a run stops and resumes anywhere.

    Attributes:
        base: The frozen base models.
        levels: Distribution of the noise levels, on the sampler's coupling.
        loss: Loss to minimise: the paper's ``MMDisCoLoss``, or ``ContrastiveLoss`` before it.
        config: Settings of the run.
        null: The encoded empty caption, batch size 1, for caption dropout.
        distributed: Processes, micro-batches and precision of a step.
        callbacks: Callbacks, called in the main process only.
    """

    base: JointDenoiser
    levels: NoiseLevelSampler
    loss: Loss
    config: TrainerConfig
    null: AV[Conditioning]
    distributed: Distributed = field(default_factory=SingleProcess)
    callbacks: tuple[Callback, ...] = ()

    def fit(
        self, discriminator: Discriminator, real: PairSource, fake: PairSource, run_dir: Path
    ) -> Discriminator:
        """Train to the end; see ``steps``.

        Returns:
            The averaged network, frozen.
        """
        return deque(self.steps(discriminator, real, fake, run_dir), maxlen=1).pop()

    def steps(
        self, discriminator: Discriminator, real: PairSource, fake: PairSource, run_dir: Path
    ) -> Iterator[Discriminator]:
        """Train in place, from the checkpoint in ``run_dir`` if there is one.

        Args:
            discriminator: New, or any network of the same shape when resuming; moved to the device
                of ``distributed``.
            real: Pairs from data.
            fake: Pairs that the base models made.
            run_dir: Gets ``checkpoint.safetensors`` and ``log.jsonl``.

        Yields:
            The averaged network after each step, the same object every time.

        Raises:
            UserError: The checkpoint is of another network or run, the data is not finite, the
                batch does not divide evenly, or the folder cannot be written.
        """
        config = self.config
        self.distributed.expect(config.batch_size)
        run = TrainerState(
            base=self.base,
            batches=self.batches,
            loss=self.loss,
            distributed=self.distributed,
            callbacks=self.callbacks,
            network=self.distributed.to_device(discriminator),
            run_dir=run_dir,
        )
        start = run.resume()
        if start == config.steps:
            yield run.average.network
        for step in range(start, config.steps):
            run.update(step, real, fake)
            done = step + 1
            run.log_step(done)
            if done % config.checkpoint_every == 0 or done == config.steps:
                run.save(done)
            yield run.average.network

    @property
    def batches(self) -> Batches:
        """Noised batches of every step."""
        return Batches(self.levels, self.config, self.null)

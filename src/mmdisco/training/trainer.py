"""Training loop, independent of argument parsing and data sets.

``Callback`` observes a run and may add to its log; it never changes the run. ``TrainerState`` holds
the changing parts of one run: network, average, optimiser, log. It is built by ``Trainer``.
"""

import json
import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW
from torch.profiler import record_function

from mmdisco.core.av import AV
from mmdisco.core.denoiser import Conditioning, JointDenoiser
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.losses import Loss, Losses, NoisedPairs
from mmdisco.core.noise_levels import NoiseLevelDraw, NoiseLevelSampler
from mmdisco.core.pairs import PairSource
from mmdisco.errors import UserError
from mmdisco.io.files import MOST_LIST_BYTES, parse_json, read_text, understood, write_text
from mmdisco.training.batches import Batches, rows_of
from mmdisco.training.checkpoint import LossAverages, TrainingCheckpoint, grouped
from mmdisco.training.config import TrainerConfig
from mmdisco.training.contrastive import ContrastiveTerm
from mmdisco.training.distributed import Distributed, SingleProcess
from mmdisco.training.optimized import OptimizedNetwork


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


DATA, NETWORKS, OPTIMISER = "step: data", "step: networks", "step: optimiser"
"""Names of a step's parts in a torch profile."""


@dataclass
class TrainerState:
    """State of one run.

    Attributes:
        trainer: Base models, loss, levels, processes and settings.
        network: The network in training.
        run_dir: Folder of checkpoint and log.
    """

    trainer: "Trainer"
    network: Discriminator
    run_dir: Path
    averages: LossAverages = field(default_factory=LossAverages)
    lines: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        config = self.trainer.config
        self.network.train()
        optimizer = AdamW(
            self.network.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.optimized = OptimizedNetwork(self.network, optimizer, config.ema_decay)
        self.wrapped = self.trainer.distributed.wrap(self.network)
        self.wrapped_average = self.trainer.distributed.wrap(self.optimized.average.network)
        self.settings = config.tree() | self.trainer.loss.settings()
        if self.trainer.contrastive is not None:
            self.settings |= self.trainer.contrastive.settings()
        self.checkpoint = self.run_dir / "checkpoint.safetensors"
        self.log = self.run_dir / "log.jsonl"

    def resume(self) -> int:
        """Resume from the checkpoint, or write the first one; return the number of steps done.

        Raises:
            UserError: The checkpoint is of another network or of other settings.
        """
        found = self.checkpoint.exists()
        # no process writes before all have looked, and none goes on before all have read
        self.trainer.distributed.wait()
        start = self._restore() if found else 0
        if not found:
            self.save(0)
        self.trainer.distributed.wait()
        return start

    def _restore(self) -> int:
        kept = TrainingCheckpoint.load(self.checkpoint)
        for name, value in self.settings.items():
            if kept.settings.get(name) != value:
                raise UserError(
                    f"{self.checkpoint} was trained with {name} {kept.settings.get(name)}, this "
                    f"run asks for {value}: give the same settings or another folder"
                )
        self.optimized.restore(kept, self.checkpoint)
        with understood(self.checkpoint):
            self.trainer.levels.time.restore(kept.group("time"))
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
        if not self.trainer.distributed.main:
            return
        tensors = (
            self.optimized.tensors()
            | grouped("time", self.trainer.levels.time.state())
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
        config = self.trainer.config
        with record_function(DATA):
            draw, noised_real = self.trainer.batches.real(step, real)
            noised_fake = self.trainer.batches.fake(step, fake, draw.levels)
        self.optimized.optimizer.zero_grad()
        with record_function(NETWORKS):
            losses = self._differentiate(self.trainer.loss, draw, noised_real, noised_fake)
            if self.trainer.contrastive is not None:
                self._contrast(self.trainer.contrastive, step)
        per_sample = self.trainer.loss.total(losses)
        self._expect_finite((draw.weight.to(per_sample.dtype) * per_sample).mean(), step)
        with record_function(OPTIMISER):
            gradients = [one.grad for one in self.network.parameters() if one.grad is not None]
            self.trainer.distributed.all_reduce(gradients)
            norm = self.optimized.update(step, config.rate(step), config.max_grad_norm)
        self.trainer.levels.time.observe(draw.u, per_sample)
        self.averages.add(draw.levels, losses, norm.cpu())

    def log_step(self, done: int) -> None:
        """Add the callbacks' entries of a step to the log."""
        line: dict[str, Any] = {}
        if done % self.trainer.config.log_every == 0:
            line |= self.averages.summary()
            self.averages = LossAverages()
        if not self.trainer.distributed.main:
            return
        for callback in self.trainer.callbacks:
            line |= callback.on_step(done, self.wrapped_average)
        if not line:
            return
        line = {"step": done, **line}
        self.lines.append(json.dumps(line))
        for callback in self.trainer.callbacks:
            callback.on_log(line)

    def _contrast(self, term: ContrastiveTerm, step: int) -> None:
        """Backpropagate the third term."""
        draw, noised = term.noised(step)
        weighted = replace(draw, weight=draw.weight * term.weight)
        losses = self._differentiate(term.loss, weighted, noised, noised)
        self._expect_finite(losses.discrimination.mean(), step)
        self.averages.add_contrastive(losses)

    def _expect_finite(self, loss: Tensor, step: int) -> None:
        if not math.isfinite(float(loss)):
            raise UserError(
                f"the loss is not finite at step {step}: look for NaN in the data, or lower the "
                f"learning rate; the last checkpoint is {self.checkpoint}"
            )

    def _differentiate(
        self, loss: Loss, draw: NoiseLevelDraw, real: NoisedPairs, fake: NoisedPairs
    ) -> Losses:
        """Backpropagate this process's rows, and return the losses of all rows."""
        size = len(real.pairs)
        own: list[Losses] = []
        for rows in self.trainer.distributed.parts(size):
            losses = loss.losses(
                self.wrapped, self.trainer.base, rows_of(real, rows), rows_of(fake, rows)
            )
            per_sample = loss.total(losses)
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
        return self.trainer.distributed.gather(torch.cat([one.detach() for one in parts]))


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
        contrastive: Third term of the loss, if there is one.
    """

    base: JointDenoiser
    levels: NoiseLevelSampler
    loss: Loss
    config: TrainerConfig
    null: AV[Conditioning]
    distributed: Distributed = field(default_factory=SingleProcess)
    callbacks: tuple[Callback, ...] = ()
    contrastive: ContrastiveTerm | None = None

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
        if self.contrastive is not None:
            self.distributed.expect(self.contrastive.batches.config.batch_size)
        run = TrainerState(self, self.distributed.to_device(discriminator), run_dir)
        start = run.resume()
        if start == config.steps:
            yield run.optimized.average.network
        for step in range(start, config.steps):
            run.update(step, real, fake)
            done = step + 1
            run.log_step(done)
            if done % config.checkpoint_every == 0 or done == config.steps:
                run.save(done)
            yield run.optimized.average.network

    @property
    def batches(self) -> Batches:
        """Noised batches of every step."""
        return Batches(self.levels, self.config, self.null)

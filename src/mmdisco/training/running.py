"""The changing parts of one run: network, average, optimiser, log. Built by ``Trainer``."""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW
from torch.profiler import record_function

from mmdisco.av import AV
from mmdisco.discriminator.base import Discriminator
from mmdisco.errors import UserError
from mmdisco.files import MOST_LIST_BYTES, parse_json, read_text, understood, write_text
from mmdisco.models import JointDenoiser
from mmdisco.training.batches import Batches, rows_of
from mmdisco.training.checkpoint import (
    Checkpoint,
    grouped,
    load_weights,
    optimizer_tensors,
    restore_optimizer,
)
from mmdisco.training.ema import MovingAverage
from mmdisco.training.levels import LevelDraw
from mmdisco.training.losses import Criterion, Losses, NoisedPairs
from mmdisco.training.meter import Meter
from mmdisco.training.observer import Observer
from mmdisco.training.pairs import PairSource
from mmdisco.training.strategy import Strategy

DATA, NETWORKS, OPTIMISER = "step: data", "step: networks", "step: optimiser"
"""Names of a step's parts in a torch profile."""


@dataclass
class Running:
    """One run on its way.

    Attributes:
        base: The frozen base.
        batches: What each step sees.
        criterion: What is minimised.
        strategy: Who works on it.
        observers: Who looks on.
        network: In training.
        run_dir: Of checkpoint and log.
    """

    base: JointDenoiser
    batches: Batches
    criterion: Criterion
    strategy: Strategy
    observers: tuple[Observer, ...]
    network: Discriminator
    run_dir: Path
    meter: Meter = field(default_factory=Meter)
    lines: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        config = self.batches.config
        self.network.train()
        self.average = MovingAverage(self.network, config.ema)
        self.computing = self.strategy.computing(self.network)
        self.judge = self.strategy.computing(self.average.network)
        self.optimizer = AdamW(
            self.network.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.settings = asdict(config) | self.criterion.settings()
        self.checkpoint = self.run_dir / "checkpoint.safetensors"
        self.log = self.run_dir / "log.jsonl"

    def resume(self) -> int:
        """Go on from the checkpoint, or write the first one; the number of steps done.

        Raises:
            UserError: The checkpoint is of another network or of other settings.
        """
        found = self.checkpoint.exists()
        # nobody writes before everybody has looked, and nobody goes on before everybody has read
        self.strategy.wait()
        start = self._restore() if found else 0
        if not found:
            self.save(0)
        self.strategy.wait()
        return start

    def _restore(self) -> int:
        kept = Checkpoint.load(self.checkpoint)
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
            self.meter.restore(kept.group("meter"))
        if self.log.exists():
            lines = read_text(self.log, MOST_LIST_BYTES).splitlines()
            with understood(self.log):
                self.lines = [
                    line for line in lines if parse_json(line, str(self.log))["step"] <= kept.step
                ]
        return kept.step

    def save(self, step: int) -> None:
        """Write log and checkpoint, in the main process."""
        if not self.strategy.main:
            return
        tensors = (
            grouped("network", self.network.state_dict())
            | grouped("average", self.average.network.state_dict())
            | grouped("optimizer", optimizer_tensors(self.optimizer))
            | grouped("time", self.batches.levels.time.state())
            | grouped("meter", self.meter.state())
        )
        # the log first: on resumption lines beyond the checkpoint are dropped, but none is missed
        write_text(self.log, "".join(f"{line}\n" for line in self.lines))
        Checkpoint(step, self.settings, tensors).save(self.checkpoint)

    def update(self, step: int, real: PairSource, fake: PairSource) -> None:
        """One step.

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
        per_sample = self.criterion.total(losses)
        if not math.isfinite(float((draw.weight.to(per_sample.dtype) * per_sample).mean())):
            raise UserError(
                f"the loss is not finite at step {step}: look for NaN in the data, or lower the "
                f"learning rate; the last checkpoint is {self.checkpoint}"
            )
        with record_function(OPTIMISER):
            for group in self.optimizer.param_groups:
                group["lr"] = config.rate(step)
            gradients = [one.grad for one in self.network.parameters() if one.grad is not None]
            self.strategy.add_up(gradients)
            norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.clip)
            self.optimizer.step()
            self.average.update(self.network, step)
        self.batches.levels.time.observe(draw.u, per_sample)
        self.meter.add(draw.levels, losses, norm.cpu())

    def observe(self, done: int) -> None:
        """Add what there is to say after a step to the log."""
        line: dict[str, Any] = {}
        if done % self.batches.config.log_every == 0:
            line |= self.meter.summary()
            self.meter = Meter()
        if not self.strategy.main:
            return
        for observer in self.observers:
            line |= observer.look(done, self.judge)
        if not line:
            return
        line = {"step": done, **line}
        self.lines.append(json.dumps(line))
        for observer in self.observers:
            observer.note(line)

    def _differentiate(self, draw: LevelDraw, real: NoisedPairs, fake: NoisedPairs) -> Losses:
        """Backward passes of this process's rows; the losses of all rows."""
        size = self.batches.config.batch_size
        own: list[Losses] = []
        for rows in self.strategy.parts(size):
            losses = self.criterion.losses(
                self.computing, self.base, rows_of(real, rows), rows_of(fake, rows)
            )
            per_sample = self.criterion.total(losses)
            # the mean over the whole batch: sums over parts and processes are what is left to do
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
        return self.strategy.gather(torch.cat([one.detach() for one in parts]))

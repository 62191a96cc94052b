"""The training loop. Knows no argument parsing and no data set."""

import json
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Generator, Tensor
from torch.optim import AdamW

from mmdisco.av import AV, each
from mmdisco.discriminator.base import Discriminator
from mmdisco.errors import UserError
from mmdisco.files import write_text
from mmdisco.models import Conditioning, JointDenoiser
from mmdisco.sampling.noise import generator_of
from mmdisco.schedule import NoiseLevel
from mmdisco.training.checkpoint import (
    Checkpoint,
    grouped,
    load_weights,
    optimizer_tensors,
    restore_optimizer,
)
from mmdisco.training.ema import MovingAverage
from mmdisco.training.levels import LevelDraw, LevelLaw
from mmdisco.training.losses import NoisedPairs, Objective, training_losses
from mmdisco.training.meter import Meter
from mmdisco.training.pairs import PairSource


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a run.

    Attributes:
        steps: Updates in all.
        batch_size: Real pairs, and as many fake ones, a step.
        learning_rate: Peak of the cosine schedule.
        warmup: Steps of linear warm-up.
        weight_decay: AdamW's, decoupled.
        clip: Largest gradient norm.
        ema: Decay of the averaged weights, which are the result.
        caption_dropout: Share of pairs, real and fake alike, that see the empty caption.
        seed: Of every random number: step k draws from (seed, k) alone.
        period: After so many steps the same noised real pairs come again, for a ``RememberedBase``;
            0 is never. Fake pairs are always new.
        log_every: Steps a line of the log sums up.
        checkpoint_every: Steps between checkpoints; one more is written at the end.
    """

    steps: int = 2500
    batch_size: int = 192
    learning_rate: float = 2e-3
    warmup: int = 200
    weight_decay: float = 0.0
    clip: float = 5.0
    ema: float = 0.999
    caption_dropout: float = 0.1
    seed: int = 0
    period: int = 0
    log_every: int = 100
    checkpoint_every: int = 1000

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "log_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} {getattr(self, name)}: give at least 1")
        if self.period < 0:
            raise UserError(f"period {self.period}: give at least 0")
        for name in ("learning_rate", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise UserError(f"{name} {getattr(self, name)}: give a number above 0")
        for name in ("ema", "caption_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} {getattr(self, name)}: give a share from 0 to 1")


@dataclass(frozen=True)
class Trainer:
    """Trains a discriminator for a base; stops and resumes anywhere.

    Attributes:
        base: The frozen base.
        levels: Law of the noise levels, on the sampler's path.
        objective: Weights of the losses.
        config: Settings of the run.
        null: The encoded empty caption, batch size 1, for caption dropout.
    """

    base: JointDenoiser
    levels: LevelLaw
    objective: Objective
    config: TrainConfig
    null: AV[Conditioning]

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
            discriminator: Fresh, or anything of the same shape when resuming.
            real: Pairs from data.
            fake: Pairs that the base made.
            run_dir: Gets ``checkpoint.safetensors`` and ``log.jsonl``.

        Yields:
            The averaged network after each step, the same object every time.

        Raises:
            UserError: The checkpoint is of another network or run, the data is not finite, or the
                folder cannot be written.
        """
        run = _Running(self, discriminator, run_dir)
        start = run.resume()
        if start == self.config.steps:
            yield run.average.network
        for step in range(start, self.config.steps):
            run.update(step, real, fake)
            done = step + 1
            if done % self.config.checkpoint_every == 0 or done == self.config.steps:
                run.save(done)
            yield run.average.network

    def real_batch(self, step: int, real: PairSource) -> tuple[LevelDraw, NoisedPairs]:
        """Noised real pairs of a step, and how their levels were drawn."""
        period = self.config.period
        generator = generator_of(self.config.seed, step % period if period else step)
        draw = self.levels.draw(self.config.batch_size, generator)
        return draw, self._noised(real, draw.levels, generator)

    def fake_batch(self, step: int, fake: PairSource, levels: AV[NoiseLevel]) -> NoisedPairs:
        """Fake pairs of a step at the levels of the real ones."""
        # streams that no real batch draws from
        generator = generator_of(self.config.seed, self.config.steps + step)
        return self._noised(fake, levels, generator)

    def _noised(
        self, source: PairSource, level: AV[NoiseLevel], generator: Generator
    ) -> NoisedPairs:
        pairs = source.draw(self.config.batch_size, generator)
        eps = pairs.z_0.map(lambda x: torch.randn(x.shape, generator=generator))
        dropped = torch.rand(len(pairs), generator=generator) < self.config.caption_dropout
        cond = each(lambda own, null: _without(own, null, dropped), pairs.cond, self.null)
        return NoisedPairs(replace(pairs, cond=cond), eps, level)

    def learning_rate(self, step: int) -> float:
        """Warm-up, then half a cosine down to 0.5 % of the peak."""
        warm = min(1.0, (step + 1) / max(1, self.config.warmup))
        fall = 0.5 * (1 + math.cos(math.pi * step / self.config.steps))
        return self.config.learning_rate * warm * (0.005 + 0.995 * fall)


class _Running:
    """The changing parts of one run."""

    def __init__(self, trainer: Trainer, discriminator: Discriminator, run_dir: Path) -> None:
        self.trainer = trainer
        self.config = trainer.config
        self.network = discriminator.train()
        self.average = MovingAverage(discriminator, self.config.ema)
        self.optimizer = AdamW(
            discriminator.parameters(),
            lr=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
            fused=True,
        )
        self.meter = Meter()
        self.lines: list[str] = []
        self.checkpoint = run_dir / "checkpoint.safetensors"
        self.log = run_dir / "log.jsonl"
        self.settings = asdict(self.config) | asdict(trainer.objective)

    def resume(self) -> int:
        if not self.checkpoint.exists():
            self.save(0)
            return 0
        kept = Checkpoint.load(self.checkpoint)
        load_weights(self.network, kept.group("network"), self.checkpoint)
        load_weights(self.average.network, kept.group("average"), self.checkpoint)
        for name, value in self.settings.items():
            if kept.settings.get(name) != value:
                raise UserError(
                    f"{self.checkpoint} was trained with {name} {kept.settings.get(name)}, this "
                    f"run asks for {value}: give the same settings or another folder"
                )
        restore_optimizer(self.optimizer, kept.group("optimizer"))
        self.trainer.levels.time.restore(kept.group("time"))
        self.meter.restore(kept.group("meter"))
        if self.log.exists():
            lines = self.log.read_text().splitlines()
            self.lines = [line for line in lines if json.loads(line)["step"] <= kept.step]
        return kept.step

    def save(self, step: int) -> None:
        tensors = (
            grouped("network", self.network.state_dict())
            | grouped("average", self.average.network.state_dict())
            | grouped("optimizer", optimizer_tensors(self.optimizer))
            | grouped("time", self.trainer.levels.time.state())
            | grouped("meter", self.meter.state())
        )
        # the log first: on resumption lines beyond the checkpoint are dropped, but none is missed
        write_text(self.log, "".join(f"{line}\n" for line in self.lines))
        Checkpoint(step, self.settings, tensors).save(self.checkpoint)

    def update(self, step: int, real: PairSource, fake: PairSource) -> None:
        config, trainer = self.config, self.trainer
        draw, noised_real = trainer.real_batch(step, real)
        noised_fake = trainer.fake_batch(step, fake, draw.levels)
        losses = training_losses(
            self.network, trainer.base, noised_real, noised_fake, trainer.objective
        )
        per_sample = losses.total(trainer.objective)
        loss = (draw.weight.to(per_sample.dtype) * per_sample).mean()
        if not math.isfinite(loss.item()):
            raise UserError(
                f"the loss is not finite at step {step}: look for NaN in the data, or lower the "
                f"learning rate; the last checkpoint is {self.checkpoint}"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = trainer.learning_rate(step)
        self.optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.clip)
        self.optimizer.step()
        self.average.update(self.network, step)
        trainer.levels.time.observe(draw.u, per_sample.detach())
        self.meter.add(draw.levels, losses, norm)
        if (step + 1) % config.log_every == 0:
            self.lines.append(json.dumps({"step": step + 1, **self.meter.summary()}))
            self.meter = Meter()


def _without(cond: Conditioning, null: Conditioning, dropped: Tensor) -> Conditioning:
    """The caption of each pair, the empty one where ``dropped``."""

    def mixed(own: Tensor, empty: Tensor) -> Tensor:
        return torch.where(dropped.reshape(-1, *[1] * (own.ndim - 1)), empty, own)

    native = tuple(mixed(own, empty) for own, empty in zip(cond.native, null.native, strict=True))
    return Conditioning(mixed(cond.pooled, null.pooled), native)

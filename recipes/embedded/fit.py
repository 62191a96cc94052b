"""A training loop for the recipe's own networks: resumable, the same from run to run.

Step k draws from (seed, k) alone, and a checkpoint holds network, average and optimiser, so a run
that was stopped goes on as if it had not been.
"""

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from torch import Generator, Tensor, nn
from torch.optim import AdamW

from mmdisco.core.rng import seeded_generator
from mmdisco.training.checkpoint import (
    EMA,
    TrainingCheckpoint,
    grouped,
    load_weights,
    optimizer_tensors,
    restore_optimizer,
)

Item = TypeVar("Item")
Network = TypeVar("Network", bound=nn.Module)
Loss = Callable[[int, Generator], Tensor]


@dataclass(frozen=True)
class Schedule:
    """Settings of one training.

    Attributes:
        steps: Updates in all.
        learning_rate: Peak; linear warm-up, then half a cosine to 1 % of it.
        warmup: Steps of the warm-up.
        beta2: AdamW's second decay.
        weight_decay: AdamW's, decoupled.
        clip: Largest gradient norm.
        ema: Decay of the averaged weights, which are the result.
        seed: Of every random number.
    """

    steps: int
    learning_rate: float
    warmup: int = 100
    beta2: float = 0.99
    weight_decay: float = 0.0
    clip: float = 1.0
    ema: float = 0.998
    seed: int = 0

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        fall = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.learning_rate * min(1.0, (step + 1) / self.warmup) * (0.01 + 0.99 * fall)


def fit(network: Network, loss_of: Loss, schedule: Schedule, path: Path, name: str) -> Network:
    """Train ``network`` in place to the end of ``schedule``, going on from ``path``.

    Args:
        network: What ``loss_of`` differentiates.
        loss_of: The loss of a step, from its number and its generator.
        schedule: Settings; those of the checkpoint must be the same.
        path: The checkpoint.
        name: For the progress line.

    Returns:
        The averaged network, frozen.
    """
    average = EMA(network, schedule.ema)
    optimizer = AdamW(
        network.parameters(),
        lr=schedule.learning_rate,
        betas=(0.9, schedule.beta2),
        weight_decay=schedule.weight_decay,
        fused=True,
    )
    start = 0
    if path.exists():
        kept = TrainingCheckpoint.load(path)
        if kept.settings != asdict(schedule):
            raise SystemExit(f"{path} was trained with {kept.settings}: give another folder")
        load_weights(network, kept.group("network"), path)
        load_weights(average.network, kept.group("average"), path)
        restore_optimizer(optimizer, kept.group("optimizer"))
        start = kept.step

    def save(step: int) -> None:
        tensors = (
            grouped("network", network.state_dict())
            | grouped("average", average.network.state_dict())
            | grouped("optimizer", optimizer_tensors(optimizer))
        )
        TrainingCheckpoint(step, asdict(schedule), tensors).save(path)

    network.train()
    began, losses = time.monotonic(), []
    for step in range(start, schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        optimizer.zero_grad()
        loss = loss_of(step, seeded_generator(schedule.seed, step))
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), schedule.clip)
        optimizer.step()
        average.update(network, step)
        losses.append(loss.item())
        done = step + 1
        if done % 100 == 0 or done == schedule.steps:
            pace = (time.monotonic() - began) / (done - start)
            left = pace * (schedule.steps - done) / 60
            mean = float(np.mean(losses[-100:]))
            sys.stderr.write(
                f"{name}: step {done} of {schedule.steps}, loss {mean:.4f}, "
                f"{1000 * pace:.0f} ms a step, {left:.1f} min left\n"
            )
            sys.stderr.flush()
        if done % 500 == 0 or done == schedule.steps:
            save(done)
    return average.network.eval()


def progress(items: Sequence[Item], name: str) -> Iterator[Item]:
    """The items, with a line now and then of how far and how long still."""
    began, last = time.monotonic(), 0.0
    for done, item in enumerate(items):
        now = time.monotonic() - began
        if done and now - last > 20:
            last = now
            left = now / done * (len(items) - done) / 60
            sys.stderr.write(f"{name}: {done} of {len(items)}, {left:.1f} min left\n")
            sys.stderr.flush()
        yield item

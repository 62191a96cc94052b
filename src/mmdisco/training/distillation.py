"""Distillation of a discriminator's guidance into a network that needs no backward pass.

The network repeats σ ∇h. It learns from states of guided runs, and from noised real and fake pairs:

    L = E ‖(f(z_t) − σ ∇h(z_t)) / r‖²,    r² the mean square of σ ∇h at the noise level of z_t

for either modality, a mean over its elements. Independent of where pairs and runs come from.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from torch.optim import AdamW

from mmdisco.core.av import AV, each
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.log_ratio import log_ratio_gradient
from mmdisco.core.losses import NoisedPairs
from mmdisco.core.noise import NoiseLevel, broadcast_like, interpolate
from mmdisco.core.pairs import PairSource
from mmdisco.core.rng import seeded_generator
from mmdisco.discriminators.distilled import BINS, DistilledConfig, DistilledNetwork
from mmdisco.discriminators.two_tower import AudioVideoConfig
from mmdisco.errors import UserError
from mmdisco.io.files import MOST_LIST_BYTES, parse_json, read_text, understood, write_text
from mmdisco.io.shapes import PerSample
from mmdisco.training.batches import Batches
from mmdisco.training.checkpoint import TrainingCheckpoint
from mmdisco.training.config import DistillationConfig, TrainingConfig
from mmdisco.training.guided_states import GuidanceStates
from mmdisco.training.optimized import OptimizedNetwork

SIZING: Final = 16
"""Batches whose products decide the sizes that the network is scaled by."""
_LEAST_SIZE: Final = 1e-3  # of the largest: below it the product changes nothing


def new_distilled(
    config: DistillationConfig, discriminator: AudioVideoConfig, seed: int
) -> DistilledNetwork:
    """Make a network whose weights follow from a seed alone."""
    shape = config.model_dump(include={"d_model", "num_layers", "num_heads", "patch_width"})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DistilledNetwork(DistilledConfig(discriminator, **shape))


def distillation_loss(
    network: DistilledNetwork, states: GuidanceStates
) -> tuple[PerSample, AV[Tensor]]:
    """Return L of each state, and the network's products."""
    found = network(states.z_t, states.level, states.text)

    def error(own: Tensor, exact: Tensor, size: Tensor) -> Tensor:
        scale = broadcast_like(torch.where(size > 0, size, 1.0), own)
        return ((own - exact) / scale).square().flatten(1).mean(1)

    errors = each(error, found, states.product, network.sizes_at(states.level))
    return errors.audio + errors.video, found.map(Tensor.detach)


class Agreement:
    """Cosine of distilled and exact products, by noise angle; 1 is equal up to a factor.

    Attributes:
        sums: ⟨f, g⟩, ‖f‖² and ‖g‖² of the sound and of the video, by angle, (3, 2, bins).
    """

    def __init__(self) -> None:
        self.sums = torch.zeros(3, 2, BINS, dtype=torch.float64)

    def add(self, found: AV[Tensor], states: GuidanceStates) -> None:
        """Add a batch of products; clean latents have none."""
        for side, name in enumerate(("audio", "video")):
            own, exact, level = (
                getattr(one, name) for one in (found, states.product, states.level)
            )
            noisy = level.sigma > 0
            own, exact = (one.flatten(1).double()[noisy] for one in (own, exact))
            values = torch.stack([(own * exact).sum(1), own.square().sum(1), exact.square().sum(1)])
            self.sums[:, side].index_add_(1, bins_of(level)[noisy], values)

    def summary(self) -> dict[str, Any]:
        """Return cosines for the log: of either modality by angle, null where there is nothing."""
        product, found, exact = self.sums
        cosine = product / (found * exact).sqrt()
        table = [[None if math.isnan(value) else value for value in row] for row in cosine.tolist()]
        return {"cosine_audio": table[0], "cosine_video": table[1]}


def bins_of(level: NoiseLevel) -> Tensor:
    """Return the index of the nearest tabulated angle of each sample."""
    return (level.angle * (BINS - 1)).round().long().clamp(0, BINS - 1)


def sizes_of(states: GuidanceStates) -> Tensor:
    """Return the root mean square of σ ∇h by noise angle, (2, bins): sound, then video."""
    knots = torch.linspace(0, 1, BINS, dtype=torch.float64)
    rows: list[Tensor] = []
    for name in ("audio", "video"):
        product, level = getattr(states.product, name), getattr(states.level, name)
        noisy = level.sigma > 0
        at = bins_of(level)[noisy]
        squares = product.flatten(1).double().square().mean(1)[noisy]
        count = torch.bincount(at, minlength=BINS)
        total = torch.zeros(BINS, dtype=torch.float64).index_add_(0, at, squares)
        seen = count > 0
        sizes = (total[seen] / count[seen]).sqrt()
        if len(sizes) == 0 or not float(sizes.max()) > 0:
            rows.append(torch.ones(BINS, dtype=torch.float64))  # guidance of nothing
        elif len(sizes) == 1:
            rows.append(sizes.expand(BINS))
        else:
            whole = interpolate(knots, knots[seen], sizes)
            rows.append(whole.clamp(min=_LEAST_SIZE * float(sizes.max())))
    return torch.stack(rows).float()


@dataclass(frozen=True)
class Distillation:
    """Loop of a distillation; a run stops and resumes anywhere.

    Attributes:
        discriminator: The frozen discriminator.
        batches: Noised real and fake pairs, each a quarter of a step's states, and the settings.
        states: States of guided runs, half of a step's states.
        source: What decides the network beside the settings, such as the discriminator's checksum.
    """

    discriminator: Discriminator
    batches: Batches
    states: GuidanceStates
    source: Mapping[str, Any]

    def steps(
        self, network: DistilledNetwork, real: PairSource, fake: PairSource, run_dir: Path
    ) -> Iterator[DistilledNetwork]:
        """Train in place, from the checkpoint in ``run_dir`` if there is one.

        Args:
            network: New, or any network of the same shape when resuming.
            real: Pairs from data.
            fake: Pairs that the base models made.
            run_dir: Gets ``checkpoint.safetensors`` and ``log.jsonl``.

        Yields:
            The averaged network after each step, the same object every time.

        Raises:
            UserError: The checkpoint is of another network or of other settings, or the loss is
                not finite.
        """
        config = self.batches.config
        checkpoint, log = run_dir / "checkpoint.safetensors", run_dir / "log.jsonl"
        settings = json.loads(json.dumps({**config.tree(), **self.source}))
        kept = TrainingCheckpoint.load(checkpoint) if checkpoint.exists() else None
        if kept is None:
            network.sizes.copy_(self._sizes(real, fake))
        optimizer = AdamW(
            network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        training = OptimizedNetwork(network, optimizer, config.ema_decay)
        agreement, lines, start = Agreement(), list[str](), 0
        average = training.average.network
        if kept is not None:
            _expect_own(kept, settings, checkpoint)
            training.restore(kept, checkpoint)
            with understood(checkpoint):
                agreement.sums = kept.group("agreement")["sums"]
            start = kept.step
            lines = _lines_until(log, start)
        if start == config.steps:
            yield average
        for step in range(start, config.steps):
            states = self.batch(step, real, fake)
            losses, found = distillation_loss(network, states)
            loss = losses.mean()
            if not bool(loss.isfinite()):
                raise UserError(
                    f"the loss is not finite at step {step}: lower distillation.learning_rate; "
                    f"the last checkpoint is {checkpoint}"
                )
            optimizer.zero_grad()
            loss.backward()
            training.update(step, config.rate(step), config.max_grad_norm)
            agreement.add(found, states)
            done = step + 1
            if done % config.log_every == 0:
                line = {"step": done, "loss": float(loss.detach()), **agreement.summary()}
                lines.append(json.dumps(line))
                agreement = Agreement()
            if done % config.checkpoint_every == 0 or done == config.steps:
                tensors = training.tensors() | {"agreement.sums": agreement.sums}
                write_text(log, "".join(f"{one}\n" for one in lines))
                TrainingCheckpoint(done, settings, tensors).save(checkpoint)
            yield average

    def batch(self, step: int, real: PairSource, fake: PairSource) -> GuidanceStates:
        """Return the states of a step, from (seed, step) alone."""
        config = self.batches.config
        # a stream that no noised batch draws from
        generator = seeded_generator(config.seed, 2 * config.steps + SIZING + step)
        return GuidanceStates.joined(
            [
                self.states.draw(2 * config.batch_size, generator),
                *self.noised(step, real, fake),
            ]
        ).take(torch.arange(4 * config.batch_size))

    def noised(self, step: int, real: PairSource, fake: PairSource) -> list[GuidanceStates]:
        """Return the noised real and fake pairs of a step, with the exact product."""
        draw, own = self.batches.real(step, real)
        return [self._exact(own), self._exact(self.batches.fake(step, fake, draw.levels))]

    def measure(
        self, network: DistilledNetwork, real: PairSource, fake: PairSource, count: int = SIZING
    ) -> dict[str, Any]:
        """Return the agreement on noised pairs, such as held-out ones; see ``Agreement``."""
        agreement = Agreement()
        for step in range(count):
            for states in self.noised(step, real, fake):
                with torch.no_grad():
                    agreement.add(network(states.z_t, states.level, states.text), states)
        return agreement.summary()

    def _sizes(self, real: PairSource, fake: PairSource) -> Tensor:
        parts = [self.batch(step, real, fake) for step in range(SIZING)]
        return sizes_of(GuidanceStates.joined(parts))

    def _exact(self, noised: NoisedPairs) -> GuidanceStates:
        z_t, level, text = noised.z_t, noised.level, noised.pairs.text
        found = log_ratio_gradient(lambda z: self.discriminator(z, level, text), z_t)
        return GuidanceStates.of(z_t, level, text, found.gradient)


def batches_of(config: TrainingConfig, batches: Batches) -> Batches:
    """Return the noised batches of a distillation, with the settings of its loop."""
    own = config.distillation
    changed = {
        "steps": own.steps,
        "batch_size": own.batch_size // 4,
        "learning_rate": own.learning_rate,
        "cache_period": 0,
    }
    return replace(batches, config=batches.config.updated(changed))


def _expect_own(kept: TrainingCheckpoint, settings: Mapping[str, Any], path: Path) -> None:
    for name, value in settings.items():
        if kept.settings.get(name) != value:
            raise UserError(
                f"{path} was distilled with {name} {kept.settings.get(name)}, this run asks for "
                f"{value}: give the same settings, or delete {path.parent} to distil anew"
            )


def _lines_until(log: Path, step: int) -> list[str]:
    if not log.exists():
        return []
    with understood(log):
        lines = read_text(log, MOST_LIST_BYTES).splitlines()
        return [one for one in lines if parse_json(one, str(log))["step"] <= step]

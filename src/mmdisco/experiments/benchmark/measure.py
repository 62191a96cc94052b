"""Measurement of guided steps, with costs added up by part. Knows no files and no pair by name."""

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mmdisco.core.av import AV
from mmdisco.core.rng import NoiseSource
from mmdisco.errors import UserError
from mmdisco.experiments.benchmark.profiler import (
    AUDIO,
    DISCRIMINATOR,
    JOINT,
    SCHEDULER,
    VIDEO,
    Cost,
    ProfiledDenoiser,
    Profiler,
)
from mmdisco.experiments.benchmark.systems import BenchmarkPair
from mmdisco.experiments.config import BenchmarkConfig

PARTS: Final = (AUDIO, VIDEO, JOINT, DISCRIMINATOR, SCHEDULER)
BASES: Final = (AUDIO, VIDEO, JOINT)

Accounts = Mapping[str, Cost]


@dataclass(frozen=True)
class Measured:
    """Costs of the steps of one run.

    Attributes:
        shapes: Shapes of the latents.
        weights: Number of weights by part, where known.
        first: Costs of the first round, whose operations are counted.
        steps: Costs of every timed round; a round is a step, or the steps that share a gradient.
    """

    shapes: AV[tuple[int, ...]]
    weights: Mapping[str, int]
    first: Accounts
    steps: tuple[Accounts, ...]

    @property
    def parts(self) -> list[str]:
        """Parts in the order of a step."""
        return [name for name in PARTS if name in self.first]

    def cost(self, part: str) -> Cost:
        """Return the median of a part's times, its operations, and its peak memory."""
        own = [step[part] for step in self.steps]
        return Cost(
            runs=self.first[part].runs,
            seconds=statistics.median(one.seconds for one in own),
            cpu_seconds=statistics.median(one.cpu_seconds for one in own),
            flops=self.first[part].flops,
            peak_bytes=max(one.peak_bytes for one in (self.first[part], *own)),
        )

    @property
    def peak_bytes(self) -> int:
        """Peak memory over all parts; 0 where unknown."""
        return max(self.cost(part).peak_bytes for part in self.parts)

    def share(self, part: str) -> float:
        """Return the share of a part in the wall time of its step, the median over all steps."""
        return statistics.median(
            step[part].seconds / sum(one.seconds for one in step.values()) for step in self.steps
        )

    @property
    def ratios(self) -> dict[str, float]:
        """Return the discriminator's cost relative to the base models', by quantity.

        For times it is the median of each step's ratio, since a machine's speed drifts from step to
        step.
        """
        return {
            "seconds": statistics.median(_ratio(step, "seconds") for step in self.steps),
            "cpu_seconds": statistics.median(_ratio(step, "cpu_seconds") for step in self.steps),
            "flops": _ratio(self.first, "flops"),
        }


def measure(pair: BenchmarkPair, setting: BenchmarkConfig) -> Iterator[Measured]:
    """Take guided steps, and time them by rounds.

    Operations are counted in the first round. It is slower than the others, by a share that falls
    with the length of a step, and is left out unless ``setting.warm_up`` is off.

    Args:
        pair: Pair to measure.
        setting: Its sizes, device and type, and the rounds, at most what the sampler has steps for.

    Yields:
        The costs so far, after every timed round.

    Raises:
        UserError: The pair cannot be made in these sizes, or values overflowed.
    """
    repeats, warm_up = setting.repeats, setting.warm_up
    case = pair.set_up(setting)
    generation = case.generation(setting)
    most = case.steps // setting.joint_every - int(warm_up)
    if most < 1:
        raise UserError(f"guidance at every {setting.joint_every} steps: ask for fewer")
    if repeats > most:
        raise UserError(f"{repeats} repeats: ask for 1 to {most}")
    counter = FlopCounterMode(display=False, custom_mapping=_FORMULAS)
    profiler = Profiler(torch.device(setting.device), counter.get_total_flops)
    for part, network in case.networks.items():
        profiler.watch(network, part)
    shapes = case.model.latent_shapes(case.seconds).map(lambda one: (setting.batch, *one))
    noise = NoiseSource.from_seeds(range(setting.seed, setting.seed + setting.batch))
    run = generation.sampler.run(
        ProfiledDenoiser(generation.denoiser(), profiler),
        generation.sampler.initial(noise, shapes.map(torch.Size)),
        case.model.encode_prompts([case.prompt] * setting.batch),
        noise,
    )
    with counter:
        first = _round(run, profiler, setting.joint_every)
    measured = Measured(shapes, case.weights, first, () if warm_up else (first,))
    if not warm_up:
        yield measured
    while len(measured.steps) < repeats:
        taken = _round(run, profiler, setting.joint_every)
        measured = replace(measured, steps=(*measured.steps, taken))
        yield measured


def _round(run: Iterator[AV[Tensor]], profiler: Profiler, steps: int) -> Accounts:
    for _ in range(steps):
        with profiler.part(SCHEDULER):
            z = next(run)
        if not (z.audio.isfinite().all() and z.video.isfinite().all()):
            raise UserError("the latents ran over: random weights need a wider type than this one")
    return profiler.close()


def _ratio(step: Accounts, quantity: str) -> float:
    """Divide the discriminator's cost by that of all base models, in one step."""
    bases = sum(getattr(step[part], quantity) for part in BASES if part in step)
    return getattr(step[DISCRIMINATOR], quantity) / bases


def _attention(query: Any, key: Any, *_: Any, **__: Any) -> int:
    """Count query by key and weights by value, matrix products of (b, heads, n, width)."""
    batch, heads, asking, width = query
    return 4 * batch * heads * asking * key[2] * width


def _attention_backward(_: Any, query: Any, key: Any, *__: Any, **___: Any) -> int:
    """Count five such products, of which one recomputes the weights."""
    return 5 * _attention(query, key) // 2


def _add_product(_: Any, left: Any, right: Any, **__: Any) -> int:
    return 2 * left[0] * left[1] * right[1]


# operators that torch's own counter leaves out on a CPU
_FORMULAS: Final[dict[Any, Any]] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    torch.ops.aten.addmm_: _add_product,
}

"""Measurement of guided steps, with costs added up by part. Knows no files and no pair by name."""

import statistics
from collections.abc import Callable, Iterator, Mapping
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
    Profiler,
)
from mmdisco.experiments.benchmark.subject import BenchmarkConfig, BenchmarkPair

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

    shapes: AV[torch.Size]
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
            calls=self.first[part].calls,
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
            "seconds": statistics.median(_ratio(step, _seconds) for step in self.steps),
            "cpu_seconds": statistics.median(_ratio(step, _cpu_seconds) for step in self.steps),
            "flops": _ratio(self.first, _flops),
        }


def measure(
    pair: BenchmarkPair, setting: BenchmarkConfig, repeats: int, *, warm_up: bool = True
) -> Iterator[Measured]:
    """Take guided steps, and time them by rounds.

    Operations are counted in the first round. It is slower than the others, by a share that falls
    with the length of a step, and is left out unless ``warm_up`` is off.

    Args:
        pair: Pair to measure.
        setting: Its sizes, device and type.
        repeats: Number of timed rounds, at least 1 and at most what the sampler has steps for.
        warm_up: Whether there is a round before them.

    Yields:
        The costs so far, after every timed round.

    Raises:
        UserError: The pair cannot be made in these sizes, or values overflowed.
    """
    counter = FlopCounterMode(display=False, custom_mapping=_FORMULAS)
    ledger = Profiler(setting.device, counter.get_total_flops)
    subject = pair.set_up(setting, ledger)
    most = subject.sampler.steps // setting.guidance_every - int(warm_up)
    if most < 1:
        raise UserError(f"guidance at every {setting.guidance_every} steps: ask for fewer")
    if not 1 <= repeats <= most:
        raise UserError(f"{repeats} repeats: ask for 1 to {most}")
    noise = NoiseSource.from_seeds([setting.seed + clip for clip in range(setting.batch)])
    z_T = subject.sampler.initial(noise, subject.shapes)
    run = subject.sampler.run(subject.denoiser, z_T, subject.cond, noise)
    with counter:
        first = _round(run, ledger, setting.guidance_every)
    measured = Measured(subject.shapes, subject.weights, first, () if warm_up else (first,))
    if not warm_up:
        yield measured
    while len(measured.steps) < repeats:
        taken = _round(run, ledger, setting.guidance_every)
        measured = replace(measured, steps=(*measured.steps, taken))
        yield measured


def _round(run: Iterator[AV[Tensor]], ledger: Profiler, steps: int) -> Accounts:
    for _ in range(steps):
        _step(run, ledger)
    return ledger.close()


def _step(run: Iterator[AV[Tensor]], ledger: Profiler) -> None:
    with ledger.part(SCHEDULER):
        z = next(run)
    if not (z.audio.isfinite().all() and z.video.isfinite().all()):
        raise UserError("the latents ran over: random weights need a wider type than this one")


def _seconds(cost: Cost) -> float:
    return cost.seconds


def _cpu_seconds(cost: Cost) -> float:
    return cost.cpu_seconds


def _flops(cost: Cost) -> float:
    return float(cost.flops)


def _ratio(step: Accounts, of: Callable[[Cost], float]) -> float:
    """Divide the discriminator's cost by that of all base models, in one step."""
    return of(step[DISCRIMINATOR]) / sum(of(step[part]) for part in BASES if part in step)


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

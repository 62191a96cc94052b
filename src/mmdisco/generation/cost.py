"""What a joint run costs, before it is run: passes, operations, weights and memory of each network.

Counted, not measured: both pipelines make their own run with networks that compute shapes alone.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only
from typing_extensions import override

from mmdisco.adapters.stock.dry_run import Passes, dry_pipeline, on_meta
from mmdisco.adapters.stock.meta import MetaCount
from mmdisco.core.av import AV
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.log_ratio import LogRatio, log_ratio_gradient
from mmdisco.core.noise import NoiseLevel
from mmdisco.io.reports import markdown_table
from mmdisco.io.shapes import Logit

_GB: Final = 1e9
_TERA: Final = 1e12
_DENOISERS: Final = ("transformer", "transformer_2", "unet", "denoiser", "joint")
_HEADER: Final = (
    "network",
    "parameters",
    "weights, GB",
    "passes",
    "a step",
    "TFLOP",
    "share, %",
    "activations, GB",
)


@dataclass(frozen=True)
class NetworkCost:
    """Cost of one network.

    Attributes:
        side: "video", "audio", "joint" or "discriminator".
        name: Name of the component in its pipeline.
        kind: Class of the network.
        parameters: Number of parameters.
        weights: Bytes of the weights.
        passes: Passes of a run. The discriminator's are forward and backward where it guides, and
            forward alone where it ranks or resamples candidates.
        batch: Most samples of a pass, which classifier-free guidance doubles in most pipelines.
        operations: Floating-point operations of a run; an addition and a multiplication are two.
        activations: Most bytes at a time beside the weights.
    """

    side: str
    name: str
    kind: str
    parameters: int
    weights: int
    passes: int
    batch: int
    operations: int
    activations: int

    @property
    def title(self) -> str:
        """Side and component, such as "video transformer"; the discriminator is both."""
        return self.side if self.side == self.name else f"{self.side} {self.name}"

    @classmethod
    def of(cls, side: str, passes: Passes) -> "NetworkCost":
        """Return the cost of a network's passes."""
        own = passes
        counted = (own.count, own.batch, own.operations, own.peak)
        return cls(side, own.name, own.kind, own.parameters, own.weights, *counted)


@dataclass(frozen=True)
class JointCost:
    """Cost of a joint run by network.

    Attributes:
        networks: Every network of both pipelines, and the discriminator.
        steps: Steps of either pipeline.
        capacity: Bytes of the device; ``None`` if that is not known.
    """

    networks: tuple[NetworkCost, ...]
    steps: AV[int]
    capacity: int | None = None

    @property
    def operations(self) -> int:
        """Floating-point operations of a run."""
        return sum(one.operations for one in self.networks)

    @property
    def discriminator_share(self) -> float:
        """Operations of the discriminator over those of all other networks."""
        own = sum(one.operations for one in self.networks if one.side == "discriminator")
        return own / max(self.operations - own, 1)

    @property
    def weights(self) -> int:
        """Bytes of all weights."""
        return sum(one.weights for one in self.networks)

    @property
    def memory(self) -> int:
        """Bytes with all networks on the device: the weights, and the largest activations."""
        return self.weights + max((one.activations for one in self.networks), default=0)

    @property
    def memory_offloaded(self) -> int:
        """Bytes with one network on the device at a time, as ``enable_model_cpu_offload`` does."""
        return max((one.weights + one.activations for one in self.networks), default=0)

    @property
    def fits(self) -> bool | None:
        """Whether all networks fit on the device; ``None`` if that is not known."""
        return None if self.capacity is None else self.memory <= self.capacity

    @property
    def fits_offloaded(self) -> bool | None:
        """The same with one network at a time."""
        return None if self.capacity is None else self.memory_offloaded <= self.capacity

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers for JSON."""
        return {
            "networks": [asdict(one) for one in self.networks],
            "steps": asdict(self.steps),
            "operations": self.operations,
            "discriminator_share": self.discriminator_share,
            "weights": self.weights,
            "memory": self.memory,
            "memory_offloaded": self.memory_offloaded,
            "capacity": self.capacity,
            "fits": self.fits,
            "fits_offloaded": self.fits_offloaded,
        }

    def __str__(self) -> str:
        rows = [self._row(one) for one in self.networks if one.passes]
        own = f"{100 * self.discriminator_share:.2g} % of the other networks' operations"
        return "\n".join(
            [
                markdown_table(_HEADER, rows),
                "",
                f"Steps: {self.steps.video} of the video, {self.steps.audio} of the sound. "
                f"{self.operations / _TERA:,.4g} TFLOP; the discriminator takes {own}.",
                self._verdict(),
            ]
        )

    def passes_a_step(self, one: NetworkCost) -> float | None:
        """Return the passes a step of a denoiser or the discriminator; ``None`` of others.

        A step of the discriminator is one of the side with more of them.
        """
        if one.side == "discriminator":
            return one.passes / max(self.steps.audio, self.steps.video, 1)
        steps = self.steps.audio if one.side == "audio" else self.steps.video
        return one.passes / max(steps, 1) if one.name in _DENOISERS else None

    def _row(self, one: NetworkCost) -> list[str]:
        batch = f" of {one.batch}" if one.batch > 1 else ""
        rate = self.passes_a_step(one)
        return [
            one.title,
            _number(one.parameters),
            f"{one.weights / _GB:.2f}",
            f"{one.passes}{batch}",
            "–" if rate is None else f"{rate:.3g}",
            f"{one.operations / _TERA:.4g}",
            f"{100 * one.operations / max(self.operations, 1):.2g}",
            f"{one.activations / _GB:.2f}",
        ]

    def _verdict(self) -> str:
        whole, apart = (f"{size / _GB:.1f} GB" for size in (self.memory, self.memory_offloaded))
        needs = f"Memory: {whole} with all networks on the device, {apart} with one at a time"
        if self.capacity is None:
            return f"{needs}."
        has = f"the device has {self.capacity / _GB:.1f} GB"
        if self.fits:
            return f"{needs}; {has}: it fits."
        if self.fits_offloaded:
            return f"{needs}; {has}: it fits with one at a time, enable_model_cpu_offload()."
        largest = max(self.networks, key=lambda one: one.weights + one.activations)
        return (
            f"{needs}; {has}: it does not fit, and the {largest.title} needs most; "
            f"{_advice(largest)}."
        )


def count_cost(
    pipes: Mapping[str, Any],
    discriminator: Discriminator | None,
    run: Callable[[Mapping[str, Any], Discriminator | None], Any],
    capacity: int | None = None,
) -> JointCost:
    """Count the cost of a run.

    Args:
        pipes: Pipelines by side: "video" and "audio", or "joint"; left as they are.
        discriminator: The discriminator, if there is one.
        run: Runs pipelines that compute no network, with a discriminator that does not either.
        capacity: Bytes of the device; its own unless given.

    Raises:
        UserError: A network's course depends on numbers, or ``run`` raises one.
    """
    dry = {side: dry_pipeline(pipe) for side, pipe in pipes.items()}
    judged = None if discriminator is None else CountingDiscriminator(discriminator)
    run({side: pipe for side, (pipe, _) in dry.items()}, judged)
    networks = [NetworkCost.of(side, one) for side, (_, own) in dry.items() for one in own]
    if judged is not None:
        networks.append(NetworkCost.of("discriminator", judged.passes))
    made = {side: _steps(*one) for side, one in dry.items()}
    steps = AV(*(made.get(side, made.get("joint", 0)) for side in ("audio", "video")))
    device = next(iter(pipes.values()))._execution_device
    return JointCost(tuple(networks), steps, capacity or capacity_of(torch.device(device)))


class CountingDiscriminator(Discriminator):
    """Stands in for a discriminator: counts, and returns a logit without a gradient.

    Attributes:
        passes: Its passes so far.
    """

    def __init__(self, network: Discriminator) -> None:
        super().__init__()
        self.passes = Passes.of("discriminator", network)
        self.config = getattr(network, "config", None)
        # not a module of this one, whose device is where the run is
        self._network: tuple[Any, ...] = (on_meta(network),)
        self._seen: dict[Any, tuple[int, int]] = {}

    @override
    def forward(self, z_t: AV[Tensor], level: AV[NoiseLevel], text: AV[Tensor]) -> Logit:
        differentiated = torch.is_grad_enabled()
        key = (z_t.audio.shape, z_t.video.shape, differentiated)
        if key not in self._seen:
            count = gradient_cost if differentiated else pass_cost
            self._seen[key] = count(self._network[0], z_t, level, text)
        self.passes.add(*self._seen[key], len(z_t.audio))
        return 0 * (z_t.audio.flatten(1).sum(1) + z_t.video.flatten(1).sum(1))


class CountingGradient:
    """Stands in for a distilled network as a ``GradientSource``: counts, and guides nothing.

    Attributes:
        passes: Passes of the network so far.
    """

    def __init__(self, network: nn.Module) -> None:
        self.passes = Passes.of("distilled", network)
        self._network: Any = on_meta(network)
        self._seen: dict[Any, tuple[int, int]] = {}

    def __call__(
        self,
        discriminator: Discriminator,
        z_t: AV[Tensor],
        level: AV[NoiseLevel],
        text: AV[Tensor],
    ) -> LogRatio:
        """Count a pass, and return zeros."""
        key = (z_t.audio.shape, z_t.video.shape)
        if key not in self._seen:
            self._seen[key] = pass_cost(self._network, z_t, level, text)
        self.passes.add(*self._seen[key], len(z_t.audio))
        return LogRatio(z_t.audio.new_zeros(len(z_t.audio)), z_t.map(torch.zeros_like))


def gradient_cost(
    network: Any, z_t: AV[Tensor], level: AV[NoiseLevel], text: AV[Tensor]
) -> tuple[int, int]:
    """Count the operations, and the most bytes of activations, of a logit and its gradient.

    Args:
        network: A discriminator whose weights are on the meta device.
        z_t: Latents, for their shapes.
        level: Their noise levels.
        text: Pooled captions.
    """
    count = MetaCount(network.parameters())
    there, embedded = (tree_map_only(Tensor, _to_meta, one) for one in (_pair(z_t), _pair(text)))
    with count:
        log_ratio_gradient(lambda z: network(z, level, AV(*embedded)), AV(*there))
    return count.operations, count.peak


def pass_cost(
    network: Any, z_t: AV[Tensor], level: AV[NoiseLevel], text: AV[Tensor]
) -> tuple[int, int]:
    """Count the same for one forward pass, which keeps nothing for a gradient.

    Args:
        network: A network whose weights are on the meta device.
        z_t: Latents, for their shapes.
        level: Their noise levels.
        text: Pooled captions.
    """
    count = MetaCount(network.parameters())
    with count, torch.no_grad():
        network(z_t.map(_to_meta), level, text.map(_to_meta))
    return count.operations, count.peak


def _pair(values: AV[Tensor]) -> tuple[Tensor, Tensor]:
    return values.audio, values.video


def _to_meta(x: Tensor) -> Tensor:
    return x.to("meta")


def _steps(pipe: Any, passes: Sequence[Passes]) -> int:
    # a given side makes no step, and its denoiser no pass
    made = any(one.count for one in passes if one.name in _DENOISERS)
    return len(pipe.scheduler.timesteps) if made else 0


def capacity_of(device: torch.device) -> int | None:
    """Return the bytes of memory of a device; ``None`` if that is not known."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    if device.type == "cpu":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def _advice(largest: NetworkCost) -> str:
    if largest.weights > largest.activations:
        return "quantize it, or take a smaller model"
    if largest.name == "vae":
        return "call vae.enable_tiling(), or ask for a smaller or shorter clip"
    return "ask for a smaller or shorter clip"


def _number(count: int) -> str:
    return f"{count / 1e9:.3g} B" if count >= 1e9 else f"{count / 1e6:.3g} M"

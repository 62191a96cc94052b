"""A pipeline's own scheduler: the noise level of a latent that it is about to step, and ε.

Four ways to keep a latent cover diffusers' schedulers. All are x_t = α x_0 + σ ε:

    table    α² = ᾱ_t of the timestep itself            DDIM, DDPM, PNDM, LCM, CogVideoX
    sigmas   σ/α is ``sigmas[step_index]``, VP units    DPM-Solver, UniPC, DEIS, SA-Solver
             the same with α = 1                        Euler, Heun, LMS
    flow     σ is ``sigmas[step_index]``, α = 1 − σ     flow-match Euler and Heun, UniPC for flows
    EDM      σ likewise with α = 1, preconditioned      EDM Euler, EDM and cosine DPM-Solver
"""

import copy
import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from diffusers import DDIMScheduler
from torch import Tensor
from typing_extensions import override

from mmdisco.core.noise import NoiseLevel, NoiseSchedule, broadcast_like, flow_matching
from mmdisco.core.parameterization import (
    CleanSample,
    Epsilon,
    FlowVelocity,
    Prediction,
    VPrediction,
)
from mmdisco.errors import UserError
from mmdisco.io.shapes import Latent, PerSample

_PREDICTIONS: Final[dict[str, Prediction]] = {
    "epsilon": Epsilon(),
    "sample": CleanSample(),
    "v_prediction": VPrediction(),
}


class SchedulerLevels(ABC):
    """Noise levels of one kind of scheduler, and the parameterization of what it is given.

    Attributes:
        schedule: (α, σ) of the network's own times.
        prediction: Parameterization of ``model_output``, of latents in the scheduler's own units.
        shift: Timestep shift of its runs, where it is the same for all latents.
    """

    schedule: NoiseSchedule
    prediction: Prediction
    shift: float = 1.0

    @abstractmethod
    def level(self, scheduler: Any, t: Any) -> NoiseLevel:
        """Return the level, a batch of one, of a sample that ``scheduler`` is about to step.

        Args:
            scheduler: Scheduler in the middle of a run.
            t: The timestep that its ``step`` is given.
        """

    @abstractmethod
    def sigma(self, level: NoiseLevel) -> float | None:
        """Return the entry of the scheduler's ``sigmas`` at a level; ``None`` if it has none."""

    def timestep(self, level: NoiseLevel) -> Tensor:
        """Return the timestep of the network at a level: a number, or one for each sample."""
        return level.t.squeeze()

    def visiting(self, scheduler: Any, levels: Sequence[NoiseLevel]) -> Any:
        """Return a copy of a scheduler whose runs visit exactly these levels, none or one.

        ``set_timesteps`` keeps its signature, which pipelines inspect, and takes the device only;
        latents that a pipeline is given are not scaled.
        """
        visited = copy.copy(scheduler)
        times = torch.zeros(0, dtype=torch.float64)
        if levels:
            times = torch.stack([self.timestep(one).double() for one in levels])
        whole = not bool((times % 1).any()) and not scheduler.timesteps.is_floating_point()
        sigmas = [self.sigma(one) for one in levels]

        def set_timesteps(*_: Any, device: Any = None, **__: Any) -> None:
            visited.timesteps = times.to(device=device, dtype=torch.int64 if whole else torch.float)
            visited.num_inference_steps = len(times)
            if None not in sigmas and hasattr(visited, "sigmas"):
                visited.sigmas = torch.tensor([*sigmas, 0.0], dtype=torch.float32)
            if hasattr(visited, "_step_index"):
                visited._step_index, visited._begin_index = None, 0

        visited.set_timesteps = functools.wraps(scheduler.set_timesteps)(set_timesteps)
        # a property of some classes, an attribute of others
        scaled = type(scheduler)
        visited.__class__ = type(scaled.__name__, (scaled,), {"init_noise_sigma": 1.0})
        visited.__dict__.pop("init_noise_sigma", None)
        return visited


@dataclass(frozen=True)
class TableLevels(SchedulerLevels):
    """Schedulers without ``sigmas``, which look ᾱ up by the timestep."""

    schedule: NoiseSchedule
    prediction: Prediction

    @override
    def level(self, scheduler: Any, t: Any) -> NoiseLevel:
        alpha_cumprod = scheduler.alphas_cumprod[int(t)].double().reshape(1)
        return NoiseLevel(_one(t), alpha_cumprod.sqrt(), (1 - alpha_cumprod).sqrt())

    @override
    def sigma(self, level: NoiseLevel) -> float | None:
        return None


@dataclass(frozen=True)
class SigmaLevels(SchedulerLevels):
    """Schedulers whose ``sigmas`` hold σ/α, with latents in VP or VE units.

    Attributes:
        vp: Whether latents are VP; otherwise x_0 + (σ/α) ε.
    """

    schedule: NoiseSchedule
    prediction: Prediction
    vp: bool

    @override
    def level(self, scheduler: Any, t: Any) -> NoiseLevel:
        ratio = _current_sigma(scheduler, t)
        alpha = 1 / torch.hypot(ratio, torch.ones_like(ratio)) if self.vp else ratio * 0 + 1
        return NoiseLevel(_one(t), alpha, ratio * alpha)

    @override
    def sigma(self, level: NoiseLevel) -> float | None:
        return float(level.sigma / level.alpha)


@dataclass(frozen=True)
class FlowLevels(SchedulerLevels):
    """Flow-matching schedulers.

    Attributes:
        steps: Timestep of σ = 1.
        inverted: Whether ``sigmas`` hold 1 − σ and time runs from 0 to the clean sample.
        shift: As of ``SchedulerLevels``.
    """

    schedule: NoiseSchedule
    prediction: Prediction
    steps: int
    inverted: bool = False
    shift: float = 1.0

    @override
    def level(self, scheduler: Any, t: Any) -> NoiseLevel:
        own = _current_sigma(scheduler, t)
        sigma = 1 - own if self.inverted else own
        time = self.steps - _one(t) if self.inverted else _one(t)
        return NoiseLevel(time, 1 - sigma, sigma)

    @override
    def sigma(self, level: NoiseLevel) -> float | None:
        return float(1 - level.sigma if self.inverted else level.sigma)

    @override
    def timestep(self, level: NoiseLevel) -> Tensor:
        return (self.steps - level.t if self.inverted else level.t).squeeze()


@dataclass(frozen=True)
class EDMLevels(SchedulerLevels):
    """Preconditioned schedulers (Karras et al. 2022, Table 1)."""

    schedule: NoiseSchedule
    prediction: Prediction

    @override
    def level(self, scheduler: Any, t: Any) -> NoiseLevel:
        sigma = _current_sigma(scheduler, t)
        return NoiseLevel(_one(t), sigma * 0 + 1, sigma)

    @override
    def sigma(self, level: NoiseLevel) -> float | None:
        return float(level.sigma)


@dataclass(frozen=True)
class _EDMPrediction(Prediction):
    """x̂_0 = c_skip x + c_out F; ``sign`` is that of c_out."""

    sigma_data: float
    sign: float

    def _coefficients(self, level: NoiseLevel) -> tuple[PerSample, PerSample]:
        square = level.sigma.square() + self.sigma_data**2
        c_out = self.sign * level.sigma * self.sigma_data / square.sqrt()
        return self.sigma_data**2 / square, c_out

    @override
    def to_eps(self, output: Latent, x_t: Latent, level: NoiseLevel) -> Latent:
        c_skip, c_out = (broadcast_like(one, x_t) for one in self._coefficients(level))
        return CleanSample().to_eps(c_skip * x_t + c_out * output, x_t, level)

    @override
    def from_eps(self, eps: Latent, x_t: Latent, level: NoiseLevel) -> Latent:
        c_skip, c_out = (broadcast_like(one, x_t) for one in self._coefficients(level))
        return (level.predict_x0(x_t, eps) - c_skip * x_t) / c_out

    @override
    def gain(self, level: NoiseLevel) -> PerSample:
        return -level.sigma / self._coefficients(level)[1]


@dataclass(frozen=True)
class _InVPUnits(Prediction):
    """Prediction of a VP network whose latents are kept in other units."""

    vp: Prediction

    @override
    def to_eps(self, output: Latent, x_t: Latent, level: NoiseLevel) -> Latent:
        return self.vp.to_eps(output, level.to_vp(x_t), _vp(level))

    @override
    def from_eps(self, eps: Latent, x_t: Latent, level: NoiseLevel) -> Latent:
        return self.vp.from_eps(eps, level.to_vp(x_t), _vp(level))

    @override
    def gain(self, level: NoiseLevel) -> PerSample:
        return self.vp.gain(_vp(level))


@dataclass(frozen=True)
class _Negated(Prediction):
    """The negative of another prediction: x_0 − ε for inverted flows."""

    positive: Prediction

    @override
    def to_eps(self, output: Latent, x_t: Latent, level: NoiseLevel) -> Latent:
        return self.positive.to_eps(-output, x_t, level)

    @override
    def from_eps(self, eps: Latent, x_t: Latent, level: NoiseLevel) -> Latent:
        return -self.positive.from_eps(eps, x_t, level)

    @override
    def gain(self, level: NoiseLevel) -> PerSample:
        return -self.positive.gain(level)


def read_scheduler(scheduler: Any) -> SchedulerLevels:
    """Read levels and prediction from a scheduler's class and configuration.

    Raises:
        UserError: The scheduler is of no known kind.
    """
    config, name = scheduler.config, type(scheduler).__name__
    predicted = config.get("prediction_type", "epsilon")
    if hasattr(scheduler, "precondition_outputs"):
        return _edm(scheduler)
    if "FlowMatch" in name or predicted == "flow_prediction" or config.get("use_flow_sigmas"):
        steps, inverted = config["num_train_timesteps"], bool(config.get("invert_sigmas"))
        table = flow_matching()
        schedule = NoiseSchedule(table.sigmas * steps, table.alphas, table.sigmas)
        velocity = _Negated(FlowVelocity()) if inverted else FlowVelocity()
        shift = 1.0 if config.get("use_dynamic_shifting") else _shift(config)
        return FlowLevels(schedule, velocity, steps, inverted, shift)
    table = getattr(scheduler, "alphas_cumprod", None)
    if not isinstance(table, Tensor) or predicted not in _PREDICTIONS:
        raise UserError(
            f"{name} (prediction_type {predicted!r}) is no known scheduler: set one that diffuses "
            "with ᾱ, flows, or preconditions as EDM does, such as DDIM, UniPC or flow-match Euler"
        )
    return _diffusion(scheduler, table.double().cpu(), _PREDICTIONS[predicted])


def as_trained(scheduler: Any) -> DDIMScheduler:
    """Return a scheduler with the noise levels and the prediction of a network's training alone.

    A checkpoint's own may keep latents in other units, rescale its steps or clip.

    Raises:
        UserError: It has no table of β, or a prediction type that is not known.
    """
    name = type(scheduler).__name__
    if not isinstance(getattr(scheduler, "betas", None), Tensor):
        raise UserError(
            f"{name} has no table of β: give the scheduler that the network was trained with"
        )
    predicted = scheduler.config.get("prediction_type", "epsilon")
    if predicted not in _PREDICTIONS:
        raise UserError(
            f"{name} is configured for {predicted!r}: choose one of {', '.join(_PREDICTIONS)}"
        )
    kind: Any = DDIMScheduler
    return kind.from_config(scheduler.config)


def _diffusion(scheduler: Any, table: Tensor, prediction: Prediction) -> SchedulerLevels:
    # a last row without any signal says nothing of x_0
    table = table[table > 0]
    times = torch.arange(len(table), dtype=torch.float64)
    schedule = NoiseSchedule(times, table.sqrt(), (1 - table).sqrt())
    if not hasattr(scheduler, "sigmas"):
        return TableLevels(schedule, prediction)
    if hasattr(scheduler, "_sigma_to_alpha_sigma_t"):
        return SigmaLevels(schedule, prediction, vp=True)
    ratio = schedule.sigmas / schedule.alphas
    return SigmaLevels(NoiseSchedule(times, ratio * 0 + 1, ratio), _InVPUnits(prediction), vp=False)


def _edm(scheduler: Any) -> SchedulerLevels:
    config = scheduler.config
    low, high = (torch.tensor(float(config[f"sigma_{end}"])).log() for end in ("min", "max"))
    sigmas = torch.linspace(float(low), float(high), 1000, dtype=torch.float64).exp()
    times = scheduler.precondition_noise(sigmas)
    sign = -1.0 if config["prediction_type"] == "v_prediction" else 1.0
    return EDMLevels(
        NoiseSchedule(times, sigmas * 0 + 1, sigmas), _EDMPrediction(config["sigma_data"], sign)
    )


def _shift(config: Any) -> float:
    return float(config.get("flow_shift") or config.get("shift") or 1.0)


def _vp(level: NoiseLevel) -> NoiseLevel:
    return NoiseLevel(level.t, level.alpha / level.magnitude, level.sigma / level.magnitude)


def _one(t: Any) -> Tensor:
    return torch.as_tensor(t).double().cpu().reshape(-1)[:1]


def _current_sigma(scheduler: Any, t: Any) -> Tensor:
    if scheduler.step_index is None:
        scheduler._init_step_index(t)
    return scheduler.sigmas[scheduler.step_index].double().cpu().reshape(1)

"""Any diffusers scheduler as the solver of one modality.

A scheduler is given a table of exactly the levels that the run visits, through
``trained_betas`` or its ``sigmas``. That fixes its timesteps, and lets a VP scheduler solve a
VE or a flow model as well: only σ/α and the noise prediction enter, the rest is units.
Independent of models.

    VP units    x / √(α² + σ²)    DDPM, DDIM, DPM-Solver++, UniPC and most others
    VE units    x / α             Euler and its kin, which keep x_0 + (σ/α) ε
    flow units  x / (α + σ)       flow-match Euler and Heun, which keep (1 − s) x_0 + s ε

``SOLVERS`` names them for a command line; no other string chooses one.
"""

import copy
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    DPMSolverSinglestepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Generator, Tensor
from typing_extensions import override

from mmdisco.core.noise import NoiseLevel
from mmdisco.errors import UserError
from mmdisco.io.shapes import Latent


class SolverState(ABC):
    """State of one modality's scheduler during one run, with its multistep history."""

    @abstractmethod
    def step(self, index: int, x_t: Latent, eps: Latent, noise: list[Generator]) -> Latent:
        """Step from level ``index`` to the next one; from the last one to the clean latent.

        Args:
            index: The step, from 0; each step once and in order.
            x_t: Latent in the units of its own schedule.
            eps: Predicted noise at ``x_t``.
            noise: Generators for schedulers that add noise.
        """

    def arrival(self, levels: NoiseLevel, index: int) -> NoiseLevel:
        """Return the level at which step ``index`` ends, a batch of one: the next one, or clean.

        Args:
            levels: Levels of the run.
            index: The step, from 0.
        """
        return levels.at(index + 1) if index + 1 < len(levels.sigma) else NoiseLevel.clean(1)

    @abstractmethod
    def copy(self) -> "SolverState":
        """Return a copy of the present state, so that a step can be repeated."""

    @abstractmethod
    def take(self, rows: Sequence[int]) -> "SolverState":
        """Return the state in which a run of some samples of the batch alone would be.

        Args:
            rows: Positions of the samples; one may be there several times.
        """


class Solver(ABC):
    """Scheduler of one modality: immutable, begins any number of runs."""

    @abstractmethod
    def begin(self, levels: NoiseLevel) -> SolverState:
        """Begin a run over ``levels``, from the most noise to the least."""


@dataclass(frozen=True)
class NoOpSolver(Solver, SolverState):
    """Leaves its side unchanged: the given side of one-sided generation."""

    @override
    def begin(self, levels: NoiseLevel) -> SolverState:
        return self

    @override
    def step(self, index: int, x_t: Latent, eps: Latent, noise: list[Generator]) -> Latent:
        return x_t

    @override
    def copy(self) -> SolverState:
        return self

    @override
    def take(self, rows: Sequence[int]) -> SolverState:
        return self


@dataclass(frozen=True)
class VPSolver(Solver):
    """A scheduler that keeps VP latents (DDPM, DDIM, DPM-Solver++, UniPC).

    Attributes:
        scheduler: Gives its class and configuration; its timesteps, betas and prediction type are
            replaced.
        step_options: Further arguments of its ``step``, such as ``eta`` of DDIM.
    """

    scheduler: SchedulerMixin
    step_options: tuple[tuple[str, float], ...] = ()

    def begin(self, levels: NoiseLevel) -> SolverState:
        """Tabulate the levels as the scheduler's betas."""
        _expect_wrapper(self, self.scheduler)
        scheduler = _on_table(self.scheduler, levels)
        return _SchedulerRun(
            scheduler, _reciprocal(levels.magnitude), _no_conversion, dict(self.step_options)
        )


@dataclass(frozen=True)
class VESolver(Solver):
    """A scheduler that keeps x_0 + (σ/α) ε (Euler, Euler ancestral, LMS).

    Attributes:
        scheduler: Gives its class and configuration, as in ``VPSolver``.
    """

    scheduler: SchedulerMixin

    def begin(self, levels: NoiseLevel) -> SolverState:
        """Tabulate the levels as the scheduler's betas."""
        _expect_wrapper(self, self.scheduler)
        scheduler = _on_table(self.scheduler, levels)
        # such schedulers insist that their input was scaled; here the denoiser's own units do it
        scheduler.is_scale_input_called = True
        return _SchedulerRun(scheduler, _reciprocal(levels.alpha), _no_conversion, {})


@dataclass(frozen=True)
class FlowSolver(Solver):
    """A flow-matching scheduler, which keeps (1 − s) x_0 + s ε and steps along ε − x_0.

    Attributes:
        scheduler: Gives its class and configuration; its shift and sigmas are replaced.
    """

    scheduler: SchedulerMixin

    def begin(self, levels: NoiseLevel) -> SolverState:
        """Pass s = σ/(α + σ) of each level to the scheduler."""
        _expect_wrapper(self, self.scheduler)
        given: Any = self.scheduler
        scheduler = type(given).from_config(
            given.config, shift=1.0, use_dynamic_shifting=False, shift_terminal=None
        )
        mixture = levels.alpha + levels.sigma
        scheduler.set_timesteps(sigmas=(levels.sigma / mixture).tolist())
        _expect_one_step_a_level(scheduler, levels)
        # x = (1 − s) x_0 + s ε  ⇒  ε − x_0 = (ε − x) / (1 − s)
        share = (levels.alpha / mixture).tolist()

        def velocity(index: int, eps: Tensor, state: Tensor) -> Tensor:
            return (eps - state) / share[index]

        return _SchedulerRun(scheduler, _reciprocal(mixture), velocity, {})


def _expect_wrapper(solver: Solver, scheduler: Any) -> None:
    """Refuse a scheduler that keeps latents in other units than its wrapper gives it."""
    wanted: type[Solver] = VPSolver
    if type(scheduler).__name__.startswith("FlowMatch"):
        wanted = FlowSolver
    elif float(scheduler.init_noise_sigma) != 1:
        wanted = VESolver
    if not isinstance(solver, wanted):
        raise UserError(
            f"{type(scheduler).__name__} in {type(solver).__name__} takes wrong steps: give it to "
            f"{wanted.__name__}"
        )


class _SchedulerRun(SolverState):
    def __init__(
        self, scheduler: Any, scales: list[float], convert: Any, options: dict[str, float]
    ) -> None:
        self._scheduler = scheduler
        self._scales = scales
        self._convert = convert
        self._options = options
        self._shape: torch.Size | None = None  # of the latents, once there are some

    def step(self, index: int, x_t: Latent, eps: Latent, noise: list[Generator]) -> Latent:
        self._shape = x_t.shape
        state = x_t * self._scales[index]
        output = self._convert(index, eps, state)
        options: dict[str, Any] = dict(self._options)
        if _draws_noise(self._scheduler):
            options["generator"] = noise
        stepped = self._scheduler.step(
            output, self._scheduler.timesteps[index], state, return_dict=False, **options
        )[0]
        # some schedulers compute in float32 or float64 whatever their input
        return (stepped / self._scales[index + 1]).to(x_t.dtype)

    def copy(self) -> SolverState:
        return _SchedulerRun(
            copy.deepcopy(self._scheduler), self._scales, self._convert, self._options
        )

    def take(self, rows: Sequence[int]) -> SolverState:
        scheduler = copy.copy(self._scheduler)
        for name, value in vars(self._scheduler).items():
            vars(scheduler)[name] = _taken(value, self._shape, list(rows))
        taken = _SchedulerRun(scheduler, self._scales, self._convert, self._options)
        if self._shape is not None:
            taken._shape = torch.Size([len(rows), *self._shape[1:]])
        return taken


def _taken(value: Any, shape: torch.Size | None, rows: list[int]) -> Any:
    """Return some samples of what a scheduler holds: its history has the shape of the latents."""
    if isinstance(value, list):
        return [_taken(one, shape, rows) for one in value]
    return value[rows] if isinstance(value, Tensor) and value.shape == shape else value


def _no_conversion(index: int, eps: Tensor, state: Tensor) -> Tensor:
    return eps


def _reciprocal(units: Tensor) -> list[float]:
    # the clean latent at the end is the same in all units
    return [*(1 / units).tolist(), 1.0]


def _on_table(scheduler: Any, levels: NoiseLevel) -> Any:
    """Return a scheduler of the same class whose training table is the levels of the run."""
    steps = len(levels.sigma)
    snr = (levels.alpha / levels.sigma).square().flip(0)
    alphas_cumprod = snr / (1 + snr)
    previous = torch.cat([torch.ones(1, dtype=torch.float64), alphas_cumprod[:-1]])
    names = set(scheduler.config)
    settings = {
        "num_train_timesteps": steps,
        "trained_betas": (1 - alphas_cumprod / previous).tolist(),
        "rescale_betas_zero_snr": False,
        "prediction_type": "epsilon",
        "timestep_spacing": "trailing",
        "steps_offset": 0,
        "set_alpha_to_one": True,
        "final_sigmas_type": "zero",
        "use_karras_sigmas": False,
        "use_exponential_sigmas": False,
        "use_beta_sigmas": False,
        "use_flow_sigmas": False,
        "use_lu_lambdas": False,
    }
    known = {name: value for name, value in settings.items() if name in names}
    fresh: Any = type(scheduler).from_config(scheduler.config, **known)
    # with betas in single precision, the scheduler's own product underflows where few steps begin
    # at a level of hardly any signal
    fresh.alphas_cumprod = alphas_cumprod.to(torch.float32)
    if "timestep_spacing" in names:
        fresh.set_timesteps(steps)
    else:
        fresh.set_timesteps(timesteps=list(range(steps - 1, -1, -1)))
    _expect_one_step_a_level(fresh, levels)
    return fresh


def _expect_one_step_a_level(scheduler: Any, levels: NoiseLevel) -> None:
    if len(scheduler.timesteps) != len(levels.sigma):
        raise UserError(
            f"{type(scheduler).__name__} evaluates {len(scheduler.timesteps)} times in a run of "
            f"{len(levels.sigma)} steps: choose a scheduler with one evaluation a step"
        )


def adds_noise(solver: Solver, levels: NoiseLevel) -> bool:
    """Return whether a run over ``levels`` adds noise, without which equal samples stay equal."""
    x = torch.zeros(1, 1)
    draws = (torch.Generator().manual_seed(seed) for seed in (0, 1))
    first, second = (solver.begin(levels).step(0, x, x, [draw]) for draw in draws)
    return not torch.equal(first, second)


def _draws_noise(scheduler: Any) -> bool:
    return "generator" in inspect.signature(scheduler.step).parameters


def ddim(eta: float = 0.0) -> Solver:
    """DDIM (Song et al. 2021); η = 1 adds as much noise as DDPM.

    Args:
        eta: η in Eq. 16, from 0 (deterministic) to 1.
    """
    options = (("eta", eta),) if eta else ()
    return VPSolver(DDIMScheduler(clip_sample=False), options)


def ddpm(*, clip_sample: bool = False) -> Solver:
    """Ancestral sampling with the posterior variance (Ho et al. 2020, Eq. 7).

    Args:
        clip_sample: Whether to clip predicted clean latents to ±1, as is right for pixels.
    """
    return VPSolver(DDPMScheduler(clip_sample=clip_sample))


def dpm_solver_2m() -> Solver:
    """DPM-Solver++ 2M (Lu et al. 2022)."""
    return VPSolver(DPMSolverMultistepScheduler())


def dpm_solver_3m() -> Solver:
    """DPM-Solver++ 3M: third order, at the same cost per step."""
    return VPSolver(DPMSolverMultistepScheduler(solver_order=3))


def sde_dpm_solver_2m() -> Solver:
    """SDE-DPM-Solver++ 2M: second order for the SDE, with fresh noise at each step.

    The noise corrects errors of the base model at earlier steps.
    """
    return VPSolver(DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++"))


def dpm_solver_2s() -> Solver:
    """DPM-Solver++ 2S, its singlestep form; still one evaluation per level."""
    return VPSolver(DPMSolverSinglestepScheduler(lower_order_final=True))


def unipc() -> Solver:
    """UniPC of order 2 (Zhao et al. 2023)."""
    return VPSolver(UniPCMultistepScheduler())


def euler() -> Solver:
    """Euler steps in σ/α (Karras et al. 2022, Algorithm 1 with order 1)."""
    return VESolver(EulerDiscreteScheduler())


def euler_ancestral() -> Solver:
    """Euler steps to a lower level, noised back to the next one."""
    return VESolver(EulerAncestralDiscreteScheduler())


def flow_euler() -> Solver:
    """Euler steps along the flow-matching path."""
    return FlowSolver(FlowMatchEulerDiscreteScheduler())


SOLVERS: Final[dict[str, Callable[[], Solver]]] = {
    "ddim": ddim,
    "ddpm": ddpm,
    "ddpm-clip": partial(ddpm, clip_sample=True),
    "dpm++2m": dpm_solver_2m,
    "dpm++3m": dpm_solver_3m,
    "sde-dpm++2m": sde_dpm_solver_2m,
    "dpm++2s": dpm_solver_2s,
    "unipc": unipc,
    "euler": euler,
    "euler-ancestral": euler_ancestral,
    "flow-euler": flow_euler,
}


def solver(name: str) -> Solver:
    """Build the scheduler of a name.

    Raises:
        UserError: The name is not in ``SOLVERS``.
    """
    if name not in SOLVERS:
        raise UserError(f"unknown scheduler {name!r}: choose one of {', '.join(SOLVERS)}")
    return SOLVERS[name]()

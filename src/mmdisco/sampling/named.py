"""The solvers that a command line can name. The only strings that choose one."""

from collections.abc import Callable
from functools import partial

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

from mmdisco.errors import UserError
from mmdisco.sampling.solvers import FlowSolver, Solver, VESolver, VPSolver


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
        clip_sample: Whether predicted clean latents are cut off at ±1, as befits pixels.
    """
    return VPSolver(DDPMScheduler(clip_sample=clip_sample))


def dpm_solver_2m() -> Solver:
    """DPM-Solver++ 2M (Lu et al. 2022)."""
    return VPSolver(DPMSolverMultistepScheduler())


def dpm_solver_3m() -> Solver:
    """DPM-Solver++ 3M: third order, at the same cost a step."""
    return VPSolver(DPMSolverMultistepScheduler(solver_order=3))


def sde_dpm_solver_2m() -> Solver:
    """SDE-DPM-Solver++ 2M: second order for the stochastic process, with new noise at each step.

    The noise corrects what a base got wrong at the steps before.
    """
    return VPSolver(DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++"))


def dpm_solver_2s() -> Solver:
    """DPM-Solver++ 2S, its singlestep form; an evaluation at every level all the same."""
    return VPSolver(DPMSolverSinglestepScheduler(lower_order_final=True))


def unipc() -> Solver:
    """UniPC of order 2 (Zhao et al. 2023)."""
    return VPSolver(UniPCMultistepScheduler())


def euler() -> Solver:
    """Euler steps in σ/α (Karras et al. 2022, Algorithm 1 with order 1)."""
    return VESolver(EulerDiscreteScheduler())


def euler_ancestral() -> Solver:
    """Euler steps to a lower level, noised back to the wanted one."""
    return VESolver(EulerAncestralDiscreteScheduler())


def flow_euler() -> Solver:
    """Euler steps along the flow-matching path."""
    return FlowSolver(FlowMatchEulerDiscreteScheduler())


SOLVERS: dict[str, Callable[[], Solver]] = {
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
    """The solver of a name.

    Raises:
        UserError: The name is none of ``SOLVERS``.
    """
    if name not in SOLVERS:
        raise UserError(f"unknown solver {name!r}: choose one of {', '.join(SOLVERS)}")
    return SOLVERS[name]()

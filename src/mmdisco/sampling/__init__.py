"""Sampling: any diffusers scheduler as a solver, and a generator over the run."""

from mmdisco.sampling.grid import Grid, UniformLogSNR, UniformTime
from mmdisco.sampling.noise import NoiseSource
from mmdisco.sampling.sampler import Sampler
from mmdisco.sampling.solvers import FlowSolver, Held, Solver, VESolver, VPSolver

__all__ = [
    "FlowSolver",
    "Grid",
    "Held",
    "NoiseSource",
    "Sampler",
    "Solver",
    "UniformLogSNR",
    "UniformTime",
    "VESolver",
    "VPSolver",
]

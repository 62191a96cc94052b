"""Make two frozen diffusion models, one of sound and one of video, play together.

Names load on first use: the command line answers ``--help`` without waiting for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmdisco.core import noise, parameterization
    from mmdisco.core.av import AV, each
    from mmdisco.core.coupling import LevelCoupling, SameLogSNR, SameTimestep
    from mmdisco.core.denoiser import Conditioning, Denoiser, IndependentDenoisers, JointDenoiser
    from mmdisco.core.discriminator import Discriminator
    from mmdisco.core.guidance import (
        ClassifierFreeGuidance,
        ConstantScale,
        IntervalScale,
        JointGuidance,
        JointScale,
    )
    from mmdisco.core.noise import NoiseLevel, NoiseSchedule
    from mmdisco.core.rng import NoiseSource
    from mmdisco.core.sampler import LinspaceSpacing, LogSNRSpacing, Sampler
    from mmdisco.core.schedulers import solver
    from mmdisco.errors import UserError
    from mmdisco.generation.generate import generate
    from mmdisco.generation.guided_pipeline import GuidedPipeline
    from mmdisco.generation.guider import DiscriminatorGuidance
    from mmdisco.generation.joint_pipeline import JointPipeline

_HOMES = {
    "mmdisco.core.av": (
        "AV",
        "each",
    ),
    "mmdisco.core.coupling": (
        "SameTimestep",
        "SameLogSNR",
        "LevelCoupling",
    ),
    "mmdisco.core.denoiser": (
        "Conditioning",
        "Denoiser",
        "IndependentDenoisers",
        "JointDenoiser",
    ),
    "mmdisco.core.discriminator": ("Discriminator",),
    "mmdisco.core.guidance": (
        "ClassifierFreeGuidance",
        "ConstantScale",
        "IntervalScale",
        "JointGuidance",
        "JointScale",
    ),
    "mmdisco.core.noise": (
        "NoiseLevel",
        "NoiseSchedule",
    ),
    "mmdisco.core.rng": ("NoiseSource",),
    "mmdisco.core.sampler": (
        "Sampler",
        "LogSNRSpacing",
        "LinspaceSpacing",
    ),
    "mmdisco.core.schedulers": ("solver",),
    "mmdisco.errors": ("UserError",),
    "mmdisco.generation.generate": ("generate",),
    "mmdisco.generation.guided_pipeline": ("GuidedPipeline",),
    "mmdisco.generation.guider": ("DiscriminatorGuidance",),
    "mmdisco.generation.joint_pipeline": ("JointPipeline",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_MODULES = {"noise": "mmdisco.core.noise", "parameterization": "mmdisco.core.parameterization"}

__all__ = [
    "AV",
    "ClassifierFreeGuidance",
    "Conditioning",
    "ConstantScale",
    "Denoiser",
    "Discriminator",
    "DiscriminatorGuidance",
    "GuidedPipeline",
    "IndependentDenoisers",
    "IntervalScale",
    "JointDenoiser",
    "JointGuidance",
    "JointPipeline",
    "JointScale",
    "LevelCoupling",
    "LinspaceSpacing",
    "LogSNRSpacing",
    "NoiseLevel",
    "NoiseSchedule",
    "NoiseSource",
    "SameLogSNR",
    "SameTimestep",
    "Sampler",
    "UserError",
    "each",
    "generate",
    "noise",
    "parameterization",
    "solver",
]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return import_module(_MODULES[name])
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module 'mmdisco' has no attribute {name!r}")

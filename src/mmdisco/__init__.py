"""Make two frozen diffusion models, one of sound and one of video, play together.

Names load on first use: the command line answers ``--help`` without waiting for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmdisco import prediction, schedule
    from mmdisco.av import AV, each
    from mmdisco.discriminator.base import Discriminator
    from mmdisco.errors import UserError
    from mmdisco.guidance import (
        ClassifierFree,
        ConstantScale,
        IntervalScale,
        JointGuidance,
        JointScale,
    )
    from mmdisco.models import Conditioning, Denoiser, IndependentPair, JointDenoiser
    from mmdisco.path import IndexPath, LogSNRPath, NoisePath
    from mmdisco.request import generate
    from mmdisco.sampling import NoiseSource, Sampler, UniformLogSNR, UniformTime
    from mmdisco.sampling.named import solver
    from mmdisco.schedule import NoiseLevel, NoiseSchedule

_HOMES = {
    "mmdisco.av": ("AV", "each"),
    "mmdisco.discriminator.base": ("Discriminator",),
    "mmdisco.errors": ("UserError",),
    "mmdisco.guidance": (
        "ClassifierFree",
        "ConstantScale",
        "IntervalScale",
        "JointGuidance",
        "JointScale",
    ),
    "mmdisco.models": ("Conditioning", "Denoiser", "IndependentPair", "JointDenoiser"),
    "mmdisco.path": ("IndexPath", "LogSNRPath", "NoisePath"),
    "mmdisco.request": ("generate",),
    "mmdisco.sampling": ("NoiseSource", "Sampler", "UniformLogSNR", "UniformTime"),
    "mmdisco.sampling.named": ("solver",),
    "mmdisco.schedule": ("NoiseLevel", "NoiseSchedule"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AV",
    "ClassifierFree",
    "Conditioning",
    "ConstantScale",
    "Denoiser",
    "Discriminator",
    "IndependentPair",
    "IndexPath",
    "IntervalScale",
    "JointDenoiser",
    "JointGuidance",
    "JointScale",
    "LogSNRPath",
    "NoiseLevel",
    "NoisePath",
    "NoiseSchedule",
    "NoiseSource",
    "Sampler",
    "UniformLogSNR",
    "UniformTime",
    "UserError",
    "each",
    "generate",
    "prediction",
    "schedule",
    "solver",
]


def __getattr__(name: str) -> object:
    if name in ("prediction", "schedule"):
        return import_module(f"mmdisco.{name}")
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module 'mmdisco' has no attribute {name!r}")

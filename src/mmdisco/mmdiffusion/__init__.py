"""MM-Diffusion for inference: sound and video by one network, with its published weights.

A base that is joint already. Samplers and joint guidance take it like any other; frames of 64 × 64
can be enlarged to 256 × 256.
"""

from mmdisco.mmdiffusion.config import JOINT, UPSCALER, JointConfig, Level, UpscalerConfig
from mmdisco.mmdiffusion.model import MMDiffusion
from mmdisco.mmdiffusion.published import load_joint, load_upscaler
from mmdisco.mmdiffusion.sampling import AtTrainedTimes, released_sampler
from mmdisco.mmdiffusion.shifts import NoShifts, SeededShifts, WindowShifts
from mmdisco.mmdiffusion.upscaling import Enlarged, FrameDenoiser, Upscaler

__all__ = [
    "JOINT",
    "UPSCALER",
    "AtTrainedTimes",
    "Enlarged",
    "FrameDenoiser",
    "JointConfig",
    "Level",
    "MMDiffusion",
    "NoShifts",
    "SeededShifts",
    "Upscaler",
    "UpscalerConfig",
    "WindowShifts",
    "load_joint",
    "load_upscaler",
    "released_sampler",
]

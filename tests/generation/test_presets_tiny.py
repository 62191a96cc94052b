"""Presets of tiny folders: AudioLDM with AnimateDiff, and MM-Diffusion."""

import hashlib
from fractions import Fraction

import pytest
import torch
from test_adapters_tiny import save
from test_mmdiffusion_model import SMALL
from torch import nn

from mmdisco.adapters.mmdiffusion.config import UpscalerConfig
from mmdisco.adapters.mmdiffusion.network import JointNetwork
from mmdisco.adapters.mmdiffusion.super_resolution import UpscalerNetwork
from mmdisco.core.av import AV
from mmdisco.discriminators.official.checkpoint import released_name
from mmdisco.discriminators.official.config import OfficialConfig
from mmdisco.discriminators.official.fusion import MeanFusionConfig
from mmdisco.discriminators.official.latents import OfficialVideo, Spectrogram, Waveform
from mmdisco.discriminators.official.network import ReleasedDiscriminator
from mmdisco.generation.presets.base_models import ANIMATEDIFF, AUDIOLDM
from mmdisco.generation.presets.mmdiffusion import MMDiffusionPreset
from mmdisco.generation.presets.pretrained import OfficialDiscriminator
from mmdisco.generation.presets.text_pairs import TextPreset
from mmdisco.generation.system import SamplingDefaults
from mmdisco.io.files import write_json, write_tensors
from mmdisco.media.clip import ClipSpec


def config(audio, video):
    sizes = {"width": 32, "depth": 1, "channel_mult": (1,), "embedding": 8}
    return OfficialConfig(audio=audio, video=video, fusion=MeanFusionConfig(), **sizes)


LARGER = UpscalerConfig(levels=(32, 32), attention=(False, True), depth=1, heads=4, side=16)
CONFIG = config(Spectrogram(4, 12), OfficialVideo(4, 20))
JOINT_CONFIG = config(Waveform(1), OfficialVideo(3))
TINY = TextPreset(
    title="tiny",
    audio=AUDIOLDM,
    video=ANIMATEDIFF,
    discriminator=OfficialDiscriminator("tiny", 0.0, lambda _: CONFIG),
    usual=SamplingDefaults(3, "ddpm", AV(2.5, 7.5), AV(100.0, 100.0), 1.0, 1.0),
    clips=ClipSpec(Fraction(1, 4), Fraction(8), (16, 24), 16_000),
    gigabytes=0.1,
)
JOINT = MMDiffusionPreset(
    title="tiny-joint",
    file="tiny.pt",
    upscaler_file="tiny_SR.pt",
    discriminator=OfficialDiscriminator("tiny-joint", 0.0, lambda _: JOINT_CONFIG),
    clips=ClipSpec(Fraction(2, 5), Fraction(10), (8, 8), 16_000),
    enlarged=(16, 16),
    enlarging_steps=2,
)


def save_judge(path, shape):
    path.parent.mkdir(parents=True, exist_ok=True)
    network = ReleasedDiscriminator(shape)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    torch.save({released_name(name): one for name, one in network.state_dict().items()}, path)


def save_converted(folder, name, network, shape):
    write_tensors(folder / "model.safetensors", network.state_dict(), {})
    sum_ = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    record = {"network": name, "shape": shape.to_record(), "sha256": sum_}
    write_json(folder / "config.json", record)


def fill(folder):
    """All files of both presets, in the layout of a folder of weights."""
    with torch.random.fork_rng():
        save("audioldm", folder / "cvssp" / "audioldm-m-full")
        images = save("animatediff", folder / "SG161222" / "Realistic_Vision_V5.1_noVAE")
        motion = folder / "guoyww" / "animatediff-motion-adapter-v1-5-2"
        motion.parent.mkdir()
        (images / "motion_adapter").rename(motion)
        torch.manual_seed(0)
        save_judge(folder / "mmdisco" / "tiny.pt", CONFIG)
        save_judge(folder / "mmdisco" / "tiny-joint.pt", JOINT_CONFIG)
        here = folder / "mmdiffusion"
        save_converted(
            here / "tiny.pt.converted", "MM-Diffusion's joint network", JointNetwork(SMALL), SMALL
        )
        network = UpscalerNetwork(LARGER)
        save_converted(here / "tiny_SR.pt.converted", "MM-Diffusion's upscaler", network, LARGER)
    return folder


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("weights"))

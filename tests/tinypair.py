"""The embedded pair at a size that loads and samples at once."""

from dataclasses import asdict

import torch

from mmdisco.adapters.miniature.autoencoder import NormalizedVAE, build_autoencoder
from mmdisco.adapters.miniature.denoiser import ConvTransformer, DenoiserConfig
from mmdisco.adapters.miniature.model import AUDIO_SHAPE, VIDEO_SHAPE, TextEncoder
from mmdisco.discriminators.convolutions import FlatLatents
from mmdisco.discriminators.correlation import CorrelationFusionConfig
from mmdisco.discriminators.fusion import AdditiveFusionConfig
from mmdisco.discriminators.two_tower import AudioVideoConfig, AudioVideoDiscriminator
from mmdisco.evaluation.metrics.sounding_objects.feature_networks import (
    AudioFeatures,
    VideoFeatures,
)
from mmdisco.media.mel import MelScale
from mmdisco.media.sounding_objects.dataset import vocabulary
from mmdisco.training.bases.pair import pack


def _discriminator(fusion):
    return AudioVideoConfig(
        audio=FlatLatents(channels=4, rate=20.0, text_width=64, space=(16,)),
        video=FlatLatents(channels=4, rate=10.0, text_width=64, space=(8, 8)),
        width=16,
        depth=1,
        channel_mult=(1,),
        fusion=fusion,
    )


def write_tiny_pair(folder):
    """Write it into a folder; its weights are random, the same every time."""
    widths = {"audio_autoencoder": (8, 8), "video_autoencoder": (8, 8, 8)}
    configs = {
        "audio_denoiser": DenoiserConfig(tuple(AUDIO_SHAPE), channels=8, width=32, layers=1),
        "video_denoiser": DenoiserConfig(tuple(VIDEO_SHAPE), channels=8, width=32, layers=1),
        "discriminator": _discriminator(
            CorrelationFusionConfig(d_model=16, num_layers=1, num_heads=2)
        ),
        "additive": _discriminator(AdditiveFusionConfig()),
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        networks = {
            "text_encoder": TextEncoder(vocabulary()),
            "audio_autoencoder": NormalizedVAE(build_autoencoder(1, widths["audio_autoencoder"])),
            "video_autoencoder": NormalizedVAE(build_autoencoder(3, widths["video_autoencoder"])),
            "audio_denoiser": ConvTransformer(configs["audio_denoiser"]),
            "video_denoiser": ConvTransformer(configs["video_denoiser"]),
            "discriminator": AudioVideoDiscriminator(configs["discriminator"]),
            "additive": AudioVideoDiscriminator(configs["additive"]),
            "audio_features": AudioFeatures(),
            "video_features": VideoFeatures(),
        }
        for name in configs:
            # what begins at zero would ignore captions, levels and the other side
            for parameter in networks[name].parameters():
                torch.nn.init.normal_(parameter, std=0.1)
    sampling = {
        "steps": 8,
        "scheduler": "ddim",
        "cfg_scale": [1.5, 1.5],
        "joint_scale": [1.0, 1.0],
        "video_to_audio": 1.0,
        "joint_min_logsnr": None,
        "joint_max_logsnr": None,
        "audio_to_video": 1.0,
        "few_steps": 1,
        "few_steps_scheduler": "ddpm",
    }
    config = {
        **{name: one.to_record() for name, one in configs.items()},
        **widths,
        "fps": "10",
        "mel": asdict(MelScale()),
        "words": list(vocabulary()),
        "sampling": sampling,
    }
    weights = {name: network.state_dict() for name, network in networks.items()}
    pack(weights, config, folder, {})

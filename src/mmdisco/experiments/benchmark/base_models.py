"""Adapters of the pre-trained models with random weights, for their costs alone.

The U-Net, which is all that a step evaluates, has its published size. Autoencoder, vocoder and text
encoder are as small as the adapter accepts. A U-Net is built on the meta device, given memory, and
filled at the cost of writing the memory once: the initialisers of its layers would take longer than
the measurement. Configurations of the U-Nets are the JSON files in ``configs``.
"""

from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel, UNetMotionModel
from torch import nn
from transformers import (
    ClapTextConfig,
    ClapTextModelWithProjection,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    RobertaTokenizer,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
)

from mmdisco.adapters.auffusion.codec import COLUMNS, SilencePadding
from mmdisco.adapters.auffusion.model import Auffusion, AuffusionParts
from mmdisco.adapters.auffusion.prompts import ConditionAdapter
from mmdisco.adapters.device import Runtime
from mmdisco.adapters.stock.model import StockModel
from mmdisco.adapters.stock.pretrained import assemble_pipeline, unguided_audio, unguided_video
from mmdisco.adapters.videocrafter2.codec import VideoSpec
from mmdisco.adapters.videocrafter2.model import VideoCrafter2, VideoCrafter2Parts
from mmdisco.adapters.videocrafter2.unet import new_unet
from mmdisco.experiments.config import BenchmarkConfig
from mmdisco.io.files import read_json
from mmdisco.media.clip import Audio, Video

CONFIGS: Final = Path(__file__).parent / "configs"
_TOKENS: Final = 77
_LEVELS: Final = 4  # of every autoencoder of images

Network = TypeVar("Network", bound=nn.Module)


def configuration(name: str) -> Mapping[str, Any]:
    """Read a packaged diffusers configuration, such as ``audioldm_unet``."""
    return read_json(CONFIGS / f"{name}.json")


def random_network(
    make: Callable[[], Network], device: torch.device, dtype: torch.dtype, seed: int
) -> Network:
    """Make a frozen network with random weights that preserve the scale of activations.

    Args:
        make: Builds the network; called on the meta device.
        device: Device of the network; the meta device leaves it without weights.
        dtype: Precision of the network.
        seed: Seed of the weights.
    """
    with torch.device("meta"):
        network = make()
    # torch's own cast: the one of diffusers warns about checkpoints, of which there is none
    nn.Module.to(network, dtype)
    if device.type == "meta":
        return network
    network.to_empty(device=device).eval().requires_grad_(False)  # noqa: FBT003
    generator = torch.Generator(device).manual_seed(seed)
    for name, weight in network.named_parameters():
        if weight.ndim > 1:
            # variance 1/fan-in: no infinities, and no denormals, which a processor computes slowly
            bound = (3 / weight[0].numel()) ** 0.5
            weight.uniform_(-bound, bound, generator=generator)
        else:
            weight.fill_(0.0 if name.endswith("bias") else 1.0)
    for buffer in network.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(-1, 1, generator=generator)
        else:
            buffer.zero_()
    return network


def audioldm(config: Mapping[str, Any], setting: BenchmarkConfig) -> StockModel[Audio]:
    """Make AudioLDM around a U-Net of this configuration."""
    text = ClapTextConfig(
        **_text(8), projection_dim=config["projection_class_embeddings_input_dim"]
    )
    special = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    vocabulary = {token: index for index, token in enumerate(special)}
    parts = {
        "unet": _unet(UNet2DConditionModel, config, setting),
        "vae": _autoencoder(config["in_channels"], images=1, levels=3),
        "vocoder": _vocoder(64, [5, 4, 2, 2, 2]),
        "text_encoder": nn.Module.to(ClapTextModelWithProjection(text), precision(setting)),
        "tokenizer": RobertaTokenizer(vocab=vocabulary, merges=[], model_max_length=_TOKENS),
        "scheduler": _scheduler(0.0015, 0.0195),
    }
    runtime = Runtime(torch.device(setting.device))
    return unguided_audio(assemble_pipeline("AudioLDMPipeline", parts, runtime))


def animatediff(config: Mapping[str, Any], setting: BenchmarkConfig) -> StockModel[Video]:
    """Make AnimateDiff around a U-Net of this configuration."""
    parts = {
        "unet": _unet(UNetMotionModel, config, setting),
        "vae": _autoencoder(config["in_channels"]),
        "text_encoder": nn.Module.to(_clip(config["cross_attention_dim"]), precision(setting)),
        "tokenizer": _clip_tokenizer(),
        "scheduler": _scheduler(0.00085, 0.012),
    }
    pipe = assemble_pipeline("AnimateDiffPipeline", parts, Runtime(torch.device(setting.device)))
    picture = _video(setting)
    return unguided_video(pipe, (picture.height, picture.width), picture.fps)


def auffusion(config: Mapping[str, Any], setting: BenchmarkConfig) -> Auffusion:
    """Make Auffusion around a U-Net of this configuration; it always runs on 10.24 s."""
    channels = config["in_channels"]
    parts = AuffusionParts(
        unet=_unet(UNet2DConditionModel, config, setting),
        vae=_autoencoder(channels),
        vocoder=_vocoder(256, [5, 4, 4, 2]),
        text_encoder=_clip(8),
        adapter=ConditionAdapter(8, config["cross_attention_dim"]),
        tokenizer=_clip_tokenizer(),
        scheduler=_scheduler(0.00085, 0.012),
    )
    silence = torch.zeros(channels, COLUMNS, 256 // 2 ** (_LEVELS - 1))
    return Auffusion(parts, Runtime(torch.device(setting.device)), SilencePadding.seeded(silence))


def videocrafter2(config: Mapping[str, Any], setting: BenchmarkConfig) -> VideoCrafter2:
    """Make VideoCrafter2 around a U-Net of this configuration."""
    parts = VideoCrafter2Parts(
        seeded_network(lambda: new_unet(config), setting),
        _autoencoder(4),
        _clip(config["cross_attention_dim"]),
        _clip_tokenizer(),
    )
    return VideoCrafter2(parts, _video(setting), Runtime(torch.device(setting.device)))


def seeded_network(make: Callable[[], Network], setting: BenchmarkConfig) -> Network:
    """Make a frozen base model with the random weights of a configuration."""
    return random_network(make, torch.device(setting.device), precision(setting), setting.seed)


def precision(setting: BenchmarkConfig) -> torch.dtype:
    """Return the precision of the base models."""
    return getattr(torch, setting.dtype)


def _video(setting: BenchmarkConfig) -> VideoSpec:
    """Return the format of the videos: by default 16 frames of 256×256, over the whole length."""
    fps = Fraction(setting.frames or 16) / setting.length
    return VideoSpec(setting.height or 256, setting.width or 256, fps)


def _unet(kind: Any, config: Mapping[str, Any], setting: BenchmarkConfig) -> Any:
    def make() -> nn.Module:
        return kind.from_config(dict(config))

    return seeded_network(make, setting)


def _scheduler(start: float, end: float) -> DDIMScheduler:
    return DDIMScheduler(beta_start=start, beta_end=end, beta_schedule="scaled_linear")


def _autoencoder(channels: int, images: int = 3, levels: int = _LEVELS) -> AutoencoderKL:
    network: Any = AutoencoderKL  # whose annotations hold for one level alone
    return network(
        in_channels=images,
        out_channels=images,
        latent_channels=channels,
        block_out_channels=(8,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        norm_num_groups=4,
    )


def _vocoder(bins: int, rates: list[int]) -> SpeechT5HifiGan:
    config = SpeechT5HifiGanConfig(
        model_in_dim=bins,
        upsample_initial_channel=2 ** len(rates),
        upsample_rates=rates,
        upsample_kernel_sizes=[2 * rate for rate in rates],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1]],
    )
    return SpeechT5HifiGan(config)


def _text(width: int) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "vocab_size": 8,
        "max_position_embeddings": _TOKENS + 3,
    }


def _clip(width: int) -> CLIPTextModel:
    return CLIPTextModel(CLIPTextConfig(**_text(width), bos_token_id=0, eos_token_id=1))


def _clip_tokenizer() -> CLIPTokenizer:
    vocabulary = {"<|startoftext|>": 0, "<|endoftext|>": 1}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=_TOKENS)

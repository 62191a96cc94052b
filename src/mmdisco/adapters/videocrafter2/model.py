"""VideoCrafter2 (Chen et al. 2024, arXiv:2401.09047) as a base model.

Published size: latents (4, f, h/8, w/8), trained at 16 frames of 512×320; 77 tokens of OpenCLIP's
ViT-H/14 (Cherti et al. 2022, arXiv:2212.07143), of width 1024.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import AutoencoderKL, UNet3DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer
from typing_extensions import override

from mmdisco.adapters.checkpoint import expect_complete, find
from mmdisco.adapters.components import CLIP_TOKENIZER, VIDEOCRAFTER2
from mmdisco.adapters.device import CPU, Runtime
from mmdisco.adapters.prompts import padded_ids
from mmdisco.adapters.scheduler_config import SchedulerConfig
from mmdisco.adapters.vae import expect_latents, expect_text
from mmdisco.adapters.video_vae import VideoSpec, VideoVAE
from mmdisco.adapters.videocrafter2.schedule import training_schedule
from mmdisco.adapters.videocrafter2.unet import run_unet
from mmdisco.adapters.videocrafter2.weights import SOURCE, load_networks
from mmdisco.core.denoiser import BaseModel, Conditioning
from mmdisco.core.noise import NoiseLevel, NoiseSchedule
from mmdisco.core.parameterization import Epsilon
from mmdisco.media.clip import Video
from mmdisco.shapes import Latent

NAME: Final = "VideoCrafter2"
TOKENIZER_SOURCE: Final = "openai/clip-vit-large-patch14"
USUAL: Final = VideoSpec(320, 512)
# OpenCLIP fills with 0, unlike transformers' default for CLIP's tokenizer
PADDING: Final = 0


@dataclass(frozen=True)
class VideoCrafter2Parts:
    """Networks and tokenizer.

    Attributes:
        unet: Denoiser of ``new_unet``.
        vae: Autoencoder of single frames.
        text_encoder: Text tower of OpenCLIP without its last layer.
        tokenizer: CLIP's tokenizer.
    """

    unet: UNet3DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer


class VideoCrafter2(BaseModel[Video]):
    """VideoCrafter2 as a base model; classifier-free guidance is applied outside.

    Args:
        parts: Taken over: frozen, put in evaluation mode and on the device.
        picture: Size and rate of the videos; both sides are multiples of 64 at the published size.
            Any number of frames can be made, 16 are what the network was trained on.
        runtime: Where the networks compute. Frames pass the autoencoder one by one in any case.
        schedule: None for the levels that the network was trained at; another one only to repeat
            what was sampled at other levels.

    Raises:
        UserError: The parts, the size or the runtime cannot be used.
    """

    def __init__(
        self,
        parts: VideoCrafter2Parts,
        picture: VideoSpec = USUAL,
        runtime: Runtime = CPU,
        schedule: NoiseSchedule | None = None,
    ) -> None:
        expect_latents(parts.unet, parts.vae, NAME)
        reads: int = parts.unet.config["cross_attention_dim"]
        expect_text(reads, parts.text_encoder.config.hidden_size, NAME)
        self._config = SchedulerConfig(schedule or training_schedule(), Epsilon())
        factor = 2 ** (len(parts.unet.config["block_out_channels"]) - 1)
        self._codec = VideoVAE(parts.vae, picture, runtime.device, NAME, factor)
        self._device = runtime.device
        self._fps = float(picture.fps)
        self.parts = parts
        networks = (parts.text_encoder, parts.unet, parts.vae)
        replace(runtime, vae_slicing=True).take(networks, parts.vae)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path = SOURCE,
        tokenizer: str | Path = TOKENIZER_SOURCE,
        picture: VideoSpec = USUAL,
        dtype: torch.dtype = torch.float32,
        runtime: Runtime = CPU,
    ) -> "VideoCrafter2":
        """Load the published weights; the first time they are converted, beside ``model.ckpt``.

        Args:
            source: A folder with ``model.ckpt`` or what it was converted to, or an id of the
                Hugging Face hub; what is cached of an id is not downloaded again.
            tokenizer: A folder with CLIP's tokenizer, or an id.
            picture: Size and rate of the videos.
            dtype: What the networks compute in; latents and clips are float32 always.
            runtime: Where they compute.

        Raises:
            UserError: Files are missing or damaged, or hold another model.
        """
        checkpoint = find(source, (VIDEOCRAFTER2,), dtype, SOURCE)
        words = find(tokenizer, (CLIP_TOKENIZER,), dtype, TOKENIZER_SOURCE)
        expect_complete([(checkpoint, (VIDEOCRAFTER2,)), (words, (CLIP_TOKENIZER,))], NAME)
        spoken = words.tokenizer(CLIP_TOKENIZER, CLIPTokenizer)
        networks = load_networks(checkpoint.folder)
        for network in vars(networks).values():
            network.to(dtype)
        parts = VideoCrafter2Parts(networks.unet, networks.autoencoder, networks.text, spoken)
        return cls(parts, picture, runtime)

    @property
    @override
    def schedule(self) -> NoiseSchedule:
        return self._config.schedule

    @override
    def predict_noise(self, x_t: Latent, level: NoiseLevel, cond: Conditioning) -> Latent:
        unet = self.parts.unet
        (tokens,) = cond.embeds

        def network(latent: Tensor, t: Tensor) -> Tensor:
            read = tokens.to(self._device, unet.dtype)
            return run_unet(unet, latent.to(unet.dtype), t, self._fps, read)

        return self._config.predict_noise(network, x_t, level, self._device)

    @override
    def encode_prompts(self, prompts: Sequence[str]) -> Conditioning:
        encoder: Any = self.parts.text_encoder
        ids = token_ids(self.parts.tokenizer, prompts, encoder.config.max_position_embeddings)
        with torch.no_grad():
            tokens = encoder(input_ids=ids.to(self._device)).last_hidden_state.float().cpu()
        return Conditioning(tokens.mean(dim=1), (tokens,))

    @override
    def latent_shape(self, seconds: float) -> torch.Size:
        return self._codec.shape(seconds)

    @override
    def encode(self, media: Sequence[Video]) -> Latent:
        return self._codec.encode(media)

    @override
    def decode(self, x_0: Latent) -> list[Video]:
        return self._codec.decode(x_0)


def token_ids(tokenizer: CLIPTokenizer, prompts: Sequence[str], length: int) -> Tensor:
    """Return OpenCLIP's token ids, (b, length), the end mark of a longer prompt included."""
    ids, mask = padded_ids(tokenizer, prompts, length)
    return torch.where(mask.bool(), ids, PADDING)

"""VideoCrafter2 (Chen et al. 2024, arXiv:2401.09047) as a base model.

Published size: latents (4, f, h/8, w/8), trained at 16 frames of 512×320; 77 tokens of OpenCLIP's
ViT-H/14 (Cherti et al. 2022, arXiv:2212.07143), of width 1024.
"""

import warnings
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
from mmdisco.adapters.latent_model import LatentModel
from mmdisco.adapters.vae import expect_matching
from mmdisco.adapters.videocrafter2.codec import VideoSpec, VideoVAE
from mmdisco.adapters.videocrafter2.unet import run_unet, training_schedule
from mmdisco.adapters.videocrafter2.weights import SOURCE, load_networks
from mmdisco.core.denoiser import Conditioning
from mmdisco.core.noise import NoiseLevel, NoiseSchedule
from mmdisco.core.parameterization import Epsilon
from mmdisco.io.shapes import PerSample
from mmdisco.media.clip import Video

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


class VideoCrafter2(LatentModel[Video]):
    """VideoCrafter2 as a base model.

    Captions are OpenCLIP's tokens, (b, 77, 1024), for the network, and their mean for a
    discriminator.

    Args:
        parts: Components, taken over: frozen, put in evaluation mode and on the device.
        picture: Size and rate of the videos; both sides are multiples of 64 at the published size.
            Any number of frames can be made, 16 are what the network was trained on.
        runtime: Device and memory of the networks. Frames pass the autoencoder one by one in any
            case.
        schedule: Noise schedule; None for the one of the training. Another one only repeats what
            was sampled with it.

    Raises:
        UserError: The parts or the size do not belong together, or the device cannot be used.
    """

    def __init__(
        self,
        parts: VideoCrafter2Parts,
        picture: VideoSpec = USUAL,
        runtime: Runtime = CPU,
        schedule: NoiseSchedule | None = None,
    ) -> None:
        read: int = parts.unet.config["cross_attention_dim"]
        made = parts.text_encoder.config.hidden_size
        expect_matching(parts.unet, parts.vae, read=read, made=made, model=NAME)
        levels = schedule or training_schedule()
        factor = 2 ** (len(parts.unet.config["block_out_channels"]) - 1)
        codec = VideoVAE(parts.vae, picture, runtime.device, NAME, factor)
        super().__init__(parts.unet, codec, levels, Epsilon(), runtime.device)
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
            source: Folder with ``model.ckpt`` or with what it was converted to, or id on the
                Hugging Face hub.
            tokenizer: Folder with CLIP's tokenizer, or id.
            picture: Size and rate of the videos.
            dtype: Precision of the networks; latents and clips are float32 always.
            runtime: Device and memory of the networks.

        Raises:
            UserError: Files are missing or damaged, or hold another model.
        """
        checkpoint = find(source, (VIDEOCRAFTER2,), dtype, SOURCE)
        words = find(tokenizer, (CLIP_TOKENIZER,), dtype, TOKENIZER_SOURCE)
        expect_complete([(checkpoint, (VIDEOCRAFTER2,)), (words, (CLIP_TOKENIZER,))], NAME)
        spoken = words.load(CLIP_TOKENIZER, CLIPTokenizer)
        networks = load_networks(checkpoint.folder)
        for network in vars(networks).values():
            network.to(dtype)
        parts = VideoCrafter2Parts(networks.unet, networks.autoencoder, networks.text, spoken)
        return cls(parts, picture, runtime)

    @override
    def _run(
        self, x_t: Tensor, t: PerSample, level: NoiseLevel, embeds: tuple[Tensor, ...]
    ) -> Tensor:
        return run_unet(self.parts.unet, x_t.to(self._unet.dtype), t, self._fps, embeds[0])

    @override
    def encode_prompts(self, prompts: Sequence[str]) -> Conditioning:
        encoder = self.parts.text_encoder
        length = encoder.config.max_position_embeddings
        ids = padded_ids(self.parts.tokenizer, prompts, length).to(self._device)
        with torch.no_grad():
            tokens = encoder(input_ids=ids).last_hidden_state.float().cpu()
        return Conditioning(tokens.mean(dim=1), (tokens,))


def padded_ids(tokenizer: CLIPTokenizer, prompts: Sequence[str], length: int) -> Tensor:
    """Return token ids (b, length), filled with 0; a longer prompt is cut with a warning.

    The encoder reads the padding like any token.
    """
    longest = max(len(ids) for ids in tokenizer(list(prompts), verbose=False).input_ids)
    if longest > length:
        warnings.warn(
            f"a prompt of {longest} tokens: the text encoder reads the first {length}",
            stacklevel=3,
        )
    text: Any = tokenizer(
        list(prompts), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    )
    return torch.where(text.attention_mask.bool(), text.input_ids, PADDING)

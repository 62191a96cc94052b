"""ModelScope's text-to-video model (Wang et al. 2023) and its kin, ZeroScope among them.

Published size: latents (4, f, h/8, w/8), usually 16 frames of 256×256 at 8 a second (ZeroScope v2:
24 of 576×320); 77 tokens of width 1024 from OpenCLIP's ViT-H/14.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from diffusers import AutoencoderKL, UNet3DConditionModel
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer, PreTrainedTokenizerBase

from mmdisco.adapters import components
from mmdisco.adapters.checkpoint import expect_complete, find
from mmdisco.adapters.components import save_parts
from mmdisco.adapters.device import CPU, Runtime
from mmdisco.adapters.prompts import clip_tokens
from mmdisco.adapters.scheduler_config import SchedulerConfig
from mmdisco.adapters.vae import expect_latents, expect_text
from mmdisco.adapters.video_vae import VideoSpec, VideoVAE
from mmdisco.core.denoiser import BaseModel, Conditioning
from mmdisco.core.noise import NoiseLevel, NoiseSchedule
from mmdisco.media.clip import Video
from mmdisco.shapes import Latent

NAME: Final = "TextToVideoSD"
SOURCE: Final = "ali-vilab/text-to-video-ms-1.7b"
ZEROSCOPE: Final = "cerspense/zeroscope_v2_576w"
USUAL: Final = VideoSpec(256, 256)


@dataclass(frozen=True)
class TextToVideoSDParts:
    """The components of a diffusers ``TextToVideoSDPipeline``.

    Attributes:
        unet: Predicts the noise of all frames together.
        vae: Frames to latents.
        text_encoder: Of OpenCLIP.
        tokenizer: Of the text encoder.
        scheduler: Its table of β and its prediction type count, nothing else.
    """

    unet: UNet3DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: PreTrainedTokenizerBase
    scheduler: SchedulerMixin


class TextToVideoSD(BaseModel[Video]):
    """ModelScope's model as a base model; classifier-free guidance is applied outside.

    Args:
        parts: Taken over: frozen, put in evaluation mode and on the device.
        picture: Size and rate of the videos; the network itself bounds no length.
        runtime: Where the networks compute.

    Raises:
        UserError: The parts or the size do not belong together, or the runtime cannot be had.
    """

    def __init__(
        self, parts: TextToVideoSDParts, picture: VideoSpec = USUAL, runtime: Runtime = CPU
    ) -> None:
        expect_latents(parts.unet, parts.vae, NAME)
        reads: int = parts.unet.config["cross_attention_dim"]
        expect_text(reads, parts.text_encoder.config.hidden_size, NAME)
        self._parameterisation = SchedulerConfig.of(parts.scheduler)
        self._codec = VideoVAE(parts.vae, picture, runtime.device, NAME)
        self._device = runtime.device
        self.parts = parts
        runtime.take((parts.text_encoder, parts.unet, parts.vae), parts.vae)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path = SOURCE,
        picture: VideoSpec = USUAL,
        dtype: torch.dtype = torch.float32,
        runtime: Runtime = CPU,
        variant: str | None = None,
    ) -> "TextToVideoSD":
        """Load a checkpoint.

        Args:
            source: A folder in diffusers' layout, or an id of the Hugging Face hub; what is cached
                of an id is not downloaded again.
            picture: Size and rate of the videos.
            dtype: What the networks compute in; latents and clips are float32 always.
            runtime: Where they compute.
            variant: Variant of the weights, such as "fp16", wherever the checkpoint has it.

        Raises:
            UserError: Files are missing or damaged, or hold another model.
        """
        needed = components.image_model(variant)
        unet, vae, text_encoder, tokenizer, scheduler = needed
        checkpoint = find(source, needed, dtype, SOURCE)
        expect_complete([(checkpoint, needed)], NAME)
        loaded = TextToVideoSDParts(
            unet=checkpoint.network(unet, UNet3DConditionModel),
            vae=checkpoint.network(vae, AutoencoderKL),
            text_encoder=checkpoint.network(text_encoder, CLIPTextModel),
            tokenizer=checkpoint.tokenizer(tokenizer, CLIPTokenizer),
            scheduler=checkpoint.scheduler(scheduler),
        )
        return cls(loaded, picture, runtime)

    def save_pretrained(self, folder: Path) -> None:
        """Write the parts in diffusers' layout; ``TextToVideoSDPipeline`` reads it too.

        Raises:
            UserError: The folder holds something, or cannot be written.
        """
        save_parts(folder, "TextToVideoSDPipeline", vars(self.parts))

    @property
    def schedule(self) -> NoiseSchedule:
        """Noise schedule of the scheduler's table."""
        return self._parameterisation.schedule

    def predict_noise(self, x_t: Latent, level: NoiseLevel, cond: Conditioning) -> Latent:
        """ε̂ of each video, (b, 4, f, h, w)."""
        unet = self.parts.unet
        (tokens,) = cond.embeds

        def network(latent: Tensor, t: Tensor) -> Tensor:
            read = tokens.to(self._device, unet.dtype)
            return unet(latent.to(unet.dtype), t, read).sample

        return self._parameterisation.predict_noise(network, x_t, level, self._device)

    def encode_prompts(self, prompts: Sequence[str]) -> Conditioning:
        """OpenCLIP's tokens for the network, (b, 77, 1024), and their mean for a discriminator.

        A negative prompt is a prompt like any other; "" is the one that asks for nothing.
        """
        tokens = clip_tokens(self.parts.tokenizer, self.parts.text_encoder, prompts, self._device)
        return Conditioning(tokens.mean(dim=1), (tokens,))

    def latent_shape(self, seconds: float) -> torch.Size:
        """(4, fps · seconds, height/8, width/8).

        Raises:
            UserError: ``seconds`` is no whole number of frames, or more than the picture allows.
        """
        return self._codec.shape(seconds)

    def encode(self, media: Sequence[Video]) -> Latent:
        """Latents of videos, frame by frame.

        Raises:
            UserError: A video is not of the picture's size and rate, or not as long as the others.
        """
        return self._codec.encode(media)

    def decode(self, x_0: Latent) -> list[Video]:
        """Videos of the picture's size and rate."""
        return self._codec.decode(x_0)

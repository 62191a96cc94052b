"""ModelScope's text-to-video model (Wang et al. 2023) and others of its architecture, as ZeroScope.

Published size: latents (4, f, h/8, w/8), usually 16 frames of 256×256 at 8 per second (ZeroScope
v2: 24 of 576×320); 77 tokens of width 1024 from OpenCLIP's ViT-H/14.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from diffusers import AutoencoderKL, UNet3DConditionModel
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer
from typing_extensions import override

from mmdisco.adapters import components
from mmdisco.adapters.checkpoint import expect_complete, find, save_parts
from mmdisco.adapters.device import CPU, Runtime
from mmdisco.adapters.latent_model import LatentModel
from mmdisco.adapters.prompts import clip_conditioning
from mmdisco.adapters.scheduler_config import SchedulerConfig
from mmdisco.adapters.vae import expect_matching
from mmdisco.adapters.video_vae import VideoSpec, VideoVAE
from mmdisco.core.denoiser import Conditioning
from mmdisco.core.noise import NoiseLevel
from mmdisco.media.clip import Video
from mmdisco.shapes import PerSample

NAME: Final = "TextToVideoSD"
SOURCE: Final = "ali-vilab/text-to-video-ms-1.7b"
USUAL: Final = VideoSpec(256, 256)


@dataclass(frozen=True)
class TextToVideoSDParts:
    """Components of a diffusers ``TextToVideoSDPipeline``.

    Attributes:
        unet: Denoiser of all frames together.
        vae: Autoencoder of frames.
        text_encoder: Text encoder of OpenCLIP.
        tokenizer: Tokenizer of the text encoder.
        scheduler: Scheduler, of which only the table of β and the prediction type are used.
    """

    unet: UNet3DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: SchedulerMixin


class TextToVideoSD(LatentModel[Video]):
    """ModelScope's model as a base model.

    Captions are OpenCLIP's tokens, (b, 77, 1024), for the network, and their mean for a
    discriminator.

    Args:
        parts: Components, taken over: frozen, put in evaluation mode and on the device.
        picture: Size and rate of the videos; the network itself bounds no length.
        runtime: Device and memory of the networks.

    Raises:
        UserError: The parts or the size do not belong together, or the device cannot be used.
    """

    def __init__(
        self, parts: TextToVideoSDParts, picture: VideoSpec = USUAL, runtime: Runtime = CPU
    ) -> None:
        read: int = parts.unet.config["cross_attention_dim"]
        made = parts.text_encoder.config.hidden_size
        expect_matching(parts.unet, parts.vae, read=read, made=made, model=NAME)
        trained = SchedulerConfig.of(parts.scheduler)
        codec = VideoVAE(parts.vae, picture, runtime.device, NAME)
        super().__init__(parts.unet, codec, trained, runtime.device)
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
            source: Folder in diffusers' layout, or id on the Hugging Face hub.
            picture: Size and rate of the videos.
            dtype: Precision of the networks; latents and clips are float32 always.
            runtime: Device and memory of the networks.
            variant: Variant of the weights, such as "fp16", wherever the checkpoint has it.

        Raises:
            UserError: Files are missing or damaged, or hold another model.
        """
        needed = components.image_model(variant)
        checkpoint = find(source, needed, dtype, SOURCE)
        expect_complete([(checkpoint, needed)], NAME)
        parts = TextToVideoSDParts(**checkpoint.load_all(needed, TextToVideoSDParts))
        return cls(parts, picture, runtime)

    def save_pretrained(self, folder: Path) -> None:
        """Write the parts in diffusers' layout; ``TextToVideoSDPipeline`` reads it too.

        Raises:
            UserError: The folder holds something, or cannot be written.
        """
        save_parts(folder, "TextToVideoSDPipeline", vars(self.parts))

    @override
    def _run(
        self, x_t: Tensor, t: PerSample, level: NoiseLevel, embeds: tuple[Tensor, ...]
    ) -> Tensor:
        return self._unet(x_t.to(self._unet.dtype), t, embeds[0]).sample

    @override
    def encode_prompts(self, prompts: Sequence[str]) -> Conditioning:
        parts = self.parts
        return clip_conditioning(parts.tokenizer, parts.text_encoder, prompts, self._device)

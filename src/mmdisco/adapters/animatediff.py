"""AnimateDiff (Guo et al. 2024): a Stable Diffusion 1.5 image model with motion modules.

Published size: latents (4, f, h/8, w/8), up to 32 frames, usually 16 at 8 per second; 77 CLIP
tokens of width 768.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import AutoencoderKL, MotionAdapter, UNet2DConditionModel, UNetMotionModel
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer
from typing_extensions import override

from mmdisco.adapters import components
from mmdisco.adapters.checkpoint import Checkpoint, expect_complete, find, save_parts
from mmdisco.adapters.components import ComponentFiles
from mmdisco.adapters.device import CPU, Runtime
from mmdisco.adapters.latent_model import LatentModel
from mmdisco.adapters.prompts import clip_conditioning
from mmdisco.adapters.scheduler_config import SchedulerConfig
from mmdisco.adapters.vae import expect_matching
from mmdisco.adapters.video_vae import VideoSpec, VideoVAE
from mmdisco.core.denoiser import Conditioning
from mmdisco.core.noise import NoiseLevel
from mmdisco.errors import UserError
from mmdisco.media.clip import Video
from mmdisco.shapes import PerSample

NAME: Final = "AnimateDiff"
SOURCE: Final = "SG161222/Realistic_Vision_V5.1_noVAE"
MOTION_SOURCE: Final = "guoyww/animatediff-motion-adapter-v1-5-2"
USUAL: Final = VideoSpec(512, 512)


@dataclass(frozen=True)
class AnimateDiffParts:
    """Components of a diffusers ``AnimateDiffPipeline``.

    Attributes:
        unet: Denoiser with motion modules inside; ``with_motion`` makes one.
        vae: Autoencoder of frames.
        text_encoder: Text encoder of CLIP.
        tokenizer: Tokenizer of the text encoder.
        scheduler: Scheduler, of which only the table of β and the prediction type are used.
    """

    unet: UNetMotionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: SchedulerMixin


def with_motion(unet: UNet2DConditionModel, motion: MotionAdapter) -> UNetMotionModel:
    """Insert the motion modules of an adapter into the denoiser of an image model.

    Raises:
        UserError: The adapter was made for an image model of another shape.
    """
    maker: Any = UNetMotionModel
    try:
        return maker.from_unet2d(unet, motion)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            "the motion adapter does not fit the denoiser: both must be of one family, such as "
            "Stable Diffusion 1.5"
        ) from error


class AnimateDiff(LatentModel[Video]):
    """AnimateDiff as a base model.

    Captions are CLIP's tokens, (b, 77, 768), for the network, and their mean for a discriminator.

    Args:
        parts: Components, taken over: frozen, put in evaluation mode and on the device.
        picture: Size and rate of the videos; more frames than the motion modules have positions
            for are refused whatever it says.
        runtime: Device and memory of the networks.

    Raises:
        UserError: The parts or the size do not belong together, or the device cannot be used.
    """

    def __init__(
        self, parts: AnimateDiffParts, picture: VideoSpec = USUAL, runtime: Runtime = CPU
    ) -> None:
        read: int = parts.unet.config["cross_attention_dim"]
        made = parts.text_encoder.config.hidden_size
        expect_matching(parts.unet, parts.vae, read=read, made=made, model=NAME)
        positions: int = parts.unet.config["motion_max_seq_length"]
        most = min(positions, picture.most_frames or positions)
        bounded = replace(picture, most_frames=most)
        trained = SchedulerConfig.of(parts.scheduler)
        codec = VideoVAE(parts.vae, bounded, runtime.device, NAME)
        super().__init__(parts.unet, codec, trained, runtime.device)
        self.parts = parts
        runtime.take((parts.text_encoder, parts.unet, parts.vae), parts.vae)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path = SOURCE,
        motion: str | Path = MOTION_SOURCE,
        picture: VideoSpec = USUAL,
        dtype: torch.dtype = torch.float32,
        runtime: Runtime = CPU,
        variant: str | None = None,
    ) -> "AnimateDiff":
        """Load an image model and a motion adapter.

        Args:
            source: Image model: a folder in diffusers' layout, or an id on the Hugging Face hub.
            motion: Motion adapter, likewise; not read where ``source`` has motion already, as a
                folder of ``save_pretrained`` does.
            picture: Size and rate of the videos.
            dtype: Precision of the networks; latents and clips are float32 always.
            runtime: Device and memory of the networks.
            variant: Variant of the weights, such as "fp16", wherever a checkpoint has it.

        Raises:
            UserError: Files are missing or damaged, or hold another model.
        """
        needed = components.image_model(variant)
        checkpoint = find(source, needed, dtype, SOURCE)
        adapter = (
            None if _has_motion(checkpoint, needed[0]) else _find_motion(motion, dtype, variant)
        )
        expect_complete([(checkpoint, needed), *([adapter] if adapter else [])], NAME)
        unet = _unet(checkpoint, needed[0], adapter)
        others = checkpoint.load_all(needed[1:], AnimateDiffParts)
        return cls(AnimateDiffParts(unet, **others), picture, runtime)

    def save_pretrained(self, folder: Path) -> None:
        """Write the parts in diffusers' layout; ``AnimateDiffPipeline`` reads it too.

        Raises:
            UserError: The folder holds something, or cannot be written.
        """
        save_parts(folder, "AnimateDiffPipeline", vars(self.parts))

    @override
    def _run(
        self, x_t: Tensor, t: PerSample, level: NoiseLevel, embeds: tuple[Tensor, ...]
    ) -> Tensor:
        # frames are a batch to the cross-attention: every one reads the caption
        each_frame = embeds[0].repeat_interleave(x_t.shape[2], 0)
        return self._unet(x_t.to(self._unet.dtype), t, each_frame).sample

    @override
    def encode_prompts(self, prompts: Sequence[str]) -> Conditioning:
        parts = self.parts
        return clip_conditioning(parts.tokenizer, parts.text_encoder, prompts, self._device)


def _has_motion(checkpoint: Checkpoint, unet: ComponentFiles) -> bool:
    there = (checkpoint.folder / unet.name / "config.json").is_file()
    return there and checkpoint.class_of(unet) == UNetMotionModel.__name__


def _find_motion(
    source: str | Path, dtype: torch.dtype, variant: str | None
) -> tuple[Checkpoint, tuple[ComponentFiles]]:
    part = components.motion_adapter(variant)
    return find(source, (part,), dtype, MOTION_SOURCE), (part,)


def _unet(
    checkpoint: Checkpoint,
    unet: ComponentFiles,
    adapter: tuple[Checkpoint, tuple[ComponentFiles]] | None,
) -> UNetMotionModel:
    if adapter is None:
        return checkpoint.load(unet, UNetMotionModel)
    source, (part,) = adapter
    images: Any = checkpoint.load(unet, UNet2DConditionModel)
    return with_motion(images, source.load(part, MotionAdapter))

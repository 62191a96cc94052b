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
from transformers import CLIPTextModel, CLIPTokenizer, PreTrainedTokenizerBase
from typing_extensions import override

from mmdisco.adapters import components
from mmdisco.adapters.checkpoint import Checkpoint, expect_complete, find
from mmdisco.adapters.components import ComponentFiles, save_parts
from mmdisco.adapters.device import CPU, Runtime
from mmdisco.adapters.prompts import clip_tokens
from mmdisco.adapters.scheduler_config import SchedulerConfig
from mmdisco.adapters.vae import expect_latents, expect_text
from mmdisco.adapters.video_vae import VideoSpec, VideoVAE
from mmdisco.core.denoiser import BaseModel, Conditioning
from mmdisco.core.noise import NoiseLevel, NoiseSchedule
from mmdisco.errors import UserError
from mmdisco.media.clip import Video
from mmdisco.shapes import Latent

NAME: Final = "AnimateDiff"
SOURCE: Final = "SG161222/Realistic_Vision_V5.1_noVAE"
MOTION_SOURCE: Final = "guoyww/animatediff-motion-adapter-v1-5-2"
USUAL: Final = VideoSpec(512, 512)


@dataclass(frozen=True)
class AnimateDiffParts:
    """The components of a diffusers ``AnimateDiffPipeline``.

    Attributes:
        unet: Predicts the noise, motion modules inside; ``with_motion`` makes one.
        vae: Frames to latents.
        text_encoder: Of CLIP.
        tokenizer: Of the text encoder.
        scheduler: Its table of β and its prediction type count, nothing else.
    """

    unet: UNetMotionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: PreTrainedTokenizerBase
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


class AnimateDiff(BaseModel[Video]):
    """AnimateDiff as a base model; classifier-free guidance is applied outside.

    Args:
        parts: Taken over: frozen, put in evaluation mode and on the device.
        picture: Size and rate of the videos; more frames than the motion modules have positions
            for are refused whatever it says.
        runtime: Where the networks compute.

    Raises:
        UserError: The parts or the size do not belong together, or the runtime cannot be had.
    """

    def __init__(
        self, parts: AnimateDiffParts, picture: VideoSpec = USUAL, runtime: Runtime = CPU
    ) -> None:
        expect_latents(parts.unet, parts.vae, NAME)
        reads: int = parts.unet.config["cross_attention_dim"]
        expect_text(reads, parts.text_encoder.config.hidden_size, NAME)
        self._parameterisation = SchedulerConfig.of(parts.scheduler)
        positions: int = parts.unet.config["motion_max_seq_length"]
        most = min(positions, picture.most_frames or positions)
        bounded = replace(picture, most_frames=most)
        self._codec = VideoVAE(parts.vae, bounded, runtime.device, NAME)
        self._device = runtime.device
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
            source: Of the image model: a folder in diffusers' layout, or an id of the Hugging Face
                hub; what is cached of an id is not downloaded again.
            motion: Of the motion adapter, likewise; not read where ``source`` has motion already,
                as what ``save_pretrained`` writes.
            picture: Size and rate of the videos.
            dtype: What the networks compute in; latents and clips are float32 always.
            runtime: Where they compute.
            variant: Variant of the weights, such as "fp16", wherever a checkpoint has it.

        Raises:
            UserError: Files are missing or damaged, or hold another model.
        """
        needed = components.image_model(variant)
        unet, vae, text_encoder, tokenizer, scheduler = needed
        checkpoint = find(source, needed, dtype, SOURCE)
        adapter = None if _has_motion(checkpoint, unet) else _find_motion(motion, dtype, variant)
        expect_complete([(checkpoint, needed), *([adapter] if adapter else [])], NAME)
        loaded = AnimateDiffParts(
            unet=_unet(checkpoint, unet, adapter),
            vae=checkpoint.network(vae, AutoencoderKL),
            text_encoder=checkpoint.network(text_encoder, CLIPTextModel),
            tokenizer=checkpoint.tokenizer(tokenizer, CLIPTokenizer),
            scheduler=checkpoint.scheduler(scheduler),
        )
        return cls(loaded, picture, runtime)

    def save_pretrained(self, folder: Path) -> None:
        """Write the parts in diffusers' layout; ``AnimateDiffPipeline`` reads it too.

        Raises:
            UserError: The folder holds something, or cannot be written.
        """
        save_parts(folder, "AnimateDiffPipeline", vars(self.parts))

    @property
    @override
    def schedule(self) -> NoiseSchedule:
        return self._parameterisation.schedule

    def predict_noise(self, x_t: Latent, level: NoiseLevel, cond: Conditioning) -> Latent:
        """Predict ε̂ of each video, (b, 4, f, h, w)."""
        unet = self.parts.unet
        (tokens,) = cond.embeds

        def network(latent: Tensor, t: Tensor) -> Tensor:
            # frames are a batch to the cross-attention: every one reads the caption
            each_frame = tokens.to(self._device, unet.dtype).repeat_interleave(latent.shape[2], 0)
            return unet(latent.to(unet.dtype), t, each_frame).sample

        return self._parameterisation.predict_noise(network, x_t, level, self._device)

    def encode_prompts(self, prompts: Sequence[str]) -> Conditioning:
        """Encode to CLIP's tokens for the network, (b, 77, 768), and a discriminator's mean.

        A negative prompt is encoded like any other; "" is the unconditional one.
        """
        tokens = clip_tokens(self.parts.tokenizer, self.parts.text_encoder, prompts, self._device)
        return Conditioning(tokens.mean(dim=1), (tokens,))

    def latent_shape(self, seconds: float) -> torch.Size:
        """Return (4, fps · seconds, height/8, width/8).

        Raises:
            UserError: ``seconds`` is no whole number of frames, or too many.
        """
        return self._codec.shape(seconds)

    def encode(self, media: Sequence[Video]) -> Latent:
        """Encode videos frame by frame.

        Raises:
            UserError: A video is not of the configured size and rate, has too many frames, or
                differs in length from the others.
        """
        return self._codec.encode(media)

    def decode(self, x_0: Latent) -> list[Video]:
        """Decode to videos of the configured size and rate."""
        return self._codec.decode(x_0)


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
        return checkpoint.network(unet, UNetMotionModel)
    source, (part,) = adapter
    images: Any = checkpoint.network(unet, UNet2DConditionModel)
    return with_motion(images, source.network(part, MotionAdapter))

"""VideoCrafter2 (Chen et al. 2024, arXiv:2401.09047) as a base model.

Published size: latents (4, f, h/8, w/8), trained at 16 frames of 512×320; 77 tokens of OpenCLIP,
of width 1024. The network is told how many frames a second the clip has.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from transformers import CLIPTokenizer

from mmdisco.adapters.checkpoint import expect_complete, find
from mmdisco.adapters.components import CLIP_TOKENIZER, VIDEOCRAFTER2
from mmdisco.adapters.device import CPU, Runtime
from mmdisco.adapters.video_vae import VideoSpec
from mmdisco.adapters.videocrafter2.autoencoder import Autoencoder
from mmdisco.adapters.videocrafter2.codec import NAME, VideoCrafter2Codec
from mmdisco.adapters.videocrafter2.schedule import training_schedule
from mmdisco.adapters.videocrafter2.text import OpenCLIPText, OpenCLIPTextEncoder
from mmdisco.adapters.videocrafter2.unet import UNet
from mmdisco.adapters.videocrafter2.weights import SOURCE, load_networks
from mmdisco.core.denoiser import BaseModel, Conditioning
from mmdisco.core.noise import NoiseLevel, NoiseSchedule
from mmdisco.errors import UserError
from mmdisco.media.clip import Video
from mmdisco.shapes import Latent

TOKENIZER_SOURCE: Final = "openai/clip-vit-large-patch14"
USUAL: Final = VideoSpec(320, 512)


@dataclass(frozen=True)
class VideoCrafter2Parts:
    """The networks and the tokenizer.

    Attributes:
        unet: Predicts ε.
        autoencoder: Frames to latents.
        tower: Of OpenCLIP's text encoder.
        tokenizer: CLIP's.
    """

    unet: UNet
    autoencoder: Autoencoder
    tower: OpenCLIPText
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
        _expect_matching(parts)
        _expect_size(parts, picture)
        if runtime.offload or runtime.vae_tiling:
            raise UserError(f"{NAME} has neither offloading nor tiling: switch them off")
        for network in (parts.unet, parts.autoencoder, parts.tower):
            network.eval().requires_grad_(False).to(runtime.device)  # noqa: FBT003
        self.parts = parts
        self._picture = picture
        self._schedule = schedule or training_schedule()
        self._codec = VideoCrafter2Codec(parts.autoencoder, picture)
        self._text = OpenCLIPTextEncoder(parts.tokenizer, parts.tower)

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
        parts = VideoCrafter2Parts(
            unet=networks.unet.to(dtype),
            autoencoder=networks.autoencoder.to(dtype),
            tower=networks.text.to(dtype),
            tokenizer=spoken,
        )
        return cls(parts, picture, runtime)

    @property
    def schedule(self) -> NoiseSchedule:
        """The levels that the network was trained at, unless others were asked for."""
        return self._schedule

    def predict_noise(self, x_t: Latent, level: NoiseLevel, cond: Conditioning) -> Latent:
        """ε̂ of each video, (b, 4, f, h, w)."""
        unet = self.parts.unet
        weight = unet.first.weight
        (tokens,) = cond.embeds
        t = level.t.to(weight.device, torch.float32)
        with torch.no_grad():
            eps = unet(
                x_t.to(weight), t, torch.full_like(t, float(self._picture.fps)), tokens.to(weight)
            )
        return eps.to(x_t)

    def encode_prompts(self, prompts: Sequence[str]) -> Conditioning:
        """Tokens for the network, (b, 77, 1024), and their mean for a discriminator.

        A negative prompt is a prompt like any other; "" is the one that asks for nothing.
        """
        tokens = self._text(prompts).float().cpu()
        return Conditioning(tokens.mean(dim=1), (tokens,))

    def latent_shape(self, seconds: float) -> torch.Size:
        """(4, fps · seconds, height/8, width/8).

        Raises:
            UserError: ``seconds`` is no whole number of frames, or too many.
        """
        return self._codec.shape(seconds)

    def encode(self, media: Sequence[Video]) -> Latent:
        """Latents of videos, frame by frame.

        Raises:
            UserError: A video is not of the picture's size and rate, has too many frames, or is not
                as long as the others.
        """
        return self._codec.encode(media)

    def decode(self, x_0: Latent) -> list[Video]:
        """Videos of the picture's size and rate."""
        return self._codec.decode(x_0)


def _expect_matching(parts: VideoCrafter2Parts) -> None:
    made = (parts.autoencoder.shape.latent, parts.tower.shape.width)
    read = (parts.unet.shape.latent, parts.unet.shape.context)
    if made != read:
        raise UserError(
            f"{NAME}: a denoiser of {read[0]} channels and text of width {read[1]}, beside an "
            f"autoencoder of {made[0]} and a text encoder of {made[1]}; take one checkpoint"
        )


def _expect_size(parts: VideoCrafter2Parts, picture: VideoSpec) -> None:
    factor = parts.autoencoder.shape.factor * parts.unet.shape.factor
    sides = (picture.height, picture.width)
    if min(sides) < 1 or any(side % factor for side in sides):
        raise UserError(
            f"a picture of {picture.width}×{picture.height}: {NAME} takes multiples of {factor}"
        )
    if picture.fps <= 0:
        raise UserError(f"{picture.fps} frames a second: give a rate above 0")

"""Auffusion (Xue et al. 2024, arXiv:2401.01044) as a base model: sound as a picture.

Published size: 16 kHz, latents (4, l, 32) of 12.5 columns a second, at most 10.24 s; 77 tokens of
width 768.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer, SpeechT5HifiGan

from mmdisco.adapters.auffusion.codec import NAME, AuffusionCodec
from mmdisco.adapters.auffusion.padding import COLUMNS, SilencePadding
from mmdisco.adapters.auffusion.prompts import ConditionAdapter, PromptEncoder
from mmdisco.adapters.auffusion.weights import (
    ALL,
    SCHEDULER,
    SOURCE,
    TEXT_ENCODER,
    TOKENIZER,
    UNET,
    VAE,
    expect_one_encoder,
    load_adapter,
    load_vocoder,
)
from mmdisco.adapters.checkpoint import expect_complete, find
from mmdisco.adapters.device import CPU, Runtime
from mmdisco.adapters.scheduler_config import SchedulerConfig
from mmdisco.adapters.vae import expect_latents, expect_text
from mmdisco.core.denoiser import BaseModel, Conditioning
from mmdisco.core.noise import NoiseLevel, NoiseSchedule
from mmdisco.media.clip import Audio
from mmdisco.shapes import Latent


@dataclass(frozen=True)
class AuffusionParts:
    """The components of the published pipeline that take part in sampling.

    Attributes:
        unet: Predicts the noise.
        vae: Pictures of spectrograms to latents.
        vocoder: Spectrograms to waveforms.
        text_encoder: Of CLIP.
        adapter: The text encoder's tokens to the denoiser's.
        tokenizer: Of the text encoder.
        scheduler: Its table of β and its prediction type count, nothing else.
    """

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    vocoder: SpeechT5HifiGan
    text_encoder: CLIPTextModel
    adapter: ConditionAdapter
    tokenizer: CLIPTokenizer
    scheduler: SchedulerMixin


class Auffusion(BaseModel[Audio]):
    """Auffusion as a base model; classifier-free guidance is applied outside.

    Args:
        parts: Taken over: frozen, put in evaluation mode and on the device.
        runtime: Where the networks compute.
        padding: What follows a sound of less than 10.24 s; None for silence with the noise of
            seed 0.

    Raises:
        UserError: The parts do not belong together, or the runtime cannot be had.
    """

    def __init__(
        self, parts: AuffusionParts, runtime: Runtime = CPU, padding: SilencePadding | None = None
    ) -> None:
        expect_latents(parts.unet, parts.vae, NAME)
        reads: int = parts.unet.config["cross_attention_dim"]
        expect_text(reads, parts.adapter.proj.out_features, NAME)
        self._parameterisation = SchedulerConfig.of(parts.scheduler)
        self._codec = AuffusionCodec(parts.vae, parts.vocoder, runtime.device)
        self._text = PromptEncoder(
            parts.tokenizer, parts.text_encoder, parts.adapter, runtime.device
        )
        self._device = runtime.device
        self._given_padding = padding
        self.parts = parts
        networks = (parts.text_encoder, parts.adapter, parts.unet, parts.vae, parts.vocoder)
        runtime.take(networks, parts.vae)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path = SOURCE,
        dtype: torch.dtype = torch.float32,
        runtime: Runtime = CPU,
    ) -> "Auffusion":
        """Load the published weights.

        Args:
            source: A folder with the files of the published pipeline, or an id of the Hugging Face
                hub; what is cached of an id is not downloaded again.
            dtype: What the networks compute in; latents and clips are float32 always.
            runtime: Where they compute.

        Raises:
            UserError: Files are missing or damaged, or hold another model.
        """
        checkpoint = find(source, ALL, dtype, SOURCE)
        expect_complete([(checkpoint, ALL)], NAME)
        expect_one_encoder(checkpoint.folder)
        loaded = AuffusionParts(
            unet=checkpoint.network(UNET, UNet2DConditionModel),
            vae=checkpoint.network(VAE, AutoencoderKL),
            vocoder=load_vocoder(checkpoint.folder, dtype),
            text_encoder=checkpoint.network(TEXT_ENCODER, CLIPTextModel),
            adapter=load_adapter(checkpoint.folder, dtype),
            tokenizer=checkpoint.tokenizer(TOKENIZER, CLIPTokenizer),
            scheduler=checkpoint.scheduler(SCHEDULER),
        )
        return cls(loaded, runtime)

    @property
    def schedule(self) -> NoiseSchedule:
        """Noise schedule of the scheduler's table."""
        return self._parameterisation.schedule

    @cached_property
    def padding(self) -> SilencePadding:
        """What follows a sound of less than 10.24 s."""
        if self._given_padding is not None:
            return self._given_padding
        return SilencePadding.seeded(self._codec.silence())

    def predict_noise(self, x_t: Latent, level: NoiseLevel, cond: Conditioning) -> Latent:
        """ε̂ of each sound, (b, 4, l, 32), of at most 128 columns l."""
        unet: Any = self.parts.unet
        (tokens,) = cond.embeds
        columns = x_t.shape[2]

        def network(latent: Tensor, t: Tensor) -> Tensor:
            whole = self.padding.extend(latent, level) if columns < COLUMNS else latent
            # the network's pictures have frequency before time
            picture = whole.transpose(2, 3).to(unet.dtype)
            output = unet(picture, t, tokens.to(self._device, unet.dtype)).sample
            return output.transpose(2, 3)[:, :, :columns]

        return self._parameterisation.predict_noise(network, x_t, level, self._device)

    def encode_prompts(self, prompts: Sequence[str]) -> Conditioning:
        """Tokens for the network, (b, 77, 768), and their mean for a discriminator.

        "" is all zeros, which the model takes for no prompt. A negative prompt is a prompt like any
        other.
        """
        tokens = self._text(prompts)
        return Conditioning(tokens.mean(dim=1), (tokens,))

    def latent_shape(self, seconds: float) -> torch.Size:
        """(4, l, 32) with as many columns of 0.08 s as it takes to cover ``seconds``.

        Raises:
            UserError: ``seconds`` is not positive or more than 10.24.
        """
        return self._codec.shape(seconds)

    def encode(self, media: Sequence[Audio]) -> Latent:
        """Latents of sounds, each brought to a peak of 0.95 first, as the training's were.

        Raises:
            UserError: A sound is not of 16 kHz, shorter than 0.08 s or longer than 10.24 s, or not
                as long as the others.
        """
        return self._codec.encode(media)

    def decode(self, x_0: Latent) -> list[Audio]:
        """Sounds of 16 kHz, 1280 samples a column: up to 0.08 s more than was asked for."""
        return self._codec.decode(x_0)

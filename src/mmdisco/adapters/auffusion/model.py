"""Auffusion (Xue et al. 2024, arXiv:2401.01044) as a base model: sound as a picture.

Published size: 16 kHz, latents (4, l, 32) of 12.5 columns a second, at most 10.24 s; 77 tokens of
width 768.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer, SpeechT5HifiGan
from typing_extensions import override

from mmdisco.adapters.auffusion.codec import COLUMNS, NAME, AuffusionCodec, SilencePadding
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
from mmdisco.adapters.latent_model import LatentModel
from mmdisco.adapters.stock.schedulers import as_trained, read_scheduler
from mmdisco.adapters.vae import expect_matching
from mmdisco.core.denoiser import Conditioning
from mmdisco.core.noise import NoiseLevel
from mmdisco.io.shapes import PerSample
from mmdisco.media.clip import Audio


@dataclass(frozen=True)
class AuffusionParts:
    """Components of the published pipeline that take part in sampling.

    Attributes:
        unet: Denoiser.
        vae: Autoencoder of pictures of spectrograms.
        vocoder: Vocoder from spectrograms to waveforms.
        text_encoder: Text encoder of CLIP.
        adapter: Adapter from the text encoder's tokens to the denoiser's.
        tokenizer: Tokenizer of the text encoder.
        scheduler: Scheduler, of which only the table of β and the prediction type are used.
    """

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    vocoder: SpeechT5HifiGan
    text_encoder: CLIPTextModel
    adapter: ConditionAdapter
    tokenizer: CLIPTokenizer
    scheduler: SchedulerMixin


class Auffusion(LatentModel[Audio]):
    """Auffusion as a base model, for up to 10.24 s.

    Captions are tokens for the network, (b, 77, 768), and their mean for a discriminator; "" is all
    zeros, the model's form of no prompt. Sounds have whole columns of 1280 samples, so decoded ones
    may be up to 0.08 s longer than requested.

    Args:
        parts: Components, taken over: frozen, put in evaluation mode and on the device.
        runtime: Device and memory of the networks.
        padding: Continuation of sounds of less than 10.24 s; None for silence with the noise of
            seed 0.

    Raises:
        UserError: The parts do not belong together, or the device cannot be used.
    """

    def __init__(
        self, parts: AuffusionParts, runtime: Runtime = CPU, padding: SilencePadding | None = None
    ) -> None:
        read: int = parts.unet.config["cross_attention_dim"]
        made = parts.adapter.proj.out_features
        expect_matching(parts.unet, parts.vae, read=read, made=made, model=NAME)
        self._sounds = AuffusionCodec(parts.vae, parts.vocoder, runtime.device)
        levels = read_scheduler(as_trained(parts.scheduler))
        super().__init__(
            parts.unet, self._sounds, levels.schedule, levels.prediction, runtime.device
        )
        self._text = PromptEncoder(
            parts.tokenizer, parts.text_encoder, parts.adapter, runtime.device
        )
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
            source: Folder with the files of the published pipeline, or id on the Hugging Face hub.
            dtype: Precision of the networks; latents and clips are float32 always.
            runtime: Device and memory of the networks.

        Raises:
            UserError: Files are missing or damaged, or hold another model.
        """
        checkpoint = find(source, ALL, dtype, SOURCE)
        expect_complete([(checkpoint, ALL)], NAME)
        expect_one_encoder(checkpoint.folder)
        loaded = AuffusionParts(
            unet=checkpoint.load(UNET, UNet2DConditionModel),
            vae=checkpoint.load(VAE, AutoencoderKL),
            vocoder=load_vocoder(checkpoint.folder, dtype),
            text_encoder=checkpoint.load(TEXT_ENCODER, CLIPTextModel),
            adapter=load_adapter(checkpoint.folder, dtype),
            tokenizer=checkpoint.load(TOKENIZER, CLIPTokenizer),
            scheduler=checkpoint.load(SCHEDULER, SchedulerMixin),
        )
        return cls(loaded, runtime)

    @cached_property
    def padding(self) -> SilencePadding:
        """Continuation of sounds of less than 10.24 s."""
        if self._given_padding is not None:
            return self._given_padding
        return SilencePadding.seeded(self._sounds.silence())

    @override
    def _run(
        self, x_t: Tensor, t: PerSample, level: NoiseLevel, embeds: tuple[Tensor, ...]
    ) -> Tensor:
        columns = x_t.shape[2]
        whole = self.padding.extend(x_t, level) if columns < COLUMNS else x_t
        # the network's pictures have frequency before time
        picture = whole.transpose(2, 3).to(self._unet.dtype)
        return self._unet(picture, t, embeds[0]).sample.transpose(2, 3)[:, :, :columns]

    @override
    def encode_prompts(self, prompts: Sequence[str]) -> Conditioning:
        tokens = self._text(prompts)
        return Conditioning(tokens.mean(dim=1), (tokens,))

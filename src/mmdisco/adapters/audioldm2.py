"""AudioLDM2 (Liu et al. 2024): sound from CLAP, Flan-T5 and GPT-2, in AudioLDM's own latents.

Published size: 16 kHz, latents (8, l, 16) of 25 steps a second. The checkpoints for speech, which
read phonemes, are another model and are refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from diffusers import AudioLDM2UNet2DConditionModel, AutoencoderKL
from diffusers.pipelines.audioldm2 import AudioLDM2ProjectionModel
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor
from transformers import (
    ClapTextModelWithProjection,
    GPT2Model,
    RobertaTokenizer,
    SpeechT5HifiGan,
    T5EncoderModel,
    T5Tokenizer,
)
from typing_extensions import override

from mmdisco.adapters import components
from mmdisco.adapters.audio_vae import AudioVAE
from mmdisco.adapters.audioldm2_text import AudioLDM2Text
from mmdisco.adapters.checkpoint import expect_complete, find, save_parts
from mmdisco.adapters.device import CPU, Runtime
from mmdisco.adapters.latent_model import LatentModel
from mmdisco.adapters.scheduler_config import SchedulerConfig
from mmdisco.adapters.vae import expect_matching
from mmdisco.core.denoiser import Conditioning
from mmdisco.core.noise import NoiseLevel
from mmdisco.media.clip import Audio
from mmdisco.shapes import PerSample

NAME: Final = "AudioLDM2"
SOURCE: Final = "cvssp/audioldm2"


@dataclass(frozen=True)
class AudioLDM2Parts:
    """Components of a diffusers ``AudioLDM2Pipeline``, except the one that ranks its results.

    Attributes:
        unet: Denoiser; reads two sequences of vectors.
        vae: Autoencoder of log-mel spectrograms.
        vocoder: Vocoder from log-mel spectrograms to waveforms.
        text_encoder: Text encoder of CLAP, also out of a checkpoint of all of CLAP.
        text_encoder_2: Encoder of Flan-T5.
        projection_model: Projection of both to the width of GPT-2, with marks for their beginnings
            and ends.
        language_model: GPT-2 without a head; it continues vectors, not words.
        tokenizer: Tokenizer of CLAP.
        tokenizer_2: Tokenizer of Flan-T5.
        scheduler: Scheduler, of which only the table of β and the prediction type are used.
    """

    unet: AudioLDM2UNet2DConditionModel
    vae: AutoencoderKL
    vocoder: SpeechT5HifiGan
    text_encoder: ClapTextModelWithProjection
    text_encoder_2: T5EncoderModel
    projection_model: AudioLDM2ProjectionModel
    language_model: GPT2Model
    tokenizer: RobertaTokenizer
    tokenizer_2: T5Tokenizer
    scheduler: SchedulerMixin


class AudioLDM2(LatentModel[Audio]):
    """AudioLDM2 as a base model, for any multiple of 0.04 s.

    Captions are encoded by ``AudioLDM2Text``.

    Args:
        parts: Components, taken over: frozen, put in evaluation mode and on the device.
        runtime: Device and memory of the networks.

    Raises:
        UserError: The parts do not belong together, or the device cannot be used.
    """

    def __init__(self, parts: AudioLDM2Parts, runtime: Runtime = CPU) -> None:
        read: int = parts.projection_model.config["text_encoder_1_dim"]
        made = parts.text_encoder_2.config.d_model
        expect_matching(parts.unet, parts.vae, read=read, made=made, model=NAME)
        trained = SchedulerConfig.of(parts.scheduler)
        codec = AudioVAE(parts.vae, parts.vocoder, runtime.device, NAME)
        super().__init__(parts.unet, codec, trained, runtime.device)
        self.parts = parts
        self._text = AudioLDM2Text(
            clap=parts.text_encoder,
            clap_tokenizer=parts.tokenizer,
            t5=parts.text_encoder_2,
            t5_tokenizer=parts.tokenizer_2,
            projection=parts.projection_model,
            language_model=parts.language_model,
        )
        readers = (self._text.clap, self._text.t5, self._text.projection, self._text.language_model)
        runtime.take((*readers, parts.unet, parts.vae, parts.vocoder), parts.vae)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path = SOURCE,
        dtype: torch.dtype = torch.float32,
        runtime: Runtime = CPU,
        variant: str | None = None,
    ) -> "AudioLDM2":
        """Load a checkpoint.

        Args:
            source: Folder in diffusers' layout, or id on the Hugging Face hub.
            dtype: Precision of the networks; latents and clips are float32 always.
            runtime: Device and memory of the networks.
            variant: Variant of the weights, such as "fp16", wherever the checkpoint has it.

        Raises:
            UserError: Files are missing or damaged, or hold another model.
        """
        needed = components.audioldm2(variant)
        checkpoint = find(source, needed, dtype, SOURCE)
        expect_complete([(checkpoint, needed)], NAME)
        return cls(AudioLDM2Parts(**checkpoint.load_all(needed, AudioLDM2Parts)), runtime)

    def save_pretrained(self, folder: Path) -> None:
        """Write the parts in diffusers' layout, for ``from_pretrained``.

        Raises:
            UserError: The folder holds something, or cannot be written.
        """
        save_parts(folder, "AudioLDM2Pipeline", vars(self.parts))

    @override
    def _run(
        self, x_t: Tensor, t: PerSample, level: NoiseLevel, embeds: tuple[Tensor, ...]
    ) -> Tensor:
        generated, hidden, mask = embeds
        return self._unet(
            x_t.to(self._unet.dtype),
            t,
            encoder_hidden_states=generated,
            encoder_hidden_states_1=hidden,
            encoder_attention_mask_1=mask,
        ).sample

    @override
    def encode_prompts(self, prompts: Sequence[str]) -> Conditioning:
        return self._text.encode(prompts, self._device)

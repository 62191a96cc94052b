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
from mmdisco.adapters.checkpoint import expect_complete, find
from mmdisco.adapters.components import save_parts
from mmdisco.adapters.device import CPU, Runtime
from mmdisco.adapters.scheduler_config import SchedulerConfig
from mmdisco.adapters.vae import expect_latents, expect_text
from mmdisco.core.denoiser import BaseModel, Conditioning
from mmdisco.core.noise import NoiseLevel, NoiseSchedule
from mmdisco.media.clip import Audio
from mmdisco.shapes import Latent

NAME: Final = "AudioLDM2"
SOURCE: Final = "cvssp/audioldm2"


@dataclass(frozen=True)
class AudioLDM2Parts:
    """Components of a diffusers ``AudioLDM2Pipeline``, except the one that ranks its results.

    Attributes:
        unet: Denoiser; reads two sequences of vectors.
        vae: Autoencoder of log-mel spectrograms.
        vocoder: Vocoder from log-mel spectrograms to waveforms.
        text: Text encoders.
        scheduler: Scheduler, of which only the table of β and the prediction type are used.
    """

    unet: AudioLDM2UNet2DConditionModel
    vae: AutoencoderKL
    vocoder: SpeechT5HifiGan
    text: AudioLDM2Text
    scheduler: SchedulerMixin


class AudioLDM2(BaseModel[Audio]):
    """AudioLDM2 as a base model; classifier-free guidance is applied outside.

    Args:
        parts: Taken over: frozen, put in evaluation mode and on the device.
        runtime: Where they compute.

    Raises:
        UserError: The parts do not belong together, or the runtime cannot be had.
    """

    def __init__(self, parts: AudioLDM2Parts, runtime: Runtime = CPU) -> None:
        expect_latents(parts.unet, parts.vae, NAME)
        text = parts.text
        reads: int = text.projection.config["text_encoder_1_dim"]
        expect_text(reads, text.t5.config.d_model, NAME)
        self._parameterisation = SchedulerConfig.of(parts.scheduler)
        self._codec = AudioVAE(parts.vae, parts.vocoder, runtime.device, NAME)
        self._device = runtime.device
        self.parts = parts
        readers = (text.clap, text.t5, text.projection, text.language_model)
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
            source: A folder in diffusers' layout, or an id of the Hugging Face hub; what is cached
                of an id is not downloaded again.
            dtype: What the networks compute in; latents and clips are float32 always.
            runtime: Where they compute.
            variant: Variant of the weights, such as "fp16", wherever the checkpoint has it.

        Raises:
            UserError: Files are missing or damaged, or hold another model.
        """
        needed = components.audioldm2(variant)
        unet, vae, vocoder, clap, t5, projection, language_model, *others = needed
        clap_tokenizer, t5_tokenizer, scheduler = others
        checkpoint = find(source, needed, dtype, SOURCE)
        expect_complete([(checkpoint, needed)], NAME)
        loaded = AudioLDM2Parts(
            unet=checkpoint.network(unet, AudioLDM2UNet2DConditionModel),
            vae=checkpoint.network(vae, AutoencoderKL),
            vocoder=checkpoint.network(vocoder, SpeechT5HifiGan),
            text=AudioLDM2Text(
                clap=checkpoint.network(clap, ClapTextModelWithProjection),
                clap_tokenizer=checkpoint.tokenizer(clap_tokenizer, RobertaTokenizer),
                t5=checkpoint.network(t5, T5EncoderModel),
                t5_tokenizer=checkpoint.tokenizer(t5_tokenizer, T5Tokenizer),
                projection=checkpoint.network(projection, AudioLDM2ProjectionModel),
                language_model=checkpoint.network(language_model, GPT2Model),
            ),
            scheduler=checkpoint.scheduler(scheduler),
        )
        return cls(loaded, runtime)

    def save_pretrained(self, folder: Path) -> None:
        """Write the parts in diffusers' layout, for ``from_pretrained``.

        Raises:
            UserError: The folder holds something, or cannot be written.
        """
        parts, text = self.parts, self.parts.text
        named = {
            "unet": parts.unet,
            "vae": parts.vae,
            "vocoder": parts.vocoder,
            "text_encoder": text.clap,
            "tokenizer": text.clap_tokenizer,
            "text_encoder_2": text.t5,
            "tokenizer_2": text.t5_tokenizer,
            "projection_model": text.projection,
            "language_model": text.language_model,
            "scheduler": parts.scheduler,
        }
        save_parts(folder, "AudioLDM2Pipeline", named)

    @property
    @override
    def schedule(self) -> NoiseSchedule:
        return self._parameterisation.schedule

    def predict_noise(self, x_t: Latent, level: NoiseLevel, cond: Conditioning) -> Latent:
        """Predict ε̂ of each sound, (b, 8, l, 16) at the published size."""
        unet = self.parts.unet
        generated, hidden, mask = cond.embeds

        def network(latent: Tensor, t: Tensor) -> Tensor:
            return unet(
                latent.to(unet.dtype),
                t,
                encoder_hidden_states=generated.to(self._device, unet.dtype),
                encoder_hidden_states_1=hidden.to(self._device, unet.dtype),
                encoder_attention_mask_1=mask.to(self._device),
            ).sample

        return self._parameterisation.predict_noise(network, x_t, level, self._device)

    def encode_prompts(self, prompts: Sequence[str]) -> Conditioning:
        """Encode as ``AudioLDM2Text.encode``; CLAP's vector, (b, 512), is for a discriminator.

        A negative prompt is encoded like any other; "" is the unconditional one.
        """
        return self.parts.text.encode(prompts, self._device)

    def latent_shape(self, seconds: float) -> torch.Size:
        """Return (8, 25 · seconds, 16) at the published size.

        Raises:
            UserError: ``seconds`` is no multiple of 0.04, the length of a latent step.
        """
        return self._codec.shape(seconds)

    def encode(self, media: Sequence[Audio]) -> Latent:
        """Encode sounds, each normalised as in training first: its peak at 0.5.

        Raises:
            UserError: A sound is not of 16 kHz, not a multiple of 640 samples, or differs in length
                from the others.
        """
        return self._codec.encode(media)

    def decode(self, x_0: Latent) -> list[Audio]:
        """Decode to sounds of 16 kHz, 640 samples per latent step."""
        return self._codec.decode(x_0)

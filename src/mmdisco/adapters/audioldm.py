"""AudioLDM (Liu et al. 2023): sound from a CLAP vector, in the latents of a log-mel autoencoder.

Published size: 16 kHz, latents (8, l, 16) of 25 steps a second, CLAP vectors of width 512. The
vector goes into the time embedding; the network sees no tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor
from transformers import (
    ClapTextModelWithProjection,
    PreTrainedTokenizerBase,
    RobertaTokenizer,
    SpeechT5HifiGan,
)
from typing_extensions import override

from mmdisco.adapters import components
from mmdisco.adapters.audio_vae import AudioVAE
from mmdisco.adapters.checkpoint import expect_complete, find
from mmdisco.adapters.components import save_parts
from mmdisco.adapters.device import CPU, Runtime
from mmdisco.adapters.prompts import clap_vectors
from mmdisco.adapters.scheduler_config import SchedulerConfig
from mmdisco.adapters.vae import expect_latents, expect_text
from mmdisco.core.denoiser import BaseModel, Conditioning
from mmdisco.core.noise import NoiseLevel, NoiseSchedule
from mmdisco.media.clip import Audio
from mmdisco.shapes import Latent

NAME: Final = "AudioLDM"
SOURCE: Final = "cvssp/audioldm-m-full"


@dataclass(frozen=True)
class AudioLDMParts:
    """The components of a diffusers ``AudioLDMPipeline``.

    Attributes:
        unet: Predicts the noise; reads the text as a class label.
        vae: Log-mel spectrograms to latents.
        vocoder: Log-mel spectrograms to waveforms.
        text_encoder: Of CLAP.
        tokenizer: Of the text encoder.
        scheduler: Its table of β and its prediction type count, nothing else.
    """

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    vocoder: SpeechT5HifiGan
    text_encoder: ClapTextModelWithProjection
    tokenizer: PreTrainedTokenizerBase
    scheduler: SchedulerMixin


class AudioLDM(BaseModel[Audio]):
    """AudioLDM as a base model; classifier-free guidance is applied outside.

    Args:
        parts: Taken over: frozen, put in evaluation mode and on the device.
        runtime: Where they compute.

    Raises:
        UserError: The parts do not belong together, or the runtime cannot be had.
    """

    def __init__(self, parts: AudioLDMParts, runtime: Runtime = CPU) -> None:
        expect_latents(parts.unet, parts.vae, NAME)
        width: int = parts.unet.config.get("projection_class_embeddings_input_dim") or 0
        expect_text(width, parts.text_encoder.config.projection_dim, NAME)
        self._parameterisation = SchedulerConfig.of(parts.scheduler)
        self._codec = AudioVAE(parts.vae, parts.vocoder, runtime.device, NAME)
        self._device = runtime.device
        self.parts = parts
        networks = (parts.text_encoder, parts.unet, parts.vae, parts.vocoder)
        runtime.take(networks, parts.vae)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path = SOURCE,
        dtype: torch.dtype = torch.float32,
        runtime: Runtime = CPU,
        variant: str | None = None,
    ) -> "AudioLDM":
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
        needed = components.audioldm(variant)
        unet, vae, vocoder, text_encoder, tokenizer, scheduler = needed
        checkpoint = find(source, needed, dtype, SOURCE)
        expect_complete([(checkpoint, needed)], NAME)
        loaded = AudioLDMParts(
            unet=checkpoint.network(unet, UNet2DConditionModel),
            vae=checkpoint.network(vae, AutoencoderKL),
            vocoder=checkpoint.network(vocoder, SpeechT5HifiGan),
            text_encoder=checkpoint.network(text_encoder, ClapTextModelWithProjection),
            tokenizer=checkpoint.tokenizer(tokenizer, RobertaTokenizer),
            scheduler=checkpoint.scheduler(scheduler),
        )
        return cls(loaded, runtime)

    def save_pretrained(self, folder: Path) -> None:
        """Write the parts in diffusers' layout; ``AudioLDMPipeline`` reads it too.

        Raises:
            UserError: The folder holds something, or cannot be written.
        """
        save_parts(folder, "AudioLDMPipeline", vars(self.parts))

    @property
    @override
    def schedule(self) -> NoiseSchedule:
        return self._parameterisation.schedule

    def predict_noise(self, x_t: Latent, level: NoiseLevel, cond: Conditioning) -> Latent:
        """Predict ε̂ of each sound, (b, 8, l, 16) at the published size."""
        unet = self.parts.unet
        (vector,) = cond.embeds

        def network(latent: Tensor, t: Tensor) -> Tensor:
            labels = vector.to(self._device, unet.dtype)
            return unet(latent.to(unet.dtype), t, None, class_labels=labels).sample

        return self._parameterisation.predict_noise(network, x_t, level, self._device)

    def encode_prompts(self, prompts: Sequence[str]) -> Conditioning:
        """Encode to CLAP's unit vectors, (b, 512), read by network and discriminator.

        A negative prompt is encoded like any other; "" is the unconditional one.
        """
        vectors = clap_vectors(self.parts.tokenizer, self.parts.text_encoder, prompts, self._device)
        return Conditioning(vectors, (vectors,))

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

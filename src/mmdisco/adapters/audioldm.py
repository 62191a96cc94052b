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
from transformers import ClapTextModelWithProjection, RobertaTokenizer, SpeechT5HifiGan
from typing_extensions import override

from mmdisco.adapters import components
from mmdisco.adapters.audio_vae import AudioVAE
from mmdisco.adapters.checkpoint import expect_complete, find, save_parts
from mmdisco.adapters.device import CPU, Runtime
from mmdisco.adapters.latent_model import LatentModel
from mmdisco.adapters.prompts import clap_vectors
from mmdisco.adapters.scheduler_config import SchedulerConfig
from mmdisco.adapters.vae import expect_matching
from mmdisco.core.denoiser import Conditioning
from mmdisco.core.noise import NoiseLevel
from mmdisco.media.clip import Audio
from mmdisco.shapes import PerSample

NAME: Final = "AudioLDM"
SOURCE: Final = "cvssp/audioldm-m-full"


@dataclass(frozen=True)
class AudioLDMParts:
    """Components of a diffusers ``AudioLDMPipeline``.

    Attributes:
        unet: Denoiser; reads the text as a class label.
        vae: Autoencoder of log-mel spectrograms.
        vocoder: Vocoder from log-mel spectrograms to waveforms.
        text_encoder: Text encoder of CLAP.
        tokenizer: Tokenizer of the text encoder.
        scheduler: Scheduler, of which only the table of β and the prediction type are used.
    """

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    vocoder: SpeechT5HifiGan
    text_encoder: ClapTextModelWithProjection
    tokenizer: RobertaTokenizer
    scheduler: SchedulerMixin


class AudioLDM(LatentModel[Audio]):
    """AudioLDM as a base model, for any multiple of 0.04 s.

    Captions are CLAP's unit vectors, (b, 512), for network and discriminator alike.

    Args:
        parts: Components, taken over: frozen, put in evaluation mode and on the device.
        runtime: Device and memory of the networks.

    Raises:
        UserError: The parts do not belong together, or the device cannot be used.
    """

    def __init__(self, parts: AudioLDMParts, runtime: Runtime = CPU) -> None:
        read: int = parts.unet.config.get("projection_class_embeddings_input_dim") or 0
        made = parts.text_encoder.config.projection_dim
        expect_matching(parts.unet, parts.vae, read=read, made=made, model=NAME)
        trained = SchedulerConfig.of(parts.scheduler)
        codec = AudioVAE(parts.vae, parts.vocoder, runtime.device, NAME)
        super().__init__(parts.unet, codec, trained, runtime.device)
        self.parts = parts
        runtime.take((parts.text_encoder, parts.unet, parts.vae, parts.vocoder), parts.vae)

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
            source: Folder in diffusers' layout, or id on the Hugging Face hub.
            dtype: Precision of the networks; latents and clips are float32 always.
            runtime: Device and memory of the networks.
            variant: Variant of the weights, such as "fp16", wherever the checkpoint has it.

        Raises:
            UserError: Files are missing or damaged, or hold another model.
        """
        needed = components.audioldm(variant)
        checkpoint = find(source, needed, dtype, SOURCE)
        expect_complete([(checkpoint, needed)], NAME)
        return cls(AudioLDMParts(**checkpoint.load_all(needed, AudioLDMParts)), runtime)

    def save_pretrained(self, folder: Path) -> None:
        """Write the parts in diffusers' layout; ``AudioLDMPipeline`` reads it too.

        Raises:
            UserError: The folder holds something, or cannot be written.
        """
        save_parts(folder, "AudioLDMPipeline", vars(self.parts))

    @override
    def _run(
        self, x_t: Tensor, t: PerSample, level: NoiseLevel, embeds: tuple[Tensor, ...]
    ) -> Tensor:
        return self._unet(x_t.to(self._unet.dtype), t, None, class_labels=embeds[0]).sample

    @override
    def encode_prompts(self, prompts: Sequence[str]) -> Conditioning:
        vectors = clap_vectors(self.parts.tokenizer, self.parts.text_encoder, prompts, self._device)
        return Conditioning(vectors, (vectors,))

"""Sounds to the latents of an AudioLDM and back: mel front end, autoencoder, vocoder."""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import SpeechT5HifiGan
from typing_extensions import override

from mmdisco.adapters.audioldm_mel import SAMPLE_RATE, MelFrontEnd
from mmdisco.adapters.latent_model import Codec
from mmdisco.adapters.vae import ScaledAutoencoder, expect_one_length, whole_steps
from mmdisco.errors import UserError
from mmdisco.media.clip import Audio
from mmdisco.shapes import AudioLatent


class AudioVAE(Codec[Audio]):
    """Sounds of 16 kHz ↔ (b, c, l, m): 25 steps l a second and 16 bins m at the published size.

    Every sound is first normalised as in training, to zero mean and a peak of 0.5. A latent step
    lasts 640 samples at the published size; sounds are whole steps.

    Args:
        vae: Autoencoder of log-mel spectrograms, time before mel.
        vocoder: Vocoder from log-mel spectrograms to waveforms; its rates give the length of a
            column.
        device: Device of both.
        model: Name of the model, for messages.

    Raises:
        UserError: The two do not belong together.
    """

    def __init__(
        self, vae: AutoencoderKL, vocoder: SpeechT5HifiGan, device: torch.device, model: str
    ) -> None:
        hop = math.prod(vocoder.config.upsample_rates)
        self._autoencoder = ScaledAutoencoder(vae, device)
        self._vocoder = vocoder
        self._model = model
        self._front_end = MelFrontEnd(hop, vocoder.config.model_in_dim)
        factor = self._autoencoder.factor
        self._samples = hop * factor
        self._bins = self._front_end.bins // factor
        if vocoder.config.sampling_rate != SAMPLE_RATE:
            raise UserError(
                f"a vocoder of {vocoder.config.sampling_rate} Hz: {model} is known for "
                f"{SAMPLE_RATE} Hz only"
            )
        if self._front_end.bins % factor:
            raise UserError(
                f"{self._front_end.bins} mel bins of the vocoder and a factor of {factor} "
                "of the autoencoder: take both from one checkpoint"
            )

    @property
    def steps_per_second(self) -> Fraction:
        """Latent steps per second."""
        return Fraction(SAMPLE_RATE, self._samples)

    @override
    def shape(self, seconds: float) -> torch.Size:
        steps = whole_steps(seconds, self.steps_per_second, self._model, "step")
        return torch.Size([self._autoencoder.channels, steps, self._bins])

    @override
    def encode(self, media: Sequence[Audio]) -> AudioLatent:
        for audio in media:
            samples = len(audio.waveform)
            if audio.sample_rate != SAMPLE_RATE:
                raise UserError(
                    f"sound of {audio.sample_rate} Hz: {self._model} takes {SAMPLE_RATE} Hz; "
                    "resample it first"
                )
            if samples % self._samples or samples <= self._front_end.margin:
                raise UserError(
                    f"sound of {samples} samples: {self._model} takes multiples of "
                    f"{self._samples}, more than {self._front_end.margin}; cut it or add silence"
                )
        expect_one_length([len(audio.waveform) for audio in media], "sound", "samples")
        return torch.cat([self._encode(audio) for audio in media])

    @override
    def decode(self, x_0: AudioLatent) -> list[Audio]:
        return [self._decode(one) for one in x_0.split(1)]

    def _encode(self, audio: Audio) -> Tensor:
        waveform = torch.from_numpy(audio.waveform)[None]
        return self._autoencoder.encode(self._front_end.log_mel(self._front_end.level(waveform)))

    def _decode(self, x_0: Tensor) -> Audio:
        mel = self._autoencoder.decode(x_0)[:, 0]
        with torch.no_grad():
            waveform = self._vocoder(mel.to(self._vocoder.dtype))[0].float().cpu().numpy()
        # the published vocoder's odd kernels add 32 samples at the end
        kept = waveform[: x_0.shape[2] * self._samples]
        return Audio(np.clip(kept, -1, 1), SAMPLE_RATE)

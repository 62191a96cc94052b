"""Encoding of sounds to the latents of an AudioLDM and back: mel front end, autoencoder, vocoder.

Clips are processed one at a time, so that a clip never depends on the others of its batch and
memory suffices for one.
"""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import SpeechT5HifiGan

from mmdisco.adapters.audioldm_mel import SAMPLE_RATE, MelFrontEnd
from mmdisco.adapters.vae import ScaledAutoencoder, whole_steps
from mmdisco.errors import UserError
from mmdisco.media.clip import Audio
from mmdisco.shapes import AudioLatent


class AudioVAE:
    """Sounds of 16 kHz ↔ (b, c, l, m): 25 steps l a second and 16 bins m at the published size.

    Args:
        vae: From log-mel spectrograms, time before mel, to latents.
        vocoder: From log-mel spectrograms to waveforms; its rates say what a column lasts.
        device: Where both compute.
        model: The model's name, for messages.

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

    def shape(self, seconds: float) -> torch.Size:
        """Return (c, l, m) of a sound.

        Raises:
            UserError: ``seconds`` is no whole number of latent steps.
        """
        steps = whole_steps(seconds, self.steps_per_second, self._model, "step")
        return torch.Size([self._autoencoder.channels, steps, self._bins])

    def encode(self, media: Sequence[Audio]) -> AudioLatent:
        """Compute the mean of the autoencoder's posterior, scaled for the network.

        Every sound is first normalised as in training: zero mean, peak at 0.5.

        Raises:
            UserError: A sound has another rate, no whole number of latent steps, or another length
                than the first.
        """
        self._expect_fitting(media)
        return torch.cat([self._encode(audio) for audio in media])

    def decode(self, x_0: AudioLatent) -> list[Audio]:
        """Decode to sounds in [−1, 1], 640 samples per latent step at the published size."""
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

    def _expect_fitting(self, media: Sequence[Audio]) -> None:
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
            if samples != len(media[0].waveform):
                raise UserError(
                    f"sounds of {len(media[0].waveform)} and {samples} samples: those of one batch "
                    "must be of one length"
                )

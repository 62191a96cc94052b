"""Sounds to the latents of Auffusion and back: spectrogram, autoencoder, vocoder.

One sound at a time: it depends on no other, and the memory of one is enough.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from transformers import SpeechT5HifiGan

from mmdisco.adapters.audioldm_mel import SAMPLE_RATE
from mmdisco.adapters.auffusion import spectrogram
from mmdisco.adapters.auffusion.padding import COLUMNS
from mmdisco.adapters.auffusion.spectrogram import BINS, FRAMES, HOP
from mmdisco.adapters.vae import ScaledAutoencoder
from mmdisco.errors import UserError
from mmdisco.media.clip import Audio
from mmdisco.shapes import AudioLatent

NAME: Final = "Auffusion"
FACTOR: Final = FRAMES // COLUMNS
SAMPLES: Final = HOP * FACTOR
LONGEST: Final = COLUMNS * SAMPLES

# of a column, far less than a sample
_SLACK: Final = 1e-4


class AuffusionCodec:
    """Sounds of 16 kHz ↔ (b, 4, l, 32), l columns of 0.08 s, at most 128.

    Args:
        vae: From pictures of spectrograms to latents, each side an eighth.
        vocoder: From spectrograms to waveforms.
        device: Where both compute.

    Raises:
        UserError: The autoencoder or the vocoder is of another kind.
    """

    def __init__(self, vae: AutoencoderKL, vocoder: SpeechT5HifiGan, device: torch.device) -> None:
        self._autoencoder = ScaledAutoencoder(vae, device)
        self._vocoder: Any = vocoder
        if self._autoencoder.factor != FACTOR:
            raise UserError(
                f"an autoencoder that does not reduce {FACTOR} times: {NAME} cannot use it; take "
                "all parts from one checkpoint"
            )
        config = vocoder.config
        found = (config.model_in_dim, config.sampling_rate, math.prod(config.upsample_rates))
        if found != (BINS, SAMPLE_RATE, HOP):
            raise UserError(
                f"a vocoder of {found[0]} bins at {found[1]} Hz, {found[2]} samples a column: "
                f"{NAME} takes {BINS}, {SAMPLE_RATE} and {HOP}; take all parts from one checkpoint"
            )

    def shape(self, seconds: float) -> torch.Size:
        """(4, l, 32) with as many columns as it takes to cover ``seconds``.

        Raises:
            UserError: ``seconds`` is not positive or more than 10.24.
        """
        columns = seconds * SAMPLE_RATE / SAMPLES
        if not 0 < columns <= COLUMNS + _SLACK:
            raise UserError(
                f"{seconds:g} seconds: {NAME} makes up to {LONGEST / SAMPLE_RATE:g}; ask for less"
                if columns > 0
                else f"{seconds:g} seconds: ask for more than 0"
            )
        covering = max(1, math.ceil(columns - _SLACK))
        return torch.Size([self._autoencoder.channels, covering, BINS // FACTOR])

    def encode(self, media: Sequence[Audio]) -> AudioLatent:
        """The mean of the autoencoder's posterior, as many columns as it takes to cover a sound.

        Every sound is first brought to a peak of 0.95, as the training's were.

        Raises:
            UserError: A sound has another rate, is too short or too long, or not of the same length
                as the first.
        """
        _expect_fitting(media)
        return torch.cat([self._encode(audio) for audio in media])

    def decode(self, x_0: AudioLatent) -> list[Audio]:
        """Sounds of 1280 samples a column, in [−1, 1]."""
        with torch.no_grad():
            return [self._decode(one) for one in x_0.split(1)]

    def silence(self) -> Tensor:
        """The latent of 10.24 s of silence, (4, 128, 32)."""
        return self._latent(torch.zeros(1, LONGEST))[0]

    def _encode(self, audio: Audio) -> Tensor:
        waveform = spectrogram.level(torch.from_numpy(audio.waveform)[None])
        return self._latent(waveform)[:, :, : math.ceil(len(audio.waveform) / SAMPLES)]

    def _latent(self, waveform: Tensor) -> Tensor:
        """(1, 4, 128, 32) of one waveform, (1, samples); time from the last axis to axis 2."""
        picture = spectrogram.to_picture(spectrogram.log_mel(waveform))
        return self._autoencoder.encode(picture).transpose(2, 3)

    def _decode(self, x_0: Tensor) -> Audio:
        # half precision has too few digits for the range of the logarithms
        picture = self._autoencoder.decode(x_0.transpose(2, 3)).float()
        mel = spectrogram.from_picture(picture)
        waveform = self._vocoder(mel.transpose(1, 2).to(self._vocoder.dtype))[0]
        return Audio(waveform.float().cpu().numpy(), SAMPLE_RATE)


def _expect_fitting(media: Sequence[Audio]) -> None:
    for audio in media:
        samples = len(audio.waveform)
        if audio.sample_rate != SAMPLE_RATE:
            raise UserError(
                f"sound of {audio.sample_rate} Hz: {NAME} takes {SAMPLE_RATE} Hz; resample it first"
            )
        if not SAMPLES <= samples <= LONGEST:
            raise UserError(
                f"sound of {samples} samples: {NAME} takes {SAMPLES} to {LONGEST}; cut it or add "
                "silence"
            )
        if samples != len(media[0].waveform):
            raise UserError(
                f"sounds of {len(media[0].waveform)} and {samples} samples: those of one batch "
                "must be of one length"
            )

"""Sounds to the latents of Auffusion and back: spectrogram, autoencoder, vocoder, padding.

Pictures of sounds are as Auffusion was trained on (Xue et al. 2024, arXiv:2401.01044): log-mel,
flipped, in three equal channels. Sound of 16 kHz with its peak at 0.95, Hann windows of 1024
samples in transforms of 2048, a column every 160 samples, 256 filters from 0 to 8000 Hz on Slaney's
mel scale, each of area 1; ln of the magnitude from ln 1e-5 to ln 200 becomes −1 to 1. High
frequencies are at the top, and a sound is followed by black up to 10.24 s.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional
from transformers import SpeechT5HifiGan
from typing_extensions import override

from mmdisco.adapters.audioldm_mel import SAMPLE_RATE, slaney_filters
from mmdisco.adapters.latent_model import Codec
from mmdisco.adapters.vae import ScaledAutoencoder, expect_one_length
from mmdisco.core.noise import NoiseLevel
from mmdisco.errors import UserError
from mmdisco.io.shapes import AudioLatent
from mmdisco.media.clip import Audio

HOP: Final = 160
BINS: Final = 256
FRAMES: Final = 1024

_N_FFT: Final = 2048
_WINDOW: Final = 1024
_MARGIN: Final = (_N_FFT - HOP) // 2
_PEAK: Final = 0.95
_QUIETEST: Final = math.log(1e-5)
_LOUDEST: Final = math.log(200.0)


def level(waveform: Tensor) -> Tensor:
    """Scale waveforms (b, samples) to a peak of 0.95 each; silence stays silence."""
    peak = waveform.abs().amax(dim=1, keepdim=True)
    return _PEAK * torch.where(peak > torch.finfo(peak.dtype).tiny, waveform / peak, waveform)


def log_mel(waveform: Tensor) -> Tensor:
    """Compute ln of mel magnitudes, (b, 256, samples // 160), of waveforms (b, samples).

    Args:
        waveform: More than 944 samples, of which that many are mirrored at either end.
    """
    padded = functional.pad(waveform, (_MARGIN, _MARGIN), mode="reflect")
    window = torch.hann_window(_WINDOW, device=waveform.device)
    spectrum = torch.stft(
        padded, _N_FFT, HOP, _WINDOW, window=window, center=False, return_complex=True
    )
    magnitude = (torch.view_as_real(spectrum).square().sum(-1) + 1e-9).sqrt()
    return (slaney_filters(_N_FFT, BINS).to(waveform.device) @ magnitude).clamp(min=1e-5).log()


def to_picture(log_magnitudes: Tensor) -> Tensor:
    """Draw ``log_mel``'s (b, 256, at most 1024) as pictures (b, 3, 256, 1024) in [−1, 1]."""
    bounded = log_magnitudes.clamp(_QUIETEST, _LOUDEST)
    unit = ((bounded - _QUIETEST) / (_LOUDEST - _QUIETEST)).flip(1)
    filled = functional.pad(unit, (0, FRAMES - unit.shape[2]))
    return (2 * filled - 1)[:, None].repeat(1, 3, 1, 1)


def from_picture(picture: Tensor) -> Tensor:
    """Invert ``to_picture``: ln of mel magnitudes, (b, 256, frames), of the first channel."""
    unit = (picture[:, 0] / 2 + 0.5).clamp(0, 1).flip(1)
    return unit * (_LOUDEST - _QUIETEST) + _QUIETEST


NAME: Final = "Auffusion"
COLUMNS: Final = 128
FACTOR: Final = FRAMES // COLUMNS
SAMPLES: Final = HOP * FACTOR
LONGEST: Final = COLUMNS * SAMPLES

_SLACK: Final = 1e-4  # columns; far less than a sample


@dataclass(frozen=True)
class SilencePadding:
    """Silence and its noise: short sounds go on so, for a network trained on 10.24 s only.

    A shorter latent is continued with silence at the same noise level, q(z_t | silence) =
    α_t z + σ_t ε. The ε is the same at every step, for every sample and with either caption: a
    sound depends on its own seed alone, and classifier-free guidance has no difference of two
    noises to amplify.

    Attributes:
        silence: Clean latent of 10.24 s of silence, (c, 128, m).
        noise: ε of the same shape.
    """

    silence: Tensor
    noise: Tensor

    @staticmethod
    def seeded(silence: Tensor, seed: int = 0) -> "SilencePadding":
        """Draw the noise from a seed of its own, the same on every device."""
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(silence.shape, generator=generator)
        return SilencePadding(silence, noise.to(silence))

    def extend(self, x_t: AudioLatent, level: NoiseLevel) -> Tensor:
        """Continue latents (b, c, l, m) of at most 128 columns to (b, c, 128, m).

        Args:
            x_t: Noisy latents.
            level: Noise level of each sample.
        """
        columns = x_t.shape[2]
        shape = (x_t.shape[0], *self.silence.shape)
        silence = self.silence.to(x_t).expand(shape)
        noisy = level.add_noise(silence, self.noise.to(x_t).expand(shape))
        return torch.cat([x_t, noisy[:, :, columns:]], dim=2)


class AuffusionCodec(Codec[Audio]):
    """Sounds of 16 kHz ↔ (b, 4, l, 32), l columns of 0.08 s, at most 128.

    Sounds are covered by whole columns of 1280 samples. Each is first normalised as in training, to
    a peak of 0.95.

    Args:
        vae: Autoencoder of pictures of spectrograms, each side an eighth.
        vocoder: Vocoder from spectrograms to waveforms.
        device: Device of both.

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

    @override
    def shape(self, seconds: float) -> torch.Size:
        columns = seconds * SAMPLE_RATE / SAMPLES
        if not 0 < columns <= COLUMNS + _SLACK:
            raise UserError(
                f"{seconds:g} seconds: {NAME} makes up to {LONGEST / SAMPLE_RATE:g}; ask for less"
                if columns > 0
                else f"{seconds:g} seconds: ask for more than 0"
            )
        covering = max(1, math.ceil(columns - _SLACK))
        return torch.Size([self._autoencoder.channels, covering, BINS // FACTOR])

    @override
    def encode(self, media: Sequence[Audio]) -> AudioLatent:
        for audio in media:
            samples = len(audio.waveform)
            if audio.sample_rate != SAMPLE_RATE:
                raise UserError(
                    f"sound of {audio.sample_rate} Hz: {NAME} takes {SAMPLE_RATE} Hz; resample it "
                    "first"
                )
            if not SAMPLES <= samples <= LONGEST:
                raise UserError(
                    f"sound of {samples} samples: {NAME} takes {SAMPLES} to {LONGEST}; cut it or "
                    "add silence"
                )
        expect_one_length([len(audio.waveform) for audio in media], "sound", "samples")
        return torch.cat([self._encode(audio) for audio in media])

    @override
    def decode(self, x_0: AudioLatent) -> list[Audio]:
        with torch.no_grad():
            return [self._decode(one) for one in x_0.split(1)]

    def silence(self) -> Tensor:
        """Encode 10.24 s of silence, (4, 128, 32)."""
        return self._latent(torch.zeros(1, LONGEST))[0]

    def _encode(self, audio: Audio) -> Tensor:
        waveform = level(torch.from_numpy(audio.waveform)[None])
        return self._latent(waveform)[:, :, : math.ceil(len(audio.waveform) / SAMPLES)]

    def _latent(self, waveform: Tensor) -> Tensor:
        # (1, 4, 128, 32) of one waveform, (1, samples); time from the last axis to axis 2
        picture = to_picture(log_mel(waveform))
        return self._autoencoder.encode(picture).transpose(2, 3)

    def _decode(self, x_0: Tensor) -> Audio:
        # half precision has too few digits for the range of the logarithms
        picture = self._autoencoder.decode(x_0.transpose(2, 3)).float()
        mel = from_picture(picture)
        waveform = self._vocoder(mel.transpose(1, 2).to(self._vocoder.dtype))[0]
        return Audio(waveform.float().cpu().numpy(), SAMPLE_RATE)

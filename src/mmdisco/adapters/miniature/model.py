"""The two base models of the miniature pair, each behind the ``BaseModel`` interface.

Sound: 1.6 s at 16 kHz as a log-mel spectrogram, latents (4, 32, 16), decoded by Griffin-Lim.
Video: 16 frames of 64×64 at 10 fps, latents (4, 16, 8, 8). One text encoder serves both. Every
conversion between media and latents of the pair is here and in ``autoencoder``.

On disk the pair is a folder of safetensors files and ``config.json``. The files are in half
precision; the networks run in single. ``config.json`` holds the shapes, the words, the default
settings and the SHA-256 of every file, so that a damaged one is named.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final, Generic

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from mmdisco.adapters.miniature import FPS, FRAMES, SAMPLE_RATE, SAMPLES, SECONDS, SIDE
from mmdisco.adapters.miniature.autoencoder import (
    NormalizedVAE,
    decode_frames,
    decode_mel,
    encode_frames,
    encode_mel,
)
from mmdisco.adapters.miniature.vocabulary import Vocabulary
from mmdisco.core.denoiser import BaseModel, Conditioning, Denoiser, Medium
from mmdisco.core.noise import NoiseLevel, NoiseSchedule, cosine
from mmdisco.errors import UserError
from mmdisco.io.shapes import Latent, Text
from mmdisco.media.clip import Audio, Video, bring_down
from mmdisco.media.mel import MelScale

AUDIO_SHAPE = torch.Size([4, 32, 16])
VIDEO_SHAPE = torch.Size([4, 16, 8, 8])

TEXT_WIDTH: Final = 64
_TEXT_HIDDEN: Final = 256


class TextEncoder(nn.Module):
    """Encoder of prompts to vectors (b, 64) of mean 0 and variance 1 over their entries.

    The captions are lists of attributes, so the set of words carries their whole meaning, and a
    prompt in another word order is understood: a bag of known words through a small MLP.

    Args:
        words: The vocabulary, in the order of the weights.
    """

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__()
        self.vocabulary = Vocabulary(tuple(words))
        self.first = nn.Linear(len(words), _TEXT_HIDDEN)
        self.second = nn.Linear(_TEXT_HIDDEN, TEXT_WIDTH)

    def forward(self, prompts: Sequence[str]) -> Text:
        """Encode each prompt; the empty prompt has a vector too, the unconditional one."""
        bags = self.bags(prompts)
        hidden = functional.silu(self.first(bags))
        return functional.layer_norm(self.second(hidden), [TEXT_WIDTH])

    def bags(self, prompts: Sequence[str]) -> Tensor:
        """Return 1 for every known word in a prompt and 0 for the others, (b, words)."""
        bags = torch.zeros(len(prompts), len(self.vocabulary.words))
        positions = {word: position for position, word in enumerate(self.vocabulary.words)}
        for row, prompt in enumerate(prompts):
            for word in self.vocabulary.read(prompt):
                for known in word.known:
                    bags[row, positions[known]] = 1
        return bags


def audio_schedule() -> NoiseSchedule:
    """Cosine schedule, shifted to more noise: neighbouring spectrogram steps are correlated."""
    return cosine(shift=0.20)


def video_schedule() -> NoiseSchedule:
    """Cosine schedule, shifted further: a clip's content is decided while frames are nearly noise.

    The sixteen frames of one object together outweigh much noise; a schedule with few levels in
    that range lets every frame settle on a colour of its own.
    """
    return cosine(shift=0.15)


class MiniatureCodec(ABC, Generic[Medium]):
    """Codec between media of one modality and latents."""

    @abstractmethod
    def latent_shape(self, frames: int) -> torch.Size:
        """Return the shape of the latent of a clip with so many frames."""

    @abstractmethod
    def encode(self, media: Sequence[Medium]) -> Latent:
        """Encode as ``BaseModel.encode`` does."""

    @abstractmethod
    def decode(self, x_0: Latent) -> list[Medium]:
        """Decode as ``BaseModel.decode`` does."""


class MiniatureModel(BaseModel[Medium]):
    """Either model of the miniature pair; the two differ in their codecs.

    Args:
        denoiser: The denoiser, with its schedule.
        codec: The codec of the modality.
        text: The text encoder, shared by both models.
    """

    def __init__(
        self, denoiser: Denoiser, codec: MiniatureCodec[Medium], text: TextEncoder
    ) -> None:
        self.denoiser = denoiser
        self._codec = codec
        self._text = text

    @property
    @override
    def schedule(self) -> NoiseSchedule:
        return self.denoiser.schedule

    @override
    def predict_noise(self, x_t: Latent, level: NoiseLevel, cond: Conditioning) -> Latent:
        return self.denoiser.predict_noise(x_t, level, cond)

    def encode_prompts(self, prompts: Sequence[str]) -> Conditioning:
        """Encode each prompt as one vector."""
        with torch.no_grad():
            return Conditioning(self._text(prompts))

    @override
    def latent_shape(self, seconds: float) -> torch.Size:
        return self._codec.latent_shape(frames_of(seconds))

    def encode(self, media: Sequence[Medium]) -> Latent:
        """Encode clips of equal length.

        Raises:
            UserError: A clip has another rate or size, or a length that the pair cannot make.
        """
        with torch.no_grad():
            return self._codec.encode(media)

    @override
    def decode(self, x_0: Latent) -> list[Medium]:
        with torch.no_grad():
            return self._codec.decode(x_0)


class MiniatureAudioCodec(MiniatureCodec[Audio]):
    """Codec of sounds at 16 kHz ↔ (4, 2 steps a frame, 16), by the autoencoder and Griffin-Lim."""

    def __init__(self, autoencoder: NormalizedVAE) -> None:
        self._autoencoder = autoencoder
        self._scale = MelScale()

    @override
    def latent_shape(self, frames: int) -> torch.Size:
        channels, steps, bins = AUDIO_SHAPE
        return torch.Size([channels, steps * frames // FRAMES, bins])

    def encode(self, media: Sequence[Audio]) -> Latent:
        """Encode sounds of 1,600 samples a frame."""
        for audio in media:
            samples = len(audio.waveform)
            if audio.sample_rate != SAMPLE_RATE or samples < SAMPLES or samples * FRAMES % SAMPLES:
                raise UserError(
                    f"sound of {samples} samples at {audio.sample_rate} Hz: the embedded pair "
                    f"takes {SAMPLES} at {SAMPLE_RATE}, or longer by frames of {SAMPLES // FRAMES}"
                )
        waveforms = torch.from_numpy(np.stack([audio.waveform for audio in media]))
        return encode_mel(self._autoencoder, self._scale.analyse(waveforms))

    def decode(self, x_0: Latent) -> list[Audio]:
        """Decode sounds, brought down where they are too loud."""
        waveforms = self._scale.synthesise(decode_mel(self._autoencoder, x_0))
        return [bring_down(Audio(one, SAMPLE_RATE)) for one in _arrays(waveforms)]


class MiniatureVideoCodec(MiniatureCodec[Video]):
    """Codec of frames of 64×64 at 10 fps ↔ (4, frames, 8, 8), by the autoencoder."""

    def __init__(self, autoencoder: NormalizedVAE) -> None:
        self._autoencoder = autoencoder

    @override
    def latent_shape(self, frames: int) -> torch.Size:
        channels, _, *size = VIDEO_SHAPE
        return torch.Size([channels, frames, *size])

    def encode(self, media: Sequence[Video]) -> Latent:
        """Encode frame by frame."""
        for video in media:
            frames, height, width, _ = video.frames.shape
            if video.fps != FPS or (height, width) != (SIDE, SIDE) or frames < FRAMES:
                raise UserError(
                    f"video of {frames} frames of {width}×{height} at {video.fps} fps: the "
                    f"embedded pair takes {FRAMES} of {SIDE}×{SIDE} at {FPS}, or more of them"
                )
        frames = torch.from_numpy(np.stack([video.frames for video in media]))
        return encode_frames(self._autoencoder, frames)

    def decode(self, x_0: Latent) -> list[Video]:
        """Decode frame by frame."""
        return [Video(one, FPS) for one in _arrays(decode_frames(self._autoencoder, x_0))]


def frames_of(seconds: float) -> int:
    """Return the frames of a clip of the pair.

    Raises:
        UserError: It would be shorter than 1.6 s, or no whole number of frames.
    """
    frames = round(seconds * FPS)
    if frames < FRAMES or abs(frames / FPS - seconds) > 1e-6:
        raise UserError(
            f"{float(seconds):g} seconds: the embedded pair makes clips of {SECONDS} s, and longer "
            f"ones in steps of {float(1 / FPS):g} s"
        )
    return frames


def _arrays(batch: Tensor) -> list[np.ndarray]:
    return [np.ascontiguousarray(one) for one in batch.numpy()]

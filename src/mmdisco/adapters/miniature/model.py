"""The two base models of the miniature pair, each behind the ``BaseModel`` interface.

Sound is a log-mel spectrogram, decoded by Griffin-Lim; video is encoded frame by frame. One text
encoder serves both. Every conversion between media and latents of a pair is here and in
``autoencoder``. The packaged pair makes sound of 1.6 s at 16 kHz, latents (4, 32, 16), and 16
frames of 64×64 at 10 fps, latents (4, 16, 8, 8).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final, Generic

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

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
from mmdisco.io.bounds import check_sizes
from mmdisco.io.shapes import Latent, Text
from mmdisco.media.clip import Audio, ClipSpec, Video, bring_down
from mmdisco.media.mel import MelScale

# of the packaged pair
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
        return self.encode(self.bags(prompts))

    def encode(self, bags: Tensor) -> Text:
        """Encode prompts that are read already, as ``bags`` returns them."""
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


def mel_scale(record: Mapping[str, Any]) -> MelScale:
    """Return the axes of a pair's spectrograms, from its ``config.json``.

    Raises:
        UserError: A number is out of its range, or not a number.
    """
    scale = MelScale(**record)
    check_sizes(scale)
    if 2 * scale.hop > scale.n_fft or not scale.lowest < scale.highest <= scale.sample_rate / 2:
        raise UserError(f"a spectrogram of {record}: give a hop of at most half a window")
    return scale


class MiniatureCodec(ABC, Generic[Medium]):
    """Codec between media of one modality and latents.

    Args:
        autoencoder: The autoencoder of the modality.
        form: Format of the clips; longer ones are taken too, by whole frames.
        shape: Shape of the latent of a clip of this format; axis 1 is time.
    """

    def __init__(self, autoencoder: NormalizedVAE, form: ClipSpec, shape: torch.Size) -> None:
        self.autoencoder = autoencoder
        self.form = form
        self._shape = shape

    def latent_shape(self, frames: int) -> torch.Size:
        """Return the shape of the latent of a clip with so many frames."""
        channels, steps, *space = self._shape
        return torch.Size([channels, -(-steps * frames // self.form.frames), *space])

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
        return self._codec.latent_shape(frames_of(seconds, self._codec.form))

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
    """Codec of sounds ↔ (channels, steps, mel bands), by the autoencoder and Griffin-Lim.

    Args:
        autoencoder: Autoencoder of spectrograms.
        form: Format of the clips.
        shape: Shape of the latent of a clip of this format.
        scale: Axes of the spectrograms.
    """

    def __init__(
        self, autoencoder: NormalizedVAE, form: ClipSpec, shape: torch.Size, scale: MelScale
    ) -> None:
        super().__init__(autoencoder, form, shape)
        self._scale = scale

    def spectrograms(self, media: Sequence[Audio]) -> Tensor:
        """Compute the spectrograms (b, 1, l, m) that the autoencoder sees.

        A sound that is no whole number of latent steps is padded with silence.
        """
        rate, usual = self.form.sample_rate, self._samples(self.form.frames)
        for audio in media:
            samples = len(audio.waveform)
            frames = round(samples * self.form.fps / rate)
            if (audio.sample_rate, samples) != (rate, self._samples(frames)) or samples < usual:
                raise UserError(
                    f"sound of {samples} samples at {audio.sample_rate} Hz: this pair takes "
                    f"{usual} at {rate}, or longer by whole frames of {float(1 / self.form.fps):g} "
                    "s"
                )
        waveforms = torch.from_numpy(np.stack([audio.waveform for audio in media]))
        frames = round(waveforms.shape[1] * self.form.fps / rate)
        columns = self.latent_shape(frames)[1] * self._scale.bins // self._shape[2]
        missing = columns * self._scale.hop - waveforms.shape[1]
        return self._scale.analyse(functional.pad(waveforms, (0, missing)))

    @override
    def encode(self, media: Sequence[Audio]) -> Latent:
        return encode_mel(self.autoencoder, self.spectrograms(media))

    def decode(self, x_0: Latent) -> list[Audio]:
        """Decode sounds, brought down where they are too loud."""
        waveforms = self._scale.synthesise(decode_mel(self.autoencoder, x_0))
        samples = self._samples(x_0.shape[2] * self.form.frames // self._shape[1])
        return [
            bring_down(Audio(one, self.form.sample_rate)) for one in _arrays(waveforms[:, :samples])
        ]

    def _samples(self, frames: int) -> int:
        return round(frames * self.form.sample_rate / self.form.fps)


class MiniatureVideoCodec(MiniatureCodec[Video]):
    """Codec of frames ↔ (channels, frames, height, width), by the autoencoder."""

    def encode(self, media: Sequence[Video]) -> Latent:
        """Encode frame by frame."""
        form = self.form
        for video in media:
            frames, height, width, _ = video.frames.shape
            if video.fps != form.fps or (height, width) != form.size or frames < form.frames:
                raise UserError(
                    f"video of {frames} frames of {width}×{height} at {video.fps} fps: this pair "
                    f"takes {form.frames} of {form.size[1]}×{form.size[0]} at {form.fps}, or more "
                    "of them"
                )
        frames = torch.from_numpy(np.stack([video.frames for video in media]))
        return encode_frames(self.autoencoder, frames)

    def decode(self, x_0: Latent) -> list[Video]:
        """Decode frame by frame."""
        return [Video(one, self.form.fps) for one in _arrays(decode_frames(self.autoencoder, x_0))]


def frames_of(seconds: float, form: ClipSpec) -> int:
    """Return the frames of a clip of a pair.

    Args:
        seconds: Length of the clip.
        form: Format that the pair knows.

    Raises:
        UserError: It would be shorter than the format, or no whole number of frames.
    """
    frames = round(seconds * form.fps)
    if frames < form.frames or abs(frames / form.fps - seconds) > 1e-6:
        raise UserError(
            f"{float(seconds):g} seconds: this pair makes clips of {float(form.seconds):g} s, and "
            f"longer ones in steps of {float(1 / form.fps):g} s"
        )
    return frames


def _arrays(batch: Tensor) -> list[np.ndarray]:
    return [np.ascontiguousarray(one) for one in batch.numpy()]

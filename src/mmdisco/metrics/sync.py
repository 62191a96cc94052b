"""A small judge of whether a sound belongs to a picture, and how late it is.

Two towers turn picture and sound into one vector for every tenth of a second; the logit of a pair
is the mean inner product of what is simultaneous. So all pairs of n clips cost n readings, and the
lag between both is found by sliding one sequence along the other. It knows no latent and nothing of
guidance: it is trained on true against re-timed and exchanged sounds alone, by
``recipes/embedded/train_sync.py``.
"""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pixel_unshuffle

from mmdisco.files import read_tensors
from mmdisco.media.clip import Audio, AudioVideo, Video
from mmdisco.media.reading import resampled
from mmdisco.mel import MelScale
from mmdisco.shapes import AudioLatent, Clips, Hidden, Logits, Steps

PACKAGED: Final = Path(__file__).parent / "weights" / "sync_judge.safetensors"

RATE: Final = 10  # steps a second
SIDE: Final = 32  # pixels that the judge sees, along either axis
WIDTH: Final = 32  # of the vector of a step
LEAST_STEPS: Final = 8

_SAMPLE_RATE: Final = 16_000
_COLUMNS: Final = 8  # of the spectrogram in one step
_BINS: Final = 64
_HIDDEN: Final = 64
_MOTION: Final = 4.0  # frames differ by little

Embedding = npt.NDArray[np.float32]  # (steps, WIDTH)


class SyncJudge(nn.Module):
    """Vectors (b, steps, 32) of pictures and of sounds, and the logits of their pairs."""

    def __init__(self) -> None:
        super().__init__()
        side = SIDE // 8
        self.frame = nn.Sequential(
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.GroupNorm(8, 32),
            nn.SiLU(),
            nn.Conv2d(32, 48, 3, stride=2, padding=1),
            nn.GroupNorm(8, 48),
            nn.SiLU(),
            # not pooled over space: where a thing is tells whether it touches another
            nn.Flatten(),
            nn.Linear(48 * side**2, _HIDDEN),
        )
        self.spectrum = nn.Conv1d(_COLUMNS * _BINS, _HIDDEN, 1)
        self.seen, self.heard = _InTime(), _InTime()
        self.log_scale = nn.Parameter(torch.tensor(1.0))
        self.bias = nn.Parameter(torch.tensor(-2.0))

    def see(self, frames: Clips) -> Steps:
        """Vectors of pictures (b, steps, 32, 32, 3) in [0, 1], ten frames a second."""
        grey = frames.mean(-1, keepdim=True)
        motion = _MOTION * (grey - torch.cat([grey[:, :1], grey[:, :-1]], 1))
        looks = torch.cat([2 * frames - 1, motion], -1).flatten(0, 1).movedim(3, 1)
        steps = self.frame(pixel_unshuffle(looks, 2)).unflatten(0, frames.shape[:2])
        return self.seen(steps)

    def hear(self, mel: AudioLatent) -> Steps:
        """Vectors of spectrograms (b, 1, 8 · steps, 64) of ``MelScale().analyse``."""
        blocks = mel[:, 0].unflatten(1, (-1, _COLUMNS)).flatten(2).transpose(1, 2)
        return self.heard(self.spectrum(blocks).transpose(1, 2))

    def logits(self, sounds: Steps, pictures: Steps) -> Logits:
        """The logit of every sound with every picture, (sounds, pictures), of equal lengths."""
        similar = torch.einsum("atd,vtd->av", sounds, pictures) / sounds.shape[1]
        return self.log_scale.exp() * similar + self.bias


class _InTime(nn.Module):
    """Looks at the steps around, and at all of them, (b, steps, 64) to (b, steps, 32)."""

    def __init__(self) -> None:
        super().__init__()
        self.near = nn.Sequential(
            nn.GroupNorm(8, _HIDDEN),
            nn.SiLU(),
            nn.Conv1d(_HIDDEN, _HIDDEN, 5, padding=2, padding_mode="replicate"),
            nn.GroupNorm(8, _HIDDEN),
            nn.SiLU(),
        )
        self.last = nn.Conv1d(2 * _HIDDEN, WIDTH, 1)

    def forward(self, steps: Hidden) -> Steps:
        near = self.near(steps.transpose(1, 2))
        everywhere = near.mean(2, keepdim=True).expand_as(near)
        return self.last(torch.cat([near, everywhere], 1)).transpose(1, 2)


def load_judge(path: Path = PACKAGED) -> SyncJudge:
    """The judge with the weights of ``path``, frozen.

    Raises:
        UserError: There is no such file, or it is damaged.
    """
    judge = SyncJudge()
    judge.load_state_dict({name: value.float() for name, value in read_tensors(path).items()})
    return judge.eval().requires_grad_(False)  # noqa: FBT003


def picture_of(video: Video) -> Tensor:
    """Frames as the judge takes them, (steps, 32, 32, 3): the one shown at each tenth of a second.

    Of whole tenths only; any size is averaged to 32×32.
    """
    steps = int(video.seconds * RATE)
    shown = np.array([int(step * video.fps / RATE) for step in range(steps)], np.int64)
    frames = torch.from_numpy(video.frames[shown]).movedim(3, 1)
    return interpolate(frames, (SIDE, SIDE), mode="area").movedim(1, 3)


def sound_of(audio: Audio) -> Tensor:
    """The spectrogram the judge takes, (1, 8 · steps, 64), of whole tenths of a second."""
    heard = resampled(audio, _SAMPLE_RATE).waveform
    scale = MelScale()
    whole = len(heard) // (_COLUMNS * scale.hop) * _COLUMNS * scale.hop
    return scale.analyse(torch.from_numpy(np.ascontiguousarray(heard[:whole]))[None])[0]


def embed(judge: SyncJudge, clip: AudioVideo) -> tuple[Embedding, Embedding]:
    """Vectors of sound and picture of one clip, equally many steps of each.

    Raises:
        ValueError: The clip is shorter than 0.8 s.
    """
    picture, sound = picture_of(clip.video), sound_of(clip.audio)
    steps = min(len(picture), sound.shape[1] // _COLUMNS)
    if steps < LEAST_STEPS:
        raise ValueError(f"a clip must last {LEAST_STEPS / RATE} s, not {steps / RATE} s")
    with torch.no_grad():
        heard = judge.hear(sound[None, :, : steps * _COLUMNS])[0]
        seen = judge.see(picture[None, :steps])[0]
    return heard.numpy(), seen.numpy()

"""Network of the sync scorer: two towers, an embedding every tenth of a second.

The logit of a pair is the mean dot product of simultaneous embeddings. Independent of files and
clips.
"""

from typing import Final

import torch
from torch import nn
from torch.nn.functional import pixel_unshuffle

from mmdisco.io.shapes import AudioLatent, Clips, Hidden, Logits, Steps

RATE: Final = 10  # steps per second
SIDE: Final = 32  # pixels of the scorer's input, along either axis
COLUMNS: Final = 8  # of the spectrogram per step
BINS: Final = 64

_WIDTH: Final = 32  # of a step's embedding
_HIDDEN: Final = 64
_MOTION: Final = 4.0  # gain, since consecutive frames differ by little


class SyncNetwork(nn.Module):
    """Embeddings (b, steps, 32) of video and of sounds, and the logits of their pairs."""

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
            # not pooled over space: positions decide whether objects touch
            nn.Flatten(),
            nn.Linear(48 * side**2, _HIDDEN),
        )
        self.spectrum = nn.Conv1d(COLUMNS * BINS, _HIDDEN, 1)
        self.seen, self.heard = _InTime(), _InTime()
        self.log_scale = nn.Parameter(torch.tensor(1.0))
        self.bias = nn.Parameter(torch.tensor(-2.0))

    def embed_video(self, frames: Clips) -> Steps:
        """Embed video (b, steps, 32, 32, 3) in [0, 1], ten frames per second."""
        grey = frames.mean(-1, keepdim=True)
        motion = _MOTION * (grey - torch.cat([grey[:, :1], grey[:, :-1]], 1))
        looks = torch.cat([2 * frames - 1, motion], -1).flatten(0, 1).movedim(3, 1)
        steps = self.frame(pixel_unshuffle(looks, 2)).unflatten(0, frames.shape[:2])
        return self.seen(steps)

    def embed_audio(self, mel: AudioLatent) -> Steps:
        """Embed spectrograms (b, 1, 8 · steps, 64) of ``MelScale().analyse``."""
        blocks = mel[:, 0].unflatten(1, (-1, COLUMNS)).flatten(2).transpose(1, 2)
        return self.heard(self.spectrum(blocks).transpose(1, 2))

    def logits(self, sounds: Steps, pictures: Steps) -> Logits:
        """Compute the logit of every sound with every video, (sounds, videos), of equal lengths."""
        similar = torch.einsum("atd,vtd->av", sounds, pictures) / sounds.shape[1]
        return self.log_scale.exp() * similar + self.bias


class _InTime(nn.Module):
    """Temporal context of the steps around and of all steps, (b, steps, 64) to (b, steps, 32)."""

    def __init__(self) -> None:
        super().__init__()
        self.near = nn.Sequential(
            nn.GroupNorm(8, _HIDDEN),
            nn.SiLU(),
            nn.Conv1d(_HIDDEN, _HIDDEN, 5, padding=2, padding_mode="replicate"),
            nn.GroupNorm(8, _HIDDEN),
            nn.SiLU(),
        )
        self.last = nn.Conv1d(2 * _HIDDEN, _WIDTH, 1)

    def forward(self, steps: Hidden) -> Steps:
        near = self.near(steps.transpose(1, 2))
        everywhere = near.mean(2, keepdim=True).expand_as(near)
        return self.last(torch.cat([near, everywhere], 1)).transpose(1, 2)

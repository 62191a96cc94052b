"""Two small networks: one reads events from pictures alone, one from sound alone.

Both give for each picture's time a logit of every kind of event. Clips that models generate are
softer than the game's; training blurs and dims pictures, and muffles sounds, accordingly.
"""

from typing import Final

import torch
from records import COLUMNS, KINDS
from torch import Generator, Tensor, nn
from torch.nn.functional import avg_pool2d, gelu, interpolate

WIDTH: Final = 64
EVENTS: Final = len(KINDS)
RARE: Final = -4.0  # logit of events at the start of training


class SightNetwork(nn.Module):
    """Events and scenario from pictures (b, t, 3, 40, 48) in [0, 1]."""

    def __init__(self, scenarios: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(6, 32, 6, 4, 1),
            nn.GELU(),
            nn.Conv2d(32, 48, 3, 2, 1),
            nn.GroupNorm(4, 48),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(48 * 5 * 6, WIDTH),
        )
        self.time = nn.ModuleList(nn.Conv1d(WIDTH, WIDTH, 5, 1, 2) for _ in range(2))
        self.events = _events()
        self.scenario = nn.Linear(WIDTH, scenarios)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of events (b, t, kinds) and of scenarios by picture (b, t, scenarios)."""
        before = torch.cat([pictures[:, :1], pictures[:, :-1]], 1)
        both = torch.cat([2 * pictures - 1, 4 * (pictures - before)], 2)
        found = self.stem(both.flatten(0, 1)).unflatten(0, pictures.shape[:2])
        moving = found.transpose(1, 2)
        for layer in self.time:
            moving = moving + layer(gelu(moving))
        return self.events(gelu(moving)).transpose(1, 2), self.scenario(gelu(found))


class HearingNetwork(nn.Module):
    """Events from log-mel spectrograms (b, 9 t, 64)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv1d(64, WIDTH, 5, 1, 2),
            nn.GELU(),
            nn.Conv1d(WIDTH, WIDTH, 5, 3, 1),
            nn.GroupNorm(4, WIDTH),
            nn.GELU(),
            nn.Conv1d(WIDTH, WIDTH, COLUMNS // 3, COLUMNS // 3),
            nn.GroupNorm(4, WIDTH),
        )
        self.time = nn.ModuleList(nn.Conv1d(WIDTH, WIDTH, 5, 1, 2) for _ in range(2))
        self.events = _events()

    def forward(self, sounds: Tensor) -> Tensor:
        """Return logits of events (b, t, kinds)."""
        moving = self.stem(sounds.transpose(1, 2))
        for layer in self.time:
            moving = moving + layer(gelu(moving))
        return self.events(gelu(moving)).transpose(1, 2)


def _events() -> nn.Conv1d:
    layer = nn.Conv1d(WIDTH, EVENTS, 1)
    layer.state_dict()["bias"].fill_(RARE)
    return layer


def softer_pictures(pictures: Tensor, generator: Generator) -> Tensor:
    """Mirror, dim, tint, blur and roughen pictures (b, t, 3, height, width).

    Each clip in its own way; events and scenarios are the same in a mirror.
    """
    clips, (height, width) = len(pictures), pictures.shape[-2:]

    def one(channels: int = 1) -> Tensor:
        return torch.rand(clips, 1, channels, 1, 1, generator=generator)

    pictures = torch.where(one() < 0.5, pictures.flip(-1), pictures)
    half = avg_pool2d(pictures.flatten(0, 1), 2)
    blurred = interpolate(half, (height, width), mode="bilinear").view_as(pictures)
    found = torch.lerp(pictures, blurred, one() * (one() < 0.5))
    around = (torch.roll(found, 1, 1) + torch.roll(found, -1, 1)) / 2
    around[:, 0], around[:, -1] = found[:, 0], found[:, -1]
    found = torch.lerp(found, around, 0.3 * one() * (one() < 0.3))
    found = found * (0.85 + 0.3 * one() + 0.1 * (one(3) - 0.5)) + 0.1 * (one() - 0.5)
    noise = torch.randn(found.shape[1:], generator=generator)
    return (found + 0.04 * one() * noise).clamp(0, 1)


def muffled_sounds(sounds: Tensor, generator: Generator) -> Tensor:
    """Louden, muffle, blur and roughen spectrograms (b, columns, 64), each in its own way.

    A value of 0.22 is 6 dB; -1 is silence, and stays.
    """
    clips, columns, bins = sounds.shape

    def one() -> Tensor:
        return torch.rand(clips, 1, 1, generator=generator)

    blurred = avg_pool2d(sounds[:, None], 3, 1, 1, count_include_pad=False)[:, 0]
    found = torch.lerp(sounds, blurred, one() * (one() < 0.5))
    found = found + 0.5 * (one() - 0.5)
    corner = bins * (0.5 + one())
    ramp = (torch.arange(bins)[None, None] - corner).clamp(min=0) / bins
    found = found - 4 * ramp * one()
    noise = torch.randn(clips, columns, bins, generator=generator)
    found = found + 0.1 * one() * noise
    floor = -1.1 + 0.5 * one() * (one() < 0.5) + 0.05 * noise
    return torch.maximum(found, floor).clamp(min=-1)

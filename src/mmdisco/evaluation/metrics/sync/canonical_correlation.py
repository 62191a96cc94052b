"""Canonical correlations of simple features of a video's sound and pictures.

A few clips of a few videos are not enough to train a network. Instead, simple features of both
modalities, their canonical correlations (Hotelling 1936) and the log ratio of Gaussians that have
them are used: log p(x, y) / p(x) p(y) = Σ_k (r p q − r² (p² + q²) / 2) / (1 − r²), with p and q the
canonical variates and r their correlations. Up to factors it is the dot product of two vectors, (p,
p², 1) with (q, 1, q²), as the network's logit is.

There are two kinds: a clip as a *whole*, means and spreads; and its *moments*, every step minus the
clip's mean, with the steps before and after. Independent of files and clips.
"""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from mmdisco.evaluation.metrics.sync.network import BINS, COLUMNS
from mmdisco.io.shapes import AudioLatent, Clips, Components, Hidden, Steps, Table

_FARTHEST: Final = 3.0  # standard deviations at which a feature is clipped
_LEAST: Final = 3e-3  # of the range of a pixel: below the last bit of 8
_GREYS: Final = 8
_GRID: Final = 4


class CanonicalPair(nn.Module):
    """Embeddings of sound and video whose dot product is the log ratio of a pair.

    Args:
        sizes: Number of features of sound and of video.
        variates: Number of canonical correlations.
    """

    def __init__(self, sizes: tuple[int, int], variates: int) -> None:
        super().__init__()
        heard, seen = sizes
        self.heard, self.seen = _Variates(heard, variates), _Variates(seen, variates)
        self.register_buffer("correlation", torch.zeros(variates))
        self.correlation: Tensor

    def embed_audio(self, features: Hidden) -> Steps:
        """Embed features of sound, (b, steps, variates + 2)."""
        found = self.heard(features)
        part = found.square() @ self._own
        return torch.cat([found, part[..., None], torch.ones_like(part)[..., None]], -1)

    def embed_video(self, features: Hidden) -> Steps:
        """Embed features of video, (b, steps, variates + 2)."""
        found = self.seen(features)
        part = found.square() @ self._own
        shared = self.correlation / (1 - self.correlation**2)
        return torch.cat([found * shared, torch.ones_like(part)[..., None], part[..., None]], -1)

    @property
    def _own(self) -> Table:
        squared = self.correlation**2
        return -squared / (1 - squared) / 2

    @torch.no_grad()
    def fit(self, heard: Tensor, seen: Tensor, ridge: float, most: float = 0.95) -> None:
        """Fit the variates to true pairs, in place.

        Args:
            heard: Features of sounds, (rows, features).
            seen: Features of the matching video, (rows, features).
            ridge: Added to the variance of every feature, which is 1.
            most: Upper limit of a correlation.
        """
        own = [side.fit(rows) for side, rows in ((self.heard, heard), (self.seen, seen))]
        cross = own[0].T @ own[1] / len(heard)
        roots = [_inverse_root(rows.T @ rows / len(rows), ridge) for rows in own]
        left, values, right = torch.linalg.svd(roots[0] @ cross @ roots[1])
        variates = len(self.correlation)
        self.heard.weights.copy_(roots[0] @ left[:, :variates])
        self.seen.weights.copy_(roots[1] @ right[:variates].T)
        self.correlation.copy_(values[:variates].clamp(max=most))


class _Variates(nn.Module):
    """Map of features to canonical variates."""

    def __init__(self, features: int, variates: int) -> None:
        super().__init__()
        self.register_buffer("middle", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))
        self.register_buffer("weights", torch.zeros(features, variates))
        self.middle: Tensor
        self.spread: Tensor
        self.weights: Tensor

    def forward(self, features: Hidden) -> Steps:
        return self._scaled(features) @ self.weights

    def fit(self, rows: Components) -> Components:
        """Fit the scale to ``rows``, and return them scaled."""
        self.middle.copy_(rows.mean(0))
        self.spread.copy_(rows.std(0, correction=0) + 1e-6)
        return self._scaled(rows).double()

    def _scaled(self, features: Tensor) -> Tensor:
        return ((features - self.middle) / self.spread).clamp(-_FARTHEST, _FARTHEST)


def _inverse_root(covariance: Tensor, ridge: float) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    return vectors / (values + ridge).sqrt() @ vectors.T


def whole_seen(frames: Clips) -> Hidden:
    """Compute brightness, colour, detail and change, mean and spread over a clip: (b, 1, 30)."""
    grey = frames.mean(-1)
    greys = torch.stack(
        [
            ((grey >= low / _GREYS) & (grey < (low + 1) / _GREYS)).float().mean((2, 3))
            for low in range(_GREYS)
        ],
        -1,
    )
    others = [
        grey.std((2, 3), correction=0),
        (frames.amax(-1) - frames.amin(-1)).mean((2, 3)),
        _log(grey.diff(dim=3).abs().mean((2, 3))),
        _log(_change(grey).mean((2, 3))),
    ]
    steps = torch.cat([frames.mean((2, 3)), torch.stack(others, -1), greys], -1)
    return _over_time(steps)


def whole_heard(mel: AudioLatent) -> Hidden:
    """Compute level and rise by band, mean and spread over a clip: (b, 1, 100)."""
    level = _steps(mel).mean(2)
    bands = level.unflatten(2, (-1, 2)).mean(3)
    loud = torch.stack([level.mean(2), level.amax(2)], -1)
    return _over_time(torch.cat([bands, loud, _rise(mel)], -1))


def moments_seen(frames: Clips) -> Hidden:
    """Compute change by place, every step and the ones around it: (b, steps, 54)."""
    grey = frames.mean(-1)
    change = _change(grey)
    places = change.unflatten(3, (_GRID, -1)).unflatten(2, (_GRID, -1)).mean((3, 5)).flatten(2)
    light = grey.mean((2, 3), keepdim=True)[..., 0]
    flicker = torch.cat([torch.zeros_like(light[:, :1]), light.diff(dim=1).abs()], 1)
    return _around(
        torch.cat([_log(change.mean((2, 3), keepdim=True)[..., 0]), _log(places), flicker], -1)
    )


def moments_heard(mel: AudioLatent) -> Hidden:
    """Compute level and rise by band, every step and the ones around it: (b, steps, 99)."""
    level = _steps(mel).mean(2)
    bands = level.unflatten(2, (-1, 4)).mean(3)
    return _around(torch.cat([_rise(mel), bands, level.mean(2, keepdim=True)], -1))


def _steps(mel: AudioLatent) -> Tensor:
    """Split into steps, (b, steps, 8, 64)."""
    return mel[:, 0].unflatten(1, (-1, COLUMNS))


def _rise(mel: AudioLatent) -> Tensor:
    """Compute how much louder sixteen bands become within each step, (b, steps, 16)."""
    bands = mel[:, 0].unflatten(2, (-1, BINS // 16)).mean(3)
    rise = torch.cat([torch.zeros_like(bands[:, :1]), bands.diff(dim=1).clamp(min=0)], 1)
    return rise.unflatten(1, (-1, COLUMNS)).mean(2)


def _change(grey: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(grey[:, :1]), grey.diff(dim=1).abs()], 1)


def _log(values: Tensor) -> Tensor:
    return (values + _LEAST).log()


def _over_time(steps: Tensor) -> Tensor:
    """Compute mean and standard deviation, (b, 1, 2 · features)."""
    spread = steps.var(1, correction=0, keepdim=True).clamp(min=1e-8).sqrt()
    return torch.cat([steps.mean(1, keepdim=True), spread], -1)


def _around(steps: Tensor) -> Tensor:
    """Stack every step with the next and the previous one, minus the mean over all."""
    wide = pad(steps.transpose(1, 2), (1, 1), "replicate").transpose(1, 2)
    three = torch.cat([wide[:, 2:], wide[:, 1:-1], wide[:, :-2]], -1)
    return three - three.mean(1, keepdim=True)

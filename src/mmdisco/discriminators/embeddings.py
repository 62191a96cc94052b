"""Embeddings: noise levels as sinusoids and as gains, times as rotations, captions as means.

Independent of latents and convolutions.
"""

import math

import torch
from torch import Tensor, nn

from mmdisco.core.av import AV
from mmdisco.core.noise import NoiseLevel
from mmdisco.io.shapes import PerSample, Seconds, Text, Vector

FEATURES_PER_LEVEL = 64
SHORTEST_PERIOD = 0.1
LONGEST_PERIOD = 40.0


def level_features(level: NoiseLevel, dim: int) -> Vector:
    """Return sin(ω_k a), then cos(ω_k a), of the level's angle a in [0, 1]; no parameters.

    The ω_k are dim/2 frequencies, geometric from 1 to 1000: the lowest separates clean from
    noise, the highest separates neighbouring rows of a table of a thousand. Finite for every
    level, the clean one included, since the angle is.

    Args:
        level: One noise level per sample, of any family of schedules.
        dim: Number of features, even and at least 4.

    Returns:
        Features in [-1, 1], in the precision and on the device of the level.
    """
    angle = level.angle
    frequencies = torch.logspace(0, 3, dim // 2, dtype=angle.dtype, device=angle.device)
    phase = angle[:, None] * frequencies
    return torch.cat([phase.sin(), phase.cos()], dim=1)


def wiener_gain(level: NoiseLevel, agreeing: int) -> PerSample:
    """Return √(k / (k + σ²/α²)) in [0, 1] for k values that agree.

    In VP units x_t times this, for k = 1, is the best linear estimate of a clean latent of unit
    variance. A network whose layers normalise their input mistakes noise for signal where there is
    no signal; scaled by this gain, pure noise does not reach it.
    """
    return (agreeing / (agreeing + (level.sigma / level.alpha).square())).sqrt()


class LevelEmbedding(nn.Module):
    """Embedding of both noise levels in one vector, which every reader of either latent gets.

    A log ratio depends on the pair of levels: the audio predicts a clean video better than a
    noisy one.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(2 * FEATURES_PER_LEVEL, width)
        self.second = nn.Linear(width, width)

    def forward(self, level: AV[NoiseLevel]) -> Vector:
        """Return the embedding of a pair of levels, in the precision of the weights."""
        features = level.map(
            lambda one: level_features(one, FEATURES_PER_LEVEL).to(self.first.weight)
        )
        both = torch.cat([features.audio, features.video], dim=1)
        return self.second(nn.functional.silu(self.first(both)))


def times_of(steps: int, rate: float, like: Tensor) -> Seconds:
    """Return the seconds at which the steps of a latent are centred: (i + 1/2) / rate."""
    return (torch.arange(steps, device=like.device, dtype=like.dtype) + 0.5) / rate


class Rotary:
    """Rotary positions in seconds: the product of two rotated vectors depends on t_i − t_j alone.

    Pair k of a vector's entries is rotated by 2π t / T_k, with periods T_k geometric from 0.1 s
    to 40 s: the shortest separates neighbouring steps, the longest orders a whole clip.
    Seconds, not indices, put modalities of different rates on one clock, and set no limit on
    their lengths.

    Args:
        seconds: The time of each token.
        dim: Width of the vectors, even.
    """

    def __init__(self, seconds: Seconds, dim: int) -> None:
        ends = math.log10(SHORTEST_PERIOD), math.log10(LONGEST_PERIOD)
        # float64: 20 s is 200 turns of the shortest period, and float32 keeps the turns, not their
        # fractions, to seven digits
        periods = torch.logspace(*ends, dim // 2, dtype=torch.float64, device=seconds.device)
        angles = seconds.to(torch.float64)[:, None] * (2 * math.pi / periods)
        self.cos = angles.cos().to(seconds.dtype)
        self.sin = angles.sin().to(seconds.dtype)

    def turn(self, x: Tensor) -> Tensor:
        """Rotate vectors (..., tokens, dim), each by the angles of its token."""
        first, second = x.chunk(2, dim=-1)
        return torch.cat(
            [first * self.cos - second * self.sin, first * self.sin + second * self.cos], dim=-1
        )


def mean_over_tokens(states: Tensor, mask: Tensor | None = None) -> Text:
    """Average embeddings over tokens without padding, which is masked, or else zero.

    Args:
        states: Embeddings (b, tokens, d); of vectors (b, d) there is nothing to average.
        mask: Mask (b, tokens), true where there is no padding.

    Returns:
        One vector a prompt, (b, d), float32 on the CPU.
    """
    states = states.float().cpu()
    if states.ndim == 2:
        return states
    kept = states.any(-1) if mask is None else mask.cpu().bool()
    weights = kept.float() / kept.sum(-1, keepdim=True).clamp(min=1)
    return (weights[..., None] * states).sum(1)

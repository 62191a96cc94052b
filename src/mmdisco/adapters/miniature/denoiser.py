"""Denoisers of the miniature pair: convolutions over the latent, a transformer over time.

A dense map of a whole frame quickly learns the position of each object, but not that a colour
is the same colour in another place, so objects change colour from frame to frame. Here
convolutions read the latent, one token per time step carries their features through the
transformer, and its output scales and shifts the convolutions that make the prediction. Noise
level and caption scale and shift every layer (adaLN, Peebles & Xie 2023); all layers share one
map and have an offset each (Chen et al. 2023). The networks predict v.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from mmdisco.core.denoiser import Conditioning, Denoiser
from mmdisco.core.noise import NoiseLevel, NoiseSchedule, broadcast_like
from mmdisco.core.parameterization import VPrediction
from mmdisco.discriminators.embeddings import wiener_gain
from mmdisco.io.bounds import check_sizes
from mmdisco.io.shapes import Latent, PerSample, Text, Tokens, Vector

TIME_FEATURES: Final = 64
CONDITION: Final = 128
MODULATIONS: Final = 6
GROUPS: Final = 8
WIDE: Final = 64


@dataclass(frozen=True)
class DenoiserConfig:
    """Shape of a ``ConvTransformer``.

    Attributes:
        shape: One latent: (c, f, h, w) of a video, (c, l, m) of a sound.
        channels: Channels of the convolutions, a multiple of 8.
        width: Width of the tokens.
        layers: Number of transformer layers.
        heads: Number of attention heads; divides the width.
        expansion: Width of the MLPs, in units of ``width``.
        text_width: Width of the pooled captions.
    """

    shape: tuple[int, ...]
    channels: int = 32
    width: int = 256
    layers: int = 4
    heads: int = 4
    expansion: int = 3
    text_width: int = 64

    def __post_init__(self) -> None:
        check_sizes(self)

    def to_record(self) -> dict[str, Any]:
        """Return the configuration in JSON's types."""
        return asdict(self) | {"shape": list(self.shape)}

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> "DenoiserConfig":
        """Invert ``to_record``."""
        values: dict[str, Any] = {**record, "shape": tuple(record["shape"])}
        return DenoiserConfig(**values)


class Patchify(ABC):
    """Map of latents to images for the convolutions, and of images to tokens.

    Attributes:
        channels: Channels of the input images.
        painted: Channels of the output images, which become latents.
        steps: Tokens per clip.
        values: Values of the half-size image that one token carries.
    """

    channels: int
    painted: int
    steps: int
    values: int

    @abstractmethod
    def images(self, x_t: Latent, level: NoiseLevel) -> Tensor:
        """Map noisy latents to images (n, channels, height, width)."""

    @abstractmethod
    def latents(self, images: Tensor) -> Latent:
        """Map output images (n, painted, height, width) to latents."""

    @abstractmethod
    def tokens(self, small: Tensor) -> Tensor:
        """Map half-size images (n, 64, height/2, width/2) to tokens (b, steps, values)."""

    @abstractmethod
    def small(self, tokens: Tensor) -> Tensor:
        """Invert ``tokens``."""

    @abstractmethod
    def through_time(self, channels: int) -> nn.Module:
        """Build a convolution over time, or the identity where the images have a time axis."""

    @abstractmethod
    def rows(self, tokens: Tensor) -> Tensor:
        """Map tokens (b, steps, d) to one vector per image row, or one per image."""


class PatchifyFrames(Patchify):
    """One image and one token per frame of a video (b, c, f, h, w).

    Beside its own channels an image has those of the mean over all frames, rescaled to the same
    noise: what stays constant through a clip has 16 times the signal-to-noise ratio there.
    Without it the network is slow to find that an object has one colour. Likewise, half of the
    output channels are the frame's own; of the other half, the mean over all frames is added to
    each.

    All input channels are scaled by their ``wiener_gain``; without it a network paints a green
    bell red at high noise. Each channel appears twice: with the gain of a single value, and
    with that of 16 equal values, as in a large uniform object.
    """

    agreeing: Final = (1, 16)

    def __init__(self, shape: tuple[int, ...]) -> None:
        channels, self.steps, height, width = shape
        self.channels = 2 * len(self.agreeing) * channels
        self.painted = 2 * channels
        self.half = (WIDE, height // 2, width // 2)
        self.values = math.prod(self.half)

    def images(self, x_t: Latent, level: NoiseLevel) -> Tensor:
        """Return images (b · f, 4 c, h, w) in VP units."""
        own = level.to_vp(x_t)
        mean = (own.mean(2, keepdim=True) * math.sqrt(self.steps)).expand_as(own)
        seen = [
            broadcast_like(wiener_gain(level, frames * number), own) * one
            for frames, one in ((1, own), (self.steps, mean))
            for number in self.agreeing
        ]
        return torch.cat(seen, 1).transpose(1, 2).flatten(0, 1)

    def latents(self, images: Tensor) -> Latent:
        """Return latents (b, c, f, h, w)."""
        own, common = images.unflatten(0, (-1, self.steps)).transpose(1, 2).chunk(2, 1)
        return own + common.mean(2, keepdim=True)

    def tokens(self, small: Tensor) -> Tensor:
        """Flatten each frame to one token."""
        return small.flatten(1).unflatten(0, (-1, self.steps))

    def small(self, tokens: Tensor) -> Tensor:
        """Unflatten each token to one frame."""
        return tokens.flatten(0, 1).unflatten(1, self.half)

    def through_time(self, channels: int) -> nn.Module:
        """Build a convolution over time at each position separately."""
        return TemporalConv(self.steps, channels)

    def rows(self, tokens: Tensor) -> Tensor:
        """Return one vector per frame, (b · f, 1, d)."""
        return tokens.flatten(0, 1)[:, None]


class PatchifySpectrogram(Patchify):
    """One image per sound (b, c, l, m), one token for two of its columns in time."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.channels, length, bins = shape
        self.painted = self.channels
        self.steps = length // 2
        self.half = (WIDE, bins // 2)
        self.values = math.prod(self.half)

    @override
    def images(self, x_t: Latent, level: NoiseLevel) -> Tensor:
        del level
        return x_t

    @override
    def latents(self, images: Tensor) -> Latent:
        return images

    def tokens(self, small: Tensor) -> Tensor:
        """Reshape (b, 64, l/2, m/2) to (b, l/2, 32 · m)."""
        return small.transpose(1, 2).flatten(2)

    @override
    def small(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(2, self.half).transpose(1, 2)

    def through_time(self, channels: int) -> nn.Module:
        """Return the identity: time is an axis of the image."""
        return nn.Identity()

    def rows(self, tokens: Tensor) -> Tensor:
        """Return one vector per column in time, (b, l, d)."""
        return tokens.repeat_interleave(2, 1)


LAYOUTS: Final = {4: PatchifyFrames, 3: PatchifySpectrogram}  # by the number of axes of one latent


class ConvTransformer(nn.Module):
    """Network from a noisy latent, its level and its caption to v."""

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.config = config
        # convolutions of stride 2 want even sides: odd ones get zeros at the end
        sides = tuple(side + side % 2 for side in config.shape[-2:])
        self.layout = LAYOUTS[len(config.shape)]((*config.shape[:-2], *sides))
        channels, width = config.channels, config.width
        self.time = nn.Linear(TIME_FEATURES, CONDITION)
        self.text = nn.Linear(config.text_width, CONDITION)
        self.condition = nn.Linear(CONDITION, CONDITION)
        self.first = nn.Conv2d(self.layout.channels, channels, 3, padding=1)
        self.seen = MiniatureBlock(self.layout, channels, channels, CONDITION)
        self.shrink = nn.Conv2d(channels, WIDE, 3, stride=2, padding=1)
        self.small_time = self.layout.through_time(WIDE)
        self.into = nn.Linear(self.layout.values, width)
        self.place = nn.Parameter(0.1 * torch.randn(self.layout.steps, width))
        self.modulation = nn.Linear(CONDITION, MODULATIONS * width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.out = nn.Linear(width, self.layout.values)
        self.grow = nn.Conv2d(WIDE, channels, 3, padding=1)
        self.painted = MiniatureBlock(self.layout, 2 * channels, channels, width + CONDITION)
        self.last = nn.Conv2d(channels, self.layout.painted, 3, padding=1)
        _zero(self.modulation)
        _zero(self.last)

    def forward(self, x_t: Latent, level: NoiseLevel, text: Text) -> Latent:
        """Return v of each sample, in the shape of ``x_t``."""
        mixed = functional.silu(self.time(time_features(level.t)) + self.text(text))
        condition = functional.silu(self.condition(mixed))
        each_step = condition[:, None].expand(-1, self.layout.steps, -1)
        height, width = x_t.shape[-2:]
        even = functional.pad(x_t, (0, width % 2, 0, height % 2))
        images = self.layout.images(even, level).contiguous(memory_format=torch.channels_last)
        seen = self.seen(self.first(images), self.layout.rows(each_step))
        small = functional.silu(self.small_time(self.shrink(seen)))
        tokens = self.into(self.layout.tokens(small)) + self.place
        modulation = self.modulation(condition).unflatten(1, (MODULATIONS, 1, -1))
        for layer in self.layers:
            tokens = layer(tokens, modulation)
        told = _norm(tokens)
        back = self.grow(self.layout.small(functional.silu(self.out(told))))
        grown = functional.interpolate(back, scale_factor=2.0, mode="nearest")
        guide = self.layout.rows(torch.cat([told, each_step], 2))
        painted = self.painted(torch.cat([grown, seen], 1), guide)
        return self.layout.latents(self.last(functional.silu(painted)))[..., :height, :width]


class TemporalConv(nn.Module):
    """Residual convolution of 3 taps over the frames of a video, at every position.

    An object moves by about one position of the latent per frame, so together with the 3 × 3
    taps before it, this layer relates an object to itself in the neighbouring frames: colours
    stay constant and paths are smooth.
    """

    def __init__(self, frames: int, channels: int) -> None:
        super().__init__()
        self.frames = frames
        self.convolution = nn.Conv2d(channels, channels, (3, 1), padding=(1, 0))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve frames (b · f, c, h, w), with channels innermost in memory."""
        _, channels, height, width = x.shape
        # in that memory format all positions of a frame are one row of an image, a view
        rows = x.movedim(1, -1).reshape(-1, self.frames, height * width, channels)
        moved = self.convolution(rows.movedim(-1, 1)).movedim(1, -1)
        return x + moved.reshape(-1, height, width, channels).movedim(-1, 1)


class MiniatureBlock(nn.Module):
    """Residual block of two convolutions and one over time, scaled and shifted in between."""

    def __init__(self, layout: Patchify, channels: int, out_channels: int, condition: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.wide = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.time = layout.through_time(out_channels)
        self.inner_norm = nn.GroupNorm(GROUPS, out_channels)
        self.modulation = nn.Linear(condition, 2 * out_channels)
        self.last = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.skip = (
            nn.Identity() if channels == out_channels else nn.Conv2d(channels, out_channels, 1)
        )
        _zero(self.last)

    def forward(self, x: Tensor, rows: Tensor) -> Tensor:
        """Map images (n, c, height, width); ``rows`` is (n, height or 1, condition)."""
        branch = self.time(self.wide(functional.silu(self.norm(x))))
        # (n, rows, 2 c) -> two of (n, c, rows, 1)
        scale, shift = self.modulation(rows).transpose(1, 2)[..., None].chunk(2, 1)
        branch = functional.silu(self.inner_norm(branch) * (1 + scale) + shift)
        return self.last(branch) + self.skip(x)


class Layer(nn.Module):
    """Self-attention over time and an MLP, each modulated and gated."""

    def __init__(self, config: "DenoiserConfig") -> None:
        super().__init__()
        width, hidden = config.width, config.expansion * config.width
        self.heads = config.heads
        # the gates begin open: with shared modulations at zero every layer would begin shut
        offset = torch.zeros(MODULATIONS, 1, width)
        offset[[2, 5]] = 1.0
        self.offset = nn.Parameter(offset)
        self.attention_in = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.perceptron_in = nn.Linear(width, hidden)
        self.perceptron_out = nn.Linear(hidden, width)
        for last in (self.attention_out, self.perceptron_out):
            nn.init.normal_(last.weight, std=0.02 / math.sqrt(2 * config.layers))
            nn.init.zeros_(last.bias)

    def forward(self, tokens: Tokens, modulation: Tensor) -> Tokens:
        """Map tokens (b, steps, width); ``modulation`` is (b, 6, 1, width)."""
        scale, shift, gate, scale_2, shift_2, gate_2 = (modulation + self.offset).unbind(1)
        tokens = tokens + gate * self._attend(_norm(tokens) * (1 + scale) + shift)
        hidden = self.perceptron_in(_norm(tokens) * (1 + scale_2) + shift_2)
        return tokens + gate_2 * self.perceptron_out(functional.gelu(hidden, approximate="tanh"))

    def _attend(self, tokens: Tokens) -> Tokens:
        # (b, steps, 3 · heads · d) -> three of (b, heads, steps, d)
        parts = self.attention_in(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(*parts.unbind(0))
        return self.attention_out(seen.transpose(1, 2).flatten(2))


class VelocityDenoiser(Denoiser):
    """Denoiser around a network that predicts v.

    Args:
        network: Maps a noisy latent, its level and its caption to v.
        schedule: Schedule the network was trained on, in the network's times.
    """

    def __init__(self, network: nn.Module, schedule: NoiseSchedule) -> None:
        self.network = network
        self._schedule = schedule

    @property
    @override
    def schedule(self) -> NoiseSchedule:
        return self._schedule

    def predict_noise(self, x_t: Latent, level: NoiseLevel, cond: Conditioning) -> Latent:
        """Convert the predicted v to ε; the caption is the pooled vector."""
        v = self.network(x_t, level, cond.pooled)
        return VPrediction().to_eps(v, x_t, level)


def time_features(t: PerSample) -> Vector:
    """Return sin and cos of t in [0, 1000) at frequencies from 1 to 10⁻⁴, (b, 64)."""
    frequencies = torch.logspace(0, -4, TIME_FEATURES // 2, dtype=torch.float64)
    phase = t.to(torch.float64)[:, None] * frequencies
    return torch.cat([phase.sin(), phase.cos()], dim=1).float()


def _zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def _norm(tokens: Tokens) -> Tokens:
    return functional.layer_norm(tokens, tokens.shape[-1:])

"""The two towers of the released network, block by block.

A block holds both modalities' halves, since at its end one may pass something to the other. Either
half sees its own latent and its own embedding. Knows no noise level, no caption and no fusion.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from mmdisco.core.av import AV, each
from mmdisco.discriminators.convolutions import Pointwise
from mmdisco.discriminators.official.attention import GROUPS, CrossExchange, OfficialAttention
from mmdisco.discriminators.official.latents import LatentKind
from mmdisco.shapes import Latent, Vector


class Half(nn.Module, ABC):
    """One modality's half of a block."""

    @abstractmethod
    def forward(self, x: Latent, embedding: Vector) -> Tensor:
        """(b, c, time, *space), the axes after c perhaps pooled.

        Args:
            x: The latent, channels innermost in memory.
            embedding: Of noise level and caption.
        """


class Modulation(nn.Module, ABC):
    """A GroupNorm that the embedding has a say in."""

    @abstractmethod
    def forward(self, x: Latent, embedding: Vector) -> Tensor:
        """Normalised over the channels of a group and all positions, all frames of a video too."""


class ScaleAndShift(Modulation):
    """GroupNorm without weights of its own, scaled and shifted by the embedding."""

    def __init__(self, groups: int, channels: int, embedding: int) -> None:
        super().__init__()
        self.groups = groups
        self.projection = nn.Linear(embedding, 2 * channels)

    def forward(self, x: Latent, embedding: Vector) -> Tensor:
        """Normalised, then scaled and shifted; see ``Modulation``."""
        projected = self.projection(functional.silu(embedding))
        scale, shift = projected.unflatten(1, (-1, *[1] * (x.ndim - 2))).chunk(2, dim=1)
        return functional.group_norm(x, self.groups) * (1 + scale) + shift


class ShiftBefore(Modulation):
    """The embedding added, then a GroupNorm with weights of its own."""

    def __init__(self, groups: int, channels: int, embedding: int) -> None:
        super().__init__()
        self.projection = nn.Linear(embedding, channels)
        self.norm = nn.GroupNorm(groups, channels)

    def forward(self, x: Latent, embedding: Vector) -> Tensor:
        """Shifted, then normalised; see ``Modulation``."""
        shift = self.projection(functional.silu(embedding))
        return self.norm(x + shift.unflatten(1, (-1, *[1] * (x.ndim - 2))))


@dataclass(frozen=True)
class ModulationConfig(ABC):
    """How the embedding reaches the norms of the towers."""

    @abstractmethod
    def build(self, groups: int, channels: int, embedding: int) -> Modulation:
        """The norm, with new weights.

        Args:
            groups: Of the norm.
            channels: Of what is normalised.
            embedding: Width of the embedding.
        """


@dataclass(frozen=True)
class ScaleAndShiftConfig(ModulationConfig):
    """By a scale and a shift after the norm, as in all that is published."""

    def build(self, groups: int, channels: int, embedding: int) -> Modulation:
        """A ``ScaleAndShift``, with new weights."""
        return ScaleAndShift(groups, channels, embedding)


@dataclass(frozen=True)
class ShiftBeforeConfig(ModulationConfig):
    """By a shift before the norm: the release's ``use_scale_shift_norm: false``."""

    def build(self, groups: int, channels: int, embedding: int) -> Modulation:
        """A ``ShiftBefore``, with new weights."""
        return ShiftBefore(groups, channels, embedding)


class NoInputNorm(Half):
    """No norm before the first convolution, as in all that is published."""

    def forward(self, x: Latent, embedding: Vector) -> Tensor:
        """``x`` itself."""
        return x


class ModulatedInputNorm(Half):
    """Every channel of the latent normalised by itself, and modulated by the embedding."""

    def __init__(self, modulation: Modulation) -> None:
        super().__init__()
        self.modulation = modulation

    def forward(self, x: Latent, embedding: Vector) -> Tensor:
        """(b, c, time, *space), nothing but the values changed."""
        return self.modulation(x, embedding)


@dataclass(frozen=True)
class InputNormConfig(ABC):
    """What stands before the first convolution of either tower."""

    @abstractmethod
    def build(self, channels: int, embedding: int, modulation: ModulationConfig) -> Half:
        """The norm, with new weights.

        Args:
            channels: Of the latent.
            embedding: Width of the embedding.
            modulation: How the embedding reaches norms.
        """


@dataclass(frozen=True)
class NoInputNormConfig(InputNormConfig):
    """Nothing, as in all that is published."""

    def build(self, channels: int, embedding: int, modulation: ModulationConfig) -> Half:
        """A ``NoInputNorm``."""
        return NoInputNorm()


@dataclass(frozen=True)
class ModulatedInputNormConfig(InputNormConfig):
    """Every channel normalised by itself, and modulated."""

    def build(self, channels: int, embedding: int, modulation: ModulationConfig) -> Half:
        """A ``ModulatedInputNorm``, with new weights."""
        return ModulatedInputNorm(modulation.build(channels, channels, embedding))


class FirstHalf(Half):
    """The convolution that the latent meets first."""

    def __init__(self, kind: LatentKind, out_channels: int, norm: Half) -> None:
        super().__init__()
        self.norm = norm
        self.wide = kind.wide(kind.channels, out_channels, (1,) * len(kind.window), 1)

    def forward(self, x: Latent, embedding: Vector) -> Tensor:
        """(b, c, time, *space), nothing but c changed."""
        return self.wide(self.norm(x, embedding))


class ResHalf(Half):
    """Norm, SiLU, 3 taps, pool, modulated norm, SiLU, 1 tap, and a skip; attention at the end.

    The branch starts at zero, so a new tower is a chain of its skips.

    Args:
        kind: Of latent.
        channels: Of the input and of the output.
        modulation: The norm after the 3 taps.
        window: Of the pool; all 1 for none.
        dilation: Of the 3 taps of a sound.
        attention: At the end.
    """

    def __init__(
        self,
        kind: LatentKind,
        channels: tuple[int, int],
        modulation: Modulation,
        window: tuple[int, ...],
        dilation: int,
        attention: OfficialAttention,
    ) -> None:
        super().__init__()
        before, after = channels
        self.norm = nn.GroupNorm(GROUPS, before)
        self.wide = kind.wide(before, after, window, dilation)
        self.modulation = modulation
        self.last = Pointwise(after, after)
        self.pool = nn.Identity() if max(window) == 1 else kind.pool(window)
        self.skip = nn.Identity() if before == after else Pointwise(before, after)
        self.attention = attention
        nn.init.zeros_(self.last.linear.weight)
        nn.init.zeros_(self.last.linear.bias)

    def forward(self, x: Latent, embedding: Vector) -> Tensor:
        """(b, c, time, *space), every axis after c divided by its window."""
        branch = self.modulation(self.wide(functional.silu(self.norm(x))), embedding)
        return self.attention(self.last(functional.silu(branch)) + self.skip(self.pool(x)))


class OfficialBlock(nn.Module):
    """Both halves, and what passes between them afterwards."""

    def __init__(self, audio: Half, video: Half, exchange: CrossExchange) -> None:
        super().__init__()
        self.audio = audio
        self.video = video
        self.exchange = exchange

    def forward(self, z: AV[Tensor], embedding: AV[Tensor]) -> AV[Tensor]:
        """Both latents, channels innermost in memory, through one block."""
        halves = AV(self.audio, self.video)
        return self.exchange(each(lambda half, x, own: half(x, own), halves, z, embedding))

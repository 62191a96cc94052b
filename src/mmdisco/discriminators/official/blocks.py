"""The two towers of the released network, block by block.

A block holds both modalities' halves, since cross-attention may follow it. Either half gets its
own latent and its own embedding. Independent of noise levels, captions and fusion.
"""

from abc import ABC, abstractmethod

from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from mmdisco.core.av import AV, each
from mmdisco.discriminators.convolutions import Pointwise
from mmdisco.discriminators.official.attention import GROUPS, CrossExchange, OfficialAttention
from mmdisco.discriminators.official.latents import LatentKind
from mmdisco.io.shapes import Latent, Vector


class Half(nn.Module, ABC):
    """One modality's half of a block."""

    @abstractmethod
    def forward(self, x: Latent, embedding: Vector) -> Tensor:
        """Map (b, c, time, *space), perhaps pooling the axes after c.

        Args:
            x: The latent, channels innermost in memory.
            embedding: Embedding of noise level and caption.
        """


class Modulation(nn.Module, ABC):
    """GroupNorm modulated by the embedding.

    Args:
        groups: Groups of the norm.
        channels: Channels of its input.
        embedding: Width of the embedding.
    """

    @abstractmethod
    def __init__(self, groups: int, channels: int, embedding: int) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, x: Latent, embedding: Vector) -> Tensor:
        """Normalise over the channels of a group and all positions, also over all frames."""


class ScaleAndShift(Modulation):
    """GroupNorm without affine weights, scaled and shifted: all published discriminators."""

    def __init__(self, groups: int, channels: int, embedding: int) -> None:
        super().__init__(groups, channels, embedding)
        self.groups = groups
        self.projection = nn.Linear(embedding, 2 * channels)

    @override
    def forward(self, x: Latent, embedding: Vector) -> Tensor:
        projected = self.projection(functional.silu(embedding))
        scale, shift = projected.unflatten(1, (-1, *[1] * (x.ndim - 2))).chunk(2, dim=1)
        return functional.group_norm(x, self.groups) * (1 + scale) + shift


class ShiftBefore(Modulation):
    """The embedding added, then a GroupNorm: the release's ``use_scale_shift_norm: false``."""

    def __init__(self, groups: int, channels: int, embedding: int) -> None:
        super().__init__(groups, channels, embedding)
        self.projection = nn.Linear(embedding, channels)
        self.norm = nn.GroupNorm(groups, channels)

    @override
    def forward(self, x: Latent, embedding: Vector) -> Tensor:
        shift = self.projection(functional.silu(embedding))
        return self.norm(x + shift.unflatten(1, (-1, *[1] * (x.ndim - 2))))


class InputNorm(Half):
    """Norm before the first convolution of a tower.

    Args:
        channels: Channels of the latent.
        embedding: Width of the embedding.
        modulation: Kind of modulation by the embedding.
    """

    @abstractmethod
    def __init__(self, channels: int, embedding: int, modulation: type[Modulation]) -> None:
        super().__init__()


class NoInputNorm(InputNorm):
    """No norm, as in all published discriminators."""

    def __init__(self, channels: int, embedding: int, modulation: type[Modulation]) -> None:
        super().__init__(channels, embedding, modulation)

    @override
    def forward(self, x: Latent, embedding: Vector) -> Tensor:
        return x


class ModulatedInputNorm(InputNorm):
    """Norm of every channel of the latent separately, modulated by the embedding."""

    def __init__(self, channels: int, embedding: int, modulation: type[Modulation]) -> None:
        super().__init__(channels, embedding, modulation)
        self.modulation = modulation(channels, channels, embedding)

    @override
    def forward(self, x: Latent, embedding: Vector) -> Tensor:
        return self.modulation(x, embedding)


class FirstHalf(Half):
    """First convolution of a tower."""

    def __init__(self, kind: LatentKind, out_channels: int, norm: Half) -> None:
        super().__init__()
        self.norm = norm
        self.wide = kind.wide(kind.channels, out_channels, (1,) * len(kind.window), 1)

    def forward(self, x: Latent, embedding: Vector) -> Tensor:
        """Map (b, c, time, *space), changing c alone."""
        return self.wide(self.norm(x, embedding))


class ResHalf(Half):
    """Norm, SiLU, 3 taps, pool, modulated norm, SiLU, 1 tap, and a skip; attention at the end.

    The branch starts at zero, so a new tower is a chain of its skips.

    Args:
        kind: Kind of latent.
        channels: Channels of the input and of the output.
        modulation: The norm after the 3 taps.
        window: Window of the pool; all 1 for none.
        dilation: Dilation of the 3 taps of a sound.
        attention: Attention at the end.
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
        """Map (b, c, time, *space); every axis after c is divided by its window."""
        branch = self.modulation(self.wide(functional.silu(self.norm(x))), embedding)
        return self.attention(self.last(functional.silu(branch)) + self.skip(self.pool(x)))


class OfficialBlock(nn.Module):
    """Both halves, and the exchange between them afterwards."""

    def __init__(self, audio: Half, video: Half, exchange: CrossExchange) -> None:
        super().__init__()
        self.audio = audio
        self.video = video
        self.exchange = exchange

    def forward(self, z: AV[Tensor], embedding: AV[Tensor]) -> AV[Tensor]:
        """Map both latents, channels innermost in memory, through one block."""
        halves = AV(self.audio, self.video)
        return self.exchange(each(lambda half, x, own: half(x, own), halves, z, embedding))

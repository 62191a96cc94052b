"""Layouts of latents in pipelines: what a scheduler's ``step`` sees, and the core's own.

The core has time on axis 2: video (b, c, t, h, w), audio (b, c, l) or (b, c, l, m).
"""

from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from mmdisco.adapters.stock.probe import replaced
from mmdisco.io.shapes import Latent


class Layout(ABC):
    """Order of a latent's axes in a pipeline."""

    @abstractmethod
    def to_core(self, pipe: Any, x: Tensor, shape: torch.Size) -> Latent:
        """Return the core's layout of what ``step`` sees.

        Args:
            pipe: The pipeline.
            x: A batch in the pipeline's layout.
            shape: Shape of one sample in the core's layout.
        """

    @abstractmethod
    def to_step(self, pipe: Any, x: Latent) -> Tensor:
        """Invert ``to_core``."""

    def to_argument(self, pipe: Any, x: Latent) -> Tensor:
        """Return what ``__call__`` takes as ``latents``, which a few pipelines keep otherwise."""
        return self.to_step(pipe, x)

    @contextmanager
    def starting(self, pipe: Any, x: Latent) -> Generator[dict[str, Any]]:
        """Yield the arguments of a call that starts from ``x``, which is made inside the block."""
        yield {"latents": self.to_argument(pipe, x)}


@dataclass(frozen=True)
class AxisOrder(Layout):
    """A permutation of the axes.

    Attributes:
        order: The pipeline's axis for each axis of the core.
        own_dtype: Whether given latents are to have the type of the network: some pipelines
            leave them as they are.
    """

    order: tuple[int, ...]
    own_dtype: bool = False

    @override
    def to_core(self, pipe: Any, x: Tensor, shape: torch.Size) -> Latent:
        return x.permute(self.order)

    @override
    def to_step(self, pipe: Any, x: Latent) -> Tensor:
        return x.permute(*(self.order.index(axis) for axis in range(x.ndim)))

    @override
    def to_argument(self, pipe: Any, x: Latent) -> Tensor:
        return self.to_step(pipe, x).to(network(pipe).dtype if self.own_dtype else x.dtype)


@dataclass(frozen=True)
class FramesInBatch(Layout):
    """(b t, c, h, w) at ``step`` and (b, c, t, h, w) as argument: TextToVideoSD."""

    @override
    def to_core(self, pipe: Any, x: Tensor, shape: torch.Size) -> Latent:
        return x.unflatten(0, (-1, shape[1])).transpose(1, 2)

    @override
    def to_step(self, pipe: Any, x: Latent) -> Tensor:
        return x.transpose(1, 2).flatten(0, 1)

    @override
    def to_argument(self, pipe: Any, x: Latent) -> Tensor:
        return x.to(network(pipe).dtype)


@dataclass(frozen=True)
class PackedTokens(Layout):
    """(b, tokens, c): LTX, by its own packing."""

    @override
    def to_core(self, pipe: Any, x: Tensor, shape: torch.Size) -> Latent:
        return pipe._unpack_latents(x, *shape[1:], *_patches(pipe))

    @override
    def to_step(self, pipe: Any, x: Latent) -> Tensor:
        return pipe._pack_latents(x, *_patches(pipe))


@dataclass(frozen=True)
class ChannelsLast(Layout):
    """(b, t, h, w, c), as argument with the channels of an empty image condition: Kandinsky 5."""

    @override
    def to_core(self, pipe: Any, x: Tensor, shape: torch.Size) -> Latent:
        return x.movedim(-1, 1)

    @override
    def to_step(self, pipe: Any, x: Latent) -> Tensor:
        return x.movedim(1, -1)

    @override
    def to_argument(self, pipe: Any, x: Latent) -> Tensor:
        own = self.to_step(pipe, x)
        if not pipe.transformer.visual_cond:
            return own.clone()  # stepped in place
        return torch.cat([own, torch.zeros_like(own), torch.zeros_like(own[..., :1])], dim=-1)


@dataclass(frozen=True)
class LaterFrames(Layout):
    """The latents after the first, which the pipeline makes of its image and does not step.

    A call that starts from given latents would need that first one too. So the pipeline prepares
    its own, and those after the first are exchanged.

    Attributes:
        whole: Layout of all latents.
        stepped: Layout of those that ``step`` sees.
    """

    whole: Layout
    stepped: Layout

    @override
    def to_core(self, pipe: Any, x: Tensor, shape: torch.Size) -> Latent:
        return self.stepped.to_core(pipe, x, shape)

    @override
    def to_step(self, pipe: Any, x: Latent) -> Tensor:
        return self.stepped.to_step(pipe, x)

    @override
    @contextmanager
    def starting(self, pipe: Any, x: Latent) -> Generator[dict[str, Any]]:
        plain, (_, channels, later, *sides) = pipe.prepare_latents, x.shape

        def prepare_latents(*given: Any, **named: Any) -> Any:
            made = plain(*given, **named)
            first, *others = made if isinstance(made, tuple) else (made,)
            every = self.whole.to_core(pipe, first, torch.Size([channels, later + 1, *sides]))
            every = every.clone()
            every[:, :channels, 1:] = x.to(every)
            latents = self.whole.to_step(pipe, every)
            return (latents, *others) if isinstance(made, tuple) else latents

        with replaced(pipe, "prepare_latents", prepare_latents):
            # the image's latent is drawn, and is to be the same at every level
            yield {"generator": torch.Generator().manual_seed(0)}


def network(pipe: Any) -> Any:
    """Return the pipeline's denoiser: its U-Net or transformer."""
    return getattr(pipe, "unet", None) or getattr(pipe, "transformer", None) or pipe.transformer_2


def _patches(pipe: Any) -> tuple[int, int]:
    return pipe.transformer_spatial_patch_size, pipe.transformer_temporal_patch_size

"""VideoCrafter2's text encoder: the text tower of OpenCLIP ViT-H/14, without its last block.

Radford et al. 2021, arXiv:2103.00020; Cherti et al. 2022, arXiv:2212.07143. The tokens after the
last block but one, normed, are what the U-Net reads, all 77 of them with their padding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTokenizer

from mmdisco.adapters.prompts import padded_ids
from mmdisco.io.bounds import check_sizes
from mmdisco.shapes import Tokens

# CLIP's own tokenizer for OpenCLIP fills with 0, unlike transformers' default for it
PADDING: Final = 0


@dataclass(frozen=True)
class TowerShape:
    """Sizes of a ``OpenCLIPText``; the defaults are those of the published weights.

    Attributes:
        vocabulary: Number of tokens.
        length: Tokens of a prompt, with its beginning, its end and its padding.
        width: Of a token.
        heads: Of the attention.
        layers: Blocks of the whole tower; the last one is not run.
    """

    vocabulary: int = 49_408
    length: int = 77
    width: int = 1024
    heads: int = 16
    layers: int = 24

    def __post_init__(self) -> None:
        check_sizes(self)


class OpenCLIPText(nn.Module):
    """Tokens in, vectors out; see ``TowerShape`` for the sizes."""

    def __init__(self, shape: TowerShape) -> None:
        super().__init__()
        self.shape = shape
        self.words = nn.Embedding(shape.vocabulary, shape.width)
        self.places = nn.Parameter(torch.zeros(shape.length, shape.width))
        self.blocks = nn.Sequential(*(TowerBlock(shape) for _ in range(shape.layers - 1)))
        self.norm = nn.LayerNorm(shape.width)

    def forward(self, ids: Tensor) -> Tokens:
        """(b, length) integers below ``vocabulary`` to (b, length, width)."""
        return self.norm(self.blocks(self.words(ids) + self.places))


class TowerBlock(nn.Module):
    """A token looks at those before it and itself; then a perceptron."""

    def __init__(self, shape: TowerShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.norm1 = nn.LayerNorm(shape.width)
        self.query_key_value = nn.Linear(shape.width, 3 * shape.width)
        self.out = nn.Linear(shape.width, shape.width)
        self.norm2 = nn.LayerNorm(shape.width)
        self.widen = nn.Linear(shape.width, 4 * shape.width)
        self.narrow = nn.Linear(4 * shape.width, shape.width)

    def forward(self, x: Tensor) -> Tensor:
        """(b, tokens, width), unchanged in shape."""
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.query_key_value(self.norm1(x)).chunk(3, dim=-1)
        )
        seen = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).flatten(2))
        return x + self.narrow(functional.gelu(self.widen(self.norm2(x))))


class OpenCLIPTextEncoder:
    """Prompts to the tokens that the U-Net reads.

    Args:
        tokenizer: CLIP's.
        tower: The frozen tower.
    """

    def __init__(self, tokenizer: CLIPTokenizer, tower: OpenCLIPText) -> None:
        self._tokenizer = tokenizer
        self.tower = tower

    def __call__(self, prompts: Sequence[str]) -> Tokens:
        """(b, length, width) of prompts; "" is encoded like every other one."""
        ids = self.ids(prompts).to(self.tower.places.device)
        with torch.no_grad():
            return self.tower(ids)

    def ids(self, prompts: Sequence[str]) -> Tensor:
        """(b, length) token numbers; of a longer prompt the beginning, and the end mark."""
        ids, mask = padded_ids(self._tokenizer, prompts, self.tower.shape.length)
        return torch.where(mask.bool(), ids, PADDING)

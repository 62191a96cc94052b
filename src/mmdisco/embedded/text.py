"""Captions as vectors: a bag of known words through a small perceptron.

The language of the captions is a list of attributes, so the set of words says it all, and a prompt
in an order of its own is understood. Knows no latent.
"""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmdisco.errors import UserError
from mmdisco.shapes import Text

WIDTH = 64
HIDDEN = 256
LITTLE_WORDS = frozenset({"a", "and", "being", "is", "on", "the", "with"})


@dataclass(frozen=True)
class Unknown:
    """A word that the encoder ignores.

    Attributes:
        word: As the prompt has it, in lower case.
        nearest: Known words that look like it; may be empty.
    """

    word: str
    nearest: tuple[str, ...]


class TextEncoder(nn.Module):
    """Prompts to vectors (b, 64) of mean 0 and variance 1 over their entries.

    Args:
        words: All it knows, in the order of the weights.
    """

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__()
        self.words = tuple(words)
        self.first = nn.Linear(len(words), HIDDEN)
        self.second = nn.Linear(HIDDEN, WIDTH)

    def forward(self, prompts: Sequence[str]) -> Text:
        """The vector of each prompt; the empty prompt has one too, which means anything goes."""
        bags = self.bags(prompts)
        hidden = functional.silu(self.first(bags))
        return functional.layer_norm(self.second(hidden), [WIDTH])

    def bags(self, prompts: Sequence[str]) -> Tensor:
        """1 for every known word in a prompt, 0 for the others, (b, words)."""
        bags = torch.zeros(len(prompts), len(self.words))
        positions = {word: position for position, word in enumerate(self.words)}
        for row, prompt in enumerate(prompts):
            for word in words_of(prompt):
                if word in positions:
                    bags[row, positions[word]] = 1
        return bags

    def unknown(self, prompt: str) -> list[Unknown]:
        """The words of ``prompt`` that mean nothing here.

        Raises:
            UserError: The prompt is empty, or no word of it is known.
        """
        words = words_of(prompt)
        if not words:
            raise UserError('the prompt is empty: describe a clip, as in "a red ball bouncing"')
        strange = [word for word in dict.fromkeys(words) if word not in self.words]
        meaningful = [word for word in words if word in self.words and word not in LITTLE_WORDS]
        if not meaningful:
            raise UserError(
                f"no word of {prompt!r} is known: this pair knows {', '.join(self.words)}"
            )
        return [
            Unknown(word, tuple(difflib.get_close_matches(word, self.words, n=2, cutoff=0.6)))
            for word in strange
        ]


def words_of(prompt: str) -> list[str]:
    """The words of a prompt in lower case, without punctuation."""
    return re.findall(r"[^\W_]+", prompt.lower())

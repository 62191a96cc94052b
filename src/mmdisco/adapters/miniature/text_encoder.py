"""Captions as vectors: a bag of known words through a small perceptron.

The language of the captions is a list of attributes, so the set of words says it all, and a prompt
in an order of its own is understood. Knows no latent.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmdisco.adapters.miniature.vocabulary import Vocabulary
from mmdisco.shapes import Text

WIDTH = 64
HIDDEN = 256


class TextEncoder(nn.Module):
    """Prompts to vectors (b, 64) of mean 0 and variance 1 over their entries.

    Args:
        words: All it knows, in the order of the weights.
    """

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__()
        self.vocabulary = Vocabulary(tuple(words))
        self.first = nn.Linear(len(words), HIDDEN)
        self.second = nn.Linear(HIDDEN, WIDTH)

    def forward(self, prompts: Sequence[str]) -> Text:
        """The vector of each prompt; the empty prompt has one too, which means anything goes."""
        bags = self.bags(prompts)
        hidden = functional.silu(self.first(bags))
        return functional.layer_norm(self.second(hidden), [WIDTH])

    def bags(self, prompts: Sequence[str]) -> Tensor:
        """1 for every known word in a prompt, 0 for the others, (b, words)."""
        bags = torch.zeros(len(prompts), len(self.vocabulary.words))
        positions = {word: position for position, word in enumerate(self.vocabulary.words)}
        for row, prompt in enumerate(prompts):
            for word in self.vocabulary.read(prompt):
                for known in word.known:
                    bags[row, positions[known]] = 1
        return bags

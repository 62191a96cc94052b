"""Text encoder of the miniature pair: a bag of known words through a small MLP.

The captions are lists of attributes, so the set of words carries their whole meaning, and a
prompt in another word order is understood. Independent of latents.
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
    """Encoder of prompts to vectors (b, 64) of mean 0 and variance 1 over their entries.

    Args:
        words: The vocabulary, in the order of the weights.
    """

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__()
        self.vocabulary = Vocabulary(tuple(words))
        self.first = nn.Linear(len(words), HIDDEN)
        self.second = nn.Linear(HIDDEN, WIDTH)

    def forward(self, prompts: Sequence[str]) -> Text:
        """Encode each prompt; the empty prompt has a vector too, the unconditional one."""
        bags = self.bags(prompts)
        hidden = functional.silu(self.first(bags))
        return functional.layer_norm(self.second(hidden), [WIDTH])

    def bags(self, prompts: Sequence[str]) -> Tensor:
        """Return 1 for every known word in a prompt and 0 for the others, (b, words)."""
        bags = torch.zeros(len(prompts), len(self.vocabulary.words))
        positions = {word: position for position, word in enumerate(self.vocabulary.words)}
        for row, prompt in enumerate(prompts):
            for word in self.vocabulary.read(prompt):
                for known in word.known:
                    bags[row, positions[known]] = 1
        return bags

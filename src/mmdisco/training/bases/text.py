"""Training of a text encoder: its vectors must say what a caption says, and what it leaves open."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy

from mmdisco.adapters.miniature.model import TEXT_WIDTH, TextEncoder
from mmdisco.adapters.miniature.vocabulary import Vocabulary, words_of
from mmdisco.errors import UserError
from mmdisco.training.bases.fit import FitRun

MOST_WORDS: Final = 500


class CaptionReader(nn.Module):
    """A text encoder with a linear reading of each answer.

    Args:
        encoder: The encoder.
        choices: Number of answers to each question about a caption.
    """

    def __init__(self, encoder: TextEncoder, choices: Sequence[int]) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleList(nn.Linear(TEXT_WIDTH, number) for number in choices)


def train_text_encoder(
    encoder: TextEncoder,
    captions: Sequence[str],
    answers: Sequence[Tensor],
    run: FitRun,
) -> TextEncoder:
    """Train an encoder, so that questions about captions can be answered from its vectors.

    Args:
        encoder: The encoder, with its vocabulary.
        captions: The captions.
        answers: Positions of the right answers to each question, (captions,) each.
        run: Settings, seed and checkpoint.
    """
    reader = CaptionReader(encoder, [int(one.max()) + 1 for one in answers])
    bags = encoder.bags(captions)  # read once: that takes longer than the network

    def loss_of(step: int, generator: Generator) -> Tensor:
        del step
        chosen = torch.randint(len(captions), (run.config.batch_size,), generator=generator)
        vectors = reader.encoder.encode(bags[chosen])
        losses = [
            cross_entropy(head(vectors), answer[chosen])
            for head, answer in zip(reader.heads, answers, strict=True)
        ]
        return torch.stack(losses).sum()

    return run.fit(reader, loss_of).encoder


def vocabulary_of(captions: Sequence[str]) -> tuple[str, ...]:
    """Return the words of captions that a prompt can be read in, sorted; at most 500.

    Raises:
        UserError: There are none.
    """
    counts = Counter(word for caption in captions for word in dict.fromkeys(words_of(caption)))
    common = Vocabulary(tuple(sorted(word for word, _ in counts.most_common(MOST_WORDS))))
    # numbers beside a noun have no meaning of their own
    known = {word for text in set(captions) for one in common.read(text) for word in one.known}
    if not known:
        raise UserError("no clip has a caption: give --captions with a table of path and caption")
    return tuple(sorted(known))


def words_said(encoder: TextEncoder, captions: Sequence[str]) -> list[Tensor]:
    """Return for each known word whether a caption has it: 1 or 0, (captions,) each."""
    return list(encoder.bags(captions).long().T)

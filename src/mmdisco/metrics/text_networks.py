"""The texts' side of CLIP and CLAP, through transformers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import (
    AutoTokenizer,
    ClapTextModelWithProjection,
    CLIPTextModelWithProjection,
)

from mmdisco.metrics.networks import loaded, weights_of
from mmdisco.metrics.text import Directions, TextTower

_AT_ONCE = 32


@dataclass(frozen=True)
class TextNetwork(TextTower):
    """A network with projected text features, and its tokenizer; long texts are cut.

    Attributes:
        network: Frozen.
        tokenizer: The library's.
    """

    network: nn.Module
    tokenizer: Any

    @staticmethod
    def clip(path: str) -> "TextNetwork":
        """CLIP's, from a folder or the hub.

        Raises:
            UserError: There is no such model.
        """
        network = weights_of(CLIPTextModelWithProjection, path)
        return TextNetwork(network, loaded(_tokenizer, path))

    @staticmethod
    def clap(path: str) -> "TextNetwork":
        """CLAP's, likewise.

        Raises:
            UserError: There is no such model.
        """
        network = weights_of(ClapTextModelWithProjection, path)
        return TextNetwork(network, loaded(_tokenizer, path))

    def directions(self, texts: Sequence[str]) -> Directions:
        """Projected features, (texts, projection), of length 1."""
        found: list[Directions] = []
        for start in range(0, len(texts), _AT_ONCE):
            some = list(texts[start : start + _AT_ONCE])
            inputs = self.tokenizer(some, padding=True, truncation=True, return_tensors="pt")
            with torch.no_grad():
                projected = self.network(
                    input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]
                ).text_embeds
            found.append(projected.float().numpy())
        rows = np.concatenate(found)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _tokenizer(path: str) -> Any:
    # without this a folder that names code of its own would be asked about at the terminal
    return AutoTokenizer.from_pretrained(path, trust_remote_code=False)

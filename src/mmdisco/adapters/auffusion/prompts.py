"""Auffusion's text encoding: CLIP's tokens through an adapter that the model was trained with."""

import warnings
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from mmdisco.io.shapes import Tokens

LENGTH: Final = 77


class ConditionAdapter(nn.Module):
    """Linear map and norm from the text encoder's width to the denoiser's."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width_in, width_out)
        self.norm = nn.LayerNorm(width_out)

    def forward(self, tokens: Tokens) -> Tensor:
        """Map (b, tokens, width_in) to (b, tokens, width_out)."""
        return self.norm(self.proj(tokens))


class PromptEncoder:
    """Encoder of prompts to the tokens that the denoiser reads.

    Args:
        tokenizer: CLIP's tokenizer.
        encoder: CLIP's text encoder, frozen.
        adapter: The adapter, frozen.
        device: Device of both.
    """

    def __init__(
        self,
        tokenizer: CLIPTokenizer,
        encoder: CLIPTextModel,
        adapter: ConditionAdapter,
        device: torch.device,
    ) -> None:
        self._tokenizer = tokenizer
        self._encoder: Any = encoder
        self._adapter = adapter
        self._device = device

    def __call__(self, prompts: Sequence[str]) -> Tokens:
        """Encode to (b, 77, width), float32; "" is zeros, the model's form of no prompt."""
        with torch.no_grad():
            return torch.stack([self._encode(prompt) for prompt in prompts])

    def _encode(self, prompt: str) -> Tensor:
        projection = self._adapter.proj
        if not prompt:
            return torch.zeros(LENGTH, projection.out_features)
        every: list[int] = self._tokenizer(prompt)["input_ids"]
        if len(every) > LENGTH:
            warnings.warn(
                f"a prompt of {len(every)} tokens: the text encoder reads the first {LENGTH}",
                stacklevel=3,
            )
        ids = torch.tensor([every[:LENGTH]], device=self._device)
        states = self._encoder(input_ids=ids).last_hidden_state.to(projection.weight.dtype)
        # nothing after the prompt, instead of the encoder's own padding: it is zero until here
        filled = nn.functional.pad(states, (0, 0, 0, LENGTH - states.shape[1]))
        return self._adapter(filled)[0].float().cpu()

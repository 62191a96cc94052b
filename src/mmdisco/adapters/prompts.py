"""Text encoders that more than one model has. Knows no denoiser."""

import warnings
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor
from transformers import CLIPTextModel, PreTrainedTokenizerBase

from mmdisco.core.denoiser import Conditioning
from mmdisco.errors import UserError

# longer than any text encoder: transformers' value for a tokenizer that states no length
_UNSTATED: Final = 100_000


def clip_conditioning(
    tokenizer: PreTrainedTokenizerBase,
    encoder: CLIPTextModel,
    prompts: Sequence[str],
    device: torch.device,
    padding: int | None = None,
) -> Conditioning:
    """Encode prompts to CLIP's last hidden states and their mean, float32.

    Args:
        tokenizer: Tokenizer of the encoder.
        encoder: The encoder; it reads the padding like any token.
        prompts: Prompts; of a longer one than the encoder reads the beginning counts.
        device: Device of the encoder.
        padding: Token of the padding; None for the tokenizer's own.

    Returns:
        ``embeds`` of (b, 77, width) at the published size, and ``pooled``, their mean (b, width).
    """
    ids, _ = padded_ids(tokenizer, prompts, encoder.config.max_position_embeddings, padding)
    with torch.no_grad():
        tokens = encoder(input_ids=ids.to(device)).last_hidden_state.float().cpu()
    return Conditioning(tokens.mean(dim=1), (tokens,))


def padded_ids(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    length: int,
    padding: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return token ids and their mask, both (b, length).

    A longer prompt is cut with a warning; its end mark stays. ``padding`` replaces the tokenizer's
    own token of the padding.

    Raises:
        UserError: The tokenizer states no length.
    """
    if length >= _UNSTATED:
        raise UserError(
            f"{type(tokenizer).__name__} states no length: set model_max_length in its "
            "tokenizer_config.json"
        )
    longest = max(len(ids) for ids in tokenizer(list(prompts), verbose=False).input_ids)
    if longest > length:
        warnings.warn(
            f"a prompt of {longest} tokens: the text encoder reads the first {length}",
            stacklevel=2,
        )
    text: Any = tokenizer(
        list(prompts), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    )
    ids, mask = text.input_ids, text.attention_mask
    return ids if padding is None else torch.where(mask.bool(), ids, padding), mask

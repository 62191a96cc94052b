"""Prompts through the text encoders that more than one model has. Knows no denoiser."""

import warnings
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional
from transformers import ClapTextModelWithProjection, CLIPTextModel, PreTrainedTokenizerBase

from mmdisco.errors import UserError
from mmdisco.shapes import Text, Tokens

# longer than any text encoder: what transformers gives for a tokenizer that states no length
_UNSTATED: Final = 100_000


def clap_vectors(
    tokenizer: PreTrainedTokenizerBase,
    encoder: ClapTextModelWithProjection,
    prompts: Sequence[str],
    device: torch.device,
) -> Text:
    """CLAP's vector of each prompt, of length 1: (b, 512) at the published size, float32."""
    ids, mask = padded_ids(tokenizer, prompts, tokenizer.model_max_length)
    with torch.no_grad():
        out = encoder(input_ids=ids.to(device), attention_mask=mask.to(device))
        return functional.normalize(out.text_embeds.float(), dim=-1).cpu()


def clip_tokens(
    tokenizer: PreTrainedTokenizerBase,
    encoder: CLIPTextModel,
    prompts: Sequence[str],
    device: torch.device,
) -> Tokens:
    """CLIP's last hidden states, (b, 77, width), float32; padding is read like any word."""
    ids, _ = padded_ids(tokenizer, prompts, tokenizer.model_max_length)
    with torch.no_grad():
        return encoder(input_ids=ids.to(device)).last_hidden_state.float().cpu()


def padded_ids(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], length: int
) -> tuple[Tensor, Tensor]:
    """Token ids and their mask, both (b, length).

    What a prompt has beyond ``length`` is left out, with a warning.

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
    return text.input_ids, text.attention_mask

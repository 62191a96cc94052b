"""Text encoding of AudioLDM2: CLAP and Flan-T5 give a prefix, which GPT-2 continues in vectors.

Prompts are encoded one by one. In a padded batch GPT-2 would count the padding as positions, and
the encoding of a prompt would depend on the longest one beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from diffusers.pipelines.audioldm2 import AudioLDM2ProjectionModel
from torch import Tensor
from torch.nn import functional
from transformers import (
    ClapTextModelWithProjection,
    GPT2Model,
    PreTrainedTokenizerBase,
    T5EncoderModel,
)

from mmdisco.adapters.prompts import clap_vectors, padded_ids
from mmdisco.core.denoiser import Conditioning

# published values, for checkpoints that do not state them
GENERATED: Final = 8
# pairs of every length share one shape, so that they can be stored and drawn together
T5_TOKENS: Final = 128


@dataclass(frozen=True)
class AudioLDM2Text:
    """Text encoders of a diffusers ``AudioLDM2Pipeline``.

    Attributes:
        clap: Text encoder of CLAP.
        clap_tokenizer: Tokenizer of CLAP.
        t5: Encoder of Flan-T5.
        t5_tokenizer: Tokenizer of Flan-T5.
        projection: Projection of both to the width of GPT-2.
        language_model: GPT-2 without a head.
    """

    clap: ClapTextModelWithProjection
    clap_tokenizer: PreTrainedTokenizerBase
    t5: T5EncoderModel
    t5_tokenizer: PreTrainedTokenizerBase
    projection: AudioLDM2ProjectionModel
    language_model: GPT2Model

    def encode(self, prompts: Sequence[str], device: torch.device) -> Conditioning:
        """Encode prompts: CLAP's vectors for a discriminator, sequences for the network, float32.

        Returns:
            ``pooled`` (b, 512), of length 1; ``embeds`` the vectors that GPT-2 generates, (b, 8,
            768), the hidden states of T5, (b, 128, 1024), zero after the end of a prompt, and its
            mask, (b, 128).
        """
        vectors = clap_vectors(self.clap_tokenizer, self.clap, prompts, device)
        length = min(T5_TOKENS, self.t5_tokenizer.model_max_length)
        ids, mask = padded_ids(self.t5_tokenizer, prompts, length)
        with torch.no_grad():
            each = [
                self._read(vectors[i : i + 1], ids[i : i + 1, : int(mask[i].sum())], device)
                for i in range(len(vectors))
            ]
        generated, hidden = (torch.cat(parts) for parts in zip(*each, strict=True))
        return Conditioning(vectors, (generated, hidden, mask))

    def _read(self, vector: Tensor, ids: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        """Encode one prompt without padding: GPT-2's vectors, and T5's states padded with zeros."""
        whole = torch.ones_like(ids).to(device)
        hidden = self.t5(input_ids=ids.to(device), attention_mask=whole).last_hidden_state
        prefix = self.projection(
            hidden_states=vector[:, None].to(device, self.projection.dtype),
            hidden_states_1=hidden.to(self.projection.dtype),
            attention_mask=whole[:, :1],
            attention_mask_1=whole,
        ).hidden_states
        generated = self._continue(prefix.to(self.language_model.dtype))
        length = min(T5_TOKENS, self.t5_tokenizer.model_max_length)
        padded = functional.pad(hidden, (0, 0, 0, length - hidden.shape[1]))
        return generated.float().cpu(), padded.float().cpu()

    def _continue(self, prefix: Tensor) -> Tensor:
        """Continue ``prefix`` by GPT-2, each last hidden state fed back as the next input."""
        count: int = getattr(self.language_model.config, "max_new_tokens", GENERATED)
        said: list[Tensor] = []
        inputs, past = prefix, None
        for _ in range(count):
            out: Any = self.language_model(
                inputs_embeds=inputs, past_key_values=past, use_cache=True
            )
            inputs, past = out.last_hidden_state[:, -1:], out.past_key_values
            said.append(inputs)
        return torch.cat(said, dim=1)

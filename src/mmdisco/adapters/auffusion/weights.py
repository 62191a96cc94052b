"""Files of Auffusion, and the two of its networks that no library loads.

Vocoder and adapter are published as pickles. At the first load a safetensors file is written beside
either, and read from then on.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from transformers import SpeechT5HifiGan

from mmdisco.adapters.auffusion.prompts import LENGTH, ConditionAdapter
from mmdisco.adapters.auffusion.vocoder import new_vocoder, translate
from mmdisco.adapters.checkpoint import Network, load_into, materialize
from mmdisco.adapters.components import AUFFUSION, ComponentFiles
from mmdisco.errors import UserError
from mmdisco.io.files import read_json, read_tensors, write_tensors
from mmdisco.io.pickles import read_pickle, state_dict

SOURCE: Final = "auffusion/auffusion-full"

ALL: Final = AUFFUSION
UNET, VAE, SCHEDULER, TEXT_ENCODER, TOKENIZER, ENCODERS, ADAPTER, VOCODER = AUFFUSION


def expect_one_encoder(folder: Path) -> None:
    """Check that prompts go through one text encoder, as in the published model.

    Raises:
        UserError: The model's folder lists others.
    """
    path = folder / ENCODERS.always[0]
    found: Any = read_json(path)
    wanted = {
        "text_encoder_name": TEXT_ENCODER.name,
        "condition_adapter_name": ADAPTER.name,
        "condition_max_length": LENGTH,
    }
    alone = found[0] if isinstance(found, list) and len(found) == 1 else None
    if not isinstance(alone, Mapping) or any(alone.get(key) != one for key, one in wanted.items()):
        raise UserError(
            f"{path} is not that of one text encoder with {LENGTH} tokens: take all files of "
            f"{SOURCE}"
        )


def load_vocoder(folder: Path, dtype: torch.dtype = torch.float32) -> SpeechT5HifiGan:
    """Load the vocoder of the model's folder, in the precision ``dtype``.

    Raises:
        UserError: A file is damaged or of another vocoder, or the safetensors file cannot be
            written.
    """
    path = folder / VOCODER.name / "config.json"
    config: Any = read_json(path)
    network = materialize(lambda: new_vocoder(config, path))
    return _load(network, path.parent, VOCODER, translate, dtype)


def load_adapter(folder: Path, dtype: torch.dtype = torch.float32) -> ConditionAdapter:
    """Load the adapter of the model's folder, in the precision ``dtype``.

    Raises:
        UserError: A file is damaged or of another adapter, or the safetensors file cannot be
            written.
    """
    path = folder / ADAPTER.name / "config.json"
    config: Any = read_json(path)
    try:
        widths = (int(config["condition_dim"]), int(config["cross_attention_dim"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is no configuration of an adapter: get it again") from error
    network = materialize(lambda: ConditionAdapter(*widths))
    return _load(network, path.parent, ADAPTER, state_dict, dtype)


def _load(
    network: Network,
    folder: Path,
    part: ComponentFiles,
    translate_pickle: Callable[[Any, Path], dict[str, Tensor]],
    dtype: torch.dtype,
) -> Network:
    """Fill from the safetensors file, or from the pickle, which is then written as one."""
    (pickled,), (converted,) = part.choices
    path, advice = folder / converted, f"take {pickled} of {SOURCE}"
    if path.is_file():
        return load_into(network, read_tensors(path), path, f"delete it, and {advice}").to(dtype)
    weights = translate_pickle(read_pickle(folder / pickled), folder / pickled)
    filled = load_into(network, weights, folder / pickled, advice)
    write_tensors(path, weights, {"source": pickled})
    return filled.to(dtype)

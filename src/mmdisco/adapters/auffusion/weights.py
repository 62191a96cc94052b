"""Files of Auffusion, and the two of its networks that no library loads.

Vocoder and adapter are published as pickles. At the first load a safetensors file is written beside
either, and read from then on.

The vocoder is transformers' ``SpeechT5HifiGan``, which is HiFi-GAN (Kong et al. 2020,
arXiv:2010.05646) with a mean and a scale before it. The checkpoint has neither, holds the weights
as direction and length, and names one layer otherwise. The folder's ``config.json`` is HiFi-GAN's.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

from mmdisco.adapters.auffusion.prompts import LENGTH, ConditionAdapter
from mmdisco.adapters.checkpoint import Network, load_into, materialize
from mmdisco.adapters.components import AUFFUSION, ComponentFiles
from mmdisco.errors import UserError
from mmdisco.io.files import read_json, read_tensors, write_tensors
from mmdisco.io.pickles import read_pickle, state_dict

CHECKPOINT: Final = "vocoder.pt"


def new_vocoder(config: Any, path: Path) -> SpeechT5HifiGan:
    """Build the network of a configuration, without its weights.

    Args:
        config: Configuration of HiFi-GAN.
        path: File of the configuration, for messages.

    Raises:
        UserError: It is no configuration of a HiFi-GAN, or of another kind.
    """
    try:
        rates, kernels = list(config["upsample_rates"]), list(config["upsample_kernel_sizes"])
        excess = [kernel - rate for kernel, rate in zip(kernels, rates, strict=True)]
        record = SpeechT5HifiGanConfig(
            model_in_dim=config["num_mels"],
            sampling_rate=config["sampling_rate"],
            upsample_initial_channel=config["upsample_initial_channel"],
            upsample_rates=rates,
            upsample_kernel_sizes=kernels,
            resblock_kernel_sizes=list(config["resblock_kernel_sizes"]),
            resblock_dilation_sizes=[list(one) for one in config["resblock_dilation_sizes"]],
            normalize_before=False,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is no configuration of a HiFi-GAN: get it again") from error
    if config.get("resblock") != "1" or min(excess) < 0:
        raise UserError(f"{path} is of another kind of HiFi-GAN than Auffusion's: get it again")
    vocoder = SpeechT5HifiGan(record)
    layers: list[Any] = list(vocoder.upsampler)
    for layer, more in zip(layers, excess, strict=True):
        if more % 2:
            # so many samples as the rate says, where the kernel hangs over unevenly
            layer.padding, layer.output_padding = (more // 2 + 1,), (1,)
    return vocoder


def translate(record: Any, path: Path) -> dict[str, Tensor]:
    """Translate a checkpoint to the weights of ``new_vocoder``'s network.

    Raises:
        UserError: It is no checkpoint of a generator.
    """
    if not isinstance(record, Mapping) or "generator" not in record:
        raise UserError(f"{path} holds no generator: take {CHECKPOINT} of Auffusion")
    weights = {
        re.sub(r"^ups\.", "upsampler.", key): value
        for key, value in state_dict(record["generator"], path).items()
    }
    fused = {
        f"{stem}weight": _fuse(weights[f"{stem}weight_v"], weights.get(f"{stem}weight_g"), path)
        for stem in (key.removesuffix("weight_v") for key in weights if key.endswith("weight_v"))
    }
    plain = {key: one for key, one in weights.items() if not key.endswith(("weight_v", "weight_g"))}
    first = {**plain, **fused}.get("conv_pre.weight", torch.zeros(0))
    mean = first.new_zeros(first.shape[1] if first.ndim == 3 else 0)
    return {**plain, **fused, "mean": mean, "scale": mean + 1}


def _fuse(direction: Tensor, length: Tensor | None, path: Path) -> Tensor:
    """Return w = g v / ‖v‖, one length per output channel (Salimans & Kingma 2016, Eq. 2)."""
    if length is None or direction.ndim != 3 or length.numel() != len(direction):
        raise UserError(f"{path} holds half of its weights: take {CHECKPOINT} of Auffusion")
    norm = direction.flatten(1).norm(dim=1)
    return direction * (length.flatten() / norm)[:, None, None]


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

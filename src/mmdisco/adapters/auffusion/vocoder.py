"""Auffusion's vocoder, a HiFi-GAN (Kong et al. 2020, arXiv:2010.05646), from its own checkpoint.

The network is transformers' ``SpeechT5HifiGan``: HiFi-GAN with a mean and a scale before it. The
checkpoint has neither, holds the weights as direction and length, and names one layer otherwise.
The folder's ``config.json`` is HiFi-GAN's.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

from mmdisco.errors import UserError
from mmdisco.io.pickles import state_dict

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

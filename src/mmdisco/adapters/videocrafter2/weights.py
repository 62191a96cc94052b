"""Weights of VideoCrafter2: ``model.ckpt`` as published, read once, and what it is converted to.

A conversion writes ``unet.safetensors``, ``autoencoder.safetensors``, ``text.safetensors`` and,
last, ``config.json`` beside the checkpoint, which is then no longer needed. Names of weights are
those of diffusers and transformers afterwards.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import AutoencoderKL, UNet3DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from mmdisco.adapters import openai_unet
from mmdisco.adapters.checkpoint import (
    Network,
    expect_possible,
    load_into,
    materialize,
    summary,
)
from mmdisco.adapters.components import VIDEOCRAFTER2
from mmdisco.adapters.videocrafter2.unet import clean_scales, new_unet, training_betas
from mmdisco.errors import UserError
from mmdisco.io.files import (
    expect_writable,
    read_object,
    read_tensors,
    understood,
    write_json,
    write_tensors,
)
from mmdisco.io.pickles import Rules, read_pickle, renamed, state_dict

UNET_PREFIX: Final = "model.diffusion_model."
AUTOENCODER_PREFIX: Final = "first_stage_model."
TEXT_PREFIX: Final = "cond_stage_model.model."

# checked against the table of the run's own schedule, not loaded
SCHEDULE: Final = ("betas", "scale_arr")
# follow from the two above
DERIVED: Final = frozenset(
    {
        "alphas_cumprod",
        "alphas_cumprod_prev",
        "sqrt_alphas_cumprod",
        "sqrt_one_minus_alphas_cumprod",
        "log_one_minus_alphas_cumprod",
        "sqrt_recip_alphas_cumprod",
        "sqrt_recipm1_alphas_cumprod",
        "posterior_variance",
        "posterior_log_variance_clipped",
        "posterior_mean_coef1",
        "posterior_mean_coef2",
    }
)

_BLOCK: Final = r"^((?:down|up)_blocks\.\d+|mid_block)\.(\d+)"
_UNET: Final[Rules] = (
    (r"^time_embed\.0\.", "time_embedding.time.linear_1."),
    (r"^time_embed\.2\.", "time_embedding.time.linear_2."),
    (r"^fps_embedding\.0\.", "time_embedding.rate.linear_1."),
    (r"^fps_embedding\.2\.", "time_embedding.rate.linear_2."),
    (r"^init_attn\.0\.", "transformer_in."),
    (r"^middle_block\.3\.", "mid_block.1.0."),
    (r"^middle_block\.", "mid_block.0."),
    (r"^(down_blocks\.\d+)\.\d+\.0\.op\.", r"\1.downsamplers.0.conv."),
    (r"^(up_blocks\.\d+)\.\d+\.\d\.conv\.", r"\1.upsamplers.0.conv."),
    (rf"{_BLOCK}\.0\.temopral_conv\.", r"\1.temp_convs.\2."),
    (rf"{_BLOCK}\.0\.", r"\1.resnets.\2."),
    (rf"{_BLOCK}\.1\.", r"\1.attentions.\2."),
    (rf"{_BLOCK}\.2\.", r"\1.temp_attentions.\2."),
    *openai_unet.RESBLOCK,
)
_TEXT: Final[Rules] = (
    (r"^positional_embedding$", "embeddings.position_embedding.weight"),
    (r"^token_embedding\.", "embeddings.token_embedding."),
    (r"^ln_final\.", "final_layer_norm."),
    (r"^transformer\.resblocks\.", "encoder.layers."),
    (r"\.ln_([12])\.", r".layer_norm\1."),
    (r"\.attn\.", ".self_attn."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)


def unet_weights(published: Mapping[str, Tensor], depth: int, path: Path) -> dict[str, Tensor]:
    """Rename the U-Net's weights to those of ``new_unet``.

    Args:
        published: Weights by their published names, without ``UNET_PREFIX``.
        depth: Residual blocks per level on the way down.
        path: File of the weights, for the message.

    Raises:
        UserError: Two weights get the same name.
    """
    rules = (*openai_unet.levels(depth), *_UNET)
    return {
        # convolutions of one tap along time there, linear maps here
        name: value.squeeze(-1) if name.startswith("transformer_in.proj_") else value
        for name, value in renamed(published, rules, path).items()
    }


def text_weights(published: Mapping[str, Tensor], layers: int, path: Path) -> dict[str, Tensor]:
    """Rename OpenCLIP's text tower to a ``CLIPTextModel`` of its first ``layers`` layers.

    Args:
        published: Weights by their published names, without ``TEXT_PREFIX``.
        layers: Layers that are run; those after them and the projection to images are left out.
        path: File of the weights, for the message.

    Raises:
        UserError: Two weights get the same name.
    """
    unused = rf"^(text_projection$|logit_scale$|encoder\.layers\.{layers}\.)"
    weights: dict[str, Tensor] = {}
    for name, value in renamed(published, _TEXT, path).items():
        if re.match(unused, name):
            continue
        stem, joined, kind = name.partition("in_proj_")
        if joined:
            thirds = zip(("q_proj", "k_proj", "v_proj"), value.chunk(3), strict=False)
            weights |= {f"{stem}{part}.{kind}": third for part, third in thirds}
        else:
            weights[name] = value
    return weights


SOURCE: Final = "VideoCrafter/VideoCrafter2"
(CHECKPOINT,), CONVERTED = VIDEOCRAFTER2.choices
CONFIG: Final = "config.json"
ADVICE: Final = f"take {CHECKPOINT} of {SOURCE}"

# DeepSpeed's prefix of every name
_WRAPPER = "_forward_module."
_END = 2**20


@dataclass(frozen=True)
class Networks:
    """VideoCrafter2's three networks."""

    unet: UNet3DConditionModel
    autoencoder: AutoencoderKL
    text: CLIPTextModel


@dataclass(frozen=True)
class Architecture:
    """Configurations of the three networks; the defaults are those of the published weights.

    Attributes:
        unet: Configuration of diffusers' ``UNet3DConditionModel``.
        autoencoder: Configuration of diffusers' ``AutoencoderKL``, that of Stable Diffusion.
        text: Configuration of transformers' ``CLIPTextModel``: the text tower of OpenCLIP ViT-H/14
            without its last layer, whose input, normed, is what the U-Net reads.
    """

    unet: Mapping[str, Any] = field(
        default_factory=lambda: {
            "block_out_channels": (320, 640, 1280, 1280),
            "layers_per_block": 2,
            "attention_head_dim": 64,
            "cross_attention_dim": 1024,
        }
    )
    autoencoder: Mapping[str, Any] = field(
        default_factory=lambda: {
            "block_out_channels": (128, 256, 512, 512),
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4,
            "layers_per_block": 2,
            # the spread of the autoencoder's latents is brought to about 1
            "scaling_factor": 0.18215,
        }
    )
    text: Mapping[str, Any] = field(
        default_factory=lambda: {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_attention_heads": 16,
            "num_hidden_layers": 23,
            "hidden_act": "gelu",
        }
    )

    def empty(self) -> Networks:
        """Build the networks without memory for their weights."""
        autoencoder: Any = AutoencoderKL
        return Networks(
            materialize(lambda: new_unet(self.unet)),
            materialize(lambda: autoencoder.from_config(dict(self.autoencoder))),
            materialize(lambda: CLIPTextModel(CLIPTextConfig(**self.text))),
        )


PUBLISHED: Final = Architecture()


def load_networks(folder: Path, architecture: Architecture = PUBLISHED) -> Networks:
    """Load the networks of a folder, in the precision of the files; converts the checkpoint first.

    Args:
        folder: Folder with ``model.ckpt`` or with what a conversion wrote.
        architecture: Architecture of a checkpoint that is not converted yet.

    Raises:
        UserError: A file is damaged or of another network, or the folder cannot be written to and
            the checkpoint is not converted yet.
    """
    if not _is_converted(folder):
        convert(folder / CHECKPOINT, architecture)
    path = folder / CONFIG
    record = read_object(path)
    expect_possible(record, path)
    with understood(path):
        empty = Architecture(record["unet"], record["autoencoder"], record["text"]).empty()
    return Networks(
        _load(empty.unet, folder / "unet.safetensors"),
        _load(empty.autoencoder, folder / "autoencoder.safetensors"),
        _with_positions(_load(empty.text, folder / "text.safetensors")),
    )


def convert(checkpoint: Path, architecture: Architecture = PUBLISHED) -> None:
    """Write the weights of a checkpoint beside it, as safetensors files.

    Args:
        checkpoint: ``model.ckpt``.
        architecture: Architecture of its networks.

    Raises:
        UserError: The checkpoint is damaged or another one; nothing has been written then.
    """
    weights = _published(read_pickle(checkpoint), checkpoint)
    _expect_schedule(weights, checkpoint)
    prefixes = (UNET_PREFIX, AUTOENCODER_PREFIX, TEXT_PREFIX)
    known = {*SCHEDULE, *DERIVED}
    strange = [key for key in weights if key not in known and not key.startswith(prefixes)]
    if strange:
        raise UserError(f"{checkpoint} holds more, {summary(strange)}: {ADVICE}")
    parts = translate(weights, architecture, checkpoint)
    for name, network in vars(architecture.empty()).items():
        load_into(network, parts[name], checkpoint, ADVICE)
    folder = checkpoint.parent
    expect_writable(folder / CONFIG)
    # its presence says that the others are whole
    (folder / CONFIG).unlink(missing_ok=True)
    for name, tensors in parts.items():
        write_tensors(folder / f"{name}.safetensors", tensors, {"source": checkpoint.name})
    write_json(folder / CONFIG, {**asdict(architecture), "checkpoint": _mark(checkpoint)})


def translate(
    weights: Mapping[str, Tensor], architecture: Architecture, path: Path
) -> dict[str, dict[str, Tensor]]:
    """Translate a checkpoint to the weights of each of ``Networks``, by name.

    Args:
        weights: Weights by their published names.
        architecture: Architecture of the networks.
        path: File of the weights, for the message.

    Raises:
        UserError: Weights are of strange shapes or there twice.
    """
    unet, autoencoder, text = (
        {key.removeprefix(prefix): one for key, one in weights.items() if key.startswith(prefix)}
        for prefix in (UNET_PREFIX, AUTOENCODER_PREFIX, TEXT_PREFIX)
    )
    empty = architecture.empty()
    with understood(path):
        images = convert_ldm_vae_checkpoint(autoencoder, empty.autoencoder.config)
        if len(images) < len(autoencoder):
            raise UserError(f"{path} holds another network, its autoencoder is strange: {ADVICE}")
        return {
            "unet": unet_weights(unet, empty.unet.config["layers_per_block"], path),
            "autoencoder": images,
            "text": text_weights(text, empty.text.config.num_hidden_layers, path),
        }


def _is_converted(folder: Path) -> bool:
    """Whether a conversion is complete, and of the checkpoint that is there now."""
    if not all((folder / name).is_file() for name in CONVERTED):
        return False
    checkpoint, config = folder / CHECKPOINT, read_object(folder / CONFIG)
    return not checkpoint.is_file() or config.get("checkpoint") == _mark(checkpoint)


def _mark(checkpoint: Path) -> str:
    """Hash the end of a checkpoint, where the checksums of all its tensors are."""
    with checkpoint.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _END))
        return hashlib.sha256(file.read()).hexdigest()


def _load(network: Network, path: Path) -> Network:
    return load_into(network, read_tensors(path), path, f"delete it, and give {CHECKPOINT} again")


def _with_positions(text: CLIPTextModel) -> CLIPTextModel:
    # the one buffer that is stored nowhere
    positions = torch.arange(text.config.max_position_embeddings)[None]
    text.embeddings.register_buffer("position_ids", positions, persistent=False)
    return text


def _published(record: Any, path: Path) -> dict[str, Tensor]:
    """Return the state dict, also where a trainer or DeepSpeed has wrapped it."""
    if isinstance(record, Mapping) and "state_dict" in record:
        return state_dict(record["state_dict"], path)
    if isinstance(record, Mapping) and "module" in record:
        wrapped = state_dict(record["module"], path)
        return {key.removeprefix(_WRAPPER): value for key, value in wrapped.items()}
    return state_dict(record, path)


def _expect_schedule(weights: Mapping[str, Tensor], path: Path) -> None:
    """Refuse weights of other noise levels: they would give other noise, and not fail."""
    for key, ours in (("betas", training_betas()), ("scale_arr", clean_scales())):
        found = weights.get(key)
        if found is None:
            raise UserError(f"{path} holds another network, it lacks {key}: {ADVICE}")
        # the published table of scales goes on past the last timestep
        head = found.double().flatten()[: len(ours)]
        if head.shape != ours.shape or not torch.allclose(head, ours, rtol=0.01, atol=0):
            raise UserError(f"{path} was trained on other noise levels, its {key} differ: {ADVICE}")

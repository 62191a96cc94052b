"""The files that make up a checkpoint in diffusers' layout. Knows names only, loads nothing.

The files of each adapted model's checkpoint. Knows names only, loads nothing.

Writes a model's parts as a folder in diffusers' layout, whole or not at all.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import diffusers

from mmdisco.errors import UserError
from mmdisco.io.files import read_object, write_json

_INDEX = ".index"


@dataclass(frozen=True)
class ComponentFiles:
    """One component: a sub-folder and what must be in it.

    Attributes:
        name: The sub-folder; "" for the checkpoint's own folder.
        always: Files that must be there.
        choices: Sets of files of which one must be there, best first.
        variant: The variant of weights that was asked for, if any.
    """

    name: str
    always: tuple[str, ...]
    choices: tuple[tuple[str, ...], ...] = ()
    variant: str | None = None

    def missing(self, folder: Path) -> list[str]:
        """Relative names of what ``folder`` lacks; of several choices the best one is named."""
        own = folder / self.name
        absent = [name for name in self.always if not (own / name).is_file()]
        if self.choices and not self.chosen(folder):
            begun = [choice for choice in self.choices if (own / choice[0]).is_file()]
            wanted = _with_shards(own, (*begun, self.choices[0])[0])
            absent += [name for name in wanted if not (own / name).is_file()]
        return [str(Path(self.name) / name) for name in absent]

    def chosen(self, folder: Path) -> tuple[str, ...]:
        """The best choice whose files are all there, with its shards; empty if there is none."""
        own = folder / self.name
        for choice in self.choices:
            files = _with_shards(own, choice)
            if all((own / name).is_file() for name in files):
                return files
        return ()

    def variant_of(self, files: tuple[str, ...]) -> str | None:
        """The variant that chosen files are of: the one asked for, or none."""
        return self.variant if any(f".{self.variant}." in name for name in files) else None

    def patterns(self, rank: int) -> list[str]:
        """Patterns of file names for a download of the choices up to ``rank``."""
        wanted = [name for choice in self.choices[: rank + 1] for name in choice]
        shards = [f"{name.split('.')[0]}-*.safetensors" for name in wanted if _INDEX in name]
        return [str(Path(self.name) / name) for name in (*self.always, *wanted, *shards)]


def diffusers_network(name: str, variant: str | None = None) -> ComponentFiles:
    """A network saved by diffusers, in the sub-folder ``name``."""
    return _network(name, "diffusion_pytorch_model", "diffusion_pytorch_model", variant)


def transformers_network(name: str, variant: str | None = None) -> ComponentFiles:
    """A network saved by transformers, in the sub-folder ``name``."""
    return _network(name, "model", "pytorch_model", variant)


def tokenizer(name: str, *slow: str) -> ComponentFiles:
    """A tokenizer: one file, or the files ``slow`` of older checkpoints."""
    return ComponentFiles(name, ("tokenizer_config.json",), (("tokenizer.json",), slow))


def scheduler() -> ComponentFiles:
    """A scheduler: its configuration."""
    return ComponentFiles("scheduler", ("scheduler_config.json",))


def _network(name: str, stem: str, old_stem: str, variant: str | None) -> ComponentFiles:
    choices = [
        (f"{stem}.safetensors",),
        (f"{stem}.safetensors.index.json",),
        (f"{old_stem}.bin",),
    ]
    if variant:
        choices = [
            (f"{stem}.{variant}.safetensors",),
            (f"{stem}.safetensors.index.{variant}.json",),
            *choices,
        ]
    return ComponentFiles(name, ("config.json",), tuple(choices), variant)


def _with_shards(folder: Path, choice: tuple[str, ...]) -> tuple[str, ...]:
    """A choice with the shards that its index names, if it is one and is there."""
    index = folder / choice[0]
    if _INDEX not in choice[0] or not index.is_file():
        return choice
    return (*choice, *sorted(set(read_object(index)["weight_map"].values())))


CLIP_TOKENIZER: Final = tokenizer("", "vocab.json", "merges.txt")
"""A tokenizer of CLIP in a checkpoint of its own."""

VIDEOCRAFTER2: Final = ComponentFiles(
    "",
    (),
    (
        ("model.ckpt",),
        ("unet.safetensors", "autoencoder.safetensors", "text.safetensors", "config.json"),
    ),
)
"""The three networks of VideoCrafter2: as published, or converted."""

AUFFUSION: Final = (
    diffusers_network("unet"),
    diffusers_network("vae"),
    scheduler(),
    transformers_network("text_encoder_0"),
    tokenizer("text_encoder_0", "vocab.json", "merges.txt"),
    ComponentFiles("", ("condition_config.json",)),
    ComponentFiles(
        "condition_adapter_0",
        ("config.json",),
        (("condition_adapter.pt",), ("condition_adapter.safetensors",)),
    ),
    ComponentFiles("vocoder", ("config.json",), (("vocoder.pt",), ("vocoder.safetensors",))),
)
"""Denoiser, autoencoder, scheduler, text encoder, tokenizer, list of encoders, adapter, vocoder."""


def audioldm(variant: str | None = None) -> tuple[ComponentFiles, ...]:
    """Denoiser, autoencoder, vocoder, text encoder, tokenizer, scheduler."""
    return (
        diffusers_network("unet", variant),
        diffusers_network("vae", variant),
        transformers_network("vocoder", variant),
        transformers_network("text_encoder", variant),
        tokenizer("tokenizer", "vocab.json", "merges.txt"),
        scheduler(),
    )


def audioldm2(variant: str | None = None) -> tuple[ComponentFiles, ...]:
    """Denoiser, autoencoder, vocoder, six parts that read prompts, scheduler.

    These are CLAP, T5, projection and language model, then the tokenizers of the first two.
    """
    return (
        diffusers_network("unet", variant),
        diffusers_network("vae", variant),
        transformers_network("vocoder", variant),
        transformers_network("text_encoder", variant),
        transformers_network("text_encoder_2", variant),
        diffusers_network("projection_model", variant),
        transformers_network("language_model", variant),
        tokenizer("tokenizer", "vocab.json", "merges.txt"),
        tokenizer("tokenizer_2", "spiece.model"),
        scheduler(),
    )


def image_model(variant: str | None = None) -> tuple[ComponentFiles, ...]:
    """Denoiser, autoencoder, text encoder, tokenizer, scheduler: Stable Diffusion and its kin."""
    return (
        diffusers_network("unet", variant),
        diffusers_network("vae", variant),
        transformers_network("text_encoder", variant),
        tokenizer("tokenizer", "vocab.json", "merges.txt"),
        scheduler(),
    )


def motion_adapter(variant: str | None = None) -> ComponentFiles:
    """The motion modules of AnimateDiff, in a checkpoint of their own."""
    return diffusers_network("", variant)


def save_parts(folder: Path, pipeline: str, parts: Mapping[str, Any]) -> None:
    """Write every part into its sub-folder, and ``model_index.json``.

    Args:
        folder: Must not be there, or be empty.
        pipeline: The diffusers pipeline that the parts make up.
        parts: Sub-folder to a network, tokenizer or scheduler.

    Raises:
        UserError: The folder holds something, or cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} holds something already: name a new folder")
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        beside.mkdir(parents=True)
        for name, part in parts.items():
            part.save_pretrained(str(beside / name))
        write_json(beside / "model_index.json", _index(pipeline, parts))
        if folder.exists():
            folder.rmdir()
        beside.rename(folder)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _index(pipeline: str, parts: Mapping[str, Any]) -> dict[str, Any]:
    classes = {
        name: [type(part).__module__.split(".")[0], type(part).__name__]
        for name, part in parts.items()
    }
    return {"_class_name": pipeline, "_diffusers_version": diffusers.__version__, **classes}

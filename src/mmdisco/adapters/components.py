"""Files of each model's checkpoint, in diffusers' layout. Knows names only, loads nothing."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from mmdisco.io.files import read_object

_INDEX: Final = ".index"
_WEIGHTS: Final = (".safetensors", ".bin")


@dataclass(frozen=True)
class ComponentFiles:
    """Files of one component.

    Attributes:
        name: Sub-folder; "" for the checkpoint's own folder.
        always: Required files.
        choices: Sets of files of which one is required, best first.
        others: Patterns of files that some checkpoints have.
    """

    name: str
    always: tuple[str, ...]
    choices: tuple[tuple[str, ...], ...] = ()
    others: tuple[str, ...] = ()

    @property
    def outline(self) -> "ComponentFiles":
        """The same component without its weights: its configuration, its vocabulary."""
        kept = (one for one in self.choices if not any(end in one[0] for end in _WEIGHTS))
        return replace(self, choices=tuple(kept))

    def missing(self, folder: Path) -> list[str]:
        """List the files that ``folder`` lacks; of several choices, those of the best."""
        own = folder / self.name
        absent = [name for name in self.always if not (own / name).is_file()]
        if self.choices and not self.chosen(folder):
            begun = [choice for choice in self.choices if (own / choice[0]).is_file()]
            wanted = _with_shards(own, (*begun, self.choices[0])[0])
            absent += [name for name in wanted if not (own / name).is_file()]
        return [str(Path(self.name) / name) for name in absent]

    def chosen(self, folder: Path) -> tuple[str, ...]:
        """Return the best complete choice with its shards; empty if there is none."""
        own = folder / self.name
        for choice in self.choices:
            files = _with_shards(own, choice)
            if all((own / name).is_file() for name in files):
                return files
        return ()

    def patterns(self, there: Collection[str]) -> list[str]:
        """Return patterns of the best choice in a repository with the files ``there``."""
        own = f"{self.name}/" if self.name else ""
        complete = (one for one in self.choices if all(own + name in there for name in one))
        choice = next(complete, ())
        shards = [f"{name.split('.')[0]}-*.safetensors" for name in choice if _INDEX in name]
        return [own + name for name in (*self.always, *choice, *shards, *self.others)]


def diffusers_network(name: str) -> ComponentFiles:
    """List the files of a network saved by diffusers in the sub-folder ``name``."""
    return _network(name, "diffusion_pytorch_model", "diffusion_pytorch_model")


def transformers_network(name: str) -> ComponentFiles:
    """List the files of a network saved by transformers in the sub-folder ``name``."""
    return _network(name, "model", "pytorch_model")


def tokenizer(name: str, *slow: str) -> ComponentFiles:
    """List the files of a tokenizer: one, or the files ``slow`` of older checkpoints."""
    return ComponentFiles(name, ("tokenizer_config.json",), (("tokenizer.json",), slow))


def scheduler() -> ComponentFiles:
    """List the one file of a scheduler."""
    return ComponentFiles("scheduler", ("scheduler_config.json",))


def published_file(name: str) -> ComponentFiles:
    """List a published file, or what ``mmdisco.io.conversion`` converts it to."""
    converted = (f"{name}.converted/model.safetensors", f"{name}.converted/config.json")
    return ComponentFiles("", (), ((name,), converted))


def tokenizer_of_any_kind(name: str) -> ComponentFiles:
    """List the files of a tokenizer whose kind is not known."""
    return ComponentFiles(name, ("tokenizer_config.json",), others=("*",))


def pipeline_index() -> ComponentFiles:
    """List the one file that names the class and the components of a pipeline."""
    return ComponentFiles("", ("model_index.json",))


def _network(name: str, stem: str, old_stem: str) -> ComponentFiles:
    choices = (f"{stem}.safetensors",), (f"{stem}.safetensors.index.json",), (f"{old_stem}.bin",)
    return ComponentFiles(name, ("config.json",), choices)


def _with_shards(folder: Path, choice: tuple[str, ...]) -> tuple[str, ...]:
    """Add the shards that the index of a choice names, where it has one."""
    index = folder / choice[0]
    if _INDEX not in choice[0] or not index.is_file():
        return choice
    return (*choice, *sorted(set(read_object(index)["weight_map"].values())))


CLIP_TOKENIZER: Final = tokenizer("", "vocab.json", "merges.txt")
"""CLIP's tokenizer in a checkpoint of its own."""

VIDEOCRAFTER2: Final = ComponentFiles(
    "",
    (),
    (
        ("model.ckpt",),
        ("unet.safetensors", "autoencoder.safetensors", "text.safetensors", "config.json"),
    ),
)
"""Networks of VideoCrafter2: as published, or converted."""

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


AUDIOLDM: Final = (
    diffusers_network("unet"),
    diffusers_network("vae"),
    transformers_network("vocoder"),
    transformers_network("text_encoder"),
    tokenizer("tokenizer", "vocab.json", "merges.txt"),
    scheduler(),
)
"""Components of AudioLDM by the names of its pipeline."""

AUDIOLDM2: Final = (
    *AUDIOLDM,
    transformers_network("text_encoder_2"),
    diffusers_network("projection_model"),
    transformers_network("language_model"),
    tokenizer("tokenizer_2", "spiece.model"),
)
"""Components of AudioLDM2, except the one that ranks its results."""

IMAGE_MODEL: Final = (
    diffusers_network("unet"),
    diffusers_network("vae"),
    transformers_network("text_encoder"),
    tokenizer("tokenizer", "vocab.json", "merges.txt"),
    scheduler(),
)
"""Components of Stable Diffusion and its kin."""

TEXT_TO_VIDEO: Final = (
    pipeline_index(),
    diffusers_network("transformer"),
    diffusers_network("vae"),
    transformers_network("text_encoder"),
    tokenizer("tokenizer", "spiece.model"),
    scheduler(),
)
"""Components of Wan with one transformer, and of CogVideoX."""

HUNYUANVIDEO15: Final = (
    pipeline_index(),
    diffusers_network("transformer"),
    diffusers_network("vae"),
    transformers_network("text_encoder"),
    tokenizer_of_any_kind("tokenizer"),
    transformers_network("text_encoder_2"),
    tokenizer_of_any_kind("tokenizer_2"),
    scheduler(),
    ComponentFiles("guider", ("guider_config.json",)),
)
"""Components of HunyuanVideo 1.5."""

STABLE_AUDIO3: Final = (
    pipeline_index(),
    diffusers_network("transformer"),
    diffusers_network("vae"),
    diffusers_network("duration_embedder"),
    transformers_network("text_encoder"),
    tokenizer_of_any_kind("tokenizer"),
    scheduler(),
)
"""Components of Stable Audio 3."""

STABLE_AUDIO: Final = (
    pipeline_index(),
    diffusers_network("transformer"),
    diffusers_network("vae"),
    diffusers_network("projection_model"),
    transformers_network("text_encoder"),
    tokenizer("tokenizer", "spiece.model"),
    scheduler(),
)
"""Components of Stable Audio 1."""

MOTION_ADAPTER: Final = diffusers_network("")
"""AnimateDiff's motion modules, a checkpoint of their own."""

"""The files that make up a checkpoint in diffusers' layout. Knows names only, loads nothing."""

from dataclasses import dataclass
from pathlib import Path

from mmdisco.files import read_object

_INDEX = ".index"


@dataclass(frozen=True)
class Part:
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


def diffusers_network(name: str, variant: str | None = None) -> Part:
    """A network saved by diffusers, in the sub-folder ``name``."""
    return _network(name, "diffusion_pytorch_model", "diffusion_pytorch_model", variant)


def transformers_network(name: str, variant: str | None = None) -> Part:
    """A network saved by transformers, in the sub-folder ``name``."""
    return _network(name, "model", "pytorch_model", variant)


def tokenizer(name: str, *slow: str) -> Part:
    """A tokenizer: one file, or the files ``slow`` of older checkpoints."""
    return Part(name, ("tokenizer_config.json",), (("tokenizer.json",), slow))


def scheduler() -> Part:
    """A scheduler: its configuration."""
    return Part("scheduler", ("scheduler_config.json",))


def _network(name: str, stem: str, old_stem: str, variant: str | None) -> Part:
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
    return Part(name, ("config.json",), tuple(choices), variant)


def _with_shards(folder: Path, choice: tuple[str, ...]) -> tuple[str, ...]:
    """A choice with the shards that its index names, if it is one and is there."""
    index = folder / choice[0]
    if _INDEX not in choice[0] or not index.is_file():
        return choice
    return (*choice, *sorted(set(read_object(index)["weight_map"].values())))

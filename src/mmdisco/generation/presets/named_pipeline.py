"""Pipelines of diffusers by a folder or an id on the hub, loaded with or without their weights."""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from inspect import Parameter, signature
from pathlib import Path
from typing import Any, Final

from typing_extensions import override

from mmdisco.adapters.stock.dry_run import dry_pipeline
from mmdisco.adapters.stock.folders import INDEX, PipelineFolder
from mmdisco.errors import UserError
from mmdisco.generation.config import SystemConfig
from mmdisco.generation.presets.registry import CheckpointRef, expect_files, runtime_of

_ID: Final = re.compile(r"[\w.-]+/[\w.-]+")


class PipelineLoader(ABC):
    """Makes a pipeline of its folder."""

    @abstractmethod
    def needed(self, ref: CheckpointRef) -> CheckpointRef:
        """Return a checkpoint with the files that must be there."""

    @abstractmethod
    def load(self, folder: PipelineFolder, options: SystemConfig) -> Any:
        """Return the pipeline.

        Raises:
            UserError: A file is damaged.
        """


class WithWeights(PipelineLoader):
    """Loads whole pipelines."""

    @override
    def needed(self, ref: CheckpointRef) -> CheckpointRef:
        return ref

    @override
    def load(self, folder: PipelineFolder, options: SystemConfig) -> Any:
        return folder.load(options.torch_dtype, runtime_of(options))


class Outline(PipelineLoader):
    """Builds pipelines of their configurations, with networks that compute shapes alone."""

    @override
    def needed(self, ref: CheckpointRef) -> CheckpointRef:
        return replace(ref, parts=tuple(one.outline for one in ref.parts))

    @override
    def load(self, folder: PipelineFolder, options: SystemConfig) -> Any:
        return dry_pipeline(folder.outline(options.torch_dtype, runtime_of(options)))[0]


@dataclass(frozen=True)
class NamedPipeline:
    """A pipeline, read at the first use.

    Attributes:
        ref: Its checkpoint.
        options: Options of the system that it belongs to.
        title: Name of the system, for messages.
        loader: Makes the pipeline of its files.
    """

    ref: CheckpointRef
    options: SystemConfig
    title: str
    loader: PipelineLoader

    @cached_property
    def folder(self) -> PipelineFolder:
        """Its folder.

        Raises:
            UserError: There is none.
        """
        ref = self.loader.needed(self.ref)
        expect_files((replace(ref, parts=(INDEX,)),), self.options, self.title)
        return PipelineFolder.read(ref.find(self.options).folder)

    @property
    def mark(self) -> str:
        """Checksum of the weights."""
        return self.ref.mark_in(self.folder.folder)

    @property
    def record(self) -> dict[str, str]:
        """What names it: id or folder, class, and the checksum of its weights."""
        name = self.ref.source if self.ref.on_hub else self.ref.folder
        return {"model": name, "pipeline": self.folder.kind, "sha256": self.mark}

    def load(self) -> Any:
        """Load it.

        Raises:
            UserError: A file is missing or damaged.
        """
        expect_here([self])
        return self.loader.load(self.folder, self.options)

    def default(self, argument: str) -> Any:
        """Return the default of an argument of its call; ``None`` if it has no such argument."""
        found = signature(self.folder.pipeline_class.__call__).parameters.get(argument)
        return None if found is None or found.default is Parameter.empty else found.default

    def expect_promptable(self) -> None:
        """Check that a call needs no more than a prompt.

        Raises:
            UserError: It does.
        """
        lacking = [
            name
            for name, one in signature(self.folder.pipeline_class.__call__).parameters.items()
            if one.default is Parameter.empty
            and one.kind is Parameter.POSITIONAL_OR_KEYWORD
            and name not in ("self", "prompt")
        ]
        if lacking:
            raise UserError(
                f"{self.folder.kind} needs {', '.join(lacking)}, which no option gives: name a "
                "pipeline of texts, or use JointPipeline in Python"
            )


def expect_here(pipelines: Sequence[NamedPipeline]) -> None:
    """Check that all files of some pipelines of a system are here.

    Raises:
        UserError: Some are missing; the message names each with its folder and source.
    """
    refs = [one.loader.needed(one.ref) for one in pipelines]
    expect_files(refs, pipelines[0].options, pipelines[0].title)


def named(role: str, name: str, options: SystemConfig) -> CheckpointRef:
    """Return the checkpoint of a folder, or of an id whose index is here or on the hub.

    Raises:
        UserError: There is no such folder, and the hub gives no pipeline of that id.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        folder, where = str(path.resolve()), "the place that the folder was copied from"
        parts = PipelineFolder.read(path).parts
        return CheckpointRef(role, where, parts, 0.0, "", folder, on_hub=False)
    if not _ID.fullmatch(name):
        raise UserError(
            f"--{role}-model {name}: no such folder, and no id of the Hugging Face hub either"
        )
    index = CheckpointRef(role, name, (INDEX,), 0.0, "", name)
    here = index.find(options).folder
    if INDEX.missing(here):
        raise UserError(
            f"--{role}-model {name}: there is no such folder, and the hub gives no pipeline of "
            f"that id; check the name, or put the pipeline into {options.folder / name}"
        )
    return replace(index, parts=PipelineFolder.read(here).parts)

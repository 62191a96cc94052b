"""Folders of whole pipelines: what lies in one, known before anything is loaded; and loading it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import diffusers
import torch
from diffusers import DiffusionPipeline
from diffusers.pipelines.pipeline_loading_utils import simple_get_class_obj
from safetensors import SafetensorError
from torch import nn
from transformers import GPT2LMHeadModel

from mmdisco.adapters.checkpoint import expect_possible, materialize
from mmdisco.adapters.components import (
    ComponentFiles,
    diffusers_network,
    pipeline_index,
    scheduler,
    tokenizer_of_any_kind,
    transformers_network,
)
from mmdisco.adapters.device import Runtime, ran_out
from mmdisco.adapters.stock.families import AudioFamily, VideoFamily, family_of_class
from mmdisco.adapters.stock.pretrained import quiet
from mmdisco.errors import UserError
from mmdisco.io.files import read_object

INDEX: Final = pipeline_index()
_FAULTS: Final = (
    AttributeError,
    ImportError,
    KeyError,
    OSError,
    RuntimeError,
    SafetensorError,
    TypeError,
    ValueError,
)
# GPT2Model in cvssp/audioldm2, which generates nothing
_RENAMED: Final[Mapping[tuple[str, str], Any]] = {
    ("AudioLDM2Pipeline", "language_model"): GPT2LMHeadModel
}


@dataclass(frozen=True)
class PipelineFolder:
    """A folder that diffusers' ``save_pretrained`` wrote.

    Attributes:
        folder: The folder.
        components: Library and class of each component by its name, those apart that are none.
        kind: Name of the pipeline's class.
    """

    folder: Path
    components: Mapping[str, tuple[str, str]]
    kind: str

    @staticmethod
    def read(folder: Path) -> "PipelineFolder":
        """Read ``model_index.json``.

        Raises:
            UserError: There is none, or it names no class.
        """
        path = folder / "model_index.json"
        if not path.is_file():
            raise UserError(
                f"{folder} holds no pipeline of diffusers, it has no model_index.json: give a "
                "folder that save_pretrained wrote"
            )
        index = read_object(path)
        components = {
            name: (str(entry[0]), str(entry[1]))
            for name, entry in index.items()
            if isinstance(entry, list) and len(entry) == 2 and all(entry)
        }
        return PipelineFolder(folder, components, str(index.get("_class_name")))

    @property
    def parts(self) -> tuple[ComponentFiles, ...]:
        """Files of every component."""
        return (INDEX, *(_files(name, *entry) for name, entry in self.components.items()))

    def family(self, families: Sequence[Any]) -> VideoFamily | AudioFamily:
        """Return the family of the pipeline.

        Raises:
            UserError: It has no scheduler, or ``family_of_class`` refuses it.
        """
        if "scheduler" not in self.components:
            raise UserError(f"{self.kind} in {self.folder} has no scheduler: give another pipeline")
        return family_of_class(self.pipeline_class, families)

    @property
    def pipeline_class(self) -> type[Any]:
        """Class of the pipeline; an empty one of its name where diffusers has none."""
        return getattr(diffusers, self.kind, None) or type(self.kind, (), {})

    @property
    def guidance_scale(self) -> float | None:
        """Scale of a guider that lies in the folder."""
        if "guider" not in self.components:
            return None
        config = read_object(self.folder / "guider" / "guider_config.json")
        return float(config.get("guidance_scale", 1.0))

    def load(self, dtype: torch.dtype, runtime: Runtime) -> Any:
        """Load the pipeline, its networks frozen, in evaluation mode and on the device.

        Raises:
            UserError: A file is damaged or missing, or the pipeline has no such option.
        """
        pipe = self._assembled(lambda: self._own_parts(dtype), dtype, runtime)
        if not runtime.offload:
            with ran_out(f"the loading of {self.kind}"):
                return pipe.to(runtime.device)
        if runtime.device.type == "cpu":
            raise UserError("--offload has no effect on the CPU: leave it out")
        pipe.enable_model_cpu_offload(device=runtime.device)
        return pipe

    def outline(self, dtype: torch.dtype, runtime: Runtime) -> Any:
        """Build the pipeline with networks on the meta device, which have shapes and no weights.

        Configurations, vocabularies and schedulers are read alone.

        Raises:
            UserError: As ``load`` does.
        """
        return self._assembled(lambda: self._outlines(dtype), dtype, runtime)

    def _assembled(
        self, parts: Callable[[], dict[str, Any]], dtype: torch.dtype, runtime: Runtime
    ) -> Any:
        """Load what ``parts`` does not make; networks are frozen and in evaluation mode."""
        # of its own class, which alone takes optional components that are made here
        loader: Any = getattr(diffusers, self.kind, DiffusionPipeline)
        try:
            with quiet(), ran_out(f"the loading of {self.kind}"):
                pipe = loader.from_pretrained(
                    self.folder, dtype=dtype, local_files_only=True, **parts()
                )
        except _FAULTS as error:
            said = " ".join(str(error).split())[:300] or type(error).__name__
            raise UserError(f"{self.folder} cannot be loaded: {said}") from error
        pipe.set_progress_bar_config(disable=True)
        for part in pipe.components.values():
            if isinstance(part, nn.Module):
                part.eval().requires_grad_(requires_grad=False)
        runtime.divide(pipe.vae)
        return pipe

    def _own_parts(self, dtype: torch.dtype) -> dict[str, Any]:
        """Load what published folders name by a class that their pipeline no longer takes."""
        return {
            name: kind.from_pretrained(self.folder / name, dtype=dtype, local_files_only=True)
            for (pipeline, name), kind in _RENAMED.items()
            if pipeline == self.kind
        }

    def _outlines(self, dtype: torch.dtype) -> dict[str, Any]:
        kinds = {name: self._class(name) for name in self.components}
        return {
            name: _outline(kind, self.folder / name, dtype)
            for name, kind in kinds.items()
            if issubclass(kind, nn.Module)
        }

    def _class(self, name: str) -> Any:
        """Return the class of a component."""
        return _RENAMED.get((self.kind, name)) or simple_get_class_obj(*self.components[name])


def _outline(kind: Any, path: Path, dtype: torch.dtype) -> nn.Module:
    """Return a network of a configuration on the meta device."""
    expect_possible(read_object(path / "config.json"), path / "config.json")
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        if hasattr(kind, "load_config"):  # of diffusers
            config = kind.load_config(path, local_files_only=True)
            return materialize(lambda: kind.from_config(config))
        config = kind.config_class.from_pretrained(path, local_files_only=True)
        return materialize(lambda: kind(config))
    finally:
        torch.set_default_dtype(before)


def _files(name: str, library: str, kind: str) -> ComponentFiles:
    if "Scheduler" in kind:
        return scheduler()
    if "Tokenizer" in kind:
        return tokenizer_of_any_kind(name)
    if any(word in kind for word in ("Processor", "FeatureExtractor", "Guid")):
        return ComponentFiles(name, (), others=("*",))
    return (transformers_network if library == "transformers" else diffusers_network)(name)

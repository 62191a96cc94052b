"""Folders of whole pipelines: what lies in one, known before anything is loaded; and loading it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import diffusers
import torch
from diffusers import DiffusionPipeline
from safetensors import SafetensorError
from torch import nn
from transformers import GPT2LMHeadModel

from mmdisco.adapters.components import (
    ComponentFiles,
    diffusers_network,
    pipeline_index,
    scheduler,
    tokenizer_of_any_kind,
    transformers_network,
)
from mmdisco.adapters.device import Runtime
from mmdisco.adapters.stock.families import AudioFamily, VideoFamily, family_of_class
from mmdisco.adapters.stock.memory import ran_out
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
        loader: Any = DiffusionPipeline
        try:
            with quiet(), ran_out(f"the loading of {self.kind}"):
                own = self._own_parts(dtype)
                pipe = loader.from_pretrained(
                    self.folder, dtype=dtype, local_files_only=True, **own
                )
        except _FAULTS as error:
            said = " ".join(str(error).split())[:300] or type(error).__name__
            raise UserError(f"{self.folder} cannot be loaded: {said}") from error
        pipe.set_progress_bar_config(disable=True)
        for part in pipe.components.values():
            if isinstance(part, nn.Module):
                part.eval().requires_grad_(requires_grad=False)
        for wanted, name in (
            (runtime.vae_slicing, "enable_slicing"),
            (runtime.vae_tiling, "enable_tiling"),
        ):
            if wanted and not hasattr(pipe.vae, name):
                option = f"--vae-{name.removeprefix('enable_')}"
                raise UserError(f"{type(pipe.vae).__name__} has no {name}: leave {option} out")
            if wanted:
                getattr(pipe.vae, name)()
        if not runtime.offload:
            with ran_out(f"the loading of {self.kind}"):
                return pipe.to(runtime.device)
        if runtime.device.type == "cpu":
            raise UserError("--offload has no effect on the CPU: leave it out")
        pipe.enable_model_cpu_offload(device=runtime.device)
        return pipe

    def _own_parts(self, dtype: torch.dtype) -> dict[str, Any]:
        """Load what published folders name by a class that their pipeline no longer takes."""
        if self.kind != "AudioLDM2Pipeline":
            return {}
        kind: Any = GPT2LMHeadModel  # GPT2Model in cvssp/audioldm2, which generates nothing
        where = self.folder / "language_model"
        return {"language_model": kind.from_pretrained(where, dtype=dtype, local_files_only=True)}


def _files(name: str, library: str, kind: str) -> ComponentFiles:
    if "Scheduler" in kind:
        return scheduler()
    if "Tokenizer" in kind:
        return tokenizer_of_any_kind(name)
    if any(word in kind for word in ("Processor", "FeatureExtractor", "Guid")):
        return ComponentFiles(name, (), others=("*",))
    return (transformers_network if library == "transformers" else diffusers_network)(name)

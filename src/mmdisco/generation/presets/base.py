"""What a preset is: parts with their homes, settings to begin with, and a pair to be built."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mmdisco.adapters.components import ComponentFiles
from mmdisco.core.denoiser import JointModel
from mmdisco.core.discriminator import Discriminator
from mmdisco.generation.presets.options import DTYPES, BuildOptions
from mmdisco.generation.system import JointSystem, SamplingDefaults
from mmdisco.media.conditioning_clip import ClipSpec

if TYPE_CHECKING:
    from mmdisco.adapters.checkpoint import Checkpoint
    from mmdisco.adapters.device import Runtime

_ENDS: Final = 1 << 20  # bytes of either end of a file that its mark is made of


@dataclass(frozen=True)
class CheckpointRef:
    """One checkpoint of a preset.

    Attributes:
        role: What it is for.
        source: An id of the Hugging Face hub, or the address of a page.
        parts: Its files; none where they come with the package.
        gigabytes: Size in single precision, from the published number of parameters.
        licence: As its page states it.
        folder: Where its files are in the folder of weights. One with an id may be there, and is in
            the hub's cache otherwise.
        on_hub: Whether ``source`` is an id.
    """

    role: str
    source: str
    parts: tuple[ComponentFiles, ...]
    gigabytes: float
    licence: str
    folder: str
    on_hub: bool = True

    def find(self, options: BuildOptions) -> "Checkpoint":
        """The checkpoint: in the folder of weights, in the hub's cache, or downloaded into that.

        Where the hub does not answer either, it is the folder that files may be put into.
        """
        from mmdisco.adapters.checkpoint import Checkpoint, find

        own, dtype = options.folder / self.folder, DTYPES[options.dtype]
        address = f"https://huggingface.co/{self.source}" if self.on_hub else self.source
        if self.on_hub and self._lacks(own):
            elsewhere = find(self.source, self.parts, dtype, self.source)
            # a download that was stopped is named where it is, so that it can be gone on with
            if not self._lacks(elsewhere.folder) or (
                elsewhere.folder.is_dir() and not own.is_dir()
            ):
                return elsewhere
        return Checkpoint(own, address, dtype)

    def present(self, options: BuildOptions) -> bool:
        """Whether all its files are here; nothing is downloaded."""
        from mmdisco.adapters.checkpoint import cached

        if not self._lacks(options.folder / self.folder):
            return True
        return self.on_hub and not self._lacks(cached(self.source, self.parts))

    def _lacks(self, folder: Path) -> bool:
        return any(part.missing(folder) for part in self.parts)

    def mark(self, options: BuildOptions) -> str:
        """SHA-256 of names, sizes and both ends of all weights: enough to tell others apart."""
        folder = self.find(options).folder
        total = hashlib.sha256()
        for part in self.parts:
            for name in part.chosen(folder):
                path = folder / part.name / name
                total.update(f"{part.name}/{name} {path.stat().st_size}".encode())
                total.update(_ends(path))
        return total.hexdigest()


class Preset(ABC):
    """A named pair."""

    @property
    @abstractmethod
    def name(self) -> str:
        """As a command line has it."""

    @property
    @abstractmethod
    def components(self) -> tuple[CheckpointRef, ...]:
        """Its checkpoints, the discriminator's last."""

    @property
    @abstractmethod
    def form(self) -> ClipSpec:
        """The clips it makes unless told otherwise."""

    @property
    @abstractmethod
    def memory(self) -> float:
        """Rough need of memory in GB, for one clip in single precision."""

    @property
    @abstractmethod
    def remark(self) -> str:
        """What else is to be known before it is used; may be empty."""

    @abstractmethod
    def sampling(self) -> SamplingDefaults:
        """The settings that generation begins with.

        Raises:
            UserError: They are in a file that cannot be read.
        """

    @abstractmethod
    def as_released(self) -> "Preset":
        """The same as the released code runs it, what it does wrong included.

        Raises:
            UserError: The release has no such pair.
        """

    @abstractmethod
    def pair(self, options: BuildOptions) -> JointSystem:
        """The pair, nothing loaded yet.

        Raises:
            UserError: The preset has no such option.
        """

    def present(self, options: BuildOptions) -> tuple[bool, ...]:
        """Whether the files of each component are here."""
        return tuple(component.present(options) for component in self.components)

    def build(
        self, options: BuildOptions, seeds: Sequence[int] = ()
    ) -> tuple[JointModel, Discriminator]:
        """The bases and their discriminator, loaded.

        Raises:
            UserError: Files are missing or damaged, or the preset has no such option.
        """
        pair = self.pair(options)
        return pair.model(seeds), pair.discriminator()


def runtime_of(options: BuildOptions) -> "Runtime":
    """Device and memory of adapted models.

    Raises:
        UserError: The device cannot be used.
    """
    from mmdisco.adapters.device import Runtime

    device = options.torch_device()
    return Runtime(device, options.offload, options.vae_slicing, options.vae_tiling)


def expect_files(components: Sequence[CheckpointRef], options: BuildOptions, name: str) -> None:
    """Make sure that all files are here.

    Raises:
        UserError: Some are missing; it names each, its folder and its source.
    """
    from mmdisco.adapters.checkpoint import expect_complete

    expect_complete([(one.find(options), one.parts) for one in components], name)


def form_of(usual: ClipSpec, options: BuildOptions) -> ClipSpec:
    """The clips that options ask for, ``usual`` where they are silent."""
    return ClipSpec(
        seconds=options.seconds or usual.seconds,
        fps=options.fps or usual.fps,
        size=options.size or usual.size,
        sample_rate=usual.sample_rate,
    )


def _ends(path: Path) -> bytes:
    with path.open("rb") as file:
        head = file.read(_ENDS)
        file.seek(max(0, path.stat().st_size - _ENDS))
        return head + file.read(_ENDS)

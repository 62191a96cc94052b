"""Presets: checkpoints and where they lie, default settings, the system to build; and all by name.

The module of a preset is imported when the preset is asked for.
"""

import hashlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mmdisco.errors import UserError
from mmdisco.generation.config import PRESET, SystemConfig
from mmdisco.generation.system import JointSystem, SamplingDefaults
from mmdisco.media.clip import ClipSpec

if TYPE_CHECKING:
    from mmdisco.adapters.checkpoint import Checkpoint
    from mmdisco.adapters.components import ComponentFiles
    from mmdisco.adapters.device import Runtime
    from mmdisco.core.denoiser import JointModel
    from mmdisco.core.discriminator import Discriminator

_ENDS: Final = 1 << 20  # bytes hashed at either end of a file


@dataclass(frozen=True)
class CheckpointRef:
    """A checkpoint of a preset.

    Attributes:
        role: Purpose of the checkpoint, for listings.
        source: Id on the Hugging Face hub, or the address of a page.
        parts: Its files; none where they come with the package.
        gigabytes: Size in single precision, from the published number of parameters.
        licence: Licence as its page states it.
        folder: Subfolder of the weights folder for its files. A checkpoint with an id may lie
            there, and otherwise in the hub's cache.
        on_hub: Whether ``source`` is an id.
    """

    role: str
    source: str
    parts: "tuple[ComponentFiles, ...]"
    gigabytes: float
    licence: str
    folder: str
    on_hub: bool = True

    def find(self, options: SystemConfig) -> "Checkpoint":
        """Locate the checkpoint: weights folder, hub cache, or a download into that cache.

        Where the hub does not answer either, returns the subfolder of the weights folder that the
        files may be put into.
        """
        from mmdisco.adapters.checkpoint import Checkpoint, find

        own, dtype = options.folder / self.folder, options.torch_dtype
        address = f"https://huggingface.co/{self.source}" if self.on_hub else self.source
        if self.on_hub and self._lacks(own):
            elsewhere = find(self.source, self.parts, dtype, self.source)
            # an interrupted download is reported at its own place, so that it can be resumed
            if not self._lacks(elsewhere.folder) or (
                elsewhere.folder.is_dir() and not own.is_dir()
            ):
                return elsewhere
        return Checkpoint(own, address, dtype)

    def present(self, options: SystemConfig) -> bool:
        """Check whether all its files are here, without downloading."""
        from mmdisco.adapters.checkpoint import cached

        if not self._lacks(options.folder / self.folder):
            return True
        return self.on_hub and not self._lacks(cached(self.source, self.parts))

    def _lacks(self, folder: Path) -> bool:
        return any(part.missing(folder) for part in self.parts)

    def mark(self, options: SystemConfig) -> str:
        """Hash names, sizes and both ends of all weights (SHA-256), to notice other weights."""
        return self.mark_in(self.find(options).folder)

    def mark_in(self, folder: Path) -> str:
        """Return the same of the weights in a folder."""
        total = hashlib.sha256()
        for part in self.parts:
            for name in part.chosen(folder):
                path = folder / part.name / name
                total.update(f"{part.name}/{name} {path.stat().st_size}".encode())
                total.update(_ends(path))
        return total.hexdigest()


class Preset(ABC):
    """A named system with its defaults."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name on the command line."""

    @property
    @abstractmethod
    def components(self) -> tuple[CheckpointRef, ...]:
        """Checkpoints, the discriminator's last."""

    @property
    @abstractmethod
    def form(self) -> ClipSpec:
        """Format of the clips it makes by default."""

    @property
    @abstractmethod
    def memory(self) -> float:
        """Rough memory requirement in GB, for one clip in single precision."""

    @property
    @abstractmethod
    def remark(self) -> str:
        """Note to the user, for listings; may be empty."""

    @abstractmethod
    def sampling(self) -> SamplingDefaults:
        """Return the default settings of generation.

        Raises:
            UserError: They are in a file that cannot be read.
        """

    @abstractmethod
    def as_released(self) -> "Preset":
        """Return the preset as the released code runs it, with its mistakes.

        Raises:
            UserError: The release has no such pair.
        """

    @abstractmethod
    def pair(self, options: SystemConfig) -> JointSystem:
        """Return the system, nothing loaded yet.

        Raises:
            UserError: The preset has no such option.
        """

    def present(self, options: SystemConfig) -> tuple[bool, ...]:
        """Check for each component whether its files are here."""
        return tuple(component.present(options) for component in self.components)

    def build(
        self, options: SystemConfig, seeds: Sequence[int] = ()
    ) -> "tuple[JointModel, Discriminator]":
        """Load the base models and their discriminator.

        Raises:
            UserError: Files are missing or damaged, or the preset has no such option.
        """
        pair = self.pair(options)
        return pair.model(seeds), pair.discriminator()


def runtime_of(options: SystemConfig) -> "Runtime":
    """Return device and memory options of adapted models.

    Raises:
        UserError: The device cannot be used.
    """
    from mmdisco.adapters.device import Runtime

    device = options.torch_device()
    return Runtime(device, options.offload, options.vae_slicing, options.vae_tiling)


def expect_files(components: Sequence[CheckpointRef], options: SystemConfig, name: str) -> None:
    """Check that all files are here.

    Raises:
        UserError: Some are missing; the message names each with its folder and source.
    """
    from mmdisco.adapters.checkpoint import expect_complete

    expect_complete([(one.find(options), one.parts) for one in components], name)


def form_of(usual: ClipSpec, options: SystemConfig) -> ClipSpec:
    """Override the clip format ``usual`` by the options that are set."""
    fps = options.fps or usual.fps
    frames = None if options.frames is None else options.frames / fps
    return ClipSpec(
        seconds=options.seconds or frames or usual.seconds,
        fps=fps,
        size=options.size or usual.size,
        sample_rate=usual.sample_rate,
    )


def _ends(path: Path) -> bytes:
    with path.open("rb") as file:
        head = file.read(_ENDS)
        file.seek(max(0, path.stat().st_size - _ENDS))
        return head + file.read(_ENDS)


_HERE: Final = __name__.rpartition(".")[0]

PRESETS: Final[dict[str, str]] = {
    PRESET: f"{_HERE}.miniature:EMBEDDED",
    "game": f"{_HERE}.miniature:GAME",
    "audioldm-animatediff": f"{_HERE}.text_pairs:AUDIOLDM_ANIMATEDIFF",
    "auffusion-videocrafter2": f"{_HERE}.text_pairs:AUFFUSION_VIDEOCRAFTER2",
    "mmdiffusion-landscape": f"{_HERE}.mmdiffusion:LANDSCAPE",
    "mmdiffusion-aist": f"{_HERE}.mmdiffusion:AIST",
    "audioldm2-modelscope": f"{_HERE}.text_pairs:AUDIOLDM2_MODELSCOPE",
    "audioldm2-zeroscope": f"{_HERE}.text_pairs:AUDIOLDM2_ZEROSCOPE",
    "stableaudio-wan21": f"{_HERE}.stock_presets:STABLEAUDIO_WAN21",
    "stableaudio-wan22": f"{_HERE}.stock_presets:STABLEAUDIO_WAN22",
    "stableaudio-hunyuanvideo15": f"{_HERE}.stock_presets:STABLEAUDIO_HUNYUANVIDEO15",
    "stableaudio3-wan22": f"{_HERE}.stock_presets:STABLEAUDIO3_WAN22",
    "stableaudio3-hunyuanvideo15": f"{_HERE}.stock_presets:STABLEAUDIO3_HUNYUANVIDEO15",
    "audioldm2-cogvideox": f"{_HERE}.stock_presets:AUDIOLDM2_COGVIDEOX",
}
"""Module and name of every preset, in the order of listings."""


def preset(name: str) -> Preset:
    """Look up a preset by name, or that of a folder that ``mmdisco bases`` wrote.

    Raises:
        UserError: There is none of that name.
    """
    if name in PRESETS:
        return pkgutil.resolve_name(PRESETS[name])
    folder = Path(name).expanduser()
    if not folder.is_dir():
        known = ", ".join(PRESETS)
        raise UserError(f"unknown preset {name!r}: choose one of {known}, or the folder of a pair")
    from mmdisco.generation.presets.miniature import MiniaturePreset

    return MiniaturePreset(folder)


def system_of(config: SystemConfig) -> JointSystem:
    """Return the system of a configuration, nothing loaded yet.

    Raises:
        UserError: There is no such preset, or it has no such option.
    """
    system: JointSystem
    if config.joint_model is not None:
        from mmdisco.generation.presets.stock_joint import StockJointSystem

        system = StockJointSystem(config)
    elif config.preset is None:
        from mmdisco.generation.presets.stock_pair import StockSystem

        system = StockSystem(config.title, config)
    else:
        found = preset(config.preset)
        system = (found.as_released() if config.as_released else found).pair(config)
    if config.discriminator is None:
        return system
    from mmdisco.discriminators.hub import find_discriminator
    from mmdisco.generation.presets.with_discriminator import WithDiscriminator

    return WithDiscriminator(system, find_discriminator(config.discriminator), config)

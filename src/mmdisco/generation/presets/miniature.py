"""The embedded pair as a preset: its weights come with the package, or lie in a folder."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from mmdisco.adapters.miniature.model import FORM
from mmdisco.errors import UserError
from mmdisco.generation.presets.base import CheckpointRef, Preset
from mmdisco.generation.presets.options import BuildOptions
from mmdisco.generation.system import JointSystem, SamplingDefaults
from mmdisco.media.conditioning_clip import ClipSpec

if TYPE_CHECKING:
    from mmdisco.generation.presets.miniature_system import MiniatureSystem

_NETWORKS: Final = (
    "text_encoder",
    "audio_autoencoder",
    "video_autoencoder",
    "audio_denoiser",
    "video_denoiser",
    "discriminator",
)
_CONFIGURED: Final = {
    *("words", "audio_denoiser", "video_denoiser", "discriminator", "sampling", "sha256")
}


@dataclass(frozen=True)
class MiniaturePreset(Preset):
    """Miniature models of bouncing balls, drums, lamps and bells."""

    @property
    def name(self) -> str:
        """``embedded``."""
        return "embedded"

    @property
    def components(self) -> tuple[CheckpointRef, ...]:
        """None of them is elsewhere."""
        return (CheckpointRef("all", "the package", (), 0.1, "Apache-2.0", "", on_hub=False),)

    @property
    def form(self) -> ClipSpec:
        """1.6 s of 64×64."""
        return FORM

    @property
    def memory(self) -> float:
        """Of a batch of one."""
        return 1.0

    @property
    def remark(self) -> str:
        """What it knows."""
        return "knows bouncing balls, drums, lamps and bells"

    def sampling(self) -> SamplingDefaults:
        """That of the packaged weights.

        Raises:
            UserError: They are not in the package.
        """
        return folder_of(None).sampling()

    def as_released(self) -> Preset:
        """There is no release of it."""
        raise UserError("embedded has no release to be compared with: leave --as-released out")

    def present(self, options: BuildOptions) -> tuple[bool, ...]:
        """Whether all files of the package's pair are here; the folder of weights has no say."""
        from mmdisco.adapters.miniature.model import PACKAGED

        return (all((PACKAGED / f"{name}.safetensors").is_file() for name in _NETWORKS),)

    def pair(self, options: BuildOptions) -> JointSystem:
        """The folder.

        Raises:
            UserError: It is not there, or an option is not for this pair.
        """
        if replace(options, weights=None) != BuildOptions():
            raise UserError(
                "embedded makes clips of 1.6 s, 64x64 at 10 frames a second, on the CPU: leave "
                "length, size, rate, type, device, offloading, slicing and tiling out"
            )
        return folder_of(options.weights)


def folder_of(path: Path | None) -> "MiniatureSystem":
    """The weights at ``path``, those of the package without one.

    Raises:
        UserError: They are not there, or of no such pair.
    """
    from mmdisco.generation.presets.miniature_system import MiniatureSystem

    folder = MiniatureSystem() if path is None else MiniatureSystem(path)
    config = cast(object, folder.config)
    if not isinstance(config, dict) or not config.keys() >= _CONFIGURED:
        raise UserError(f"{folder.path} holds no weights of such a pair: choose another folder")
    return folder

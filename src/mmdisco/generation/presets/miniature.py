"""The embedded pair as a preset: its weights come with the package, or lie in a folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from typing_extensions import override

from mmdisco.adapters.miniature.spec import FORM, PACKAGED
from mmdisco.errors import UserError
from mmdisco.generation.config import SystemConfig
from mmdisco.generation.presets.base import CheckpointRef, Preset
from mmdisco.generation.presets.miniature_system import MiniatureSystem
from mmdisco.generation.system import JointSystem, SamplingDefaults
from mmdisco.media.clip import ClipSpec

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
    @override
    def name(self) -> str:
        return "embedded"

    @property
    def components(self) -> tuple[CheckpointRef, ...]:
        """Empty: all weights come with the package."""
        return (CheckpointRef("all", "the package", (), 0.1, "Apache-2.0", "", on_hub=False),)

    @property
    def form(self) -> ClipSpec:
        """Clips of 1.6 s of 64×64 pixels."""
        return FORM

    @property
    @override
    def memory(self) -> float:
        return 1.0

    @property
    @override
    def remark(self) -> str:
        return "knows bouncing balls, drums, lamps and bells"

    def sampling(self) -> SamplingDefaults:
        """Return the settings stored with the packaged weights.

        Raises:
            UserError: They are not in the package.
        """
        return folder_of(None).sampling()

    def as_released(self) -> Preset:
        """Refuse: this pair has no release."""
        raise UserError("embedded has no release to be compared with: leave --as-released out")

    def present(self, options: SystemConfig) -> tuple[bool, ...]:
        """Check the files of the packaged pair; the folder of weights has no effect."""
        return (all((PACKAGED / f"{name}.safetensors").is_file() for name in _NETWORKS),)

    def pair(self, options: SystemConfig) -> JointSystem:
        """Return the system of the folder.

        Raises:
            UserError: It is not there, or an option is not for this pair.
        """
        if options.frames is not None or options.build_options() != SystemConfig().build_options():
            raise UserError(
                "embedded makes clips of 1.6 s, 64x64 at 10 frames a second, on the CPU: leave "
                "length, size, rate, type, device, offloading, slicing and tiling out"
            )
        return folder_of(options.weights)


EMBEDDED: Final = MiniaturePreset()


def folder_of(path: Path | None) -> MiniatureSystem:
    """Return the system of the weights at ``path``, or of the packaged ones.

    Raises:
        UserError: They are missing, or of no such pair.
    """
    folder = MiniatureSystem() if path is None else MiniatureSystem(path)
    config = cast(object, folder.config)
    if not isinstance(config, dict) or not config.keys() >= _CONFIGURED:
        raise UserError(f"{folder.path} holds no weights of such a pair: choose another folder")
    return folder

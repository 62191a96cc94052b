"""All presets by name. A preset's module is imported when the preset is asked for."""

import pkgutil
from typing import TYPE_CHECKING, Final

from mmdisco.errors import UserError
from mmdisco.generation.config import SystemConfig

if TYPE_CHECKING:
    from mmdisco.generation.presets.base import Preset
    from mmdisco.generation.system import JointSystem

_HERE: Final = __name__.rpartition(".")[0]

DEFAULT: Final = SystemConfig().preset

PRESETS: Final[dict[str, str]] = {
    "embedded": f"{_HERE}.miniature:EMBEDDED",
    "audioldm-animatediff": f"{_HERE}.text_pairs:AUDIOLDM_ANIMATEDIFF",
    "auffusion-videocrafter2": f"{_HERE}.text_pairs:AUFFUSION_VIDEOCRAFTER2",
    "mmdiffusion-landscape": f"{_HERE}.mmdiffusion:LANDSCAPE",
    "mmdiffusion-aist": f"{_HERE}.mmdiffusion:AIST",
    "audioldm2-modelscope": f"{_HERE}.text_pairs:AUDIOLDM2_MODELSCOPE",
    "audioldm2-zeroscope": f"{_HERE}.text_pairs:AUDIOLDM2_ZEROSCOPE",
}
"""Module and name of every preset, in the order of listings."""


def preset(name: str) -> "Preset":
    """Look up a preset by name.

    Raises:
        UserError: There is none of that name.
    """
    if name not in PRESETS:
        raise UserError(f"unknown preset {name!r}: choose one of {', '.join(PRESETS)}")
    return pkgutil.resolve_name(PRESETS[name])


def system_of(config: SystemConfig) -> "JointSystem":
    """Return the system of a configuration, nothing loaded yet.

    Raises:
        UserError: There is no such preset, or it has no such option.
    """
    found = preset(config.preset)
    chosen = found.as_released() if config.as_released else found
    system = chosen.pair(config)
    if config.discriminator is None:
        return system
    from mmdisco.discriminators.hub import find_discriminator
    from mmdisco.generation.presets.with_discriminator import WithDiscriminator

    return WithDiscriminator(system, find_discriminator(config.discriminator), config)

"""The arguments of ``mmdisco generate`` that say with which models, and in which form."""

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

from mmdisco.errors import UserError
from mmdisco.generation.metadata import PresetChoice
from mmdisco.generation.presets.options import BuildOptions
from mmdisco.generation.presets.registry import DEFAULT, preset

_SIZE: Final = re.compile(r"(\d{1,5})[x×](\d{1,5})")
_FINEST: Final = 1_000_000


@dataclass(frozen=True)
class PresetArgs:
    """As given."""

    preset: str | None = None
    as_released: bool = False
    seconds: float | None = None
    frames: int | None = None
    size: str | None = None
    fps: float | None = None
    dtype: str | None = None
    device: str | None = None
    offload: bool = False
    vae_slicing: bool = False
    vae_tiling: bool = False
    discriminator: str | None = None

    def choice(self, weights: Path | None) -> PresetChoice:
        """The pair they choose.

        Raises:
            UserError: One is out of its range, or two exclude each other.
        """
        name = self.preset or DEFAULT
        fps = fraction("frames a second", self.fps)
        seconds = fraction("seconds", self.seconds)
        if self.frames is not None:
            if seconds is not None:
                raise UserError("--frames and --seconds say the same: leave one out")
            if self.frames < 1:
                raise UserError(f"{self.frames} frames: ask for at least 1")
            seconds = self.frames / (fps or preset(name).form.fps)
        options = BuildOptions(
            weights=weights,
            seconds=seconds,
            size=_size(self.size),
            fps=fps,
            dtype=self.dtype or "float32",
            device=self.device or "cpu",
            offload=self.offload,
            vae_slicing=self.vae_slicing,
            vae_tiling=self.vae_tiling,
        )
        if self.as_released and self.discriminator is not None:
            raise UserError("--as-released brings its own discriminator: leave --discriminator out")
        return PresetChoice(name, options, self.as_released, self.discriminator)


def fraction(name: str, value: float | None) -> Fraction | None:
    """A number as given, exact to a millionth; None stays.

    Raises:
        UserError: It is not above 0, or is in the millions.
    """
    if value is None:
        return None
    if not math.isfinite(value) or not 0 < value < _FINEST:
        raise UserError(f"{value:g} {name}: give more than 0, and not millions")
    return Fraction(value).limit_denominator(_FINEST)


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise UserError(f"a size of {text!r}: give HEIGHTxWIDTH, as in 256x256")
    return int(found[1]), int(found[2])

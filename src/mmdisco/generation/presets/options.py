"""Options that a preset is built with, among them the place of its files. Loads no model."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import torch

from mmdisco.errors import UserError
from mmdisco.io.tables import number

VARIABLE: Final = "MMDISCO_WEIGHTS"
DTYPES: Final[dict[str, torch.dtype]] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


_MOST_SECONDS: Final = 3_600
_MOST_FPS: Final = 1_000
_MOST_SIDE: Final = 8_192


@dataclass(frozen=True)
class BuildOptions:
    """Options that a preset is built with. ``None`` leaves a setting to the preset.

    Attributes:
        weights: Folder of weights.
        seconds: Length of the clips.
        size: Height and width of the frames, pixels.
        fps: Frames per second.
        dtype: Precision of the networks, a name of ``DTYPES``.
        device: Device of the networks, by torch's name.
        offload: Whether networks wait in main memory until they are used.
        vae_slicing: Whether autoencoders process the images of a batch one by one.
        vae_tiling: Whether autoencoders process large images in tiles.

    Raises:
        UserError: A value is out of its range.
    """

    weights: Path | None = None
    seconds: Fraction | None = None
    size: tuple[int, int] | None = None
    fps: Fraction | None = None
    dtype: str = "float32"
    device: str = "cpu"
    offload: bool = False
    vae_slicing: bool = False
    vae_tiling: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise UserError(f"unknown type {self.dtype!r}: choose one of {', '.join(DTYPES)}")
        for name, value, most in (
            ("seconds", self.seconds, _MOST_SECONDS),
            ("frames a second", self.fps, _MOST_FPS),
        ):
            if value is not None and value <= 0:
                raise UserError(f"{float(value):g} {name}: give more than 0")
            if value is not None and value > most:
                raise UserError(f"{float(value):g} {name}: give at most {most}")
        if self.size is not None and min(self.size) < 1:
            raise UserError(f"a size of {self.size[0]}x{self.size[1]}: give sides above 0")
        if self.size is not None and max(self.size) > _MOST_SIDE:
            raise UserError(
                f"a size of {self.size[0]}x{self.size[1]}: give sides of at most {_MOST_SIDE}"
            )

    @property
    def folder(self) -> Path:
        """Folder of weights: as given, else ``MMDISCO_WEIGHTS``, else ~/.cache/mmdisco."""
        if self.weights is not None:
            return self.weights.expanduser()
        named = os.environ.get(VARIABLE)
        return Path(named).expanduser() if named else Path.home() / ".cache" / "mmdisco"

    def torch_device(self) -> torch.device:
        """Return the torch device.

        Raises:
            UserError: This machine has none of that name.
        """
        try:
            device = torch.device(self.device)
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            reason = str(error).split("\n", 1)[0].split(". ", 1)[0]
            raise UserError(f"device {self.device!r} cannot be used: {reason}") from error
        return device

    def to_record(self) -> dict[str, Any]:
        """Return everything but the folder, for JSON."""
        return {
            "seconds": None if self.seconds is None else str(self.seconds),
            "size": None if self.size is None else list(self.size),
            "fps": None if self.fps is None else str(self.fps),
            "dtype": self.dtype,
            "device": self.device,
            "offload": self.offload,
            "vae_slicing": self.vae_slicing,
            "vae_tiling": self.vae_tiling,
        }

    @staticmethod
    def from_record(record: Mapping[str, Any], weights: Path | None) -> "BuildOptions":
        """Invert ``to_record``."""
        seconds, size, fps = record["seconds"], record["size"], record["fps"]
        return BuildOptions(
            weights=weights,
            seconds=None if seconds is None else number(seconds),
            size=None if size is None else (int(size[0]), int(size[1])),
            fps=None if fps is None else number(fps),
            dtype=str(record["dtype"]),
            device=str(record["device"]),
            offload=bool(record["offload"]),
            vae_slicing=bool(record["vae_slicing"]),
            vae_tiling=bool(record["vae_tiling"]),
        )

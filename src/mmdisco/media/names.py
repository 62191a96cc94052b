"""File names in the form that FFmpeg needs."""

from pathlib import Path
from typing import Final

_PROTOCOL: Final = "file:"


def url(path: Path) -> str:
    """Return ``path`` with the protocol ``file`` before it.

    FFmpeg takes a bare name for a URL: for "talk: part 1.mp4" it would look up a protocol
    "talk", and "concat:a|b" it would concatenate.
    """
    return f"{_PROTOCOL}{path}"


def path_in(url: str) -> Path:
    """Invert ``url``."""
    return Path(url.removeprefix(_PROTOCOL))

"""Names of files as FFmpeg must be told them."""

from pathlib import Path
from typing import Final

_PROTOCOL: Final = "file:"


def url(path: Path) -> str:
    """``path`` with the protocol ``file`` before it.

    FFmpeg takes a bare name for a URL: of "talk: part 1.mp4" it would ask a protocol "talk", and
    "concat:a|b" it would join.
    """
    return f"{_PROTOCOL}{path}"


def path_in(url: str) -> Path:
    """The path that ``url`` was made of."""
    return Path(url.removeprefix(_PROTOCOL))

"""Names of files as FFmpeg must be told them."""

from pathlib import Path


def url(path: Path) -> str:
    """``path`` with the protocol ``file`` before it.

    FFmpeg takes a bare name for a URL: of "talk: part 1.mp4" it would ask a protocol "talk", and
    "concat:a|b" it would join.
    """
    return f"file:{path}"

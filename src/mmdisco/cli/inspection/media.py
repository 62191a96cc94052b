"""Clips and films."""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Final

from mmdisco.cli.inspection.kind import FileKind
from mmdisco.data.prepare.filter import skip_reason, statistics
from mmdisco.errors import UserError
from mmdisco.media.clip import AudioVideo
from mmdisco.media.clock import rate_of
from mmdisco.media.geometry import pixel_shape
from mmdisco.media.opening import opened, picture_track, pictures
from mmdisco.media.read import ReadSpec, read_clip

_SECONDS: Final = Fraction(10)  # that are looked at
_FPS: Final = Fraction(8)
# FFmpeg would take brackets for a song's words or for noise
_TEXTS: Final = frozenset(
    (".csv", ".html", ".json", ".jsonl", ".md", ".py", ".toml", ".txt", ".yaml", ".yml")
)
_HEIGHT: Final = 144  # pixels; a large film at its own size would fill the memory


class FilmFile(FileKind):
    """Anything with pictures or sound that FFmpeg may read."""

    def fits(self, path: Path) -> bool:
        """Every file that is not named as a text."""
        return path.is_file() and path.suffix.lower() not in _TEXTS

    def words(self, path: Path) -> list[str]:
        """Tracks, length, and figures of the first ten seconds."""
        with opened(path) as container:
            lines = [f"a file of {container.format.long_name}"]
            if container.duration:
                lines[0] += f", {container.duration / 1e6:.2f} s"
            for one in pictures(container):
                rate = float(rate_of(container))
                lines.append(f"picture: {one.codec.name} {one.width}x{one.height}, {rate:.3f} fps")
            for one in container.streams.audio:
                lines.append(f"sound: {one.codec.name} at {one.rate} Hz, channels: {one.channels}")
            if len(lines) == 1:
                raise UserError(f"{path} has neither a picture nor a sound track")
            both = bool(pictures(container)) and bool(container.streams.audio)
        if both:
            clip = _beginning(path)
            said = ", ".join(f"{name} {value:g}" for name, value in statistics(clip).items())
            lines.append(f"the first {float(clip.video.seconds):g} s: {said}")
            fault = skip_reason(clip)
            if fault is not None:
                lines.append(f"of no use for training: {fault.reason}")
        return lines

    def clips(self, path: Path, weights: Path | None) -> Mapping[str, AudioVideo]:
        """The first ten seconds."""
        return {path.name: _beginning(path)}


def _beginning(path: Path) -> AudioVideo:
    with opened(path) as container:
        picture = picture_track(container)
        aspect = float(picture.width * pixel_shape(picture) / max(1, picture.height))
    width = min(4 * _HEIGHT, max(_HEIGHT // 4, round(_HEIGHT * aspect)))
    return read_clip(path, ReadSpec(seconds=_SECONDS, fps=_FPS, size=(_HEIGHT, width)))

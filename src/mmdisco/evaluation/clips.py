"""Clips in a folder: mp4 with sound, or a wav beside an mp4 of the same name."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

from mmdisco.errors import UserError
from mmdisco.io.files import read_json
from mmdisco.media.clip import AudioVideo, fit_audio
from mmdisco.media.read import ReadSpec, read_audio, read_video

PICTURES: Final = (".mp4", ".mov", ".mkv", ".webm", ".avi")
SOUNDS: Final = (".wav", ".flac")
LONGEST_TAIL: Final = Fraction(15, 100)  # seconds of padding that a codec may add to a sound


@dataclass(frozen=True, slots=True)
class ClipIssue:
    """Issue of one clip that a reader of the results must know about.

    Attributes:
        clip: File of the clip.
        what: Description.
        kept: Whether the clip is measured all the same.
    """

    clip: str
    what: str
    kept: bool


@dataclass(frozen=True, slots=True)
class ClipFiles:
    """Files of one clip.

    Attributes:
        name: Name of the clip within its folder, without suffix.
        picture: File with the video.
        sound: File with the sound; the same, or a wav beside it.
    """

    name: str
    picture: Path
    sound: Path

    @property
    def prompt(self) -> str | None:
        """Read the prompt from the JSON file of the same name, if there is one.

        Raises:
            UserError: The file is damaged.
        """
        path = self.picture.with_suffix(".json")
        if not path.is_file():
            return None
        record = read_json(path)
        prompt = record.get("prompt") if isinstance(record, dict) else None
        return prompt if isinstance(prompt, str) else None


class UnreadableClip(Exception):
    """Error for a clip that cannot be measured, with the reason."""


def items(folder: Path) -> tuple[list[ClipFiles], list[ClipIssue]]:
    """List the clips of ``folder`` and below, by name; sounds without a video are issues.

    Raises:
        UserError: There is no such folder, or no clip in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: give one with clips")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sounds = {path.with_suffix(""): path for path in files if path.suffix.lower() in SOUNDS}
    found: list[ClipFiles] = []
    for path in files:
        if path.suffix.lower() in PICTURES:
            stem = path.with_suffix("")
            name = stem.relative_to(folder).as_posix()
            found.append(ClipFiles(name, path, sounds.pop(stem, path)))
    if not found:
        raise UserError(f"{folder} has no clips: it needs mp4 files, or wav and mp4 of one name")
    alone = [
        ClipIssue(str(path), "sound without a picture", kept=False) for path in sounds.values()
    ]
    return found, alone


def read_item(item: ClipFiles, selection: ReadSpec) -> AudioVideo:
    """Read a clip; video and sound have equal length up to the padding that a codec adds.

    Raises:
        UnreadableClip: A file cannot be read, a track is missing, or one lasts longer than the
            other.
    """
    try:
        video = read_video(item.picture, selection)
        audio = read_audio(item.sound, selection)
    except UserError as error:
        raise UnreadableClip(str(error)) from error
    if abs(audio.seconds - video.seconds) > LONGEST_TAIL:
        seen, heard = float(video.seconds), float(audio.seconds)
        raise UnreadableClip(f"the picture lasts {seen:.2f} s, the sound {heard:.2f} s")
    return AudioVideo(fit_audio(audio, round(video.seconds * audio.sample_rate)), video)

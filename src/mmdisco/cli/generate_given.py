"""What clips take over from the file that is given."""

from dataclasses import dataclass
from fractions import Fraction

from mmdisco.generation.generate import Request
from mmdisco.media.conditioning_clip import share
from mmdisco.media.copying import Picture, Sound


@dataclass(frozen=True)
class Given:
    """The given side of the clips of one request.

    Attributes:
        picture: That of the given video, if it can be copied.
        sound: That of the given sound.
        magnified: Whether small pictures are: those that are made, not one that is given.
        used: How much of the file is used and what becomes of it, in a line; "" without a file.
    """

    picture: Picture | None = None
    sound: Sound | None = None
    magnified: bool = True
    used: str = ""

    @staticmethod
    def of(request: Request, seconds: Fraction, suffix: str) -> "Given":
        """That of a request.

        Args:
            request: With or without a given side.
            seconds: How long clips are.
            suffix: How their names end.

        Raises:
            UserError: The file cannot be read.
        """
        start = request.start
        if request.video is not None:
            picture = Picture(request.video, start, seconds)
            copied = picture.can_be_copied
            way = f"the picture {'copied' if copied else 'encoded anew'}"
            used = f"{share(request.video, start, seconds)}, {way}"
            return Given(picture if copied else None, None, magnified=False, used=used)
        if request.audio is not None:
            sound = Sound(request.audio, start, seconds, request.audio_track)
            used = f"{share(request.audio, start, seconds)}, {sound.way(suffix)}"
            return Given(sound=sound, used=used)
        return Given()

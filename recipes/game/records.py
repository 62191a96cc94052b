"""What the game recorded of clips, and the clips as the readers take them.

A clip has 60 tics. Picture i is of tic 3 i, so that what happens at tic k is seen to begin in
picture ⌈k / 3⌉; it is heard to begin in the third of tics ⌊k / 3⌋, for the sound of a tic begins
with the tic: measured, the loudness rises within the tic of a shot.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from make_clips import SECONDS, SIZE
from play import EVERY, FPS, RATE, TICS
from scenarios import BY_NAME
from torch import Tensor
from torch.nn.functional import pad

from mmdisco.errors import UserError
from mmdisco.io.files import read_json, read_tensors, write_tensors
from mmdisco.media.clip import AudioVideo
from mmdisco.media.mel import MelScale
from mmdisco.media.read import ReadSpec, read_clip

EventKind = Literal["pistol", "rocket", "burst", "pickup", "hurt"]
KINDS: Final[tuple[EventKind, ...]] = get_args(EventKind)
WEAPONS: Final[dict[str, EventKind]] = {"a pistol": "pistol", "a rocket launcher": "rocket"}
STEPS: Final = int(SECONDS * FPS)  # pictures of a clip
COLUMNS: Final = 9  # of the spectrogram, in the time of a picture
MEL: Final = MelScale(
    sample_rate=RATE, hop=RATE * EVERY // TICS // COLUMNS, bins=64, highest=RATE / 2
)
LATE: Final = 4  # tics from a hurt to the groan
SPEC: Final = ReadSpec(seconds=SECONDS, fps=FPS, size=(SIZE[1], SIZE[0]), sample_rate=RATE)

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Event:
    """Something that happens in a clip, shots told apart by their weapons."""

    kind: EventKind
    second: float

    @property
    def tic(self) -> int:
        """Tic of the clip at which it happens."""
        return round(self.second * TICS)


@dataclass(frozen=True)
class Record:
    """What the game recorded of one clip."""

    path: Path
    scenario: str
    events: tuple[Event, ...]


def sessions_of(folder: Path) -> list[list[Record]]:
    """Records of a folder of ``make_clips``, session by session, in the order of their names.

    Raises:
        UserError: There are none.
    """
    tables = sorted((folder / "sessions").glob("*.json"))
    if not tables:
        raise UserError(f"{folder} has no sessions of a game: make them with make_clips.py")
    return [[_record(folder, row) for row in read_json(table)] for table in tables]


def drawn(sessions: Sequence[list[Record]], clips: int, seed: int) -> list[list[Record]]:
    """Draw whole sessions until they have so many clips, in an order that others do not change."""

    def place(session: list[Record]) -> float:
        return random.Random(f"{seed} {session[0].path.name}").random()

    chosen: list[list[Record]] = []
    for one in sorted(filter(None, sessions), key=place):
        if sum(map(len, chosen)) >= clips:
            break
        chosen.append(one)
    return chosen


def _record(folder: Path, row: dict[str, object]) -> Record:
    scenario = str(row["scenario"])
    weapon = BY_NAME[scenario].weapon
    found = tuple(_events(row["events"], WEAPONS[weapon] if weapon else None))
    return Record(folder / str(row["path"]), scenario, found)


def _events(rows: object, weapon: EventKind | None) -> Iterator[Event]:
    for row in rows if isinstance(rows, list) else ():
        kind = weapon if row["kind"] == "shot" else row["kind"]
        if kind is not None:
            yield Event(kind, row["second"])


@dataclass(frozen=True, eq=False)
class Features:
    """Clips as the readers take them.

    Attributes:
        pictures: (clips, STEPS, 3, height/2, width/2), bytes.
        sounds: (clips, STEPS · COLUMNS, 64), log-mel.
    """

    pictures: Tensor
    sounds: Tensor

    def __len__(self) -> int:
        return len(self.pictures)


def features(clips: Sequence[AudioVideo]) -> Features:
    """Halve the pictures and analyse the sounds of clips."""
    pictures = np.stack([_pictures(one.video.frames) for one in clips])
    wanted = STEPS * COLUMNS * MEL.hop
    sounds = [torch.from_numpy(one.audio.waveform[:wanted]) for one in clips]
    waves = torch.stack([pad(one, (0, wanted - len(one))) for one in sounds])
    return Features(torch.from_numpy(pictures), MEL.analyse(waves)[:, 0])


def kept_features(records: Sequence[Record], path: Path) -> Features:
    """Read the clips of a session, or what was read of them before."""
    if path.exists():
        kept = read_tensors(path)
        return Features(kept["pictures"], kept["sounds"].float())
    found = features([read_file(one.path) for one in records])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(path, {"pictures": found.pictures, "sounds": found.sounds.half()}, {})
    return found


def joined(parts: Sequence[Features]) -> Features:
    """Put features of several sessions one after another."""
    pictures, sounds = ([getattr(one, name) for one in parts] for name in ("pictures", "sounds"))
    return Features(torch.cat(pictures), torch.cat(sounds))


def read_file(path: Path) -> AudioVideo:
    """Read a clip at the rates and the size of the game's clips."""
    return read_clip(path, SPEC)


def _pictures(frames: npt.NDArray[np.float32]) -> Bytes:
    """Return (STEPS, 3, height/2, width/2); a short clip stands still at its end."""
    rows = np.minimum(np.arange(STEPS), len(frames) - 1)
    count, height, width, channels = frames[rows].shape
    blocks = frames[rows].reshape(count, height // 2, 2, width // 2, 2, channels)
    return (blocks.mean((2, 4)) * 255).round().astype(np.uint8).transpose(0, 3, 1, 2)


def seen_step(event: Event) -> int:
    """The picture in which an event is seen to begin; STEPS if it comes after the last."""
    return -(-event.tic // EVERY)


def heard_step(event: Event) -> int:
    """The time of a picture in which an event is heard to begin."""
    return event.tic // EVERY


def can_be_seen(event: Event) -> bool:
    """Whether pictures show an event: no hurt, and none before the second or after the last."""
    return event.kind != "hurt" and event.tic > 0 and seen_step(event) < STEPS


def can_be_heard(event: Event) -> bool:
    """Whether a clip has a tic of the sound of an event; a groan is heard late."""
    return event.tic + (LATE if event.kind == "hurt" else 0) < STEPS * EVERY - 1

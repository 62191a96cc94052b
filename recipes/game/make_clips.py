"""Makes clips of a game: mp4 files, their captions, and what happens in them.

``python recipes/game/make_clips.py --out runs/game --hours 10`` plays every scenario from seeds of
its own and cuts what was played into clips. Validation has other seeds than training; the scenario
that is held out has a folder of its own. Stop it whenever; the same command goes on. Wants
``pip install mmdisco[game]`` and Debian's ``libopenal1``.
"""

import argparse
import csv
import json
import math
import multiprocessing
import os
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from play import EVERY, FPS, RATE, TICS, Event, Recording, play
from scenarios import BY_NAME, SCENARIOS, Scenario

from mmdisco.io.files import read_json, replacing, write_json, write_text
from mmdisco.media.clip import Audio, AudioVideo, Video
from mmdisco.media.write import write_clip

SECONDS: Final = Fraction(12, 7)  # 60 tics: 20 pictures, 37,800 samples
CRASHES: Final = 20  # of the game, before it is given up
SESSION: Final = 60.0  # seconds that one seed is played for
CROP: Final = (8, 0, 152, 120)  # of 160x120: what has the proportions of a clip
SIZE: Final = (96, 80)  # width and height that clips are kept at, multiples of 16
FIRST_SEED: Final = {"train": 0, "validation": 1_000_000, "held_out": 2_000_000}
DOES: Final = {
    "shot": "fires",
    "burst": "its rocket bursts",
    "pickup": "a medikit is picked up",
    "hurt": "a groan of pain",
}


@dataclass(frozen=True)
class Session:
    """One seed of one scenario, for one part of the data."""

    part: str
    scenario: Scenario
    seed: int

    @property
    def name(self) -> str:
        """Beginning of the names of its clips."""
        return f"{self.scenario.name}-{self.seed:07d}"

    def table(self, out: Path) -> Path:
        """Return the file that lists its clips, written when they are whole."""
        return out / self.part / "sessions" / f"{self.name}.json"


@dataclass(frozen=True)
class Clip:
    """A clip as the tables name it."""

    path: str
    scenario: str
    events: tuple[Event, ...]


def main() -> None:
    """Play, cut, write."""
    parser = argparse.ArgumentParser(description="Make clips of a game.")
    parser.add_argument("--out", type=Path, default=Path("runs/game"))
    parser.add_argument("--hours", type=float, default=10.0, help="of clips to train on")
    parser.add_argument("--validation", type=float, default=0.5, help="hours; as many held out")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()
    hours = {"train": options.hours, "validation": options.validation}
    todo = list(sessions(hours | {"held_out": options.validation}))
    make_all(options.out, todo, options.jobs)
    for part in FIRST_SEED:
        write_tables(options.out / part, [one for one in todo if one.part == part])


def make_all(out: Path, todo: list[Session], jobs: int) -> None:
    """Make the clips of all sessions; what a crash of the game took with it is played again.

    Raises:
        SystemExit: The game crashed too often.
    """
    context, out = multiprocessing.get_context("spawn"), out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    for _ in range(CRASHES):
        left = [one for one in todo if not one.table(out).exists()]
        try:
            # the game writes files of its own into the folder it is run in
            with ProcessPoolExecutor(jobs, context, os.chdir, (out,)) as pool:
                played = [pool.submit(make, out, session) for session in left]
                for done, one in enumerate(as_completed(played), len(todo) - len(left) + 1):
                    one.result()
                    if done % 20 == 0 or done == len(todo):
                        sys.stderr.write(f"{done} of {len(todo)} minutes of play\n")
        except BrokenProcessPool:
            sys.stderr.write("the game ended its process: playing what is left again\n")
        else:
            return
    raise SystemExit(f"the game crashed {CRASHES} times: is libopenal1 installed?")


def sessions(hours: dict[str, float]) -> Iterator[Session]:
    """Yield what is to be played: every scenario for the same time in each part."""
    for part, wanted in hours.items():
        own = [one for one in SCENARIOS if one.held_out == (part == "held_out")]
        each = math.ceil(wanted * 3600 / SESSION / len(own))
        for index in range(each):
            for scenario in own:
                yield Session(part, scenario, FIRST_SEED[part] + index)


def caption(path: str, scenario: Scenario, kinds: set[str]) -> str:
    """Describe a clip: the weapon, what happens, the place.

    Every other caption, by the name of the clip, does not tell what happens: two models that are
    given it alone have to agree on that by themselves.
    """
    who = scenario.weapon or "walking"
    if random.Random(path).random() < 0.5:
        return f"{who}, {scenario.where}"
    said = [does for kind, does in DOES.items() if kind in kinds]
    if scenario.weapon is None:
        return f"walking, {', '.join(said or ['nothing happens'])}, {scenario.where}"
    return f"{who} {', '.join(said or ['waits'])}, {scenario.where}"


def cut(recording: Recording) -> Iterator[tuple[AudioVideo, tuple[Event, ...]]]:
    """Yield the clips of a recording, end to end, with their events."""
    tics = int(SECONDS * TICS)
    frames, samples = tics // EVERY, tics * RATE // TICS
    for index in range(len(recording.sound) // samples):
        pictures = recording.frames[index * frames : (index + 1) * frames]
        sound = recording.sound[index * samples : (index + 1) * samples]
        if len(pictures) < frames:
            return
        begin = index * float(SECONDS)
        within = tuple(
            Event(one.kind, round(one.second - begin, 4))
            for one in recording.events
            if 0 <= one.second - begin < float(SECONDS)
        )
        mono = sound.astype(np.float32).mean(1) / 32768
        picture = np.stack([_small(one) for one in pictures]).astype(np.float32) / np.float32(255)
        yield AudioVideo(Audio(mono, RATE), Video(picture, FPS)), within


def _small(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.fromarray(picture).resize(SIZE, Image.Resampling.BOX, CROP))


def make(out: Path, session: Session) -> None:
    """Play one session and write its clips, then the list of them."""
    folder, table = out / session.part, session.table(out)
    table.parent.mkdir(parents=True, exist_ok=True)
    clips: list[Clip] = []
    for recording in play(session.scenario, session.seed, SESSION):
        for clip, events in cut(recording):
            name = f"{session.name}-{len(clips):02d}.mp4"
            write_clip(folder / name, clip)
            clips.append(Clip(name, session.scenario.name, events))
    # written after the clips, so that those it lists are whole
    write_json(table, [asdict(one) for one in clips])


def write_tables(folder: Path, own: list[Session]) -> None:
    """Write captions.csv for ``mmdisco prepare``, and events.jsonl, the game's own record."""
    rows = [row for session in own for row in read_json(session.table(folder.parent))]
    with (
        replacing(folder / "captions.csv") as temporary,
        temporary.open("w", newline="") as file,
    ):
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("path", "caption"))
        for row in rows:
            kinds = {event["kind"] for event in row["events"]}
            said = caption(row["path"], BY_NAME[row["scenario"]], kinds)
            table.writerow((row["path"], said))
    write_text(folder / "events.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()

"""Cells of the evaluation: the clips of one row and one seed, as files, and what is read of them.

A row is a setting of generation. Clips are made in batches, each file whole or not at all, so that
a stopped cell goes on after its last batch.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from held_out import Asked, as_heard_and_seen, chosen, frechet, link_reference, loaded
from reading import FILE, Readers, Reading
from records import Event, read_file
from typing_extensions import override

from mmdisco.core.av import AV
from mmdisco.core.denoiser import IndependentModels
from mmdisco.core.discriminator import Discriminator
from mmdisco.discriminators.hub import PretrainedDiscriminator, read_config
from mmdisco.discriminators.wrappers import ZeroLogit
from mmdisco.evaluation.metrics.result import UNGUIDED
from mmdisco.experiments.grid import MeasuredCell, key_of
from mmdisco.generation.pipeline import (
    AudioToVideo,
    GenerationRun,
    JointGeneration,
    Task,
    VideoToAudio,
    generate,
)
from mmdisco.generation.system import JointSystem
from mmdisco.io.files import read_object, sha256
from mmdisco.media.clip import AudioVideo
from mmdisco.media.write import write_clip

BATCH: Final = 16
SEEDS_APART: Final = 1_000_000  # between the noises of two seeds
OFF: Final = AV(0.0, 0.0)
REAL, RECONSTRUCTED = "real clips", "real clips through the autoencoders"

TaskOf = Callable[[Sequence[AudioVideo]], Task]
"""Makes the task of a batch from the real clips, of which a side may be given."""


def jointly(clips: Sequence[AudioVideo]) -> Task:
    """Generate both sides."""
    del clips
    return JointGeneration()


def video_to_audio(clips: Sequence[AudioVideo]) -> Task:
    """Generate sounds for the pictures of the clips."""
    videos = [one.video for one in clips]
    return VideoToAudio(videos, videos)


def audio_to_video(clips: Sequence[AudioVideo]) -> Task:
    """Generate pictures for the sounds of the clips."""
    sounds = [one.audio for one in clips]
    return AudioToVideo(sounds, sounds)


@dataclass(frozen=True)
class Row:
    """Setting of generation.

    Attributes:
        name: Name in the table.
        task: What is generated.
        scale: Joint scale of either side; 0 is the unguided baseline.
        steps: Steps of sampling.
        discriminator: Folder of the discriminator in that of the run.
    """

    name: str
    task: TaskOf
    scale: AV[float]
    steps: int = 20
    discriminator: str = "discriminator"

    def record(self) -> dict[str, Any]:
        """Everything but the name, for JSON."""
        return {
            "task": self.task.__name__,
            "scale": [self.scale.audio, self.scale.video],
            "steps": self.steps,
            "discriminator": self.discriminator if self.scale != OFF else None,
        }


@dataclass(frozen=True)
class Scales:
    """Joint scales of the three tasks.

    Attributes:
        joint: Of sound and video generated together.
        to_audio: Of a sound for a given video.
        to_video: Of a video for a given sound.
    """

    joint: AV[float]
    to_audio: float
    to_video: float


def rows(scales: Scales) -> list[Row]:
    """List the rows of the held-out clips."""
    joint = Row("joint", jointly, scales.joint)
    sound = Row("video to audio", video_to_audio, AV(scales.to_audio, 0.0))
    video = Row("audio to video", audio_to_video, AV(0.0, scales.to_video))
    few = [replace(one, name=f"{one.name}, 8 steps", steps=8) for one in (joint, sound, video)]
    return [
        Row(UNGUIDED, jointly, OFF),
        joint,
        few[0],
        replace(joint, name="joint, additive control", discriminator="additive"),
        Row(f"video to audio, {UNGUIDED}", video_to_audio, OFF),
        sound,
        few[1],
        Row(f"audio to video, {UNGUIDED}", audio_to_video, OFF),
        video,
        few[2],
    ]


def few_rows(scales: Scales) -> list[Row]:
    """List the rows of the scenario that was held out whole."""
    return [one for one in rows(scales) if one.steps > 8 and one.discriminator != "additive"]


@dataclass(frozen=True)
class ClipsCell(MeasuredCell):
    """Clips of one row and one seed, and their readings.

    Attributes:
        run: Folder of the run, with ``clips``, ``pair``, ``readers`` and the discriminators.
        part: Part of the clips whose captions are asked for.
        row: The row; of real clips its name alone.
        seed: Seed of the noise.
        clips: Number of clips.
    """

    run: Path
    part: str
    row: Row | str
    seed: int
    clips: int

    @property
    def name_of_row(self) -> str:
        """Name in the table."""
        return self.row if isinstance(self.row, str) else self.row.name

    @property
    @override
    def label(self) -> str:
        return f"{self.part} {self.name_of_row} {self.seed}"

    @property
    def made_with(self) -> dict[str, Any]:
        """What decides the clips."""
        found: dict[str, Any] = {"part": self.part, "seed": self.seed, "clips": self.clips}
        found["row"] = self.row if isinstance(self.row, str) else self.row.record()
        if self.row != REAL:
            found["pair"] = read_object(self.run / "pair" / "config.json")["sha256"]
        if isinstance(self.row, Row) and self.row.scale != OFF:
            found["discriminator"] = read_config(self.run / self.row.discriminator)["sha256"]
        return found

    @property
    @override
    def settings(self) -> dict[str, Any]:
        return {**self.made_with, "readers": sha256(self.run / "readers" / FILE)}

    @property
    def folder(self) -> Path:
        """Folder of the clips; those of the game lie where they were made."""
        slug = self.label.lower().replace(",", "").replace(" ", "-")
        return self.out / "clips" / f"{slug}-{key_of(self.made_with)}"

    @property
    def asked(self) -> list[Asked]:
        """The real clips."""
        return chosen(self.run / "clips" / self.part, self.clips)

    @property
    def paths(self) -> list[Path]:
        """Files of the clips, of the names of the real ones."""
        return [self.folder / one.path.name for one in self.asked]

    @override
    def measure(self) -> dict[str, Any]:
        """Make the clips that are missing, and read all of them."""
        self.make()
        readings = Readers.load(self.run / "readers").read([read_file(one) for one in self.paths])
        place = self.out / "reference" / f"{self.part}-{self.clips}"
        reference = link_reference(self.run / "clips" / self.part, self.clips, place)
        return {
            "readings": [asdict(one) for one in readings],
            "frechet": frechet(self.folder, reference, self.out / "cache"),
        }

    def make(self) -> None:
        """Make the clips that are missing, batch by batch; those of the game are linked."""
        asked, paths = self.asked, self.paths
        if self.row == REAL:
            self.folder.mkdir(parents=True, exist_ok=True)
            for one, path in zip(asked, paths, strict=True):
                if not path.exists():
                    os.link(one.path, path)
            return
        for start in range(0, len(asked), BATCH):
            batch, files = asked[start : start + BATCH], paths[start : start + BATCH]
            if not all(path.exists() for path in files):
                for path, clip in zip(files, self._batch(batch, start), strict=True):
                    write_clip(path, clip)

    def readings(self) -> list[Reading]:
        """Read the kept readings."""
        return [_reading(record) for record in self.results()["readings"]]

    def _batch(self, asked: Sequence[Asked], start: int) -> Sequence[AudioVideo]:
        system, model = _loaded(self.run / "pair")
        real = as_heard_and_seen(asked, system.form)
        if isinstance(self.row, str):
            sounds = model.decode_audio(model.encode_audio([one.audio for one in real]))
            videos = model.decode_video(model.encode_video([one.video for one in real]))
            return [AudioVideo(*pair) for pair in zip(sounds, videos, strict=True)]
        defaults = replace(system.sampling().in_steps(self.row.steps), joint_scale=self.row.scale)
        run = GenerationRun(
            model,
            self._discriminator(self.row),
            defaults.settings,
            self.row.task(real),
            float(system.form.seconds),
            method=system.method,
        )
        first = self.seed * SEEDS_APART + start
        captions = [one.caption for one in asked]
        return generate(run, captions, range(first, first + len(asked)))

    def _discriminator(self, row: Row) -> Discriminator:
        if row.scale == OFF:
            return ZeroLogit()
        return PretrainedDiscriminator.load(self.run / row.discriminator).network


@lru_cache(1)
def _loaded(pair: Path) -> tuple[JointSystem, IndependentModels]:
    return loaded(pair)


def _reading(record: dict[str, Any]) -> Reading:
    sides = {
        side: tuple(Event(one["kind"], one["second"]) for one in record[side])
        for side in ("seen", "heard")
    }
    return Reading(**{**record, **sides})

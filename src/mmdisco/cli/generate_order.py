"""The arguments of ``mmdisco generate``, checked before anything is computed."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from mmdisco.av import AV
from mmdisco.embedded.weights import Folder
from mmdisco.errors import UserError
from mmdisco.files import expect_writable
from mmdisco.media.writing import expect_container
from mmdisco.record import Surroundings, read_record
from mmdisco.request import Request, best_joint_scale, folder_of

LONGEST_NAME: Final = 60


@dataclass(frozen=True)
class Wish:
    """The arguments that say what to make, as given."""

    prompt: str | None = None
    seed: int | None = None
    samples: int | None = None
    video: Path | None = None
    audio: Path | None = None
    no_guidance: bool = False
    joint_scale: float | None = None
    audio_scale: float | None = None
    video_scale: float | None = None
    guidance_scale: float | None = None
    steps: int | None = None
    scheduler: str | None = None

    def request(self, folder: Folder) -> Request:
        """The request they make.

        Raises:
            UserError: One is out of its range, or two exclude each other.
        """
        guidance = self.guidance_scale
        request = Request(
            prompt=self.prompt or "",
            seed=self.seed or 0,
            samples=1 if self.samples is None else self.samples,
            video=self.video,
            audio=self.audio,
            guidance_scale=None if guidance is None else AV(guidance, guidance),
            steps=self.steps,
            scheduler=self.scheduler,
        )
        return replace(request, joint_scale=self._joint_scale(request, folder))

    def _joint_scale(self, request: Request, folder: Folder) -> AV[float] | None:
        scales = (self.joint_scale, self.audio_scale, self.video_scale)
        if self.no_guidance:
            if scales != (None, None, None):
                raise UserError("--no-guidance and a scale exclude each other: leave one out")
            return AV(0.0, 0.0)
        if self.audio is not None and self.audio_scale is not None:
            raise UserError("--audio-scale has no effect on a given sound: leave it out")
        if self.video is not None and self.video_scale is not None:
            raise UserError("--video-scale has no effect on a given video: leave it out")
        if scales == (None, None, None):
            return None
        best = best_joint_scale(request, folder.sampling())
        return AV(
            audio=_first(self.audio_scale, self.joint_scale, best.audio),
            video=_first(self.video_scale, self.joint_scale, best.video),
        )


@dataclass(frozen=True)
class Order:
    """All arguments, as given."""

    wish: Wish
    out: Path | None = None
    wav: bool = False
    weights: Path | None = None
    repeat: Path | None = None


@dataclass(frozen=True)
class Outputs:
    """The files of one clip, all of one stem.

    Attributes:
        clip: Sound and picture.
        wav: Whether the sound is written by itself too.
    """

    clip: Path
    wav: bool

    @property
    def sound(self) -> Path:
        """The sound by itself."""
        return self.clip.with_suffix(".wav")

    @property
    def picture(self) -> Path:
        """The drawing of the clip."""
        return self.clip.with_suffix(".png")

    @property
    def record(self) -> Path:
        """What makes the clip again; written last."""
        return self.clip.with_suffix(".json")

    @property
    def all(self) -> list[Path]:
        """Every file, in the order of writing."""
        return [self.clip, *([self.sound] if self.wav else []), self.picture, self.record]


@dataclass(frozen=True)
class Plan:
    """An order that can be carried out.

    Attributes:
        request: What to make.
        folder: The weights.
        outputs: Sample of the batch to its files; other samples are not kept.
        surroundings: For the records.
        warnings: Why a repeated clip may come out otherwise, a line each.
    """

    request: Request
    folder: Folder
    outputs: dict[int, Outputs]
    surroundings: Surroundings
    warnings: list[str]


def plan(order: Order) -> Plan:
    """Check an order.

    Raises:
        UserError: It cannot be carried out.
    """
    folder = folder_of(order.weights)
    if order.repeat is not None:
        return _plan_repeat(order, order.repeat, folder)
    request = order.wish.request(folder)
    out = order.out or Path(f"{_slug(request.prompt)}.mp4")
    clips = {
        sample: out if request.samples == 1 else out.with_stem(f"{out.stem}-{sample}")
        for sample in range(request.samples)
    }
    outputs = _checked(clips, order.wav, request.given)
    return Plan(request, folder, outputs, Surroundings.of(request, folder), [])


def _plan_repeat(order: Order, file: Path, folder: Folder) -> Plan:
    if order.wish != Wish():
        raise UserError(
            "--repeat makes a clip again as it was: leave out the prompt and all options but "
            "--out, --wav and --weights"
        )
    record = read_record(file)
    # beside the clip of the record, not in its place, lest another one be lost
    out = order.out or Path(f"{file.stem}-again.mp4")
    outputs = _checked({record.sample: out}, order.wav, record.request.given)
    now = Surroundings.of(record.request, folder)
    return Plan(record.request, folder, outputs, now, record.changes(now))


def _checked(clips: dict[int, Path], wav: bool, given: Path | None) -> dict[int, Outputs]:
    outputs = {sample: Outputs(clip, wav) for sample, clip in clips.items()}
    for one in outputs.values():
        expect_container(one.clip)
        for path in one.all:
            if given is not None and path.resolve() == given.resolve():
                raise UserError(f"{path} is the given file: choose another name with --out")
            expect_writable(path)
    return outputs


def _slug(prompt: str) -> str:
    """The prompt as a file name: its words in lower case, joined by hyphens."""
    slug = "-".join(re.findall(r"[^\W_]+", prompt.lower()))
    return slug[:LONGEST_NAME].rstrip("-") or "clip"


def _first(*scales: float | None) -> float:
    return next(scale for scale in scales if scale is not None)

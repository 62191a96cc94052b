"""The arguments of ``mmdisco generate``, checked before anything is computed."""

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import shorten
from typing import Final

from mmdisco.cli.generate_effect import expect_sides, expect_unused
from mmdisco.cli.generate_models import PresetArgs, fraction
from mmdisco.cli.prompt_files import PromptLine, read_prompts
from mmdisco.core.av import AV
from mmdisco.errors import UserError
from mmdisco.generation.generate import Request, default_joint_scale, resolve
from mmdisco.generation.metadata import ClipMetadata, PresetChoice, read_record
from mmdisco.generation.system import JointSystem, SamplingDefaults
from mmdisco.io.files import expect_writable
from mmdisco.media.conditioning_clip import BEGINNING
from mmdisco.media.write import expect_container

LONGEST_NAME: Final = 60


@dataclass(frozen=True)
class RequestArgs:
    """The arguments that say what to make, as given."""

    prompt: str | None = None
    seed: int | None = None
    samples: int | None = None
    video: Path | None = None
    audio: Path | None = None
    audio_track: int | None = None
    start: float | None = None
    no_guidance: bool = False
    joint_scale: float | None = None
    audio_scale: float | None = None
    video_scale: float | None = None
    guidance_every: int | None = None
    guidance_from: float | None = None
    guidance_to: float | None = None
    guidance_scale: float | None = None
    audio_guidance: float | None = None
    video_guidance: float | None = None
    steps: int | None = None
    resamples: int | None = None
    scheduler: str | None = None
    negative_prompt: str | None = None
    batched: bool = False
    no_prompt: bool = False
    place: str | None = None  # the line of a file that it comes from

    def request(self, pair: JointSystem) -> Request:
        """The request they make.

        Raises:
            UserError: One is out of its range or without effect, or two exclude each other.
        """
        if self.no_prompt and self.prompt is not None:
            raise UserError("--no-prompt and a prompt exclude each other: leave one out")
        unasked = self.no_prompt or not pair.prompted
        request = Request(
            prompt=self.prompt or (None if unasked else ""),
            seed=self.seed or 0,
            samples=1 if self.samples is None else self.samples,
            video=self.video,
            audio=self.audio,
            audio_track=self.audio_track,
            start=fraction("seconds to start at", self.start or None) or BEGINNING,
            joint_levels=self._joint_levels(pair),
            guidance_every=self.guidance_every,
            guidance_scale=self._guidance_scale(pair),
            steps=self.steps,
            resamples=self.resamples or 0,
            scheduler=self.scheduler,
            negative_prompt=self.negative_prompt or "",
            batched_cfg=self.batched,
        )
        asked = replace(request, joint_scale=self._joint_scale(request, pair))
        self._expect_effect(asked, resolve(asked, pair.sampling()))
        return asked

    def _expect_effect(self, request: Request, sampling: SamplingDefaults) -> None:
        """Refuse what would change nothing.

        Args:
            request: Made of the arguments.
            sampling: With the settings that they leave open.
        """
        joint = {"audio": self.audio_scale, "video": self.video_scale}
        prompted = {"audio": self.audio_guidance, "video": self.video_guidance}
        given = {"audio": self.audio is not None, "video": self.video is not None}
        expect_sides("joint-scale", self.joint_scale, joint, given)
        expect_sides("cfg-scale", self.guidance_scale, prompted, given)
        asked = bool(request.caption.strip() or request.negative_prompt.strip())
        if not asked and {self.guidance_scale, *prompted.values()} != {None}:
            raise UserError("a weight of the prompt has no effect without a prompt: leave it out")
        weights = {"audio": sampling.guidance_scale.audio, "video": sampling.guidance_scale.video}
        if all(given[side] or weights[side] == 1 for side in given):
            expect_unused("--negative-prompt", request.negative_prompt.strip())
            expect_unused("--batch-cfg", self.batched)
        cheaper = {self.guidance_every, self.guidance_from, self.guidance_to}
        if sampling.joint_scale == AV(0.0, 0.0) and cheaper != {None}:
            raise UserError(
                "without joint guidance, --joint-every, --joint-min-logsnr and --joint-max-logsnr "
                "are without use: leave them out"
            )

    def _guidance_scale(self, pair: JointSystem) -> AV[float] | None:
        common = self.guidance_scale
        if (common, self.audio_guidance, self.video_guidance) == (None, None, None):
            return None
        usual = pair.sampling().guidance_scale
        return AV(
            audio=_first(self.audio_guidance, common, usual.audio),
            video=_first(self.video_guidance, common, usual.video),
        )

    def _joint_levels(self, pair: JointSystem) -> tuple[float, float] | None:
        ends = (self.guidance_from, self.guidance_to)
        if ends == (None, None):
            return None
        if any(end is not None and not math.isfinite(end) for end in ends):
            raise UserError("an end of the guidance that is no number: leave it out instead")
        low, high = pair.sampling().joint_levels
        return _first(self.guidance_from, low), _first(self.guidance_to, high)

    def _joint_scale(self, request: Request, pair: JointSystem) -> AV[float] | None:
        scales = (self.joint_scale, self.audio_scale, self.video_scale)
        if self.no_guidance:
            if scales != (None, None, None):
                raise UserError("--no-joint-guidance and a scale exclude each other: leave one out")
            return AV(0.0, 0.0)
        if scales == (None, None, None):
            return None
        best = default_joint_scale(request, pair.sampling())
        return AV(
            audio=_first(self.audio_scale, self.joint_scale, best.audio),
            video=_first(self.video_scale, self.joint_scale, best.video),
        )


@dataclass(frozen=True)
class GenerateArgs:
    """All arguments, as given; ``further`` are the prompts after the first."""

    wish: RequestArgs
    wanted: PresetArgs = field(default_factory=PresetArgs)
    further: tuple[str, ...] = ()
    prompts: Path | None = None
    out: Path | None = None
    wav: bool = False
    weights: Path | None = None
    repeat: Path | None = None

    def wishes(self) -> list[RequestArgs]:
        """One for each prompt.

        Raises:
            UserError: The file of prompts cannot be read.
        """
        others = [PromptLine(text) for text in self.further]
        if self.prompts is not None:
            others += read_prompts(self.prompts)
        own = [self.wish] if self.wish.prompt is not None or not others else []
        if not own:
            self._expect_heeded(others)
        return [*own, *(self._wish(line) for line in others)]

    def _expect_heeded(self, lines: list[PromptLine]) -> None:
        wish = self.wish
        if wish.seed is not None and all(line.seed is not None for line in lines):
            raise UserError(f"--seed has no effect: every prompt of {self.prompts} has its own")
        own = all(line.negative_prompt is not None for line in lines)
        if wish.negative_prompt is not None and own:
            raise UserError(
                f"--negative-prompt has no effect: every prompt of {self.prompts} has its own"
            )

    def _wish(self, line: PromptLine) -> RequestArgs:
        wish = self.wish
        return replace(
            wish,
            prompt=line.prompt,
            seed=wish.seed if line.seed is None else line.seed,
            negative_prompt=(
                wish.negative_prompt if line.negative_prompt is None else line.negative_prompt
            ),
            place=line.place,
        )


@dataclass(frozen=True)
class OutputPaths:
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
class GenerationJob:
    """One batch.

    Attributes:
        request: What to make.
        outputs: Sample of the batch to its files; other samples are not kept.
        place: The line of a file that it comes from, if it does.
    """

    request: Request
    outputs: dict[int, OutputPaths]
    place: str | None = None

    @property
    def name(self) -> str:
        """For messages."""
        return self.place or repr(shorten(self.request.caption, LONGEST_NAME))

    @property
    def suffix(self) -> str:
        """How the names of its clips end, in lower case."""
        return next(one.clip.suffix.lower() for one in self.outputs.values())


@dataclass(frozen=True)
class Refusal:
    """A prompt that no clip is made of, beside others.

    Attributes:
        name: The prompt, or the line of a file that it stands in.
        reason: Why.
    """

    name: str
    reason: UserError

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


@dataclass(frozen=True)
class GenerationPlan:
    """An order that can be carried out.

    Attributes:
        choice: Of the pair.
        pair: With which.
        jobs: A batch for each prompt.
        record: That of the clip which is made again, if one is.
        refused: Prompts that cannot be asked for.
    """

    choice: PresetChoice
    pair: JointSystem
    jobs: list[GenerationJob]
    record: ClipMetadata | None = None
    refused: tuple[Refusal, ...] = ()


def plan(order: GenerateArgs) -> GenerationPlan:
    """Check an order.

    Raises:
        UserError: It cannot be carried out.
    """
    if order.repeat is not None:
        return _plan_repeat(order, order.repeat)
    if order.wanted.as_released and order.wish.scheduler is not None:
        raise UserError("--as-released brings its own scheduler: leave --scheduler out")
    if order.wanted.as_released and order.wish.guidance_every is not None:
        raise UserError("--as-released asks at every evaluation: leave --joint-every out")
    choice = order.wanted.choice(order.weights)
    pair = choice.pair()
    wishes = order.wishes()
    requests: dict[int, Request] = {}
    refused: list[Refusal] = []
    for index, wish in enumerate(wishes):
        try:
            requests[index] = wish.request(pair)
        except UserError as error:
            if len(wishes) == 1:
                raise
            refused.append(Refusal(wish.place or repr(wish.prompt or ""), error))
    outputs = _named(requests, wishes, order)
    _expect_apart(list(outputs.values()))
    jobs = [
        GenerationJob(one, outputs[index], wishes[index].place) for index, one in requests.items()
    ]
    return GenerationPlan(choice, pair, jobs, refused=tuple(refused))


def _named(
    requests: Mapping[int, Request], wishes: list[RequestArgs], order: GenerateArgs
) -> dict[int, dict[int, OutputPaths]]:
    """Files for every sample of every request, by the place of its prompt among all."""
    stems = [_slug(wish.prompt or "") for wish in wishes]
    named: dict[int, dict[int, OutputPaths]] = {}
    for index, request in requests.items():
        stem = stems[index]
        out = order.out or Path(f"{stem}.mp4")
        if len(wishes) > 1 and (order.out is not None or Counter(stems)[stem] > 1):
            out = out.with_stem(f"{out.stem}-{index}")
        clips = {
            sample: out if request.samples == 1 else out.with_stem(f"{out.stem}-{sample}")
            for sample in range(request.samples)
        }
        named[index] = _checked(clips, order.wav, request.given)
    return named


def _expect_apart(outputs: list[dict[int, OutputPaths]]) -> None:
    clips = Counter(one.clip for own in outputs for one in own.values())
    twice = [str(path) for path, count in clips.items() if count > 1]
    if twice:
        raise UserError(f"two clips would be named {twice[0]}: choose a name with --out")


def _plan_repeat(order: GenerateArgs, file: Path) -> GenerationPlan:
    bare = GenerateArgs(
        RequestArgs(), out=order.out, wav=order.wav, weights=order.weights, repeat=order.repeat
    )
    if order != bare:
        raise UserError(
            "--from-metadata makes a clip again as it was: leave out the prompt and all options "
            "but --out, --wav and --weights"
        )
    record = read_record(file, order.weights)
    pair = record.choice.pair()
    # beside the clip of the record, not in its place, lest another one be lost
    out = order.out or Path(f"{file.stem}-again.mp4")
    outputs = _checked({record.sample: out}, order.wav, record.request.given)
    return GenerationPlan(record.choice, pair, [GenerationJob(record.request, outputs)], record)


def _checked(clips: dict[int, Path], wav: bool, given: Path | None) -> dict[int, OutputPaths]:
    outputs = {sample: OutputPaths(clip, wav) for sample, clip in clips.items()}
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

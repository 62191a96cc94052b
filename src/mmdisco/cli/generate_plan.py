"""Plan of ``mmdisco generate``: requests from options and files, checked, and names of clips.

Loads no model: a mistake is answered before the libraries behind one are imported.
"""

import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any, Final, NoReturn

from mmdisco.cli.config_options import given
from mmdisco.errors import UserError
from mmdisco.generation.config import GenerateConfig
from mmdisco.generation.metadata import ClipMetadata, OutputPaths, read_record
from mmdisco.generation.presets.registry import system_of
from mmdisco.generation.resolve import check, resolve
from mmdisco.generation.system import JointSystem
from mmdisco.io.files import expect_writable
from mmdisco.media.write import expect_container

LONGEST_NAME: Final = 60


@dataclass(frozen=True)
class PromptLine:
    """Options of one clip beside those of the command.

    Attributes:
        options: Values of ``GenerateConfig`` by name.
        place: File and line, for messages; None where there is no file.
    """

    options: Mapping[str, Any]
    place: str | None = None


@dataclass(frozen=True)
class WrittenClip:
    """A clip that is there.

    Attributes:
        paths: Its files.
        config: Request of its batch.
        sample: Index in the batch.
    """

    paths: OutputPaths
    config: GenerateConfig
    sample: int

    def to_record(self) -> dict[str, Any]:
        """Return files, prompt and seed for JSON; the rest lies in the record beside the clip."""
        return {
            "clip": str(self.paths.clip),
            **({"sound": str(self.paths.sound)} if self.paths.wav else {}),
            "picture": str(self.paths.picture),
            "record": str(self.paths.record),
            "prompt": self.config.prompt,
            "seed": self.config.seed + self.sample,
        }


@dataclass(frozen=True)
class GenerationJob:
    """One batch.

    Attributes:
        config: Resolved request.
        outputs: Files of each sample of the batch that is kept.
        notices: Deviations from the request, one line each.
        place: Line of a file that the request comes from, if it does.
    """

    config: GenerateConfig
    outputs: dict[int, OutputPaths]
    notices: Sequence[str] = ()
    place: str | None = None

    @property
    def name(self) -> str:
        """Name for messages."""
        return self.place or repr(shorten(self.config.caption, LONGEST_NAME))

    @property
    def suffix(self) -> str:
        """Ending of the names of its clips, in lower case."""
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
    """Clips to make.

    Attributes:
        system: System that makes them.
        jobs: A batch for each prompt.
        locks: Names of clips that no other run may write meanwhile.
        record: Record of the clip that is made again, if one is.
        refused: Prompts of which no clip can be made.
    """

    system: JointSystem
    jobs: list[GenerationJob]
    locks: Sequence[Path]
    record: ClipMetadata | None = None
    refused: tuple[Refusal, ...] = ()

    @property
    def work(self) -> tuple[int, int]:
        """Steps of all samples and candidates together, and the number of clips."""
        steps = sum((one.config.steps or 0) * len(one.config.seeds) for one in self.jobs)
        return steps, sum(len(one.outputs) for one in self.jobs)

    @property
    def kind(self) -> str:
        """What decides, with the machine, how long a step of a clip takes."""
        config = self.jobs[0].config
        own = (config.discriminator, config.weights, *config.build_options().values())
        guided = "unguided" if config.no_joint_guidance else f"every {config.joint_every or 1}"
        scales = {config.cfg_scale_audio, config.cfg_scale_video} - {None, 1.0}
        told = [str(one) for one in own if one not in (None, False)]
        return ", ".join([config.title, *told, guided, *(["CFG"] if scales else [])])

    @property
    def summary(self) -> str:
        """One line: the pair, where it runs, what is made, and with how many steps."""
        configs = [one.config for one in self.jobs]
        config, (_, count) = configs[0], self.work
        steps = sorted({one.steps or 0 for one in configs})
        schedulers = {one.scheduler for one in configs} - {None}
        parts = [
            f"{counted(count)} of {float(self.system.form.seconds):g} s",
            counted(" to ".join(dict.fromkeys(map(str, (steps[0], steps[-1])))), "step")
            + "".join(f" of {one}" for one in schedulers if len(schedulers) == 1),
            "without joint guidance" if config.no_joint_guidance else "joint guidance",
        ]
        if config.given is not None:
            parts.insert(1, f"{'sound' if config.video else 'video'} for {config.given.name}")
        if config.candidates > 1:
            parts.append(f"the best of {config.candidates} candidates")
        if config.smc_every is not None:
            parts.append(f"resampled every {counted(config.smc_every, 'step')}")
        pair = (
            f"{config.title} with {config.discriminator}" if config.discriminator else config.title
        )
        return f"{pair} on {config.device}: {', '.join([*parts, f'seed {config.seed}'])}"


def raise_all(refused: Sequence[Refusal]) -> NoReturn:
    """Refuse all prompts: for the reason that they share, else with a line for each.

    Raises:
        UserError: Always.
    """
    if len({str(one.reason) for one in refused}) == 1:
        raise refused[0].reason  # it is not the prompts
    for one in refused:
        say(str(one))
    raise UserError(f"{len(refused)} of {len(refused)} prompts made no clip")


def counted(count: int | str, what: str = "clip") -> str:
    """Return "1 clip" or "3 clips"."""
    return f"1 {what}" if count in (1, "1") else f"{count} {what}s"


def say(message: object, *_: object) -> None:
    """Write a line to the standard error; also in place of ``warnings.showwarning``."""
    sys.stderr.write(f"mmdisco: {message}\n")


def plan(
    options: Mapping[str, Any],
    prompts: Path | None,
    config: Path | None,
    out: Path | None,
    *,
    wav: bool,
    build: Callable[[GenerateConfig], JointSystem] = system_of,
) -> GenerationPlan:
    """Check what is asked for.

    Args:
        options: Options of ``GenerateConfig`` as the command has them.
        prompts: File with a prompt a line.
        config: YAML file of options.
        out: Name of the clips; that of each prompt if left out.
        wav: Whether sounds are written by themselves too.
        build: Makes the system of the options.

    Raises:
        UserError: None of it can be made.
    """
    own = given(options)
    texts: list[str] = own.pop("prompt", [])
    common = {**_of_file(config), **own}
    if "prompt" in common:  # of the YAML file
        texts = texts or [common.pop("prompt")]
    lines = [PromptLine({"prompt": text}) for text in texts]
    if prompts is not None:
        from mmdisco.cli.prompt_files import read_prompts

        lines += read_prompts(prompts)
        if not texts:
            _expect_heeded(own, lines, prompts)
    system = build(GenerateConfig(**common))
    resolved: dict[int, GenerateConfig] = {}
    notices: dict[int, list[str]] = {}
    refused: list[Refusal] = []
    lines = lines or [PromptLine({})]
    for index, line in enumerate(lines):
        try:
            resolved[index] = resolve(_config(common, line, alone=len(lines) == 1), system)
            notices[index] = check(resolved[index], system)
        except UserError as error:
            name = line.place or repr(line.options.get("prompt", ""))
            refused.append(Refusal(name, error))
            resolved.pop(index, None)
    if not resolved:
        raise_all(refused)
    names = _names([str(line.options.get("prompt", "")) for line in lines], out)
    outputs = {index: _outputs(one, names[index], wav=wav) for index, one in resolved.items()}
    _expect_apart(list(outputs.values()))
    jobs = [
        GenerationJob(one, outputs[index], notices[index], lines[index].place)
        for index, one in resolved.items()
    ]
    locks = [names[index] for index in resolved] if out is None else [out]
    return GenerationPlan(system, jobs, locks, refused=tuple(refused))


def plan_again(
    record: Path,
    options: Mapping[str, Any],
    others: Sequence[object],
    out: Path | None,
    *,
    wav: bool,
) -> GenerationPlan:
    """Check that the clip beside a record can be made again.

    Args:
        record: The record.
        options: Options of ``GenerateConfig`` as the command has them; only ``weights`` may be.
        others: What else may not be given.
        out: Name of the clip; in the current folder if left out.
        wav: Whether the sound is written by itself too.

    Raises:
        UserError: It cannot, or more is asked for than that.
    """
    own = given(options)
    if own.keys() - {"weights"} or any(one is not None for one in others):
        raise UserError(
            "--from-metadata makes a clip again as it was: leave out the prompt and all options "
            "but --out, --wav, --weights and --threads"
        )
    found = read_record(record, own.get("weights"))
    system = system_of(found.config)
    # under another name than the clip of the record, lest that be lost
    path = out or Path(f"{record.stem}-again.mp4")
    outputs = _checked({found.sample: path}, found.config.given, wav=wav)
    job = GenerationJob(found.config, outputs, check(found.config, system))
    return GenerationPlan(system, [job], [path], found)


def _of_file(config: Path | None) -> dict[str, Any]:
    if config is None:
        return {}
    from mmdisco.cli.prompt_files import read_options

    return read_options(config)


def _config(common: Mapping[str, Any], line: PromptLine, *, alone: bool) -> GenerateConfig:
    try:
        return GenerateConfig(**{**common, **line.options})
    except UserError as error:
        # among others the line is named with every reason
        if not alone or line.place is None:
            raise
        raise UserError(f"{line.place}: {error}") from error


def _expect_heeded(own: Mapping[str, Any], lines: Sequence[PromptLine], file: Path) -> None:
    for name in own:
        if all(name in line.options for line in lines):
            option = name.replace("_", "-")
            raise UserError(f"--{option} has no effect: every prompt of {file} has its own")


def _names(prompts: Sequence[str], out: Path | None) -> list[Path]:
    """Return the name of every clip before samples are numbered."""
    stems = [_slug(prompt) for prompt in prompts]
    names: list[Path] = []
    for index, stem in enumerate(stems):
        name = out or Path(f"{stem}.mp4")
        numbered = len(stems) > 1 and (out is not None or Counter(stems)[stem] > 1)
        names.append(name.with_stem(f"{name.stem}-{index}") if numbered else name)
    return names


def _outputs(config: GenerateConfig, name: Path, *, wav: bool) -> dict[int, OutputPaths]:
    clips = {
        sample: name if config.samples == 1 else name.with_stem(f"{name.stem}-{sample}")
        for sample in range(config.samples)
    }
    return _checked(clips, config.given, wav=wav)


def _expect_apart(outputs: list[dict[int, OutputPaths]]) -> None:
    clips = Counter(one.clip for own in outputs for one in own.values())
    twice = [str(path) for path, count in clips.items() if count > 1]
    if twice:
        raise UserError(f"two clips would be named {twice[0]}: choose a name with --out")


def _checked(clips: dict[int, Path], given: Path | None, *, wav: bool) -> dict[int, OutputPaths]:
    outputs = {sample: OutputPaths(clip, wav) for sample, clip in clips.items()}
    for one in outputs.values():
        expect_container(one.clip)
        for path in one.all:
            if given is not None and path.resolve() == given.resolve():
                raise UserError(f"{path} is the given file: choose another name with --out")
            expect_writable(path)
    return outputs


def _slug(prompt: str) -> str:
    """Return the prompt as a file name: its words in lower case, joined by hyphens."""
    slug = "-".join(re.findall(r"[^\W_]+", prompt.lower()))
    return slug[:LONGEST_NAME].rstrip("-") or "clip"

"""``mmdisco doctor``: what a bug report should say of a machine, and a clip as a test."""

import json
import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from tempfile import gettempdir
from typing import Annotated, Final, Literal

import typer

from mmdisco.cli.stopping import running
from mmdisco.errors import UserError

GIB: Final = 1 << 30
LITTLE: Final = 1.0  # GiB that should be free on a disk
ENCODERS: Final = ("libx264", "aac", "pcm_s16le")
DECODERS: Final = ("h264", "hevc", "vp9", "av1", "mpeg4", "aac", "mp3", "opus", "vorbis", "flac")
TOOLS: Final = ("dev", "docs")  # extras for work on mmdisco itself
STEPS: Final = 2
PROMPT: Final = "a red ball bouncing"


@dataclass(frozen=True)
class Finding:
    """A line of the report.

    Attributes:
        part: Heading that it stands under.
        name: What was looked at.
        value: What was found.
        fault: What is wrong and what to do; "" if nothing is.
    """

    part: str
    name: str
    value: str
    fault: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.value}{f' (!) {self.fault}' if self.fault else ''}"


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Versions, devices, codecs, presets, disk space, and a small clip: paste it into a bug report.

    Ends with status 2 where something is wrong.
    """
    findings: list[Finding] = []
    with running("nothing was changed"):
        for finding in examine():
            if not as_json:
                if not findings or findings[-1].part != finding.part:
                    typer.echo(f"{finding.part}:")
                typer.echo(f"  {finding}")
            findings.append(finding)
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in findings], indent=1, ensure_ascii=False))
    faults = [one.name for one in findings if one.fault]
    if faults:
        raise UserError(f"{len(faults)} of {len(findings)} things are wrong: {', '.join(faults)}")


def examine() -> Iterator[Finding]:
    """Look at everything in turn; the parts that take longest come last."""
    yield from _versions()
    yield from examine_disks()
    yield from _codecs()
    yield from _devices()
    yield from _presets()
    yield _self_test()


def _versions() -> Iterator[Finding]:
    part = "versions"
    yield Finding(part, "mmdisco", version("mmdisco"))
    yield Finding(part, "python", f"{platform.python_version()}, {platform.platform()}")
    optional: dict[str, bool] = {}
    for wanted in requires("mmdisco") or ():
        # "typer>=0.29", or with a condition: "ruff>=0.12; extra == 'dev'"
        requirement, _, condition = wanted.partition(";")
        if not any(f"'{extra}'" in condition.replace('"', "'") for extra in TOOLS):
            optional.setdefault(re.split(r"[^\w.-]", requirement)[0], bool(condition))
    for name, may_lack in optional.items():
        try:
            yield Finding(part, name, version(name))
        except PackageNotFoundError:
            if not may_lack:
                yield Finding(part, name, "missing", "install mmdisco again")


def examine_disks() -> Iterator[Finding]:
    """Look at the room where files are written."""
    from mmdisco.generation.config import SystemConfig

    places = {
        "current folder": Path.cwd(),
        "weights": SystemConfig().folder,
        "temporary files": Path(gettempdir()),
    }
    for name, place in places.items():
        there = next(one for one in (place, *place.parents) if one.exists())
        free = shutil.disk_usage(there).free / GIB
        fault = "" if free >= LITTLE else f"make room: have {LITTLE:g} GiB free at least"
        if name != "weights" and not os.access(there, os.W_OK):
            fault = "it cannot be written to: choose another"
        yield Finding("disk", name, f"{_shown(place)}, {free:.1f} GiB free", fault)


def _shown(place: Path) -> str:
    """Show a path without the name of the user in it."""
    home = Path.home()
    return f"~/{place.relative_to(home)}" if place.is_relative_to(home) else str(place)


def _codecs() -> Iterator[Finding]:
    import av

    yield Finding("codecs", "ffmpeg", av.ffmpeg_version_info)
    uses: tuple[tuple[str, Literal["r", "w"], tuple[str, ...]], ...]
    uses = ("writing", "w", ENCODERS), ("reading", "r", DECODERS)
    for use, mode, names in uses:
        lacking = [name for name in names if not _has_codec(name, mode)]
        found = [name for name in names if name not in lacking]
        fault = f"{', '.join(lacking)} lacking: install av from PyPI" if lacking else ""
        yield Finding("codecs", use, ", ".join(found), fault)


def _has_codec(name: str, mode: Literal["r", "w"]) -> bool:
    from av.codec import Codec
    from av.codec.codec import UnknownCodecError

    try:
        Codec(name, mode)
    except UnknownCodecError:
        return False
    return True


def _devices() -> Iterator[Finding]:
    import torch

    from mmdisco.generation.metadata import processor

    part, threads = "devices", torch.get_num_threads()
    yield Finding(part, "cpu", f"{processor()}, {threads} threads of {os.cpu_count()} cores")
    memory = _memory()
    if memory is not None:
        yield Finding(part, "memory", f"{memory:.1f} GiB")
    for index in range(torch.cuda.device_count()):
        one = torch.cuda.get_device_properties(index)
        free = torch.cuda.mem_get_info(index)[0] / GIB
        about = f"{one.name}, {one.total_memory / GIB:.1f} GiB, {free:.1f} free"
        yield Finding(part, f"cuda:{index}", f"{about}, CUDA {torch.version.cuda}")
    if torch.backends.mps.is_available():
        yield Finding(part, "mps", "there")


def _memory() -> float | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    except (AttributeError, OSError, ValueError):  # no such question on this system
        return None


def _presets() -> Iterator[Finding]:
    from mmdisco.generation.config import SystemConfig
    from mmdisco.generation.presets.registry import PRESETS, preset

    for name in PRESETS:
        found = preset(name)
        here = found.present(SystemConfig())
        lacking = [
            part.role for part, is_here in zip(found.components, here, strict=True) if not is_here
        ]
        value = f"lacks {', '.join(lacking)}" if lacking else "complete"
        packaged = not any(part.parts for part in found.components)
        fault = "install mmdisco again" if lacking and packaged else ""
        yield Finding("presets", name, value, fault)


def _self_test() -> Finding:
    """Make a clip of few steps, write it, read it, and look whether anything is seen and heard."""
    began = time.monotonic()
    try:
        wrong = _wrong_with_a_clip()
    except Exception as error:  # whatever is wrong here is what the report is for
        wrong = [f"{type(error).__name__}: {' '.join(str(error).split())}"]
    value = f"a clip of {STEPS} steps, written and read, in {time.monotonic() - began:.1f} s"
    advice = f"{'; '.join(wrong)}: report it with all these lines" if wrong else ""
    return Finding("self-test", "generate", value, advice)


def _wrong_with_a_clip() -> list[str]:
    import numpy as np

    from mmdisco.generation.generate import generate
    from mmdisco.io.files import scratch
    from mmdisco.media.read import read_clip
    from mmdisco.media.write import write_clip

    (clip,) = generate(PROMPT, steps=STEPS)
    with scratch() as folder:
        write_clip(folder / "clip.mp4", clip)
        read = read_clip(folder / "clip.mp4")
    wrong: list[str] = []
    if read.video.frames.shape != clip.video.frames.shape or np.ptp(read.video.frames) == 0:
        wrong.append("the picture is empty")
    if not np.abs(read.audio.waveform).max() > 0:
        wrong.append("the sound is silent")
    return wrong

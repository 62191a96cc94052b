"""``mmdisco generate``: clips from prompts, sound for a video, video for a sound."""

import json
import os
import platform
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmdisco.cli.options import Threads, options_of
from mmdisco.cli.stopping import ANEW, running
from mmdisco.errors import UserError

if TYPE_CHECKING:
    from mmdisco.cli.generate_plan import GenerationPlan, WrittenClip
    from mmdisco.cli.progress import Durations


@options_of("mmdisco.generation.config:GenerateConfig")
def generate(
    prompts: Annotated[
        Path | None,
        typer.Option(
            help="More prompts: a .jsonl or .csv file whose lines may set other options of a clip."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="YAML file of options; those of the command line replace its own."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Clip to write (.mp4, .mov, .mkv); named after the prompt if left out."),
    ] = None,
    wav: Annotated[bool, typer.Option("--wav", help="Write the sound by itself too.")] = False,
    play: Annotated[
        bool, typer.Option("--open", help="Play the first clip in this machine's own player.")
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Say nothing but names of files and what went wrong."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for each clip instead of names.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say what it would cost, and whether it fits the device; make nothing.",
        ),
    ] = False,
    threads: Threads = None,
    from_metadata: Annotated[
        Path | None,
        typer.Option(
            help="Make the clip beside this .json file again; a line says what differs today.",
            rich_help_panel="Reproduction",
        ),
    ] = None,
    **options: Any,
) -> None:
    """Make clips with sound: from prompts, or one side for a given other.

    Beside each clip lie a picture of it (.png) and all that makes it again (.json).
    """
    from mmdisco.cli.generate_plan import plan, plan_again

    if play and not dry_run:
        _expect_player()
    if from_metadata is not None:
        planned = plan_again(from_metadata, options, [prompts, config], out, wav=wav)
    elif dry_run:
        from mmdisco.generation.bill import outline_of

        planned = plan(options, prompts, config, out, wav=wav, build=outline_of)
    else:
        planned = plan(options, prompts, config, out, wav=wav)
    if dry_run:
        with running("nothing is made by --dry-run", threads):
            for line in _bills(planned, as_json=as_json):
                typer.echo(line)
        return
    with running(f"no clip is whole yet: {ANEW}", threads) as run:
        from mmdisco.cli.progress import Durations

        report = GenerationReport(planned, threads, quiet, as_json, Durations())
        report.begin()
        # the libraries behind a clip take seconds to import, which a mistake need not wait for
        from mmdisco.cli.generate_clips import execute

        for clip in execute(planned, run, report.spent, quiet=quiet):
            report.add(clip)
        report.end()
        if play:
            typer.launch(str(report.clips[0].paths.clip))


def _bills(plan: "GenerationPlan", *, as_json: bool) -> Iterator[str]:
    """Yield the bill of each batch, as a table or a line of JSON."""
    from mmdisco.generation.bill import bill_of

    for job in plan.jobs:
        bill = bill_of(job.config)
        if as_json:
            yield json.dumps({"prompt": job.config.prompt, **bill.to_dict()})
        else:
            heading = "" if len(plan.jobs) == 1 else f"{job.name}\n\n"
            yield f"{heading}{bill}"


def _expect_player() -> None:
    """Check, before a clip is made, that something here can play it.

    Raises:
        UserError: There is no screen, or no player.
    """
    if sys.platform in ("darwin", "win32"):
        return
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise UserError("--open plays a clip on a screen, and there is none: leave it out")
    if shutil.which("xdg-open") is None:
        raise UserError("--open needs xdg-open: install xdg-utils, or leave it out")


@dataclass
class GenerationReport:
    """What the command says: a line before, the files of each clip, and what to do next.

    Attributes:
        plan: Clips to make.
        threads: Threads that are asked for.
        quiet: Whether only files are named.
        as_json: Whether each clip is a line of JSON.
        spent: Seconds of the run, as it goes on.
        clips: Clips that are there.
    """

    plan: "GenerationPlan"
    threads: int | None
    quiet: bool
    as_json: bool
    spent: "Durations"
    clips: "list[WrittenClip]" = field(default_factory=lambda: [])

    def begin(self) -> None:
        """Say in one line what is made with what, and how long it takes by the last run."""
        if self.quiet:
            return
        from mmdisco.cli.generate_plan import say
        from mmdisco.cli.progress import Pace

        pace = Pace.recall(self._kind)
        unknown = "how long it takes is known after this run"
        expected = unknown if pace is None else f"about {pace.expected(*self.plan.work)}"
        say(f"{self.plan.summary}; {expected}")

    def add(self, clip: "WrittenClip") -> None:
        """Name the files of a clip."""
        self.clips.append(clip)
        if self.as_json:
            typer.echo(json.dumps(clip.to_record(), ensure_ascii=False))
        else:
            typer.echo("\n".join(map(str, clip.paths.all)))

    def end(self) -> None:
        """Remember how long it took; say so, and what to do next."""
        from mmdisco.cli.generate_plan import counted, say

        self.spent.pace(*self.plan.work).remember(self._kind)
        if self.quiet:
            return
        first, count = self.clips[0].paths, len(self.clips)
        clip, picture, record = (
            shlex.quote(str(one)) for one in (first.clip, first.picture, first.record)
        )
        say(f"{counted(count)} in {self.spent}: play {clip} (--open does), see {picture}")
        say(f"the same clip again: mmdisco generate --from-metadata {record}")
        if not self.clips[0].config.no_joint_guidance:
            say("the models unguided, from the same noise: --no-joint-guidance and another --out")

    @property
    def _kind(self) -> str:
        """What decides how long a step takes."""
        threads = self.threads or os.environ.get("OMP_NUM_THREADS") or os.cpu_count()
        return f"{self.plan.kind}, {threads} threads, {platform.node()}"

"""``mmdisco diagnose``: how well a discriminator classifies and denoises held-out pairs."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmdisco.cli.options import AudioModel, FakesOfData, VideoModel, Weights
from mmdisco.cli.stopping import ANEW, GO_ON, running
from mmdisco.errors import UserError

if TYPE_CHECKING:
    from mmdisco.discriminators.two_tower import AudioVideoDiscriminator
    from mmdisco.training.diagnostics.measure import DiagnosticsRunner


def diagnose(
    discriminator: Annotated[
        str | None,
        typer.Argument(
            help="Folder that `mmdisco train` made, or its id on the hub; the embedded pair's own "
            "if left out."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder that `mmdisco prepare` made; embedded data if left out."),
    ] = None,
    fakes: FakesOfData = None,
    weights: Weights = None,
    video_model: VideoModel = None,
    audio_model: AudioModel = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("diagnostics"),
    pairs: Annotated[int, typer.Option(help="Maximum number of held-out pairs.")] = 256,
    levels: Annotated[int, typer.Option(help="Number of noise levels of each coupling.")] = 8,
) -> None:
    """Accuracy, AUC, calibration and denoising gain by noise level: tables, JSON and a plot.

    Real pairs are compared with samples of the base models, and with real pairs whose sounds are
    shuffled within their caption.
    """
    both = {"video_model": video_model, "audio_model": audio_model}
    pipelines = {name: one for name, one in both.items() if one is not None}
    args = DiagnoseArgs(discriminator, data, fakes, weights, out, pairs, levels, pipelines)
    kept = f"held-out pairs and base predictions are kept in {out}: {GO_ON}"
    with running(kept if data is None else f"nothing is kept: {ANEW}") as run:
        run.work_in(out)
        for line in execute(args):
            typer.echo(line)


@dataclass(frozen=True)
class DiagnoseArgs:
    """The options, as ``mmdisco diagnose --help`` explains them."""

    discriminator: str | None
    data: Path | None
    fakes: Path | None
    weights: Path | None
    out: Path
    pairs: int
    levels: int
    pipelines: Mapping[str, str] = field(default_factory=dict[str, str])


def execute(args: DiagnoseArgs) -> Iterator[str]:
    """Measure, and write ``diagnostics.json``, ``diagnostics.md`` and ``diagnostics.png``.

    Yields:
        The tables, and the files.

    Raises:
        UserError: An option is missing or does not fit.
    """
    if (args.data is None) != (args.fakes is None):
        raise UserError("give both --data and --fakes, or neither for the embedded data")
    if args.pipelines and args.data is None:
        raise UserError("--video-model and --audio-model are those of --data: give it, or neither")
    # these import torch, for which --help need not wait
    from mmdisco.cli.progress import progress
    from mmdisco.io.files import expect_writable, write_json, write_text
    from mmdisco.training.diagnostics.report import draw_diagnostics, markdown

    files = [args.out / f"diagnostics.{suffix}" for suffix in ("json", "md", "png")]
    for path in files:
        expect_writable(path)
    with progress("held-out pairs") as shown:
        done, total = count(1), 0
        network, runner = _build(args, lambda: shown.update("noise levels", next(done), total))
        total = len(runner.couplings) * runner.levels
        found = runner.measure(network)
    text = markdown(found)
    write_json(files[0], found.record())
    write_text(files[1], f"# Diagnostics of a discriminator\n\n{text}\n")
    draw_diagnostics(files[2], found)
    yield text
    yield from map(str, files)


def _build(
    args: DiagnoseArgs, watch: Callable[[], None]
) -> "tuple[AudioVideoDiscriminator, DiagnosticsRunner]":
    from mmdisco.adapters.miniature import PACKAGED
    from mmdisco.experiments.miniature.training import diagnostics_runner, fitting
    from mmdisco.generation.presets.miniature import MiniatureSystem
    from mmdisco.training.diagnostics.held_out import HeldOutClips

    if args.data is not None and args.fakes is not None:
        if args.discriminator is None:
            raise UserError("name the discriminator: a folder that `mmdisco train` made")
        clips = HeldOutClips.load(args.data, args.fakes, args.weights, args.pipelines)
        network = clips.discriminator(args.discriminator)
        return network, clips.runner(args.pairs, args.levels, watch)
    folder = MiniatureSystem(args.weights or PACKAGED)
    network = fitting(folder, args.discriminator)
    kept = args.out / "held-out"
    return network, diagnostics_runner(
        folder, kept, pairs=args.pairs, levels=args.levels, watch=watch
    )

"""``mmdisco diagnose``: how well a discriminator classifies and denoises held-out pairs."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Any

import typer

from mmdisco.cli.options import options_of
from mmdisco.cli.stopping import ANEW, GO_ON, running

if TYPE_CHECKING:
    from mmdisco.discriminators.two_tower import AudioVideoDiscriminator
    from mmdisco.training.diagnostics.config import DiagnoseConfig
    from mmdisco.training.diagnostics.measure import DiagnosticsRunner


@options_of("mmdisco.training.diagnostics.config:DiagnoseConfig")
def diagnose(**options: Any) -> None:
    """Accuracy, AUC, calibration and denoising gain by noise level: tables, JSON and a plot.

    Real pairs are compared with samples of the base models, and with real pairs whose sounds are
    shuffled within their caption.
    """
    # imports that --help need not wait for
    from mmdisco.cli.config_options import given
    from mmdisco.training.diagnostics.config import DiagnoseConfig

    config = DiagnoseConfig(**given(options))
    kept = f"held-out pairs and base predictions are kept in {config.out}: {GO_ON}"
    with running(kept if config.data is None else f"nothing is kept: {ANEW}") as run:
        run.work_in(config.out)
        for line in execute(config):
            typer.echo(line)


def execute(config: "DiagnoseConfig") -> Iterator[str]:
    """Measure, and write ``diagnostics.json``, ``diagnostics.md`` and ``diagnostics.png``.

    Yields:
        The tables, and the files.

    Raises:
        UserError: Something is missing or does not fit.
    """
    # these import torch, for which --help need not wait
    from mmdisco.cli.progress import progress
    from mmdisco.io.files import expect_writable, write_json, write_text
    from mmdisco.training.diagnostics.report import draw_diagnostics, markdown

    files = [config.out / f"diagnostics.{suffix}" for suffix in ("json", "md", "png")]
    for path in files:
        expect_writable(path)
    with progress("held-out pairs") as shown:
        done, total = count(1), 0
        network, runner = _build(config, lambda: shown.update("noise levels", next(done), total))
        total = len(runner.couplings) * runner.levels
        found = runner.measure(network)
    text = markdown(found)
    write_json(files[0], found.record())
    write_text(files[1], f"# Diagnostics of a discriminator\n\n{text}\n")
    draw_diagnostics(files[2], found)
    yield text
    yield from map(str, files)


def _build(
    config: "DiagnoseConfig", watch: Callable[[], None]
) -> "tuple[AudioVideoDiscriminator, DiagnosticsRunner]":
    from mmdisco.adapters.miniature import PACKAGED
    from mmdisco.experiments.miniature.training import diagnostics_runner, fitting
    from mmdisco.generation.presets.miniature import MiniatureSystem
    from mmdisco.training.diagnostics.held_out import HeldOutClips

    if config.data and config.fakes and config.discriminator:
        clips = HeldOutClips.load(config.data, config.fakes, config.weights, config.pipelines)
        network = clips.discriminator(config.discriminator)
        return network, clips.runner(config.pairs, config.levels, watch)
    folder = MiniatureSystem(config.weights or PACKAGED)
    network = fitting(folder, config.discriminator)
    kept = config.out / "held-out"
    return network, diagnostics_runner(
        folder, kept, pairs=config.pairs, levels=config.levels, watch=watch
    )

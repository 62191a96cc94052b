"""What ``mmdisco diagnose`` does with its options."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from mmdisco.adapters.miniature.model import PACKAGED
from mmdisco.cli.progress import progress
from mmdisco.discriminators.two_tower import AudioVideoDiscriminator
from mmdisco.errors import UserError
from mmdisco.experiments.miniature.held_out import examiner_of, fitting
from mmdisco.generation.presets.miniature_system import MiniatureSystem
from mmdisco.io.files import expect_writable, write_json, write_text
from mmdisco.training.diagnostics.held_out import HeldOutClips
from mmdisco.training.diagnostics.measure import DiagnosticsRunner
from mmdisco.training.diagnostics.report import draw_diagnostics, markdown


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


def execute(order: DiagnoseArgs) -> Iterator[str]:
    """Examine, and write ``health.json``, ``health.md`` and ``health.png``.

    Yields:
        The tables, and the files.

    Raises:
        UserError: An option is missing or does not fit.
    """
    if (order.data is None) != (order.fakes is None):
        raise UserError("give both --data and --fakes, or neither for the embedded data")
    files = [order.out / f"health.{suffix}" for suffix in ("json", "md", "png")]
    for path in files:
        expect_writable(path)
    with progress("held-out pairs") as shown:
        done = count()
        total = 0
        network, examiner = _asked(
            order, lambda: shown.update("noise levels", next(done) + 1, total)
        )
        total = len(examiner.paths) * examiner.levels
        found = examiner.examine(network)
    text = markdown(found)
    write_json(files[0], found.record())
    write_text(files[1], f"# Health of a discriminator\n\n{text}\n")
    draw_diagnostics(files[2], found)
    yield text
    yield from map(str, files)


def _asked(
    order: DiagnoseArgs, watch: Callable[[], None]
) -> tuple[AudioVideoDiscriminator, DiagnosticsRunner]:
    if order.data is not None and order.fakes is not None:
        if order.discriminator is None:
            raise UserError("name the discriminator: a folder that `mmdisco train` made")
        clips = HeldOutClips.load(order.data, order.fakes, order.weights)
        network = clips.discriminator(order.discriminator)
        return network, clips.examiner(order.pairs, order.levels, watch)
    folder = MiniatureSystem(order.weights or PACKAGED)
    network = fitting(folder, order.discriminator)
    kept = order.out / "held-out"
    return network, examiner_of(folder, kept, pairs=order.pairs, levels=order.levels, watch=watch)

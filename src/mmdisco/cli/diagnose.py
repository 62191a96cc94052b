"""``mmdisco diagnose``: how well a discriminator does its work on held-out pairs."""

from pathlib import Path
from typing import Annotated

import typer

from mmdisco.cli.options import FakesOfData, Weights
from mmdisco.cli.stopping import ANEW, GO_ON, running


def diagnose(
    discriminator: Annotated[
        str | None,
        typer.Argument(
            help="Folder that `mmdisco train` made, or its id on the hub; the embedded pair's own "
            "if left out."
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder that `mmdisco prepare` made; embedded data if not.")
    ] = None,
    fakes: FakesOfData = None,
    weights: Weights = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("health"),
    pairs: Annotated[int, typer.Option(help="Held-out pairs, at most.")] = 256,
    levels: Annotated[int, typer.Option(help="Noise levels of each path.")] = 8,
) -> None:
    """Accuracy, AUC, calibration and denoising gain by noise level: tables, JSON and a picture.

    Real pairs stand against the bases' own, and against real ones whose sounds are exchanged
    within their caption.
    """
    # the libraries behind take seconds to import, which --help need not wait for
    from mmdisco.cli.diagnose_order import DiagnoseArgs, execute

    order = DiagnoseArgs(discriminator, data, fakes, weights, out, pairs, levels)
    embedded = data is None
    said = f"held-out pairs and what the bases say of them are kept in {out}: {GO_ON}"
    with running(said if embedded else f"nothing is kept: {ANEW}") as run:
        run.work_in(out)
        for line in execute(order):
            typer.echo(line)

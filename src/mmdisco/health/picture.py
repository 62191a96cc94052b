"""The report as a picture: telling apart, calibration and gain, by noise level."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmdisco.files import replacing
from mmdisco.health.record import SIDES, Along, Health

_COLOURS: Final = ("#1f6fb2", "#c4572c", "#3b8a4a", "#7b5aa6")


def draw_health(path: Path, health: Health) -> None:
    """Write a PNG, a row for each path of noise levels.

    Raises:
        UserError: The place cannot be written to.
    """
    figure = Figure(figsize=(13, 3.3 * len(health.paths)), layout="constrained")
    rows = figure.subplots(len(health.paths), 4, squeeze=False)
    for row, (name, along) in zip(rows, health.paths.items(), strict=True):
        _telling(row[0], along, "ranking", f"{name}: area under ROC")
        _telling(row[1], along, "accuracy", "accuracy")
        _reliability(row[2], along)
        _gain(row[3], along)
    with replacing(path) as beside:
        figure.savefig(beside, dpi=100, metadata={"Software": None})


def _telling(axes: Axes, along: Along, key: str, title: str) -> None:
    for name, colour in _named(along.reliability).items():
        told = [getattr(level.against[name], key) for level in along.levels]
        axes.plot([one.angle for one in along.levels], told, ".-", color=colour, label=name)
    axes.axhline(0.5, color="grey", linewidth=0.8)
    axes.set(title=title, xlabel="noise angle (2/π) atan(σ/α)", xlim=(0, 1), ylim=(0.0, 1.02))
    axes.legend(title="real against")


def _reliability(axes: Axes, along: Along) -> None:
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    for name, colour in _named(along.reliability).items():
        bins = along.reliability[name]
        label = f"{name}, error {along.calibration_error[name]:.3f}"
        axes.plot([b.told for b in bins], [b.real for b in bins], ".-", color=colour, label=label)
    axes.set(title="calibration", xlabel="told to be real", ylabel="share that is", xlim=(0, 1))
    axes.legend()


def _gain(axes: Axes, along: Along) -> None:
    axes.axhline(0, color="grey", linewidth=0.8)
    for side, colour in zip(SIDES, _COLOURS, strict=False):
        found = [one.denoising[side] for one in along.levels if side in one.denoising]
        if found:
            axes.errorbar(
                [one.log_snr for one in found],
                [one.gain for one in found],
                [one.error for one in found],
                fmt=".-",
                color=colour,
                label=f"{side}, {along.nats(side):.2f} nats",
            )
    axes.set(title="‖ε − ε_base‖² − ‖ε − ε_guided‖²", xlabel="ln(α²/σ²)")
    axes.legend()


def _named(contrasts: Mapping[str, object]) -> dict[str, str]:
    return dict(zip(contrasts, _COLOURS, strict=False))

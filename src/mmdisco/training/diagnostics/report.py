"""Report of a discriminator's diagnostics: as values, JSON, a plot, and Markdown tables.

The plot shows accuracy, calibration and gain by noise level; the tables have a row for each level.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic import TypeAdapter
from torch import Tensor

from mmdisco.errors import UserError
from mmdisco.io.files import read_object, replacing
from mmdisco.io.reports import markdown_table
from mmdisco.training.diagnostics.scores import Bin, BinaryScores

SIDES = ("audio", "video")


@dataclass(frozen=True)
class Denoising:
    """Squared errors of predicted noise on real pairs, one modality at one noise level.

    Attributes:
        log_snr: ln(α²/σ²) of this modality.
        base: ‖ε − ε_base‖², unguided: a sum over a latent's elements, a mean over pairs.
        guided: The same with the discriminator's gradient, at a joint scale of 1.
        error: Standard error of the mean of their difference.
    """

    log_snr: float
    base: float
    guided: float
    error: float

    @staticmethod
    def of(log_snr: float, errors: Tensor) -> "Denoising":
        """Average the squared errors of each pair, unguided and guided, (n, 2)."""
        base, guided = errors.mean(0).tolist()
        gain = errors[:, 0] - errors[:, 1]
        spread = float(gain.std() / len(gain) ** 0.5) if len(gain) > 1 else 0.0
        return Denoising(log_snr, base, guided, spread)

    @property
    def gain(self) -> float:
        """Reduction of the error by the gradient; negative where the gradient does harm."""
        return self.base - self.guided


@dataclass(frozen=True)
class LevelDiagnostics:
    """Measurements at one place of a coupling.

    Attributes:
        u: Place, 0 the least noise, 1 the most.
        angle: (2/π) atan(σ/α) of the noisier modality.
        against: Classification by the kind of negatives.
        denoising: Errors by modality; a clean one is left out.
    """

    u: float
    angle: float
    against: Mapping[str, BinaryScores]
    denoising: Mapping[str, Denoising]


@dataclass(frozen=True)
class CouplingDiagnostics:
    """Measurements along one coupling of noise levels, from least noise to most.

    Attributes:
        levels: Places at equal steps of u.
        reliability: Reliability diagram over all levels, by the kind of negatives.
        calibration_error: Expected calibration error over all levels.
    """

    levels: tuple[LevelDiagnostics, ...]
    reliability: Mapping[str, tuple[Bin, ...]]
    calibration_error: Mapping[str, float]

    def has(self, side: str) -> bool:
        """Whether a modality is noisy at every level, and not given."""
        return all(side in level.denoising for level in self.levels)

    def nats(self, side: str) -> float:
        """Integrate ½ ∫ gain d ln(α²/σ²) of one modality, from the first level to the last.

        With an exact base model this is the mutual information of sound and video that the
        discriminator has learnt (Guo et al. 2005); corrections of an inexact base model count as
        well.
        """
        points = [one.denoising[side] for one in self.levels if side in one.denoising]
        return sum(
            0.25 * (one.gain + other.gain) * (one.log_snr - other.log_snr)
            for one, other in pairwise(points)
        )


@dataclass(frozen=True)
class Diagnostics:
    """Diagnostics of a discriminator.

    Attributes:
        pairs: Number of pairs measured, by name: ``real``, and both sides of a comparison.
        couplings: Measurements by name of the coupling.
    """

    pairs: Mapping[str, int]
    couplings: Mapping[str, CouplingDiagnostics]

    def summary(self) -> dict[str, float]:
        """Return means over levels and areas, each by a name of its own."""
        found: dict[str, float] = {}
        for coupling, along in self.couplings.items():
            for name, error in along.calibration_error.items():
                scores = [level.against[name] for level in along.levels]
                for key in ("accuracy", "ranking", "cross_entropy"):
                    mean = sum(getattr(one, key) for one in scores) / len(scores)
                    found[f"{coupling}: {key} against {name}"] = mean
                found[f"{coupling}: calibration_error against {name}"] = error
            for side in filter(along.has, SIDES):
                found[f"{coupling}: nats {side}"] = along.nats(side)
        return found

    @staticmethod
    def read(path: Path) -> "Diagnostics":
        """Read the record that ``mmdisco diagnose`` wrote.

        Raises:
            UserError: The file is missing, or is something else.
        """
        values = read_object(path)
        given = {name: values.get(name) for name in ("pairs", "couplings")}
        try:
            return TypeAdapter(Diagnostics).validate_python(given)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise UserError(
                f"{path} is no diagnostics.json that `mmdisco diagnose` wrote"
            ) from error

    def record(self) -> dict[str, Any]:
        """Convert to JSON's types."""
        return {**asdict(self), "summary": self.summary()}


_COLOURS: Final = ("#1f6fb2", "#c4572c", "#3b8a4a", "#7b5aa6")


def draw_diagnostics(path: Path, found: Diagnostics) -> None:
    """Write a PNG with a row for each coupling of noise levels.

    Raises:
        UserError: The file cannot be written.
    """
    figure = Figure(figsize=(13, 3.3 * len(found.couplings)), layout="constrained")
    rows = figure.subplots(len(found.couplings), 4, squeeze=False)
    for row, (name, along) in zip(rows, found.couplings.items(), strict=True):
        _scores(row[0], along, "ranking", f"{name}: area under ROC")
        _scores(row[1], along, "accuracy", "accuracy")
        _reliability(row[2], along)
        _gain(row[3], along)
    with replacing(path) as beside:
        figure.savefig(beside, dpi=100, metadata={"Software": None})


def _scores(axes: Axes, along: CouplingDiagnostics, key: str, title: str) -> None:
    for name, colour in _named(along.reliability).items():
        values = [getattr(level.against[name], key) for level in along.levels]
        axes.plot([one.angle for one in along.levels], values, ".-", color=colour, label=name)
    axes.axhline(0.5, color="grey", linewidth=0.8)
    axes.set(title=title, xlabel="noise angle (2/π) atan(σ/α)", xlim=(0, 1), ylim=(0.0, 1.02))
    axes.legend(title="real against")


def _reliability(axes: Axes, along: CouplingDiagnostics) -> None:
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    for name, colour in _named(along.reliability).items():
        bins = along.reliability[name]
        label = f"{name}, error {along.calibration_error[name]:.3f}"
        predicted, real = [one.predicted for one in bins], [one.real for one in bins]
        axes.plot(predicted, real, ".-", color=colour, label=label)
    axes.set(title="calibration", xlabel="predicted", ylabel="share of real pairs", xlim=(0, 1))
    axes.legend()


def _gain(axes: Axes, along: CouplingDiagnostics) -> None:
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


def markdown(found: Diagnostics) -> str:
    """Format a table for each coupling of noise levels, and the number of pairs behind them."""
    parts = [f"## {name}\n\n{_table(along)}" for name, along in found.couplings.items()]
    pairs = ", ".join(f"{count} {name}" for name, count in found.pairs.items())
    return "\n\n".join([*parts, f"Pairs: {pairs}."])


def _table(along: CouplingDiagnostics) -> str:
    names = list(along.reliability)
    head = ["noise angle"]
    for name in names:
        head += [f"accuracy, {name}", f"AUC, {name}", f"calibration error, {name}"]
    head += [f"{side}: base's error, gain" for side in SIDES]
    rows: list[list[str]] = []
    for level in along.levels:
        cells = [f"{level.angle:.3f}"]
        for name in names:
            scores = level.against[name]
            found = (scores.accuracy, scores.ranking, scores.calibration_error)
            cells += [f"{one:.3f}" for one in found]
        for side in SIDES:
            one = level.denoising.get(side)
            cells.append(
                "given" if one is None else f"{one.base:.1f}, {one.gain:.2f} ± {one.error:.2f}"
            )
        rows.append(cells)
    nats = [f"{side} {along.nats(side):.3f}" for side in filter(along.has, SIDES)]
    errors = [f"{name} {error:.3f}" for name, error in along.calibration_error.items()]
    calibration = f"; calibration error over all levels: {', '.join(errors)}" if errors else ""
    return "\n".join(
        [markdown_table(head, rows), "", f"Nats learnt: {', '.join(nats)}{calibration}."]
    )

"""What is known of a discriminator's health: typed, and in JSON's types.

The report as a picture: telling apart, calibration and gain, by noise level.

The report in words: Markdown tables, a row for each noise level.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmdisco.io.files import replacing
from mmdisco.training.diagnostics.scores import Bin

SIDES = ("audio", "video")


@dataclass(frozen=True)
class BinaryScores:
    """How real pairs are told from others at one noise level.

    Attributes:
        accuracy: Mean share of right signs of the logit on both sides.
        ranking: Chance that the real one of two has the larger logit; 0.5 tells nothing.
        calibration_error: Between what sigmoid(h) says and the share of real pairs, 0 to 1. Few
            pairs a bin make it larger than it is.
        cross_entropy: 2 ln 2 where nothing is told.
        logit_real: Mean logit of the real pairs.
        logit_other: Mean logit of the others.
    """

    accuracy: float
    ranking: float
    calibration_error: float
    cross_entropy: float
    logit_real: float
    logit_other: float


@dataclass(frozen=True)
class Denoising:
    """Squared errors of predicted noise on real pairs, one modality at one noise level.

    Attributes:
        log_snr: ln(α²/σ²) of this modality.
        base: ‖ε − ε_base‖² by the base alone: a sum over a latent's elements, a mean over pairs.
        guided: The same with the discriminator's gradient, at a joint scale of 1.
        error: Standard error of the mean of their difference.
    """

    log_snr: float
    base: float
    guided: float
    error: float

    @property
    def gain(self) -> float:
        """What the gradient takes from the error; below 0 it does harm."""
        return self.base - self.guided


@dataclass(frozen=True)
class LevelDiagnostics:
    """All that was measured at one place of a path.

    Attributes:
        u: The place, 0 the least noise, 1 the most.
        angle: (2/π) atan(σ/α) of the noisier side.
        against: By what real pairs are told from.
        denoising: By modality; a clean one is left out.
    """

    u: float
    angle: float
    against: Mapping[str, BinaryScores]
    denoising: Mapping[str, Denoising]


@dataclass(frozen=True)
class PathDiagnostics:
    """One path of noise levels, from least noise to most.

    Attributes:
        levels: Places at equal steps of u.
        reliability: All levels together, by what real pairs are told from.
        calibration_error: The same as one number.
    """

    levels: tuple[LevelDiagnostics, ...]
    reliability: Mapping[str, tuple[Bin, ...]]
    calibration_error: Mapping[str, float]

    def nats(self, side: str) -> float:
        """½ ∫ gain d ln(α²/σ²) of one modality, from the first level to the last.

        With an exact base this is what the discriminator has learnt of the mutual information of
        sound and picture (Guo et al. 2005); what it mends of a base that errs is in it too.
        """
        points = [one.denoising[side] for one in self.levels if side in one.denoising]
        return sum(
            0.25 * (one.gain + other.gain) * (one.log_snr - other.log_snr)
            for one, other in pairwise(points)
        )


@dataclass(frozen=True)
class Diagnostics:
    """The whole report.

    Attributes:
        pairs: How many pairs were looked at, by name: ``real``, and either side of a comparison.
        paths: By name.
    """

    pairs: Mapping[str, int]
    paths: Mapping[str, PathDiagnostics]

    def figures(self) -> dict[str, float]:
        """Means over levels and areas, each by a name of its own."""
        found: dict[str, float] = {}
        for path, along in self.paths.items():
            for name in along.reliability:
                told = [level.against[name] for level in along.levels]
                for key in ("accuracy", "ranking", "cross_entropy"):
                    mean = sum(getattr(one, key) for one in told) / len(told)
                    found[f"{path}: {key} against {name}"] = mean
                found[f"{path}: calibration_error against {name}"] = along.calibration_error[name]
            for side in SIDES:
                if all(side in level.denoising for level in along.levels):
                    found[f"{path}: nats {side}"] = along.nats(side)
        return found

    @staticmethod
    def of_record(values: Mapping[str, Any]) -> "Diagnostics":
        """What ``record`` gave.

        Raises:
            KeyError: It lacks something.
            TypeError: It has something else.
        """
        return Diagnostics(
            dict(values["pairs"]),
            {
                name: PathDiagnostics(
                    tuple(_level(one) for one in along["levels"]),
                    {
                        other: tuple(Bin(**one) for one in bins)
                        for other, bins in along["reliability"].items()
                    },
                    dict(along["calibration_error"]),
                )
                for name, along in values["paths"].items()
            },
        )

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {"pairs": dict(self.pairs), "figures": self.figures(), "paths": _paths(self.paths)}


def _paths(paths: Mapping[str, PathDiagnostics]) -> dict[str, Any]:
    return {name: asdict(along) for name, along in paths.items()}


def _level(values: Mapping[str, Any]) -> LevelDiagnostics:
    return LevelDiagnostics(
        values["u"],
        values["angle"],
        {name: BinaryScores(**one) for name, one in values["against"].items()},
        {name: Denoising(**one) for name, one in values["denoising"].items()},
    )


_COLOURS: Final = ("#1f6fb2", "#c4572c", "#3b8a4a", "#7b5aa6")


def draw_diagnostics(path: Path, health: Diagnostics) -> None:
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


def _telling(axes: Axes, along: PathDiagnostics, key: str, title: str) -> None:
    for name, colour in _named(along.reliability).items():
        told = [getattr(level.against[name], key) for level in along.levels]
        axes.plot([one.angle for one in along.levels], told, ".-", color=colour, label=name)
    axes.axhline(0.5, color="grey", linewidth=0.8)
    axes.set(title=title, xlabel="noise angle (2/π) atan(σ/α)", xlim=(0, 1), ylim=(0.0, 1.02))
    axes.legend(title="real against")


def _reliability(axes: Axes, along: PathDiagnostics) -> None:
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    for name, colour in _named(along.reliability).items():
        bins = along.reliability[name]
        label = f"{name}, error {along.calibration_error[name]:.3f}"
        axes.plot([b.told for b in bins], [b.real for b in bins], ".-", color=colour, label=label)
    axes.set(title="calibration", xlabel="told to be real", ylabel="share that is", xlim=(0, 1))
    axes.legend()


def _gain(axes: Axes, along: PathDiagnostics) -> None:
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


def markdown(health: Diagnostics) -> str:
    """A table for each path of noise levels, and how many pairs they are over."""
    parts = [f"## {name}\n\n{_table(along)}" for name, along in health.paths.items()]
    pairs = ", ".join(f"{count} {name}" for name, count in health.pairs.items())
    return "\n\n".join([*parts, f"Pairs: {pairs}."])


def _table(along: PathDiagnostics) -> str:
    names = list(along.reliability)
    head = ["noise angle"]
    for name in names:
        head += [f"accuracy, {name}", f"AUC, {name}", f"calibration error, {name}"]
    head += [f"{side}: base's error, gain" for side in SIDES]
    lines = [_line(head), _line(["---"] * len(head))]
    for level in along.levels:
        cells = [f"{level.angle:.3f}"]
        for name in names:
            told = level.against[name]
            found = (told.accuracy, told.ranking, told.calibration_error)
            cells += [f"{one:.3f}" for one in found]
        for side in SIDES:
            one = level.denoising.get(side)
            cells.append(
                "given" if one is None else f"{one.base:.1f}, {one.gain:.2f} ± {one.error:.2f}"
            )
        lines.append(_line(cells))
    nats = [f"{side} {along.nats(side):.3f}" for side in SIDES if _has(along, side)]
    errors = [f"{name} {error:.3f}" for name, error in along.calibration_error.items()]
    told = f"; calibration error over all levels: {', '.join(errors)}" if errors else ""
    return "\n".join([*lines, "", f"Nats learnt: {', '.join(nats)}{told}."])


def _has(along: PathDiagnostics, side: str) -> bool:
    return all(side in level.denoising for level in along.levels)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"

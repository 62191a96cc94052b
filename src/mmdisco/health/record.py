"""What is known of a discriminator's health: typed, and in JSON's types."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from mmdisco.health.scores import Bin

SIDES = ("audio", "video")


@dataclass(frozen=True)
class Telling:
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
class Level:
    """All that was measured at one place of a path.

    Attributes:
        u: The place, 0 the least noise, 1 the most.
        angle: (2/π) atan(σ/α) of the noisier side.
        against: By what real pairs are told from.
        denoising: By modality; a clean one is left out.
    """

    u: float
    angle: float
    against: Mapping[str, Telling]
    denoising: Mapping[str, Denoising]


@dataclass(frozen=True)
class Along:
    """One path of noise levels, from least noise to most.

    Attributes:
        levels: Places at equal steps of u.
        reliability: All levels together, by what real pairs are told from.
        calibration_error: The same as one number.
    """

    levels: tuple[Level, ...]
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
class Health:
    """The whole report.

    Attributes:
        pairs: How many pairs were looked at, by name: ``real``, and either side of a comparison.
        paths: By name.
    """

    pairs: Mapping[str, int]
    paths: Mapping[str, Along]

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
    def of_record(values: Mapping[str, Any]) -> "Health":
        """What ``record`` gave.

        Raises:
            KeyError: It lacks something.
            TypeError: It has something else.
        """
        return Health(
            dict(values["pairs"]),
            {
                name: Along(
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


def _paths(paths: Mapping[str, Along]) -> dict[str, Any]:
    return {name: asdict(along) for name, along in paths.items()}


def _level(values: Mapping[str, Any]) -> Level:
    return Level(
        values["u"],
        values["angle"],
        {name: Telling(**one) for name, one in values["against"].items()},
        {name: Denoising(**one) for name, one in values["denoising"].items()},
    )

"""How well a discriminator gives held-out clips of a film their own sounds, by noise level.

Wrong pairs are held-out clips with the sound of another held-out clip, each sound and each picture
as often as in the true pairs, so that only the pairing is wrong. Intervals are of a bootstrap over
stretches of ten seconds, for neighbours in a film are alike.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from mmdisco.core.av import AV
from mmdisco.core.coupling import LevelCoupling
from mmdisco.core.pairs import Pairs
from mmdisco.data.pairing import select_pairs
from mmdisco.data.prepared import PreparedFolder
from mmdisco.discriminators.two_tower import AudioVideoDiscriminator
from mmdisco.io.files import read_json, write_json
from mmdisco.training.diagnostics.held_out import HeldOutClips
from mmdisco.training.diagnostics.measure import CHUNK, add_noise

LEVELS: Final = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75)
APART: Final = 0.8  # seconds from one clip that is measured to the next
PARTNERS: Final = 8  # on either side, spread over the held-out part
NEAR: Final = (2, 10)  # steps to partners of about the same seconds
STRETCH: Final = 10.0  # seconds that are drawn together
DRAWS: Final = 1000
ENDS: Final = (0.025, 0.975)

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Trial:
    """Logits of n clips with their own sounds and with those of others.

    Attributes:
        true: (n,).
        wrong: (n, 2k), clip i with the sound of clip i + shifts[j].
        shifts: (2k,), modulo n; with each its negative.
        stretch: (n,) in which stretch of the film a clip begins.
        counted: (n, 2k) 1 for wrong pairs that count, else 0; with each the exchanged one.
    """

    true: Array
    wrong: Array
    shifts: npt.NDArray[np.int64]
    stretch: npt.NDArray[np.int64]
    counted: Array

    def figures(self, among: Array) -> dict[str, Any]:
        """Accuracy, ranking and matching, each with its interval.

        Args:
            among: (n,) 1 for clips that count.
        """
        rng = np.random.default_rng(0)
        names = np.unique(self.stretch)
        place = np.searchsorted(names, self.stretch)
        drawn = rng.integers(0, len(names), (DRAWS, len(names)))
        weights = [among * np.bincount(one, minlength=len(names))[place] for one in drawn]
        scores: dict[str, Callable[[Array], float]] = {
            "accuracy": self.accuracy,
            "ranking": self.ranking,
            "matching": self.matching,
        }
        return {
            name: [score(among), *np.quantile([score(one) for one in weights], ENDS).tolist()]
            for name, score in scores.items()
        }

    def accuracy(self, weight: Array) -> float:
        """The mean share of right signs of true and of wrong pairs."""
        true = np.average(self.true > 0, weights=weight)
        return float(true + np.average(self.wrong < 0, weights=self._both(weight))) / 2

    def ranking(self, weight: Array) -> float:
        """The chance that a true pair has a larger logit than a wrong one."""
        both = self._both(weight).ravel()
        order = np.argsort(self.wrong, axis=None)
        ordered, below = self.wrong.ravel()[order], np.append(0, np.cumsum(both[order]))
        sides = [np.searchsorted(ordered, self.true, side) for side in ("left", "right")]
        share = (below[sides[0]] + below[sides[1]]) / 2 / below[-1]
        return float(np.average(share, weights=weight))

    def matching(self, weight: Array) -> float:
        """The chance that two clips whose sounds may be exchanged are told apart from that.

        What either side says by itself cancels.
        """
        others = self._others()
        back = [int(np.flatnonzero(self.shifts == -shift)[0]) for shift in self.shifts]
        told = self.true[:, None] + self.true[others] - self.wrong
        told = told - self.wrong[others, np.asarray(back)[None]]
        # a sum in another order may leave the last bits
        told = np.where(np.abs(told) < 1e-4, 0.5, told > 0)
        return float(np.average(told, weights=self._both(weight)))

    def _others(self) -> npt.NDArray[np.int64]:
        return (np.arange(len(self.true))[:, None] + self.shifts) % len(self.true)

    def _both(self, weight: Array) -> Array:
        return weight[:, None] * weight[self._others()] * self.counted


def measure(out: Path) -> dict[str, Any]:
    """Measure both discriminators of a folder; ``out/figures.json``, made once."""
    kept = out / "figures.json"
    if kept.exists():
        return read_json(kept)
    clips = HeldOutClips.load(out / "data", out / "fakes", None)
    starts, loudness = held_out(out / "data")
    rows = spread(starts)
    real = select_pairs(clips.inputs.clips.store("validation").read(), rows)
    sampler = clips.pair.method.sampler(clips.model, clips.pair.sampling().settings)
    parts = {"all": np.ones(len(rows)), "loud": loud_half(loudness[rows])}
    found: dict[str, Any] = {"clips": len(rows), "seconds": APART, "u": list(LEVELS)}
    for name in ("film", "additive"):
        network = clips.discriminator(str(out / name))
        held = HeldOut(real, starts[rows], sampler.path)
        trials = [trial(network, held, u, far(len(rows))) for u in LEVELS]
        for part, among in parts.items():
            found[f"{name} {part}"] = [one.figures(among) for one in trials]
        near = trial(network, held, 0.0, np.arange(NEAR[0], NEAR[1]), within=STRETCH)
        found[f"{name} near"] = [near.figures(parts["all"])]
    write_json(kept, found)
    return found


def loud_half(loudness: Array) -> Array:
    """1 for clips louder than the middle one, else 0."""
    return (loudness > np.median(loudness)).astype(float)


def held_out(data: Path) -> tuple[Array, Array]:
    """When each held-out clip begins, in seconds, and how loud it is, in dB."""
    own = PreparedFolder(data).manifest["validation"]
    starts = np.array([line["start"] for line in own])
    return starts, np.array([line["statistics"]["loudness"] for line in own])


def spread(starts: Array) -> list[int]:
    """Rows so far apart that there are not too many."""
    rows: list[int] = []
    for row, start in enumerate(starts.tolist()):
        if not rows or start - starts[rows[-1]] > APART - 1e-6:
            rows.append(row)
    return rows


@dataclass(frozen=True)
class HeldOut:
    """Held-out clips in the order of the film.

    Attributes:
        pairs: With their own sounds.
        starts: (n,) seconds.
        path: Of noise levels.
    """

    pairs: Pairs
    starts: Array
    path: LevelCoupling


def far(count: int) -> npt.NDArray[np.int64]:
    """Steps to partners over half of the held-out part, at least two clips' lengths away."""
    return np.unique(np.linspace(4, count // 2 - 1, PARTNERS).round().astype(np.int64))


def trial(
    network: AudioVideoDiscriminator,
    held: HeldOut,
    u: float,
    ahead: npt.NDArray[np.int64],
    within: float = np.inf,
) -> Trial:
    """The logits at one noise level, always of the same noise.

    Args:
        network: The discriminator.
        held: What it is shown.
        u: The level.
        ahead: Steps to the clips that lend their sounds; as many back.
        within: Seconds within which these must begin.
    """
    count = len(held.pairs)
    shifts = np.concatenate([ahead, -ahead])
    seen = np.arange(count)
    # a side keeps its noise whatever it is paired with, or what it says by itself would not cancel
    noisy = [one.z_t for one in add_noise(held.pairs, held.path, u, seed=0)]
    z_t = AV(torch.cat([one.audio for one in noisy]), torch.cat([one.video for one in noisy]))
    text = held.pairs.cond.map(lambda one: one.pooled)

    @torch.no_grad()
    def told(shift: int) -> Array:
        found: list[torch.Tensor] = []
        for rows in torch.from_numpy(seen).split(CHUNK):
            heard = (rows + shift) % count
            level = held.path.levels(torch.full((len(rows),), u, dtype=torch.float64))
            both = AV(z_t.audio[heard], z_t.video[rows])
            found.append(network(both, level, text.map(lambda one, rows=rows: one[rows])))
        return torch.cat(found).double().numpy()

    wrong = np.stack([told(int(shift)) for shift in shifts], 1)
    others = (seen[:, None] + shifts) % count
    counted = np.abs(held.starts[:, None] - held.starts[others]) < within
    stretch = (held.starts // STRETCH).astype(np.int64)
    return Trial(told(0), wrong, shifts, stretch, counted.astype(float))

"""How often a discriminator gives the larger logit to a held-out clip's own sound, by noise level.

Wrong pairs hold the picture of one clip and the sound of another: of any other clip, or of one with
the same caption. Either side keeps its noise whatever it is paired with.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mmdisco.core.av import AV
from mmdisco.core.coupling import LevelCoupling, SameTimestep
from mmdisco.core.denoiser import IndependentModels
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.pairs import Pairs
from mmdisco.data.pairing import evenly_spaced, rows_by_key, select_pairs
from mmdisco.data.prepared import PreparedFolder
from mmdisco.training.diagnostics.measure import CHUNK, add_noise
from mmdisco.training.diagnostics.scores import ranking

LEVELS: Final = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9)
CLIPS: Final = 512
PARTNERS: Final = 4  # wrong sounds of each clip
DRAWS: Final = 200  # of the bootstrap over clips
ANY, ALIKE = "of any clip", "of the same caption"


def held_out_pairs(prepared: Path) -> tuple[Pairs, list[str]]:
    """Latents and captions of some clips that were prepared whole, evenly spaced."""
    clips = PreparedFolder(prepared)
    captions = clips.captions["train"]
    rows = evenly_spaced(len(captions), CLIPS)
    return select_pairs(clips.store("train").read(), rows), [captions[row] for row in rows]


def ranking_by_level(
    network: Discriminator, pairs: Pairs, captions: Sequence[str], model: IndependentModels
) -> dict[str, Any]:
    """Measure both rankings at ``LEVELS``, each with its standard error.

    Returns:
        ``u``, the number of clips, and of each kind of wrong sounds ``ranking`` and ``error`` by
        level with their ``mean``.
    """
    path = SameTimestep(model.schedules)
    rng = np.random.default_rng(0)
    partners = {ANY: cycles([range(len(pairs))], rng)}
    groups = [group for group in rows_by_key(captions).values() if len(group) > 1]
    if groups:
        partners[ALIKE] = cycles(groups, rng)
    scores = {
        name: [_score(network, pairs, path, u, one) for u in LEVELS]
        for name, one in partners.items()
    }
    found: dict[str, Any] = {"u": list(LEVELS), "clips": len(pairs), "wrong sounds": PARTNERS}
    for name, by_level in scores.items():
        values, errors = zip(*by_level, strict=True)
        found[name] = {"ranking": values, "error": errors, "mean": float(np.mean(values))}
    return found


def cycles(groups: Sequence[Sequence[int]], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw wrong sounds within groups of two or more: (rows, 1 + PARTNERS), the row first."""
    table: list[list[int]] = []
    for group in groups:
        for place, row in enumerate(group):
            steps = rng.integers(1, len(group), PARTNERS)
            table.append([row, *(group[(place + step) % len(group)] for step in steps.tolist())])
    return np.array(table)


def _score(
    network: Discriminator,
    pairs: Pairs,
    path: LevelCoupling,
    u: float,
    partners: npt.NDArray[np.int64],
) -> tuple[float, float]:
    noisy = [one.z_t for one in add_noise(pairs, path, u, seed=0)]
    z_t = AV(torch.cat([one.audio for one in noisy]), torch.cat([one.video for one in noisy]))
    text = pairs.cond.map(lambda one: one.pooled)
    seen = torch.from_numpy(partners[:, 0])

    @torch.no_grad()
    def logits(heard: Tensor) -> Tensor:
        found: list[Tensor] = []
        for rows, sounds in zip(seen.split(CHUNK), heard.split(CHUNK), strict=True):
            level = path.levels(torch.full((len(rows),), u, dtype=torch.float64))
            own = text.map(lambda one, rows=rows: one[rows])
            found.append(network(AV(z_t.audio[sounds], z_t.video[rows]), level, own))
        return torch.cat(found)

    true, *wrong = (logits(torch.from_numpy(column)) for column in partners.T)
    others = torch.stack(wrong, 1)
    rng = np.random.default_rng(0)
    drawn = [
        ranking(true[rows], others[rows].flatten())
        for rows in torch.from_numpy(rng.integers(0, len(seen), (DRAWS, len(seen))))
    ]
    return ranking(true, others.flatten()), float(np.std(drawn))

"""What resampling on the way gives beside the best of N, on the embedded pair.

Writes ``docs/embedded/resampling.json`` and a page of it. Each clip is made from the same noise in
three ways: its first candidate, the best of N by the logit, and N that are resampled as they go.
They are judged by readers of pixels and waveform, which know nothing of the discriminator that
ranks.
"""

import argparse
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from mmdisco.adapters.miniature import SECONDS
from mmdisco.evaluation.metrics.sounding_objects.agreement import SCORES, Reading, read
from mmdisco.experiments.miniature.evaluation import SMC_EVERY, asked_of, held_out
from mmdisco.generation.config import candidate_seed
from mmdisco.generation.particles import EffectiveSampleSize, SequentialMonteCarlo
from mmdisco.generation.pipeline import GenerationRun, JointGeneration
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.io.files import write_json, write_text
from mmdisco.io.reports import markdown_table, versions

OUT: Final = Path(__file__).parents[1] / "docs" / "embedded"
TOLD: Final = {
    "event_f1": "event F1",
    "exact": "all events match",
    "material": "colour seen = timbre heard",
    "size": "size seen = pitch heard",
    "caption_kind": "kind as named",
    "caption_colour": "colour as named",
    "events_seen": "events seen a clip",
    "events_heard": "events heard a clip",
}
TOGETHER: Final = 8  # clips sampled in one batch
DRAWS: Final = 10_000  # of the bootstrap


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(
        description="Compare resampling on the way with the best of N."
    )
    parser.add_argument("--clips", type=int, default=24, help="held-out captions")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sampling noise")
    parser.add_argument("--candidates", type=int, default=4)
    parser.add_argument("--every", type=int, default=SMC_EVERY, help="steps between looks")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the results")
    options = parser.parse_args()
    count = options.candidates
    names = ("joint", f"best of {count}", f"resampled {count}")
    readings: dict[str, list[Reading]] = {name: [] for name in names}
    logits: dict[str, list[float]] = {name: [] for name in names}
    looks: list[EffectiveSampleSize] = []
    smc = SequentialMonteCarlo(count, options.every, watch=looks.append)
    for start in range(0, options.clips, TOGETHER):
        indices = range(start, min(start + TOGETHER, options.clips))
        for name, (clips, ranked) in zip(names, made(indices, options.seed, smc), strict=True):
            named = [asked_of(index) for index in indices]
            readings[name] += [read(*one) for one in zip(clips, named, strict=True)]
            logits[name] += ranked
        record = {
            "what": "held-out captions, joint generation from the same noise in each way",
            "clips": len(readings["joint"]),
            "seed": options.seed,
            "steps": MiniatureSystem().sampling().steps,
            "scheduler": MiniatureSystem().sampling().scheduler,
            "resampled every": options.every,
            "ways": {name: means(readings[name], logits[name]) for name in names},
            "resampled − best of N": differences(readings[names[2]], readings[names[1]]),
            "effective sample size": by_step(looks),
            "versions": versions("mmdisco", "torch", "diffusers", "numpy"),
        }
        write_json(options.out / "resampling.json", record)
        write_text(options.out / "resampling.md", page(record))
    print((options.out / "resampling.md").read_text(encoding="utf-8"))


def made(indices: Sequence[int], seed: int, smc: SequentialMonteCarlo) -> list[tuple[Any, Any]]:
    """Return clips and logits of the first candidates, the best, and the best of resampled ones."""
    system, count = MiniatureSystem(), smc.candidates
    settings = system.sampling().settings
    models = system.model(), system.discriminator()
    plain = GenerationRun(*models, settings, JointGeneration(), SECONDS)
    captions = [held_out(index).caption.text for index in indices for _ in range(count)]
    own = [seed * 1_000_000 + index for index in indices]
    seeds = [candidate_seed(one, candidate) for one in own for candidate in range(count)]
    found: list[tuple[Any, Any]] = []
    for run in (plain, replace(plain, settings=replace(settings, smc=smc))):
        z_0 = deque(run.run(captions, seeds), maxlen=1).pop()
        kept, best, logits = run.best(captions, z_0, count)
        if run is plain:
            first = z_0.map(lambda one: one[::count])
            found.append((run.clips(first), logits[:, 0].tolist()))
        found.append((kept.clips(best), logits.max(1).values.tolist()))
    return found


def scores(readings: Sequence[Reading], name: str) -> np.ndarray:
    """Return the score of each clip; NaN where it has none."""
    found = [SCORES[name](one) for one in readings]
    return np.array([np.nan if one is None else one for one in found], np.float64)


def means(readings: Sequence[Reading], logits: Sequence[float]) -> dict[str, float]:
    """Return the mean of each score, where clips have one, and of the logit of the clips."""
    found: dict[str, float] = {}
    for name, title in TOLD.items():
        own = scores(readings, name)
        if not np.isnan(own).all():
            found[title] = round(float(np.nanmean(own)), 3)
    return {**found, "logit": round(float(np.mean(logits)), 2)}


def differences(first: Sequence[Reading], second: Sequence[Reading]) -> dict[str, list[float]]:
    """Return mean differences of clips of the same caption and noise, with 95 % intervals."""
    rng, found = np.random.default_rng(0), dict[str, list[float]]()
    for name, title in TOLD.items():
        apart = scores(first, name) - scores(second, name)
        apart = apart[~np.isnan(apart)]
        if not len(apart):
            continue
        drawn = apart[rng.integers(0, len(apart), (DRAWS, len(apart)))].mean(1)
        ends = np.quantile(drawn, (0.025, 0.975))
        found[title] = [round(float(one), 3) for one in (apart.mean(), *ends)]
    return found


def by_step(looks: Sequence[EffectiveSampleSize]) -> dict[int, dict[str, float]]:
    """Return the mean effective sample size at each look, and the share of clips resampled."""
    found = dict[int, dict[str, float]]()
    for step in sorted({one.step for one in looks}):
        own = [one for one in looks if one.step == step]
        sizes = np.concatenate([one.sizes for one in own])
        resampled = np.concatenate([one.resampled for one in own])
        found[step] = {"mean": round(float(sizes.mean()), 2)}
        found[step]["share of clips resampled"] = round(float(resampled.mean()), 2)
    return found


def page(record: dict[str, Any]) -> str:
    """Return the page of a record."""
    ways, apart = record["ways"], record["resampled − best of N"]
    titles = [title for title in TOLD.values() if title in apart]
    rows = [
        [name, *(f"{one[key]:.2f}" for key in (*titles, "logit"))] for name, one in ways.items()
    ]
    last = ["{:+.2f} ({:+.2f} to {:+.2f})".format(*apart[title]) for title in titles]
    rows.append(["resampled − best", *last, "–"])
    looks = [
        [f"{step}", f"{one['mean']:.2f}", f"{100 * one['share of clips resampled']:.0f} %"]
        for step, one in record["effective sample size"].items()
    ]
    told = ", ".join(f"{name} {one}" for name, one in record["versions"].items())
    return f"""# Candidates that are resampled on the way

{record["clips"]} clips of held-out captions (eight of each), seed {record["seed"]},
{record["steps"]} steps of {record["scheduler"]}, every clip from the same noise: the first
candidate alone, the best by the logit at the end, and candidates that are resampled every
{record["resampled every"]} steps where fewer than half of them count
([the mathematics](../method.md#candidates-resampled-on-the-way)). Read from pixels and waveforms,
which know nothing of the logit; the last column is the ranker's own. The last row has differences
of clips of the same noise, with 95 % bootstrap intervals over clips; of so few clips they are too
narrow where none or only one differs.

{markdown_table(["", *titles, "logit"], rows)}

Effective sample size after so many steps, over all clips:

{markdown_table(["step", "mean", "clips resampled"], looks)}

Resampling makes as many candidates in as many steps as the best of N, and costs a forward pass of
the discriminator for each look beside. Rows of the same names in the table of
`mmdisco experiments miniature` hold either against the recombined clips.

Written by `python benchmarks/resampling.py --clips {record["clips"]}` ({told}).
"""


if __name__ == "__main__":
    main()

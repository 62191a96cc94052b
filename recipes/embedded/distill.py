"""Distils the guidance of the embedded pair's discriminator, and measures cost and agreement.

``python recipes/embedded/distill.py --out runs/embedded`` writes ``distilled.json`` and
``distilled.safetensors`` into ``OUT/pair``, beside the packed discriminator that they are of. The
states come from guided runs with the pair's own joint scales. ``OUT/distillation`` holds the work,
which goes on where it was stopped, and ``measured.json``: processor time of both sources of ∇h, and
their cosine by noise level on held-out pairs, noised and in guided runs of each task.
"""

import argparse
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from progress import progress
from train_discriminator import TRAINING

from mmdisco.core.log_ratio import backward_pass
from mmdisco.core.pairs import Pairs
from mmdisco.core.rng import seeded_generator
from mmdisco.data.pair_store import PairStore
from mmdisco.discriminators.distilled import (
    DistilledGradient,
    DistilledGuidance,
    DistilledNetwork,
)
from mmdisco.experiments.miniature.evaluation import held_out
from mmdisco.experiments.miniature.training import fill_real, miniature_trainer, negatives
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.io.files import write_json
from mmdisco.io.reports import versions
from mmdisco.media.sounding_objects.dataset import caption_of
from mmdisco.training.batches import Batches
from mmdisco.training.config import TrainingConfig, parse_changes
from mmdisco.training.distillation import Agreement, Distillation, batches_of, new_distilled
from mmdisco.training.guided_states import GuidedRuns, read_states

HELD_OUT: Final = 128  # pairs
TASKS: Final = {"joint": 0, "video to audio": 1, "audio to video": 3}  # shards of these tasks
RUNS_SEED: Final = 11_000_003  # of runs that are measured and not learnt from


def runs_of(pair: MiniatureSystem, batches: Batches, real: Any, seed: int) -> GuidedRuns:
    """Guided runs with the pair's own settings."""
    model = pair.model()
    return GuidedRuns(
        model,
        pair.method,
        pair.sampling(),
        pair.discriminator(),
        batches.null,
        model.latent_shapes(float(pair.form.seconds)),
        real,
        one_sided=True,
        factors=(1.0, 0.5),
        seed=seed,
    )


def distil(config: TrainingConfig, pair: MiniatureSystem, out: Path) -> dict[str, Any]:
    """Distil, write the network into the pair's folder, and return what was measured."""
    own, folder, seed = config.distillation, out / "distillation", config.training.seed
    digest = pair.weight_hashes()["discriminator"]
    batches = miniature_trainer(config, pair, out / "bases").batches
    store, fake = PairStore(out / "real", "real"), PairStore(out / "fake", "fake")
    meanings = [caption_of(seed, index).named for index in range(len(store))]
    real = store.read()
    source = {"discriminator": digest, "distillation": own.tree(), "pairs": len(store)}
    sizes = [
        min(own.clips_per_shard, own.clips - first)
        for first in range(0, own.clips, own.clips_per_shard)
    ]
    runs = runs_of(pair, batches, store, seed)
    filled = runs.fill(folder, sizes, source)
    for _ in zip(progress(range(len(sizes)), "guided runs"), filled, strict=True):
        pass
    discriminator = pair.discriminator()
    work = Distillation(
        discriminator, batches_of(config, batches), read_states(folder, len(sizes)), source
    )
    fakes = negatives(config.negatives, real, fake, meanings)
    network = new_distilled(own, discriminator.config, seed)
    steps = work.steps(network, store, fakes, folder)
    updates = zip(steps, progress(range(own.steps), "distillation"), strict=False)
    average = deque(updates, maxlen=1).pop()[0]
    result = DistilledNetwork(network.config)
    result.load_state_dict(average.state_dict())
    DistilledGuidance(result, digest, {"distillation": own.tree()}).save(pair.path)
    # as it is loaded, in half precision
    loaded = DistilledGuidance.load(pair.path, digest).network
    return measure(loaded, pair, work, folder)


def measure(
    network: DistilledNetwork, pair: MiniatureSystem, work: Distillation, folder: Path
) -> dict[str, Any]:
    """Cost and agreement on held-out pairs."""
    held = PairStore(folder / "held_out", "real")
    for _ in fill_real(held, pair.model(), held_out, HELD_OUT):
        pass
    agreement: dict[str, Any] = {"noised": work.measure(network, held, held)}
    runs = runs_of(pair, work.batches, held, RUNS_SEED)
    for task, shard in TASKS.items():
        states, own = runs.states(shard, 32), Agreement()
        states = states.take(torch.arange(len(states)))
        with torch.no_grad():
            own.add(network(states.z_t, states.level, states.text), states)
        agreement[task] = own.summary()
    pairs = held.read()
    cost = {str(size): costs(network, pair, pairs, size) for size in (1, 16)}
    return {
        "agreement by noise angle, from 0 to 1": agreement,
        "processor seconds by clips in a batch": cost,
        "weights": sum(one.numel() for one in network.parameters()),
        **versions("mmdisco", "torch"),
    }


def costs(
    network: DistilledNetwork, pair: MiniatureSystem, pairs: Pairs, size: int, repeats: int = 31
) -> dict[str, float]:
    """Medians of both sources, taken in turn, and their ratio."""
    discriminator, generator = pair.discriminator(), seeded_generator(0, size)
    z_t = pairs.z_0.map(lambda x: torch.randn(size, *x.shape[1:], generator=generator))
    sampler = pair.method.sampler(pair.model(), pair.sampling().settings)
    level = sampler.levels().map(lambda own: own.at(len(own.t) // 2).expand(size))
    text = pairs.text.map(lambda one: one[:size])
    sources: dict[str, Callable[..., Any]] = {
        "backward pass": backward_pass,
        "distilled": DistilledGradient(network),
    }
    took: dict[str, list[float]] = {name: [] for name in sources}
    for _ in range(repeats + 1):
        for name, source in sources.items():
            begin = time.process_time()
            source(discriminator, z_t, level, text)
            took[name].append(time.process_time() - begin)
    medians = {name: statistics.median(own[1:]) for name, own in took.items()}
    return {**medians, "ratio": medians["distilled"] / medians["backward pass"]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Distil the guidance of the embedded pair.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/embedded"))
    parser.add_argument("--pair", type=Path, help="packed pair; OUT/pair if left out")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], help="as in distillation.steps=500")
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    changes = {"training.seed": o.seed, "training.ema_decay": 0.995, **parse_changes(o.set)}
    system = MiniatureSystem(o.pair or o.out / "pair")
    found = distil(TRAINING.updated(changes), system, o.out)
    write_json(o.out / "distillation" / "measured.json", found)
    sys.stdout.write(f"{found['processor seconds by clips in a batch']}\n")

"""Runs the bases on every noised batch that discriminators will be trained on, ahead of training.

Optional: training asks for what is not there. But two trainings side by side would both compute it,
and processes that share the work with ``--part`` take half as long.
"""

import argparse
from pathlib import Path

import torch
from progress import progress
from train_discriminator import TRAINING, trainer_of

from mmdisco.data.pair_store import PairStore

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Remember what the bases predict.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/embedded"))
    parser.add_argument("--part", type=int, nargs=2, default=[0, 1], help="which, of how many")
    parser.add_argument("--period", type=int, default=TRAINING.training.cache_period)
    parser.add_argument("--threads", type=int, default=1)
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    part, parts = o.part
    changes = {"training.seed": o.seed, "training.cache_period": o.period}
    trainer = trainer_of(TRAINING.updated(changes), o.out)
    real = PairStore(o.out / "real", "real")
    for step in progress(range(part, o.period, parts), "bases"):
        noised = trainer.batches.real(step, real)[1]
        with torch.no_grad():
            trainer.base.predict_noise(noised.z_t, noised.level, noised.pairs.cond)

"""Trains the discriminator of the embedded pair, or the additive control, in the same way."""

import argparse
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import torch
from progress import progress

from mmdisco.core.discriminator import Discriminator
from mmdisco.data.pair_store import PairStore
from mmdisco.discriminators.two_tower import AudioVideoDiscriminator
from mmdisco.experiments.miniature.training import architecture, miniature_trainer, negatives
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.io.files import read_tensors, write_tensors
from mmdisco.media.sounding_objects.dataset import caption_of
from mmdisco.training.config import (
    ContrastiveConfig,
    DiscriminatorConfig,
    LossConfig,
    NegativesConfig,
    NoiseLevelConfig,
    PretrainingConfig,
    TrainerConfig,
    TrainingConfig,
    parse_changes,
)
from mmdisco.training.contrastive import CaptionGroups
from mmdisco.training.stages import TrainingStages, new_network
from mmdisco.training.trainer import Trainer

TRAINING: Final = TrainingConfig(
    discriminator=DiscriminatorConfig(fusion="attention+correlation"),
    levels=NoiseLevelConfig(independent=0.35, one_sided=0.3),
    negatives=NegativesConfig(recombine=True, shuffled_fraction=0.5),
    # as a third term it keeps what the pretraining found of colour and size
    loss=LossConfig(contrastive=10),
    contrastive=ContrastiveConfig(power=1.3),
    contrastive_pretraining=PretrainingConfig(steps=8000, warmup_steps=100),
    # cache_period: noised batches of real pairs, each of which the base models are run on once
    training=TrainerConfig(steps=2200, learning_rate=1e-3, caption_dropout=0.0, cache_period=1600),
)
ADDITIVE: Final = {
    "discriminator.fusion": "additive",
    "contrastive_pretraining.steps": 0,
    "loss.contrastive": 0.0,
}
TRAININGS: Final = {"discriminator": TRAINING, "additive": TRAINING.updated(ADDITIVE)}
CONFIGS: Final = {name: architecture(one.discriminator) for name, one in TRAININGS.items()}


def trainer_of(config: TrainingConfig, out: Path) -> Trainer:
    """Make the training loop; predictions of the base models are cached in ``out/bases``."""
    return miniature_trainer(config, MiniatureSystem(out / "pair"), out / "bases")


def train(
    name: str, config: TrainingConfig, out: Path, run: Path, init: Path | None = None
) -> None:
    """Train one network and write ``<name>.safetensors`` into ``run``.

    Args:
        name: Which network.
        config: Its training.
        out: Run folder with the pair and the stores of real and fake pairs.
        run: Folder of the result and its checkpoints.
        init: Weights to begin with, in the place of pretraining.
    """
    target = run / f"{name}.safetensors"
    if target.exists():
        return
    trainer, seed = trainer_of(config, out), config.training.seed
    real, fake = PairStore(out / "real", "real"), PairStore(out / "fake", "fake")
    meanings = [caption_of(seed, index).named for index in range(len(real))]
    pairs = real.read()
    network = new_network(architecture(config.discriminator), seed)
    if init:
        network.load_state_dict(trained(name, init).state_dict())
        config = config.updated({"contrastive_pretraining.steps": 0})
    stages = TrainingStages(
        config, trainer, lambda: CaptionGroups.of(pairs, meanings, trainer.null, config.contrastive)
    )
    before = stages.pretrain(network, run / f"{name}_pretraining")
    _last(name, config.contrastive_pretraining.steps, before)
    source = negatives(config.negatives, pairs, fake, meanings)
    steps = stages.train(network, real, source, run / f"{name}_training")
    average = _last(name, config.training.steps, steps)
    assert average is not None
    write_tensors(target, average.state_dict(), {})


def trained(name: str, path: Path) -> AudioVideoDiscriminator:
    """The averaged network of a checkpoint, or a network as it is."""
    tensors, mark = read_tensors(path), "average."
    average = {key.removeprefix(mark): one for key, one in tensors.items() if key.startswith(mark)}
    network = AudioVideoDiscriminator(CONFIGS[name])
    network.load_state_dict(average or tensors)
    return network.eval()


def _last(name: str, count: int, steps: Iterator[Discriminator]) -> Discriminator | None:
    # a resumed run yields fewer steps than the whole training; no pretraining none
    found = deque(zip(steps, progress(range(count), name), strict=False), maxlen=1)
    return found.pop()[0] if found else None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a discriminator of the embedded pair.")
    parser.add_argument("name", choices=tuple(CONFIGS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/embedded"))
    parser.add_argument("--run", type=Path, default=Path("runs/embedded"))
    parser.add_argument("--init", type=Path, help="weights to begin with, without pretraining")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], help="as in training.steps=500")
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    changes = {"training.seed": o.seed, **parse_changes(o.set)}
    train(o.name, TRAININGS[o.name].updated(changes), o.out, o.run, o.init)

"""Trains the discriminator of the embedded pair, or the additive control, in the same way."""

import argparse
import hashlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from fit import progress

from mmdisco.core.coupling import SameTimestep
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.losses import MMDisCoLoss
from mmdisco.core.noise_levels import NoiseLevelSampler, PowerSampler
from mmdisco.data.pair_store import PairStore
from mmdisco.data.pairing import MixedPairs, RecombinedWithinCaption
from mmdisco.discriminators.convolutions import FlatLatents
from mmdisco.discriminators.correlation import CorrelationFusion, CorrelationFusionConfig
from mmdisco.discriminators.fusion import AdditiveFusionConfig
from mmdisco.discriminators.two_tower import AudioVideoConfig, AudioVideoDiscriminator
from mmdisco.experiments.miniature.data import rows_of_fakes
from mmdisco.generation.pipeline import guided_base
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.io.files import read_tensors, write_tensors
from mmdisco.media.sounding_objects.dataset import caption_of
from mmdisco.training.cached_denoiser import CachedDenoiser
from mmdisco.training.config import ContrastiveConfig, TrainerConfig
from mmdisco.training.contrastive import CaptionGroups
from mmdisco.training.run import contrastive_trainer
from mmdisco.training.trainer import Trainer

CONFIG = AudioVideoConfig(
    audio=FlatLatents(channels=4, rate=20.0, text_width=64, space=(16,)),
    video=FlatLatents(channels=4, rate=10.0, text_width=64, space=(8, 8)),
    width=128,
    depth=1,
    multipliers=(1,),
    fusion=CorrelationFusionConfig(width=128, layers=3, heads=4),
)
CONFIGS = {"discriminator": CONFIG, "additive": replace(CONFIG, fusion=AdditiveFusionConfig())}


@dataclass(frozen=True)
class Recipe:
    """What is tried out.

    Attributes:
        steps: Updates.
        denoising: λ.
        shuffled: Share of fakes that are real clips re-paired within their caption.
        learning_rate: Peak.
        power: Of the law of noise levels; above 1 dwells on low noise.
        batch_size: Real pairs a step.
        period: Noised batches of real pairs, each of which the bases are run on once.
        first: Steps of contrast within a batch before, of a network that has products.
        first_rate: Their peak learning rate.
        first_power: Of the law of their noise levels.
    """

    steps: int = 1000
    denoising: float = 1000.0
    shuffled: float = 0.5
    learning_rate: float = 1e-3
    power: float = 1.0
    batch_size: int = 32
    period: int = 1600
    first: int = 8000
    first_rate: float = 2e-3
    first_power: float = 1.3


def trainer_of(recipe: Recipe, seed: int, out: Path) -> Trainer:
    """Base, levels, losses and settings; what the base says is remembered in ``out/bases``."""
    folder = MiniatureSystem(out / "pair")
    model, sampling = folder.model(), folder.sampling()
    parts = ("text_encoder", "audio_denoiser", "video_denoiser")
    told = [*(folder.config["sha256"][part] for part in parts), sampling.guidance_scale]
    key = hashlib.sha256(repr(told).encode()).hexdigest()[:12]
    return Trainer(
        base=CachedDenoiser(guided_base(model, sampling.guidance_scale), out / "bases" / key),
        levels=NoiseLevelSampler(
            SameTimestep(model.schedules),
            PowerSampler(recipe.power),
            independent=0.35,
            one_sided=0.3,
        ),
        criterion=MMDisCoLoss(1.0, recipe.denoising),
        config=TrainerConfig(
            steps=recipe.steps,
            batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate,
            warmup=200,
            weight_decay=0.01,
            clip=1.0,
            ema=0.998,
            caption_dropout=0.0,
            seed=seed,
            period=recipe.period,
            checkpoint_every=250,
        ),
        null=model.encode_prompts([""]),
    )


def train(name: str, recipe: Recipe, seed: int, out: Path, run: Path) -> None:
    """Train one network and write ``<name>.safetensors`` into ``run``."""
    target = run / f"{name}.safetensors"
    if target.exists():
        return
    trainer = trainer_of(recipe, seed, out)
    real, fake = PairStore(out / "real", "real"), PairStore(out / "fake", "fake")
    meanings = [caption_of(seed, index).named for index in range(len(real))]
    pairs = real.read()
    rows = rows_of_fakes(meanings, len(fake))
    fakes = RecombinedWithinCaption.with_captions(fake.read(), rows, pairs.cond, meanings)
    shuffled = RecombinedWithinCaption.of(pairs, meanings)
    torch.manual_seed(seed)
    network = AudioVideoDiscriminator(CONFIGS[name])
    if recipe.first and isinstance(network.fusion, CorrelationFusion):
        first = ContrastiveConfig(
            recipe.first, power=recipe.first_power, learning_rate=recipe.first_rate
        )
        groups = CaptionGroups.of(pairs, meanings, trainer.null, first.group, first.strangers)
        before = contrastive_trainer(
            first, replace(trainer, config=replace(trainer.config, warmup=100))
        )
        # in place, as the whole training is
        steps = before.steps(network, groups, groups, run / f"{name}_first")
        _last(name, recipe.first, steps)
    source = MixedPairs(shuffled, fakes, recipe.shuffled) if recipe.shuffled else fakes
    steps = trainer.steps(network, real, source, run / f"{name}_training")
    write_tensors(target, _last(name, recipe.steps, steps).state_dict(), {})


def trained(name: str, path: Path) -> AudioVideoDiscriminator:
    """The averaged network of a checkpoint, or a network as it is."""
    tensors, mark = read_tensors(path), "average."
    average = {key.removeprefix(mark): one for key, one in tensors.items() if key.startswith(mark)}
    network = AudioVideoDiscriminator(CONFIGS[name])
    network.load_state_dict(average or tensors)
    return network.eval()


def _last(name: str, count: int, steps: Iterator[Discriminator]) -> Discriminator:
    # a resumed run yields fewer steps than the recipe has
    return deque(zip(progress(range(count), name), steps, strict=False), maxlen=1).pop()[1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a discriminator of the embedded pair.")
    parser.add_argument("name", choices=tuple(CONFIGS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/embedded"))
    parser.add_argument("--run", type=Path, default=Path("runs/embedded"))
    parser.add_argument("--threads", type=int, default=1)
    for field, value in vars(Recipe()).items():
        parser.add_argument(f"--{field.replace('_', '-')}", type=type(value), default=value)
    options = vars(parser.parse_args())
    torch.set_num_threads(options.pop("threads"))
    name, seed, out, run = (options.pop(key) for key in ("name", "seed", "out", "run"))
    train(name, Recipe(**options), seed, out, run)

"""Training loops of a configuration: contrastive pretraining, then training with all its terms."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from mmdisco.core.av import AV
from mmdisco.core.coupling import LevelCoupling
from mmdisco.core.denoiser import Conditioning, JointDenoiser
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.losses import MMDisCoLoss
from mmdisco.core.noise_levels import (
    LossSecondMomentSampler,
    NoiseLevelSampler,
    PowerSampler,
    TimestepSampler,
)
from mmdisco.core.pairs import PairSource
from mmdisco.discriminators.two_tower import AudioVideoConfig, AudioVideoDiscriminator
from mmdisco.training.batches import Batches
from mmdisco.training.config import NoiseLevelConfig, TrainingConfig
from mmdisco.training.contrastive import (
    ContrastiveLoss,
    ContrastiveTerm,
    GroupedNoiseLevels,
)
from mmdisco.training.distributed import Distributed, SingleProcess
from mmdisco.training.trainer import Callback, Trainer


@dataclass(frozen=True)
class TrainingStages:
    """Contrastive pretraining, where a configuration has one, and the training after it.

    Attributes:
        config: Configuration of the training.
        trainer: Loop of the training, without the third term of its loss.
        make_groups: Makes the real pairs in groups of one meaning; called where they are used.
        callbacks: Callbacks of the pretraining.
    """

    config: TrainingConfig
    trainer: Trainer
    make_groups: Callable[[], PairSource]
    callbacks: tuple[Callback, ...] = ()

    @cached_property
    def groups(self) -> PairSource:
        """Real pairs in groups of one meaning."""
        return self.make_groups()

    @cached_property
    def pretrainer(self) -> Trainer | None:
        """Loop of the contrastive pretraining, if there is one."""
        pretraining, trainer = self.config.contrastive_pretraining, self.trainer
        if not pretraining.steps:
            return None
        batches, warmup = _batches(self.config, trainer), pretraining.warmup_steps
        return replace(
            trainer,
            levels=batches.levels,
            loss=ContrastiveLoss(self.config.contrastive.group_size),
            config=batches.config.updated(
                {
                    "steps": pretraining.steps,
                    "learning_rate": pretraining.learning_rate,
                    "warmup_steps": trainer.config.warmup_steps if warmup is None else warmup,
                }
            ),
            callbacks=self.callbacks,
        )

    def pretrain(self, network: AudioVideoDiscriminator, folder: Path) -> Iterator[Discriminator]:
        """Pretrain in place: training continues from the network, not from its average.

        Args:
            network: The network; parts that only the pretraining trains are frozen at its end.
            folder: Folder of checkpoint and log.

        Yields:
            The averaged network after each step; nothing without pretraining.

        Raises:
            UserError: As in ``Trainer.steps``.
        """
        if self.pretrainer is None:
            return
        yield from self.pretrainer.steps(network, self.groups, self.groups, folder)
        if self.config.contrastive_pretraining.train_transformer_only:
            network.freeze_all_but_transformer()

    def train(
        self, network: Discriminator, real: PairSource, negatives: PairSource, folder: Path
    ) -> Iterator[Discriminator]:
        """Train with every term of the loss; see ``Trainer.steps``."""
        trainer = self.trainer
        if self.config.loss.contrastive:
            term = ContrastiveTerm(
                ContrastiveLoss(self.config.contrastive.group_size),
                self.config.loss.contrastive,
                _batches(self.config, trainer),
                self.groups,
            )
            trainer = replace(trainer, contrastive=term)
        return trainer.steps(network, real, negatives, folder)


def _batches(config: TrainingConfig, trainer: Trainer) -> Batches:
    """Make the batches of groups: levels of the training's coupling, equal within a group."""
    groups, levels = config.contrastive, trainer.levels
    sampler = GroupedNoiseLevels(
        levels.path,
        PowerSampler(groups.power),
        levels.independent,
        levels.one_sided,
        groups.group_size,
    )
    size = {"batch_size": groups.groups * groups.group_size}
    # a caption belongs to a whole group, and pairs are new in each step
    own = trainer.config.updated({**size, "caption_dropout": 0.0, "cache_period": 0})
    return Batches(sampler, own, trainer.null)


def new_network(config: AudioVideoConfig, seed: int) -> AudioVideoDiscriminator:
    """Make a network whose weights follow from a seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AudioVideoDiscriminator(config)


def build_trainer(
    config: TrainingConfig,
    base: JointDenoiser,
    coupling: LevelCoupling,
    null: AV[Conditioning],
    distributed: Distributed | None = None,
) -> Trainer:
    """Make the training loop of a configuration.

    Args:
        config: Configuration of the training; shares of levels that are null are 0.
        base: The frozen base models.
        coupling: Coupling of noise levels, that of the sampler.
        null: The encoded empty caption, batch size 1.
        distributed: Processes that work on it; None is this one alone.
    """
    return Trainer(
        base,
        build_level_sampler(config.levels, coupling),
        MMDisCoLoss(config.loss.discrimination, config.loss.denoising),
        config.training,
        null,
        distributed or SingleProcess(),
    )


def build_level_sampler(config: NoiseLevelConfig, coupling: LevelCoupling) -> NoiseLevelSampler:
    """Make the distribution of noise levels on a coupling; shares that are null are 0."""
    distributions: dict[str, TimestepSampler] = {
        "power": PowerSampler(config.power),
        "importance": LossSecondMomentSampler(),
    }
    return NoiseLevelSampler(
        coupling,
        distributions[config.distribution],
        config.independent or 0.0,
        config.one_sided or 0.0,
    )

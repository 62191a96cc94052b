"""Training run of a configuration: inputs are loaded and checked, results written.

Training begins with new weights, or with those of a discriminator that was trained before.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

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
from mmdisco.discriminators.correlation import CorrelationFusionConfig
from mmdisco.discriminators.hub import PretrainedDiscriminator, find_discriminator, read_config
from mmdisco.discriminators.two_tower import AudioVideoConfig, AudioVideoDiscriminator
from mmdisco.errors import UserError
from mmdisco.generation.pipeline import guided_base
from mmdisco.generation.system import JointSystem
from mmdisco.io.files import expect_writable, read_object, remove_leftovers, write_json
from mmdisco.training.batches import Batches
from mmdisco.training.cached_denoiser import CachedDenoiser
from mmdisco.training.callbacks import build_callbacks
from mmdisco.training.config import DiscriminatorConfig, NoiseLevelConfig, TrainingConfig
from mmdisco.training.config_io import write_config
from mmdisco.training.contrastive import (
    CaptionGroups,
    ContrastiveLoss,
    ContrastiveTerm,
    GroupedNoiseLevels,
)
from mmdisco.training.datasets import TrainingData
from mmdisco.training.discriminator_config import build_discriminator_config
from mmdisco.training.distributed import Accelerated, Distributed, SingleProcess
from mmdisco.training.model_card import last_measure, read_log, write_card
from mmdisco.training.trainer import Callback, Trainer

OWN: Final = "preset"
"""Name of the discriminator that comes with a preset."""


def new_network(config: AudioVideoConfig, seed: int) -> AudioVideoDiscriminator:
    """Make a network whose weights follow from a seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AudioVideoDiscriminator(config)


def load_network(
    config: TrainingConfig, pair: JointSystem, preset: str
) -> tuple[AudioVideoDiscriminator, str]:
    """Load the network that ``init_from`` names, to be trained further.

    Args:
        config: Configuration of the training.
        pair: System whose latents the network will read.
        preset: Name of that system.

    Returns:
        The network, and the checksum of its weights.

    Raises:
        UserError: The weights are missing, damaged, made for other latents or not trainable, or an
            architecture is requested beside them.
    """
    if config.discriminator != DiscriminatorConfig():
        raise UserError(
            "init_from brings its own architecture: leave discriminator.* and --fusion out"
        )
    if config.init_from == OWN:
        trained, digest = pair.discriminator(), pair.weight_hashes()["discriminator"]
    else:
        folder = find_discriminator(str(config.init_from))
        trained = PretrainedDiscriminator.load(folder).network
        digest = str(read_config(folder)["sha256"])
    if not isinstance(trained, AudioVideoDiscriminator):
        raise UserError(f"the discriminator of {preset} cannot be trained on: leave init_from out")
    pair.expect_fitting(trained.config, preset)
    network = AudioVideoDiscriminator(trained.config)
    network.load_state_dict(trained.state_dict())
    return network, digest


@dataclass(frozen=True)
class TrainingRun:
    """Training with all it needs.

    Attributes:
        config: Configuration with every open setting resolved.
        out: Folder of the trained discriminator.
        inputs: Clips and fake pairs.
        network: The network before its first step.
        init_digest: Checksum of the weights it was loaded from; None where they are new.
        trainer: The training loop.
        pretrainer: Loop of the contrastive pretraining, if there is one.
    """

    config: TrainingConfig
    out: Path
    inputs: TrainingData
    network: AudioVideoDiscriminator
    init_digest: str | None
    trainer: Trainer
    pretrainer: Trainer | None

    @property
    def run_dir(self) -> Path:
        """Folder of checkpoint, log, TensorBoard and samples."""
        return self.out / "training"

    @property
    def distributed(self) -> Distributed:
        """Processes that work on it."""
        return self.trainer.distributed

    def steps(self) -> Iterator[int]:
        """Train, and write the folder at the end.

        Yields:
            The number of steps of pretraining or training done by this run, after each.

        Raises:
            UserError: The folder holds another training, or cannot be written.
        """
        self._expect_own()
        network, trainer = self.network, self.trainer
        if self.pretrainer is not None:
            groups = self._groups()
            # trained in place: training continues from the network, not from its average
            before = self.pretrainer.steps(network, groups, groups, self.run_dir / "pretraining")
            for done, _ in enumerate(before, start=1):
                yield done
            if self.config.contrastive_pretraining.train_transformer_only:
                network.freeze_all_but_transformer()
        real = self.inputs.clips.store("train")
        negatives = self.inputs.negatives(self.config.negatives)
        if self.config.loss.contrastive:
            term = contrastive_term(self.config, trainer, self._groups())
            trainer = replace(trainer, contrastive=term)
        average: Discriminator = network
        run = trainer.steps(network, real, negatives, self.run_dir)
        for done, found in enumerate(run, start=1):
            average = found
            yield done
        if self.distributed.main:
            result = AudioVideoDiscriminator(network.config)
            result.load_state_dict(average.state_dict())
            self._finish(result)
        self.distributed.wait()

    def _groups(self) -> CaptionGroups:
        return self.inputs.groups(self.config.contrastive, self.trainer.null)

    def _expect_own(self) -> None:
        """Refuse to resume under other settings, except those that do not affect the weights."""
        settings, inputs = self.out / "training.yaml", self.run_dir / "inputs.json"
        wanted = self._deciding()
        if inputs.exists():
            found = read_object(inputs)
            for name, value in wanted.items():
                if found.get(name) != value:
                    raise UserError(
                        f"{self.out} holds a training of other {name}: give the same settings or "
                        "another folder"
                    )
        # no process writes before all have read
        self.distributed.wait()
        if self.distributed.main:
            remove_leftovers(self.out)
            expect_writable(settings)
            write_config(settings, self.config)
            write_json(inputs, wanted)

    def _deciding(self) -> dict[str, Any]:
        wanted = {
            **self.config.deciding(),
            "discriminator": self.network.config.to_record(),
            "clips": self.inputs.clips.fingerprint,
            "fakes": dict(self.inputs.made),
            "init_from": self.init_digest,
        }
        return json.loads(json.dumps(wanted))  # as it will be read back

    def _finish(self, result: AudioVideoDiscriminator) -> None:
        lines = read_log(self.run_dir / "log.jsonl")
        captions = self.inputs.clips.captions
        facts: dict[str, Any] = {
            "one_sided": self.config.levels.one_sided,
            "clips": {
                **{part: len(own) for part, own in captions.items()},
                "captions": len({text for own in captions.values() for text in own}),
                "fakes": sum(map(len, self.inputs.captions.values())),
                "sha256": self.inputs.clips.fingerprint,
            },
            "bases": dict(self.inputs.made),
            "training": self.config.tree(),
            "held_out": last_measure(lines),
        }
        name = self.inputs.clips.preset
        write_card(self.out, {"preset": name, **facts}, lines)
        PretrainedDiscriminator(result, name, facts).save(self.out)


def build(
    config: TrainingConfig,
    callbacks: Sequence[Callback] = (),
    pretraining_callbacks: Sequence[Callback] = (),
) -> TrainingRun:
    """Load and check everything a configuration names.

    Args:
        config: Configuration of the training.
        callbacks: Callbacks beside those of the configuration.
        pretraining_callbacks: Callbacks of the contrastive pretraining.

    Raises:
        UserError: A folder is not named, or a file is missing or does not fit.
    """
    inputs = TrainingData.read(config.folder("data"), config.folder("fakes"), config.weights)
    out, compute = config.folder("out"), config.compute
    distributed = Accelerated(compute.grad_accumulation, compute.mixed_precision, cpu=compute.cpu)
    distributed.expect(config.training.batch_size)
    pair = inputs.pair(inputs.clips.options.updated({"device": str(distributed.device)}))
    config = _resolved(config, pair)
    model = pair.model()
    null = model.encode_prompts([""])
    digest = None
    if config.init_from is None:
        seconds = float(pair.form.seconds)
        texts = null.map(lambda one: one.pooled.shape[1])
        shapes = model.latent_shapes(seconds)
        shape = build_discriminator_config(config.discriminator, shapes, texts, seconds)
        network = new_network(shape, config.training.seed)
    else:
        network, digest = load_network(config, pair, inputs.clips.preset)
    scale = AV(*map(float, inputs.made["cfg_scale"]))
    base: JointDenoiser = guided_base(model, scale)
    if compute.cache_base:
        base = CachedDenoiser(base, out / "training" / "bases")
    sampling = replace(pair.sampling(), cfg_scale=scale)
    coupling = pair.method.sampler(model, sampling.settings).path
    trainer = build_trainer(config, base, coupling, null, distributed)
    pretrainer = None
    for key, used in (
        ("contrastive_pretraining.steps", config.contrastive_pretraining.steps),
        ("loss.contrastive", config.loss.contrastive),
    ):
        if used and not isinstance(network.config.fusion, CorrelationFusionConfig):
            raise UserError(
                f"{key} needs a discriminator with inner products: give "
                "discriminator.fusion=attention+correlation"
            )
    if config.contrastive_pretraining.steps:
        pretrainer = contrastive_trainer(config, trainer)
        distributed.expect(pretrainer.config.batch_size)
        pretrainer = replace(pretrainer, callbacks=tuple(pretraining_callbacks))
    if distributed.main:
        run_dir = out / "training"
        own = build_callbacks(config, inputs, run_dir, pair, trainer, model, sampling)
        callbacks = (*own, *callbacks)
    trainer = replace(trainer, callbacks=tuple(callbacks))
    return TrainingRun(config, out, inputs, network, digest, trainer, pretrainer)


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


def contrastive_trainer(config: TrainingConfig, trainer: Trainer) -> Trainer:
    """Make the trainer of the contrastive pretraining from that of the training."""
    batches, pretraining = _contrastive_batches(config, trainer), config.contrastive_pretraining
    warmup = pretraining.warmup_steps
    return replace(
        trainer,
        levels=batches.levels,
        loss=ContrastiveLoss(config.contrastive.group_size),
        config=batches.config.updated(
            {
                "steps": pretraining.steps,
                "learning_rate": pretraining.learning_rate,
                "warmup_steps": trainer.config.warmup_steps if warmup is None else warmup,
            }
        ),
        callbacks=(),
    )


def contrastive_term(
    config: TrainingConfig, trainer: Trainer, groups: CaptionGroups
) -> ContrastiveTerm:
    """Make the third term of a training's loss."""
    return ContrastiveTerm(
        ContrastiveLoss(config.contrastive.group_size),
        config.loss.contrastive,
        _contrastive_batches(config, trainer),
        groups,
    )


def _contrastive_batches(config: TrainingConfig, trainer: Trainer) -> Batches:
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


def _resolved(config: TrainingConfig, pair: JointSystem) -> TrainingConfig:
    """Resolve the settings that are null and follow from the base models."""
    separate, levels = pair.independent, config.levels
    if not separate and (levels.independent or levels.one_sided):
        raise UserError(
            "the base models of this preset have one noise level for both modalities: leave "
            "levels.independent and levels.one_sided out"
        )
    usual = {
        "levels.independent": (levels.independent, 0.35 if separate else 0.0),
        "levels.one_sided": (levels.one_sided, 0.3 if separate else 0.0),
        "negatives.recombine": (config.negatives.recombine, separate),
    }
    return config.updated({key: new for key, (value, new) in usual.items() if value is None})

"""Training run of a configuration: inputs are loaded and checked, results written.

Training begins with new weights, or with those of a discriminator that was trained before.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch

from mmdisco.core.av import AV
from mmdisco.core.coupling import LevelCoupling
from mmdisco.core.denoiser import JointDenoiser
from mmdisco.core.discriminator import Discriminator
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
from mmdisco.training.cached_denoiser import CachedDenoiser
from mmdisco.training.callbacks import build_callbacks
from mmdisco.training.config import (
    INDEPENDENT,
    ONE_SIDED,
    PRECISIONS,
    ContrastiveConfig,
    DiscriminatorConfig,
    NoiseLevelConfig,
    TrainingConfig,
)
from mmdisco.training.config_io import config_tree, write_config
from mmdisco.training.contrastive import ContrastiveLoss, GroupedNoiseLevels
from mmdisco.training.datasets import TrainingData
from mmdisco.training.discriminator_config import build_discriminator_config
from mmdisco.training.distributed import Accelerated, Distributed
from mmdisco.training.model_card import last_measure, read_log, write_card
from mmdisco.training.trainer import Callback, Trainer

OWN: Final = "preset"
"""Name of the discriminator that comes with a preset."""


@dataclass(frozen=True)
class InitialWeights:
    """Network before its first step.

    Attributes:
        network: The network, ready to be trained.
        mark: Checksum of the weights it was loaded from; None where they are new.
    """

    network: AudioVideoDiscriminator
    mark: str | None = None


def initialize(
    course: TrainingConfig,
    pair: JointSystem,
    preset: str,
    shape: Callable[[DiscriminatorConfig], AudioVideoConfig],
) -> InitialWeights:
    """Make or load the network to train.

    Args:
        course: Training configuration; new weights follow from its seed.
        pair: System whose latents the network will read.
        preset: Name of that system.
        shape: Turns the requested architecture into one for those latents.

    Raises:
        UserError: The weights to begin with are missing, damaged, made for other latents or not
            trainable, or an architecture is requested beside them.
    """
    if course.start is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(course.training.seed)
            return InitialWeights(AudioVideoDiscriminator(shape(course.discriminator)))
    if course.discriminator != DiscriminatorConfig():
        raise UserError("start brings its own shape: leave discriminator.* and --interaction out")
    if course.start == OWN:
        trained, mark = pair.discriminator(), pair.weight_hashes()["discriminator"]
    else:
        folder = find_discriminator(course.start)
        trained, mark = PretrainedDiscriminator.load(folder).network, read_config(folder)["sha256"]
    if not isinstance(trained, AudioVideoDiscriminator):
        raise UserError(f"the discriminator of {preset} cannot be trained on: leave start out")
    pair.expect_fitting(trained.config, preset)
    network = AudioVideoDiscriminator(trained.config)
    network.load_state_dict(trained.state_dict())
    return InitialWeights(network, mark)


@dataclass(frozen=True)
class TrainingRun:
    """Training with all it needs.

    Attributes:
        course: Configuration with every open setting resolved.
        inputs: Clips and fake pairs.
        pair: System of the base models.
        strategy: Processes that work on it.
        beginning: Network before training.
        trainer: The training loop.
        first: Loop of the contrastive pretraining, if there is one.
    """

    course: TrainingConfig
    inputs: TrainingData
    pair: JointSystem
    strategy: Distributed
    beginning: InitialWeights
    trainer: Trainer
    first: Trainer | None

    @property
    def run_dir(self) -> Path:
        """Folder of checkpoint, log, TensorBoard and samples."""
        return self.course.out / "training"

    def steps(self) -> Iterator[int]:
        """Train, and write the folder at the end.

        Yields:
            The number of steps of pretraining or training done by this run, after each.

        Raises:
            UserError: The folder holds another training, or cannot be written.
        """
        self._expect_own()
        network = self.beginning.network
        if self.first is not None:
            groups = self.inputs.groups(self.course.first, self.first.null)
            # trained in place: training continues from the network, not from its average
            yield from _counted(self.first.steps(network, groups, groups, self.run_dir / "first"))
        real = self.inputs.clips.store("train")
        fake = self.inputs.told_from(self.course.fakery)
        run = self.trainer.steps(network, real, fake, self.run_dir)
        average: Discriminator = network
        for done, found in enumerate(run, start=1):
            average = found
            yield done
        if self.strategy.main:
            result = AudioVideoDiscriminator(network.config)
            result.load_state_dict(average.state_dict())
            self._finish(result)
        self.strategy.wait()

    def _expect_own(self) -> None:
        """Refuse to resume under other settings, except those that do not affect the weights."""
        settings, inputs = self.course.out / "training.yaml", self.run_dir / "inputs.json"
        wanted = self._deciding()
        if inputs.exists():
            found = read_object(inputs)
            for name, value in wanted.items():
                if found.get(name) != value:
                    raise UserError(
                        f"{self.course.out} holds a training of other {name}: give the same "
                        "settings or another folder"
                    )
        # no process writes before all have read
        self.strategy.wait()
        if self.strategy.main:
            remove_leftovers(self.course.out)
            expect_writable(settings)
            write_config(settings, self.course)
            write_json(inputs, wanted)

    def _deciding(self) -> dict[str, Any]:
        tree = config_tree(self.course)
        wanted = {
            **{key: tree[key] for key in ("levels", "loss", "fakery", "first", "training")},
            "discriminator": self.beginning.network.config.to_record(),
            "clips": self.inputs.clips.fingerprint,
            "fakes": dict(self.inputs.made),
            "start": self.beginning.mark,
        }
        return json.loads(json.dumps(wanted))  # as it will be read back

    def _finish(self, result: AudioVideoDiscriminator) -> None:
        lines = read_log(self.run_dir / "log.jsonl")
        captions = self.inputs.clips.captions
        facts: dict[str, Any] = {
            "one_sided": self.course.levels.one_sided,
            "clips": {
                **{part: len(own) for part, own in captions.items()},
                "captions": len({text for own in captions.values() for text in own}),
                "fakes": sum(map(len, self.inputs.captions.values())),
                "sha256": self.inputs.clips.fingerprint,
            },
            "bases": dict(self.inputs.made),
            "training": config_tree(self.course),
            "held_out": last_measure(lines),
        }
        name = self.inputs.clips.preset
        write_card(self.course.out, {"preset": name, **facts}, lines)
        PretrainedDiscriminator(result, name, facts).save(self.course.out)


def build(
    course: TrainingConfig, observers: Sequence[Callback] = (), before: Sequence[Callback] = ()
) -> TrainingRun:
    """Load and check everything a configuration names.

    Args:
        course: Training configuration.
        observers: Callbacks beside those of the configuration.
        before: Callbacks of the contrastive pretraining.

    Raises:
        UserError: A file is missing or does not fit.
    """
    inputs = TrainingData.read(course)
    work = course.work
    precision = work.precision and PRECISIONS[work.precision]
    strategy = Accelerated(work.accumulation, precision, cpu=work.cpu)
    strategy.expect(course.training.batch_size)
    options = inputs.clips.options.replaced(device=str(strategy.device))
    pair = inputs.pair(options)
    course = _resolved(course, pair)
    model = pair.model()
    null = model.encode_prompts([""])
    seconds = float(pair.form.seconds)
    texts = null.map(lambda one: one.pooled.shape[1])
    beginning = initialize(
        course,
        pair,
        inputs.clips.preset,
        lambda wish: build_discriminator_config(wish, model.latent_shapes(seconds), texts, seconds),
    )
    scale = AV(*map(float, inputs.made["guidance_scale"]))
    base: JointDenoiser = guided_base(model, scale)
    if course.work.remember:
        base = CachedDenoiser(base, course.out / "training" / "bases")
    sampling = replace(pair.sampling(), guidance_scale=scale)
    path = pair.method.sampler(model, sampling.settings).path
    law = build_level_sampler(course.levels, path)
    trainer = Trainer(base, law, course.loss, course.training, null, strategy)
    watching = (
        build_callbacks(course, inputs, pair, trainer, model, sampling) if strategy.main else ()
    )
    first = None
    if course.first.steps:
        _expect_products(beginning.network.config)
        first = _first(course, trainer, tuple(before))
    trainer = replace(trainer, observers=(*watching, *observers))
    return TrainingRun(course, inputs, pair, strategy, beginning, trainer, first)


def _expect_products(config: AudioVideoConfig) -> None:
    if not isinstance(config.fusion, CorrelationFusionConfig):
        raise UserError(
            "first.steps wants a discriminator with products: give "
            "discriminator.interaction=products"
        )


def _first(course: TrainingConfig, trainer: Trainer, observers: tuple[Callback, ...]) -> Trainer:
    trainer.strategy.expect(course.first.groups * course.first.group)
    return replace(contrastive_trainer(course.first, trainer), observers=observers)


def contrastive_trainer(wish: ContrastiveConfig, trainer: Trainer) -> Trainer:
    """Make the trainer of the contrastive pretraining, with the same noise levels."""
    levels = trainer.levels
    low = PowerSampler(wish.power)
    return replace(
        trainer,
        levels=GroupedNoiseLevels(
            levels.path, low, levels.independent, levels.one_sided, wish.group
        ),
        criterion=ContrastiveLoss(wish.group),
        config=replace(
            trainer.config,
            steps=wish.steps,
            batch_size=wish.groups * wish.group,
            learning_rate=wish.learning_rate,
            caption_dropout=0.0,
            period=0,
        ),
        observers=(),
    )


def _counted(steps: Iterator[Discriminator]) -> Iterator[int]:
    for done, _ in enumerate(steps, start=1):
        yield done


def build_level_sampler(levels: NoiseLevelConfig, path: LevelCoupling) -> NoiseLevelSampler:
    """Make the distribution of noise levels on a coupling; shares left open are 0."""
    laws: dict[str, TimestepSampler] = {
        "power": PowerSampler(levels.power),
        "importance": LossSecondMomentSampler(),
    }
    return NoiseLevelSampler(
        path, laws[levels.law], levels.independent or 0.0, levels.one_sided or 0.0
    )


def _resolved(course: TrainingConfig, pair: JointSystem) -> TrainingConfig:
    """Resolve every open setting."""
    levels, apart = course.levels, pair.independent
    independent = INDEPENDENT if levels.independent is None else levels.independent
    one_sided = ONE_SIDED if levels.one_sided is None else levels.one_sided
    if not apart:
        if levels.independent or levels.one_sided:
            raise UserError(
                "the bases of this preset know one noise level for both sides: leave "
                "levels.independent and levels.one_sided out"
            )
        independent = one_sided = 0.0
    repaired = course.fakery.repaired
    return replace(
        course,
        levels=replace(levels, independent=independent, one_sided=one_sided),
        fakery=replace(course.fakery, repaired=apart if repaired is None else repaired),
    )

"""A course carried out: what the settings name is loaded, checked, trained and written down.

What a course begins with: new weights, or those of a discriminator that was trained before.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch

from mmdisco.core.av import AV
from mmdisco.core.coupling import NoisePath
from mmdisco.core.denoiser import JointDenoiser
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.noise_levels import ImportanceLaw, LevelLaw, PowerLaw, TimeLaw
from mmdisco.discriminators.correlation import ProductFusionConfig
from mmdisco.discriminators.hub import DiscriminatorFolder, find_discriminator, read_config
from mmdisco.discriminators.two_tower import AudioVideoConfig, AudioVideoDiscriminator
from mmdisco.errors import UserError
from mmdisco.generation.pipeline import guided_base
from mmdisco.generation.system import Pair
from mmdisco.io.files import expect_writable, read_object, remove_leftovers, write_json
from mmdisco.training.cached_denoiser import RememberedBase
from mmdisco.training.callbacks import observers_of
from mmdisco.training.config import INDEPENDENT, ONE_SIDED, PRECISIONS, Course, First, Levels, Shape
from mmdisco.training.config_io import course_tree, write_course
from mmdisco.training.contrastive import Contrast, GroupedLevels
from mmdisco.training.datasets import Inputs
from mmdisco.training.discriminator_config import shape_of
from mmdisco.training.distributed import Accelerated, Strategy
from mmdisco.training.model_card import last_measure, read_log, write_card
from mmdisco.training.trainer import Observer, Trainer

OWN: Final = "preset"
"""The name of the discriminator that a preset brings along."""


@dataclass(frozen=True)
class Beginning:
    """A network before its first step.

    Attributes:
        network: Ready to be trained.
        mark: Checksum of the weights it was given; None where they are new.
    """

    network: AudioVideoDiscriminator
    mark: str | None = None


def begin(
    course: Course, pair: Pair, preset: str, shape: Callable[[Shape], AudioVideoConfig]
) -> Beginning:
    """The network of a course.

    Args:
        course: Its settings; new weights follow from the seed of the training.
        pair: Whose latents it will read.
        preset: The name of that pair.
        shape: What a wish means for those latents.

    Raises:
        UserError: What to begin with is not there, damaged, of other latents or not trainable, or
            a shape is wished for beside it.
    """
    if course.start is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(course.training.seed)
            return Beginning(AudioVideoDiscriminator(shape(course.discriminator)))
    if course.discriminator != Shape():
        raise UserError("start brings its own shape: leave discriminator.* and --interaction out")
    if course.start == OWN:
        trained, mark = pair.discriminator(), pair.marks()["discriminator"]
    else:
        folder = find_discriminator(course.start)
        trained, mark = DiscriminatorFolder.load(folder).network, read_config(folder)["sha256"]
    if not isinstance(trained, AudioVideoDiscriminator):
        raise UserError(f"the discriminator of {preset} cannot be trained on: leave start out")
    pair.expect_fitting(trained.config, preset)
    network = AudioVideoDiscriminator(trained.config)
    network.load_state_dict(trained.state_dict())
    return Beginning(network, mark)


@dataclass(frozen=True)
class Training:
    """A course with all it needs.

    Attributes:
        course: Nothing in it is left open.
        inputs: Clips and fakes.
        pair: Whose bases.
        strategy: Who works on it.
        beginning: The network, as it is before.
        trainer: The loop.
        first: That of the contrast before it, if there is to be one.
    """

    course: Course
    inputs: Inputs
    pair: Pair
    strategy: Strategy
    beginning: Beginning
    trainer: Trainer
    first: Trainer | None

    @property
    def run_dir(self) -> Path:
        """Of checkpoint, log, TensorBoard and samples."""
        return self.course.out / "training"

    def steps(self) -> Iterator[int]:
        """Train, and write the folder at the end.

        Yields:
            The number of steps that this run did of contrast or of the training, after each.

        Raises:
            UserError: The folder holds another training, or cannot be written.
        """
        self._expect_own()
        network = self.beginning.network
        if self.first is not None:
            groups = self.inputs.groups(self.course.first, self.first.null)
            # in place: it is the network and not its average that goes on
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
        """Refuse to go on with another course; what decides no weights may change."""
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
        # nobody writes before everybody has looked
        self.strategy.wait()
        if self.strategy.main:
            remove_leftovers(self.course.out)
            expect_writable(settings)
            write_course(settings, self.course)
            write_json(inputs, wanted)

    def _deciding(self) -> dict[str, Any]:
        tree = course_tree(self.course)
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
            "training": course_tree(self.course),
            "held_out": last_measure(lines),
        }
        name = self.inputs.clips.preset
        write_card(self.course.out, {"preset": name, **facts}, lines)
        DiscriminatorFolder(result, name, facts).save(self.course.out)


def prepare_training(
    course: Course, observers: Sequence[Observer] = (), before: Sequence[Observer] = ()
) -> Training:
    """Load and check what a course names.

    Args:
        course: The settings.
        observers: Who looks on beside those of the course.
        before: Who looks on at the contrast before the training.

    Raises:
        UserError: Something is missing or does not fit.
    """
    inputs = Inputs.read(course)
    work = course.work
    precision = work.precision and PRECISIONS[work.precision]
    strategy = Accelerated(work.accumulation, precision, cpu=work.cpu)
    strategy.expect(course.training.batch_size)
    options = replace(inputs.clips.options, device=str(strategy.device))
    pair = inputs.pair(options)
    course = _resolved(course, pair)
    model = pair.model()
    null = model.encode_prompts([""])
    seconds = float(pair.form.seconds)
    texts = null.map(lambda one: one.pooled.shape[1])
    beginning = begin(
        course,
        pair,
        inputs.clips.preset,
        lambda wish: shape_of(wish, model.latent_shapes(seconds), texts, seconds),
    )
    scale = AV(*map(float, inputs.made["guidance_scale"]))
    base: JointDenoiser = guided_base(model, scale)
    if course.work.remember:
        base = RememberedBase(base, course.out / "training" / "bases")
    sampling = replace(pair.sampling(), guidance_scale=scale)
    path = pair.method.sampler(model, sampling.settings).path
    law = law_of(course.levels, path)
    trainer = Trainer(base, law, course.loss, course.training, null, strategy)
    watching = observers_of(course, inputs, pair, trainer, model, sampling) if strategy.main else ()
    first = None
    if course.first.steps:
        _expect_products(beginning.network.config)
        first = _first(course, trainer, tuple(before))
    trainer = replace(trainer, observers=(*watching, *observers))
    return Training(course, inputs, pair, strategy, beginning, trainer, first)


def _expect_products(config: AudioVideoConfig) -> None:
    if not isinstance(config.fusion, ProductFusionConfig):
        raise UserError(
            "first.steps wants a discriminator with products: give "
            "discriminator.interaction=products"
        )


def _first(course: Course, trainer: Trainer, observers: tuple[Observer, ...]) -> Trainer:
    trainer.strategy.expect(course.first.groups * course.first.group)
    return replace(contrast_of(course.first, trainer), observers=observers)


def contrast_of(wish: First, trainer: Trainer) -> Trainer:
    """The contrast before a training, of the same levels."""
    levels = trainer.levels
    low = PowerLaw(wish.power)
    return replace(
        trainer,
        levels=GroupedLevels(levels.path, low, levels.independent, levels.one_sided, wish.group),
        criterion=Contrast(wish.group),
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


def law_of(levels: Levels, path: NoisePath) -> LevelLaw:
    """The law of noise levels on a path; shares left open are 0."""
    laws: dict[str, TimeLaw] = {
        "power": PowerLaw(levels.power),
        "importance": ImportanceLaw(),
    }
    return LevelLaw(path, laws[levels.law], levels.independent or 0.0, levels.one_sided or 0.0)


def _resolved(course: Course, pair: Pair) -> Course:
    """Nothing left open."""
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

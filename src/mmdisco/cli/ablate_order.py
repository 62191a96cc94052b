"""What ``mmdisco experiments ablate`` does with its options."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mmdisco.adapters.miniature import PACKAGED
from mmdisco.cli.progress import progress
from mmdisco.errors import UserError
from mmdisco.experiments.ablation import on_clips, on_miniature
from mmdisco.experiments.ablation.grid import run
from mmdisco.experiments.ablation.on_clips import OnClips
from mmdisco.experiments.ablation.on_miniature import OnMiniature
from mmdisco.experiments.ablation.results import Results, draw, page
from mmdisco.experiments.ablation.studies import study
from mmdisco.experiments.ablation.study import ExperimentSetting, Variant
from mmdisco.io.files import expect_writable, write_text
from mmdisco.training.config import TrainingConfig

CLIPS: Final = 128
COUNTS: Final = (4096, 512)  # real pairs and fakes
PAIRS: Final = 64
LEVELS: Final = 6
SEEDS: Final = 3


@dataclass(frozen=True)
class AblateArgs:
    """The options, as ``mmdisco experiments ablate --help`` explains them."""

    study: str
    out: Path
    seeds: int | None = None
    data: Path | None = None
    fakes: Path | None = None
    weights: Path | None = None
    discriminator: str | None = None
    stores: Path | None = None
    clips: int | None = None
    steps: int | None = None
    first: int | None = None
    jobs: int = 1
    threads: int = 1
    quick: bool = False
    variants: tuple[str, ...] = ()


def execute(order: AblateArgs) -> Iterator[str]:
    """Run what is not yet done of a study, then sum up.

    Yields:
        The table, and the files.

    Raises:
        UserError: An option is not understood or does not fit.
    """
    wanted = study(order.study)
    seeds = _seeds(order)
    if min(seeds, order.jobs, order.threads) < 1:
        raise UserError("ask for at least 1 seed, 1 job and 1 thread")
    folder = order.out / order.study
    expect_writable(folder / "results.json")
    setting = setting_of(order)
    variants = wanted.select(setting.baseline(), order.variants)
    _expect_effect(order, variants)
    setting.expect(variants)
    with progress("data") as shown:
        setting.prepare(variants)
        for name, done, total in run(setting, variants, seeds, order.jobs, order.threads):
            shown.update(name, done, total)
    results = Results.read(order.study, wanted, setting, variants, seeds)
    results.write(folder)
    draw(folder / "plot.png", results)
    write_text(folder / "index.html", page(results, folder / "plot.png"))
    yield results.markdown()
    for name in ("table.csv", "results.json", "table.md", "plot.png", "index.html"):
        yield str(folder / name)


def _seeds(order: AblateArgs) -> int:
    if order.quick and order.seeds is not None:
        raise UserError("--seeds has no effect with --quick, which has one: leave one out")
    usual = 1 if order.quick else SEEDS
    return usual if order.seeds is None else order.seeds


def _expect_effect(order: AblateArgs, variants: Sequence[Variant]) -> None:
    configs = [variant.training for variant in variants if variant.training is not None]
    trained = {
        "--steps": order.steps,
        "--contrastive-steps": order.first,
        "--pair-stores": order.stores,
    }
    for name, value in trained.items():
        if value is not None and not configs:
            raise UserError(f"{name} is of trainings, and none of these variants is trained")
    fusions = {config.discriminator.fusion for config in configs}
    if order.first is not None and "attention+correlation" not in fusions:
        raise UserError(
            "--contrastive-steps is of pretraining, which none of these variants has: leave it out"
        )
    if order.discriminator is not None and not any(
        variant.training is None and variant.sampling.guided for variant in variants
    ):
        raise UserError(
            "--discriminator has no effect: these variants train their own: leave it out"
        )


def setting_of(order: AblateArgs) -> ExperimentSetting:
    """Return the setting of the study.

    Raises:
        UserError: Options of both kinds of data are given, or half of one.
    """
    if (order.data is None) != (order.fakes is None):
        raise UserError("give both --data and --fakes, or neither for the embedded data")
    if order.data is not None and order.fakes is not None:
        if order.stores is not None:
            raise UserError("--pair-stores is for the embedded data: leave it out")
        return OnClips(
            root=order.out,
            clips=order.clips or 0,
            pairs=16 if order.quick else PAIRS,
            levels=2 if order.quick else LEVELS,
            discriminator=order.discriminator,
            data=order.data,
            fakes=order.fakes,
            weights=order.weights,
            training=training_of(order, on_clips.TRAINING),
            steps=4 if order.quick else None,
        )
    clips = on_miniature.LEAST_CLIPS if order.quick else CLIPS
    return OnMiniature(
        root=order.out,
        clips=clips if order.clips is None else order.clips,
        pairs=16 if order.quick else PAIRS,
        levels=2 if order.quick else LEVELS,
        discriminator=order.discriminator,
        weights=order.weights or PACKAGED,
        stores=order.stores,
        counts=(48, 16) if order.quick else COUNTS,
        training=training_of(order, on_miniature.TRAINING),
        steps=4 if order.quick else None,
    )


def training_of(order: AblateArgs, baseline: TrainingConfig) -> TrainingConfig:
    """Return the training of the baseline with the options' lengths."""
    config = small(baseline) if order.quick else baseline
    steps = {"training.steps": order.steps, "contrastive_pretraining.steps": order.first}
    return config.updated({key: value for key, value in steps.items() if value is not None})


def small(config: TrainingConfig) -> TrainingConfig:
    """Return a training that shows nothing but that it works."""
    steps = config.contrastive_pretraining.steps
    return config.updated(
        {
            "discriminator": {"width": 16, "d_model": 16, "num_layers": 1, "num_heads": 2},
            "training": {"steps": 8, "batch_size": 4, "warmup_steps": 2, "checkpoint_every": 4},
            "contrastive": {"groups": 2},
            "contrastive_pretraining": {"steps": min(steps, 4)},
        }
    )

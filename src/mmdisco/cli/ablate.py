"""``mmdisco experiments ablate``: what matters, by one study after the other."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import typer

from mmdisco.cli.options import options_of
from mmdisco.cli.stopping import GO_ON, running
from mmdisco.errors import UserError

if TYPE_CHECKING:
    from mmdisco.experiments.ablation.study import ExperimentSetting, Variant
    from mmdisco.experiments.config import AblateConfig
    from mmdisco.training.config import TrainingConfig

CLIPS: Final = 128
COUNTS: Final = (4096, 512)  # real pairs and fakes
PAIRS: Final = 64
LEVELS: Final = 6


@options_of("mmdisco.experiments.config:AblateConfig")
def ablate(**options: Any) -> None:
    """A study: train, sample, measure; a table (CSV, JSON, Markdown), a picture and a page.

    Everything is kept as it is done; the same command goes on where it was stopped.
    """
    # imports that --help need not wait for
    from mmdisco.cli.config_options import given
    from mmdisco.experiments.config import AblateConfig

    config = AblateConfig(**given(options))
    said = f"measured cells and trainings up to their last checkpoint are kept in {config.out}"
    with running(f"{said}: {GO_ON}", config.threads) as run:
        run.work_in(config.out)
        for line in execute(config):
            typer.echo(line)


def execute(config: "AblateConfig") -> Iterator[str]:
    """Run what is not yet done of a study, then sum up.

    Yields:
        The table, and the files.

    Raises:
        UserError: An option is not understood or does not fit.
    """
    from mmdisco.cli.progress import progress
    from mmdisco.experiments.ablation.grid import run
    from mmdisco.experiments.ablation.results import Results, draw, page
    from mmdisco.experiments.ablation.studies import study
    from mmdisco.io.files import expect_writable, write_text

    wanted, seeds = study(config.study), config.number_of_seeds
    folder = config.out / config.study
    expect_writable(folder / "results.json")
    setting = setting_of(config)
    variants = wanted.select(setting.baseline(), config.variants)
    _expect_effect(config, variants)
    setting.expect(variants)
    with progress("data") as shown:
        setting.prepare(variants)
        for name, done, total in run(setting, variants, seeds, config.jobs, config.threads):
            shown.update(name, done, total)
    results = Results.read(config.study, wanted, setting, variants, seeds)
    results.write(folder)
    draw(folder / "plot.png", results)
    write_text(folder / "index.html", page(results, folder / "plot.png"))
    yield results.markdown()
    for name in ("table.csv", "results.json", "table.md", "plot.png", "index.html"):
        yield str(folder / name)


def _expect_effect(config: "AblateConfig", variants: "Sequence[Variant]") -> None:
    trainings = [variant.training for variant in variants if variant.training is not None]
    trained = {
        "--steps": config.steps,
        "--contrastive-steps": config.contrastive_steps,
        "--contrastive": config.contrastive,
        "--pair-stores": config.pair_stores,
    }
    for name, value in trained.items():
        if value is not None and not trainings:
            raise UserError(f"{name} is of trainings, and none of these variants is trained")
    fusions = {one.discriminator.fusion for one in trainings}
    if config.contrastive_steps is not None and "attention+correlation" not in fusions:
        raise UserError(
            "--contrastive-steps is of pretraining, which none of these variants has: leave it out"
        )
    if config.contrastive is not None and config.study == "contrast":
        raise UserError("--contrastive has no effect: this study varies it itself: leave it out")
    if config.contrastive and "attention+correlation" not in fusions:
        raise UserError(
            "--contrastive is of inner products, which none of these variants has: leave it out"
        )
    if config.discriminator is not None and not any(
        variant.training is None and variant.sampling.guided for variant in variants
    ):
        raise UserError(
            "--discriminator has no effect: these variants train their own: leave it out"
        )


def setting_of(config: "AblateConfig") -> "ExperimentSetting":
    """Return the setting of the study."""
    from mmdisco.adapters.miniature import PACKAGED
    from mmdisco.experiments.ablation import on_clips, on_miniature

    common: dict[str, Any] = {
        "root": config.out,
        "pairs": 16 if config.quick else PAIRS,
        "levels": 2 if config.quick else LEVELS,
        "discriminator": config.discriminator,
        "steps": 4 if config.quick else None,
    }
    if config.data is not None and config.fakes is not None:
        return on_clips.OnClips(
            **common,
            clips=config.clips or 0,
            data=config.data,
            fakes=config.fakes,
            weights=config.weights,
            training=training_of(config, on_clips.TRAINING),
        )
    clips = on_miniature.LEAST_CLIPS if config.quick else CLIPS
    return on_miniature.OnMiniature(
        **common,
        clips=clips if config.clips is None else config.clips,
        weights=config.weights or PACKAGED,
        stores=config.pair_stores,
        counts=(48, 16) if config.quick else COUNTS,
        training=training_of(config, on_miniature.TRAINING),
    )


def training_of(config: "AblateConfig", baseline: "TrainingConfig") -> "TrainingConfig":
    """Return the training of the baseline with the changes of a configuration."""
    training = small(baseline) if config.quick else baseline
    changes = {
        "training.steps": config.steps,
        "contrastive_pretraining.steps": config.contrastive_steps,
        "loss.contrastive": config.contrastive,
    }
    return training.updated({key: value for key, value in changes.items() if value is not None})


def small(config: "TrainingConfig") -> "TrainingConfig":
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

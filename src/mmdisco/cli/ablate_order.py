"""What ``mmdisco ablate`` does with its options."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from mmdisco.adapters.miniature.spec import PACKAGED
from mmdisco.cli.progress import progress
from mmdisco.errors import UserError
from mmdisco.experiments.ablation import on_clips, on_miniature
from mmdisco.experiments.ablation.grid import run
from mmdisco.experiments.ablation.on_clips import OnClips
from mmdisco.experiments.ablation.on_miniature import OnMiniature
from mmdisco.experiments.ablation.plots import draw
from mmdisco.experiments.ablation.report_html import page
from mmdisco.experiments.ablation.results import Results
from mmdisco.experiments.ablation.setting import ExperimentSetting
from mmdisco.experiments.ablation.studies import study
from mmdisco.experiments.ablation.study import Arm, TrainingRecipe
from mmdisco.io.files import expect_writable, write_text

CLIPS: Final = 128
COUNTS: Final = (4096, 512)  # real pairs and fakes
PAIRS: Final = 64
LEVELS: Final = 6
SEEDS: Final = 3


@dataclass(frozen=True)
class AblateArgs:
    """The options, as ``mmdisco ablate --help`` explains them."""

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
    arms: tuple[str, ...] = ()


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
    place = place_of(order)
    arms = wanted.chosen(place.usual(), order.arms)
    _expect_effect(order, arms)
    place.expect(arms)
    with progress("data") as shown:
        place.prepare(arms)
        for name, done, total in run(place, arms, seeds, order.jobs, order.threads):
            shown.update(name, done, total)
    results = Results.read(order.study, wanted, place, arms, seeds)
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


def _expect_effect(order: AblateArgs, arms: Sequence[Arm]) -> None:
    recipes = [arm.recipe for arm in arms if arm.recipe is not None]
    trained = {
        "--steps": order.steps,
        "--contrastive-steps": order.first,
        "--pair-stores": order.stores,
    }
    for name, value in trained.items():
        if value is not None and not recipes:
            raise UserError(f"{name} is of trainings, and none of these arms is trained")
    if order.first is not None and not any(one.shape.interaction == "products" for one in recipes):
        raise UserError(
            "--contrastive-steps is of contrast, which none of these arms has: leave it out"
        )
    if order.discriminator is not None and not any(
        arm.recipe is None and arm.way.guided for arm in arms
    ):
        raise UserError("--discriminator has no effect: these arms train their own: leave it out")


def place_of(order: AblateArgs) -> ExperimentSetting:
    """Where the study is carried out.

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
            recipe=recipe_of(order, on_clips.RECIPE),
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
        recipe=recipe_of(order, on_miniature.RECIPE),
        steps=4 if order.quick else None,
    )


def recipe_of(order: AblateArgs, usual: TrainingRecipe) -> TrainingRecipe:
    """The usual recipe with the options' lengths."""
    recipe = small(usual) if order.quick else usual
    if order.steps is not None:
        recipe = replace(recipe, training=replace(recipe.training, steps=order.steps))
    if order.first is None:
        return recipe
    return replace(recipe, first=replace(recipe.first, steps=order.first))


def small(recipe: TrainingRecipe) -> TrainingRecipe:
    """One that shows nothing but that it works."""
    shape = replace(recipe.shape, width=16, tokens=16, layers=1, heads=2)
    training = replace(recipe.training, steps=8, batch_size=4, warmup=2, checkpoint_every=4)
    first = replace(recipe.first, steps=min(recipe.first.steps, 4), groups=2)
    return replace(recipe, shape=shape, training=training, first=first)

"""Toy studies and their cells, independent of how they are run."""

from dataclasses import dataclass

from mmdisco.errors import UserError
from mmdisco.experiments.config import ToyConfig
from mmdisco.experiments.toy.evaluation import ToyEvaluation
from mmdisco.experiments.toy.run import CONTRASTIVE, PAPER_LOSSES, REFERENCES, ToyCell, ToyRecipe
from mmdisco.training.config import NoiseLevelConfig, TrainerConfig

PLANES = ("gaussian", "mixture", "8gaussians", "moons", "swissroll", "checkerboard")
QUICK = ("8gaussians", "moons")


@dataclass(frozen=True)
class ToyStudy:
    """A named set of cells.

    Attributes:
        title: Title of the report.
        recipe: Training and sampling of its cells.
        problems, settings, losses: Factors that it varies.
        references: Names in ``REFERENCES``, beside the losses.
    """

    title: str
    recipe: ToyRecipe
    problems: tuple[str, ...]
    settings: tuple[str, ...] = ("ind", "ood")
    losses: tuple[str, ...] = PAPER_LOSSES
    references: tuple[str, ...] = REFERENCES

    def recipe_of(self, config: ToyConfig) -> ToyRecipe:
        """Return the recipe with the changes of a configuration; a quick one takes seconds."""
        steps = min(self.recipe.training.steps, 500)
        quick = {"training.steps": steps, "samples": 4000} if config.quick else {}
        return self.recipe.updated(quick | config.changes)

    def cells(self, config: ToyConfig) -> list[ToyCell]:
        """List the cells that a configuration asks for, references first.

        Raises:
            UserError: There is no problem, setting or loss of a name.
        """
        recipe = self.recipe_of(config)
        problems, settings = self.problems, self.settings
        if config.quick:
            problems = tuple(one for one in problems if one in QUICK) or problems
            settings = ("ind",)
        return [
            ToyCell(problem, setting, loss, seed, recipe)
            for loss in (*self.references, *(config.losses or self.losses))
            for problem in config.problems or problems
            for setting in config.settings or settings
            for seed in range(config.number_of_seeds)
        ]


_ONE_SIDED = (
    ToyEvaluation(),
    ToyEvaluation(task="audio given video"),
    ToyEvaluation(task="video given audio"),
    ToyEvaluation(task="audio by replacement"),
)
_SAMPLERS = (
    ToyEvaluation("ddim", 50),
    ToyEvaluation("ddim", 10),
    ToyEvaluation("ddim", 20),
    ToyEvaluation("ddim", 100),
    ToyEvaluation("ddpm", 50),
    *(
        ToyEvaluation(scheduler, steps, "log-snr")
        for scheduler in ("dpm++2m", "dpm++3m", "dpm++2s", "unipc")
        for steps in (10, 20)
    ),
    ToyEvaluation("dpm++2m", 20, "time"),
    ToyEvaluation("euler", 20, "log-snr"),
    ToyEvaluation("flow-euler", 20, "log-snr"),
    ToyEvaluation("ddim", 50, resamples=1),
)
_FEW_STEPS = (
    ToyEvaluation(),
    *(
        ToyEvaluation(scheduler, steps, "log-snr")
        for steps in (8, 20)
        for scheduler in ("ddim", "dpm++2m", "euler-ancestral", "sde-dpm++2m")
    ),
)


def _steps(steps: int, learning_rate: float = 6e-3) -> TrainerConfig:
    return ToyRecipe().training.updated({"steps": steps, "learning_rate": learning_rate})


STUDIES: dict[str, ToyStudy] = {
    "losses": ToyStudy("Loss functions, in and out of distribution", ToyRecipe(), PLANES),
    "budget": ToyStudy(
        "A longer budget, both losses",
        ToyRecipe(
            training=_steps(6000),
            width=128,
            evaluations=(ToyEvaluation("ddpm", 250), ToyEvaluation()),
        ),
        ("8gaussians", "moons"),
        settings=("ind",),
        losses=("both",),
        references=(),
    ),
    "two-level": ToyStudy(
        "One network with two noise levels: joint and one-sided generation",
        ToyRecipe(
            training=_steps(3000),
            levels=NoiseLevelConfig(power=1.5, independent=0.2, one_sided=0.4),
            width=128,
            evaluations=_ONE_SIDED,
        ),
        ("8gaussians", "moons"),
        settings=("ind",),
        losses=("both",),
    ),
    "samplers": ToyStudy(
        "Schedulers, steps and resampling",
        ToyRecipe(evaluations=_SAMPLERS),
        ("8gaussians", "moons"),
        settings=("ind",),
        losses=("both",),
        references=("unguided",),
    ),
    "few-steps": ToyStudy(
        "Solvers of first and second order in few steps",
        ToyRecipe(training=_steps(1000), evaluations=_FEW_STEPS),
        ("8gaussians",),
        settings=("ind",),
        losses=("both",),
    ),
    "contrast": ToyStudy(
        "Contrast as a third term of the loss",
        ToyRecipe(training=_steps(1000)),
        ("8gaussians",),
        losses=("both", *CONTRASTIVE),
    ),
    "vectors": ToyStudy(
        "Pairs of vectors in R⁸",
        ToyRecipe(training=_steps(4000, 4e-3), width=192, octaves=0),
        ("vectors",),
        settings=("ind",),
        losses=("disc", "both"),
    ),
    "bases": ToyStudy(
        "Trained base models, and fakes that they made",
        ToyRecipe(trained_bases=True),
        ("8gaussians", "moons"),
        settings=("ind",),
        losses=("both",),
    ),
}


def study(name: str) -> ToyStudy:
    """Look up a study by name.

    Raises:
        UserError: There is none of that name.
    """
    if name not in STUDIES:
        raise UserError(f"unknown study {name!r}: choose one of {', '.join(STUDIES)}")
    return STUDIES[name]

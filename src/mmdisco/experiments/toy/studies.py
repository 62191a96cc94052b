"""Which cells each study is made of. Knows nothing of how they are run."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from mmdisco.errors import UserError
from mmdisco.experiments.toy.evaluation import Evaluation
from mmdisco.experiments.toy.run import LOSSES, REFERENCES, Cell, Recipe

PLANES = ("gaussian", "mixture", "8gaussians", "moons", "swissroll", "checkerboard")


@dataclass(frozen=True)
class Selection:
    """What a study is narrowed to; empty tuples leave it as it is.

    Attributes:
        problems: Keys of ``JOINTS``.
        settings: Keys of ``SETTINGS``.
        losses: Of ``LOSSES``.
        seeds: How many, counted from 0.
    """

    problems: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    seeds: int = 3

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise UserError(f"{self.seeds} seeds: ask for at least 1")


@dataclass(frozen=True)
class Study:
    """A named set of cells.

    Attributes:
        title: A line for the report.
        recipe: Training and sampling of its cells.
        problems, settings, losses: What it varies.
        references: Of ``REFERENCES``, beside the losses.
    """

    title: str
    recipe: Recipe
    problems: tuple[str, ...]
    settings: tuple[str, ...] = ("ind", "ood")
    losses: tuple[str, ...] = LOSSES
    references: tuple[str, ...] = REFERENCES

    def cells(self, selection: Selection, change: Callable[[Recipe], Recipe]) -> list[Cell]:
        """All cells, references first.

        Args:
            selection: Narrows the study.
            change: Applied to the recipe, for options of a command line.
        """
        recipe = change(self.recipe)
        return [
            Cell(problem, setting, loss, seed, recipe)
            for loss in (*self.references, *(selection.losses or self.losses))
            for problem in selection.problems or self.problems
            for setting in selection.settings or self.settings
            for seed in range(selection.seeds)
        ]


_ONE_SIDED = (
    Evaluation(),
    Evaluation(task="audio given video"),
    Evaluation(task="video given audio"),
    Evaluation(task="audio given noised video"),
)
_SAMPLERS = (
    Evaluation("ddim", 50),
    Evaluation("ddim", 10),
    Evaluation("ddim", 20),
    Evaluation("ddim", 100),
    Evaluation("ddpm", 50),
    *(
        Evaluation(solver, steps, "log-snr")
        for solver in ("dpm++2m", "dpm++3m", "dpm++2s", "unipc")
        for steps in (10, 20)
    ),
    Evaluation("dpm++2m", 20, "time"),
    Evaluation("euler", 20, "log-snr"),
    Evaluation("flow-euler", 20, "log-snr"),
    Evaluation("ddim", 50, corrections=1),
)

STUDIES: dict[str, Study] = {
    "losses": Study("Loss functions, in and out of distribution", Recipe(), PLANES),
    "budget": Study(
        "A longer budget, both losses",
        Recipe(steps=6000, width=128, evaluations=(Evaluation("ddpm", 250), Evaluation())),
        ("8gaussians", "moons"),
        settings=("ind",),
        losses=("both",),
        references=(),
    ),
    "two-level": Study(
        "One network with two noise levels: joint and one-sided generation",
        Recipe(steps=3000, width=128, independent=0.2, one_sided=0.4, evaluations=_ONE_SIDED),
        ("8gaussians", "moons"),
        settings=("ind",),
        losses=("both",),
    ),
    "samplers": Study(
        "Solvers, steps and corrections",
        Recipe(evaluations=_SAMPLERS),
        ("8gaussians", "moons"),
        settings=("ind",),
        losses=("both",),
        references=("bases",),
    ),
    "vectors": Study(
        "Pairs of vectors in R⁸",
        Recipe(steps=4000, width=192, octaves=0, learning_rate=4e-3),
        ("vectors",),
        settings=("ind",),
        losses=("disc", "both"),
    ),
    "bases": Study(
        "Bases that were trained, fakes that they made",
        Recipe(trained_bases=True),
        ("8gaussians", "moons"),
        settings=("ind",),
        losses=("both",),
    ),
}


def quick(recipe: Recipe) -> Recipe:
    """A recipe that shows the trend within seconds."""
    return replace(recipe, steps=min(recipe.steps, 500), samples=4000)


def study(name: str) -> Study:
    """The study of a name.

    Raises:
        UserError: There is none.
    """
    if name not in STUDIES:
        raise UserError(f"unknown study {name!r}: choose one of {', '.join(STUDIES)}")
    return STUDIES[name]

"""Cross-entropy, the denoising loss, and both over λ.

How the two sides meet in the discriminator.

The central claims, with the fewest arms that can tell.

What real pairs are told from: what the bases made, real clips put together anew, or both.

Which pairs of noise levels are trained on: of the path, drawn apart, or with one side clean.

Width C and depth L of the towers.

Length of the training: the paper's Figure 5, for our sizes.
"""

from dataclasses import replace
from fractions import Fraction
from typing import Final, Literal

from mmdisco.core.losses import Objective
from mmdisco.experiments.ablation.study import BASES, Arm, More, NoMore, Study, Usual
from mmdisco.training.config import First

LAMBDAS: Final = (10.0, 100.0, 1000.0, 10_000.0)


def losing(usual: Usual, name: str, loss: Objective) -> Arm:
    """The usual training with another loss."""
    return Arm(name, usual.way, replace(usual.recipe, loss=loss))


def _arms(usual: Usual) -> list[Arm]:
    losses = {
        "cross-entropy": Objective(1.0, 0.0),
        "denoising": Objective(0.0, 1000.0),
        **{f"both, λ = {weight:g}": Objective(1.0, weight) for weight in LAMBDAS},
    }
    return [losing(usual, name, loss) for name, loss in losses.items()]


LOSS: Final = Study(
    "Loss function",
    _arms,
    (
        More("guided beats the bases alone", "gap event_f1", "both, λ = 1000", BASES),
        More("both beat cross-entropy", "gap event_f1", "both, λ = 1000", "cross-entropy"),
        More("both beat the denoising loss", "gap event_f1", "both, λ = 1000", "denoising"),
    ),
)


Interaction = Literal["time", "products", "pooled", "additive"]


def meeting(
    usual: Usual,
    name: str,
    interaction: Interaction,
    first: First | None = None,
    *,
    kept: bool = False,
) -> Arm:
    """The usual training with another interaction; without contrast before, unless it is given."""
    recipe = usual.recipe
    shape = replace(recipe.shape, interaction=interaction)
    before = first or replace(recipe.first, steps=0)
    return Arm(name, usual.way, replace(recipe, shape=shape, first=before, kept=kept))


def _interaction_arms(usual: Usual) -> list[Arm]:
    names: tuple[Interaction, ...] = ("additive", "pooled", "time", "products")
    arms = [meeting(usual, name, name) for name in names]
    before = usual.recipe.first
    if before.steps:
        first = "products, contrast first"
        arms.append(meeting(usual, first, "products", before))
        arms.append(meeting(usual, f"{first}, then kept", "products", before, kept=True))
    return arms


INTERACTION: Final = Study(
    "Interaction of the two sides",
    _interaction_arms,
    (
        NoMore("the additive head aligns nothing", "gap event_f1", "additive", BASES),
        More("in time beats additive", "gap event_f1", "time", "additive"),
        More("in time beats pooled", "gap event_f1", "time", "pooled"),
        More("products beat attention alone", "gap event_f1", "products", "time"),
        More("contrast first helps", "gap event_f1", "products, contrast first", "products"),
    ),
)


def _central_arms(usual: Usual) -> list[Arm]:
    recipe = usual.recipe
    # what has no products has no contrast before, and gets its steps too
    longer = replace(recipe.training, steps=recipe.training.steps + recipe.first.steps)
    as_long = replace(usual, recipe=replace(recipe, training=longer))
    return [
        Arm("both losses", usual.way, recipe),
        losing(usual, "cross-entropy", Objective(1.0, 0.0)),
        losing(usual, "denoising", Objective(0.0, 1000.0)),
        meeting(as_long, "attention in time", "time"),
        meeting(as_long, "additive", "additive"),
    ]


CENTRAL: Final = Study(
    "The central claims",
    _central_arms,
    (
        More("guided beats the bases alone", "gap event_f1", "both losses", BASES),
        More("both losses beat cross-entropy", "gap event_f1", "both losses", "cross-entropy"),
        More("both losses beat the denoising loss", "gap event_f1", "both losses", "denoising"),
        More(
            "both losses learn more of what a sound tells than cross-entropy",
            "joint: nats audio",
            "both losses",
            "cross-entropy",
        ),
        More(
            "both losses learn more of what a sound tells than the denoising loss",
            "joint: nats audio",
            "both losses",
            "denoising",
        ),
        More("products in time beat additive", "gap event_f1", "both losses", "additive"),
        More(
            "attention in time, without products, beats additive",
            "gap event_f1",
            "attention in time",
            "additive",
        ),
        NoMore("the additive head aligns nothing", "gap event_f1", "additive", BASES),
    ),
)


def _fakes_arms(usual: Usual) -> list[Arm]:
    shares = {"generated": 0.0, "mixed": 0.5, "shuffled reals": 1.0}

    def arm(name: str, share: float) -> Arm:
        fakery = replace(usual.recipe.fakery, shuffled=share)
        return Arm(name, usual.way, replace(usual.recipe, fakery=fakery), share)

    return [arm(name, share) for name, share in shares.items()]


FAKES: Final = Study(
    "Fake pairs",
    _fakes_arms,
    (
        More("mixed beats generated", "gap event_f1", "mixed", "generated"),
        More("mixed beats shuffled reals", "gap event_f1", "mixed", "shuffled reals"),
    ),
    axis="share of shuffled reals",
)


LEVELS_SHARES: Final = {
    "paired": (0.0, 0.0),
    "independent 0.35": (0.35, 0.0),
    "one-sided 0.3": (0.0, 0.3),
    "independent 0.35, one-sided 0.3": (0.35, 0.3),
    "independent 1": (1.0, 0.0),
}


def _levels_arms(usual: Usual) -> list[Arm]:
    def arm(name: str, independent: float, one_sided: float) -> Arm:
        levels = replace(usual.recipe.levels, independent=independent, one_sided=one_sided)
        return Arm(name, usual.way, replace(usual.recipe, levels=levels))

    return [arm(name, *shares) for name, shares in LEVELS_SHARES.items()]


LEVELS: Final = Study(
    "Pairing of noise levels",
    _levels_arms,
    (
        More(
            "one-sided levels teach sound for a given video",
            "given video: nats audio",
            "one-sided 0.3",
            "paired",
        ),
    ),
)


WIDTHS: Final = (32, 64, 128, 256)
DEPTHS: Final = (1, 2, 4)


def _size_arms(usual: Usual) -> list[Arm]:
    def arm(width: int, depth: int) -> Arm:
        shape = replace(usual.recipe.shape, width=width, depth=depth)
        recipe = replace(usual.recipe, shape=shape)
        return Arm(f"C = {width}, L = {depth}", usual.way, recipe, float(width), f"L = {depth}")

    wide = [arm(width, DEPTHS[0]) for width in WIDTHS]
    return [*wide, *(arm(128, depth) for depth in DEPTHS[1:])]


SIZE: Final = Study(
    "Width and depth",
    _size_arms,
    (
        More("wider is better", "gap event_f1", "C = 128, L = 1", "C = 32, L = 1"),
        More("deeper is better", "gap event_f1", "C = 128, L = 4", "C = 128, L = 1"),
    ),
    axis="width C",
)


STEPS_SHARES: Final = (Fraction(1, 4), Fraction(1, 2), Fraction(1), Fraction(2))


def _steps_arms(usual: Usual) -> list[Arm]:
    training = usual.recipe.training

    def arm(share: Fraction) -> Arm:
        steps = max(1, round(training.steps * share))
        # each with its own whole schedule of the learning rate
        recipe = replace(usual.recipe, training=replace(training, steps=steps))
        return Arm(f"{steps} steps", usual.way, recipe, float(steps))

    return [arm(share) for share in STEPS_SHARES]


STEPS: Final = Study("Training steps", _steps_arms, axis="training steps")

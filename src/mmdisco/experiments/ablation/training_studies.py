"""Ablations of training: losses, fusion, negatives, noise levels, size and length.

The studies vary the losses (cross-entropy, denoising, and both over λ); the fusion of both
modalities in the discriminator; the negatives (fakes, recombined real clips, or both); the pairs of
noise levels (along the coupling, independent, or with one clean modality); width C and depth L of
the towers; and the length of training, as in the paper's Figure 5 at our sizes. A central study
tests the main claims with the fewest arms.
"""

from dataclasses import replace
from fractions import Fraction
from typing import Final, Literal

from mmdisco.core.losses import MMDisCoLoss
from mmdisco.experiments.ablation.study import (
    BASES,
    AblationStudy,
    Arm,
    Baseline,
    Greater,
    NotGreater,
)
from mmdisco.training.config import ContrastiveConfig

LAMBDAS: Final = (10.0, 100.0, 1000.0, 10_000.0)


def with_loss(usual: Baseline, name: str, loss: MMDisCoLoss) -> Arm:
    """Change the loss of the baseline's training."""
    return Arm(name, usual.way, replace(usual.recipe, loss=loss))


def _arms(usual: Baseline) -> list[Arm]:
    losses = {
        "cross-entropy": MMDisCoLoss(1.0, 0.0),
        "denoising": MMDisCoLoss(0.0, 1000.0),
        **{f"both, λ = {weight:g}": MMDisCoLoss(1.0, weight) for weight in LAMBDAS},
    }
    return [with_loss(usual, name, loss) for name, loss in losses.items()]


LOSS: Final = AblationStudy(
    "Loss function",
    _arms,
    (
        Greater("guided beats the bases alone", "gap event_f1", "both, λ = 1000", BASES),
        Greater("both beat cross-entropy", "gap event_f1", "both, λ = 1000", "cross-entropy"),
        Greater("both beat the denoising loss", "gap event_f1", "both, λ = 1000", "denoising"),
    ),
)


Interaction = Literal["time", "products", "pooled", "additive"]


def with_fusion(
    usual: Baseline,
    name: str,
    interaction: Interaction,
    first: ContrastiveConfig | None = None,
    *,
    kept: bool = False,
) -> Arm:
    """Change the fusion of the baseline, with contrastive pretraining only if it is given."""
    recipe = usual.recipe
    shape = replace(recipe.shape, interaction=interaction)
    before = first or replace(recipe.first, steps=0)
    return Arm(name, usual.way, replace(recipe, shape=shape, first=before, kept=kept))


def _interaction_arms(usual: Baseline) -> list[Arm]:
    names: tuple[Interaction, ...] = ("additive", "pooled", "time", "products")
    arms = [with_fusion(usual, name, name) for name in names]
    before = usual.recipe.first
    if before.steps:
        first = "products, contrast first"
        arms.append(with_fusion(usual, first, "products", before))
        arms.append(with_fusion(usual, f"{first}, then kept", "products", before, kept=True))
    return arms


INTERACTION: Final = AblationStudy(
    "Interaction of the two sides",
    _interaction_arms,
    (
        NotGreater("the additive head aligns nothing", "gap event_f1", "additive", BASES),
        Greater("in time beats additive", "gap event_f1", "time", "additive"),
        Greater("in time beats pooled", "gap event_f1", "time", "pooled"),
        Greater("products beat attention alone", "gap event_f1", "products", "time"),
        Greater("contrast first helps", "gap event_f1", "products, contrast first", "products"),
    ),
)


def _central_arms(usual: Baseline) -> list[Arm]:
    recipe = usual.recipe
    # without dot products there is no pretraining; its steps are added to training instead
    longer = replace(recipe.training, steps=recipe.training.steps + recipe.first.steps)
    as_long = replace(usual, recipe=replace(recipe, training=longer))
    return [
        Arm("both losses", usual.way, recipe),
        with_loss(usual, "cross-entropy", MMDisCoLoss(1.0, 0.0)),
        with_loss(usual, "denoising", MMDisCoLoss(0.0, 1000.0)),
        with_fusion(as_long, "attention in time", "time"),
        with_fusion(as_long, "additive", "additive"),
    ]


CENTRAL: Final = AblationStudy(
    "The central claims",
    _central_arms,
    (
        Greater("guided beats the bases alone", "gap event_f1", "both losses", BASES),
        Greater("both losses beat cross-entropy", "gap event_f1", "both losses", "cross-entropy"),
        Greater("both losses beat the denoising loss", "gap event_f1", "both losses", "denoising"),
        Greater(
            "both losses learn more of what a sound tells than cross-entropy",
            "joint: nats audio",
            "both losses",
            "cross-entropy",
        ),
        Greater(
            "both losses learn more of what a sound tells than the denoising loss",
            "joint: nats audio",
            "both losses",
            "denoising",
        ),
        Greater("products in time beat additive", "gap event_f1", "both losses", "additive"),
        Greater(
            "attention in time, without products, beats additive",
            "gap event_f1",
            "attention in time",
            "additive",
        ),
        NotGreater("the additive head aligns nothing", "gap event_f1", "additive", BASES),
    ),
)


def _fakes_arms(usual: Baseline) -> list[Arm]:
    shares = {"generated": 0.0, "mixed": 0.5, "shuffled reals": 1.0}

    def arm(name: str, share: float) -> Arm:
        fakery = replace(usual.recipe.fakery, shuffled=share)
        return Arm(name, usual.way, replace(usual.recipe, fakery=fakery), share)

    return [arm(name, share) for name, share in shares.items()]


FAKES: Final = AblationStudy(
    "Fake pairs",
    _fakes_arms,
    (
        Greater("mixed beats generated", "gap event_f1", "mixed", "generated"),
        Greater("mixed beats shuffled reals", "gap event_f1", "mixed", "shuffled reals"),
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


def _levels_arms(usual: Baseline) -> list[Arm]:
    def arm(name: str, independent: float, one_sided: float) -> Arm:
        levels = replace(usual.recipe.levels, independent=independent, one_sided=one_sided)
        return Arm(name, usual.way, replace(usual.recipe, levels=levels))

    return [arm(name, *shares) for name, shares in LEVELS_SHARES.items()]


LEVELS: Final = AblationStudy(
    "Pairing of noise levels",
    _levels_arms,
    (
        Greater(
            "one-sided levels teach sound for a given video",
            "given video: nats audio",
            "one-sided 0.3",
            "paired",
        ),
    ),
)


WIDTHS: Final = (32, 64, 128, 256)
DEPTHS: Final = (1, 2, 4)


def _size_arms(usual: Baseline) -> list[Arm]:
    def arm(width: int, depth: int) -> Arm:
        shape = replace(usual.recipe.shape, width=width, depth=depth)
        recipe = replace(usual.recipe, shape=shape)
        return Arm(f"C = {width}, L = {depth}", usual.way, recipe, float(width), f"L = {depth}")

    wide = [arm(width, DEPTHS[0]) for width in WIDTHS]
    return [*wide, *(arm(128, depth) for depth in DEPTHS[1:])]


SIZE: Final = AblationStudy(
    "Width and depth",
    _size_arms,
    (
        Greater("wider is better", "gap event_f1", "C = 128, L = 1", "C = 32, L = 1"),
        Greater("deeper is better", "gap event_f1", "C = 128, L = 4", "C = 128, L = 1"),
    ),
    axis="width C",
)


STEPS_SHARES: Final = (Fraction(1, 4), Fraction(1, 2), Fraction(1), Fraction(2))


def _steps_arms(usual: Baseline) -> list[Arm]:
    training = usual.recipe.training

    def arm(share: Fraction) -> Arm:
        steps = max(1, round(training.steps * share))
        # each with a full learning-rate schedule of its own
        recipe = replace(usual.recipe, training=replace(training, steps=steps))
        return Arm(f"{steps} steps", usual.way, recipe, float(steps))

    return [arm(share) for share in STEPS_SHARES]


STEPS: Final = AblationStudy("Training steps", _steps_arms, axis="training steps")

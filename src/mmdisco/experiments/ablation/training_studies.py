"""Ablations of training: losses, fusion, negatives, noise levels, size and length.

The studies vary the losses (cross-entropy, denoising, and both over λ); the fusion of both
modalities in the discriminator; the negatives (fakes, recombined real clips, or both); the pairs of
noise levels (along the coupling, independent, or with one clean modality); width C and depth L of
the towers; and the length of training, as in the paper's Figure 5 at our sizes. A central study
tests the main claims with the fewest arms.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

from mmdisco.evaluation.metrics.result import UNGUIDED
from mmdisco.experiments.ablation.study import (
    AblationStudy,
    Arm,
    Baseline,
    Greater,
    NotGreater,
)
from mmdisco.training.config import FusionName

LAMBDAS: Final = (10.0, 100.0, 1000.0, 10_000.0)


def arm(
    usual: Baseline, name: str, changes: Mapping[str, Any], x: float | None = None, series: str = ""
) -> Arm:
    """Change settings of the baseline's training, by dotted key."""
    return Arm(name, usual.way, usual.training.updated(changes), x, series)


def with_loss(usual: Baseline, name: str, discrimination: float, denoising: float) -> Arm:
    """Change the weights of the losses."""
    return arm(usual, name, {"loss.discrimination": discrimination, "loss.denoising": denoising})


def _arms(usual: Baseline) -> list[Arm]:
    return [
        with_loss(usual, "cross-entropy", 1.0, 0.0),
        with_loss(usual, "denoising", 0.0, 1000.0),
        *(with_loss(usual, f"both, λ = {weight:g}", 1.0, weight) for weight in LAMBDAS),
    ]


LOSS: Final = AblationStudy(
    "Loss function",
    _arms,
    (
        Greater("guided beats the unguided baseline", "gap event_f1", "both, λ = 1000", UNGUIDED),
        Greater("both beat cross-entropy", "gap event_f1", "both, λ = 1000", "cross-entropy"),
        Greater("both beat the denoising loss", "gap event_f1", "both, λ = 1000", "denoising"),
    ),
)


def with_fusion(usual: Baseline, name: str, fusion: FusionName, *, steps: int = 0) -> Arm:
    """Change the fusion of the baseline, with steps of contrastive pretraining."""
    changes = {"discriminator.fusion": fusion, "contrastive_pretraining.steps": steps}
    return arm(usual, name, changes)


def _interaction_arms(usual: Baseline) -> list[Arm]:
    names: dict[str, FusionName] = {
        "additive": "additive",
        "pooled": "pooled",
        "time": "attention",
        "products": "attention+correlation",
    }
    arms = [with_fusion(usual, name, fusion) for name, fusion in names.items()]
    steps = usual.training.contrastive_pretraining.steps
    if steps:
        first = with_fusion(usual, "products, contrast first", "attention+correlation", steps=steps)
        kept = {"contrastive_pretraining.train_transformer_only": True}
        pretrained = Baseline(first.training or usual.training, usual.way)
        arms += [first, arm(pretrained, f"{first.name}, then kept", kept)]
    return arms


INTERACTION: Final = AblationStudy(
    "Interaction of the two sides",
    _interaction_arms,
    (
        NotGreater("the additive head aligns nothing", "gap event_f1", "additive", UNGUIDED),
        Greater("in time beats additive", "gap event_f1", "time", "additive"),
        Greater("in time beats pooled", "gap event_f1", "time", "pooled"),
        Greater("products beat attention alone", "gap event_f1", "products", "time"),
        Greater("contrast first helps", "gap event_f1", "products, contrast first", "products"),
    ),
)


def _central_arms(usual: Baseline) -> list[Arm]:
    training = usual.training
    # without dot products there is no pretraining; its steps are added to training instead
    steps = training.training.steps + training.contrastive_pretraining.steps
    as_long = Baseline(training.updated({"training.steps": steps}), usual.way)
    return [
        Arm("both losses", usual.way, training),
        with_loss(usual, "cross-entropy", 1.0, 0.0),
        with_loss(usual, "denoising", 0.0, 1000.0),
        with_fusion(as_long, "attention in time", "attention"),
        with_fusion(as_long, "additive", "additive"),
    ]


CENTRAL: Final = AblationStudy(
    "The central claims",
    _central_arms,
    (
        Greater("guided beats the unguided baseline", "gap event_f1", "both losses", UNGUIDED),
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
        NotGreater("the additive head aligns nothing", "gap event_f1", "additive", UNGUIDED),
    ),
)


def _fakes_arms(usual: Baseline) -> list[Arm]:
    shares = {"generated": 0.0, "mixed": 0.5, "shuffled reals": 1.0}
    key = "negatives.shuffled_fraction"
    return [arm(usual, name, {key: share}, share) for name, share in shares.items()]


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
    return [
        arm(usual, name, {"levels.independent": independent, "levels.one_sided": one_sided})
        for name, (independent, one_sided) in LEVELS_SHARES.items()
    ]


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
    sizes = [*((width, DEPTHS[0]) for width in WIDTHS), *((128, depth) for depth in DEPTHS[1:])]
    return [
        arm(
            usual,
            f"C = {width}, L = {depth}",
            {"discriminator.width": width, "discriminator.depth": depth},
            float(width),
            f"L = {depth}",
        )
        for width, depth in sizes
    ]


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
    # each with a full learning-rate schedule of its own
    found = [max(1, round(usual.training.training.steps * share)) for share in STEPS_SHARES]
    return [
        arm(usual, f"{steps} steps", {"training.steps": steps}, float(steps)) for steps in found
    ]


STEPS: Final = AblationStudy("Training steps", _steps_arms, axis="training steps")

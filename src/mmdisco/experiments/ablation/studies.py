"""All studies by name: ablations of training, then of sampling.

A central study tests the main claims with the fewest variants. Of the others, ``loss`` weighs
cross-entropy and denoising, ``contrast`` the third term beside them, ``steps`` is the paper's
Figure 5 at our sizes, ``resampling`` compares repeated steps with more steps at the same cost, and
``reuse`` runs the discriminator at every second or third evaluation.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

from mmdisco.core.av import AV
from mmdisco.errors import UserError
from mmdisco.evaluation.metrics.result import UNGUIDED
from mmdisco.experiments.ablation.study import (
    AblationStudy,
    Baseline,
    Claim,
    Greater,
    NotGreater,
    Variant,
)
from mmdisco.training.config import FusionName

EVENTS: Final = "gap event_f1"
"""Metric that decides most claims: share of the gap to real clips in events that is closed."""

MATERIAL: Final = "gap material"
"""Share of the gap in material that is closed."""

LAMBDAS: Final = (10.0, 100.0, 1000.0, 10_000.0)
CONTRASTS: Final = (0.0, 1.0, 10.0, 30.0)
WIDTHS: Final = (32, 64, 128, 256)
DEPTHS: Final = (1, 2, 4)
LENGTHS: Final = (Fraction(1, 4), Fraction(1, 2), Fraction(1), Fraction(2))
SHARES_OF_SHUFFLED: Final = {"fakes": 0.0, "mixed": 0.5, "shuffled real pairs": 1.0}
SHARES_OF_LEVELS: Final = {
    "coupled": (0.0, 0.0),
    "independent 0.35": (0.35, 0.0),
    "one-sided 0.3": (0.0, 0.3),
    "independent 0.35, one-sided 0.3": (0.35, 0.3),
    "independent 1": (1.0, 0.0),
}
STEPS_OF: Final = {
    "ddim": (8, 20, 50),
    "ddpm": (8, 20, 50),
    "dpm++2m": (8, 12, 20),
    "sde-dpm++2m": (4, 8, 12, 20, 50),
    "unipc": (8, 20),
    "euler-ancestral": (4, 8, 12, 20, 50),
}
RESAMPLES: Final = (0, 1, 2)
Ends = tuple[float | None, float | None]
EVERY_LEVEL: Final = (None, None)
WITHOUT_ENDS: Final = (-4.0, 4.0)
INTERVALS_OF_LOG_SNR: Final[dict[str, Ends]] = {
    "every level": EVERY_LEVEL,
    "ln snr above 0": (0.0, None),
    "ln snr below 0": (None, 0.0),
    "ln snr −2 to 2": (-2.0, 2.0),
    "ln snr −4 to 4": WITHOUT_ENDS,
}
REUSES: Final[dict[str, tuple[int, Ends]]] = {
    "every evaluation": (1, EVERY_LEVEL),
    "every 2nd": (2, EVERY_LEVEL),
    "every 3rd": (3, EVERY_LEVEL),
    "ln snr −4 to 4": (1, WITHOUT_ENDS),
    "ln snr −4 to 4, every 2nd": (2, WITHOUT_ENDS),
}
SCALES_OF_BOTH: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
SCALES_OF_ONE: Final = (1.0, 4.0)


def trained(
    baseline: Baseline,
    name: str,
    changes: Mapping[str, Any],
    x: float | None = None,
    series: str = "",
) -> Variant:
    """Change settings of the baseline's training, by dotted key."""
    return Variant(name, baseline.sampling, baseline.training.updated(changes), x, series)


def sampled(
    baseline: Baseline, name: str, x: float | None = None, series: str = "", **changes: Any
) -> Variant:
    """Change the baseline's sampling, without training."""
    return Variant(name, baseline.sampling.changed(**changes), None, x, series)


def _with_loss(baseline: Baseline, name: str, discrimination: float, denoising: float) -> Variant:
    changes = {"loss.discrimination": discrimination, "loss.denoising": denoising}
    return trained(baseline, name, changes)


def _with_fusion(baseline: Baseline, name: str, fusion: FusionName, *, steps: int = 0) -> Variant:
    """Change the fusion of the baseline, with steps of contrastive pretraining."""
    changes: dict[str, Any] = {
        "discriminator.fusion": fusion,
        "contrastive_pretraining.steps": steps,
    }
    if fusion != "attention+correlation":  # no inner products that could be contrasted
        changes["loss.contrastive"] = 0.0
    return trained(baseline, name, changes)


def _central(baseline: Baseline) -> list[Variant]:
    training = baseline.training
    # without dot products there is no pretraining; its steps are added to training instead
    steps = training.training.steps + training.contrastive_pretraining.steps
    as_long = Baseline(training.updated({"training.steps": steps}), baseline.sampling)
    return [
        Variant("both losses", baseline.sampling, training),
        _with_loss(baseline, "cross-entropy", 1.0, 0.0),
        _with_loss(baseline, "denoising", 0.0, 1000.0),
        _with_fusion(as_long, "attention", "attention"),
        _with_fusion(as_long, "additive", "additive"),
    ]


def _losses(baseline: Baseline) -> list[Variant]:
    return [
        _with_loss(baseline, "cross-entropy", 1.0, 0.0),
        _with_loss(baseline, "denoising", 0.0, 1000.0),
        *(_with_loss(baseline, f"both, λ = {weight:g}", 1.0, weight) for weight in LAMBDAS),
    ]


def _contrasts(baseline: Baseline) -> list[Variant]:
    return [
        trained(baseline, f"weight {weight:g}", {"loss.contrastive": weight}, weight)
        for weight in CONTRASTS
    ]


def _fusions(baseline: Baseline) -> list[Variant]:
    names: tuple[FusionName, ...] = ("additive", "pooled", "attention", "attention+correlation")
    variants = [_with_fusion(baseline, name, name) for name in names]
    steps = baseline.training.contrastive_pretraining.steps
    if steps:
        name = f"{names[-1]}, pretrained"
        first = _with_fusion(baseline, name, names[-1], steps=steps)
        only = {"contrastive_pretraining.train_transformer_only": True}
        pretrained = Baseline(first.training or baseline.training, baseline.sampling)
        variants += [first, trained(pretrained, f"{name}, then transformer only", only)]
    return variants


def _negatives(baseline: Baseline) -> list[Variant]:
    key = "negatives.shuffled_fraction"
    return [
        trained(baseline, name, {key: share}, share) for name, share in SHARES_OF_SHUFFLED.items()
    ]


def _levels(baseline: Baseline) -> list[Variant]:
    return [
        trained(baseline, name, {"levels.independent": independent, "levels.one_sided": one_sided})
        for name, (independent, one_sided) in SHARES_OF_LEVELS.items()
    ]


def _sizes(baseline: Baseline) -> list[Variant]:
    sizes = [*((width, DEPTHS[0]) for width in WIDTHS), *((128, depth) for depth in DEPTHS[1:])]
    return [
        trained(
            baseline,
            f"C = {width}, L = {depth}",
            {"discriminator.width": width, "discriminator.depth": depth},
            float(width),
            f"L = {depth}",
        )
        for width, depth in sizes
    ]


def _lengths(baseline: Baseline) -> list[Variant]:
    # each with a full learning-rate schedule of its own
    found = [max(1, round(baseline.training.training.steps * share)) for share in LENGTHS]
    return [
        trained(baseline, f"{steps} steps", {"training.steps": steps}, float(steps))
        for steps in found
    ]


def _samplers(baseline: Baseline) -> list[Variant]:
    return [
        sampled(baseline, f"{name}, {steps} steps", float(steps), name, scheduler=name, steps=steps)
        for name, own in STEPS_OF.items()
        for steps in own
    ]


def _resampling(baseline: Baseline) -> list[Variant]:
    usual = baseline.sampling.defaults.steps

    def variant(steps: int, resamples: int, series: str) -> Variant:
        name, cost = f"{steps} steps, {resamples} resamples", float(steps * (1 + resamples))
        return sampled(baseline, name, cost, series, steps=steps, resamples=resamples)

    again = [variant(usual, count, "resamples") for count in RESAMPLES]
    return [*again, *(variant(usual * (1 + count), 0, "more steps") for count in RESAMPLES[1:])]


def _intervals(baseline: Baseline) -> list[Variant]:
    return [
        sampled(baseline, name, joint_min_logsnr=low, joint_max_logsnr=high)
        for name, (low, high) in INTERVALS_OF_LOG_SNR.items()
    ]


def _reuse(baseline: Baseline) -> list[Variant]:
    return [
        sampled(baseline, name, joint_every=every, joint_min_logsnr=low, joint_max_logsnr=high)
        for name, (every, (low, high)) in REUSES.items()
    ]


def _scales(baseline: Baseline) -> list[Variant]:
    scales = [
        *((scale, scale, "both") for scale in SCALES_OF_BOTH),
        *((scale, 0.0, "audio alone") for scale in SCALES_OF_ONE),
        *((0.0, scale, "video alone") for scale in SCALES_OF_ONE),
    ]
    return [
        sampled(
            baseline,
            f"audio {audio:g}, video {video:g}",
            max(audio, video),
            series,
            joint_scale=AV(audio, video),
        )
        for audio, video, series in scales
    ]


def _guided_is_better(variant: str) -> Claim:
    return Greater("guided beats the unguided baseline", EVENTS, variant, UNGUIDED)


_ADDITIVE: Final = NotGreater(
    "additive fusion is no better than the unguided baseline", EVENTS, "additive", UNGUIDED
)
_ENDS: Final = "the ends are not needed: every level is no better than −4 to 4"
_PRETRAINED: Final = "attention+correlation, pretrained"

STUDIES: Final[dict[str, AblationStudy]] = {
    "central": AblationStudy(
        "The central claims",
        _central,
        (
            _guided_is_better("both losses"),
            Greater("both losses beat cross-entropy", EVENTS, "both losses", "cross-entropy"),
            Greater("both losses beat the denoising loss", EVENTS, "both losses", "denoising"),
            Greater(
                "both losses learn more nats of audio than cross-entropy",
                "joint: nats audio",
                "both losses",
                "cross-entropy",
            ),
            Greater(
                "both losses learn more nats of audio than the denoising loss",
                "joint: nats audio",
                "both losses",
                "denoising",
            ),
            Greater("attention+correlation beats additive", EVENTS, "both losses", "additive"),
            Greater("attention alone beats additive", EVENTS, "attention", "additive"),
            _ADDITIVE,
        ),
    ),
    "loss": AblationStudy(
        "Loss function",
        _losses,
        (
            _guided_is_better("both, λ = 1000"),
            Greater("both beat cross-entropy", EVENTS, "both, λ = 1000", "cross-entropy"),
            Greater("both beat the denoising loss", EVENTS, "both, λ = 1000", "denoising"),
        ),
    ),
    "contrast": AblationStudy(
        "Contrast as a third term",
        _contrasts,
        (
            Greater("a third term improves material", MATERIAL, "weight 10", "weight 0"),
            NotGreater("it costs no events", EVENTS, "weight 0", "weight 10"),
        ),
        axis="weight of the contrastive loss",
    ),
    "fusion": AblationStudy(
        "Fusion of both modalities",
        _fusions,
        (
            _ADDITIVE,
            Greater("attention beats additive", EVENTS, "attention", "additive"),
            Greater("attention beats pooled", EVENTS, "attention", "pooled"),
            Greater(
                "correlation beats attention alone", EVENTS, "attention+correlation", "attention"
            ),
            Greater("pretraining helps", EVENTS, _PRETRAINED, "attention+correlation"),
        ),
    ),
    "size": AblationStudy(
        "Width and depth",
        _sizes,
        (
            Greater("wider is better", EVENTS, "C = 128, L = 1", "C = 32, L = 1"),
            Greater("deeper is better", EVENTS, "C = 128, L = 4", "C = 128, L = 1"),
        ),
        axis="width C",
    ),
    "steps": AblationStudy("Training steps", _lengths, axis="training steps"),
    "negatives": AblationStudy(
        "Negatives",
        _negatives,
        (
            Greater("mixed beats fakes", EVENTS, "mixed", "fakes"),
            Greater("mixed beats shuffled real pairs", EVENTS, "mixed", "shuffled real pairs"),
        ),
        axis="share of shuffled real pairs",
    ),
    "levels": AblationStudy(
        "Pairing of noise levels",
        _levels,
        (
            Greater(
                "one-sided levels improve audio for a given video",
                "given video: nats audio",
                "one-sided 0.3",
                "coupled",
            ),
        ),
    ),
    "scales": AblationStudy(
        "Joint scales", _scales, (_guided_is_better("audio 1, video 1"),), axis="joint scale"
    ),
    "intervals": AblationStudy(
        "Guidance intervals",
        _intervals,
        (NotGreater(_ENDS, EVENTS, "every level", "ln snr −4 to 4"),),
    ),
    "reuse": AblationStudy(
        "Gradient reuse",
        _reuse,
        (
            NotGreater(
                "a gradient serves two evaluations: every one is no better than every 2nd",
                EVENTS,
                "every evaluation",
                "every 2nd",
            ),
            NotGreater(
                "a gradient serves three evaluations: every one is no better than every 3rd",
                EVENTS,
                "every evaluation",
                "every 3rd",
            ),
            NotGreater(_ENDS, EVENTS, "every evaluation", "ln snr −4 to 4"),
        ),
    ),
    "samplers": AblationStudy(
        "Sampler and steps", _samplers, axis="evaluations of the base models"
    ),
    "resampling": AblationStudy("Resampling", _resampling, axis="evaluations of the base models"),
}


def study(name: str) -> AblationStudy:
    """Look up a study by name.

    Raises:
        UserError: There is none of that name.
    """
    if name not in STUDIES:
        raise UserError(f"unknown study {name!r}: choose one of {', '.join(STUDIES)}")
    return STUDIES[name]

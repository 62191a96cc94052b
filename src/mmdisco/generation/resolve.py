"""Defaults of a preset filled into a request, and what has no effect refused. Loads no model.

    request + defaults of the system  →  resolved request, all that decides the clip

A resolved request holds a scale for each modality that is made, and none for a given one; options
without effect are left open in it, so that it is valid itself and may be written down and repeated.
"""

from dataclasses import replace
from typing import Any, Final

from mmdisco.core.av import AV, each
from mmdisco.errors import UserError
from mmdisco.generation.config import CFG, GenerateConfig
from mmdisco.generation.system import JointSystem, Requirements, SamplingDefaults

Sides = AV[float | None]

_FEWEST: Final = 3  # candidates that can be resampled: an effective sample size is 1 at least


def resolve(config: GenerateConfig, system: JointSystem) -> GenerateConfig:
    """Fill every option that is left open with the system's own default.

    Raises:
        UserError: Nothing is asked for, an option has no effect, or the scheduler is unknown.
    """
    usual = system.sampling()
    defaults = usual.in_steps(config.steps or usual.steps)
    asks_for_any = config.no_prompt or config.given is not None or not system.prompted
    if not asks_for_any and not any(one.strip() for one in _texts(config.captions)):
        raise UserError('the prompt is empty: describe a clip, as in "a red ball bouncing"')
    made = AV(config.audio is None, config.video is None)
    cfg_scale = _cfg_scale(config, defaults, made)
    joint_scale = _joint_scale(config, defaults, made)
    guided = bool(joint_scale.audio or joint_scale.video)
    scheduler = config.scheduler or defaults.scheduler
    return config.updated(
        {
            "steps": defaults.steps,
            "scheduler": None if config.as_released else scheduler,
            "cfg_scale": None,
            "cfg_scale_audio": cfg_scale.audio,
            "cfg_scale_video": cfg_scale.video,
            "no_joint_guidance": not guided,
            "joint_scale": None,
            "joint_scale_audio": joint_scale.audio if guided else None,
            "joint_scale_video": joint_scale.video if guided else None,
            **_frugality(config, defaults, guided=guided),
        }
    )


def check(config: GenerateConfig, system: JointSystem) -> list[str]:
    """Check, before anything is loaded, that the system can meet a resolved request.

    Returns:
        Deviations from the request, one line each.

    Raises:
        UserError: It cannot, or a file is missing.
    """
    if config.given is not None:
        try:
            config.given.open("rb").close()
        except (OSError, ValueError) as error:  # a null character in a name is a ValueError
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            said = f"{reason[:1].lower()}{reason[1:]}"
            raise UserError(f"cannot read {config.given}: {said}") from error
    negatives = config.negatives
    demand = Requirements(
        config.caption,
        config.discriminates or not config.no_joint_guidance,
        config.given is not None,
        config.negative_prompt,
        config.candidates > 1,
    )
    if config.smc_every is not None:
        _expect_resampling(config)
    lines = system.expect(demand)
    if config.guidance == "distilled":
        from mmdisco.discriminators.distilled import read_distilled

        read_distilled(system.distilled_folder(), system.weight_hashes()["discriminator"])
    if config.captions != AV(config.caption, config.caption) or negatives.audio != negatives.video:
        other = replace(demand, prompt=config.captions.audio, negative=negatives.audio)
        lines += [line for line in system.expect(other) if line not in lines]
    return lines


def _expect_resampling(config: GenerateConfig) -> None:
    """Refuse resampling of candidates without effect, or of gradients that others left.

    Raises:
        UserError: It is.
    """
    from mmdisco.core.noise import linear
    from mmdisco.core.schedulers import adds_noise, solver

    if config.candidates < _FEWEST:
        raise UserError(
            f"--smc-every resamples where fewer than half of the candidates count, never one of "
            f"{config.candidates}: ask for --candidates {_FEWEST} or more"
        )
    steps, every = config.steps or 0, config.smc_every or 0
    if every >= steps:
        raise UserError(
            f"--smc-every {every} has no effect in {steps} steps: ask for fewer, or leave it out"
        )
    if (config.joint_every or 1) > 1:
        raise UserError(
            f"--joint-every {config.joint_every} reuses gradients of candidates that are gone: "
            "leave it or --smc-every out"
        )
    if not adds_noise(solver(config.scheduler or ""), linear().levels().take([999, 500])):
        raise UserError(
            f"{config.scheduler} adds no noise, so that copies of a candidate stay equal: ask for "
            "--scheduler euler-ancestral, ddpm or sde-dpm++2m, or leave --smc-every out"
        )


def _cfg_scale(config: GenerateConfig, defaults: SamplingDefaults, made: AV[bool]) -> Sides:
    own = AV(config.cfg_scale_audio, config.cfg_scale_video)
    _expect_sides("cfg-scale", config.cfg_scale, own, made)
    if not any(one.strip() for one in _texts(config.captions, config.negatives)):
        if (config.cfg_scale, own) != (None, AV(None, None)):
            raise UserError("a scale of the prompt has no effect without a prompt: leave it out")
        _expect_no_cfg(config, "without a prompt: leave it out")
        return AV(None, None)
    scale = _filled(config.cfg_scale, own, defaults.cfg_scale, made)
    if {scale.audio, scale.video} <= {None, 1.0}:
        _expect_no_cfg(config, "at CFG scale 1: leave it out, or ask for another scale")
    return scale


def _joint_scale(config: GenerateConfig, defaults: SamplingDefaults, made: AV[bool]) -> Sides:
    own = AV(config.joint_scale_audio, config.joint_scale_video)
    _expect_sides("joint-scale", config.joint_scale, own, made)
    if config.no_joint_guidance:
        return AV(None, None)
    return _filled(config.joint_scale, own, default_joint_scale(config, defaults), made)


def default_joint_scale(config: GenerateConfig, defaults: SamplingDefaults) -> AV[float]:
    """Return the system's own scale s for the task of a request."""
    if config.given is None:
        return defaults.joint_scale
    return AV(defaults.video_to_audio, defaults.audio_to_video)


def _frugality(
    config: GenerateConfig, defaults: SamplingDefaults, *, guided: bool
) -> dict[str, Any]:
    """Return at which evaluations the discriminator is run; open where there is no guidance."""
    given = (config.joint_every, config.joint_min_logsnr, config.joint_max_logsnr, config.guidance)
    if not guided:
        if given != (None, None, None, None):
            raise UserError(
                "without joint guidance, --guidance, --joint-every, --joint-min-logsnr and "
                "--joint-max-logsnr are without use: leave them out"
            )
        return {}
    low, high = config.joint_min_logsnr, config.joint_max_logsnr
    low = defaults.joint_min_logsnr if low is None else low
    high = defaults.joint_max_logsnr if high is None else high
    if low is not None and high is not None and not low < high:
        raise UserError(f"guidance from ln(α²/σ²) = {low:g} to {high:g}: give the lower first")
    return {
        "guidance": None if config.as_released else config.guidance or "gradient",
        "joint_every": None if config.as_released else config.joint_every or defaults.joint_every,
        "joint_min_logsnr": low,
        "joint_max_logsnr": high,
    }


def _filled(common: float | None, own: Sides, default: AV[float], made: AV[bool]) -> Sides:
    """Return the scale of each modality that is made: its own, the common one, or the default."""

    def one(own: float | None, default: float, made: bool) -> float | None:  # noqa: FBT001
        return next(x for x in (own, common, default) if x is not None) if made else None

    return each(one, own, default, made)


def _expect_sides(option: str, common: float | None, own: Sides, made: AV[bool]) -> None:
    """Refuse a scale of a given modality, and a common one beside a scale for each."""
    for side, scale, is_made in (
        ("audio", own.audio, made.audio),
        ("video", own.video, made.video),
    ):
        if scale is not None and not is_made:
            name = "sound" if side == "audio" else side
            raise UserError(f"--{option}-{side} has no effect on a given {name}: leave it out")
    settled = each(lambda scale, is_made: scale is not None or not is_made, own, made)
    if common is not None and settled == AV(True, True):  # noqa: FBT003
        raise UserError(f"--{option} has no effect beside a scale for each side: leave it out")


def _texts(*sides: AV[str]) -> list[str]:
    return [text for one in sides for text in (one.audio, one.video)]


def _expect_no_cfg(config: GenerateConfig, reason: str) -> None:
    """Refuse what classifier-free guidance alone reads, where there is none."""
    for name in CFG:
        value = getattr(config, name)
        if value.strip() if isinstance(value, str) else value:
            raise UserError(f"--{name.replace('_', '-')} has no effect {reason}")

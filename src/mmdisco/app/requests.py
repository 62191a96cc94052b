"""Requests from the fields of the page, within its limits, and fields from a record."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av

from mmdisco.app.config import MEGABYTE, AppConfig
from mmdisco.errors import UserError
from mmdisco.generation.config import REQUEST, GenerateConfig, SystemConfig
from mmdisco.generation.metadata import read_record
from mmdisco.io.settings import shown
from mmdisco.media.opening import opened, picture_track, sound_track

PROMPTS: Final = ("prompt", "audio_prompt")
"""Fields above the tabs, in their order."""

MAIN: Final = (
    "seed",
    "joint_scale_audio",
    "joint_scale_video",
    "steps",
    "scheduler",
    "candidates",
)
"""Settings that are always seen, in their order."""

ELSEWHERE: Final = (
    *("no_prompt", "samples", "no_joint_guidance", "joint_scale", "cfg_scale", "modality_scale"),
    *("video", "audio", "start", "audio_track", "guidance"),
)
"""Fields of a request that have no place of their own among the settings."""

FIELDS: Final = (
    *PROMPTS,
    *MAIN,
    *(name for name in REQUEST if name not in (*PROMPTS, *MAIN, *ELSEWHERE)),
)
"""Every setting of the page: prompts, the main ones, then the others."""

SLIDERS: Final = ("joint_scale_audio", "joint_scale_video")
"""Fields whose control always holds a value: it counts once it was moved."""

MODELS: Final = ("video_model", "audio_model", "discriminator")
"""Options that name two models and their discriminator."""

MOST_SCALE: Final = 20.0
"""Largest joint scale of the page."""

SIDES: Final = ("video", "audio")


def request_of(
    values: Mapping[str, Any],
    app: AppConfig,
    system: SystemConfig,
    given: Mapping[str, Any] | None = None,
) -> GenerateConfig:
    """Build the request of what stands in the fields.

    Args:
        values: Value of each field; an empty one is left to the preset.
        app: Options of the page.
        system: The preset or the two models.
        given: ``video`` or ``audio`` with a path, and ``start`` and ``audio_track``.

    Raises:
        UserError: A value is beyond a limit of the page, or out of its range.
    """
    chosen = {name: one for name, one in values.items() if not _empty(one)}
    _expect_within(chosen, app)
    sides = {name: one for name, one in (given or {}).items() if not _empty(one)}
    for side in SIDES:
        if sides.get(side) is not None:
            expect_media(Path(sides[side]), side, app)
            # neither has an effect on a given side, and both are among the settings of all tabs
            chosen = {name: one for name, one in chosen.items() if not name.endswith(f"_{side}")}
    if "audio" in sides and "audio_prompt" in chosen:
        raise UserError("the prompt of the sound has no effect on a given sound: leave it empty")
    return app.request(system, {**chosen, **sides})


def unguided(config: GenerateConfig) -> GenerateConfig:
    """Return the request of the same clip without joint guidance, from the same noise."""
    left = [name for name in type(config).model_fields if name.startswith("joint_")]
    left += ["guidance", "smc_every"]
    return config.updated({**dict.fromkeys(left), "no_joint_guidance": True, "candidates": 1})


def expect_media(path: Path, side: str, app: AppConfig) -> None:
    """Check that an upload can be used as the given side.

    Args:
        path: The file.
        side: "video" or "audio".
        app: Options of the page.

    Raises:
        UserError: It is too large or too long, or has no such track.
    """
    name = path.name
    try:
        size = path.stat().st_size
        if size > app.max_upload_size * MEGABYTE:
            raise UserError(
                f"{name} has {size / MEGABYTE:.0f} MB: upload at most {app.max_upload_size} MB"
            )
        with opened(path) as container:
            (picture_track if side == "video" else sound_track)(container)
            stated = container.duration
            # what a browser records states no length; only the beginning of it is read
            seconds = Fraction(0) if stated is None else Fraction(stated, av.time_base)
    except OSError as error:
        raise UserError(f"{name} is no longer here: upload it again") from error
    except UserError as error:
        raise UserError(str(error).replace(str(path), name)) from error
    most = Fraction(app.max_upload_seconds)
    if seconds > most:
        raise UserError(f"{name} lasts {_clock(seconds)}: upload at most {_clock(most)}")


@dataclass(frozen=True)
class Restored:
    """What a record fills in.

    Attributes:
        system: The preset or the two models.
        values: Value of every field; None where the system decides.
        given: Start and audio track of the given file.
        side: "video" or "audio" where a file was given; None else.
        name: Name of that file.
    """

    system: SystemConfig
    values: dict[str, Any]
    given: dict[str, Any]
    side: str | None
    name: str | None


def restore(record: Path, app: AppConfig) -> Restored:
    """Read the settings of a record.

    Args:
        record: JSON file that lies beside a clip.
        app: Options of the page.

    Raises:
        UserError: It is no record, beyond the limits, or of a system that the page does not have.
    """
    try:
        found = read_record(record, app.weights)
    except UserError as error:
        raise UserError(str(error).replace(str(record), record.name)) from error
    config = found.config
    expected = _offered(config, app, record.name)
    for name in SystemConfig.model_fields:
        was = getattr(config, name)
        if was != getattr(expected, name):
            option = name.replace("_", "-")
            raise UserError(
                f"the clip of {record.name} was made with --{option} {shown(was)}: start "
                f"`mmdisco app {_chosen(config)} --{option} …` to make it again"
            )
    values = {name: getattr(config, name) for name in FIELDS}
    # a clip depends on its own seed only, which is that of a batch of one
    values["seed"] = config.seed + found.sample
    _expect_within({name: one for name, one in values.items() if one is not None}, app)
    side = next((side for side in SIDES if getattr(config, side) is not None), None)
    given = {"start": float(config.start), "audio_track": config.audio_track}
    name = None if config.given is None else config.given.name
    return Restored(expected, values, given, side, name)


def _offered(config: GenerateConfig, app: AppConfig, record: str) -> SystemConfig:
    """Return the page's own choice of what a record was made with.

    Raises:
        UserError: It was made with folders that the page's options do not name, or a joint model.
    """
    if config.joint_model is not None:
        raise UserError(
            f"the clip of {record} was made with --joint-model, which the page does not offer: "
            f"`mmdisco generate --from-metadata {record}` makes it again"
        )
    if config.preset is not None:
        return app.of_preset(config.preset)
    names = [getattr(config, name) or "" for name in MODELS]
    try:
        return app.of_models(*names)
    except UserError as error:
        raise UserError(
            f"the clip of {record} was made with folders of its own: start "
            f"`mmdisco app {_chosen(config)}` to make it again"
        ) from error


def _chosen(config: SystemConfig) -> str:
    """Return the options that choose a system."""
    if config.preset is not None:
        return f"--preset {config.preset}"
    named = {name: getattr(config, name) for name in MODELS}
    return " ".join(f"--{name.replace('_', '-')} {one}" for name, one in named.items() if one)


def _empty(value: Any) -> bool:
    return value is None or value is False or (isinstance(value, str) and not value.strip())


def _expect_within(values: Mapping[str, Any], app: AppConfig) -> None:
    for value in values.values():
        if isinstance(value, str) and len(value) > app.max_prompt_length:
            raise UserError(
                f"the prompt has {len(value):,} letters: write at most {app.max_prompt_length:,}"
            )
    for name, most in (("steps", app.max_steps), ("candidates", app.max_candidates)):
        if values.get(name, 0) > most:
            raise UserError(f"{values[name]} {name}: ask for at most {most} on this page")
    for name in SLIDERS:
        scale = values.get(name, 0.0)
        if not 0 <= scale <= MOST_SCALE:
            raise UserError(f"a joint scale of {scale:g}: ask for 0 to {MOST_SCALE:g} on this page")


def _clock(seconds: Fraction) -> str:
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min {whole % 60} s" if whole % 60 else f"{minutes} min"

"""Fields of the page from those of a request: a control for each, and what they begin with."""

# pyright: reportMissingImports=false, reportUnknownVariableType=false

import types
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import gradio as gr

from mmdisco.app.config import AppConfig
from mmdisco.app.requests import FIELDS, MAIN, MOST_SCALE, SLIDERS
from mmdisco.generation.config import GenerateConfig
from mmdisco.generation.presets.registry import PRESETS, preset
from mmdisco.generation.system import SamplingDefaults

LABELS: Final = {
    "prompt": "Prompt",
    "audio_prompt": "Prompt of the sound",
    "joint_scale_audio": "Joint scale of the sound",
    "joint_scale_video": "Joint scale of the picture",
    "cfg_scale_audio": "Prompt scale of the sound",
    "cfg_scale_video": "Prompt scale of the picture",
}
_EMBEDDED: Final = next(iter(PRESETS))
_EXAMPLE: Final = "a red ball bouncing"

PRESET_CHOICE: Final = "the preset's own"


def controls(app: AppConfig, *, main: bool) -> dict[str, Any]:
    """Make the controls of the main settings, or of the others, in the present place."""
    names = [name for name in FIELDS if (name in MAIN) is main]
    values = defaults(app.begins_with)
    return {name: _control(name, app, values) for name in names}


def defaults(name: str) -> dict[str, Any]:
    """Return what the controls of a preset begin with; None where the field stays empty."""
    fields = GenerateConfig.model_fields
    values: dict[str, Any] = {one: fields[one].default for one in FIELDS}
    sampling = sampling_of(name)
    if sampling is not None:
        values |= {
            "steps": sampling.steps,
            "joint_scale_audio": sampling.joint_scale.audio,
            "joint_scale_video": sampling.joint_scale.video,
        }
    return values


def sampling_of(name: str) -> SamplingDefaults | None:
    """Return the sampling defaults of a preset; None where they come with missing weights."""
    from mmdisco.errors import UserError

    try:
        return preset(name).sampling()
    except UserError:
        return None


def presets(app: AppConfig) -> list[tuple[str, str]]:
    """Return every preset with a label that says whether its weights are here."""
    from mmdisco.generation.config import SystemConfig

    here = SystemConfig(weights=app.weights)
    return [
        (name if all(preset(name).present(here)) else f"{name} (weights not here)", name)
        for name in PRESETS
    ]


def shown(values: Mapping[str, Any], name: str) -> list[Any]:
    """Return the values of all controls in the order of ``FIELDS``, None filled in for sliders."""
    begin = defaults(name)
    filled = {
        one: begin[one] if values[one] is None and one in (*SLIDERS, "steps") else values[one]
        for one in FIELDS
    }
    return [_text(one, filled[one]) for one in FIELDS]


def _text(name: str, value: Any) -> Any:
    """Return a value as its control holds it: one that may be left open is text."""
    if name == "scheduler":
        return value or PRESET_CHOICE
    if GenerateConfig.model_fields[name].default is None and name not in (*SLIDERS, "steps"):
        return "" if value is None else str(value)
    return value


def _control(name: str, app: AppConfig, values: Mapping[str, Any]) -> Any:
    field = GenerateConfig.model_fields[name]
    label = LABELS.get(name) or name.replace("_", " ").capitalize()
    info = " ".join((field.description or "").split()).replace("`", "")
    value, kind = values[name], _kind(field.annotation)
    common: dict[str, Any] = {"label": label, "info": info, "elem_id": f"mm-{name}"}
    if name == "prompt":
        begin = _EXAMPLE if app.preset == _EMBEDDED else ""
        return gr.Textbox(begin, lines=2, **common)
    if name in SLIDERS:
        return gr.Slider(0, MOST_SCALE, value, step=0.05, **common)
    if name in ("steps", "candidates"):
        most = app.max_steps if name == "steps" else app.max_candidates
        return gr.Slider(1, most, value, step=1, **common)
    if get_origin(kind) is Literal:
        return gr.Dropdown([PRESET_CHOICE, *get_args(kind)], value=PRESET_CHOICE, **common)
    if kind is bool:
        return gr.Checkbox(bool(value), **common)
    if kind in (int, float) and value is not None:
        return gr.Number(value, precision=0 if kind is int else None, **common)
    # also for a number that may be left open, which Gradio's own control would make 0
    return gr.Textbox(value or "", **common)


def _kind(annotation: Any) -> Any:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _kind(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return _kind(next(one for one in get_args(annotation) if one is not type(None)))
    return annotation

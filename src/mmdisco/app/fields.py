"""Fields of the page: the menu of systems, and a control for each setting of a request."""

# pyright: reportMissingImports=false, reportUnknownVariableType=false

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args, get_origin

import gradio as gr

from mmdisco.app.config import AppConfig
from mmdisco.app.requests import FIELDS, MODELS, MOST_SCALE, SLIDERS
from mmdisco.errors import UserError
from mmdisco.generation.config import PRESET, GenerateConfig, SystemConfig
from mmdisco.generation.presets.registry import PRESETS, preset, system_of
from mmdisco.io.settings import value_type

LABELS: Final = {
    "prompt": "Prompt",
    "audio_prompt": "Prompt of the sound",
    "joint_scale_audio": "Joint scale of the sound",
    "joint_scale_video": "Joint scale of the picture",
    "cfg_scale_audio": "Prompt scale of the sound",
    "cfg_scale_video": "Prompt scale of the picture",
    "smc_every": "Steps from one resampling of the candidates to the next",
}
TWO_MODELS: Final = "two models"
"""Choice of the menu that is no preset."""

_EXAMPLE: Final = "a red ball bouncing"
_STEPS: Final = 50  # where the pipelines that would say so are not here

PRESET_CHOICE: Final = "the preset's own"


@dataclass(frozen=True)
class SystemMenu:
    """Controls that choose a system.

    Attributes:
        menu: Presets, and two models by their ids.
        place: What is seen where two models are chosen.
        names: Their ids, and that of their discriminator.
    """

    menu: Any
    place: Any
    names: Sequence[Any]

    @staticmethod
    def of(app: AppConfig) -> "SystemMenu":
        """Make the controls in the present place."""
        begin, *ids, _ = SystemMenu.shown(app.system)
        menu = gr.Dropdown(_systems(()), value=begin, label="Models", elem_id="mm-preset")
        said = ("Id of a video pipeline", "Id of an audio pipeline", "Id of their discriminator")
        with gr.Group(visible=begin == TWO_MODELS) as group:
            names = [
                gr.Textbox(one, label=label, elem_id=f"mm-{option}", placeholder="owner/name")
                for one, label, option in zip(ids, said, MODELS, strict=True)
            ]
        return SystemMenu(menu, group, names)

    @property
    def inputs(self) -> list[Any]:
        """What ``chosen`` takes."""
        return [self.menu, *self.names]

    @property
    def outputs(self) -> list[Any]:
        """What ``shown`` fills in."""
        return [*self.inputs, self.place]

    @staticmethod
    def chosen(app: AppConfig, menu: str, *names: str) -> SystemConfig:
        """Return the system of what stands in the controls.

        Raises:
            UserError: Two models are not named, or by folders that the page does not offer.
        """
        return app.of_models(*names) if menu == TWO_MODELS else app.of_preset(menu)

    @staticmethod
    def shown(system: SystemConfig) -> list[Any]:
        """Return what the controls hold where a system is chosen."""
        two = system.preset is None
        names = [(getattr(system, one) or "") if two else "" for one in MODELS]
        return [system.preset or TWO_MODELS, *names, gr.update(visible=two)]


def controls(app: AppConfig, names: Sequence[str]) -> dict[str, Any]:
    """Make the controls of some settings in the present place."""
    values = defaults(app.system)
    return {name: _control(name, app, values) for name in names}


def defaults(system: SystemConfig | None) -> dict[str, Any]:
    """Return what the controls of a system begin with; None where the field stays empty.

    Args:
        system: The system; None where it is not named yet.
    """
    fields = GenerateConfig.model_fields
    values: dict[str, Any] = {one: fields[one].default for one in FIELDS}
    sampling = None
    # where models are not here, it is said when a clip is asked for
    with contextlib.suppress(UserError):
        sampling = None if system is None else system_of(system).sampling()
    if sampling is None:
        return values | dict.fromkeys(SLIDERS, 1.0) | {"steps": _STEPS}
    return values | {
        "steps": sampling.steps,
        "joint_scale_audio": sampling.joint_scale.audio,
        "joint_scale_video": sampling.joint_scale.video,
    }


def marked(app: AppConfig) -> Any:
    """Return the menu with a mark at presets whose weights are not here, which takes seconds."""
    here = SystemConfig(weights=app.weights)
    absent = [name for name in PRESETS if not all(preset(name).present(here))]
    return gr.update(choices=_systems(absent))


def _systems(absent: Sequence[str]) -> list[tuple[str, str]]:
    labels = [f"{name} (weights not here)" if name in absent else name for name in PRESETS]
    two = ("two models of diffusers, by their ids", TWO_MODELS)
    return [*zip(labels, PRESETS, strict=True), two]


def shown(values: Mapping[str, Any], begin: Mapping[str, Any]) -> list[Any]:
    """Return what all controls hold in the order of ``FIELDS``; of sliders None is as at first."""
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
    value, kind = values[name], value_type(field.annotation)
    common: dict[str, Any] = {"label": label, "info": info, "elem_id": f"mm-{name}"}
    if name == "prompt":
        begin = _EXAMPLE if app.preset == PRESET else ""
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

"""The page: five tabs beside the settings, and what its buttons do.

Every button shows a line at once, then waits for its turn: one clip is made at a time.
"""

# pyright: reportMissingImports=false, reportUnknownVariableType=false

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import gradio as gr

from mmdisco.app import cards
from mmdisco.app.compare import ScoredClip, score
from mmdisco.app.config import AppConfig
from mmdisco.app.fields import (
    PRESET_CHOICE,
    TWO_MODELS,
    SystemMenu,
    controls,
    defaults,
    marked,
    shown,
)
from mmdisco.app.requests import (
    FIELDS,
    MAIN,
    MODELS,
    PROMPTS,
    SLIDERS,
    request_of,
    restore,
    unguided,
)
from mmdisco.app.studio import MadeClip, Progress, Studio
from mmdisco.errors import UserError
from mmdisco.generation.config import PRESET, SystemConfig

TABS: Final = {
    "together": "Together",
    "video": "Sound for a video",
    "audio": "Video for a sound",
    "inside": "Look inside",
    "compare": "Compare",
}
CANCELLED: Final = "cancelled"
LATE_SECONDS: Final = 1.0  # by which a step may still be shown after Cancel
WAITING: Final = "waiting for its turn"
HEAD: Final = """<h1>mmdisco</h1>
<p>Two diffusion models, one of sound and one of video, play together.</p>"""
_SETTLED: Final = (
    "A joint scale counts once it is moved; until then each task has the preset's own, "
    "and the scale of a given side has no effect."
)

_SEEN: Final = (*PROMPTS, *MAIN)
_QUIET: Final[dict[str, Any]] = {"show_progress": "hidden", "api_visibility": "private"}
_AT_ONCE: Final[dict[str, Any]] = {**_QUIET, "queue": False}
_UPLOADS: Final = "() => Array(2).fill({__type__: 'update', visible: true})"

Shown = tuple[str, Any]
"""Line of the status, and result, as HTML."""


@dataclass(frozen=True)
class PageSettings:
    """Controls that all tabs share.

    Attributes:
        systems: Menu of presets and of two models.
        fields: Control of each field.
        moved: Sliders that were moved, as the value of a state.
    """

    systems: SystemMenu
    fields: Mapping[str, Any]
    moved: Any

    @property
    def inputs(self) -> list[Any]:
        """Everything that a request is built of, in the order of ``values``."""
        return [*self.systems.inputs, self.moved, *_in_order(self.fields)]

    @staticmethod
    def values(inputs: Sequence[Any], app: AppConfig) -> tuple[SystemConfig, dict[str, Any]]:
        """Return the system, and the value of each field that counts; of unmoved sliders, None.

        Raises:
            UserError: Two models are chosen and not named as they must be.
        """
        *chosen, moved = inputs[: -len(FIELDS)]
        values = inputs[-len(FIELDS) :]
        found = dict(zip(FIELDS, values, strict=True))
        for slider in SLIDERS:
            found[slider] = found[slider] if slider in moved else None
        if found.get("scheduler") == PRESET_CHOICE:
            found["scheduler"] = None
        return SystemMenu.chosen(app, *chosen), found


def build(app: AppConfig, studio: Studio) -> gr.Blocks:
    """Build the page."""
    with gr.Blocks(title="mmdisco", analytics_enabled=False) as page:
        gr.HTML(HEAD, elem_classes="mm-head")
        with gr.Row():
            main = gr.Column(scale=2, min_width=320)
            with gr.Column(scale=1, min_width=300):
                systems, moved = SystemMenu.of(app), gr.State([])
                fields = controls(app, MAIN)
                gr.HTML(f"<p class='mm-notice'>{_SETTLED}</p>")
                with gr.Accordion("More settings", open=False):
                    fields |= controls(app, [name for name in FIELDS if name not in _SEEN])
                with gr.Accordion("Make a clip again", open=True):
                    dropped = gr.File(
                        label="Record (.json) of a clip",
                        file_types=[".json"],
                        height=150,
                        elem_id="mm-record",
                    )
                    said = gr.HTML("", elem_id="mm-said")
            with main:
                with gr.Row(equal_height=True):
                    fields |= controls(app, PROMPTS)
                settings = PageSettings(systems, fields, moved)
                with gr.Tabs(overflow_behavior="wrap") as tabs:
                    own = {name: _tab(name, settings, studio) for name in TABS}
        _react(app, settings)
        places = [*own["video"][1:], *own["audio"][1:]]
        dropped.upload(
            partial(_restored, app),
            [dropped],
            [*systems.outputs, moved, *_in_order(fields), tabs, said, *places],
            **_AT_ONCE,
        )
        # what is large comes once the page is seen, and so does what a clip needs
        page.load(None, None, [own["video"][0], own["audio"][0]], js=_UPLOADS, **_QUIET)
        page.load(studio.warm, None, None, **_AT_ONCE)
    return page


def _react(app: AppConfig, settings: PageSettings) -> None:
    """Note which sliders are moved, and begin anew where another system is chosen."""
    fields, moved, systems = settings.fields, settings.moved, settings.systems
    for name in SLIDERS:
        fields[name].input(partial(_add, name), moved, moved, **_AT_ONCE)
    systems.menu.focus(partial(marked, app), None, systems.menu, **_AT_ONCE)
    systems.menu.input(
        partial(_begin, app),
        systems.inputs,
        [systems.place, moved, *_in_order(fields)],
        **_AT_ONCE,
    )


def _in_order(fields: Mapping[str, Any]) -> list[Any]:
    return [fields[name] for name in FIELDS]


def _add(name: str, moved: list[str]) -> list[str]:
    return sorted({*moved, name})


def _begin(app: AppConfig, menu: str, *names: str) -> list[Any]:
    """Return what the controls hold where a system was chosen; the prompts stay."""
    system = None
    with contextlib.suppress(UserError):  # two models whose names are to be filled in
        system = SystemMenu.chosen(app, menu, *names)
    begin = defaults(system)
    values = dict(zip(FIELDS, shown(begin, begin), strict=True))
    values |= {name: gr.skip() for name in PROMPTS}
    return [gr.update(visible=menu == TWO_MODELS), [], *values.values()]


def _tab(name: str, settings: PageSettings, studio: Studio) -> list[Any]:
    """Make a tab, and return its own inputs."""
    with gr.Tab(TABS[name], id=name, elem_id=f"mm-tab-{name}"):
        own = _inputs(name)
        with gr.Row():
            label = "Compare" if name == "compare" else "Make"
            make = gr.Button(
                label, variant="primary", scale=0, min_width=200, elem_id=f"mm-make-{name}"
            )
            cancel = gr.Button("Cancel", min_width=100, scale=0, elem_id=f"mm-cancel-{name}")
        line = gr.HTML(cards.status("ready"), elem_id=f"mm-status-{name}")
        result = gr.HTML("", elem_id=f"mm-result-{name}")
    waits = make.click(lambda: cards.status(WAITING), None, line, **_AT_ONCE)
    made = waits.then(
        partial(_answer, _MAKERS[name], studio),
        [*settings.inputs, *own],
        [line, result],
        concurrency_id="studio",
        concurrency_limit=1,
        **_QUIET,
    )
    stopped = cancel.click(lambda: cards.status(CANCELLED), None, line, cancels=[made], **_AT_ONCE)
    # a step that was on its way when it was pressed arrives after that line
    stopped.then(_once_more, None, line, **_AT_ONCE)
    return own


def _once_more() -> str:
    time.sleep(LATE_SECONDS)
    return cards.status(CANCELLED)


def _inputs(name: str) -> list[Any]:
    if name == "video":
        video = gr.Video(
            label="Video to make sound for",
            sources=["upload", "webcam"],
            include_audio=True,  # without, Gradio would encode anew, by a program
            webcam_options=gr.WebcamOptions(mirror=False),
            height=280,
            buttons=[],
            visible=False,
            elem_id="mm-video",
        )
        return [video, gr.Number(0, label="Second to begin at")]
    if name == "audio":
        sound = gr.Audio(
            label="Sound to make a video for",
            sources=["upload", "microphone"],
            type="filepath",
            editable=False,
            buttons=[],
            visible=False,
            elem_id="mm-audio",
        )
        begin = gr.Number(0, label="Second to begin at")
        return [sound, begin, gr.Textbox("", label="Audio track, from 1")]
    if name == "compare":
        return [
            gr.File(
                label="Clips (and their records, which hold their captions)",
                file_count="multiple",
                height=160,
                elem_id="mm-compare",
            )
        ]
    return []


def _answer(maker: Callable[..., Iterator[Shown]], studio: Studio, *inputs: Any) -> Iterator[Shown]:
    """Show what a maker yields; a mistake becomes one line."""
    count = 1 + len(MODELS) + 1 + len(FIELDS)
    try:
        system, values = PageSettings.values(inputs[:count], studio.app)
        yield from maker(studio, system, values, *inputs[count:])
    except UserError as error:
        yield cards.wrong(error), ""
    except MemoryError:
        yield cards.wrong("not enough memory: ask for less at once, or smaller"), ""


def _together(studio: Studio, system: SystemConfig, values: dict[str, Any]) -> Iterator[Shown]:
    config = request_of(values, studio.app, system)
    made: dict[str, MadeClip] = {}
    for title, one in (("Alone", unguided(config)), ("Together", config)):
        yield from _steps(studio.make(one, title.lower()), title, made)
    yield cards.status("done"), cards.result(made)


def _given(
    side: str, studio: Studio, system: SystemConfig, values: dict[str, Any], *own: Any
) -> Iterator[Shown]:
    path, start, *track = own
    if path is None:
        raise UserError(f"there is no {'video' if side == 'video' else 'sound'}: upload one first")
    given = {side: path, "start": start or None, "audio_track": track[0] if track else None}
    config = request_of(values, studio.app, system, given)
    made: dict[str, MadeClip] = {}
    name = "sound-for-video" if side == "video" else "video-for-sound"
    yield from _steps(studio.make(config, name), TABS[side], made)
    yield cards.status("done"), cards.result(made)


def _inside(studio: Studio, system: SystemConfig, values: dict[str, Any]) -> Iterator[Shown]:
    config = request_of(values, studio.app, system)
    yield cards.status("loading"), ""
    from mmdisco.app.inside import GradientRecording, draw_inside, event_times

    recording, made = GradientRecording(), dict[str, MadeClip]()
    yield from _steps(studio.make(config, "inside", recording), "Clip", made)
    yield cards.status("drawing"), ""
    [one] = made.values()
    events = event_times(one.clip, sounding_objects=system.preset == PRESET)
    picture = one.paths.clip.with_name("inside-steps.png")
    draw_inside(picture, recording.readings, one.clip, events)
    yield cards.status("done"), cards.result(made, picture, recording.readings, events)


def _compare(
    studio: Studio, chosen: SystemConfig, values: dict[str, Any], files: list[str] | None
) -> Iterator[Shown]:
    config = request_of({"prompt": values["prompt"]}, studio.app, chosen)
    paths, scored = [Path(one) for one in files or ()], list[ScoredClip]()
    system, embedded = studio.system(chosen), chosen.preset == PRESET
    for one in score(paths, config.caption, system, studio.app, embedded=embedded):
        scored.append(one)
        yield cards.progress(Progress("comparing", len(scored), len(paths))), ""
    yield cards.status("done"), cards.comparison(scored)


def _steps(
    making: Iterator[Progress | MadeClip], title: str, made: dict[str, MadeClip]
) -> Iterator[Shown]:
    """Show how far a clip is, then keep it under its title."""
    for one in making:
        if isinstance(one, MadeClip):
            made[title] = one
        else:
            yield cards.progress(one, title), gr.skip()


def _restored(app: AppConfig, path: str) -> list[Any]:
    """Return what a record fills in; a mistake changes nothing but the line below it."""
    count = 1 + len(MODELS) + 1 + 1 + len(FIELDS) + 1
    given = 1 + 2  # start; start and track
    try:
        found = restore(Path(path), app)
    except UserError as error:
        return [*[gr.skip()] * count, cards.wrong(error), *[gr.skip()] * given]
    moved = [name for name in SLIDERS if found.values[name] is not None]
    said = "all settings are those of the record"
    if found.side is not None:
        said += f": upload {found.name} again"
    tab = gr.Tabs(selected=found.side or "together")
    start, track = found.given["start"], f"{found.given['audio_track'] or ''}"
    systems = SystemMenu.shown(found.system)
    values = shown(found.values, defaults(found.system))
    return [*systems, moved, *values, tab, cards.status(said), start, start, track]


_MAKERS: Final[dict[str, Callable[..., Iterator[Shown]]]] = {
    "together": _together,
    "video": partial(_given, "video"),
    "audio": partial(_given, "audio"),
    "inside": _inside,
    "compare": _compare,
}

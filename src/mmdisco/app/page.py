"""The page: settings beside five tabs, and what its buttons do.

Every button shows a line at once, then waits for its turn: one clip is made at a time.
"""

# pyright: reportMissingImports=false, reportUnknownVariableType=false

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
from mmdisco.app.fields import PRESET_CHOICE, controls, defaults, presets, shown
from mmdisco.app.requests import FIELDS, SLIDERS, request_of, restore, unguided
from mmdisco.app.studio import MadeClip, Progress, Studio
from mmdisco.errors import UserError
from mmdisco.generation.presets.registry import PRESETS

EMBEDDED: Final = next(iter(PRESETS))
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

Shown = tuple[str, Any]
"""Line of the status, and result, as HTML."""


@dataclass(frozen=True)
class PageSettings:
    """Controls that all tabs share.

    Attributes:
        preset: Menu of presets.
        fields: Control of each field.
        moved: Sliders that were moved, as the value of a state.
    """

    preset: Any
    fields: Mapping[str, Any]
    moved: Any

    @property
    def inputs(self) -> list[Any]:
        """Everything that a request is built of, in the order of ``values``."""
        return [self.preset, self.moved, *(self.fields[name] for name in FIELDS)]

    @staticmethod
    def values(inputs: Sequence[Any]) -> tuple[str, dict[str, Any]]:
        """Return preset and value of each field that counts; of unmoved sliders, None."""
        name, moved, *values = inputs
        found = dict(zip(FIELDS, values, strict=True))
        for slider in SLIDERS:
            found[slider] = found[slider] if slider in moved else None
        if found.get("scheduler") == PRESET_CHOICE:
            found["scheduler"] = None
        return name, found


def build(app: AppConfig, studio: Studio) -> gr.Blocks:
    """Build the page."""
    with gr.Blocks(title="mmdisco", analytics_enabled=False) as page:
        gr.HTML(HEAD, elem_classes="mm-head")
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                settings, dropped, said = _settings(app)
            with gr.Column(scale=2, min_width=320), gr.Tabs() as tabs:
                uploads = {name: _tab(name, settings, studio) for name in TABS}
        given = {side: uploads[side] for side in ("video", "audio")}
        dropped.upload(
            partial(_restored, app),
            [dropped],
            [settings.preset, settings.moved, *settings.fields.values(), tabs, said]
            + [one for side in given.values() for one in side[1:]],
            queue=False,
            show_progress="hidden",
            api_visibility="private",
        )
    return page


def _settings(app: AppConfig) -> tuple[PageSettings, Any, Any]:
    menu = gr.Dropdown(presets(app), value=app.preset, label="Preset", elem_id="mm-preset")
    fields = controls(app, main=True)
    moved = gr.State([])
    gr.HTML(f"<p class='mm-notice'>{_SETTLED}</p>")
    with gr.Accordion("More settings", open=False):
        fields |= controls(app, main=False)
    with gr.Accordion("Make a clip again", open=True):
        dropped = gr.File(
            label="Record (.json) of a clip", file_types=[".json"], height=150, elem_id="mm-record"
        )
        said = gr.HTML("", elem_id="mm-said")
    settings = PageSettings(menu, fields, moved)
    for name in SLIDERS:
        fields[name].input(
            partial(_add, name),
            moved,
            moved,
            queue=False,
            show_progress="hidden",
            api_visibility="private",
        )
    menu.input(
        _of_preset,
        menu,
        [moved, *(fields[name] for name in FIELDS)],
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )
    return settings, dropped, said


def _add(name: str, moved: list[str]) -> list[str]:
    return sorted({*moved, name})


def _of_preset(name: str) -> list[Any]:
    return [[], *shown(defaults(name), name)]


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
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    waits = make.click(lambda: cards.status(WAITING), None, line, queue=False, **quiet)
    made = waits.then(
        partial(_answer, _MAKERS[name], studio),
        [*settings.inputs, *own],
        [line, result],
        concurrency_id="studio",
        concurrency_limit=1,
        **quiet,
    )
    stopped = cancel.click(
        lambda: cards.status(CANCELLED), None, line, queue=False, cancels=[made], **quiet
    )
    # a step that was on its way when it was pressed arrives after that line
    stopped.then(_once_more, None, line, queue=False, **quiet)
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
            height=240,
            buttons=[],
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
    preset, values = PageSettings.values(inputs[: len(FIELDS) + 2])
    try:
        yield from maker(studio, preset, values, *inputs[len(FIELDS) + 2 :])
    except UserError as error:
        yield cards.wrong(error), ""
    except MemoryError:
        yield cards.wrong("not enough memory: ask for less at once, or smaller"), ""


def _together(studio: Studio, preset: str, values: dict[str, Any]) -> Iterator[Shown]:
    config = request_of(values, studio.app, preset)
    made: dict[str, MadeClip] = {}
    for title, one in (("Alone", unguided(config)), ("Together", config)):
        yield from _steps(studio.make(one, title.lower()), title, made)
    yield cards.status("done"), cards.result(made)


def _given(
    side: str, studio: Studio, preset: str, values: dict[str, Any], *own: Any
) -> Iterator[Shown]:
    path, start, *track = own
    if path is None:
        raise UserError(f"there is no {'video' if side == 'video' else 'sound'}: upload one first")
    given = {side: path, "start": start or None, "audio_track": track[0] if track else None}
    config = request_of(values, studio.app, preset, given)
    made: dict[str, MadeClip] = {}
    name = "sound-for-video" if side == "video" else "video-for-sound"
    yield from _steps(studio.make(config, name), TABS[side], made)
    yield cards.status("done"), cards.result(made)


def _inside(studio: Studio, preset: str, values: dict[str, Any]) -> Iterator[Shown]:
    config = request_of(values, studio.app, preset)
    yield cards.status("loading"), ""
    from mmdisco.app.inside import GradientRecording, draw_inside, event_times

    recording, made = GradientRecording(), dict[str, MadeClip]()
    yield from _steps(studio.make(config, "inside", recording), "Clip", made)
    yield cards.status("drawing"), ""
    [one] = made.values()
    events = event_times(one.clip, sounding_objects=preset == EMBEDDED)
    picture = one.paths.clip.with_name("inside-steps.png")
    draw_inside(picture, recording.readings, one.clip, events)
    yield cards.status("done"), cards.result(made, picture, recording.readings, events)


def _compare(
    studio: Studio, preset: str, values: dict[str, Any], files: list[str] | None
) -> Iterator[Shown]:
    config = request_of({"prompt": values["prompt"]}, studio.app, preset)
    paths, scored = [Path(one) for one in files or ()], list[ScoredClip]()
    system = studio.system(preset)
    for one in score(paths, config.caption, system, studio.app, embedded=preset == EMBEDDED):
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
    count = 2 + len(FIELDS) + 1
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
    values = shown(found.values, found.preset)
    return [found.preset, moved, *values, tab, cards.status(said), start, start, track]


_MAKERS: Final[dict[str, Callable[..., Iterator[Shown]]]] = {
    "together": _together,
    "video": partial(_given, "video"),
    "audio": partial(_given, "audio"),
    "inside": _inside,
    "compare": _compare,
}

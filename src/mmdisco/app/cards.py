"""HTML of what the page shows of progress, mistakes and results."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mmdisco.app.compare import ScoredClip
from mmdisco.app.studio import MadeClip, Progress
from mmdisco.io.reports import render

if TYPE_CHECKING:
    from mmdisco.app.inside import EventTimes, StepReading

KINDS: Final = {"clip": "mp4", "sound": "wav", "picture": "picture", "record": "record"}
"""What is downloaded, by its name among the files of a clip."""


def status(doing: str) -> str:
    """Return a line on what goes on."""
    return _line(doing=doing)


def progress(at: Progress, clip: str = "") -> str:
    """Return a bar with the step and the seconds left."""
    left = None if at.left is None else max(1, round(at.left))
    doing = " ".join(filter(None, (at.doing, clip)))
    return _line(doing=doing, done=at.done, total=at.total, left=left)


def wrong(message: object) -> str:
    """Return a line that says what is wrong."""
    return _line(wrong=str(message))


def _line(**values: Any) -> str:
    empty = dict.fromkeys(("doing", "done", "total", "left", "wrong"))
    return render("app_status.html", title="", **{**empty, **values})


def result(
    clips: Mapping[str, MadeClip],
    inside: Path | None = None,
    readings: "Sequence[StepReading]" = (),
    events: "EventTimes | None" = None,
) -> str:
    """Return clips side by side with their files, candidates and notices.

    Args:
        clips: Clips by title; candidates are those of the last one.
        inside: Picture of the discriminator's readings.
        readings: The readings.
        events: Times of events.
    """
    last = list(clips.values())[-1]
    notices = dict.fromkeys(line for one in clips.values() for line in one.notices)
    return render(
        "app_result.html",
        title="",
        clips=[_clip(title, one) for title, one in clips.items()],
        candidates=_ranked(last.logits),
        inside=None if inside is None else url(inside),
        readings=readings,
        events=None
        if events is None
        else {"heard": _times(events.heard), "seen": _times(events.seen)},
        notices=notices,
    )


def comparison(scored: Sequence[ScoredClip]) -> str:
    """Return a table of clips, the best first; its columns can be sorted."""
    best = sorted(scored, key=lambda one: float("-inf") if one.logit is None else one.logit)
    events = any(one.event_f1 is not None for one in scored)
    rows = [
        {
            "clip": url(one.path),
            "name": one.path.name,
            "caption": one.caption,
            "issue": one.issue,
            "scores": [
                *map(_two_places, (one.logit, one.sync, *([one.event_f1] if events else []))),
                *("" if count is None else f"{count}" for count in (one.seen, one.heard)),
            ],
        }
        for one in reversed(best)
    ]
    return render("app_compare.html", title="", rows=rows, events=events)


def _two_places(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def url(path: Path) -> str:
    """Return the address of a file within the page."""
    from urllib.parse import quote

    return f"gradio_api/file={quote(str(path))}"


def _clip(title: str, made: MadeClip) -> dict[str, Any]:
    files = [
        {
            "what": what,
            "name": getattr(made.paths, name).name,
            "url": url(getattr(made.paths, name)),
        }
        for name, what in KINDS.items()
    ]
    score = "" if made.logits is None else _two_places(max(made.logits))
    return {"title": title, "clip": url(made.paths.clip), "files": files, "score": score}


def _ranked(logits: Sequence[float] | None) -> list[dict[str, Any]]:
    if logits is None:
        return []
    order = sorted(range(len(logits)), key=lambda k: -logits[k])
    return [{"number": k + 1, "logit": _two_places(logits[k])} for k in order]


def _times(times: Iterable[float] | None) -> str:
    if times is None:
        return "times that nothing here can tell"
    return ", ".join(f"{one:.2f} s" for one in times) or "no time"

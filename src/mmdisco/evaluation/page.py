"""The report as one HTML page that needs nothing else: figures, curves, clips that play."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final

from mmdisco.evaluation.page_clips import clips_side_by_side, encoded
from mmdisco.evaluation.picture import draw_curves, draw_values, with_curves
from mmdisco.evaluation.run import BASES, Evaluation
from mmdisco.evaluation.table import HEADER, number, row
from mmdisco.files import scratch
from mmdisco.health.picture import draw_health
from mmdisco.health.record import Health
from mmdisco.media.reading import Selection
from mmdisco.metrics.figure import Figure

SHOWN: Final = 4  # clips of each folder

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8885; --soft: #8882; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1180px; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid var(--line);
  vertical-align: top; }
th { font-weight: 600; } tr.none { opacity: .6; }
td:nth-child(3), td:nth-child(4) { white-space: nowrap; }
.clips { display: grid; gap: 1rem; } .clips h3 { font-size: 1rem; margin: 0; }
img.plot { max-width: 100%; background: #fff; border-radius: 4px; }
figure { margin: 0; background: var(--soft); padding: .6rem; border-radius: 6px; }
figure video, figure img { width: 100%; display: block; border-radius: 3px; }
figure img { margin-top: .4rem; }
figcaption { font-size: .85rem; overflow-wrap: anywhere; margin-bottom: .4rem; }
"""


def page(
    evaluation: Evaluation,
    selection: Selection,
    health: Health | None = None,
    shown: int = SHOWN,
) -> str:
    """The page, with ``shown`` clips of each folder, read as ``selection`` says.

    ``health`` is that of the discriminator that guided, if it is known.
    """
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width, initial-scale=1'>",
        f"<title>Evaluation of clips</title><style>{_STYLE}</style>",
        f"<h1>Evaluation of {escape(str(evaluation.conditions['generated']))}</h1>",
        f"<p>{_counts(evaluation)}</p>",
        "<h2>Figures</h2>",
        _table(HEADER, [row(one) for one in evaluation.outcomes]),
    ]
    parts += _pictures(evaluation, health)
    parts += ["<h2>Clips</h2>", clips_side_by_side(evaluation.clips, selection, shown)]
    if evaluation.problems:
        rows = [(p.clip, p.what, "yes" if p.kept else "no") for p in evaluation.problems]
        parts += ["<h2>Clips to know about</h2>"]
        parts.append(_table(("clip", "what", "in the figures"), rows))
    rows = [(e.name, e.version, e.preprocessing) for e in evaluation.tools.extractors]
    parts += ["<h2>Extractors</h2>", _table(("extractor", "version", "preprocessing"), rows)]
    conditions = [(name, str(value)) for name, value in evaluation.conditions.items()]
    parts += ["<h2>Conditions</h2>", _table(("what", "which"), conditions)]
    return "\n".join(parts) + "\n"


def _counts(evaluation: Evaluation) -> str:
    counts = ", ".join(f"{len(found)} {name}" for name, found in evaluation.clips.items())
    left_out = sum(not one.kept for one in evaluation.problems)
    said = f"; {left_out} files left out, named below" if left_out else ""
    return escape(f"{counts} clips of {evaluation.form}{said}.")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(one)}" for one in header)
    body = "".join(
        f"<tr{' class=none' if 'not computed' in cells else ''}>"
        + "".join(f"<td>{escape(one)}" for one in cells)
        for cells in rows
    )
    return f"<div class=wide><table><thead><tr>{head}<tbody>{body}</table></div>"


def _pictures(evaluation: Evaluation, health: Health | None) -> list[str]:
    """Values, curves and health, each as a picture with its heading."""
    sets = {"generated": evaluation.outcomes}
    if evaluation.beside:
        sets[BASES] = evaluation.beside
    parts: list[str] = []
    with scratch() as folder:
        picture = folder / "picture.png"
        if any(isinstance(one, Figure) for one in evaluation.outcomes):
            draw_values(picture, sets)
            parts.append(_picture(picture, "every figure with its interval"))
            parts.append(
                "<p>Points with 95 % intervals; dashed: exchanged pairs; grey: reference.</p>"
            )
        if with_curves(sets):
            draw_curves(picture, sets)
            parts += ["<h2>Curves</h2>", _picture(picture, "curves behind the figures")]
        if health is not None:
            draw_health(picture, health)
            parts += ["<h2>Health of the discriminator</h2>"]
            parts.append(_picture(picture, "accuracy, calibration and gain by noise level"))
            rows = [(name, number(value)) for name, value in health.figures().items()]
            parts.append(_table(("what", "value"), rows))
    return parts


def _picture(path: Path, alt: str) -> str:
    return f"<img class=plot alt='{alt}' src='data:image/png;base64,{encoded(path)}'>"

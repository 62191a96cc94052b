"""Report as a self-contained HTML page: results, curves, and clips that play.

Clips of several folders are shown side by side, each with its spectrogram.
"""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Final

from mmdisco.evaluation.clips import ClipFiles, UnreadableClip, read_item
from mmdisco.evaluation.evaluate import BASES, Evaluation
from mmdisco.evaluation.metrics.result import MetricResult
from mmdisco.evaluation.plots import draw_curves, draw_values, with_curves
from mmdisco.evaluation.tables import HEADER, number, row
from mmdisco.io.files import scratch
from mmdisco.media.clip import AudioVideo
from mmdisco.media.plots import draw_clips
from mmdisco.media.read import ReadSpec
from mmdisco.media.write import write_clip
from mmdisco.training.diagnostics.report import Diagnostics, draw_diagnostics

_WIDE: Final = 256  # pixels; tiny clips are magnified to about this
_ORDER: Final = ("reference", "bases alone", "generated")


def clips_side_by_side(
    folders: Mapping[str, Sequence[ClipFiles]], selection: ReadSpec, shown: int
) -> str:
    """Lay out a column per folder and a row for each of ``shown`` clips.

    Clips of one name share a row; if the folders have too few names in common, the first clips of
    each folder are shown.
    """
    columns = {name: folders[name] for name in (*_ORDER, *folders) if name in folders}
    common = _common(columns)
    alike = len(columns) > 1 and len(common) >= min(shown, *map(len, columns.values()))
    if alike:
        columns = {
            name: [one for one in items if one.name in common] for name, items in columns.items()
        }
    figures = [
        clip_figure(items[row], selection) if row < len(items) else "<div></div>"
        for row in range(min(shown, max(map(len, columns.values()))))
        for items in columns.values()
    ]
    said = "" if alike or len(columns) < 2 else "<p>Rows are not of one prompt: names differ.</p>"
    heads = [f"<h3>{escape(name)}</h3>" for name in columns]
    grid = f"style='grid-template-columns: repeat({len(columns)}, minmax(180px, 1fr))'"
    cells = "".join([*heads, *figures])
    return f"{said}<div class=wide><div class=clips {grid}>{cells}</div></div>"


def clip_figure(item: ClipFiles, selection: ReadSpec) -> str:
    """Render one clip, or the reason why it is missing."""
    try:
        clip = read_item(item, selection)
    except UnreadableClip as error:  # the file changed since it was measured
        return (
            f"<figure><figcaption>{escape(item.name)}: {escape(str(error))}</figcaption></figure>"
        )
    film, picture = _files(clip)
    prompt = f"<br>{escape(item.prompt)}" if item.prompt else ""
    return (
        f"<figure><figcaption>{escape(item.name)}{prompt}</figcaption>"
        f"<video controls loop playsinline preload=metadata "
        f"src='data:video/mp4;base64,{film}'></video>"
        f"<img alt='frames, waveform and spectrogram of {escape(item.name, quote=True)}' "
        f"src='data:image/png;base64,{picture}'></figure>"
    )


def _common(columns: Mapping[str, Sequence[ClipFiles]]) -> set[str]:
    return set.intersection(*({one.name for one in items} for items in columns.values()))


def _files(clip: AudioVideo) -> tuple[str, str]:
    """Encode the clip as mp4, and its frames, waveform and spectrogram as PNG, in base64."""
    with scratch() as folder:
        film, picture = folder / "clip.mp4", folder / "clip.png"
        write_clip(film, clip, magnify=max(1, _WIDE // clip.video.frames.shape[2]))
        draw_clips(picture, {"": clip})
        return encoded(film), encoded(picture)


def encoded(path: Path) -> str:
    """Encode a file in base64."""
    return base64.b64encode(path.read_bytes()).decode()


SHOWN: Final = 4  # clips per folder

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
    selection: ReadSpec,
    diagnostics: Diagnostics | None = None,
    shown: int = SHOWN,
) -> str:
    """Render the page, with ``shown`` clips of each folder, read as ``selection`` defines.

    ``diagnostics`` is the diagnostics of the guiding discriminator, if known.
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
    parts += _pictures(evaluation, diagnostics)
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


def _pictures(evaluation: Evaluation, diagnostics: Diagnostics | None) -> list[str]:
    """Render values, curves and diagnostics, each as an image with its heading."""
    sets = {"generated": evaluation.outcomes}
    if evaluation.beside:
        sets[BASES] = evaluation.beside
    parts: list[str] = []
    with scratch() as folder:
        picture = folder / "picture.png"
        if any(isinstance(one, MetricResult) for one in evaluation.outcomes):
            draw_values(picture, sets)
            parts.append(_picture(picture, "every figure with its interval"))
            parts.append(
                "<p>Points with 95 % intervals; dashed: exchanged pairs; grey: reference.</p>"
            )
        if with_curves(sets):
            draw_curves(picture, sets)
            parts += ["<h2>Curves</h2>", _picture(picture, "curves behind the figures")]
        if diagnostics is not None:
            draw_diagnostics(picture, diagnostics)
            parts += ["<h2>Diagnostics of the discriminator</h2>"]
            parts.append(_picture(picture, "accuracy, calibration and gain by noise level"))
            rows = [(name, number(value)) for name, value in diagnostics.figures().items()]
            parts.append(_table(("what", "value"), rows))
    return parts


def _picture(path: Path, alt: str) -> str:
    return f"<img class=plot alt='{alt}' src='data:image/png;base64,{encoded(path)}'>"

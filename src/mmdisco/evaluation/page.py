"""The report as one HTML page that needs nothing else: figures, clips that play, spectrograms."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from mmdisco.evaluation.folder import Item, Unfit, read_item
from mmdisco.evaluation.run import Evaluation
from mmdisco.evaluation.table import HEADER, row
from mmdisco.media.clip import AudioVideo
from mmdisco.media.pictures import draw_clips
from mmdisco.media.reading import Selection
from mmdisco.media.writing import write_clip

SHOWN: Final = 4  # clips of each folder
_WIDE: Final = 256  # pixels; tiny clips are magnified to about this

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
.clips { display: grid; grid-template-columns: repeat(auto-fill, minmax(260px, 1fr)); gap: 1rem; }
figure { margin: 0; background: var(--soft); padding: .6rem; border-radius: 6px; }
figure video, figure img { width: 100%; display: block; border-radius: 3px; }
figure img { margin-top: .4rem; }
figcaption { font-size: .85rem; overflow-wrap: anywhere; margin-bottom: .4rem; }
"""


def page(evaluation: Evaluation, selection: Selection, shown: int = SHOWN) -> str:
    """The page, with the first ``shown`` clips of each folder, read as ``selection`` says."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width, initial-scale=1'>",
        f"<title>Evaluation of clips</title><style>{_STYLE}</style>",
        f"<h1>Evaluation of {escape(str(evaluation.conditions['generated']))}</h1>",
        f"<p>{_counts(evaluation)}</p>",
        "<h2>Figures</h2>",
        _table(HEADER, [row(one) for one in evaluation.outcomes]),
    ]
    for name, found in evaluation.clips.items():
        parts += [f"<h2>{escape(name.capitalize())} clips</h2><div class=clips>"]
        parts += [_figure(item, selection) for item in found[:shown]]
        parts.append("</div>")
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


def _figure(item: Item, selection: Selection) -> str:
    try:
        clip = read_item(item, selection)
    except Unfit as error:  # it was there a moment ago
        return (
            f"<figure><figcaption>{escape(item.name)}: {escape(str(error))}</figcaption></figure>"
        )
    film, picture = _files(clip)
    return (
        f"<figure><figcaption>{escape(item.name)}</figcaption>"
        f"<video controls loop preload=metadata src='data:video/mp4;base64,{film}'></video>"
        f"<img alt='frames, waveform and spectrogram of {escape(item.name, quote=True)}' "
        f"src='data:image/png;base64,{picture}'></figure>"
    )


def _files(clip: AudioVideo) -> tuple[str, str]:
    """The clip as mp4, and its frames, waveform and spectrogram as PNG, in base64."""
    with TemporaryDirectory() as folder:
        film, picture = Path(folder) / "clip.mp4", Path(folder) / "clip.png"
        write_clip(film, clip, magnify=max(1, _WIDE // clip.video.frames.shape[2]))
        draw_clips(picture, {"": clip})
        return (
            base64.b64encode(film.read_bytes()).decode(),
            base64.b64encode(picture.read_bytes()).decode(),
        )

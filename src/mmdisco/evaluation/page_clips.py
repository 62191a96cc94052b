"""Clips inside a page: folders side by side, each clip playing, with its spectrogram."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Final

from mmdisco.evaluation.folder import Item, Unfit, read_item
from mmdisco.files import scratch
from mmdisco.media.clip import AudioVideo
from mmdisco.media.pictures import draw_clips
from mmdisco.media.reading import Selection
from mmdisco.media.writing import write_clip

_WIDE: Final = 256  # pixels; tiny clips are magnified to about this
_ORDER: Final = ("reference", "bases alone", "generated")


def clips_side_by_side(
    folders: Mapping[str, Sequence[Item]], selection: Selection, shown: int
) -> str:
    """A column for each folder, a row for each of ``shown`` clips.

    Clips of one name stand in one row; if the folders have too few names in common, the first of
    each folder do.
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


def clip_figure(item: Item, selection: Selection) -> str:
    """One clip, or why there is none."""
    try:
        clip = read_item(item, selection)
    except Unfit as error:  # it was there a moment ago
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


def _common(columns: Mapping[str, Sequence[Item]]) -> set[str]:
    return set.intersection(*({one.name for one in items} for items in columns.values()))


def _files(clip: AudioVideo) -> tuple[str, str]:
    """The clip as mp4, and its frames, waveform and spectrogram as PNG, in base64."""
    with scratch() as folder:
        film, picture = folder / "clip.mp4", folder / "clip.png"
        write_clip(film, clip, magnify=max(1, _WIDE // clip.video.frames.shape[2]))
        draw_clips(picture, {"": clip})
        return encoded(film), encoded(picture)


def encoded(path: Path) -> str:
    """A file in base64."""
    return base64.b64encode(path.read_bytes()).decode()

"""The report as one page: counts, then clips at a glance, kept and dropped."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from mmdisco.files import write_text
from mmdisco.prepare.records import Outcome
from mmdisco.prepare.report import in_words

_MOST_KEPT: Final = 120
_MOST_DROPPED: Final = 40  # of each reason
_MOST_FILES: Final = 1000
_STYLE: Final = """
body { font: 14px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 78em; padding: 0 1em;
  color: #222; background: #fff; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; }
.clips { display: grid; grid-template-columns: repeat(auto-fill, minmax(15em, 1fr)); gap: 1em; }
figure { margin: 0; } img { width: 100%; display: block; image-rendering: auto; }
svg { width: 100%; height: 2.2em; display: block; background: #f2f4f7; }
svg path { fill: #2b5c8a; }
figcaption { font-size: 12px; overflow-wrap: anywhere; } figcaption b { color: #a33; }
table { border-collapse: collapse; } td { padding: .1em 1.2em .1em 0; overflow-wrap: anywhere; }
"""


def write_page(path: Path, summary: Mapping[str, Any], outcomes: Sequence[Outcome]) -> None:
    """Write HTML that needs no other file."""
    shown = [(one.part, clip) for one in outcomes for clip in one.clips if "glimpse" in clip]
    kept = [(part, clip) for part, clip in shown if clip["kept"]]
    step = max(1, -(-len(kept) // _MOST_KEPT))
    body = ["<h1>Prepared clips</h1>", *(f"<p>{_text(line)}</p>" for line in in_words(summary))]
    body += _section("Kept", kept[::step])
    for reason in summary["dropped_clips"]:
        dropped = [(part, clip) for part, clip in shown if clip.get("reason") == reason]
        body += _section(f"Dropped: {reason}", dropped[:_MOST_DROPPED])
    rows = [*summary["files"], *(clip for clip in summary["clips"])]
    if rows:
        body += ["<h2>All that was left out</h2>", "<table>"]
        body += [f"<tr>{_cells(row)}</tr>" for row in rows[:_MOST_FILES]]
        body.append("</table>")
        if len(rows) > _MOST_FILES:
            body.append(f"<p>and {len(rows) - _MOST_FILES} more, in report.json</p>")
    head = f'<meta charset="utf-8"><title>Prepared clips</title><style>{_STYLE}</style>'
    content = "\n".join(body)
    write_text(
        path, f"<!doctype html>\n<html><head>{head}</head>\n<body>\n{content}\n</body></html>\n"
    )


def _section(title: str, clips: Iterable[tuple[str, Mapping[str, Any]]]) -> list[str]:
    figures = [_figure(part, clip) for part, clip in clips]
    if not figures:
        return []
    return [f"<h2>{_text(title)}</h2>", '<div class="clips">', *figures, "</div>"]


def _figure(part: str, clip: Mapping[str, Any]) -> str:
    image = f'<img alt="" src="data:image/jpeg;base64,{clip["glimpse"]["jpeg"]}">'
    said = [f"{_text(clip['source'])} at {clip['start']:g} s", _text(part)]
    if clip["said"]:
        said.append(f"“{_text(clip['said'])}”")
    if not clip["kept"]:
        said.append(f"<b>{_text(clip['reason'])}</b>")
    figures = clip["statistics"]
    said.append(f"{figures['loudness']:.0f} dB, motion {figures['motion']:.3f}")
    caption = f"<figcaption>{', '.join(said)}</figcaption>"
    return f"<figure>{image}{_outline(clip['glimpse']['outline'])}{caption}</figure>"


def _outline(heights: Sequence[int]) -> str:
    """Columns about a middle line, 0 to 100 up and down."""
    bars = "".join(f"M{x} {100 - h}h.8v{2 * h + 1}h-.8z" for x, h in enumerate(heights))
    box = f"0 0 {len(heights)} 201"
    return f'<svg viewBox="{box}" preserveAspectRatio="none"><path d="{bars}"/></svg>'


def _cells(row: Mapping[str, Any]) -> str:
    when = f"{row['start']:g} s" if "start" in row else ""
    values = (row["source"], when, row["reason"], row["detail"])
    return "".join(f"<td>{_text(value)}</td>" for value in values)


def _text(value: str) -> str:
    """For HTML: no markup, and what is no text of a file's name as an escape."""
    return escape(value.encode("utf-8", "backslashreplace").decode())

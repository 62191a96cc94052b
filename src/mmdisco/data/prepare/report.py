"""Report of kept and dropped clips: a record for JSON, and an HTML page of counts and previews."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from mmdisco.data.prepare.outcomes import ShardOutcome
from mmdisco.data.prepare.plan import PreparePlan
from mmdisco.data.prepare.sources import PARTS
from mmdisco.io.files import write_text

_FIGURES: Final = ("loudness", "peak", "motion", "brightness")


def report(
    plan: PreparePlan, outcomes: Sequence[ShardOutcome], notices: Callable[[str], Sequence[str]]
) -> dict[str, Any]:
    """Count clips, and list every skipped file and clip with the reason.

    Args:
        plan: Plan of the preparation.
        outcomes: Outcomes of its shards.
        notices: Returns the parts of a caption that the models ignore or replace.
    """
    clips = [(outcome.part, clip) for outcome in outcomes for clip in outcome.clips]
    kept = [(part, clip) for part, clip in clips if clip["kept"]]
    dropped = [clip for _, clip in clips if not clip["kept"]]
    said = [clip["said"] for _, clip in kept]
    return {
        "kept": {part: sum(one == part for one, _ in kept) for part in PARTS},
        "groups": {part: len({c["group"] for one, c in kept if one == part}) for part in PARTS},
        "dropped_clips": _counts(clip["reason"] for clip in dropped),
        "refused_files": _counts(one.fault.reason for one in plan.refused),
        "left_out_between_parts": plan.left_out,
        "captions": {
            "none": sum(not one for one in said),
            "not_understood": _counts(
                clip["said"] for _, clip in kept if clip["said"] and not clip["caption"]
            ),
            "understood_in_part": {
                one: {"clips": count, "notices": told}
                for one, count in _counts(filter(None, said)).items()
                if (told := list(notices(one)))
            },
            "different": len({clip["caption"] for _, clip in kept}),
        },
        "figures": {name: _spread([c["statistics"][name] for _, c in kept]) for name in _FIGURES},
        "files": [
            {"source": one.name, "reason": one.fault.reason, "detail": one.fault.detail}
            for one in plan.refused
        ],
        "clips": [
            {key: clip[key] for key in ("source", "start", "end", "reason", "detail")}
            for clip in dropped
        ],
    }


def summary_lines(summary: Mapping[str, Any]) -> list[str]:
    """Format the counts of a report, one line each."""
    kept = summary["kept"]
    lines = [f"kept {kept['train']} clips for training, {kept['validation']} for validation"]
    for key, what in (("dropped_clips", "clips dropped"), ("refused_files", "files refused")):
        lines += [f"{count} {what}: {reason}" for reason, count in summary[key].items()]
    if summary["left_out_between_parts"]:
        lines.append(f"{summary['left_out_between_parts']} clips left out between the parts")
    strange = summary["captions"]["not_understood"]
    if strange:
        lines.append(
            f"{sum(strange.values())} clips have captions that the models do not understand, which "
            "are encoded as empty"
        )
    partly = summary["captions"].get("understood_in_part", {})
    if partly:
        count = sum(one["clips"] for one in partly.values())
        first = next(iter(partly.values()))["notices"][0]
        lines.append(
            f"{count} clips have captions that the models do not take as they are; of the most "
            f"frequent one: {first}"
        )
    return lines


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items(), key=lambda pair: (-pair[1], pair[0])))


def _spread(values: list[float]) -> list[float]:
    """Return minimum, median and maximum."""
    ordered = sorted(values)
    return [ordered[0], ordered[len(ordered) // 2], ordered[-1]] if ordered else []


_MOST_KEPT: Final = 120
_MOST_DROPPED: Final = 40  # per reason
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


def write_page(path: Path, summary: Mapping[str, Any], outcomes: Sequence[ShardOutcome]) -> None:
    """Write a self-contained HTML page."""
    shown = [(one.part, clip) for one in outcomes for clip in one.clips if "glimpse" in clip]
    kept = [(part, clip) for part, clip in shown if clip["kept"]]
    step = max(1, -(-len(kept) // _MOST_KEPT))
    body = [
        "<h1>Prepared clips</h1>",
        *(f"<p>{_text(line)}</p>" for line in summary_lines(summary)),
    ]
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
    """Draw columns of 0 to 100 above and below a centre line."""
    bars = "".join(f"M{x} {100 - h}h.8v{2 * h + 1}h-.8z" for x, h in enumerate(heights))
    box = f"0 0 {len(heights)} 201"
    return f'<svg viewBox="{box}" preserveAspectRatio="none"><path d="{bars}"/></svg>'


def _cells(row: Mapping[str, Any]) -> str:
    when = f"{row['start']:g} s" if "start" in row else ""
    values = (row["source"], when, row["reason"], row["detail"])
    return "".join(f"<td>{_text(value)}</td>" for value in values)


def _text(value: str) -> str:
    """Escape for HTML, undecodable bytes of file names included."""
    return escape(value.encode("utf-8", "backslashreplace").decode())

"""docs/game.md and its pictures, from the recipe's commands and what they gave.

``python recipes/game/page.py --out runs/game`` writes the page again; figures that are not measured
yet leave it without.
"""

import argparse
import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import commands
import numpy as np
from goals import goals_table
from held_out import listed
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from ranking import ALIKE, ANY

from mmdisco.evaluation.metrics.result import UNGUIDED
from mmdisco.io.files import read_object, replacing, write_text
from mmdisco.io.reports import markdown_table
from mmdisco.media.plots import contact_sheet, draw_clips
from mmdisco.media.read import read_clip

HERE: Final = Path(__file__).parent
NONE: Final = "Not measured yet."
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
AGREEMENT: Final = ("events", "class", "kinds")
COLOURS: Final = {ANY: "#1f6fb2", ALIKE: "#c4572c"}
PARTS: Final = {"validation": "Other seeds", "held_out": "A scenario that was held out whole"}
SHEET: Final = 16  # clips, for somebody to name their scenarios
SHOWN: Final = 2  # captions of the picture of clips, and of those to be played
DASH: Final = "–"
UNCERTAIN: Final = 0.5  # standard error of a share of the gap that says nothing


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description="Write docs/game.md.")
    parser.add_argument("--out", type=Path, default=Path("runs/game"))
    parser.add_argument("--docs", type=Path, default=HERE.parents[1] / "docs")
    options = parser.parse_args()
    write_page(options.docs, options.out)


def write_page(docs: Path, out: Path) -> None:
    """Write ``docs/game.md``, and ``docs/game/`` where there are figures."""
    text = page()
    if (out / "evaluation" / "figures.json").exists():
        text = text.replace(NONE, figures_text(out, docs / "game"))
    write_text(docs / "game.md", text)


def page() -> str:
    """Return the page without figures."""
    text = (HERE / "page.md").read_text(encoding="utf-8")
    parts = {
        "make_clips": "python recipes/game/make_clips.py --out runs/game/clips --hours 5",
        "bases": commands.BASES,
        "prepare": "\n".join([commands.PREPARE, *commands.PREPARE_HELD_OUT]),
        "fakes": commands.FAKES,
        "train": commands.TRAIN,
        "generate": commands.GENERATE,
        "additive": commands.ADDITIVE,
        "training": (HERE / "training.yaml").read_text(encoding="utf-8").strip(),
        "readers": "python recipes/game/readers.py --clips runs/game/clips --out runs/game/readers",
        "measure": "python recipes/game/measure.py --out runs/game",
        "figures": NONE,
    }
    for name, value in parts.items():
        text = text.replace(f"{{{{{name}}}}}", value)
    return text


def figures_text(out: Path, folder: Path) -> str:
    """Return what lies between the marks, and draw the pictures into ``folder``."""
    figures = read_object(out / "evaluation" / "figures.json")
    draw_ranking(folder / "ranking.png", figures["ranking"])
    draw_clips(folder / "clips.png", shown(out))
    scenarios = draw_sheet(folder / "scenarios.png", out)
    scales = figures["scales"]
    joint = scales["joint"]
    parts = [
        f"{figures['clips']} clips a row and seed, {_seeds(figures['seeds'])}; ± is the "
        "standard error of a bootstrap over clips, and a gap with one above a half, where real and "
        "recombined clips hardly differ, is left out. Joint scales: "
        f"{joint['audio']:g} of the sound and {joint['video']:g} of the video together, "
        f"{scales['to_audio']:g} of a sound for a video, {scales['to_video']:g} of a "
        f"video for a sound. {_versions(figures)}.",
    ]
    for part, title in PARTS.items():
        parts += [f"### {title}", agreement_table(figures["rows"][part])]
        parts.append(fidelity_table(figures["rows"][part]))
    ranking = figures["ranking"]["validation"]["discriminator"]
    parts += ["### What it was to reach", goals_table(figures["rows"]["validation"], ranking)]
    parts += ["### Which sound belongs to which picture", ranking_table(figures["ranking"])]
    parts.append("![Ranking by noise level](game/ranking.png)")
    curve = sorted((out / "curve").glob("*.json"))
    if curve:
        sizes = sorted((read_object(path) for path in curve), key=lambda one: one["hours"])
        draw_curve(folder / "curve.png", sizes)
        parts += ["### How many hours of clips", curve_table(sizes)]
        parts.append("![Ranking by hours of clips](game/curve.png)")
    parts += ["### Clips", "![Clips](game/clips.png)", heard(out, folder)]
    parts.append(
        f"{SHEET} clips of the unguided baseline, drawn at random, for somebody to name their "
        "scenarios:\n\n![Clips](game/scenarios.png)\n\n"
        f"<details><summary>Asked for, row by row</summary>{', '.join(scenarios)}</details>"
    )
    parts += ["### The readers", readers_table(read_object(out / "readers" / "figures.json"))]
    durations = read_object(out / "pair" / "training" / "durations.json")
    rows = [[name, f"{seconds / 3600:.2f}"] for name, seconds in durations.items()]
    parts += ["### What the pair cost", markdown_table(("stage", "CPU hours"), rows)]
    return "\n\n".join(parts)


def agreement_table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Format what is seen and heard at once, of each row."""
    head = ["", *(cell for name in AGREEMENT for cell in (name, "recombined", "gap closed"))]
    body: list[list[str]] = []
    for name, own in rows.items():
        cells = [name]
        for figure in AGREEMENT:
            one = own.get(figure, {})
            cells += [_spread(one, "value", "error"), _spread(one, "control", "control error")]
            known = (one.get("gap error") or 0.0) < UNCERTAIN
            cells.append(_spread(one if known else {}, "gap closed", "gap error"))
        body.append(cells)
    return markdown_table(head, body)


def fidelity_table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Format what is recognised in the clips of each row, and how far they are from real ones."""
    head = ("", "scenario", "sound", "Fréchet video", "Fréchet audio")
    body = [
        [
            name,
            *(_number(own["recognised"].get(one)) for one in ("scenario", "sound")),
            *(_number(own["frechet"].get(side)) for side in ("video", "audio")),
        ]
        for name, own in rows.items()
    ]
    return markdown_table(head, body)


def ranking_table(ranking: Mapping[str, Mapping[str, Any]]) -> str:
    """Format the ranking of clean pairs, and its mean over the noise levels."""
    head = ("clips", "discriminator", "wrong sounds", "clean", "mean over noise levels")
    body = [
        [
            PARTS[part],
            name,
            kind,
            f"{own[kind]['ranking'][0]:.3f} ± {own[kind]['error'][0]:.3f}",
            f"{own[kind]['mean']:.3f}",
        ]
        for part, networks in ranking.items()
        for name, own in networks.items()
        for kind in COLOURS
        if kind in own
    ]
    return markdown_table(head, body)


def curve_table(sizes: list[dict[str, Any]]) -> str:
    """Format the ranking of clean pairs by hours of clips."""
    head = ("hours", "clips", "updates", *(f"wrong sounds {kind}" for kind in COLOURS))
    body = [
        [
            f"{one['hours']:g}",
            f"{one['trained on']:,}",
            f"{one['steps']:,}",
            *(
                f"{one[kind]['ranking'][0]:.3f} ± {one[kind]['error'][0]:.3f}"
                if kind in one
                else DASH
                for kind in COLOURS
            ),
        ]
        for one in sizes
    ]
    return markdown_table(head, body)


def readers_table(figures: Mapping[str, Any]) -> str:
    """Format F1 of the readers against the game's own record, of what can be seen or heard."""
    tables = {
        (part, side): figures[part]["f1"][side]["can be"]
        for part in PARTS
        for side in ("seen", "heard")
    }
    kinds = list(dict.fromkeys(kind for table in tables.values() for kind in table))
    body = [
        [f"{PARTS[part]}, {side}", *(_number(table.get(kind, {}).get("f1")) for kind in kinds)]
        for (part, side), table in tables.items()
    ]
    count, tolerance = figures["validation"]["clips"], figures["tolerance"]
    said = f"F1 at ±{tolerance:g} s, {count} clips of each part, seed {figures['seed']}."
    return f"{said}\n\n{markdown_table(('', *kinds), body)}"


def draw_ranking(path: Path, ranking: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw both rankings of the discriminator by noise level, a part beside the other."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    for axes, (part, networks) in zip(
        np.atleast_1d(figure.subplots(1, len(ranking))), ranking.items(), strict=True
    ):
        own = networks["discriminator"]
        for kind, colour in COLOURS.items():
            if kind in own:
                _draw(axes, own["u"], own[kind], colour, f"wrong sounds {kind}")
        axes.set(title=PARTS[part], xlabel="noise level u (0 is clean)")
    _save(figure, path)


def draw_curve(path: Path, sizes: list[dict[str, Any]]) -> None:
    """Draw the ranking of clean pairs by hours, and by noise level for each size."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    hours = [one["hours"] for one in sizes]
    for kind, colour in COLOURS.items():
        if all(kind in one for one in sizes):
            clean = {name: [one[kind][name][0] for one in sizes] for name in ("ranking", "error")}
            _draw(left, hours, clean, colour, f"wrong sounds {kind}")
    left.set(xscale="log", xlabel="hours of clips", title="clean pairs")
    for place, one in enumerate(sizes):
        colour = str(0.75 * (1 - place / max(1, len(sizes) - 1)))
        _draw(right, one["u"], one[ANY], colour, f"{one['hours']:g} hours")
    right.set(xlabel="noise level u (0 is clean)", title=f"wrong sounds {ANY}")
    _save(figure, path)


def _draw(axes: Axes, x: list[float], own: Mapping[str, Any], colour: str, label: str) -> None:
    axes.errorbar(x, own["ranking"], own["error"], fmt=".-", color=colour, label=label, capsize=2)
    axes.axhline(0.5, color="grey", linewidth=0.8)
    axes.set(ylabel="ranking", ylim=(0.4, 1.02))
    axes.legend()


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as beside:
        figure.savefig(beside, dpi=100, format="png", metadata={"Software": None})


def cells_of(out: Path, name: str) -> Path:
    """Return the folder of clips of a row, on other seeds of the game, of the first noise."""
    slug = name.lower().replace(",", "").replace(" ", "-")
    return max((out / "evaluation" / "clips").glob(f"validation-{slug}-0-*"), key=_changed)


def shown(out: Path) -> dict[str, Any]:
    """Return clips of the same captions: real, unguided and joint, of the same noise, by title."""
    folders = {"real": "real clips", UNGUIDED: UNGUIDED, "joint": "joint"}
    places = {title: cells_of(out, name) for title, name in folders.items()}
    return {
        f"{title}, {Path(name).stem.rsplit('-', 2)[0]}": read_clip(place / name)
        for name in chosen_names(out)
        for title, place in places.items()
    }


def heard(out: Path, folder: Path) -> str:
    """Copy the generated ones of the clips shown into ``folder``; return links to play them."""
    lines: list[str] = []
    for place, name in enumerate(chosen_names(out)):
        links: list[str] = []
        for title, row in (("alone", UNGUIDED), ("together", "joint")):
            copy = folder / f"clip-{place}-{title}.mp4"
            with replacing(copy) as beside:
                shutil.copyfile(cells_of(out, row) / name, beside)
            links.append(f"[{title}](game/{copy.name})")
        lines.append(f"- “{caption_of(out, name)}”: {', '.join(links)}")
    return "\n".join(["To be played, of the same noise each:", "", *lines])


def caption_of(out: Path, name: str) -> str:
    """Return the caption of a clip of other seeds."""
    clips = listed(out / "clips" / "validation")
    return next(one.caption for one in clips if one.path.name == name)


def chosen_names(out: Path) -> list[str]:
    """Return the names of the clips that are shown, drawn at random."""
    names = sorted(path.name for path in cells_of(out, "joint").glob("*.mp4"))
    return random.Random(0).sample(names, min(SHOWN, len(names)))


def draw_sheet(path: Path, out: Path) -> list[str]:
    """Draw the middle picture of random unguided clips; return the scenarios asked for."""
    clips = sorted(cells_of(out, UNGUIDED).glob("*.mp4"))
    chosen = random.Random(0).sample(clips, min(SHEET, len(clips)))
    pictures = [read_clip(one).video.frames for one in chosen]
    sheet = contact_sheet(np.stack([one[len(one) // 2] for one in pictures]), 4)
    image = Image.fromarray(np.round(sheet.clip(0, 1) * 255).astype(np.uint8))
    with replacing(path) as beside:
        image.resize((2 * image.width, 2 * image.height)).save(beside, "PNG")
    return [one.stem.rsplit("-", 2)[0] for one in chosen]


def _changed(path: Path) -> float:
    return path.stat().st_mtime


def _spread(record: Mapping[str, Any], value: str, error: str) -> str:
    if record.get(value) is None:
        return DASH
    spread = "" if record.get(error) is None else f" ± {record[error]:.3f}"
    return f"{record[value]:.3f}{spread}"


def _number(value: float | None) -> str:
    return DASH if value is None else f"{value:.3f}"


def _seeds(seeds: list[int]) -> str:
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"


def _versions(figures: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {one}" for name, one in figures["versions"].items())


if __name__ == "__main__":
    main()

"""docs/film.md and its pictures, from what the commands gave."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmdisco.io.files import read_json, replacing, write_text
from mmdisco.media.clip import AudioVideo
from mmdisco.media.plots import draw_clips
from mmdisco.media.read import ReadSpec, read_clip

CLIPS: Final = 24
COLOURS: Final = {"film": "#1f6fb2", "additive": "#c4572c"}
NAMES: Final = {"film": "products and time", "additive": "additive (control)"}
SCORES: Final = {
    "accuracy": "right signs of the logit",
    "ranking": "ranking (area under ROC)",
    "matching": "two sounds given back to two clips",
}
SHOWN: Final = 2  # of each kind in the picture of clips
AUDIBLE: Final = 0.01
SMALL: Final = ReadSpec(size=(64, 64))


@dataclass(frozen=True)
class Told:
    """What the tutorial gave.

    Attributes:
        commands: The words after ``mmdisco``, by name.
        figures: Of ``measure``.
        memory: Of ``mmdisco evaluate``.
    """

    commands: Mapping[str, str]
    figures: Mapping[str, Any]
    memory: Mapping[str, Any]


def write_page(out: Path, docs: Path, told: Told) -> None:
    """Write ``docs/film.md`` and ``docs/film/``."""
    folder = docs / "film"
    draw_figures(folder / "figures.png", told.figures)
    draw_clips(folder / "clips.png", shown(out))
    text = (Path(__file__).parent / "page.md").read_text(encoding="utf-8")
    training = (out / "training.yaml").read_text(encoding="utf-8").strip()
    parts = {
        **{name: f"mmdisco {words}" for name, words in told.commands.items()},
        "training": training,
        "clips": clip_counts(out),
        "fakes_made": str(sum(made(out).values())),
        "scores": scores(told.figures),
        "summary": summary(told.figures),
        "memory": memory(told.memory),
        "count": str(told.figures["clips"]),
        "apart": f"{told.figures['seconds']:g}",
        "generated": str(CLIPS),
    }
    for name, value in parts.items():
        text = text.replace(f"{{{{{name}}}}}", value)
    write_text(docs / "film.md", text)


def clip_counts(out: Path) -> str:
    """How many clips there are, and why some are not."""
    report = read_json(out / "data" / "report.json")
    kept = read_json(out / "data" / "prepared.json")["clips"]
    why = [f"{count} dropped ({reason})" for reason, count in report["dropped_clips"].items()]
    why.append(f"{report['left_out_between_splits']} left out between the splits")
    return ", ".join([f"{kept['train']} clips to train on, {kept['validation']} held out", *why])


def made(out: Path) -> dict[str, int]:
    """Fakes of either part."""
    return {
        part: sum(read_json(out / "fakes" / part / "store.json")["lengths"])
        for part in ("train", "validation")
    }


def scores(figures: Mapping[str, Any]) -> str:
    """The table of all noise levels."""
    lines = [
        "| noise u | discriminator: accuracy | ranking | matching | additive: accuracy | ranking | "
        "matching |",
        "|" + " --- |" * 7,
    ]
    for row, u in enumerate(figures["u"]):
        cells = [spread(figures[f"{name} all"][row][score]) for name in COLOURS for score in SCORES]
        lines.append(f"| {u:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def summary(figures: Mapping[str, Any]) -> str:
    """Clean clips, all and the louder half, as a table."""
    lines = ["| clean clips | accuracy | ranking | matching |", "|" + " --- |" * 4]
    for name, title in NAMES.items():
        for part in ("all", "loud"):
            cells = [spread(figures[f"{name} {part}"][0][score]) for score in SCORES]
            who = f"{title}, {'all' if part == 'all' else 'the louder half'}"
            lines.append(f"| {who} | " + " | ".join(cells) + " |")
        cells = [spread(figures[f"{name} near"][0][score]) for score in SCORES]
        lines.append(f"| {title}, wrong sounds of the same ten seconds | {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(figure: list[float]) -> str:
    """A figure with its interval."""
    return "{:.3f} ({:.3f} to {:.3f})".format(*figure)


def memory(record: Mapping[str, Any]) -> str:
    """The distances to the nearest training clip."""
    lines = ["| distance to the nearest training clip | generated | held out |", "|" + " --- |" * 3]
    for figure in record["metrics"]:
        name = figure["metric"].removeprefix("nearest training clip, ")
        if figure["value"] is not None:
            (held,) = figure["baseline"].values()
            lines.append(f"| {name} | {figure['value']:.3g} | {held:.3g} |")
    return "\n".join(lines)


def draw_figures(path: Path, figures: Mapping[str, Any]) -> None:
    """The three scores of both discriminators by noise level."""
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    for axes, (score, title) in zip(figure.subplots(1, 3), SCORES.items(), strict=True):
        _draw(axes, figures, score)
        axes.set(title=title, xlabel="noise level u (0 is clean)", ylim=(0.3, 1.0))
    with replacing(path) as beside:
        figure.savefig(beside, dpi=100, metadata={"Software": None})


def _draw(axes: Axes, figures: Mapping[str, Any], score: str) -> None:
    for name, colour in COLOURS.items():
        rows = [row[score] for row in figures[f"{name} all"]]
        middle, low, high = zip(*rows, strict=True)
        axes.plot(figures["u"], middle, ".-", color=colour, label=NAMES[name])
        axes.fill_between(figures["u"], low, high, color=colour, alpha=0.2, linewidth=0)
    axes.axhline(0.5, color="grey", linewidth=0.8)
    axes.legend()


def shown(out: Path) -> dict[str, AudioVideo]:
    """Held-out clips, and clips made with and without the discriminator, by title.

    Those that were made are the first that can be heard in both ways, of the same noise; a clip
    that is silent alone mostly stays so, and shows nothing of its sound.
    """
    made = [sorted((out / name).glob("*.mp4")) for name in ("alone", "clips")]
    both = [pair for pair in zip(*made, strict=True) if all(map(heard, pair))]
    folders = {
        "held out": sorted((out / "cut" / "validation").glob("*.mp4"))[10::40],
        "the two models alone": [alone for alone, _ in both],
        "with the film's discriminator": [guided for _, guided in both],
    }
    return {
        f"{title}, {number}": read_clip(path, SMALL)
        for title, paths in folders.items()
        for number, path in enumerate(paths[:SHOWN], start=1)
    }


def heard(path: Path) -> bool:
    """Whether the sound of a clip rises above -40 dB of the largest that a file can hold."""
    return float(abs(read_clip(path, SMALL).audio.waveform).max()) > AUDIBLE

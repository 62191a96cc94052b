"""Model card of a trained discriminator, with its curves."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from matplotlib.figure import Figure

from mmdisco.io.files import MOST_LIST_BYTES, parse_json, read_text, replacing, write_text
from mmdisco.io.reports import markdown_table
from mmdisco.training.config import DECIDING

Line = Mapping[str, Any]


def read_log(path: Path) -> list[Line]:
    """Read the lines of a training's log."""
    lines = read_text(path, MOST_LIST_BYTES).splitlines()
    return [parse_json(line, str(path)) for line in lines]


def last_measure(lines: Sequence[Line]) -> Mapping[str, Any] | None:
    """Return the last measurement on held-out pairs, with its step."""
    measured = [line for line in lines if "held_out" in line]
    return {"step": measured[-1]["step"], **measured[-1]["held_out"]} if measured else None


def write_card(folder: Path, facts: Mapping[str, Any], lines: Sequence[Line]) -> None:
    """Write ``curves.png`` and ``README.md``.

    Args:
        folder: Folder of the discriminator.
        facts: ``preset``, ``clips``, ``bases``, ``training`` and, where no preset names them,
            ``models``, as in ``config.json``.
        lines: Lines of the log.
    """
    _draw(folder / "curves.png", lines)
    head = yaml.safe_dump({"library_name": "mmdisco", "tags": ["audio", "video", "diffusion"]})
    clips, training = facts["clips"], facts["training"]
    settings = yaml.safe_dump(
        {key: training[key] for key in DECIDING},
        sort_keys=False,
    )
    text = f"""---
{head}---

# A discriminator for {facts["preset"]}

It separates pairs of sound and video that belong together from samples of {_models(facts)};
its gradient guides them to sample jointly.

```sh
mmdisco generate "…" {_options(facts)} --discriminator FOLDER
```

## Data

{clips["train"]} clips to train on, {clips["validation"]} held out, {clips["captions"]} different
captions; {clips["fakes"]} fake pairs. SHA-256 of the manifest: `{clips["sha256"]}`.

## Scores on held-out clips

{_table(last_measure(lines))}

![Curves](curves.png)

## Settings

```yaml
{settings}```
"""
    write_text(folder / "README.md", text)


def _models(facts: Mapping[str, Any]) -> str:
    models = facts.get("models")
    if models is None:
        return f"the models of the\npreset `{facts['preset']}`"
    named = " and\n".join(f"`{one['model']}` ({one['pipeline']})" for one in models.values())
    return f"{named}{', each by itself' if len(models) > 1 else ''}"


def _options(facts: Mapping[str, Any]) -> str:
    models = facts.get("models")
    if models is None:
        return f"--preset {facts['preset']}"
    return " ".join(
        f"--{side}-model {shlex.quote(models[side]['model'])}"
        for side in sorted(models, reverse=True)
    )


def _table(measure: Mapping[str, Any] | None) -> str:
    if measure is None:
        return "No held-out pairs were measured."
    rows = zip(
        measure["angle"],
        measure["against_fake"]["accuracy"],
        measure["against_fake"]["ranking"],
        measure["against_shuffled"]["ranking"],
        strict=True,
    )
    head = (
        "noise",
        "accuracy, real against fake",
        "ranking, real against fake",
        "ranking, real against shuffled",
    )
    return (
        f"After {measure['step']} steps. Noise is the angle (2/π) atan(σ/α), 0 clean and 1 noise "
        "alone. Accuracy is the share\nof right signs; ranking the probability that a real pair "
        "has a larger logit than another one (0.5 is chance).\n\n"
        + markdown_table(head, [[f"{value:.3f}" for value in row] for row in rows])
    )


def _draw(path: Path, lines: Sequence[Line]) -> None:
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    losses, rankings = figure.subplots(1, 2)
    logged = [line for line in lines if "discrimination" in line]
    for name in ("discrimination", "denoising_audio", "denoising_video"):
        losses.plot([line["step"] for line in logged], [line[name] for line in logged], label=name)
    losses.set(xlabel="step", title="losses", yscale="log")
    measured = [line for line in lines if "held_out" in line]
    for name in ("against_fake", "against_shuffled"):
        values = [line["held_out"][name]["ranking"] for line in measured]
        rankings.plot(
            [line["step"] for line in measured],
            [sum(one) / len(one) for one in values],
            label=name.replace("_", " "),
        )
    rankings.axhline(0.5, color="grey", linewidth=0.8)
    rankings.set(xlabel="step", title="held-out ranking, mean over levels", ylim=(0, 1))
    for axes in (losses, rankings):
        if axes.lines and axes.get_legend_handles_labels()[0]:
            axes.legend()
    with replacing(path) as beside:
        # no version in the file, so that equal runs give equal images
        figure.savefig(beside, dpi=100, metadata={"Software": None})

"""``mmdisco presets``: every pair that can be named."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmdisco.errors import UserError

if TYPE_CHECKING:
    from mmdisco.generation.presets.registry import Preset
    from mmdisco.generation.system import SamplingDefaults


def presets(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
    weights: Annotated[
        Path | None,
        typer.Option(help="Folder of weights; MMDISCO_WEIGHTS or ~/.cache/mmdisco otherwise."),
    ] = None,
) -> None:
    """The pairs that can generate: parts, sizes, licences, settings, and whether files are here."""
    (show_json if as_json else show_table)(weights)


def show_table(weights: Path | None) -> None:
    """Print a table, then where weights are looked for."""
    from rich.console import Console
    from rich.table import Table

    from mmdisco.generation.config import SystemConfig
    from mmdisco.generation.presets.registry import PRESETS, preset

    options = SystemConfig(weights=weights)
    table = Table(show_lines=True)
    for title in ("preset", "parts", "GB", "licence", "here", "settings", "memory"):
        table.add_column(title, overflow="fold")
    for one in map(preset, PRESETS):
        parts, here = one.components, one.present(options)
        table.add_row(
            one.name,
            "\n".join(f"{part.role}: {part.source}" for part in parts),
            "\n".join(f"{part.gigabytes:.1f}" for part in parts),
            "\n".join(part.licence for part in parts),
            "\n".join("yes" if is_here else "no" for is_here in here),
            "\n".join(filter(None, (_settings(one), one.remark))),
            f"{one.memory:g} GB",
        )
    # a terminal's own width where there is one; what is piped is not to be cut
    console = Console()
    Console(width=console.width if console.is_terminal else 200).print(table)
    typer.echo(f"weights that are not in the cache of the hub: {options.folder}")


def show_json(weights: Path | None) -> None:
    """Print a list of records."""
    from mmdisco.generation.presets.registry import PRESETS, preset

    records = [_record(preset(name), weights) for name in PRESETS]
    typer.echo(json.dumps(records, indent=1, ensure_ascii=False))


def _record(preset: "Preset", weights: Path | None) -> dict[str, Any]:
    from mmdisco.generation.config import SystemConfig

    parts, here = preset.components, preset.present(SystemConfig(weights=weights))
    form, sampling = preset.form, _sampling(preset)
    return {
        "preset": preset.name,
        "parts": [
            {
                "role": part.role,
                "source": part.source,
                "gigabytes": part.gigabytes,
                "licence": part.licence,
                "present": one,
            }
            for part, one in zip(parts, here, strict=True)
        ],
        "present": all(here),
        "seconds": float(form.seconds),
        "fps": float(form.fps),
        "size": list(form.size),
        "sample_rate": form.sample_rate,
        "sampling": None
        if sampling is None
        else {
            "steps": sampling.steps,
            "scheduler": sampling.scheduler,
            "cfg_scale": [sampling.cfg_scale.audio, sampling.cfg_scale.video],
            "joint_scale": [sampling.joint_scale.audio, sampling.joint_scale.video],
        },
        "memory_gigabytes": preset.memory,
        "remark": preset.remark,
    }


def _settings(preset: "Preset") -> str:
    form, sampling = preset.form, _sampling(preset)
    height, width = form.size
    clips = f"{float(form.seconds):g} s, {height}x{width} at {float(form.fps):g} fps"
    if sampling is None:
        return clips
    prompts, joint = sampling.cfg_scale, sampling.joint_scale
    steps = f"{sampling.steps} steps of {sampling.scheduler}"
    if sampling.few_steps:
        few = sampling.in_steps(sampling.few_steps)
        steps += (
            f" (up to {few.steps}: {few.scheduler}, joint scales × {sampling.few_steps_scale:g})"
        )
    return (
        f"{clips}\n{steps}\n"
        f"prompt {prompts.audio:g}, {prompts.video:g}; joint {joint.audio:g}, {joint.video:g}"
    )


def _sampling(preset: "Preset") -> "SamplingDefaults | None":
    """None where the settings come with weights that are not here."""
    try:
        return preset.sampling()
    except UserError:
        return None

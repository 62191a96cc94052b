"""Pairs by their names, and results of a benchmark: JSON records and a Markdown table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from mmdisco.errors import UserError
from mmdisco.experiments.benchmark.measure import Measured
from mmdisco.experiments.benchmark.profiler import Cost
from mmdisco.experiments.benchmark.systems import PAIRS, BenchmarkPair, NamedModels
from mmdisco.experiments.config import BenchmarkConfig
from mmdisco.io.files import expect_writable, read_json, write_json, write_text
from mmdisco.io.reports import markdown_table, versions

PACKAGES: Final = ("mmdisco", "torch", "diffusers", "transformers")
GIB: Final = 2**30
HEADINGS: Final = (
    "part",
    "weights",
    "runs",
    "median s",
    "CPU s",
    "share of the step",
    "TFLOP",
    "peak GiB",
)

INTRODUCTION: Final = """\
# What a guided step costs

Written by `mmdisco experiments bench`: networks of the published sizes with random weights (the
embedded pair with its own), parts of the very step that `mmdisco generate` takes. A pair named "as
released" takes the step of the published code (`generate --as-released`), which evaluates the
discriminator with the caption and without. The discriminator includes its gradient, or is the
network that stands in its place where guidance is distilled (`--guidance distilled`); what is left
over is the scheduler's, classifier-free guidance included. Where one gradient serves several steps
(`--joint-every`), costs are of as many steps.

- Times are medians of the steps that were timed. CPU seconds are of all threads.
- Peaks are of the whole process while the part ran, all weights included.
- Operations are those of matrix products, convolutions and attention.
- Times of different runs cannot be compared, shares and ratios can.
"""


def record_of(measured: Measured, setting: BenchmarkConfig) -> dict[str, Any]:
    """Convert costs and conditions to JSON's types."""
    parts = {part: _part(measured, part) for part in measured.parts}
    return {
        "latents": {
            "audio": list(measured.shapes.audio),
            "video": list(measured.shapes.video),
        },
        "dtype": {
            "base_models": setting.dtype,
            "discriminator": "float32",
        },
        "device": setting.device,
        "threads": torch.get_num_threads(),
        "seed": setting.seed,
        "repeats": len(measured.steps),
        "steps_a_round": setting.joint_every,
        **versions(*PACKAGES),
        "parts": parts,
        "discriminator relative to the base models": {
            key: round(value, 5) for key, value in measured.ratios.items()
        },
        "peak_bytes": measured.peak_bytes or None,
    }


def document(records: Mapping[str, Mapping[str, Any]]) -> str:
    """Format a Markdown page of all measured pairs, each under its name."""
    sections = [f"## {name}\n\n{table(record)}" for name, record in records.items()]
    return "\n".join([INTRODUCTION, *sections])


def table(record: Mapping[str, Any]) -> str:
    """Format one pair's costs as a Markdown table, with totals and conditions."""
    rows = [_row(name, part) for name, part in record["parts"].items()]
    lines = [markdown_table(HEADINGS, rows), ""]
    ratios = record["discriminator relative to the base models"]
    lines.append(
        f"The discriminator is {_percent(ratios['seconds'])} of the base models by time, "
        f"{_percent(ratios['cpu_seconds'])} by CPU time, {_percent(ratios['flops'])} by operations."
    )
    if record["peak_bytes"]:
        lines.append(f"Peak memory: {record['peak_bytes'] / GIB:.2f} GiB.")
    lines += ["", _conditions(record), ""]
    return "\n".join(lines)


def _part(measured: Measured, part: str) -> dict[str, Any]:
    cost: Cost = measured.cost(part)
    return {
        "weights": measured.weights.get(part),
        "runs": cost.runs,
        "median_seconds": round(cost.seconds, 5),
        "seconds": [round(step[part].seconds, 5) for step in measured.steps],
        "median_cpu_seconds": round(cost.cpu_seconds, 5),
        "cpu_seconds": [round(step[part].cpu_seconds, 5) for step in measured.steps],
        "share": round(measured.share(part), 5),
        "flops": cost.flops,
        "peak_bytes": cost.peak_bytes or None,
    }


def _row(name: str, part: Mapping[str, Any]) -> tuple[str, ...]:
    weights, peak = part["weights"], part["peak_bytes"]
    return (
        name,
        "" if weights is None else f"{weights:,}",
        str(part["runs"]),
        f"{part['median_seconds']:.3f}",
        f"{part['median_cpu_seconds']:.3f}",
        _percent(part["share"]),
        f"{part['flops'] / 1e12:.3f}",
        "" if peak is None else f"{peak / GIB:.2f}",
    )


def _conditions(record: Mapping[str, Any]) -> str:
    latents = {
        side: "×".join(str(size) for size in shape) for side, shape in record["latents"].items()
    }
    versions = ", ".join(f"{name} {record[name]}" for name in ("python", *PACKAGES))
    return (
        f"Latents {latents['audio']} and {latents['video']}, {record['dtype']['base_models']}, "
        f"{record['device']}, threads: {record['threads']}, {_timed(record)}, "
        f"seed {record['seed']}; {versions}."
    )


def _timed(record: Mapping[str, Any]) -> str:
    steps = record.get("steps_a_round", 1)
    rounds = "steps" if steps == 1 else f"rounds of {steps} steps"
    return f"{rounds} timed: {record['repeats']}"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


EVERY: Final = ", a gradient for "
DISTILLED: Final = ", distilled"


def write_record(out: Path, pair: str, record: Mapping[str, Any]) -> None:
    """Write a pair's record beside those of the others, and the table of all.

    Raises:
        UserError: The file cannot be written.
    """
    # read again: another process may have written another pair's record
    records = {**_read(out), pair: record}
    others = sorted({_pair(title) for title in records} - set(PAIRS))
    in_order = {
        title: records[title]
        for name in (*PAIRS, *others)
        for title in sorted(records)
        if _pair(title) == name
    }
    write_json(out, in_order)
    write_text(out.with_suffix(".md"), document(in_order))


def pair_of(setting: BenchmarkConfig) -> BenchmarkPair:
    """Return the pair.

    Raises:
        UserError: There is none of that name, or a pair and models are named, or neither.
    """
    if (setting.pair is None) != bool(setting.models):
        raise UserError("name a pair, or --video-model and --audio-model, or --joint-model")
    if setting.pair is None:
        return NamedModels(setting.models)
    if setting.pair not in PAIRS:
        raise UserError(f"unknown pair {setting.pair!r}: choose one of {', '.join(PAIRS)}")
    return PAIRS[setting.pair]()


def title_of(setting: BenchmarkConfig) -> str:
    """Return the heading of a record: the pair, how it is guided, and how many steps share that."""
    name = setting.title if setting.guidance == "gradient" else f"{setting.title}{DISTILLED}"
    return name if setting.joint_every == 1 else f"{name}{EVERY}{setting.joint_every}"


def _pair(title: str) -> str:
    return title.partition(EVERY)[0].removesuffix(DISTILLED)


def expect_device(name: str) -> None:
    """Check that a device is there and its memory can be measured.

    Raises:
        UserError: It is not.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:
        raise UserError(f"device {name!r} cannot be used here: leave --device out") from error
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device {name!r}: memory is measured of cpu and cuda alone")


def expect_ours(out: Path) -> None:
    """Check, before measuring, that a file can be written and is nothing else.

    Raises:
        UserError: It cannot be written, or holds something else.
    """
    if out.suffix == ".md":
        raise UserError(f"{out} is where the table would go: give a name that ends in .json")
    expect_writable(out)
    expect_writable(out.with_suffix(".md"))
    _read(out)


def _read(out: Path) -> dict[str, Any]:
    """Read the records of earlier runs, by pair."""
    if not out.is_file():
        return {}
    records = read_json(out)
    if not isinstance(records, dict) or not all(
        isinstance(one, dict) and "parts" in one for one in records.values()
    ):
        raise UserError(f"{out} holds something else: give the name of another file")
    return records

"""Benchmark from names and files to a JSON record and a Markdown table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch

from mmdisco.errors import UserError
from mmdisco.experiments.benchmark.base_models import BenchmarkConfig
from mmdisco.experiments.benchmark.measure import Measured, measure
from mmdisco.experiments.benchmark.profiler import Cost
from mmdisco.experiments.benchmark.systems import PAIRS, BenchmarkPair, TwoPipelines
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
discriminator with the caption and without. The discriminator includes its gradient; what is left
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
            "base_models": str(setting.dtype).removeprefix("torch."),
            "discriminator": "float32",
        },
        "device": str(setting.device),
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


DTYPES: Final = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
EVERY: Final = ", a gradient for "


@dataclass(frozen=True)
class BenchmarkArgs:
    """Arguments of a benchmark.

    Attributes:
        pair: A name of ``PAIRS``; None where two models are named.
        setting: Sizes and seed; device and type are taken from the names below.
        dtype: A name of ``DTYPES``.
        device: Device by torch's name, such as "cuda:0".
        repeats: Number of timed rounds.
        warm_up: Whether there is a round before them.
        threads: CPU threads; ``None`` leaves them to torch.
        out: JSON file; the table is written beside it, with the suffix ``.md``. Its records of
            other pairs are kept.
        video_model: A video pipeline, by its folder or id.
        audio_model: An audio pipeline beside it.
    """

    pair: str | None
    setting: BenchmarkConfig
    dtype: str = "float32"
    device: str = "cpu"
    repeats: int = 3
    warm_up: bool = True
    threads: int | None = None
    out: Path | None = None
    video_model: str | None = None
    audio_model: str | None = None

    def build(self) -> BenchmarkPair:
        """Return the pair.

        Raises:
            UserError: There is none of that name, or one model, or both.
        """
        models = (self.video_model, self.audio_model)
        if (self.pair is None) != all(models) or (self.pair is not None and any(models)):
            raise UserError("name a pair, or --video-model and --audio-model")
        if self.pair is None:
            return TwoPipelines(str(self.video_model), str(self.audio_model))
        if self.pair not in PAIRS:
            raise UserError(f"unknown pair {self.pair!r}: choose one of {', '.join(PAIRS)}")
        return PAIRS[self.pair]()

    @property
    def name(self) -> str:
        """Name of the pair."""
        return self.pair or f"{self.video_model} with {self.audio_model}"


def carry_out(order: BenchmarkArgs, watch: Callable[[int], object] = lambda _: None) -> str:
    """Measure, and write the files.

    Args:
        order: Arguments.
        watch: Called after every round with the number of timed rounds.

    Returns:
        The table.

    Raises:
        UserError: An argument is invalid, or a file cannot be written.
    """
    pair = order.build()
    if order.dtype not in DTYPES:
        raise UserError(f"unknown type {order.dtype!r}: choose one of {', '.join(DTYPES)}")
    if order.repeats < 1:
        raise UserError(f"{order.repeats} repeats: ask for 1 or more")
    if order.threads is not None and order.threads < 1:
        raise UserError(f"{order.threads} threads: ask for 1 or more")
    setting = replace(order.setting, device=_device(order.device), dtype=DTYPES[order.dtype])
    if order.out is not None:
        _expect_ours(order.out)
    before = torch.get_num_threads()
    torch.set_num_threads(order.threads or before)
    record: dict[str, Any] = {}
    try:
        for measured in measure(pair, setting, order.repeats, warm_up=order.warm_up):
            record = record_of(measured, setting)
            watch(len(measured.steps))
            # a step can take minutes: measurements are kept when the rest is interrupted
            if order.out is not None:
                _write(order.out, _title(order), record)
    finally:
        torch.set_num_threads(before)
    return table(record)


def _write(out: Path, pair: str, record: Mapping[str, Any]) -> None:
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


def _title(order: BenchmarkArgs) -> str:
    every = order.setting.joint_every
    return order.name if every == 1 else f"{order.name}{EVERY}{every}"


def _pair(title: str) -> str:
    return title.partition(EVERY)[0]


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:
        raise UserError(f"device {name!r} cannot be used here: leave --device out") from error
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device {name!r}: memory is measured of cpu and cuda alone")
    return device


def _expect_ours(out: Path) -> None:
    """Refuse, before measuring, a file that cannot be written or is something else."""
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

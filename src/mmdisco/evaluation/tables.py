"""Results of an evaluation as a Markdown table, with all they depend on below it."""

import math
from collections.abc import Sequence

from mmdisco.evaluation.evaluate import Evaluation
from mmdisco.evaluation.metrics.result import Interval, MetricResult, Outcome, Skipped

HEADER = ("metric", "better", "value", "95 % interval", "clips", "against", "notes")


def markdown(evaluation: Evaluation) -> str:
    """Format the whole report without clips."""
    lines = [table(evaluation.outcomes), ""]
    counts = ", ".join(f"{len(found)} {name}" for name, found in evaluation.clips.items())
    lines += [f"Clips: {counts}; {evaluation.form}.", ""]
    lines += ["| extractor | version | preprocessing |", "| --- | --- | --- |"]
    lines += [
        f"| {e.name} | `{e.version}` | {e.preprocessing} |" for e in evaluation.tools.extractors
    ]
    lines.append("")
    if evaluation.problems:
        lines += ["| clip | what | in the figures |", "| --- | --- | --- |"]
        lines += [
            f"| {one.clip} | {one.what} | {'yes' if one.kept else 'no'} |"
            for one in evaluation.problems
        ]
        lines.append("")
    lines.append(", ".join(f"{name} {value}" for name, value in evaluation.conditions.items()))
    return "\n".join(lines)


def table(outcomes: Sequence[Outcome]) -> str:
    """Format one row per outcome."""
    lines = [f"| {' | '.join(HEADER)} |", f"|{' --- |' * len(HEADER)}"]
    lines += [f"| {' | '.join(row(one))} |" for one in outcomes]
    return "\n".join(lines)


def row(outcome: Outcome) -> tuple[str, ...]:
    """Format the cells of one outcome, under ``HEADER``."""
    if isinstance(outcome, Skipped):
        return (outcome.name, "", "not computed", "", "", "", f"needs {outcome.needs}")
    return (
        outcome.name,
        {True: "higher", False: "lower", None: ""}[outcome.higher_is_better],
        number(outcome.value),
        interval(outcome.interval),
        str(outcome.count),
        against(outcome),
        outcome.notes,
    )


def against(figure: MetricResult) -> str:
    """Format the baselines."""
    return ", ".join(f"{name} {number(value)}" for name, value in figure.baseline.items())


def interval(given: Interval | None) -> str:
    """Format both ends."""
    return "" if given is None else f"{number(given.low)} to {number(given.high)}"


def number(value: float) -> str:
    """Format four digits; an en dash for what is not a finite number."""
    return f"{value:.4g}" if math.isfinite(value) else "–"

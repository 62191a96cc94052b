"""Results of an evaluation as a Markdown table, with all they depend on below it."""

import math
from collections.abc import Sequence

from mmdisco.evaluation.evaluate import Evaluation
from mmdisco.evaluation.metrics.result import Interval, MetricResult, Outcome, Skipped
from mmdisco.io.reports import markdown_table

HEADER = ("metric", "better", "value", "95 % interval", "clips", "against", "notes")


def markdown(evaluation: Evaluation) -> str:
    """Format the whole report without clips."""
    counts = ", ".join(f"{len(found)} {name}" for name, found in evaluation.clips.items())
    extractors = [(name, f"`{mark}`", how) for name, mark, how in extractor_rows(evaluation)]
    issues = issue_rows(evaluation)
    parts = [
        table(evaluation.outcomes),
        f"Clips: {counts}; {evaluation.form}.",
        markdown_table(("extractor", "version", "preprocessing"), extractors),
        *([markdown_table(("clip", "issue", "measured"), issues)] if issues else []),
        ", ".join(f"{name} {value}" for name, value in evaluation.conditions.items()),
    ]
    return "\n\n".join(parts)


def table(outcomes: Sequence[Outcome]) -> str:
    """Format one row per outcome."""
    return markdown_table(HEADER, [row(one) for one in outcomes])


def extractor_rows(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    """List name, version and preprocessing of each extractor."""
    return [(one.name, one.version, one.preprocessing) for one in evaluation.tools.extractors]


def issue_rows(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    """List each clip with an issue, and whether it is measured."""
    return [(one.clip, one.what, "yes" if one.kept else "no") for one in evaluation.problems]


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

"""Evaluation from folders to results, independent of options and report formats."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from mmdisco.errors import UserError
from mmdisco.evaluation.clips import ClipFiles, ClipIssue, items
from mmdisco.evaluation.config import EvaluationConfig
from mmdisco.evaluation.extract import (
    CachedFeatures,
    FeatureCache,
    FeatureKey,
    Watch,
    collect,
    full_name,
    kept_of,
    unwatched,
)
from mmdisco.evaluation.metrics.base import EvaluationData
from mmdisco.evaluation.metrics.result import UNGUIDED, MetricResult, Outcome
from mmdisco.evaluation.registry import MetricSuite, extractors_of, suite
from mmdisco.io.reports import versions

PACKAGES: Final = (
    "mmdisco",
    "numpy",
    "torch",
    "av",
    "librosa",
    "opencv-python-headless",
    "onnxruntime",
)


@dataclass(frozen=True)
class Evaluation:
    """Result of an evaluation.

    Attributes:
        outcomes: Results of the metrics, and skipped metrics.
        beside: Results of the unguided baseline; empty without one.
        problems: Clips left out, or kept with a remark.
        form: Format that all clips have.
        clips: Measured clips by role.
        tools: The metric suite.
        conditions: Versions, seed, folders.
    """

    outcomes: list[Outcome]
    beside: list[Outcome]
    problems: list[ClipIssue]
    form: FeatureKey
    clips: dict[str, list[ClipFiles]]
    tools: MetricSuite
    conditions: dict[str, Any]

    def record(self) -> dict[str, Any]:
        """Convert to JSON's types."""
        return {
            "conditions": self.conditions,
            "clips": {name: len(found) for name, found in self.clips.items()},
            "form": asdict(self.form),
            "extractors": [
                {"name": one.name, "version": one.version, "preprocessing": one.preprocessing}
                for one in self.tools.extractors
            ],
            "metrics": [one.record() for one in self.outcomes],
            f"metrics of the {UNGUIDED}": [one.record() for one in self.beside],
            "problems": [asdict(one) for one in self.problems],
        }


def read_part(config: EvaluationConfig, part: int, parts: int, watch: Watch = unwatched) -> int:
    """Extract one of ``parts`` shares of all folders into the cache, without measuring.

    Returns:
        The number of clips in this share.
    """
    tools = extractors_of(config.metrics, config.features)
    count = 0
    for name, folder in config.folders.items():
        mine = items(folder)[0][part::parts]
        collect(mine, config, tools, f"{name}, part {part}", watch)
        count += len(mine)
    return count


def needs(tools: MetricSuite, config: EvaluationConfig) -> list[str]:
    """List how many clips each metric needs and how many there are, before any is read."""
    said = [
        f"{metric.name} needs {metric.min_clips} clips"
        + (" in each of the generated and reference folders" if metric.needs_reference else "")
        + (f" ({metric.more})" if metric.more else "")
        for metric in tools.metrics
    ]
    found = [f"{len(items(folder)[0])} {name}" for name, folder in config.folders.items()]
    return [*said, f"there are {', '.join(found)}"]


def evaluate(
    config: EvaluationConfig,
    notice: Callable[[str], object] = lambda _: None,
    watch: Watch = unwatched,
) -> Evaluation:
    """Extract missing features, then measure.

    Args:
        config: The configuration.
        notice: Called with each line about the number of clips needed, before they are read.
        watch: Called with the progress of reading.

    Raises:
        UserError: A folder has no readable clip, or folders have clips of different formats.
    """
    tools = suite(config.metrics, config.features)
    notice("; ".join(needs(tools, config)))
    problems: list[ClipIssue] = []
    kept: dict[str, list[tuple[ClipFiles, CachedFeatures]]] = {}
    for name, folder in config.folders.items():
        found, alone = items(folder)
        problems += alone
        failures = collect(found, config, tools.extractors, name, watch)
        problems += failures
        kept[name] = list(kept_of(found, config))
        if not kept[name]:
            raise UserError(f"no clip of {folder} can be read; the first: {failures[0].what}")
    form = _common({name: [one.form for _, one in found] for name, found in kept.items()})
    for name, found in kept.items():
        problems += [_of_form(item, one, form) for item, one in found if one.form != form]
        kept[name] = [(item, one) for item, one in found if one.form == form]
        silent = [item for item, one in kept[name] if one.silent]
        problems += [ClipIssue(str(item.sound), "silent", kept=True) for item in silent]
    names = {one.name: full_name(one) for one in tools.extractors}
    readings = {name: FeatureCache(found, names) for name, found in kept.items()}
    reference, training = readings.get("reference"), readings.get("training")
    measured = {
        name: [
            outcome
            for metric in tools.metrics
            for outcome in metric.measure(
                EvaluationData(readings[name], reference, training, config.seed)
            )
        ]
        for name in ("generated", UNGUIDED)
        if name in readings
    }
    beside = measured.get(UNGUIDED, [])
    outcomes = with_baseline(measured["generated"], beside)
    clips = {name: [item for item, _ in found] for name, found in kept.items()}
    return Evaluation(outcomes, beside, problems, form, clips, tools, _conditions(config))


def with_baseline(outcomes: Sequence[Outcome], beside: Sequence[Outcome]) -> list[Outcome]:
    """Add the values of ``beside`` to the baselines of the ``outcomes`` of the same names."""
    others = {one.name: one for one in beside if isinstance(one, MetricResult)}
    return [
        replace(one, baseline={UNGUIDED: others[one.name].value, **one.baseline})
        if isinstance(one, MetricResult) and one.name in others
        else one
        for one in outcomes
    ]


def _common(forms: dict[str, list[FeatureKey]]) -> FeatureKey:
    """Return the format of most clips, which must be the same in every folder."""
    most = {name: Counter(found).most_common(1)[0][0] for name, found in forms.items()}
    if len(set(most.values())) > 1:
        said = "; ".join(f"{name}: {form}" for name, form in most.items())
        raise UserError(
            f"the folders hold clips of different forms ({said}): give --size, --fps, --rate and "
            "--seconds to read all of them alike"
        )
    return most["generated"]


def _of_form(item: ClipFiles, kept: CachedFeatures, form: FeatureKey) -> ClipIssue:
    return ClipIssue(str(item.picture), f"has {kept.form}; the others {form}", kept=False)


def _conditions(config: EvaluationConfig) -> dict[str, Any]:
    return {
        **{name: str(path) for name, path in config.folders.items()},
        "seed": config.seed,
        **versions(*PACKAGES),
    }

"""Reports: HTML pages from jinja2 templates, Markdown tables, means ± deviations, versions."""

import base64
import math
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **values: Any) -> str:
    """Render a template of ``io/templates``; every value is escaped.

    Args:
        template: File name of the template, which extends ``page.html``.
        **values: Variables of the template; ``title`` is that of the page.
    """
    page = _environment().get_template(template).render(**values)
    # file names may hold bytes that are no text, which Python keeps as lone surrogates
    return page.encode("utf-8", "backslashreplace").decode()


def data_uri(path: Path) -> str:
    """Encode a file for a page that needs nothing else."""
    kind = {".mp4": "video/mp4", ".png": "image/png"}[path.suffix]
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def markdown_table(header: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a Markdown table, without a final line feed."""
    head = list(header)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


@dataclass(frozen=True)
class MeanStd:
    """Mean and standard deviation of a metric over seeds.

    Attributes:
        mean: Mean over the seeds.
        deviation: Unbiased standard deviation of a single seed; 0 with one seed.
        seeds: Number of seeds; with one, no deviation is shown.
    """

    mean: float
    deviation: float
    seeds: int = 1

    @staticmethod
    def of(values: Sequence[float]) -> "MeanStd":
        """Compute both from at least one value."""
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        return MeanStd(float(np.mean(values)), deviation, len(values))

    def __str__(self) -> str:
        if math.isnan(self.mean):
            return "–"
        digits = 1 if abs(self.mean) >= 10 else 3
        deviation = f" ± {self.deviation:.{digits}f}" if self.seeds > 1 else ""
        return f"{self.mean:.{digits}f}{deviation}"


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of installed packages and of Python; others are left out."""
    found: dict[str, str] = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # a package of an extra that is not installed
            continue
    return {**found, "python": platform.python_version()}


@cache
def _environment() -> "Environment":
    # records and tables need no templates
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("mmdisco.io"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )

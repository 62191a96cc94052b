"""The report in words: Markdown tables, a row for each noise level."""

from collections.abc import Sequence

from mmdisco.health.record import SIDES, Along, Health


def markdown(health: Health) -> str:
    """A table for each path of noise levels, and how many pairs they are over."""
    parts = [f"## {name}\n\n{_table(along)}" for name, along in health.paths.items()]
    pairs = ", ".join(f"{count} {name}" for name, count in health.pairs.items())
    return "\n\n".join([*parts, f"Pairs: {pairs}."])


def _table(along: Along) -> str:
    names = list(along.reliability)
    head = ["noise angle"]
    for name in names:
        head += [f"accuracy, {name}", f"AUC, {name}", f"calibration error, {name}"]
    head += [f"{side}: base's error, gain" for side in SIDES]
    lines = [_line(head), _line(["---"] * len(head))]
    for level in along.levels:
        cells = [f"{level.angle:.3f}"]
        for name in names:
            told = level.against[name]
            found = (told.accuracy, told.ranking, told.calibration_error)
            cells += [f"{one:.3f}" for one in found]
        for side in SIDES:
            one = level.denoising.get(side)
            cells.append(
                "given" if one is None else f"{one.base:.1f}, {one.gain:.2f} ± {one.error:.2f}"
            )
        lines.append(_line(cells))
    nats = [f"{side} {along.nats(side):.3f}" for side in SIDES if _has(along, side)]
    errors = [f"{name} {error:.3f}" for name, error in along.calibration_error.items()]
    told = f"; calibration error over all levels: {', '.join(errors)}" if errors else ""
    return "\n".join([*lines, "", f"Nats learnt: {', '.join(nats)}{told}."])


def _has(along: Along, side: str) -> bool:
    return all(side in level.denoising for level in along.levels)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"

"""F1 of event times of two modalities under one-to-one matching."""

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.float64]


def matches(first: Times, second: Times, tolerance: float) -> int:
    """Count the pairs of a maximum matching, each event in at most one, no pair farther apart.

    Args:
        first: Ascending times in seconds.
        second: Ascending times in seconds.
        tolerance: Maximum distance in seconds, inclusive.
    """
    i = j = found = 0
    # Taking the earliest admissible partner never costs a later match, since all windows are
    # equal.
    while i < len(first) and j < len(second):
        if abs(first[i] - second[j]) <= tolerance:
            found, i, j = found + 1, i + 1, j + 1
        elif first[i] < second[j]:
            i += 1
        else:
            j += 1
    return found


def event_f1(first: Times, second: Times, tolerance: float) -> float:
    """Compute F1 = 2 matches / (events of both); 0 if neither has any, since nothing happened."""
    events = len(first) + len(second)
    return 2 * matches(first, second, tolerance) / events if events else 0.0

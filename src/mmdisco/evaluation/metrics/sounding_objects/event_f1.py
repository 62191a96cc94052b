"""Event times of two modalities against each other: one-to-one matches and their F1."""

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.float64]


def matches(first: Times, second: Times, tolerance: float) -> int:
    """The largest number of pairs, each event in at most one, no pair farther apart.

    Args:
        first: Ascending instants in seconds.
        second: Likewise.
        tolerance: In seconds, inclusive.
    """
    i = j = found = 0
    # Taking the earliest admissible partner never costs a later match, since all windows are alike.
    while i < len(first) and j < len(second):
        if abs(first[i] - second[j]) <= tolerance:
            found, i, j = found + 1, i + 1, j + 1
        elif first[i] < second[j]:
            i += 1
        else:
            j += 1
    return found


def event_f1(first: Times, second: Times, tolerance: float) -> float:
    """F1 = 2 matches / (events of both); 0 if neither has any, since nothing happened."""
    events = len(first) + len(second)
    return 2 * matches(first, second, tolerance) / events if events else 0.0

"""Seconds to whole steps of a model, with one clear line where they do not fit."""

import math
from fractions import Fraction

from mmdisco.errors import UserError

_SLACK = 1e-6


def whole_steps(seconds: float, rate: Fraction, model: str, step: str) -> int:
    """How many steps of a model last ``seconds``.

    Args:
        seconds: Length asked for.
        rate: Steps a second.
        model: For the message.
        step: What one step is, for the message.

    Raises:
        UserError: The length is not positive, or no whole number of steps; it names the nearest
            lengths that are.
    """
    steps = seconds * float(rate)
    if math.isfinite(steps) and round(steps) >= 1 and abs(steps - round(steps)) < _SLACK:
        return round(steps)
    below = max(1, math.floor(steps)) if math.isfinite(steps) else 1
    near = sorted({below, below + 1 if steps > 1 else 1})
    lengths = " or ".join(f"{float(count / rate):g}" for count in near)
    raise UserError(
        f"{seconds:g} seconds: {model} makes whole {step}s of {float(1 / rate):g} s; "
        f"ask for {lengths}"
    )

"""What the numbers of a network's configuration must satisfy. Knows no network."""

import dataclasses
import math
from typing import Any

from mmdisco.errors import UserError


def check_sizes(config: Any) -> None:
    """Refuse a configuration whose numbers cannot size a network.

    Every integer must be at least 1, an integer named ``text_width`` at least 0, and every float
    greater than 0.

    Args:
        config: A dataclass, its numbers perhaps read from a file.

    Raises:
        UserError: A number is out of its range, or is none.
    """
    for field in dataclasses.fields(config):
        if field.type not in (int, float):
            continue
        value = getattr(config, field.name)
        least = 0 if field.name == "text_width" else 1
        if field.type is int and not (isinstance(value, int) and value >= least):
            raise UserError(
                f"discriminator {field.name} {value}: give a number of at least {least}"
            )
        if field.type is float and not (isinstance(value, int | float) and 0 < value < math.inf):
            raise UserError(f"discriminator {field.name} {value}: give a number greater than 0")

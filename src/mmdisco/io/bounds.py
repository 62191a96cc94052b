"""Bounds on the numbers of a network's configuration.

Networks are compared with the files of their weights before memory is allocated for them.
"""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from mmdisco.errors import UserError
from mmdisco.io.files import read_header, understood

MOST: Final = 2**16
"""Upper bound of a width, a side, a number of channels."""

MOST_LAYERS: Final = 64
"""Upper bound of the number of consecutive layers of a network."""

_LAYERS: Final = ("layers", "num_layers", "depth", "blocks")
_SAMPLES: Final = ("samples",)
_MOST_SAMPLES: Final = 2**24
_MOST_LEVELS: Final = 16
_SEVERAL: Final[dict[Any, tuple[type, ...]]] = {
    tuple[bool, ...]: (bool,),
    tuple[int, ...]: (int,),
    tuple[int | float, ...]: (int, float),
}
_MAY_BE_NONE: Final = ("text_width", "octaves", "window")  # a width of 0 means none


def check_sizes(config: Any) -> None:
    """Refuse a configuration whose numbers cannot size a network, or none that fits a machine.

    Every integer must be at least 1, or at least 0 for an optional part, and every other number
    greater than 0; none may exceed the bounds of real networks.

    Args:
        config: A dataclass, its numbers perhaps read from a file.

    Raises:
        UserError: A number is out of its range, or not a number.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.type is int:
            _check_whole(field.name, value)
        elif field.type is float:
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise UserError(f"network {field.name} {_shown(value)}: give a number")
            if not 0 < value < math.inf:
                raise UserError(f"network {field.name} {value}: give a number greater than 0")
        elif field.type in _SEVERAL:
            _check_several(field.name, value, _SEVERAL[field.type])


def _check_whole(name: str, value: Any) -> None:
    least = 0 if name in _MAY_BE_NONE else 1
    most = MOST_LAYERS if name in _LAYERS else _MOST_SAMPLES if name in _SAMPLES else MOST
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"network {name} {_shown(value)}: give a number of at least {least}")
    if value > most:
        raise UserError(f"network {name} {value}: give a number of at most {most}")


def _check_several(name: str, value: Any, kinds: tuple[type, ...]) -> None:
    if not isinstance(value, tuple) or len(value) > _MOST_LEVELS:
        raise UserError(f"network {name} {_shown(value)}: give a list of at most {_MOST_LEVELS}")
    for one in value:
        if type(one) not in kinds or not abs(one) <= MOST:
            raise UserError(f"network {name} {_shown(value)}: give numbers of at most {MOST}")


def _shown(value: Any) -> str:
    return repr(value)[:80]


def expect_fitting_file(make: Callable[[], nn.Module], path: Path) -> None:
    """Check that a file has the weights of a network, by names and shapes.

    The network is built without memory for its weights, and of the file only the header is
    read: a configuration that describes more than the file holds costs nothing.

    Args:
        make: Builds the network.
        path: File of the weights.

    Raises:
        UserError: The file is missing, damaged or of another network.
    """
    found = read_header(path).shapes
    with understood(path), torch.device("meta"):
        wanted = {name: tuple(one.shape) for name, one in make().state_dict().items()}
    if wanted == found:
        return
    strange = min(wanted.items() ^ found.items())[0]
    raise UserError(
        f"{path} holds another network than config.json beside it says, as {strange} shows: get "
        "the folder again"
    )

"""Published weights, whole or refused: plain tensors, finite, and all of one network.

Every fault is a ``UserError`` of one line that names the file and what to do. Knows no network.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from mmdisco.errors import UserError

Network = TypeVar("Network", bound=nn.Module)

_SHOWN = 3


def fill(network: Network, weights: Mapping[str, Tensor], path: Path, advice: str) -> Network:
    """``network`` with ``weights`` for its own, frozen and in evaluation mode.

    Nothing is copied before everything fits. A network on the meta device takes the tensors as they
    are.

    Args:
        network: Any of its values are replaced.
        weights: By our names.
        path: Where they are from, for the message.
        advice: Which file to take instead, for the message.

    Raises:
        UserError: The names or shapes are not the network's, or a value is no finite number.
    """
    own = network.state_dict()
    faults = [
        *(f"lacks {key}" for key in own if key not in weights),
        *(f"has {key}" for key in weights if key not in own),
        *(
            f"has {key} of shape {tuple(weights[key].shape)}, not {tuple(value.shape)}"
            for key, value in own.items()
            if key in weights and weights[key].shape != value.shape
        ),
        *(
            f"has {key} of type {value.dtype}"
            for key, value in weights.items()
            if not value.is_floating_point()
        ),
    ]
    if faults:
        raise UserError(f"{path} holds another network, it {summary(faults)}: {advice}")
    expect_finite(weights, path)
    network.load_state_dict(weights, assign=True)
    return network.eval().requires_grad_(False)  # noqa: FBT003


def empty(make: Callable[[], Network]) -> Network:
    """What ``make`` makes, on the meta device: no memory is taken and no random number drawn."""
    with torch.device("meta"):
        return make()


def expect_finite(weights: Mapping[str, Tensor], path: Path) -> None:
    """Make sure that every value is a number: a damaged one would only show as black pictures.

    Args:
        weights: Of any precision.
        path: Where they are from, for the message.

    Raises:
        UserError: A value is infinite or none.
    """
    bad = [key for key, value in weights.items() if not bool(torch.isfinite(value).all())]
    if bad:
        raise UserError(f"{path} holds values that are no numbers, in {summary(bad)}: get it again")


def summary(items: Iterable[str]) -> str:
    """The first few of ``items``, and how many more there are."""
    listed = list(items)
    more = len(listed) - _SHOWN
    shown = ", ".join(listed[:_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown

"""Published weights, whole or refused: plain tensors, finite, and all of one network.

Every fault is a ``UserError`` of one line that names the file and what to do. Knows no network.
"""

import pickle
import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mmdisco.errors import UserError

Network = TypeVar("Network", bound=nn.Module)

_SHOWN = 3
# what torch.load raises, file by file, on bytes that make no sense
_SENSELESS = (
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


def read_pickle(path: Path) -> Any:
    """What ``torch.save`` wrote, as long as it is tensors, numbers, texts and lists of such.

    The tensors of a new file stay on disk until they are used.

    Raises:
        UserError: There is no such file, it is damaged, or it holds anything else: that could run
            as a program while it is read.
    """
    try:
        return torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
    except FileNotFoundError as error:
        raise UserError(f"{path} is not there") from error
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} is damaged or holds more than tensors, which is not loaded because it could "
            "run programs: get it again, or save its state dict alone"
        ) from error
    except _SENSELESS as error:
        raise UserError(f"{path} is damaged or cut short: get it again") from error


def state_dict(record: Any, path: Path) -> dict[str, Tensor]:
    """``record`` if it is a state dict.

    Args:
        record: Of a checkpoint.
        path: Of that checkpoint, for the message.

    Raises:
        UserError: It is none.
    """
    if not isinstance(record, Mapping) or not record:
        raise UserError(f"{path} holds no state dict: take the file that the model is published as")
    if not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in record.items()):
        raise UserError(f"{path} holds more than a state dict: save the state dict alone")
    return dict(record)


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

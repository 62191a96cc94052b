"""Networks held against the files of their weights before memory is taken for them."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from mmdisco.errors import UserError
from mmdisco.files import read_header, understood


def expect_fitting_file(make: Callable[[], nn.Module], path: Path) -> None:
    """Make sure that a file has the weights of a network, by names and shapes.

    The network is made without memory for its weights, and of the file only the header is read: a
    configuration that says more than the file holds costs nothing.

    Args:
        make: Makes the network.
        path: Of the weights.

    Raises:
        UserError: There is no such file, or it is damaged or of another network.
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

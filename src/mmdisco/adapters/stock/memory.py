"""Memory that runs out, said in one line that names the part."""

from collections.abc import Generator
from contextlib import contextmanager

import torch

from mmdisco.errors import UserError

_ON_CPU = "DefaultCPUAllocator: "


@contextmanager
def ran_out(part: str, advice: str = "") -> Generator[None]:
    """Turn memory that runs out in the block into a message.

    Args:
        part: What is computed there.
        advice: What to try; the usual options if left out.

    Raises:
        UserError: Memory ran out.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        out = isinstance(error, torch.OutOfMemoryError | MemoryError) or _ON_CPU in str(error)
        if not out:
            raise
        tried = (
            advice or "--dtype bfloat16, --offload, --vae-tiling, a smaller --size, fewer --frames"
        )
        raise UserError(f"memory ran out in {part}: try {tried}") from error

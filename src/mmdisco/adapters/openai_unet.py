"""Names of the weights of OpenAI's U-Nets, as in diffusers.

The code of Dhariwal & Nichol 2021 (guided diffusion), on which Stable Diffusion and its kin build,
counts all blocks of a way in one row, resampling included; diffusers counts levels. Knows names
alone.
"""

import re
from typing import Final

from mmdisco.io.pickles import Rules

RESBLOCK: Final[Rules] = (
    (r"\.in_layers\.0\.", ".norm1."),
    (r"\.in_layers\.2\.", ".conv1."),
    (r"\.emb_layers\.1\.", ".time_emb_proj."),
    (r"\.out_layers\.0\.", ".norm2."),
    (r"\.out_layers\.3\.", ".conv2."),
    (r"\.skip_connection\.", ".conv_shortcut."),
)
"""Rules for the layers of a residual block."""


def levels(depth: int) -> Rules:
    """Return rules that number blocks by level: ``down_blocks.LEVEL.PLACE.``, and the ends.

    Args:
        depth: Residual blocks per level on the way down.
    """

    def numbered(match: re.Match[str]) -> str:
        down = match[1] == "input"
        level, place = divmod(int(match[2]) - down, depth + 1)
        return f"{'down' if down else 'up'}_blocks.{level}.{place}."

    return (
        (r"^input_blocks\.0\.0\.", "conv_in."),
        (r"^(input|output)_blocks\.(\d+)\.", numbered),
        (r"^out\.0\.", "conv_norm_out."),
        (r"^out\.2\.", "conv_out."),
    )

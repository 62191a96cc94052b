"""The miniature pairs: those that come with the package, and the format of the first."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Final

from mmdisco.media.clip import ClipSpec

SECONDS: Final = 1.6
FPS: Final = Fraction(10)
SAMPLE_RATE: Final = 16_000
FORM: Final = ClipSpec(16 / FPS, FPS, (64, 64), SAMPLE_RATE)
PACKAGED: Final = Path(__file__).parent / "weights"
GAME_WEIGHTS: Final = Path(__file__).parent / "game"
"""The pair that ``recipes/game`` makes."""

# Pixels of a 2 × 2 square become channels before an autoencoder's first convolution: the layers at
# full resolution would cost more than all the others together.
SQUARE: Final = 2


def side_factor(widths: Sequence[int]) -> int:
    """Return the side of the square that an autoencoder maps to one position of its latents."""
    return SQUARE * 2 ** (len(widths) - 1)

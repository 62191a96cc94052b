"""Format of the miniature pair's clips, and its place in the package. Imports no library."""

from fractions import Fraction
from pathlib import Path
from typing import Final

from mmdisco.media.clip import ClipSpec

SECONDS: Final = 1.6
FPS: Final = Fraction(10)
FRAMES: Final = 16
SIDE: Final = 64
SAMPLE_RATE: Final = 16_000
SAMPLES: Final = 25_600
FORM: Final = ClipSpec(FRAMES / FPS, FPS, (SIDE, SIDE), SAMPLE_RATE)
PACKAGED: Final = Path(__file__).parent / "weights"

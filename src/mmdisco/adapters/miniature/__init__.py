"""The miniature pair that ships with the package. This file: format of its clips, and its place."""

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

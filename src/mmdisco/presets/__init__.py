"""Named pairs: their parts, the settings they begin with, and how they are built.

The only place where a string selects models. Libraries behind a pair are imported when it is built.
"""

from mmdisco.presets.base import Component, Preset
from mmdisco.presets.options import Options
from mmdisco.presets.table import PRESETS, preset

__all__ = ["PRESETS", "Component", "Options", "Preset", "preset"]

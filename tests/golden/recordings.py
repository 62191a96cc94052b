"""Where recordings of the release are, and which there are.

Those in the repository are read unless the environment variable ``MMDISCO_GOLDEN`` names a folder
of others; every recording of that folder is then a case.
"""

import json
import os
from pathlib import Path

import torch

from mmdisco.core.noise import linear, scaled_linear

PACKED = Path(__file__).parent / "data" / "released"
FULL = os.environ.get("MMDISCO_GOLDEN")
FOLDER = Path(FULL) if FULL else PACKED
TABLES = {"linear": linear, "scaled_linear": scaled_linear}


def recordings(prefix):
    """Names of the recordings of a kind, those of their weights left out."""
    names = sorted(path.stem for path in FOLDER.glob(f"{prefix}*.json"))
    assert names, f"no recording {prefix}* in {FOLDER}"
    return [name for name in names if "_weights" not in name]


def record_of(name):
    return json.loads((FOLDER / f"{name}.json").read_text())


def schedule_of(config):
    """The noise schedule of a recorded scheduler's configuration."""
    table = TABLES[config["beta_schedule"]]
    rows = config.get("num_train_timesteps", 1000)
    return table(rows, config["beta_start"], config["beta_end"])


def whole(times):
    """Recorded timesteps as those of a schedule."""
    return times.to(torch.float64)

"""VGGish's patches equal those of torchvggish 0.2, recorded by ``data/vggish/record.py``."""

import importlib.util
from pathlib import Path

import numpy as np
from closeness import assert_close

from mmdisco.evaluation.metrics.exported import vggish_patches
from mmdisco.media.clip import Audio

HERE = Path(__file__).parent / "data" / "vggish"


def test_patches_equal_the_reference():
    spec = importlib.util.spec_from_file_location("vggish_record", HERE / "record.py")
    recording = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recording)
    wanted = np.load(HERE / "patches.npz")["patches"]
    found = vggish_patches(Audio(recording.sound(), 16_000))
    assert found.shape == (2, 1, 96, 64)
    assert_close(found[:, 0], wanted)

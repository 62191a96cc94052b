import numpy as np
import pytest
from PIL import Image

from mmdisco.errors import UserError
from mmdisco.media.plots import contact_sheet, draw_clips
from mmdisco.media.sounding_objects.dataset import example


def test_grid_holds_every_frame_in_reading_order():
    frames = np.random.default_rng(0).uniform(size=(5, 4, 6, 3)).astype(np.float32)
    sheet = contact_sheet(frames, columns=3)
    assert sheet.shape == (8, 18, 3)
    np.testing.assert_array_equal(sheet[4:8, 6:12], frames[4])
    np.testing.assert_array_equal(sheet[4:8, 12:], 1)


def test_picture_of_several_clips_opens_as_png(tmp_path):
    draw_clips(tmp_path / "p.png", {f"clip {i}": example(0, i).clip for i in range(3)})
    with Image.open(tmp_path / "p.png") as image:
        assert image.format == "PNG"
        assert image.width > 1000


def test_unwritable_picture_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write"):
        draw_clips(tmp_path / "file" / "p.png", {"clip": example(0, 0).clip})

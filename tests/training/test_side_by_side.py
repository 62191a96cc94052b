"""Tasks in processes of their own: their progress in one line, and one end for all."""

import os
import time

import pytest

from mmdisco.errors import UserError
from mmdisco.training.bases.side_by_side import combined, side_by_side


def go_on_or_fail(task, show):
    folder, fails = task
    show("clips", 1 + fails, 10, "")
    if not fails:
        (folder / str(os.getpid())).touch()
        time.sleep(600)
    while not list(folder.iterdir()):
        time.sleep(0.02)
    raise UserError("the clips are damaged: give others")


def lives(process):
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_an_error_in_one_task_ends_the_other_and_both_were_shown(tmp_path):
    shown = []
    tasks = [(tmp_path, False), (tmp_path, True)]
    with pytest.raises(UserError, match="the clips are damaged: give others"):
        side_by_side(go_on_or_fail, tasks, lambda *news: shown.append(news))
    (other,) = tmp_path.iterdir()
    assert not lives(int(other.name))
    assert shown[-1] == ("clips", 3, 20, "clips 1 of 10; clips 2 of 10")


def test_progress_of_two_tasks_is_one_line():
    states = [("video denoiser", 20, 100, "loss 0.5"), ("audio denoiser", 60, 100, "")]
    assert combined(states) == (
        "video denoiser and audio denoiser",
        80,
        200,
        "video denoiser 20 of 100 loss 0.5; audio denoiser 60 of 100",
    )
    assert combined([("clips", 3, None, ""), ("clips", 4, 8, "")])[:3] == ("clips", 7, None)

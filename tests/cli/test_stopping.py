"""Stopping: a line and a status, no leftovers, one run at a time, workers that end too."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch

from mmdisco.cli import main
from mmdisco.cli.progress import Lines
from mmdisco.cli.stopping import catching, running
from mmdisco.errors import UserError
from mmdisco.io.files import HERE, remove_abandoned, remove_leftovers
from mmdisco.io.locking import alone
from mmdisco.io.workers import each

DEAD = 4194305  # above any process's number


def in_child(work):
    """Exit status and standard error of ``work`` in a forked process."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writes, 2)
        try:
            work()
        except SystemExit as ended:
            sys.stderr.flush()
            os._exit(ended.code or 0)
        finally:
            os._exit(99)
    os.close(writes)
    return child, reads


def ended(child, reads):
    with os.fdopen(reads) as said:
        text = said.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text


def endless(folder, ready):
    """A command that works for ever, as ``main`` runs one."""

    def command():
        sys.stderr = os.fdopen(2, "w", buffering=1)
        with catching() as stop:
            try:
                with running("shards are kept") as run:
                    run.work_in(folder)
                    (folder / f".half.{os.getpid()}@{HERE}.part.mp4").write_bytes(b"half")
                    (folder / ready).touch()
                    time.sleep(600)
            except BaseException:
                os._exit(stop.status)

    return command


def wait_for(path):
    deadline = time.monotonic() + 600
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_says_so_in_one_line_and_leaves_nothing_half_written(
    tmp_path, number, status
):
    child, said = in_child(endless(tmp_path, "ready"))
    wait_for(tmp_path / "ready")
    os.kill(child, number)
    assert ended(child, said) == (status, "mmdisco: stopped; shards are kept\n")
    assert [path.name for path in tmp_path.iterdir()] == ["ready"]


def test_a_second_run_on_the_same_folder_says_that_it_waits_and_then_goes_on(tmp_path):
    first, said_first = in_child(endless(tmp_path, "first"))
    wait_for(tmp_path / "first")
    second, said = in_child(endless(tmp_path, "second"))
    waiting = os.read(said, 200).decode()
    assert waiting == f"mmdisco: another run is at work on {tmp_path}: waiting until it has ended\n"
    assert not (tmp_path / "second").exists()
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    os.close(said_first)
    wait_for(tmp_path / "second")
    os.kill(second, signal.SIGINT)
    assert ended(second, said)[0] == 130
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]


def test_an_interruption_that_a_finaliser_swallows_comes_again(tmp_path):
    class Swallows:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    def command():
        sys.stderr = os.fdopen(2, "w", buffering=1)
        with catching() as stop:
            try:
                with running("nothing"):
                    Swallows()
                    time.sleep(600)
            except BaseException:
                os._exit(stop.status)

    assert ended(*in_child(command)) == (130, "mmdisco: stopped; nothing\n")


def test_signals_that_are_ignored_stay_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with catching():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_error_leaves_no_folder_that_was_made_for_the_lock(tmp_path):
    def command():
        with running("nothing") as run:
            run.work_in(tmp_path / "new" / "out")
            raise UserError("no")

    with pytest.raises(UserError, match="no"):
        command()
    assert not list(tmp_path.iterdir())


def test_a_lock_that_a_killed_process_left_is_taken_over(tmp_path):
    (tmp_path / ".lock").touch()
    with alone(tmp_path / ".lock", lambda: pytest.fail("waits")):
        assert (tmp_path / ".lock").exists()
    assert not (tmp_path / ".lock").exists()


def test_only_one_of_many_holds_a_lock_that_is_deleted_each_time(tmp_path):
    inside, most = [], []

    def work():
        for _ in range(5):
            with alone(tmp_path / "deep" / ".lock"):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.002)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 20


def test_leftovers_go_below_a_folder_of_ones_own_and_only_those_of_the_dead_elsewhere(tmp_path):
    own = tmp_path / "a" / f".x.{os.getpid()}@{HERE}.part.mp4"
    dead = tmp_path / "a" / f".x.{DEAD}@{HERE}.part.mp4"
    far = tmp_path / "a" / ".x.1@elsewhere.part"
    others = [tmp_path / "a" / name for name in (".x.part.rar", ".x.12.part.rar", "x.mp4")]
    own.parent.mkdir()
    for path in (own, dead, far, *others):
        path.touch()
    remove_abandoned(own.parent.iterdir())
    assert set(own.parent.iterdir()) == {own, far, *others}
    os.utime(far, (0, 0))
    remove_abandoned(own.parent.iterdir())
    assert set(own.parent.iterdir()) == {own, *others}
    remove_leftovers(tmp_path)
    assert set(own.parent.iterdir()) == set(others)


def test_threads_are_those_asked_for_and_afterwards_those_of_before():
    before = torch.get_num_threads()
    with running("", threads=before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(UserError, match="0 threads: ask for 1 to"), running("", threads=0):
        pass


def test_without_a_terminal_progress_is_a_line_every_so_often(capsys):
    with Lines("shards", soonest=0.05).written() as shown:
        shown.update("shards", 10, 20)
        shown.update("shards", 15, 20, "loss 0.5")
        time.sleep(0.2)
    first = capsys.readouterr().err.splitlines()[0]
    times = r"0:00:\d\d passed, about 0:00:\d\d left"
    assert re.fullmatch(rf"mmdisco: shards: 15 of 20, {times}, loss 0\.5", first)


def test_short_work_says_nothing(capsys):
    with Lines("shards").written() as shown:
        shown.update("shards", 1, 2)
    assert capsys.readouterr().err == ""


def number_and_sleep(task):
    folder, seconds = task
    (folder / str(os.getpid())).touch()
    time.sleep(seconds)
    return os.getpid()


def lives(process):
    try:
        # a process that has ended stays a zombie until whoever inherits it looks
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_the_process_that_started_them_without_a_word(tmp_path, number):
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from mmdisco.cli.stopping import catching, running\n"
        "from mmdisco.io.workers import each\n"
        "from test_stopping import number_and_sleep\n"
        "if __name__ == '__main__':\n"
        "    with catching() as stop:\n"
        "        try:\n"
        "            with running('cells are kept'):\n"
        "                list(each(number_and_sleep, [(Path(sys.argv[2]), 600)], 1))\n"
        "        except BaseException:\n"
        "            sys.exit(stop.status)\n"
    )
    folder = tmp_path / "workers"
    folder.mkdir()
    (tmp_path / "script.py").write_text(script)
    words = [sys.executable, tmp_path / "script.py", os.path.dirname(__file__), folder]
    run = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not (started := list(folder.iterdir())):
        assert run.poll() is None
        time.sleep(0.05)
    if number == signal.SIGKILL:
        run.kill()  # itself alone: its worker is not told
    else:
        os.killpg(run.pid, number)  # as a terminal does
    said = run.communicate()[1]
    # of a kill Python's own tracker of semaphores may say that it has cleaned up
    assert said == "mmdisco: stopped; cells are kept\n" or number == signal.SIGKILL
    assert "Traceback" not in said
    assert run.returncode == (-9 if number == signal.SIGKILL else 130)
    deadline = time.monotonic() + 600
    while lives(int(started[0].name)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("place", ["mmdisco.cli.app.main", "importlib.metadata.version"])
def test_ctrl_c_before_a_command_has_begun_is_one_line_too(place, monkeypatch, capsys):
    def interrupted(*_):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(sys, "argv", ["mmdisco", "--version"])
    monkeypatch.setattr(place, interrupted)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 130
    begun = "mmdisco: stopped; nothing was begun: give the same command again\n"
    assert capsys.readouterr().err == begun
    assert not multiprocessing.active_children()


def test_each_without_tasks_starts_no_process():
    assert list(each(number_and_sleep, [], 4)) == []

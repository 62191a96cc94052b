"""Kills a piece of work at random points until it ends by itself. Forked: nothing is imported
anew, so that a kill costs no more than the work that it undoes. For the fixture ``one_thread``."""

import multiprocessing
import os
import random
import time

KILLS = int(os.environ.get("MMDISCO_KILLS", "3"))


def run_forked(work):
    """Seconds that ``work`` takes to its end in a process of its own."""
    began = time.monotonic()
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    assert process.exitcode == 0
    return time.monotonic() - began


def run_killed(work, seconds, seed=0):
    """The same work, killed so many times on the way; ends when it ends."""
    law = random.Random(seed)
    for _ in range(KILLS):
        process = multiprocessing.get_context("fork").Process(target=work)
        process.start()
        process.join(law.uniform(0, 0.7) * seconds)
        process.kill()
        process.join()
    run_forked(work)

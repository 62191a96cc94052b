import os
import signal

# no test may reach a hub, and unless asked for, none is slowed by threads that fight over the cores
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "1")

import pytest
import torch

# a shell that starts the tests in the background has them ignore Ctrl-C, which some are about
signal.signal(signal.SIGINT, signal.default_int_handler)
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory):
    """What runs keep for the next is no affair of whoever starts the tests."""
    os.environ["MMDISCO_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def one_thread():
    """Keep to one thread: a process that is forked has none of those that were started before,
    and would wait for them for ever."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_pair(tmp_path_factory):
    """A folder of the embedded pair at a size that loads and samples at once; random weights."""
    from tinypair import write_tiny_pair

    folder = tmp_path_factory.mktemp("pair")
    write_tiny_pair(folder)
    return folder


@pytest.fixture(scope="session")
def stock_pipelines(tmp_path_factory):
    """Folders of whole tiny pipelines by name, each saved when it is asked for."""
    from stockpipelines import build

    class Saved(dict):
        def __missing__(self, name):
            self[name] = tmp_path_factory.mktemp("pipelines") / name.replace(" ", "-")
            build(name)[0].save_pretrained(self[name])
            return self[name]

    return Saved()

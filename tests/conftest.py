import os

# no test may reach a hub, and unless asked for, none is slowed by threads that fight over the cores
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "1")

import pytest
import torch

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def tiny_pair(tmp_path_factory):
    """A folder of the embedded pair at a size that loads and samples at once; random weights."""
    from tinypair import write_tiny_pair

    folder = tmp_path_factory.mktemp("pair")
    write_tiny_pair(folder)
    return folder

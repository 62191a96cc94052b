import fakecomfy
import pytest
import torch


@pytest.fixture(scope="package")
def models_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="package")
def pack(models_dir):
    """The node pack, beside a small fake of ComfyUI."""
    with fakecomfy.installed(models_dir) as loaded:
        yield loaded


@pytest.fixture
def inference():
    """ComfyUI executes nodes in inference mode."""
    with torch.inference_mode():
        yield

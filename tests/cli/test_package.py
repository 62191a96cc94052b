import subprocess
import sys

import pytest

import mmdisco


@pytest.mark.parametrize("name", mmdisco.__all__)
def test_every_public_name_loads(name):
    assert getattr(mmdisco, name) is not None


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mmdisco.nothing


def test_help_does_not_wait_for_torch():
    script = "import sys, mmdisco.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0

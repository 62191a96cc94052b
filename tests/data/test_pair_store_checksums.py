import json
import subprocess
import sys

import pytest
import torch

from mmdisco.core.av import AV
from mmdisco.core.denoiser import Conditioning
from mmdisco.core.pairs import Pairs
from mmdisco.data.pair_store import PairStore
from mmdisco.errors import UserError
from mmdisco.io.files import json_text


def pairs(count, value=1.0):
    z_0 = AV(torch.full((count, 2), value), torch.full((count, 3), value))
    none = Conditioning.none(count)
    return Pairs(z_0, AV(none, none))


@pytest.fixture
def store(tmp_path):
    store = PairStore(tmp_path, "real")
    store.append(pairs(3))
    store.append(pairs(2))
    return store


def test_a_flipped_bit_is_named(store, tmp_path):
    shard = tmp_path / "shard-00001.safetensors"
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    again = PairStore(tmp_path, "real")
    assert again.is_whole(0)
    assert not again.is_whole(1)
    with pytest.raises(UserError, match=r"shard-00001\.safetensors is damaged.*checksum"):
        again.read()


def test_a_shard_is_made_again_in_its_place(store, tmp_path):
    before = (tmp_path / "shard-00001.safetensors").read_bytes()
    index = (tmp_path / "store.json").read_bytes()
    (tmp_path / "shard-00001.safetensors").unlink()
    again = PairStore(tmp_path, "real")
    assert not again.is_whole(1)
    again.put(1, pairs(2))
    assert (tmp_path / "shard-00001.safetensors").read_bytes() == before
    assert (tmp_path / "store.json").read_bytes() == index
    assert again.lengths == (3, 2)


def test_a_shard_cannot_be_put_beyond_the_next(store):
    with pytest.raises(ValueError, match="shard 3"):
        store.put(3, pairs(1))


def test_a_store_without_checksums_is_read(store, tmp_path):
    record = json.loads((tmp_path / "store.json").read_text())
    del record["sha256"]
    (tmp_path / "store.json").write_text(json.dumps(record))
    again = PairStore(tmp_path, "real")
    assert len(again.read()) == 5
    again.append(pairs(1))
    assert len(PairStore(tmp_path, "real").read()) == 6


def test_a_full_disk_is_one_line_and_leaves_the_store_as_it_was(store, tmp_path):
    # a limit on the size of files is the nearest to a full disk that needs no rights
    code = """
import resource, sys, signal
sys.path[:0] = sys.argv[2:]
import torch
from test_pair_store_checksums import pairs
from mmdisco.errors import UserError
from mmdisco.data.pair_store import PairStore
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    PairStore(Path(sys.argv[1]), "real").append(pairs(10_000))
except UserError as error:
    print(error)
"""
    here = str(__file__).rsplit("/", 1)[0]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), here], capture_output=True, text=True
    )
    assert "cannot write" in done.stdout, done.stderr
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "shard-00000.safetensors",
        "shard-00001.safetensors",
        "store.json",
    ]
    assert len(PairStore(tmp_path, "real").read()) == 5


def test_names_that_are_no_text_can_be_written():
    assert json_text({"é": "\udcff"}).encode()
    assert json.loads(json_text("\udcff")) == "\udcff"
    assert json_text("é") == '"é"'

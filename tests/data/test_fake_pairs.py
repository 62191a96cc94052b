"""``mmdisco sample-fakes``: the same store whoever makes it, however often it is stopped."""

import json
import multiprocessing
import shutil

import pytest
from killing import run_forked, run_killed
from training_runs import record_prepared

from mmdisco.cli.fakes import execute
from mmdisco.data.config import FakesConfig
from mmdisco.data.fake_pairs import fake_shard
from mmdisco.data.pair_store import PairStore
from mmdisco.errors import UserError
from mmdisco.io.files import HERE, read_json

DEAD = 4194305  # above any process's number
pytestmark = pytest.mark.usefixtures("one_thread")  # forks


def order(prepared, tiny_pair, out, **others):
    usual = {"prepared": prepared, "out": out, "weights": tiny_pair, "steps": 2, "shard_size": 4}
    return FakesConfig(**usual | others)


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def test_every_clip_has_its_fakes_and_the_manifest_tells_whose(prepared, tiny_pair, tmp_path):
    execute(order(prepared, tiny_pair, tmp_path, samples_per_clip=2))
    assert len(PairStore(tmp_path / "train", "fake")) == 12
    assert len(PairStore(tmp_path / "validation", "fake")) == 8
    lines = [json.loads(line) for line in (tmp_path / "manifest.jsonl").read_text().splitlines()]
    assert [line["index"] for line in lines] == [*range(12), *range(8)]
    assert [line["source"] for line in lines[:4]] == [0, 0, 1, 1]
    assert lines[0]["caption"] == lines[1]["caption"] != lines[2]["caption"]
    assert read_json(tmp_path / "fakes.json")["independent"] is True


def test_number_of_processes_does_not_change_the_store(prepared, tiny_pair, made, tmp_path):
    said = [execute(order(prepared, tiny_pair, tmp_path, shard=(i, 2))) for i in (1, 0)]
    assert "others are not yet" in said[0]
    assert said[1] == str(tmp_path)
    assert contents(tmp_path) == contents(made)


def test_each_process_of_a_launcher_has_its_own_gpu(prepared, tiny_pair, tmp_path, monkeypatch):
    chosen = []
    monkeypatch.setattr("torch.cuda.set_device", chosen.append)
    monkeypatch.setenv("LOCAL_RANK", "3")
    with pytest.raises(UserError, match="device 'cuda' cannot be used"):
        execute(order(prepared, tiny_pair, tmp_path / "out", device="cuda"))
    assert not chosen
    monkeypatch.setattr("mmdisco.generation.config.SystemConfig.torch_device", lambda _: None)
    with pytest.raises(UserError, match=r"on the CPU: leave .* device"):
        execute(order(prepared, tiny_pair, tmp_path / "out", device="cuda"))
    assert chosen == [3]


def test_two_processes_at_once_make_every_shard_once(prepared, tiny_pair, made, tmp_path):
    copy = multiprocessing.get_context("fork")
    both = [
        copy.Process(target=execute, args=(order(prepared, tiny_pair, tmp_path, shard=(i, 2)),))
        for i in range(2)
    ]
    for process in both:
        process.start()
    for process in both:
        process.join()
        assert process.exitcode == 0
    assert contents(tmp_path) == contents(made)


def test_killed_fakes_end_as_the_uninterrupted_ones(prepared, tiny_pair, tmp_path):
    def work(name):
        return lambda: execute(order(prepared, tiny_pair, tmp_path / name, shard_size=2))

    seconds = run_forked(work("whole"))
    run_killed(work("parts"), seconds)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


@pytest.fixture
def damaged(made, tmp_path):
    """A copy of finished fakes, for something in it to be damaged."""
    return shutil.copytree(made, tmp_path / "damaged")


@pytest.mark.parametrize(
    "name",
    ["train/shard-00001.safetensors", "validation/shard-00000.safetensors", "train/store.json"],
)
@pytest.mark.parametrize("cut", [True, False])
def test_what_is_damaged_is_named_and_made_again(
    name, cut, prepared, tiny_pair, made, damaged, mmdisco, monkeypatch
):
    path = damaged / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-20] if cut else whole[:-20] + bytes(20))
    sampled = []
    monkeypatch.setattr(
        "mmdisco.data.fake_pairs.fake_shard",
        lambda *given, shard, **named: (
            sampled.append(shard) or fake_shard(*given, shard=shard, **named)
        ),
    )
    ended = mmdisco(
        *(
            "sample-fakes",
            prepared,
            "--out",
            damaged,
            "--weights",
            tiny_pair,
            "--steps",
            2,
            "--shard-size",
            4,
        )
    )
    assert ended.status == 0, ended.err
    assert f"{path} is damaged" in ended.err
    assert contents(damaged) == contents(made)
    # only that part, and without its list a part has no shards
    expected = {"train/shard-00001.safetensors": [1], "train/store.json": [0, 1]}
    assert sampled == expected.get(name, [2])


def test_what_a_killed_process_left_half_written_is_removed(prepared, tiny_pair, made, damaged):
    for folder in (damaged, damaged / "train"):
        (folder / f".shard-00000.{DEAD}@{HERE}.part.safetensors").write_bytes(b"half")
    execute(order(prepared, tiny_pair, damaged))
    assert contents(damaged) == contents(made)


def test_shard_that_is_gone_is_made_again(prepared, tiny_pair, made, damaged):
    (damaged / "train" / "shard-00000.safetensors").unlink()
    (damaged / "manifest.jsonl").write_text("cut")
    execute(order(prepared, tiny_pair, damaged))
    assert contents(damaged) == contents(made)


def test_damaged_piece_is_made_again(prepared, tiny_pair, made, tmp_path):
    execute(order(prepared, tiny_pair, tmp_path, shard=(1, 2)))
    (piece,) = (tmp_path / "pieces").glob("*/shard-00000.safetensors")
    piece.write_bytes(piece.read_bytes()[:-20])
    execute(order(prepared, tiny_pair, tmp_path, shard=(0, 2)))
    execute(order(prepared, tiny_pair, tmp_path, shard=(1, 2)))
    assert contents(tmp_path) == contents(made)


def test_caption_of_many_clips_may_have_fewer_fakes(prepared, tiny_pair, tmp_path):
    execute(order(prepared, tiny_pair, tmp_path, max_per_caption=1))
    lines = [json.loads(line) for line in (tmp_path / "manifest.jsonl").read_text().splitlines()]
    assert [line["source"] for line in lines] == [0, 1, 0, 1]


def test_repeated_command_makes_nothing_again(prepared, tiny_pair, made, monkeypatch):
    monkeypatch.setattr("mmdisco.data.fake_pairs.fake_shard", None)
    assert execute(order(prepared, tiny_pair, made)) == str(made)


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"seed": 1}, "seed"),
        ({"cfg_scale": 2.0}, "cfg_scale"),
        ({"samples_per_clip": 0}, "at least 1"),
        ({"max_per_caption": 0}, "0 fakes a caption"),
        ({"scheduler": "magic"}, "unknown scheduler"),
        ({"preset": "audioldm-animatediff"}, "prepared for embedded"),
        ({"shard": (2, 2)}, "from 0 to 1"),
    ],
)
def test_what_does_not_fit_is_refused(others, said, prepared, tiny_pair, made):
    with pytest.raises(UserError, match=said):
        execute(order(prepared, tiny_pair, made, **others))


def test_a_scale_of_captions_is_refused_where_there_are_none(prepared, tiny_pair, tmp_path):
    bare = shutil.copytree(prepared, tmp_path / "bare")
    text = (bare / "manifest.jsonl").read_text()
    lines = [{**json.loads(line), "caption": ""} for line in text.splitlines()]
    (bare / "manifest.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    record_prepared(bare)
    with pytest.raises(UserError, match="--cfg-scale has no effect without captions: leave it out"):
        execute(order(bare, tiny_pair, tmp_path / "out", cfg_scale=2.0))
    assert not (tmp_path / "out").exists()
    execute(order(bare, tiny_pair, tmp_path / "out", steps=1))


def test_fakes_are_told_of_and_drawn(tiny_pair, made, tmp_path, mmdisco):
    picture = tmp_path / "made.png"
    ended = mmdisco("inspect", made, "--picture", picture, "--weights", tiny_pair)
    assert ended.status == 0, ended.err
    assert ended.out[0].startswith("fakes of the base models of embedded: steps 2, scheduler")
    assert ended.out[1:3] == [
        "train: 6 pairs in 2 shards of 2 to 4",
        "validation: 4 pairs in 1 shards of 4 to 4",
    ]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_unfinished_or_damaged_fakes_are_told_so(prepared, tiny_pair, damaged, tmp_path, mmdisco):
    execute(order(prepared, tiny_pair, tmp_path / "half", shard=(0, 2)))
    assert "not finished" in mmdisco("inspect", tmp_path / "half").out[-1]
    path = damaged / "train" / "shard-00000.safetensors"
    path.write_bytes(path.read_bytes()[:-20])
    ended = mmdisco("inspect", damaged)
    assert ended.status == 2
    assert f"{path} is damaged" in ended.err


def test_command_refuses_a_folder_that_was_not_prepared(mmdisco, tmp_path):
    ended = mmdisco("sample-fakes", tmp_path, "--out", tmp_path / "out")
    assert ended.status == 2
    assert "no prepared folder" in ended.err
    assert not (tmp_path / "out").exists()

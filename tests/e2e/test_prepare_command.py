"""``mmdisco prepare`` and ``mmdisco inspect`` by their command lines."""

import json
import sys

import pytest
import torch
from filmmaking import moving
from PIL import Image

from mmdisco.cli import main
from mmdisco.training.checkpoint import TrainingCheckpoint


@pytest.fixture
def run(monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["mmdisco", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            main()
        said = capsys.readouterr()
        return stopped.value.code, said.out, said.err

    return run


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return moving(tmp_path_factory.mktemp("film") / "the film.mkv", 0, 8.2)


def test_a_film_is_prepared_and_inspected(run, film, tiny_pair, tmp_path):
    out = tmp_path / "out"
    status, said, err = run(
        "prepare", film, "--out", out, "--weights", tiny_pair, "--shard-size", 3
    )
    assert status == 0, err
    assert said.startswith("kept 5 clips for training, 0 for validation\n")
    assert str(out / "report.html") in said

    status, said, _ = run("inspect", out, "--picture", tmp_path / "clips.png")
    assert status == 0
    assert "clips of 1.6 s, 64x64 at 10 fps, sound at 16000 Hz" in said
    assert "train: 5 pairs in 2 shards of 2 to 3 from 1 files" in said
    assert "5 × (none)" in said
    with Image.open(tmp_path / "clips.png") as picture:
        assert picture.width > 500

    status, said, _ = run("inspect", out / "train")
    assert "a store of real pairs: 5 pairs" in said
    assert "audio.z_0: float32 [5, 4, 32, 16]" in said
    status, said, _ = run("inspect", out / "train" / "shard-00001.safetensors")
    assert "a shard of 2 real pairs" in said

    shard = out / "train" / "shard-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-4])
    status, _, err = run("inspect", out / "train")
    assert status == 2
    assert "shard-00000.safetensors is damaged" in err


def test_other_things_are_inspected(run, film, tiny_pair, tmp_path):
    status, said, _ = run("inspect", film)
    assert status == 0
    assert "picture: mpeg4 32x32, 10.000 fps" in said
    assert "sound: pcm_s16le at 16000 Hz, channels: 1" in said
    status, _, err = run("inspect", film, "--weights", tiny_pair)
    assert (status, "--weights are for decoding" in err) == (2, True)
    for name, content in (("a.json", "[" * 5_000), ("b.JSON", "[" * 5_000 + "]" * 5_000)):
        (tmp_path / name).write_text(content)
        status, said, err = run("inspect", tmp_path / name)
        assert (status, said, err.count("\n")) == (2, "", 1)
        assert "nor a film" in err
    (tmp_path / "words.lrc").write_text("[00:01.00]la la\n")
    status, said, err = run("inspect", tmp_path / "words.lrc")
    assert (status, said, err.count("\n")) == (2, "", 1)
    status, said, _ = run("inspect", tiny_pair)
    assert "audio_autoencoder.safetensors:" in said
    assert "config.json:" in said
    status, said, _ = run("inspect", tiny_pair / "text_encoder.safetensors")
    assert "weights:" in said
    TrainingCheckpoint(7, {"rate": 0.1}, {"network.w": torch.zeros(3)}).save(
        tmp_path / "run.safetensors"
    )
    status, said, _ = run("inspect", tmp_path / "run.safetensors")
    assert "a training checkpoint after 7 steps" in said
    assert "network.w: F32 [3]" in said


def test_quiet_names_files_and_what_the_models_cannot_know_and_json_is_one_line(
    run, film, tiny_pair, tmp_path
):
    out = tmp_path / "out"
    words = ("prepare", film, "--out", out, "--weights", tiny_pair, "--reconstructions", 1)
    status, said, err = run(*words, "--quiet")
    assert status == 0
    assert said.splitlines() == [str(out / "report.html"), str(out / "prepared.json")]
    assert err.startswith("mmdisco: the models cannot know such pictures")
    status, said, err = run(*words, "--json")
    assert (status, said.count("\n")) == (0, 1)
    record = json.loads(said)
    assert record["kept"] == {"train": 5, "validation": 0}
    assert record["reconstruction"]["clips"] == 1
    assert record["report"] == str(out / "report.html")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--layout", "tapes"], "unknown layout 'tapes': choose one of clips, film"),
        (["--layout", "clips"], "the layout clips wants a folder"),
        (["--validation", "1"], "validation 1.0: give at least 0 and less than 1"),
        (["--shard-size", "0"], "shard_size 0: give at least 1"),
        (["--reconstructions", "-1"], "reconstructions -1: give 0 to 1000"),
        (["--group-by", "folder"], "the layout film groups films by itself"),
        (["--captions", "none.txt"], "must end in .jsonl or .csv"),
        (["--seconds", "3"], "clips of 3 s: the models know 1.6 s, and longer ones can only be"),
    ],
)
def test_mistakes_are_one_line(run, film, tiny_pair, tmp_path, words, message):
    out = tmp_path / "out"
    status, _, err = run("prepare", film, "--out", out, "--weights", tiny_pair, *words)
    assert status == 2
    assert message in err
    assert err.count("\n") == 1
    assert not out.exists()


def test_what_is_not_there_is_one_line(run, tiny_pair, tmp_path):
    status, _, err = run("inspect", tmp_path / "nothing")
    assert status == 2
    assert "is not there" in err
    status, _, err = run("prepare", tmp_path / "nothing", "--out", tmp_path / "o")
    assert status == 2
    assert "is not there" in err

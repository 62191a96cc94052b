"""What ``prepare`` makes, and that it makes the same after every kind of accident."""

import json
import os
import random
import shutil
import signal
import time
from fractions import Fraction
from itertools import chain
from pathlib import Path

import pytest
import torch
from filmmaking import film, moving, noise, silence

from mmdisco.data.config import PrepareConfig
from mmdisco.data.prepare.encode import ShardEncoder
from mmdisco.data.prepare.report import summary_lines
from mmdisco.data.prepare.run import prepare
from mmdisco.data.prepared import PreparedFolder
from mmdisco.errors import UserError
from mmdisco.generation.config import SystemConfig
from mmdisco.generation.presets.registry import system_of
from mmdisco.io.files import read_tensors
from mmdisco.media.windows import read_clips

pytestmark = pytest.mark.usefixtures("one_thread")  # forks
KILLS = int(os.environ.get("MMDISCO_KILLS", "5"))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Four films of two clips each."""
    folder = tmp_path_factory.mktemp("films")
    for seed in range(4):
        moving(folder / f"film {seed}.mkv", seed, 3.4)
    (folder / "captions.jsonl").write_text(
        '{"path": "film 0.mkv", "caption": "a red ball bouncing"}\n'
        '{"path": "film 1.mkv", "caption": "Quatschkopf"}\n'
        '{"path": "film 2.mkv", "caption": "a red Quatschkopf"}\n'
    )
    return folder


@pytest.fixture(scope="module")
def choice(tiny_pair):
    return SystemConfig(weights=tiny_pair)


@pytest.fixture(scope="module")
def encoder(choice):
    """The models of the tiny pair, loaded."""
    return ShardEncoder(system_of(choice))


@pytest.fixture
def order(source, choice, encoder):
    def order(out, films=source, **changes):
        listed = films / "captions.jsonl"
        captions = str(listed) if listed.is_file() else "none"
        usual = {"captions": captions, "validation": 0.3, "shard_size": 2, "batch": 2}
        usual |= {"source": films, "out": out, "weights": choice.weights, "reconstructions": 2}
        return PrepareConfig(**usual | changes), encoder

    return order


@pytest.fixture(scope="module")
def whole(source, choice, encoder, tmp_path_factory):
    """The result without any accident."""
    out = tmp_path_factory.mktemp("whole") / "out"
    config = PrepareConfig(
        source=source,
        out=out,
        captions=str(source / "captions.jsonl"),
        validation=0.3,
        shard_size=2,
        batch=2,
        weights=choice.weights,
        reconstructions=2,
    )
    list(prepare(config, encoder))
    return out


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def copied(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "out")
    return tmp_path / "out"


def notices(order):
    return [step.notice for step in prepare(*order) if step.notice]


def test_manifest_and_stores_say_the_same(whole, source, encoder):
    prepared = PreparedFolder(whole)
    assert prepared.about["preset"] == "embedded"
    assert (prepared.about["seconds"], prepared.about["sample_rate"]) == (1.6, 16_000)
    assert sum(map(len, prepared.manifest.values())) == 8
    groups = {}
    for part in ("train", "validation"):
        clips = prepared.manifest[part]
        pairs = prepared.store(part).read()
        assert [one["index"] for one in clips] == list(range(len(pairs)))
        groups[part] = {one["group"] for one in clips}
        for clip in clips:
            start = Fraction(str(clip["start"]))
            (seen,) = read_clips(source / clip["source"], (start,), encoder.form)
            latents = encoder.latents([seen])
            torch.testing.assert_close(pairs.z_0.audio[clip["index"]], latents.audio[0])
            torch.testing.assert_close(pairs.z_0.video[clip["index"]], latents.video[0])
            row = read_tensors(whole / part / f"shard-{clip['shard']:05d}.safetensors")
            assert torch.equal(row["audio.z_0"][clip["row"]], pairs.z_0.audio[clip["index"]])
    assert groups["train"]
    assert groups["validation"]
    assert not groups["train"] & groups["validation"]


def test_captions_that_mean_nothing_are_empty_and_told(whole):
    clips = chain(*PreparedFolder(whole).manifest.values())
    said = {one["source"]: (one["source_caption"], one["caption"]) for one in clips}
    assert said["film 0.mkv"] == ("a red ball bouncing", "a red ball bouncing")
    assert said["film 1.mkv"] == ("Quatschkopf", "")
    assert said["film 2.mkv"] == ("a red Quatschkopf", "a red Quatschkopf")
    assert said["film 3.mkv"] == ("", "")
    report = json.loads((whole / "report.json").read_text())
    assert report["captions"]["not_understood"] == {"Quatschkopf": 2}


def test_captions_that_are_understood_by_half_are_told(whole):
    report = json.loads((whole / "report.json").read_text())
    found = report["captions"]["understood_in_part"]
    assert found.keys() == {"a red Quatschkopf"}
    assert found["a red Quatschkopf"]["clips"] == 2
    (line,) = found["a red Quatschkopf"]["notices"]
    assert "only 1 of 2 words say anything" in line
    assert summary_lines(report)[-1].startswith("2 clips have captions that the models do not take")
    assert line in summary_lines(report)[-1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"split_block": 20.0}, "--split-block has no effect"),
        ({"layout": "landscape", "validation": 0.3}, "--validation has no effect"),
    ],
)
def test_what_would_change_nothing_is_refused_before_any_work(
    order, source, tmp_path, changes, said
):
    films = tmp_path / "films"
    for part, name in (("train", "film 0.mkv"), ("test", "film 1.mkv")):
        (films / part).mkdir(parents=True)
        shutil.copy(source / name, films / part)
    with pytest.raises(UserError, match=said):
        notices(order(tmp_path / "out", films, **changes))
    assert not list((tmp_path / "out").rglob("*.*"))


def test_the_same_order_again_changes_nothing(whole, order, tmp_path):
    out = copied(whole, tmp_path)
    before = contents(out)
    shards = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    assert not notices(order(out))
    assert contents(out) == before
    assert {path: path.stat().st_mtime_ns for path in shards} == shards


@pytest.mark.parametrize(
    "name",
    [
        "train/shard-00000.safetensors",
        "blocks/block-00001.json",
        "blocks/plan.jsonl",
        "train/store.json",
        "manifest.jsonl",
    ],
)
def test_what_is_damaged_is_named_and_made_again(whole, order, tmp_path, name):
    out = copied(whole, tmp_path)
    before = contents(out)
    path = out / name
    path.write_bytes(path.read_bytes()[:-20])
    if name != "train/store.json":  # without its list all shards of a part are made again
        others = [one for one in out.rglob("shard-*") if one != path]
        stamps = [one.stat().st_mtime_ns for one in others]
    said = notices(order(out))
    assert contents(out) == before
    if name not in ("train/store.json", "manifest.jsonl"):
        assert len(said) == 1
        assert path.name in said[0]
    if name.endswith("tensors"):
        assert [one.stat().st_mtime_ns for one in others] == stamps


def test_a_damaged_manifest_is_not_read(whole, tmp_path):
    out = copied(whole, tmp_path)
    text = (out / "manifest.jsonl").read_text()
    (out / "manifest.jsonl").write_text(text.replace("film 0", "film 9"))
    with pytest.raises(UserError, match=r"manifest\.jsonl is damaged"):
        _ = PreparedFolder(out).manifest
    (out / "prepared.json").unlink()
    with pytest.raises(UserError, match="not finished"):
        _ = PreparedFolder(out).about


def in_child(task):
    """Run ``task`` in a process of its own, which begins as a copy of this one."""
    pid = os.fork()
    if pid:
        return pid
    try:
        task()
    finally:
        os._exit(1)


def ended(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def run_to_the_end(order):
    list(prepare(*order))
    os._exit(0)


def test_a_kill_before_any_file_takes_its_place_changes_nothing(whole, order, tmp_path):
    out = tmp_path / "out"

    def killed_at(count):
        def task():
            left = [count]
            move = Path.replace

            def counted(self, target):
                left[0] -= 1
                if not left[0]:
                    os.kill(os.getpid(), signal.SIGKILL)
                return move(self, target)

            Path.replace = counted
            run_to_the_end(order(out))

        return task

    deaths = 0
    while ended(in_child(killed_at(deaths + 1))):
        deaths += 1
        assert deaths < 40
    assert deaths >= 4
    assert contents(out) == contents(whole)


def test_kills_at_random_times_change_nothing(whole, order, tmp_path):
    chance = random.Random(0)
    begin = time.monotonic()
    assert not ended(in_child(lambda: run_to_the_end(order(tmp_path / "timed"))))
    span = time.monotonic() - begin
    out, kills = tmp_path / "out", 0
    while kills < KILLS:
        child = in_child(lambda: run_to_the_end(order(out)))
        time.sleep(chance.uniform(0, span))
        os.kill(child, signal.SIGKILL)
        kills += ended(child) == -signal.SIGKILL
        if (out / "prepared.json").is_file():
            assert contents(out).items() >= contents(whole).items()
            shutil.rmtree(out)
    assert not ended(in_child(lambda: run_to_the_end(order(out))))
    assert contents(out) == contents(whole)


def test_another_setting_is_refused(whole, order, tmp_path):
    out = copied(whole, tmp_path)
    with pytest.raises(UserError, match=r"prepared with shard_size 2, not 3: give another folder"):
        list(prepare(*order(out, shard_size=3)))


def test_a_source_that_changed_is_not_mixed_in(whole, order, tmp_path, source):
    films = tmp_path / "films"
    shutil.copytree(source, films)
    list(prepare(*order(tmp_path / "out", films)))
    for path in films.glob("*.mkv"):
        path.unlink()
    (tmp_path / "out" / "train" / "shard-00000.safetensors").unlink()
    with pytest.raises(UserError, match="shard 0 of train is damaged and its videos are not what"):
        list(prepare(*order(tmp_path / "out", films)))


def test_hostile_files_are_survived_and_told(order, tmp_path):
    films = tmp_path / "films"
    films.mkdir()
    moving(films / "good 'one'.mkv", 1)
    moving(films / 'new\nline "x" <b>&.mkv', 2)
    moving(films / os.fsdecode(b"no\xfftext.mkv"), 3)
    (films / "empty.mp4").touch()
    (films / "text.mp4").write_text("hello\n" * 100)
    data = moving(films / "cut.mov", 4, 6.0).read_bytes()
    (films / "cut.mov").write_bytes(data[: len(data) // 3])
    film(films / "empty sound.mov", sound=lambda seconds, rate: silence(0, rate))
    film(films / "one frame.mkv", 0.1, sound=noise)
    film(films / "silent.mkv", 2.0, sound=silence)
    film(films / "frozen.mkv", 2.0, sound=noise, still=True)
    film(films / "thin.mkv", 2.0, size=(2, 10_000), codec="ffv1")
    film(films / "no sound.mkv", 2.0, sound=None)
    (films / "loop.mp4").symlink_to(films / "loop.mp4")
    (films / "around").symlink_to(films)
    os.mkfifo(films / "pipe.mp4")
    moving(films / "locked.mkv", 5).chmod(0)
    out = tmp_path / "out"
    list(prepare(*order(out, films)))
    good = {"good 'one'.mkv", 'new\nline "x" <b>&.mkv', "no\udcfftext.mkv"}
    if os.geteuid() == 0:
        good.add("locked.mkv")  # who may read everything can read this too
    assert {one["source"] for one in chain(*PreparedFolder(out).manifest.values())} == good
    report = json.loads((out / "report.json").read_text())
    told = {one["source"]: one["reason"] for one in (*report["files"], *report["clips"])}
    told.pop("locked.mkv", None)
    assert told == {
        "around": "link to a folder",
        "cut.mov": "undecodable",
        "empty sound.mov": told["empty sound.mov"],
        "empty.mp4": "empty file",
        "frozen.mkv": "frozen picture",
        "loop.mp4": "broken link",
        "no sound.mkv": "no sound track",
        "one frame.mkv": "too short",
        "pipe.mp4": "not a file",
        "silent.mkv": "digital silence",
        "text.mp4": "undecodable",
        "thin.mkv": "picture too small",
    }
    page = (out / "report.html").read_text()
    assert "<b>&.mkv" not in page
    assert "&lt;b&gt;&amp;.mkv" in page
    assert "frozen picture" in page


def test_nothing_of_use_is_one_line_that_names_the_report(order, tmp_path):
    films = tmp_path / "films"
    films.mkdir()
    film(films / "silent.mkv", 2.0, sound=silence)
    with pytest.raises(UserError, match=r"no clip is of use: .*report\.json"):
        list(prepare(*order(tmp_path / "out", films)))
    assert (tmp_path / "out" / "report.html").is_file()
    assert not (tmp_path / "out" / "prepared.json").exists()

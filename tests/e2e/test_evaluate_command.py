"""``mmdisco evaluate`` over folders of real files, good and bad."""

import json
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mmdisco.cli.evaluate import execute
from mmdisco.errors import UserError
from mmdisco.evaluation.clips import items
from mmdisco.evaluation.config import EvaluationConfig
from mmdisco.evaluation.evaluate import evaluate
from mmdisco.evaluation.extract import CachedFeatures, cache_path
from mmdisco.evaluation.registry import suite
from mmdisco.io.files import write_json
from mmdisco.media.clip import Audio, AudioVideo, Video
from mmdisco.media.read import WHOLE
from mmdisco.media.sounding_objects.dataset import example
from mmdisco.media.write import write_audio, write_clip, write_video
from mmdisco.training.diagnostics.report import (
    BinaryScores,
    CouplingDiagnostics,
    Denoising,
    Diagnostics,
    LevelDiagnostics,
)
from mmdisco.training.diagnostics.scores import Bin

FEW = 24
METRICS = ("neighbours", "nearest")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Real clips twice; among the generated ones every kind of bad clip."""
    root = tmp_path_factory.mktemp("clips")
    for k in range(FEW):
        write_clip(root / "real" / f"{k:02}.mp4", example(0, k).clip)
        clip = example(1, k).clip
        if k % 2:
            write_clip(root / "made" / f"{k:02}.mp4", clip)
        else:  # a wav beside a picture
            write_video(root / "made" / f"{k:02}.mp4", clip.video)
            write_audio(root / "made" / f"{k:02}.wav", clip.audio)
    clip = example(2, 0).clip
    quiet = Audio(np.zeros_like(clip.audio.waveform), clip.audio.sample_rate)
    write_clip(root / "made" / "silent.mp4", AudioVideo(quiet, clip.video))
    small = Video(np.ascontiguousarray(clip.video.frames[:, ::2, ::2]), Fraction(10))
    write_clip(root / "made" / "small.mp4", AudioVideo(clip.audio, small))
    short = Audio(clip.audio.waveform[:8000], clip.audio.sample_rate)
    write_clip(root / "made" / "short.mp4", AudioVideo(short, clip.video))
    write_video(root / "made" / "mute.mp4", clip.video)
    (root / "made" / "junk.mp4").write_bytes(b"no film")
    write_audio(root / "made" / "alone.wav", clip.audio)
    return root


def options(root, **changes):
    given = {
        "generated": root / "made",
        "reference": root / "real",
        "metrics": METRICS,
        "cache": root / "cache",
        "jobs": 1,
    }
    return EvaluationConfig(**(given | changes))


@pytest.fixture(scope="module")
def results(folders):
    out = folders / "out"
    execute(options(folders, json_file=out / "r.json", report=out / "r.html"))
    return out


def test_every_figure_has_its_count_and_interval(results):
    record = json.loads((results / "r.json").read_text())
    named = {one["metric"]: one for one in record["metrics"]}
    assert {"precision, video-statistics", "coverage, audio-statistics"} < named.keys()
    for one in record["metrics"]:
        if one["value"] is None:
            assert one["not computed"] == "needs 100 reference clips, not 24"
            continue
        assert one["count"] == FEW + 1  # the silent one is kept
        assert len(one["interval"]) == 2
    assert record["conditions"]["seed"] == 0
    assert {"mmdisco", "torch", "av"} < record["conditions"].keys()
    assert {e["name"] for e in record["extractors"]} == {"audio-statistics", "video-statistics"}


@pytest.mark.parametrize(
    ("name", "what", "kept"),
    [
        ("silent.mp4", "silent", True),
        ("small.mp4", "16 frames of 32x32", False),
        ("short.mp4", "picture lasts 1.60 s, the sound 0.5", False),
        ("mute.mp4", "no sound track", False),
        ("junk.mp4", "cannot read", False),
        ("alone.wav", "sound without a picture", False),
    ],
)
def test_strange_clips_are_named(results, name, what, kept):
    problems = json.loads((results / "r.json").read_text())["problems"]
    (one,) = [p for p in problems if p["clip"].endswith(name)]
    assert what in one["what"]
    assert one["kept"] is kept
    assert len(problems) == 6


def test_the_page_needs_nothing_else_and_its_clips_are_inside(results):
    page = (results / "r.html").read_text()
    assert page.count("data:video/mp4;base64,") == 8
    assert page.count("data:image/png;base64,") == 8 + 1  # and the figures with intervals
    assert not re.search(r"(src|href)=['\"]?(https?:|/)", page)
    assert "junk.mp4" in page
    assert "precision, video-statistics" in (results / "r.md").read_text()


def test_bases_and_diagnostics_stand_beside_the_clips(folders, tmp_path):
    told = {
        "accuracy": 0.9,
        "ranking": 0.95,
        "calibration_error": 0.1,
        "cross_entropy": 0.5,
        "logit_real": 2.0,
        "logit_other": -2.0,
    }
    levels = tuple(
        LevelDiagnostics(
            u,
            u,
            {"fake": BinaryScores(**told)},
            {"audio": Denoising(4 - 8 * u, 3.0, 2.0, 0.1), "video": Denoising(0.0, 3.0, 2.5, 0.1)},
        )
        for u in (0.2, 0.8)
    )
    along = CouplingDiagnostics(levels, {"fake": (Bin(0.4, 0.5, 1.0),)}, {"fake": 0.1})
    diagnostics = Diagnostics({"real": 16}, {"joint": along})
    write_json(tmp_path / "diagnostics.json", diagnostics.record())
    assert Diagnostics.read(tmp_path / "diagnostics.json") == diagnostics
    out = tmp_path / "r.html"
    execute(
        options(
            folders,
            metrics=("neighbours", "sync"),
            bases=folders / "real",
            diagnostics=tmp_path / "diagnostics.json",
            report=out,
            json_file=tmp_path / "r.json",
        )
    )
    record = json.loads((tmp_path / "r.json").read_text())
    named = {one["metric"]: one for one in record["metrics"]}
    beside = {one["metric"]: one for one in record["metrics of the unguided baseline"]}
    precision = "precision, video-statistics"
    assert named[precision]["baseline"]["unguided baseline"] == beside[precision]["value"]
    page = out.read_text()
    heads = [
        page.index(f"<h3>{name}</h3>") for name in ("reference", "unguided baseline", "generated")
    ]
    assert heads == sorted(heads)
    assert page.count("data:video/mp4;base64,") == 12
    assert page.count("class=plot") >= 2
    assert "Diagnostics of the discriminator" in page
    assert "joint: accuracy against fake" in page


def test_another_json_is_no_diagnostics(folders, tmp_path):
    write_json(tmp_path / "h.json", {"pairs": {}})
    with pytest.raises(UserError, match=r"is no diagnostics\.json"):
        execute(options(folders, diagnostics=tmp_path / "h.json", report=tmp_path / "r.html"))


def test_a_second_run_reads_no_clip_again(results, folders):
    before = {p: p.stat().st_mtime_ns for p in (folders / "cache").rglob("*.safetensors")}
    first = (results / "r.json").read_text()
    execute(options(folders, json_file=results / "again.json"))
    after = {p: p.stat().st_mtime_ns for p in (folders / "cache").rglob("*.safetensors")}
    assert after == before
    assert (results / "again.json").read_text() == first


def test_parts_read_everything_and_the_figures_are_the_same(results, folders):
    cache = folders / "cache2"
    for part in range(3):
        assert f"part {part} of 3" in execute(options(folders, cache=cache, shard=f"{part}/3"))
    execute(options(folders, cache=cache, json_file=results / "parts.json"))
    assert (results / "parts.json").read_text() == (results / "r.json").read_text()


def test_another_extractor_adds_to_what_is_kept(results, folders):
    del results
    item = items(folders / "real")[0][0]
    path = cache_path(folders / "cache", item, WHOLE)
    before = CachedFeatures.load(path)
    text = execute(options(folders, metrics=("objects",)))
    after = CachedFeatures.load(path)
    assert set(before.known) | {"objects@1"} <= set(after.known)
    np.testing.assert_array_equal(
        after.record("audio-statistics@1")["features"],
        before.record("audio-statistics@1")["features"],
    )
    assert "sounding objects, same kind" in text


def test_a_damaged_record_is_made_again(results, folders):
    first = (results / "r.json").read_text()
    path = cache_path(folders / "cache", items(folders / "real")[0][3], WHOLE)
    path.write_bytes(path.read_bytes()[:40])
    execute(options(folders, json_file=results / "mended.json"))
    assert (results / "mended.json").read_text() == first


def test_too_few_clips_are_said(folders):
    text = execute(options(folders, metrics=("kernel", "frechet")))
    assert "not computed" in text
    assert "clips in each folder for 42 features, not 24" in text
    assert "42 reference clips" in text or "42 clips" in text


def test_folders_of_different_forms_are_one_clear_line(folders):
    for k in range(2):
        clip = example(5, k).clip
        half = Video(np.ascontiguousarray(clip.video.frames[:, ::2, ::2]), Fraction(10))
        write_clip(folders / "half" / f"{k}.mp4", AudioVideo(clip.audio, half))
    with pytest.raises(UserError, match=r"different forms.*give --size"):
        execute(options(folders, generated=folders / "half"))
    text = execute(options(folders, generated=folders / "half", size="32x32"))
    assert "16 frames of 32x32" in text


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"metrics": ("fid",)}, "unknown metric 'fid': choose of frechet"),
        ({"features": ("vgg",)}, "unknown features 'vgg': choose of statistics"),
        ({"features": ("clip",)}, "unknown features 'clip'"),
        ({"shard": "4/4"}, "--shard must be I/N"),
        ({"shard": "0/2", "json_file": Path("r.json")}, "--shard measures nothing"),
        ({"diagnostics": Path("h.json")}, "--diagnostics is for the report"),
        ({"fps": "1e-99999999"}, "fps '1e-99999999' is no number"),
        ({"size": "64"}, "give HEIGHTxWIDTH"),
        ({"fps": "0"}, "fps 0: give more than 0 and less than 1000000"),
        ({"jobs": 0}, "jobs 0: give at least 1"),
    ],
)
def test_mistakes_are_one_clear_line(folders, changes, line):
    with pytest.raises(UserError, match=re.escape(line)):
        execute(options(folders, **changes))


def test_a_folder_without_clips_is_said(folders, tmp_path):
    with pytest.raises(UserError, match="has no clips"):
        execute(options(folders, generated=tmp_path))
    with pytest.raises(UserError, match="is no folder"):
        execute(options(folders, generated=tmp_path / "none"))


def test_words_of_the_command_line_are_understood(tmp_path):
    words = {"size": "32x64", "fps": "30000/1001", "rate": 16000, "shard": "1/3"}
    config = EvaluationConfig.of_tree({"generated": tmp_path, **words})
    assert config.selection.size == (32, 64)
    assert config.selection.fps == Fraction(30000, 1001)
    assert config.selection.sample_rate == 16000
    assert config.shard == (1, 3)


def test_how_many_clips_each_metric_needs_is_said_before_any_is_read(folders, tmp_path):
    class Stopped(Exception):
        """Raised where reading would begin."""

    def told(line):
        said.append(line)
        raise Stopped

    said = []
    cache = tmp_path / "cache"
    config = options(folders, metrics=("nearest", "sync", "frechet"), cache=cache)
    with pytest.raises(Stopped):
        evaluate(config, told)
    (line,) = said
    assert not cache.exists()
    for metric in suite(config.metrics, config.features).metrics:
        assert f"{metric.name} needs {metric.min_clips} clips" in line
    assert f"there are {FEW + 5} generated, {FEW} reference" in line

"""Pipelines that nobody wrote an adapter for, from clips to a joint clip, by command alone."""

import json
from fractions import Fraction
from pathlib import Path
from statistics import mean

import pytest
from filmmaking import moving

from mmdisco.app.compare import score
from mmdisco.app.config import AppConfig
from mmdisco.app.requests import request_of, restore
from mmdisco.app.studio import MadeClip, Studio
from mmdisco.app.workspace import workspace
from mmdisco.io.files import read_object
from mmdisco.media.read import ReadSpec, read_clip

FRAMES = 9
SECONDS = FRAMES / 16
SMALL = (
    *("discriminator.width=8", "discriminator.d_model=32", "discriminator.num_layers=1"),
    *("validation.every=0", "validation.clips=0", "training.log_every=1", "loss.denoising=1"),
)


def lines_of(path):
    return Path(path).read_text().splitlines()


def loss_falls():
    log = [json.loads(line) for line in lines_of("trained/training/log.jsonl")]
    losses = [line["discrimination"] for line in log if "discrimination" in line]
    assert mean(losses[-4:]) < 0.9 * mean(losses[:4])


@pytest.fixture
def steps(mmdisco, stock_pipelines, tmp_path, monkeypatch):
    """Run commands one after the other in an empty folder; each must succeed."""
    monkeypatch.chdir(tmp_path)
    pair = ("--video-model", stock_pipelines["wan"], "--audio-model", stock_pipelines["audioldm"])

    def run(*words):
        named = [one for word in words for one in (pair if word == "PAIR" else [word])]
        ended = mmdisco(*named)
        assert ended.status in (None, 0), ended.err
        return ended

    return run


def page_makes_the_same(folder, stock_pipelines, clip):
    pair = {"video_model": stock_pipelines["wan"], "audio_model": stock_pipelines["audioldm"]}
    named = {name: str(one) for name, one in pair.items()} | {"discriminator": "trained"}
    app = AppConfig(**named, frames=FRAMES, size=(16, 16))
    prompts = {"prompt": "a square", "audio_prompt": "a hum", "steps": 2}
    with workspace(60.0, folder) as place:
        studio = Studio(app, place)
        *_, made = studio.make(request_of(prompts, app, app.of_models(*named.values())), "clip")
        assert isinstance(made, MadeClip)
        assert made.paths.clip.read_bytes() == clip
        assert restore(made.paths.record, app).system == app.system
        [scored] = score([made.paths.clip], "a", studio.system(app.system), app, embedded=False)
        assert scored.logit is not None


def test_clips_become_a_discriminator_that_guides_the_pair(
    steps, mmdisco, stock_pipelines, tmp_path
):
    (tmp_path / "clips").mkdir()
    for seed in range(4):
        moving(tmp_path / "clips" / f"{seed}.mp4", seed)
    rows = [
        "path,caption,audio_caption",
        *(f"{i}.mp4,a square,{'a hum' * (i % 2)}" for i in range(4)),
    ]
    (tmp_path / "captions.csv").write_text("\n".join(rows))
    size = ("--size", "16x16")
    listed = ("--captions", "captions.csv", "--validation", "0.3")
    steps("prepare", "clips", "--out", "data", "PAIR", "--seconds", SECONDS, *size, *listed)
    prepared = read_object(tmp_path / "data" / "prepared.json")
    assert prepared["models"]["video"]["pipeline"] == "WanPipeline"
    heard = {json.loads(line).get("audio_caption") for line in lines_of("data/manifest.jsonl")}
    assert heard == {None, "a hum"}

    steps("sample-fakes", "data", "--out", "fakes", "--steps", 2, "--cfg-scale", 1)
    sets = [word for one in SMALL for word in ("--set", one)]
    few = ("--steps", 16, "--batch-size", 4, "--learning-rate", 0.01, "--cpu")
    steps("train", "--data", "data", "--fakes", "fakes", "--out", "trained", *few, *sets)
    loss_falls()
    assert "--video-model" in (tmp_path / "trained" / "README.md").read_text()

    clip = ("generate", "a square", "PAIR", "--frames", FRAMES, *size, "--steps", 2)
    guided = (*clip, "--discriminator", "trained")
    steps(*guided, "--audio-prompt", "a hum", "--out", "joint.mp4")
    steps("generate", "--from-metadata", "joint.json", "--out", "again.mp4")
    joint = (tmp_path / "joint.mp4").read_bytes()
    assert joint == (tmp_path / "again.mp4").read_bytes()
    steps(*clip, "--no-joint-guidance", "--out", "alone.mp4")
    assert joint != (tmp_path / "alone.mp4").read_bytes()
    steps(*guided, "--video", "clips/0.mp4", "--out", "sound.mp4")
    steps(*guided, "--audio", "clips/0.mp4", "--candidates", 2, "--out", "video.mp4")
    assert read_object(tmp_path / "video.json")["video_model"] == str(stock_pipelines["wan"])
    for name in ("sound.mp4", "video.mp4"):
        made = read_clip(tmp_path / name, ReadSpec(fps=Fraction(16), size=(16, 16)))
        assert len(made.video.frames) == FRAMES
        assert made.audio.seconds == pytest.approx(SECONDS, abs=0.05)
        assert not made.audio.is_silent

    page_makes_the_same(tmp_path, stock_pipelines, joint)

    other = ("--video-model", stock_pipelines["wan"], "--audio-model", stock_pipelines["audioldm2"])
    refused = mmdisco("generate", "a", *other, "--discriminator", "trained", "--steps", 2)
    assert refused.status == 2
    assert "trained was trained for" in refused.err
    assert refused.err.count("\n") == 1


def test_a_pipeline_of_video_with_sound_goes_the_same_way(
    steps, mmdisco, stock_pipelines, tmp_path
):
    (tmp_path / "clips").mkdir()
    for seed in range(4):
        moving(tmp_path / "clips" / f"{seed}.mp4", seed)
    named, size = ("--joint-model", stock_pipelines["ltx-2"]), ("--size", "32x32")
    layout = ("--validation", "0.7", "--clips-per-file", 1)
    steps("prepare", "clips", "--out", "data", *named, "--seconds", 5 / 24, *size, *layout)
    assert read_object(tmp_path / "data" / "prepared.json")["models"].keys() == {"joint"}
    steps("sample-fakes", "data", "--out", "fakes", "--steps", 2)
    sets = [word for one in SMALL for word in ("--set", one)]
    few = ("--steps", 16, "--batch-size", 4, "--learning-rate", 0.01, "--cpu")
    steps("train", "--data", "data", "--fakes", "fakes", "--out", "trained", *few, *sets)
    loss_falls()
    assert "--joint-model" in (tmp_path / "trained" / "README.md").read_text()
    held_out = ("--data", "data", "--fakes", "fakes", "--pairs", 2, "--levels", 2)
    steps("diagnose", "trained", *held_out, "--out", "told")
    assert read_object(tmp_path / "told" / "diagnostics.json")

    clip = ("generate", "--no-prompt", *named, "--frames", 5, *size, "--steps", 2)
    steps(*clip, "--discriminator", "trained", "--out", "joint.mp4")
    steps("generate", "--from-metadata", "joint.json", "--out", "again.mp4")
    joint = (tmp_path / "joint.mp4").read_bytes()
    assert joint == (tmp_path / "again.mp4").read_bytes()
    contrast = ("--no-joint-guidance", "--modality-scale", 3.0)
    steps(*clip, *contrast, "--out", "contrast.mp4")
    assert joint != (tmp_path / "contrast.mp4").read_bytes()
    assert read_object(tmp_path / "contrast.json")["modality_scale"] == 3.0
    bill = steps(*clip, *contrast, "--dry-run").out
    assert any(line.startswith("| joint transformer |") for line in bill)

    for words, said in (
        (("--video-model", "a/b"), "--joint-model makes both"),
        (("--preset", "embedded"), "leave --preset out"),
        (("--audio-negative-prompt", "a hum"), "reads one prompt"),
    ):
        refused = mmdisco(*clip, *words)
        assert refused.status == 2
        assert said in refused.err
        assert refused.err.count("\n") == 1
    moved = mmdisco("sample-fakes", "data", "--out", "more", "--video-model", "a/b")
    assert moved.status == 2
    assert "leave --video-model out" in moved.err

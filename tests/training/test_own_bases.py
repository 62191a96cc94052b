"""`mmdisco bases`, at a size of seconds."""

import csv
import os
import signal
import time
from fractions import Fraction

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from mmdisco.adapters.miniature import PACKAGED
from mmdisco.adapters.miniature.autoencoder import build_autoencoder
from mmdisco.adapters.miniature.model import TextEncoder
from mmdisco.cli.app import app
from mmdisco.errors import UserError
from mmdisco.generation.generate import generate
from mmdisco.io.files import read_object, sha256
from mmdisco.media.clip import Audio, AudioVideo, Video
from mmdisco.media.write import write_clip
from mmdisco.training.bases.autoencoders import WhiteLatents
from mmdisco.training.bases.config import BasesConfig, FitConfig
from mmdisco.training.bases.fit import FitRun
from mmdisco.training.bases.run import SIDES
from mmdisco.training.bases.text import train_text_encoder, vocabulary_of, words_said

SHORT = ("steps=2", "batch_size=2", "warmup_steps=1", "checkpoint_every=1")
STAGES = ("text", "audio_autoencoder", "video_autoencoder", "audio_denoiser", "video_denoiser")
TINY = [f"{stage}.{change}" for stage in STAGES for change in SHORT] + [
    "audio_autoencoder.widths=[8, 8]",
    "video_autoencoder.widths=[8, 8, 8]",
    *(
        f"{side}_denoiser.{change}"
        for side in ("audio", "video")
        for change in ("channels=8", "width=16", "layers=1")
    ),
    "sample_every=2",
]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Four clips of a square that is lit while a tone sounds, 24×40 at 5 fps, with captions."""
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    with (folder / "captions.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("path", "caption"))
        for index, tone in enumerate((300, 600, 300, 600)):
            frames = np.full((4, 24, 40, 3), 0.2, np.float32)
            frames[index % 2 + 1 :, 6:18, 10:22] = 0.9
            times = np.arange(6400) / 8000
            sound = 0.3 * np.sin(2 * np.pi * tone * times) + 0.01 * rng.standard_normal(6400)
            clip = AudioVideo(Audio(sound.astype(np.float32), 8000), Video(frames, Fraction(5)))
            write_clip(folder / f"{index}.mp4", clip)
            table.writerow((f"{index}.mp4", f"a {'low' if tone == 300 else 'high'} tone, 2 times"))
    return folder


def command(clips, out, *more):
    sets = [part for change in (*TINY, *more) for part in ("--set", change)]
    form = ["--size", "24x40", "--fps", "5", "--seconds", "4/5", "--sample-rate", "8000"]
    captions = ["--captions", str(clips / "captions.csv")]
    return ["bases", str(clips), "--out", str(out), *captions, *form, *sets]


@pytest.fixture(scope="module")
def killed(clips, tmp_path_factory, one_thread):
    """A folder whose run was killed while it trained the first denoiser, and what was done."""
    out = tmp_path_factory.mktemp("made") / "pair"
    run = os.fork()
    if not run:
        CliRunner().invoke(app, command(clips, out))
        os._exit(0)
    checkpoint = out / "training" / "video_denoiser_training.safetensors"
    while not checkpoint.exists() and not os.waitpid(run, os.WNOHANG)[0]:
        time.sleep(0.01)
    os.kill(run, signal.SIGKILL)
    os.waitpid(run, 0)
    assert not (out / "config.json").exists()
    whole = checkpoint.parent.rglob("[!.]*.safetensors")
    return out, {path: path.stat().st_mtime_ns for path in whole}


@pytest.fixture(scope="module")
def pair(clips, killed):
    out, _ = killed
    made = CliRunner().invoke(app, command(clips, out), catch_exceptions=False)
    assert made.stdout.splitlines() == [str(out), str(out / "README.md")]
    return out


def test_a_killed_run_goes_on_and_makes_nothing_again(killed, pair):
    before = killed[1]
    checkpoint = pair / "training" / "video_denoiser_training.safetensors"
    # text encoder, autoencoders, five networks of the encoders' folder, two stores of latents
    assert len(before.keys() - {checkpoint}) == 3 + 5 + 2
    assert not checkpoint.exists()
    assert all(path.stat().st_mtime_ns == then for path, then in before.items() if path.exists())
    assert before.keys() - {checkpoint} <= set((pair / "training").rglob("*.safetensors"))


def test_the_folder_is_a_preset_of_the_clips_form(pair):
    (clip,) = generate("a high tone", preset=str(pair), steps=2, no_joint_guidance=True)
    assert clip.video.frames.shape == (4, 24, 40, 3)
    assert (clip.video.fps, clip.audio.sample_rate, len(clip.audio.waveform)) == (5, 8000, 6400)
    assert read_object(pair / "config.json")["words"] == ["a", "high", "low", "times", "tone"]


def test_the_pair_goes_the_whole_way_to_joint_clips(pair, clips, tmp_path):
    data, fakes, mine = (str(tmp_path / name) for name in ("data", "fakes", "mine"))
    small = ("width=8", "depth=1", "channel_mult=[1]", "d_model=8", "num_layers=1")
    sets = [part for one in small for part in ("--set", f"discriminator.{one}")]
    sets += ["--steps", "2", "--batch-size", "2", "--cpu"]
    captions = ["--captions", str(clips / "captions.csv"), "--validation", "0.3"]
    for words in (
        ["prepare", str(clips), "--preset", str(pair), *captions, "--out", data],
        ["sample-fakes", data, "--out", fakes, "--steps", "2"],
        ["train", "--data", data, "--fakes", fakes, "--out", mine, *sets],
    ):
        CliRunner().invoke(app, words, catch_exceptions=False)
    (clip,) = generate("a low tone", preset=str(pair), discriminator=mine, steps=6)
    (alone,) = generate("a low tone", preset=str(pair), no_joint_guidance=True, steps=6)
    assert clip.video.frames.shape == alone.video.frames.shape == (4, 24, 40, 3)
    assert not np.array_equal(clip.video.frames, alone.video.frames)


def test_guidance_without_a_discriminator_is_refused(pair):
    with pytest.raises(UserError, match="no published discriminator: give --discriminator"):
        generate("a high tone", preset=str(pair), steps=2)


def test_pictures_and_card_say_what_was_learnt(pair):
    names = {path.name for path in (pair / "samples").iterdir()}
    assert names == {
        "audio_autoencoder.png",
        "video_autoencoder.png",
        "clips.png",
        "audio-000002.png",
        "video-000002.png",
    }
    card = (pair / "README.md").read_text()
    assert "3 clips to train on, 1 held out" in card
    assert "Known words: a, high, low, times, tone." in card


def test_tasks_side_by_side_make_the_same_as_one_after_the_other(pair, clips, monkeypatch):
    def each(work, tasks, jobs, begin, **_):
        """Do in this process what workers do, which a test of them shows."""
        begin()
        yield from ((task, work(task)) for task in tasks)

    monkeypatch.setattr("mmdisco.training.bases.side_by_side.each", each)
    work, names = pair / "training", [f"{side}_autoencoder" for side in SIDES]
    files = [work / f"{name}.safetensors" for name in names]
    sums, spent = [sha256(path) for path in files], read_object(work / "durations.json")
    for path in (*files, pair / "README.md"):
        path.unlink()
    CliRunner().invoke(app, [*command(clips, pair), "--jobs", "2"], catch_exceptions=False)
    assert [sha256(path) for path in files] == sums
    now = read_object(work / "durations.json")
    assert now.keys() == spent.keys()
    assert all(now[f"{side} autoencoder"] > spent[f"{side} autoencoder"] for side in SIDES)


def test_sampling_begins_as_that_of_the_embedded_pair_without_its_scales(pair):
    own, embedded = (read_object(one / "config.json")["sampling"] for one in (pair, PACKAGED))
    scales = {"joint_scale", "video_to_audio", "audio_to_video", "few_steps", "few_steps_scale"}
    assert own == {
        **{name: value for name, value in embedded.items() if name not in scales},
        **{"joint_scale": [1.0, 1.0], "video_to_audio": 1.0, "audio_to_video": 1.0},
    }


def test_a_mistaken_source_leaves_nothing_behind(clips, tmp_path):
    made = CliRunner().invoke(app, command(tmp_path / "nowhere", tmp_path / "pair"))
    assert "is not there: give a folder of clips" in str(made.exception)
    assert not list((tmp_path / "pair").rglob("*.json"))


def test_another_setting_in_the_same_folder_is_refused(pair, clips):
    made = CliRunner().invoke(app, command(clips, pair, "seed=1"))
    assert "was made with seed 0, not 1" in str(made.exception)


def test_captions_are_read_once_and_vectors_come_to_tell_their_words(tmp_path, monkeypatch):
    captions = ["", "a red ball", "a green ball", "a bell"]
    read = []
    bags = TextEncoder.bags
    monkeypatch.setattr(
        TextEncoder, "bags", lambda self, texts: read.append(texts) or bags(self, texts)
    )
    torch.manual_seed(0)
    encoder = TextEncoder(("ball", "bell", "green", "red"))
    answers = words_said(encoder, captions)
    read.clear()
    config = FitConfig(steps=20, batch_size=16, warmup_steps=1)
    losses = []
    run = FitRun(config, 0, tmp_path / "text", lambda done, loss, average: losses.append(loss))
    trained = train_text_encoder(encoder, captions, answers, run)
    assert read == [captions]
    assert losses[-1] < losses[0]
    assert torch.equal(trained(captions), trained.encode(bags(trained, captions)))


def test_an_interrupted_fit_equals_an_uninterrupted_one(tmp_path):
    config = FitConfig(steps=4, checkpoint_every=2, warmup_steps=1)

    def trained(path, stop=None):
        torch.manual_seed(0)
        network = torch.nn.Linear(3, 1)

        def loss_of(step, generator):
            if step == stop:
                raise KeyboardInterrupt
            return network(torch.randn(8, 3, generator=generator)).square().mean()

        return FitRun(config, 0, path, lambda *_: None).fit(network, loss_of)

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "a", stop=3)
    again, whole = trained(tmp_path / "a"), trained(tmp_path / "b")
    assert torch.equal(again.weight, whole.weight)


def test_white_latents_are_white_over_the_data(generator):
    network = build_autoencoder(1, (8, 8))
    images = torch.randn(16, 4, 8, 8, generator=generator)
    with torch.no_grad():
        WhiteLatents().settle(network, network.encode(images)[0].mean)
        columns = network.encode(images)[0].mean.transpose(0, 1).flatten(1)
    assert torch.allclose(torch.cov(columns), torch.eye(4), atol=0.02)


def test_words_are_those_that_a_prompt_can_be_read_in():
    assert vocabulary_of(["Two dogs bark 3 times", "a dog"]) == (
        "a",
        "bark",
        "dog",
        "dogs",
        "times",
    )
    with pytest.raises(UserError, match="no clip has a caption"):
        vocabulary_of([""])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"size": "70x96"}, "a size of 70x96: give multiples of 8"),
        ({"seconds": 1.65}, "16.5 frames: give a whole number"),
        ({"audio_autoencoder": {"widths": (12,)}}, "give multiples of 8"),
        ({"video_denoiser": {"width": 30}}, "a width in those of 4"),
        ({"sample_rate": 10}, "sample_rate 10: give 4000 to 48000"),
    ],
)
def test_sizes_that_do_not_fit_together_are_refused(changed, said):
    with pytest.raises(UserError, match=said):
        BasesConfig.of_tree({"source": "clips", "out": "pair", **changed})


def test_a_setting_of_a_network_leaves_its_others():
    changed = {"audio_denoiser": {"steps": 3}, "video_autoencoder": {"steps": 5}}
    usual = BasesConfig.of_tree({"source": "clips", "out": "pair"})
    made = BasesConfig.of_tree({"source": "clips", "out": "pair", **changed})
    assert made == usual.updated({"audio_denoiser.steps": 3, "video_autoencoder.steps": 5})
    assert made.audio_denoiser.width == usual.audio_denoiser.width != 256
    assert made.video_autoencoder.widths == (24, 48, 64)

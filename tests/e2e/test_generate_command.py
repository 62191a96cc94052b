"""``mmdisco generate`` by its command line: what it writes, repeats and refuses."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import wave
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from closeness import SAMPLE, SHADE, assert_close, is_close

from mmdisco.cli import main
from mmdisco.core.av import AV
from mmdisco.generation.config import GenerateConfig
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.generation.resolve import resolve
from mmdisco.media.clip import Audio, AudioVideo, Video
from mmdisco.media.read import ReadSpec, read_audio, read_clip, read_video
from mmdisco.media.sounding_objects.dataset import example
from mmdisco.media.write import write_audio, write_clip, write_video

PROMPT = "a red ball bouncing"


class Ended:
    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out.splitlines(), err


@pytest.fixture
def run(tiny_pair, tmp_path, monkeypatch, capsys):
    """The command in the folder ``tmp_path``, quiet and with the tiny pair by default."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, quiet=True):
        weights = () if "--weights" in arguments else ("--weights", tiny_pair)
        words = ["mmdisco", "generate", *arguments, *weights, *(["--quiet"] if quiet else [])]
        monkeypatch.setattr(sys, "argv", [str(word) for word in words])
        with pytest.raises(SystemExit) as stopped:
            main()
        said = capsys.readouterr()
        return Ended(stopped.value.code, said.out, said.err)

    return run


@pytest.fixture
def kept_between_runs(tmp_path, monkeypatch):
    """An empty folder, to keep in what a run leaves for the next."""
    monkeypatch.setenv("MMDISCO_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """What a user may give: a film of 2 s with sound, 20 fps and 96×80, and things less fit."""
    folder = tmp_path_factory.mktemp("files")
    clip = example(0, 0).clip
    frames = np.tile(clip.video.frames, (3, 2, 2, 1))[:40, :80, :96]
    write_clip(folder / "film.mp4", AudioVideo(clip.audio, Video(frames, Fraction(20))))
    write_video(folder / "silent film.mp4", clip.video)
    write_audio(folder / "sound.wav", clip.audio)
    (folder / "text.mp4").write_text("no film")
    (folder / "folder.mp4").mkdir()
    with wave.open(str(folder / "empty.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
    with av.open(str(folder / "empty.mp4"), "w") as container:
        container.add_stream("aac", rate=16_000, layout="mono")
    return folder


@pytest.fixture
def film(files, tmp_path):
    return shutil.copy(files / "film.mp4", tmp_path / "film.mp4")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def scales(record, option):
    """Scales of sound and video in a record; None where there is none."""
    return record.get(f"{option}_audio"), record.get(f"{option}_video")


def same(one, other):
    """Whether two files have the same pictures and the same sound."""
    a, b = read_clip(one), read_clip(other)
    return np.array_equal(a.video.frames, b.video.frames) and np.array_equal(
        a.audio.waveform, b.audio.waveform
    )


def test_a_prompt_becomes_a_clip_a_picture_and_a_record(run, tmp_path):
    done = run(PROMPT, "--out", "new/clip.mp4")
    assert (done.status, done.err) == (0, "")
    assert done.out == ["new/clip.mp4", "new/clip.png", "new/clip.json"]
    assert names(tmp_path / "new") == ["clip.json", "clip.mp4", "clip.png"]
    clip = read_clip(tmp_path / "new" / "clip.mp4")
    assert (clip.video.frames.shape, clip.video.fps) == ((16, 256, 256, 3), 10)
    assert clip.audio.seconds == clip.video.seconds == Fraction(8, 5)
    assert (tmp_path / "new" / "clip.png").read_bytes().startswith(b"\x89PNG")
    record = json.loads((tmp_path / "new" / "clip.json").read_text())
    environment = record["environment"]
    wanted = {"mmdisco", "torch", "diffusers", "av", "ffmpeg", "x264"}
    assert environment["versions"].keys() >= wanted
    assert re.match(r"\d{3}", environment["versions"]["x264"])
    assert environment["machine"].endswith(torch.backends.cpu.get_cpu_capability())
    assert environment["given"] is None
    told = ("prompt", "seed", "samples", "sample", "steps", "scheduler", "no_joint_guidance")
    assert [record[key] for key in told] == [PROMPT, 0, 1, 0, 8, "ddim", False]
    assert not record.keys() & {"video", "audio"}
    assert scales(record, "joint_scale") == (1.0, 1.0)
    assert scales(record, "cfg_scale") == (1.5, 1.5)
    assert re.fullmatch("[0-9a-f]{64}", environment["weights"]["discriminator"])
    assert record["took_seconds"] > 0


def test_a_clip_of_nothing_in_particular_is_asked_for_and_made_again(run, tmp_path):
    done = run("--no-prompt", "--steps", "2")
    assert done.out[0] == "clip.mp4"
    record = json.loads((tmp_path / "clip.json").read_text())
    assert record["no_prompt"]
    assert "prompt" not in record
    again = run("--from-metadata", "clip.json", "--out", "again.mp4")
    assert again.status == 0
    assert same(tmp_path / "clip.mp4", tmp_path / "again.mp4")


def test_the_record_of_a_chosen_clip_has_all_logits_and_makes_it_again(run, tmp_path):
    smc = ("--candidates", 3, "--smc-every", 2, "--steps", 5, "--scheduler", "ddpm")
    done = run(PROMPT, *smc, "--out", "clip.mp4", quiet=False)
    assert done.status == 0, done.err
    assert "the best of 3 candidates, resampled every 2 steps" in done.err
    record = json.loads((tmp_path / "clip.json").read_text())
    assert record["candidates"] == len(record["candidate_logits"]) == 3
    looks = record["effective_sample_sizes"]
    assert [one["step"] for one in looks] == [2, 4]
    assert all(1 <= one["size"] <= 3 for one in looks)
    assert all(one["resampled"] == (one["size"] < 1.5) for one in looks)
    assert names(tmp_path) == [f"clip.{end}" for end in ("json", "mp4", "png")]
    assert run("--from-metadata", "clip.json", "--out", "again.mp4").status == 0
    assert same(tmp_path / "clip.mp4", tmp_path / "again.mp4")


def test_files_are_named_after_the_prompt(run, tmp_path):
    done = run("A red ball, bouncing!")
    assert done.out[0] == "a-red-ball-bouncing.mp4"
    assert names(tmp_path) == [f"a-red-ball-bouncing.{end}" for end in ("json", "mp4", "png")]


@pytest.mark.parametrize("prompt", ["ball " * 100, "ball $x$ ${", "ball 球", "ball\nbell"])
def test_any_prompt_of_a_known_word_can_be_written(prompt, run):
    done = run(prompt)
    assert done.status == 0, done.err
    assert len(done.out) == 3


def test_samples_are_numbered_and_have_seeds_of_their_own(run, tmp_path):
    done = run(PROMPT, "--samples", 2, "--seed", 5, "--out", "c.mkv", "--wav")
    assert done.out == [f"c-{i}.{end}" for i in (0, 1) for end in ("mkv", "wav", "png", "json")]
    records = [json.loads((tmp_path / f"c-{i}.json").read_text()) for i in (0, 1)]
    assert [one["seed"] + one["sample"] for one in records] == [5, 6]
    assert not same(tmp_path / "c-0.mkv", tmp_path / "c-1.mkv")
    with wave.open(str(tmp_path / "c-1.wav")) as file:
        assert (file.getnframes(), file.getframerate()) == (25_600, 16_000)


def test_sound_is_put_to_the_first_seconds_of_a_given_video(run, film, tmp_path):
    done = run("--video", film)
    assert (done.status, done.out[0]) == (0, "clip.mp4")
    made, given = read_clip(tmp_path / "clip.mp4"), read_clip(film)
    assert (made.video.frames.shape, made.video.fps) == ((32, 80, 96, 3), 20)
    assert np.abs(made.video.frames - given.video.frames[:32]).mean() < 0.02
    # copied where no frame of the stretch rests on a later one, which is x264's to choose
    said = rf"mmdisco: {film}: 0 to 1\.6 s of 2 s are used, the picture (copied|encoded anew)\n"
    assert re.match(said, done.err)
    assert made.audio.seconds == made.video.seconds == Fraction(8, 5)
    assert not is_close(made.audio.waveform, given.audio.waveform[:25_600], rtol=0.1)
    record = json.loads((tmp_path / "clip.json").read_text())
    assert record["video"] == str(film)
    assert record["environment"]["given"] == hashlib.sha256(film.read_bytes()).hexdigest()
    assert scales(record, "joint_scale") == (1.0, None)


def filmed(path, frames=60):
    """A film of 20 fps without frames that need later ones, as phones make them."""
    options = {"bf": "0", "g": "10", "sc_threshold": "0"}
    with av.open(str(path), "w") as container:
        track = container.add_stream("libx264", rate=20, options=options)
        track.width, track.height, track.pix_fmt = 96, 64, "yuv420p"
        for index in range(frames):
            level = np.full((64, 96, 3), 20 + 3 * index, np.uint8)
            frame = av.VideoFrame.from_ndarray(level, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 20)
            container.mux(track.encode(frame))
        container.mux(track.encode())
    return path


def packets(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def test_picture_of_a_stretch_from_a_key_frame_on_is_that_of_the_film_to_the_bit(run, tmp_path):
    film = filmed(tmp_path / "a:film.mp4")
    done = run("--video", film.name, "--start", 0.5, "--out", "o.mp4")
    assert done.status == 0
    said = "a:film.mp4: 0.5 to 2.1 s of 3 s are used, the picture copied"
    assert done.err.startswith(f"mmdisco: {said}\n")
    assert packets(tmp_path / "o.mp4") == packets(film)[10:42]
    made = read_clip(tmp_path / "o.mp4")
    np.testing.assert_array_equal(made.video.frames, read_video(film).frames[10:42])
    assert made.audio.seconds == made.video.seconds == Fraction(8, 5)
    assert run("--from-metadata", "o.json", "--out", "p.mp4").status == 0
    assert (tmp_path / "o.mp4").read_bytes() == (tmp_path / "p.mp4").read_bytes()


def test_picture_of_a_stretch_between_key_frames_is_encoded_anew(run, tmp_path):
    film = filmed(tmp_path / "film.mp4")
    done = run("--video", "film.mp4", "--start", 0.7, "--out", "o.mp4")
    assert "0.7 to 2.3 s of 3 s are used, the picture encoded anew\n" in done.err
    made, given = read_video(tmp_path / "o.mp4"), read_video(film)
    assert made.fps == 20
    assert_close(made.frames, given.frames[14:46], rtol=5 * SHADE, scale=1)


def test_sound_is_taken_from_the_start_that_is_asked_for(run, tmp_path):
    ramp = np.arange(4 * 16_000, dtype=np.float32) / 64_000
    write_audio(tmp_path / "a.wav", Audio(ramp, 16_000))
    done = run("--audio", "a.wav", "--start", 1.5, "--out", "o.mp4", "--wav")
    anew = "the sound encoded anew, mono at 16000 Hz"
    used, lost = done.err.splitlines()
    assert used == f"mmdisco: a.wav: 1.5 to 3.1 s of 4 s are used, {anew}"
    # the autoencoders of the tests are random
    assert lost.startswith("mmdisco: a.wav: the models cannot know such sounds")
    kept = read_audio(tmp_path / "o.wav").waveform
    assert_close(kept, ramp[24_000:49_600], rtol=1.1 * SAMPLE, scale=1)
    assert json.loads((tmp_path / "o.json").read_text())["start"] == 1.5


def test_given_sound_keeps_its_channels_and_its_packets(run, tmp_path):
    t = np.arange(3 * 44_100, dtype=np.float32) / 44_100
    both = 0.4 * np.sin(2 * np.pi * np.stack([300 * t, 500 * t])).astype(np.float32)
    with av.open(str(tmp_path / "a.m4a"), "w", format="mp4") as container:
        track = container.add_stream("aac", rate=44_100, layout="stereo")
        block = av.AudioFrame.from_ndarray(both, format="fltp", layout="stereo")
        block.sample_rate, block.pts, block.time_base = 44_100, 0, Fraction(1, 44_100)
        container.mux(track.encode(block))
        container.mux(track.encode())
    done = run("--audio", "a.m4a", "--start", 0.7, "--out", "o.mp4")
    assert "0.7 to 2.3 s of 3 s are used, the sound copied\n" in done.err
    with av.open(str(tmp_path / "a.m4a")) as source, av.open(str(tmp_path / "o.mp4")) as made:
        assert made.streams.audio[0].layout.name == "stereo"
        kept = [bytes(packet) for packet in made.demux(audio=0) if packet.size]
        whole = [bytes(packet) for packet in source.demux(audio=0) if packet.size]
    first = whole.index(kept[0])
    assert whole[first : first + len(kept)] == kept
    stretch = ReadSpec(Fraction(7, 10), Fraction(8, 5))
    given, heard = read_audio(tmp_path / "a.m4a", stretch), read_clip(tmp_path / "o.mp4").audio
    assert_close(heard.waveform, given.waveform, rtol=1e-3, scale=1)


def test_picture_of_its_own_size_is_not_magnified(run, tmp_path):
    write_video(
        tmp_path / "v.mp4", Video(np.full((16, 300, 200, 3), 0.5, np.float32), Fraction(10))
    )
    run("--video", "v.mp4", "--out", "o.mp4")
    assert read_video(tmp_path / "o.mp4").frames.shape == (16, 300, 200, 3)


def test_short_video_is_held_until_the_sound_ends(run, tmp_path):
    levels = np.linspace(0.2, 0.8, 6, dtype=np.float32)[:, None, None, None]
    write_video(tmp_path / "v.mp4", Video(np.tile(levels, (1, 64, 64, 3)), Fraction(10)))
    run("--video", "v.mp4", "--out", "o.mp4")
    made = read_clip(tmp_path / "o.mp4")
    assert len(made.video.frames) == 16
    assert_close(made.video.frames[6:].mean((1, 2, 3)), 0.8, rtol=3 * SHADE, scale=1)
    assert made.audio.seconds == Fraction(8, 5)


def test_picture_is_put_to_a_given_sound(run, tmp_path):
    t = np.arange(3 * 44_100) / 44_100
    given = (0.5 * np.sin(2 * np.pi * (300 + 200 * t) * t)).astype(np.float32)
    write_audio(tmp_path / "a.wav", Audio(given, 44_100))
    done = run(PROMPT, "--audio", "a.wav", "--out", "o.mp4", "--wav")
    assert done.status == 0, done.err
    made = read_clip(tmp_path / "o.mp4")
    assert made.video.frames.shape == (16, 256, 256, 3)
    assert made.audio.sample_rate == 44_100
    assert np.corrcoef(made.audio.waveform, given[: len(made.audio.waveform)])[0, 1] > 0.99
    kept = read_audio(tmp_path / "o.wav").waveform
    assert_close(kept, given[:70_560], rtol=3 * SAMPLE, scale=1)


def test_a_given_file_is_never_written_over(run, film, tmp_path):
    before = film.read_bytes()
    for name in ("clip.mp4", "clip.wav"):
        copy = shutil.copy(film, tmp_path / name)
        done = run("--video", copy, "--wav")
        assert done.status == 2
        assert f"{name} is the given file: choose another name with --out" in done.err
        assert (tmp_path / name).read_bytes() == before
        (tmp_path / name).unlink()


def test_weights_of_the_guidance_are_told_by_side_or_for_both(run, tmp_path):
    def made(*options):
        assert run(PROMPT, *options, "--out", "c.mp4").status == 0
        record = json.loads((tmp_path / "c.json").read_text())
        return scales(record, "joint_scale"), read_video(tmp_path / "c.mp4").frames

    default, clip = made()
    alone, bases = made("--no-joint-guidance")
    zero, unguided = made("--joint-scale", 0)
    assert (default, alone, zero) == ((1.0, 1.0), (None, None), (None, None))
    assert np.array_equal(bases, unguided)
    assert not is_close(bases, clip, rtol=0.05)
    assert made("--joint-scale", 2, "--joint-scale-video", 0.5)[0] == (2.0, 0.5)


@pytest.mark.parametrize(
    ("wish", "scale"),
    [
        ({"joint_scale": 3.0}, AV(3.0, 3.0)),
        ({"joint_scale_audio": 3.0}, AV(3.0, 1.0)),
        ({"joint_scale_video": 3.0}, AV(1.0, 3.0)),
        ({"joint_scale": 2.0, "joint_scale_audio": 0.0}, AV(0.0, 2.0)),
        ({"no_joint_guidance": True}, AV(None, None)),
        ({}, AV(1.0, 1.0)),
    ],
    ids=str,
)
def test_a_side_without_a_weight_of_its_own_has_the_common_or_the_best_one(wish, scale, tiny_pair):
    resolved = resolve(GenerateConfig(prompt=PROMPT, **wish), MiniatureSystem(tiny_pair))
    assert AV(resolved.joint_scale_audio, resolved.joint_scale_video) == scale


def test_other_settings_reach_the_record_and_the_clip(run, tmp_path):
    run(PROMPT, "--out", "a.mp4")
    run(PROMPT, "--out", "b.mp4", "--steps", 9, "--scheduler", "euler", "--cfg-scale", 3)
    record = json.loads((tmp_path / "b.json").read_text())
    assert (record["steps"], record["scheduler"]) == (9, "euler")
    assert scales(record, "cfg_scale") == (3.0, 3.0)
    assert not same(tmp_path / "a.mp4", tmp_path / "b.mp4")


def test_record_makes_the_same_clip_again(run, tmp_path):
    options = ("--steps", 9, "--scheduler", "euler-ancestral", "--joint-scale-audio", 0.5)
    run(PROMPT, "--seed", 7, "--samples", 3, *options, "--out", "c.mp4")
    done = run("--from-metadata", "c-2.json")
    assert (done.status, done.err) == (0, "")
    assert done.out == [f"c-2-again.{end}" for end in ("mp4", "png", "json")]
    first, again = (tmp_path / f"{name}.mp4" for name in ("c-2", "c-2-again"))
    assert first.read_bytes() == again.read_bytes()
    first, second = (
        json.loads((tmp_path / f"{name}.json").read_text()) for name in ("c-2", "c-2-again")
    )
    assert first | {"took_seconds": 0} == second | {"took_seconds": 0}


@pytest.mark.parametrize("side", ["--video", "--audio"])
def test_record_of_one_side_needs_the_given_file_unchanged(side, run, film, tmp_path):
    run(side, film, "--out", "o.mp4")
    assert run("--from-metadata", "o.json", "--out", "p.mp4").status == 0
    assert (tmp_path / "o.mp4").read_bytes() == (tmp_path / "p.mp4").read_bytes()
    film.write_bytes(film.read_bytes() + b"\0")
    done = run("--from-metadata", "o.json", "--out", "q.mp4")
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert "film.mp4 has changed since" in done.err
    film.unlink()
    assert "cannot read" in run("--from-metadata", "o.json", "--out", "q.mp4").err
    assert not (tmp_path / "q.mp4").exists()


def test_record_of_other_weights_and_libraries_is_repeated_with_a_warning(run, tmp_path):
    run(PROMPT, "--out", "c.mp4")
    record = json.loads((tmp_path / "c.json").read_text())
    environment = record["environment"]
    environment["weights"]["discriminator"] = "0" * 64
    environment["versions"]["torch"] = "0.1"
    environment["threads"] = 64
    environment["machine"] = "riscv64, DEFAULT"
    (tmp_path / "c.json").write_text(json.dumps(record))
    done = run("--from-metadata", "c.json")
    assert done.status == 0
    assert len(done.out) == 3
    (line,) = done.err.splitlines()
    assert line.startswith("mmdisco: the clip may come out otherwise: torch was 0.1 and is 2")
    now = os.environ["OMP_NUM_THREADS"]
    assert f"threads were 64 and are {now} (give --threads 64)" in line
    assert "computed on 'riscv64, DEFAULT' and now on" in line
    assert line.endswith("the weights are of another version")


def test_no_other_json_file_is_repeated(run, tmp_path):
    run(PROMPT, "--out", "c.mp4")
    record = json.loads((tmp_path / "c.json").read_text())
    others = [
        record | {"made_by": "mmdisco experiments toy"},
        {key: record[key] for key in record if key != "seed"},
        record | {"sample": 1},
        record | {"steps": None},
        record | {"steps": float("inf")},
        record | {"joint_scale_audio": [1, 1]},
        record | {"colour": "red"},
        record | {"environment": {}},
        record | {"video": "film.mp4"},
    ]
    for other in others:
        (tmp_path / "c.json").write_text(json.dumps(other))
        done = run("--from-metadata", "c.json")
        assert (done.status, done.err.count("\n")) == (2, 1)
        assert "c.json is no record of a clip: give the .json file that lies beside" in done.err
    for other in ([record], "record"):
        (tmp_path / "c.json").write_text(json.dumps(other))
        done = run("--from-metadata", "c.json")
        said = "mmdisco: c.json is damaged or of another kind: it holds no JSON object\n"
        assert (done.status, done.err) == (2, said)


def test_unknown_words_are_named_on_stderr_and_ignored(run, tmp_path):
    run(PROMPT, "--out", "a.mp4")
    done = run("a red baal bouncing ball quickly", "--out", "b.mp4")
    assert done.status == 0
    assert done.err.count("\n") == 2
    assert "'baal' is read as 'ball'" in done.err
    assert "ignored, for this pair does not know: 'quickly'" in done.err
    assert same(tmp_path / "a.mp4", tmp_path / "b.mp4")


def test_a_bad_prompt_among_good_ones_costs_its_own_clip_only(run, tmp_path):
    (tmp_path / "p.csv").write_text(f"prompt,seed\n{PROMPT},1\nan elephant,2\n{PROMPT},3\n,4\n")
    done = run("--prompts", "p.csv", "--steps", "1", "--out", "c.mp4")
    assert done.status == 2
    assert done.out[::3] == ["c-0.mp4", "c-2.mp4"]
    *refused, last = done.err.splitlines()
    empty, unknown = sorted(refused, key=lambda line: "elephant" in line)
    assert "p.csv, line 3: no word of 'an elephant' is known" in unknown
    assert "p.csv, line 5: the prompt is empty" in empty
    assert last == "mmdisco: 2 of 4 prompts made no clip"
    done = run("an elephant", "a whale", "--out", "d.mp4")
    assert (done.status, done.out, done.err.count("\n")) == (2, [], 3)


def test_progress_is_shown_on_a_terminal(run, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    done = run(PROMPT, quiet=False)
    assert "8/8" in done.err
    assert done.out == [f"a-red-ball-bouncing.{end}" for end in ("mp4", "png", "json")]


@pytest.mark.usefixtures("kept_between_runs")
def test_it_says_first_what_it_makes_and_at_the_end_what_to_do_next(run):
    def said():
        first, made, again, unguided = run(PROMPT, quiet=False).err.splitlines()
        assert made.startswith("mmdisco: 1 clip in ")
        assert "play a-red-ball-bouncing.mp4" in made
        assert "mmdisco generate --from-metadata a-red-ball-bouncing.json" in again
        assert "--no-joint-guidance" in unguided
        return first

    made = "mmdisco: embedded on cpu: 1 clip of 1.6 s, 8 steps of ddim, joint guidance, seed 0; "
    assert said() == f"{made}how long it takes is known after this run"
    assert re.fullmatch(f"{re.escape(made)}about \\d+ s", said())


def test_the_time_expected_grows_with_steps_and_clips(run, kept_between_runs):
    def expected(*more):
        said = run(PROMPT, "--joint-scale", "1", *more, quiet=False).err
        return int(re.search(r"about (\d+) s", said)[1])

    pace = kept_between_runs / "pace.json"
    run(PROMPT)
    (kind,) = json.loads(pace.read_text())
    pace.write_text(json.dumps({kind: [3, 0.5, 2]}))
    assert expected("--steps", "4") == 3 + 4 * 0.5 + 2
    pace.write_text(json.dumps({kind: [3, 0.5, 2]}))
    assert expected("--steps", "4", "--samples", "2", "--candidates", "3") == 3 + 24 * 0.5 + 4
    pace.write_text("no JSON")
    first = run(PROMPT, "--steps", "1", quiet=False).err.splitlines()[0]
    assert ", 1 step of " in first
    assert "known after this run" in first


def test_a_line_of_json_names_the_files_of_each_clip(run, tmp_path):
    done = run(PROMPT, "--samples", "2", "--seed", "5", "--wav", "--json", "--steps", "1")
    clips = [json.loads(line) for line in done.out]
    assert [one["seed"] for one in clips] == [5, 6]
    assert {one["prompt"] for one in clips} == {PROMPT}
    for kind in ("clip", "sound", "picture", "record"):
        assert all((tmp_path / one[kind]).is_file() for one in clips)


def test_open_plays_the_first_clip(run, tmp_path, monkeypatch):
    player = tmp_path / "bin" / "xdg-open"
    player.parent.mkdir()
    player.write_text('#!/bin/sh\necho "$1" > played\n')
    player.chmod(0o755)
    monkeypatch.setenv("PATH", str(player.parent), prepend=os.pathsep)
    monkeypatch.setenv("DISPLAY", ":0")
    assert run(PROMPT, "--samples", "2", "--steps", "1", "--out", "c.mp4", "--open").status == 0
    deadline = time.monotonic() + 10
    while not (tmp_path / "played").is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (tmp_path / "played").read_text() == "c-0.mp4\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the prompt is empty: describe a clip"),
        ([""], "the prompt is empty: describe a clip"),
        ([PROMPT, "--no-prompt"], "exclude each other"),
        (["?!"], "no word of '?!' is known"),
        (["🥁"], "no word of '🥁' is known"),
        ([PROMPT, "--cfg-scale", "1", "--negative-prompt", "lamp"], "no effect at CFG scale 1"),
        ([PROMPT, "--cfg-scale", "1", "--batch-cfg"], "--batch-cfg has no effect at CFG scale 1"),
        (
            [PROMPT, "--cfg-scale", "1", "--cfg-rescale", "0.7"],
            "no effect at CFG scale 1",
        ),
        (["--no-prompt", "--cfg-rescale", "0.7"], "--cfg-rescale has no effect without a prompt"),
        ([PROMPT, "--negative-prompt", "xyzzy"], "negative prompt: no word of 'xyzzy' is known"),
        ([PROMPT, "--joint-scale", "0", "--joint-every", "2"], "without use"),
        (
            [PROMPT, "--joint-scale", "2", "--joint-scale-audio", "1", "--joint-scale-video", "1"],
            "--joint-scale has no effect",
        ),
        (["--video", "film.mp4", "--cfg-scale-video", "2"], "--cfg-scale-video has no effect"),
        (["--no-prompt", "--cfg-scale", "2"], "no effect without a prompt"),
        ([PROMPT, "--seed", str(2**64)], f"give 0 to {2**62}"),
        (["xyzzy plugh"], "no word of 'xyzzy plugh' is known"),
        ([PROMPT, "--steps", "0"], "steps 0: give 1 to 1000"),
        (
            [PROMPT, "--steps", "2", "--cfg-scale", "1e38"],
            "ask for more steps or smaller scales",
        ),
        ([PROMPT, "--samples", "0"], "samples 0: give 1 to 256"),
        ([PROMPT, "--samples", "99999"], "samples 99999: give 1 to 256"),
        ([PROMPT, "--seed", "-1"], "seed -1: give 0 to"),
        ([PROMPT, "--seed", "one"], "valid integer"),
        ([PROMPT, "--scheduler", "magic"], "unknown scheduler 'magic': choose one of ddim"),
        ([PROMPT, "--joint-scale", "nan"], "joint_scale nan: give a finite number"),
        ([PROMPT, "--cfg-scale", "inf"], "cfg_scale inf: give a finite number"),
        ([PROMPT, "--joint-scale", "1e38"], "ask for more steps or smaller scales"),
        (
            [PROMPT, "--no-joint-guidance", "--joint-scale-video", "1"],
            "--no-joint-guidance and a scale",
        ),
        (["--video", "film.mp4", "--joint-scale-video", "1"], "--joint-scale-video has no effect"),
        (["--audio", "film.mp4", "--joint-scale-audio", "1"], "--joint-scale-audio has no effect"),
        (["--video", "film.mp4", "--audio", "film.mp4"], "a video and a sound are given"),
        ([PROMPT, "--start", "1"], "a start has no effect without a given video or sound"),
        (["--video", "film.mp4", "--start", "-1"], "start '-1': give 0 to"),
        (["--video", "film.mp4", "--start", "nan"], "start 'nan' is no number"),
        (["--video", "film.mp4", "--start", "9"], "film.mp4"),
        (["--video", "missing.mp4"], "cannot read missing.mp4"),
        (["--video", "text.mp4"], "cannot read text.mp4"),
        (["--video", "."], "cannot read ."),
        (["--video", "sound.wav"], "sound.wav has no picture track"),
        (["--audio", "silent film.mp4"], "silent film.mp4 has no sound track"),
        (["--audio", "empty.wav"], "empty.wav has no samples"),
        (["--audio", "empty.mp4"], "empty.mp4"),
        ([PROMPT, "--out", "clip.gif"], "cannot write clip.gif: the name must end in .mp4"),
        ([PROMPT, "--out", "clip"], "cannot write clip: the name must end in .mp4"),
        ([PROMPT, "--out", "text.mp4/clip.mp4"], "cannot write text.mp4/clip.mp4"),
        ([PROMPT, "--out", "folder.mp4"], "cannot write folder.mp4: is a directory"),
        ([PROMPT, "--out", f"{'x' * 300}.mp4"], "file name too long"),
        ([PROMPT, "--weights", "nowhere"], "nowhere/config.json is not there"),
        (
            [PROMPT, "--from-metadata", "text.mp4"],
            "--from-metadata makes a clip again as it was: leave out",
        ),
        (["--from-metadata", "text.mp4"], "text.mp4 is not JSON"),
        (["--from-metadata", "missing.json"], "missing.json is not there"),
        ([PROMPT, "--unknown"], "No such option"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_status_two_and_no_file(arguments, said, run, files, tmp_path):
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    done = run(*arguments)
    assert done.status == 2
    assert done.out == []
    assert done.err.count("\n") == 1, done.err
    assert said in done.err
    assert names(tmp_path) == names(files)


def test_damaged_weights_are_one_line_and_no_file(run, tiny_pair, tmp_path):
    broken = shutil.copytree(tiny_pair, tmp_path / "pair") / "audio_denoiser.safetensors"
    content = bytearray(broken.read_bytes())
    content[-1] ^= 1
    broken.write_bytes(content)
    done = run(PROMPT, "--weights", "pair")
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert "pair/audio_denoiser.safetensors is damaged" in done.err
    assert names(tmp_path) == ["pair"]


def test_failed_run_leaves_the_files_of_an_earlier_one(run, tmp_path):
    run(PROMPT)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert run(PROMPT, "--steps", 2, "--cfg-scale", "1e38").status == 2
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


MISTAKES = [
    ("xyzzy", "no word of"),
    ("--video missing.mp4", "cannot read"),
    ("lamp --steps 0", "steps 0"),
    ("lamp --preset huge", "unknown preset"),
    ("lamp --scheduler magic", "unknown scheduler"),
    ("lamp --cfg-scale 1 --batch-cfg", "no effect"),
    ("lamp --out clip.gif", "the name must end in"),
    ("--prompts missing.csv", "missing.csv is not there"),
    ("--from-metadata missing.json", "missing.json is not there"),
    ("lamp --config missing.yaml", "missing.yaml is not there"),
]


def test_neither_help_nor_a_mistake_waits_for_torch():
    script = f"""
import sys
from mmdisco.cli import main

def told(*words):
    sys.argv = ["mmdisco", "generate", *words]
    try:
        main()
    except SystemExit as stopped:
        return stopped.code

assert told("--help") in (None, 0)
assert "numpy" not in sys.modules
for words, _ in {MISTAKES!r}:
    assert told(*words.split()) == 2, words
assert not {{"torch", "diffusers", "transformers"}} & sys.modules.keys()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "--from-metadata" in done.stdout
    lines = done.stderr.splitlines()
    assert len(lines) == len(MISTAKES)
    for (words, said), line in zip(MISTAKES, lines, strict=True):
        assert said in line, words


def test_options_of_a_yaml_file_and_of_a_line_are_those_of_the_command(run, tmp_path):
    (tmp_path / "o.yaml").write_text("steps: 3\nscheduler: euler\ncfg_scale: 2e0\nseed: 4\n")
    lines = [{"prompt": "lamp", "joint_scale_video": 3}, {"prompt": "ball", "steps": 2, "seed": 9}]
    (tmp_path / "p.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    done = run("--config", "o.yaml", "--prompts", "p.jsonl", "--scheduler", "ddim")
    assert (done.status, done.err) == (0, "")
    first, second = (json.loads((tmp_path / f"{n}.json").read_text()) for n in ("lamp", "ball"))
    told = ("steps", "scheduler", "cfg_scale_audio", "seed", "joint_scale_video")
    assert [first[key] for key in told] == [3, "ddim", 2.0, 4, 3.0]
    assert [second[key] for key in told] == [2, "ddim", 2.0, 9, 1.0]


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        ("step: 3", "o.yaml: unknown option 'step'; did you mean steps?"),
        ("steps: many", "steps 'many' is no whole number"),
        ("cfg_scale: 1e999", "cfg_scale inf: give a finite number"),
        ("- 3", "o.yaml is no configuration"),
        ("steps: [", "o.yaml is not YAML"),
        ("a: &a 1\nb: *a", "refers to another place"),
    ],
)
def test_yaml_that_is_wrong_is_one_line(yaml, said, run, tmp_path):
    (tmp_path / "o.yaml").write_text(yaml)
    done = run(PROMPT, "--config", "o.yaml")
    assert (done.status, done.out, done.err.count("\n")) == (2, [], 1)
    assert said in done.err


def test_an_option_that_every_line_replaces_is_refused(run, tmp_path):
    (tmp_path / "p.csv").write_text(f"prompt,steps\n{PROMPT},2\nlamp,3\n")
    done = run("--prompts", "p.csv", "--steps", 4)
    assert done.err == "mmdisco: --steps has no effect: every prompt of p.csv has its own\n"

from fractions import Fraction

import av
import numpy as np
import pytest
from closeness import SAMPLE, SHADE, assert_close
from filmmaking import film, level, noise, ramp, silence

from mmdisco.media.clip import AudioVideo, ClipSpec
from mmdisco.media.geometry import upright
from mmdisco.media.probe import SkipReason, VideoInfo, probe
from mmdisco.media.read import read_audio
from mmdisco.media.windows import read_clips, scene_cuts

FORM = ClipSpec(Fraction(8, 5), Fraction(10), (16, 16), 16_000)
STARTS = (Fraction(0), Fraction(8, 5))


def clips_of(path, starts, form=FORM):
    clips = []
    for clip in read_clips(path, starts, form):
        assert isinstance(clip, AudioVideo)
        clips.append(clip)
    return clips


def greys(clip):
    return clip.video.frames.mean((1, 2, 3)) * 255


def expected(start, fps, form=FORM):
    times = [start + step / form.fps for step in range(form.frames)]
    # containers round stamps, so a frame up to 2 ms late is the one that is meant
    return [level(int((time + Fraction(2, 1000)) * fps)) for time in times]


@pytest.mark.parametrize("fps", [Fraction(10), Fraction(24000, 1001), Fraction(30)])
@pytest.mark.parametrize("suffix", ["mkv", "mov"])
def test_every_frame_is_the_one_on_screen_at_its_time(tmp_path, fps, suffix):
    path = film(tmp_path / f"film.{suffix}", fps=fps)
    clips = clips_of(path, STARTS)
    for start, clip in zip(STARTS, clips, strict=True):
        assert_close(greys(clip), expected(start, fps), rtol=3 * SHADE, scale=255)
        assert clip.video.frames.shape == (16, 16, 16, 3)


@pytest.mark.parametrize("hop", [Fraction(1, 5), Fraction(1, 3)])
def test_overlapping_clips_are_those_that_are_taken_alone(tmp_path, hop):
    path = film(tmp_path / "film.mov", fps=Fraction(30))
    starts = [k * hop for k in range(6)]
    for start, clip in zip(starts, clips_of(path, starts), strict=True):
        (alone,) = clips_of(path, [start])
        np.testing.assert_array_equal(clip.video.frames, alone.video.frames)
        assert_close(clip.audio.waveform, alone.audio.waveform, rtol=3 * SAMPLE, scale=1)


def test_frames_of_a_variable_rate_are_taken_by_their_stamps(tmp_path):
    # ten frames a second, then a picture that stays for a second, then forty
    stamps = [*range(0, 1000, 100), *range(2000, 3600, 25)]
    path = film(tmp_path / "film.mkv", fps=Fraction(1000), stamps=stamps)
    first, second = clips_of(path, STARTS)
    shown = [level(min(i, 9)) for i in range(16)]
    assert_close(greys(first), shown, rtol=3 * SHADE, scale=255)
    late = [level(9)] * 4 + [level(10 + 4 * i) for i in range(12)]
    assert_close(greys(second), late, rtol=3 * SHADE, scale=255)


@pytest.mark.parametrize("rate", [8_000, 44_100, 192_000])
def test_sound_of_every_rate_keeps_its_time(tmp_path, rate):
    path = film(tmp_path / "film.mkv", rate=rate)
    for start, clip in zip(STARTS, clips_of(path, STARTS), strict=True):
        assert clip.audio.waveform.shape == (25_600,)
        times = float(start) + np.arange(25_600) / 16_000
        inner = slice(1600, -1600)  # the first sound is preceded by nothing, which a filter hears
        assert_close(clip.audio.waveform[inner], times[inner] / 10, rtol=10 * SAMPLE, scale=1)


def test_a_delayed_sound_stays_delayed(tmp_path):
    path = film(tmp_path / "film.mov", delay=0.5, sound=noise)
    (clip,) = clips_of(path, STARTS[:1])
    heard = np.flatnonzero(np.abs(clip.audio.waveform) > 0.05)
    assert heard[0] / 16_000 == pytest.approx(0.5, abs=0.003)


@pytest.mark.parametrize("layout", ["mono", "stereo", "5.1"])
def test_channels_become_one(tmp_path, layout):
    path = film(tmp_path / "film.mkv", layout=layout, sound=noise)
    (clip,) = clips_of(path, STARTS[:1])
    assert np.abs(clip.audio.waveform).max() > 0.1


def test_sound_with_rounded_stamps_has_no_seams(tmp_path):
    # Matroska rounds stamps to a millisecond, which is 44 samples
    path = tmp_path / "film.mka"
    rate = 44_100
    with av.open(str(path), "w") as container:
        track = container.add_stream("pcm_s16le", rate=rate, layout="mono")
        values = np.round(ramp(2.0, rate) * 32767).astype(np.int16)
        for at in range(0, len(values), 1023):
            block = av.AudioFrame.from_ndarray(values[at : at + 1023][None], "s16", "mono")
            block.sample_rate, block.pts, block.time_base = rate, at, Fraction(1, rate)
            container.mux(track.encode(block))
        container.mux(track.encode())
    heard = read_audio(path).waveform
    assert_close(heard, ramp(2.0, rate)[: len(heard)], rtol=3 * SAMPLE, scale=1)


@pytest.mark.parametrize("size", [(47, 63), (300, 33)])
def test_odd_sizes_are_cut_and_scaled(tmp_path, size):
    path = film(tmp_path / "film.mkv", size=size, codec="ffv1")
    (clip,) = clips_of(path, STARTS[:1])
    assert clip.video.frames.shape == (16, 16, 16, 3)


def test_a_slim_picture_is_cut_before_it_is_scaled():
    frame = av.VideoFrame.from_ndarray(np.full((2, 10_000, 3), 99, np.uint8), format="rgb24")
    small = upright(frame, (64, 64))
    assert small.shape == (64, 64, 3)
    assert small.min() == small.max() == 99


def test_a_stretch_in_the_middle_is_what_reading_from_the_beginning_gives(tmp_path):
    path = film(tmp_path / "film.mov", 12.0, gop=30, sound=noise)
    starts = tuple(Fraction(8, 5) * k for k in range(7))
    whole = clips_of(path, starts)
    (late,) = clips_of(path, starts[5:6])
    np.testing.assert_array_equal(late.video.frames, whole[5].video.frames)
    assert_close(late.audio.waveform, whole[5].audio.waveform, rtol=1e-6, scale=1)


def test_what_is_missing_at_the_end_is_a_fault(tmp_path):
    path = film(tmp_path / "film.mkv", 2.0)
    first, second = read_clips(path, STARTS, FORM)
    assert not isinstance(first, SkipReason)
    assert isinstance(second, SkipReason)
    assert second.category == "too short"


def test_a_damaged_stretch_costs_its_clips_alone(tmp_path):
    path = film(tmp_path / "film.avi", 8.0, gop=1)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        places = [p.pos for p in container.demux(video=0) if p.size]
    for place in places[20:24]:
        data[place + 8 : place + 60] = bytes(52)
    path.write_bytes(data)
    starts = tuple(Fraction(8, 5) * k for k in range(4))
    found = [isinstance(one, SkipReason) for one in read_clips(path, starts, FORM)]
    assert found == [False, True, False, False]


def test_cuts_are_found(tmp_path):
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=24)
        picture.height, picture.width, picture.pix_fmt = 48, 64, "yuv420p"
        for index in range(24 * 4):
            scene = np.random.default_rng(index // 36).integers(0, 255, (6, 8, 3), np.uint8)
            frame = av.VideoFrame.from_ndarray(scene.repeat(8, 0).repeat(8, 1), format="rgb24")
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
    assert_close([float(t) for t in scene_cuts(path)], [1.5, 3.0], rtol=0.03)


def test_a_film_says_how_long_it_is(tmp_path):
    found = probe(film(tmp_path / "film.mov", fps=Fraction(24000, 1001)))
    assert isinstance(found, VideoInfo)
    assert float(found.seconds) == pytest.approx(3.6, abs=0.05)


def test_what_is_of_no_use_is_told_by_its_reason(tmp_path):
    def reason(name):
        found = probe(tmp_path / name)
        return found.category if isinstance(found, SkipReason) else None

    film(tmp_path / "whole.mp4", codec="libx264", sound=None)
    film(tmp_path / "thin.mkv", size=(2, 10_000), codec="ffv1")
    film(tmp_path / "no sound.mkv", sound=None)
    film(tmp_path / "empty sound.mov", sound=lambda seconds, rate: np.zeros(0))
    long = film(tmp_path / "long.mkv", 8.0, sound=silence).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(long[: len(long) // 2])
    (tmp_path / "nothing.mp4").touch()
    (tmp_path / "words.mp4").write_text("no film at all\n" * 90)
    (tmp_path / "list.mp4").write_text(f"#EXTM3U\n#EXTINF:4,\n{tmp_path / 'long.mkv'}\n")
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    (tmp_path / "folder.mp4").mkdir()
    assert reason("whole.mp4") == "no sound track"
    assert reason("thin.mkv") == "picture too small"
    assert reason("no sound.mkv") == "no sound track"
    assert reason("empty sound.mov") in ("empty sound track", "no sound track")
    assert reason("cut.mkv") == "cut short"
    assert reason("nothing.mp4") == "empty file"
    assert reason("words.mp4") == "undecodable"
    assert reason("list.mp4") == "undecodable"
    assert reason("loop.mp4") == "broken link"
    assert reason("folder.mp4") == "not a file"
    assert reason("long.mkv") is None

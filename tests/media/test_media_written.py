"""What a written file says of itself, and that it is the same on every run."""

import wave
from fractions import Fraction

import av
import numpy as np
import pytest
from closeness import SAMPLE, SHADE, assert_close

from mmdisco.errors import UserError
from mmdisco.media.clip import CEILING, Audio, AudioVideo, NotFiniteError, Video, bring_down
from mmdisco.media.read import read_audio, read_clip, read_video
from mmdisco.media.write import write_audio, write_clip, write_video

RATE = 16_000


def tone(level, seconds=0.5):
    t = np.arange(round(RATE * seconds)) / RATE
    return Audio((level * np.sin(2 * np.pi * 440 * t)).astype(np.float32), RATE)


def plain(colour, height=64, width=64, frames=5):
    values = np.broadcast_to(np.array(colour, np.float32), (frames, height, width, 3))
    return Video(values.copy(), Fraction(10))


def busy(frames=24, height=96, width=128):
    """Pictures that give an encoder decisions to make."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width] / height
    moving = [np.sin(9 * rows + 0.3 * k)[..., None] * [1, 0, 0.5] for k in range(frames)]
    noisy = np.stack(moving) / 3 + 0.5 + rng.normal(0, 0.05, (frames, height, width, 3))
    noisy += 0.2 * (columns > 1)[..., None]
    return Video(np.clip(noisy, 0, 1).astype(np.float32), Fraction(20))


@pytest.mark.parametrize("name", ["c.mp4", "c.mov"])
def test_index_lies_before_the_samples_so_that_a_clip_plays_while_it_loads(name, tmp_path):
    write_clip(tmp_path / name, AudioVideo(tone(0.5), plain((0, 0, 0))))
    data = (tmp_path / name).read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_the_same_clip_is_the_same_bytes_on_every_run(tmp_path):
    clip = AudioVideo(tone(0.5, 1.2), busy())
    written = set()
    for _ in range(12):
        write_clip(tmp_path / "c.mp4", clip)
        written.add((tmp_path / "c.mp4").read_bytes())
    assert len(written) == 1
    assert b"threads=1 " in written.pop()


@pytest.mark.parametrize("name", ["v.mp4", "v.mov", "v.mkv"])
@pytest.mark.parametrize("size", [(64, 64), (720, 1280)])
def test_colours_are_said_to_be_and_are_of_bt_709(name, size, tmp_path):
    red = (230 / 255, 40 / 255, 40 / 255)
    write_video(tmp_path / name, plain(red, *size, frames=2))
    with av.open(str(tmp_path / name)) as container:
        said = container.streams.video[0].codec_context
        tags = (said.colorspace, said.color_range, said.color_primaries, said.color_trc)
        assert [int(tag) for tag in tags] == [1, 1, 1, 1]
        frame = next(container.decode(video=0))
        shown = frame.to_ndarray(format="rgb24", src_colorspace="ITU709", src_color_range="MPEG")
    middle = shown[size[0] // 2, size[1] // 2]
    assert_close(middle, [230, 40, 40], rtol=3 * SHADE, scale=255)
    read = read_video(tmp_path / name).frames[0, 20, 20]
    assert_close(read, red, rtol=3 * SHADE, scale=1)


@pytest.mark.parametrize("peak", [1.0001, 1.6, 300.0])
def test_sound_beyond_full_level_is_brought_down_and_keeps_its_form(peak, tmp_path):
    loud = Audio(tone(1).waveform / np.abs(tone(1).waveform).max() * np.float32(peak), RATE)
    write_audio(tmp_path / "a.wav", loud)
    write_clip(tmp_path / "c.mp4", AudioVideo(loud, plain((0, 0, 0))))
    heard = read_audio(tmp_path / "a.wav").waveform
    assert_close(np.abs(heard).max(), CEILING, rtol=SAMPLE, scale=1)
    assert_close(heard, loud.waveform * (CEILING / peak), rtol=1.1 * SAMPLE, scale=1)
    played = read_clip(tmp_path / "c.mp4").audio.waveform
    assert (np.abs(played) > 0.999).mean() < 0.001
    assert np.corrcoef(played, loud.waveform)[0, 1] > 0.999


def test_sound_within_full_level_is_left_as_it_is():
    full = tone(1)
    assert bring_down(full) is full


def test_wav_gives_back_every_16_bit_sample_and_holds_both_ends(tmp_path):
    every = np.arange(-(2**15), 2**15) / np.float32(2**15)
    write_audio(tmp_path / "a.wav", Audio(every.astype(np.float32), RATE))
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav").waveform, every)
    write_audio(tmp_path / "b.wav", Audio(np.array([1, -1, 0.999999], np.float32), RATE))
    with wave.open(str(tmp_path / "b.wav")) as file:
        assert np.frombuffer(file.readframes(3), "<i2").tolist() == [32767, -32768, 32767]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_no_clip(value):
    frames, waveform = plain((0.5, 0.5, 0.5)).frames.copy(), tone(0.5).waveform.copy()
    frames[3, 5, 7, 1] = waveform[100] = value
    with pytest.raises(NotFiniteError, match="the picture holds values that are not finite"):
        Video(frames, Fraction(10))
    with pytest.raises(NotFiniteError, match="the sound holds values that are not finite"):
        Audio(waveform, RATE)


@pytest.mark.parametrize(
    "stem",
    ["a:b", "concat:a|b", "file:a", "http:", "-x", "%03d", "*", "a b?c#d&e", "[x]{1}", "ä 球"],
)
def test_any_name_can_be_written_and_read(stem, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clip = AudioVideo(tone(0.5), plain((0.5, 0.5, 0.5)))
    for suffix in (".mp4", ".mkv", ".wav"):
        path = type(tmp_path)(stem + suffix)
        if suffix == ".wav":
            write_audio(path, clip.audio)
            assert read_audio(path).seconds == clip.audio.seconds
        else:
            write_clip(path, clip)
            assert read_clip(path).video.frames.shape == clip.video.frames.shape
    assert {path.name for path in tmp_path.iterdir()} == {
        stem + suffix for suffix in (".mp4", ".mkv", ".wav")
    }


def test_missing_file_is_named_without_a_protocol(tmp_path):
    with pytest.raises(UserError, match=rf"^cannot read {tmp_path}/a:b.mp4: no such file"):
        read_video(tmp_path / "a:b.mp4")

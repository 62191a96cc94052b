from fractions import Fraction

import av
import numpy as np
import pytest
from closeness import SAMPLE, SHADE, assert_close

from mmdisco.errors import UserError
from mmdisco.io.files import replacing
from mmdisco.media.clip import Audio, AudioVideo, Video
from mmdisco.media.opening import opened
from mmdisco.media.read import ReadSpec, read_audio, read_clip, read_video, resampled
from mmdisco.media.write import write_audio, write_clip, write_video

RATE = 16_000


def grey(levels, height=64, width=64, fps=Fraction(10)):
    """A video whose frame i is grey of ``levels[i]``."""
    frames = np.empty((len(levels), height, width, 3), np.float32)
    frames[:] = np.array(levels, np.float32)[:, None, None, None]
    return Video(frames, fps)


def chirp(seconds):
    t = np.arange(round(seconds * RATE)) / RATE
    return Audio((0.5 * np.sin(2 * np.pi * (300 + 400 * t) * t)).astype(np.float32), RATE)


def clip(fps=Fraction(10), frames=16):
    video = grey(np.linspace(0.1, 0.9, frames), fps=fps)
    return AudioVideo(chirp(float(video.seconds)), video)


def raw(path, stamps, *, time_base=Fraction(1, 1000), audio_pts=None, layout="mono", silence=False):
    """A file with frames at ``stamps`` (in time bases) and a sound from ``audio_pts`` on."""
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=10)
        picture.width = picture.height = 64
        picture.time_base = picture.codec_context.time_base = time_base
        if audio_pts is not None:
            sound = container.add_stream("pcm_s16le", rate=RATE, layout=layout)
        for index, stamp in enumerate(stamps):
            level = np.full((64, 64, 3), 20 + 15 * index, np.uint8)
            frame = av.VideoFrame.from_ndarray(level, format="rgb24")
            frame.pts, frame.time_base = stamp, time_base
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
        if audio_pts is not None:
            channels = len(sound.codec_context.layout.channels)
            tone = (9000 * np.sin(np.arange(RATE) / 5)).astype(np.int16) * (not silence)
            pcm = np.repeat(tone, channels)[None]
            block = av.AudioFrame.from_ndarray(pcm, format="s16", layout=layout)
            block.sample_rate, block.pts = RATE, audio_pts
            block.time_base = Fraction(1, RATE)
            container.mux(sound.encode(block))
            container.mux(sound.encode())
    return path


@pytest.mark.parametrize("fps", [Fraction(8), Fraction(10), Fraction(25, 2), Fraction(30000, 1001)])
def test_rate_frame_count_and_length_survive_a_file(tmp_path, fps):
    original = clip(fps)
    write_clip(tmp_path / "clip.mp4", original)
    again = read_clip(tmp_path / "clip.mp4")
    assert again.video.fps == fps
    assert again.video.frames.shape == original.video.frames.shape
    assert len(again.audio.waveform) == round(original.video.seconds * RATE)


def test_frames_are_stamped_i_over_fps(tmp_path):
    fps = Fraction(30000, 1001)
    write_clip(tmp_path / "clip.mp4", clip(fps))
    with av.open(str(tmp_path / "clip.mp4")) as container:
        base = container.streams.video[0].time_base or Fraction(1)
        stamps = [(frame.pts or 0) * base for frame in container.decode(video=0)]
    assert stamps == [i / fps for i in range(16)]


def test_sound_is_not_shifted_by_a_file(tmp_path):
    original = clip()
    write_clip(tmp_path / "clip.mp4", original)
    again = read_clip(tmp_path / "clip.mp4").audio.waveform
    lags = np.correlate(again, original.audio.waveform, "full")
    assert lags.argmax() == len(again) - 1


def test_colours_survive_a_magnified_file(tmp_path):
    rng = np.random.default_rng(0)
    frames = rng.uniform(0.2, 0.8, (4, 8, 8, 3)).repeat(8, 1).repeat(8, 2).astype(np.float32)
    write_video(tmp_path / "v.mp4", Video(frames, Fraction(10)), magnify=4)
    again = read_video(tmp_path / "v.mp4", ReadSpec(size=(64, 64)))
    assert np.abs(again.frames - frames).mean() < 0.02


def test_odd_sizes_are_extended(tmp_path):
    write_video(tmp_path / "v.mp4", grey([0.2, 0.7], height=65, width=63))
    assert read_video(tmp_path / "v.mp4").frames.shape == (2, 66, 64, 3)


def test_uneven_frames_are_taken_by_their_time(tmp_path):
    # Frame 2 stays for 0.4 s: at 10 fps it must be seen four times.
    path = raw(tmp_path / "v.mkv", [0, 100, 200, 600, 700])
    levels = read_video(path, ReadSpec(fps=Fraction(10))).frames.mean((1, 2, 3)) * 255
    assert_close(levels[:7], [20, 35, 50, 50, 50, 50, 65], rtol=3 * SHADE, scale=255)


def test_rounded_stamps_do_not_double_frames(tmp_path):
    fps = Fraction(30000, 1001)
    path = raw(tmp_path / "v.mkv", [round(1000 * i / fps) for i in range(12)])
    levels = read_video(path, ReadSpec(fps=fps)).frames.mean((1, 2, 3)) * 255
    assert_close(np.diff(levels[:12]), 15, rtol=3 * SHADE, scale=255)


def test_a_late_sound_begins_with_silence(tmp_path):
    path = raw(tmp_path / "v.mkv", range(0, 1600, 100), audio_pts=RATE // 2)
    waveform = read_clip(path).audio.waveform
    first = np.flatnonzero(np.abs(waveform) > 0.05)[0] / RATE
    assert first == pytest.approx(0.5, abs=0.002)


@pytest.mark.parametrize("layout", ["stereo", "5.1"])
def test_equal_channels_become_one_as_loud_as_each(tmp_path, layout):
    path = raw(tmp_path / "v.mkv", range(0, 1000, 100), audio_pts=0, layout=layout)
    tone = np.round(9000 * np.sin(np.arange(RATE) / 5)).astype(np.int16) / 32768
    assert_close(read_audio(path).waveform, tone, rtol=3 * SAMPLE, scale=1)


def has_sound(path):
    with opened(path) as container:
        return bool(container.streams.audio)


def test_a_silent_track_is_not_a_missing_one(tmp_path):
    path = raw(tmp_path / "v.mkv", range(0, 1000, 100), audio_pts=0, silence=True)
    assert has_sound(path)
    assert read_clip(path).audio.is_silent


def test_a_missing_track_is_named(tmp_path):
    write_video(tmp_path / "v.mp4", grey([0.1, 0.9]))
    assert not has_sound(tmp_path / "v.mp4")
    with pytest.raises(UserError, match="no sound track"):
        read_clip(tmp_path / "v.mp4")
    write_audio(tmp_path / "a.wav", chirp(0.5))
    with pytest.raises(UserError, match="no picture track"):
        read_video(tmp_path / "a.wav")


def test_rotation_is_applied(tmp_path):
    frames = np.zeros((3, 64, 32, 3), np.float32)
    frames[:, :32] = 1  # the upper half is white
    plain, turned = tmp_path / "plain.mp4", tmp_path / "turned.mp4"
    write_video(plain, Video(frames, Fraction(10)))
    data = bytearray(plain.read_bytes())
    # The track header's display matrix, as a phone held sideways writes it: a quarter turn.
    start = data.index(b"tkhd") + 4 + 40
    matrix = [0, 1 << 16, 0, (-1 << 16) & 0xFFFFFFFF, 0, 0, 32 << 16, 0, 1 << 30]
    data[start : start + 36] = b"".join(value.to_bytes(4, "big") for value in matrix)
    turned.write_bytes(data)
    upright = read_video(turned).frames
    assert upright.shape == (3, 32, 64, 3)
    assert upright[0, 16, 60].mean() > 0.9  # clockwise: what was above is now on the right
    assert upright[0, 16, 4].mean() < 0.1


def test_wav_keeps_samples_to_16_bits(tmp_path):
    write_audio(tmp_path / "a.wav", chirp(0.3))
    again = read_audio(tmp_path / "a.wav")
    assert_close(again.waveform, chirp(0.3).waveform, rtol=3 * SAMPLE, scale=1)


def test_a_selection_is_cut_out_by_time(tmp_path):
    write_clip(tmp_path / "clip.mp4", clip())
    part = read_clip(tmp_path / "clip.mp4", ReadSpec(Fraction(1, 2), Fraction(4, 5)))
    whole = read_clip(tmp_path / "clip.mp4")
    np.testing.assert_array_equal(part.video.frames, whole.video.frames[5:13])
    np.testing.assert_array_equal(part.audio.waveform, whole.audio.waveform[8000:20800])


def test_size_is_cut_from_the_middle_and_scaled(tmp_path):
    frames = np.zeros((2, 64, 128, 3), np.float32)
    frames[:, :, 32:96] = 1
    write_video(tmp_path / "v.mp4", Video(frames, Fraction(10)))
    again = read_video(tmp_path / "v.mp4", ReadSpec(size=(32, 32)))
    assert again.frames.shape == (2, 32, 32, 3)
    assert again.frames[:, 8:24, 4:28].min() > 0.95


def test_resampling_keeps_the_length_in_seconds():
    assert resampled(chirp(1.6), 22_050).seconds == chirp(1.6).seconds


@pytest.mark.parametrize("content", [b"", b"not a film at all" * 50])
def test_an_undecodable_file_is_one_clear_line(tmp_path, content):
    (tmp_path / "bad.mp4").write_bytes(content)
    with pytest.raises(UserError, match=r"cannot read .*bad\.mp4") as caught:
        read_video(tmp_path / "bad.mp4")
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_one_clear_line(tmp_path):
    write_clip(tmp_path / "clip.mp4", clip())
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "clip.mp4").read_bytes()[:1500])
    with pytest.raises(UserError, match="cannot read"):
        read_clip(tmp_path / "cut.mp4")


def test_a_file_that_is_not_there_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_clip(tmp_path / "nowhere.mp4")


def test_an_unwritable_path_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write .*(file exists|not a directory)"):
        write_clip(tmp_path / "file" / "clip.mp4", clip())


def test_an_unknown_suffix_is_refused(tmp_path):
    with pytest.raises(UserError, match="must end in"):
        write_clip(tmp_path / "clip.xyz", clip())


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "kept.txt"
    path.write_text("old")

    def fail():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_clip_without_frames_or_samples_is_refused():
    with pytest.raises(UserError, match="no frames"):
        Video(np.zeros((0, 4, 4, 3), np.float32), Fraction(10))
    with pytest.raises(UserError, match="no samples"):
        Audio(np.zeros(0, np.float32), RATE)

"""What is read of a file is what a player shows and plays."""

import struct
import wave
from contextlib import suppress
from fractions import Fraction

import av
import numpy as np
import pytest
from av.stream import Disposition
from closeness import SHADE, assert_close

from mmdisco.errors import UserError
from mmdisco.media.clip import ClipSpec
from mmdisco.media.opening import opened, pictures
from mmdisco.media.probe import SkipReason, VideoInfo, probe
from mmdisco.media.read import ReadSpec, frame_rate, read_audio, read_clip, read_video
from mmdisco.media.windows import read_clips

RATE = 48_000
FPS = 25


def flashes(frames, *at, size=(64, 64)):
    """Dark frames, three light ones from each of ``at`` on."""
    video = np.full((frames, *size, 3), 16, np.uint8)
    for first in at:
        video[first : first + 3] = 235
    return video


def beeps(seconds, *at):
    """Silence with short beeps around 50 ms after each of ``at``."""
    t = np.arange(round(RATE * seconds)) / RATE
    bells = [np.exp(-(((t - one - 0.05) / 0.02) ** 2)) for one in at]
    return 0.5 * np.sin(2 * np.pi * 1000 * t) * sum(bells, np.zeros_like(t))


def write(
    path, frames=None, sounds=(), *, codecs=("libx264", "aac"), offset=0, default=None, **options
):
    """A file whose stamps begin at ``offset`` seconds; sound track ``default`` is marked so."""
    with av.open(str(path), "w", options=options) as container:
        picture = None
        if frames is not None:
            # one thread, and no frames out of order: the same file everywhere
            picture = container.add_stream(codecs[0], rate=FPS)
            picture.height, picture.width = frames.shape[1:3]
            picture.pix_fmt, picture.codec_context.max_b_frames = "yuv420p", 0
        voices = [container.add_stream(codecs[1], rate=RATE, layout="mono") for _ in sounds]
        for index, voice in enumerate(voices):
            if default is not None:
                voice.disposition = Disposition.default if index == default else Disposition(0)
            voice.codec_context.open()
        for index, values in enumerate(() if frames is None else frames):
            frame = av.VideoFrame.from_ndarray(values, format="rgb24")
            frame.pts, frame.time_base = index + round(offset * FPS), Fraction(1, FPS)
            container.mux(picture.encode(frame))
        if picture is not None:
            container.mux(picture.encode())
        for voice, values in zip(voices, sounds, strict=True):
            context = voice.codec_context
            size = context.frame_size or 1024
            form = av.AudioResampler(context.format, "mono", RATE)
            for at in range(0, len(values), size):
                part = values[None, at : at + size].astype(np.float32)
                block = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
                block.sample_rate, block.time_base = RATE, Fraction(1, RATE)
                block.pts = at + round(offset * RATE)
                for ready in form.resample(block):
                    container.mux(voice.encode(ready))
            container.mux(voice.encode())
    return path


def heard(clip, since=0.0, until=None):
    """When the beep is loudest, in seconds."""
    t = np.arange(len(clip.audio.waveform)) / clip.audio.sample_rate
    weight = clip.audio.waveform.astype(float) ** 2
    weight = weight * ((t >= since) & (t < (until or np.inf)))
    return (t * weight).sum() / weight.sum() - 0.05


def seen(clip):
    """When it grows light, in seconds."""
    light = clip.video.frames.mean((1, 2, 3)) > 0.5
    return [
        k / float(clip.video.fps) for k in range(1, len(light)) if light[k] and not light[k - 1]
    ]


@pytest.mark.parametrize(
    ("name", "codecs"),
    [
        ("a.mp4", ("libx264", "aac")),
        ("a.mov", ("libx264", "aac")),
        ("a.mkv", ("libx264", "aac")),
        ("a.ts", ("libx264", "aac")),
        ("a.mkv", ("libx264", "ac3")),
        ("a.mp4", ("libx264", "libopus")),
        ("a.webm", ("libvpx", "libopus")),
        ("a.mkv", ("mpeg4", "pcm_s16le")),
        ("a.mp4", ("libx264", "libmp3lame")),
    ],
)
def test_a_flash_and_a_beep_stay_together(tmp_path, name, codecs):
    path = write(tmp_path / name, flashes(50, 13, 40), [beeps(2, 0.52, 1.6)], codecs=codecs)
    clip = read_clip(path)
    assert seen(clip) == [0.52, 1.6]
    assert heard(clip, 0.3, 1.0) == pytest.approx(0.52, abs=1e-3)
    assert heard(clip, 1.3, 2.0) == pytest.approx(1.6, abs=1e-3)
    (late,) = read_clips(
        path, [Fraction(6, 5)], ClipSpec(Fraction(4, 5), Fraction(FPS), (64, 64), RATE)
    )
    assert [round(one + 1.2, 3) for one in seen(late)] == [1.6]
    # containers round stamps to a millisecond
    assert heard(late, 0.2) + 1.2 == pytest.approx(1.6, abs=2e-3)


@pytest.mark.parametrize(("name", "offset"), [("a.m4a", 0), ("a.mka", Fraction(123, 10))])
def test_a_sound_alone_begins_with_its_first_sample(tmp_path, name, offset):
    write(tmp_path / name, None, [beeps(1, 0.5)], offset=offset)
    audio = read_audio(tmp_path / name)
    first = np.flatnonzero(np.abs(audio.waveform) > 0.1)[0] / RATE
    right = np.flatnonzero(np.abs(beeps(1, 0.5)) > 0.1)[0] / RATE
    assert first == pytest.approx(right, abs=1e-3)


def test_parts_that_are_joined_follow_each_other(tmp_path):
    one = write(tmp_path / "1.ts", flashes(50, 13), [beeps(2, 0.52)])
    two = write(tmp_path / "2.ts", flashes(50, 30), [beeps(2, 1.2)])
    joined = tmp_path / "joined.ts"
    joined.write_bytes(one.read_bytes() + two.read_bytes())
    clip = read_clip(joined)
    assert len(clip.video.frames) == 100
    assert seen(clip) == [0.52, 3.2]
    assert heard(clip, 0, 2) == pytest.approx(0.52, abs=1e-3)
    assert heard(clip, 2, 4) == pytest.approx(3.2, abs=1e-3)
    film = probe(joined)
    assert isinstance(film, VideoInfo)
    assert float(film.seconds) == pytest.approx(4, abs=0.05)
    form = ClipSpec(Fraction(8, 5), Fraction(FPS), (64, 64), 16_000)
    early, late = read_clips(joined, [Fraction(0), Fraction(9, 5)], form)
    assert (seen(early), seen(late)) == ([0.52], [1.4])
    assert heard(late) == pytest.approx(1.4, abs=2e-3)


def test_a_recording_whose_stamps_begin_late_is_whole(tmp_path):
    path = write(
        tmp_path / "late.mkv",
        flashes(150, 25),
        [beeps(6, 1.0)],
        offset=Fraction(308, 25),
        avoid_negative_ts="disabled",
    )
    film = probe(path)
    assert isinstance(film, VideoInfo)
    assert float(film.seconds) == pytest.approx(6, abs=0.05)
    assert seen(read_clip(path)) == [1.0]
    assert heard(read_clip(path)) == pytest.approx(1.0, abs=1e-3)


def test_a_rate_that_is_a_clock_is_measured_instead(tmp_path):
    with av.open(str(tmp_path / "r.webm"), "w", options={"live": "1"}) as container:
        picture = container.add_stream("libvpx", rate=1000)
        picture.width = picture.height = 16
        picture.codec_context.time_base = Fraction(1, 1000)
        for index in range(40):
            frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), index, np.uint8))
            frame.pts, frame.time_base = 33 * index, Fraction(1, 1000)
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
    assert frame_rate(tmp_path / "r.webm") == Fraction(1000, 33)
    assert 39 <= len(read_video(tmp_path / "r.webm").frames) <= 41


@pytest.mark.parametrize("fps", [Fraction(240), Fraction(30000, 1001)])
def test_a_rate_that_is_true_is_kept(tmp_path, fps):
    with av.open(str(tmp_path / "r.mp4"), "w") as container:
        picture = container.add_stream("mpeg4", rate=fps)
        picture.width = picture.height = 16
        for index in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), index, np.uint8))
            frame.pts, frame.time_base = index, 1 / fps
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
    assert frame_rate(tmp_path / "r.mp4") == fps


def test_frames_that_only_repeat_are_shown_on(tmp_path):
    path = tmp_path / "repeats.avi"
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=10)
        picture.width = picture.height = 16
        for index in range(6):
            frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), 40 * index, np.uint8))
            frame.pts, frame.time_base = index, Fraction(1, 10)
            for packet in picture.encode(frame):
                container.mux(packet)
        container.mux(picture.encode())
    data = bytearray(path.read_bytes())
    # frames 2 and 3 become chunks of no bytes within junk, as encoders write what has not changed
    with av.open(str(path)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    index = data.index(b"idx1")
    for number in (2, 3):
        at, size = places[number]
        data[at - 4 : at] = struct.pack("<I", 0)
        data[at : at + 8] = b"JUNK" + struct.pack("<I", size + size % 2 - 8)
        entry = index + 8 + 16 * number + 12
        data[entry : entry + 4] = struct.pack("<I", 0)
    path.write_bytes(data)
    levels = read_video(path).frames.mean((1, 2, 3)) * 255
    assert len(levels) == 6
    assert levels[2] == levels[3] == levels[1]


def corners(frame):
    places = ((16, 16), (16, 48), (48, 16), (48, 48))
    found = (frame[row, column] for row, column in places)
    return "".join("W" if one.min() > 0.6 else "RGB"[int(one.argmax())] for one in found)


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((1, 0, 0, 1), "RGBW"),
        ((-1, 0, 0, 1), "GRWB"),
        ((1, 0, 0, -1), "BWRG"),
        ((-1, 0, 0, -1), "WBGR"),
        ((0, 1, -1, 0), "BRWG"),
        ((0, -1, 1, 0), "GWRB"),
        ((0, 1, 1, 0), "RBGW"),
        ((0, -1, -1, 0), "WGBR"),
    ],
)
def test_the_whole_display_matrix_is_applied(tmp_path, matrix, shown):
    quarters = np.zeros((2, 64, 64, 3), np.uint8)
    quarters[:, :32, :32], quarters[:, :32, 32:] = (220, 20, 20), (20, 220, 20)
    quarters[:, 32:, :32], quarters[:, 32:, 32:] = (20, 20, 220), 230
    path = write(tmp_path / "turned.mp4", quarters)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (one * 65536 for one in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    assert corners(read_video(path).frames[0]) == shown
    assert corners(read_video(path, ReadSpec(size=(64, 64))).frames[0]) == shown


@pytest.mark.parametrize(
    ("pixel", "shape"), [(Fraction(2), (64, 128)), (Fraction(1, 2), (128, 64))]
)
def test_pixels_come_out_square(tmp_path, pixel, shape):
    path = tmp_path / "wide.mkv"
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=10)
        picture.width = picture.height = 64
        picture.codec_context.sample_aspect_ratio = pixel
        left = np.zeros((64, 64, 3), np.uint8)
        left[:, :16] = 255
        container.mux(picture.encode(av.VideoFrame.from_ndarray(left)))
        container.mux(picture.encode())
    assert read_video(path).frames.shape == (1, *shape, 3)
    cut = read_video(path, ReadSpec(size=(64, 64))).frames[0]
    # of a wide picture the middle is seen: no more of the left quarter
    assert (cut[:, 2].mean() > 0.5) == (pixel < 1)


def test_the_default_sound_is_read_and_another_may_be_chosen(tmp_path):
    path = write(tmp_path / "two.mkv", flashes(25), [np.zeros(RATE), beeps(1, 0.5)], default=1)
    assert heard(read_clip(path)) == pytest.approx(0.5, abs=1e-3)
    assert read_audio(path, ReadSpec(audio_track=1)).is_silent
    with pytest.raises(UserError, match="2 sound tracks, no track 3"):
        read_audio(path, ReadSpec(audio_track=3))
    assert isinstance(probe(path, 3), SkipReason)


def test_a_cover_is_no_picture(tmp_path):
    path = write(tmp_path / "song.mka", None, [beeps(1, 0.5)])
    covered = tmp_path / "song.m4a"
    with av.open(str(path)) as source, av.open(str(covered), "w", format="mp4") as container:
        sound = container.add_stream_from_template(source.streams.audio[0])
        cover = container.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 16, 16, "rgb24"
        cover.disposition = Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8))))
        container.mux(cover.encode())
        for packet in source.demux(source.streams.audio[0]):
            if packet.size:
                packet.stream = sound
                container.mux(packet)
    with opened(covered) as container:
        assert not pictures(container)
    assert read_audio(covered).seconds > 0.9
    found = probe(covered)
    assert isinstance(found, SkipReason)
    assert found.category == "no picture track"


def test_one_channel_of_two_is_half_as_loud(tmp_path):
    def level(*channels):
        with wave.open(str(tmp_path / "s.wav"), "wb") as file:
            file.setnchannels(len(channels))
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes((np.stack(channels, 1) * 32767).astype("<i2").tobytes())
        return float(np.abs(read_audio(tmp_path / "s.wav").waveform).max())

    tone = 0.9 * np.sin(np.arange(4800) / 7)
    assert level(tone) == pytest.approx(0.9, abs=1e-3)
    assert level(tone, tone) == pytest.approx(0.9, abs=1e-3)
    assert level(tone, 0 * tone) == pytest.approx(0.45, abs=1e-3)
    assert level(*[tone] * 4) <= 0.901


def plain(path, *, size=(64, 64), matrix=2, span=1, transfer=2, yuv=(120, 100, 180)):
    """A picture of one colour, in luma and chroma, with its tags."""
    with av.open(str(path), "w") as container:
        picture = container.add_stream("ffv1", rate=10)
        picture.height, picture.width = size
        picture.pix_fmt = "yuv420p"
        context = picture.codec_context
        context.colorspace, context.color_range, context.color_trc = matrix, span, transfer
        frame = av.VideoFrame(size[1], size[0], "yuv420p")
        frame.colorspace, frame.color_range, frame.color_trc = matrix, span, transfer
        for plane, value in zip(frame.planes, yuv, strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        container.mux(picture.encode(frame))
        container.mux(picture.encode())
    return path


def to_rgb(yuv, red, blue, *, full):
    """RGB in bytes by the weights of red and blue, as ITU-R defines it."""
    y, u, v = yuv
    y, u, v = (
        (y, u - 128, v - 128)
        if full
        else (
            (y - 16) * 255 / 219,
            (u - 128) * 255 / 224,
            (v - 128) * 255 / 224,
        )
    )
    r, b = y + 2 * (1 - red) * v, y + 2 * (1 - blue) * u
    return r, (y - red * r - blue * b) / (1 - red - blue), b


BT601, BT709, BT2020 = (0.299, 0.114), (0.2126, 0.0722), (0.2627, 0.0593)


@pytest.mark.parametrize(
    ("tags", "weights"),
    [
        ({"matrix": 5}, BT601),
        ({"matrix": 6}, BT601),
        ({"matrix": 1}, BT709),
        ({"matrix": 9}, BT2020),
        ({"matrix": 1, "span": 2}, BT709),
        ({}, BT601),
        ({"size": (720, 1280)}, BT709),
    ],
)
def test_colours_are_read_by_their_own_matrix_and_range(tmp_path, tags, weights):
    path = plain(tmp_path / "c.mkv", **tags)
    right = to_rgb((120, 100, 180), *weights, full=tags.get("span") == 2)
    for size in (None, (32, 32)):
        shown = read_video(path, ReadSpec(size=size)).frames[0, 8, 8] * 255
        assert_close(shown, right, rtol=3 * SHADE, scale=255)


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused_not_taken_for_sdr(tmp_path, transfer, name):
    path = plain(tmp_path / "hdr.mkv", matrix=9, transfer=transfer)
    with pytest.raises(UserError, match=f"HDR.*{name}"):
        read_video(path)


def test_what_does_not_fit_into_memory_is_refused_before(tmp_path):
    path = write(tmp_path / "v.mp4", flashes(2), [beeps(1, 0.5)])
    with pytest.raises(UserError, match="GiB of memory"):
        read_video(path, ReadSpec(seconds=Fraction(3600), fps=Fraction(FPS), size=(720, 1280)))
    with pytest.raises(UserError, match="GiB of memory"):
        read_audio(path, ReadSpec(seconds=Fraction(10**6)))


def test_a_picture_that_changes_its_size_is_one_line(tmp_path):
    small = write(tmp_path / "1.ts", flashes(10), [beeps(0.4, 0.2)])
    large = write(tmp_path / "2.ts", flashes(10, size=(96, 128)), [beeps(0.4, 0.2)])
    path = tmp_path / "both.ts"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    with pytest.raises(UserError, match="changes its size, from 64x64 to 96x128"):
        read_video(path)
    assert read_video(path, ReadSpec(size=(32, 32))).frames.shape[1:] == (32, 32, 3)


def test_whatever_is_wrong_with_a_file_is_a_fault_or_a_line(tmp_path):
    whole = write(tmp_path / "v.mp4", flashes(20), [beeps(0.8, 0.2)]).read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(40):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), 12):
            data[at] = rng.integers(256)
        path = tmp_path / "broken.mp4"
        path.write_bytes(data)
        probe(path)
        with suppress(UserError):
            read_clip(path, ReadSpec(seconds=Fraction(1), fps=Fraction(10), size=(16, 16)))

"""Small films for tests: what is seen and heard tells the time."""

from fractions import Fraction

import av
import numpy as np


def level(index):
    """The grey of frame ``index``; neighbours differ a lot."""
    return 20 + (37 * index) % 200


def ramp(seconds, rate):
    """A sound that says the time: a tenth of it."""
    return np.arange(round(seconds * rate)) / rate / 10


def film(
    path,
    seconds=3.6,
    *,
    fps=Fraction(10),
    size=(48, 64),
    stamps=None,
    rate=16_000,
    layout="mono",
    delay=0.0,
    sound=ramp,
    still=False,
    codec="mpeg4",
    gop=12,
):
    """Write frames at i/fps, or at ``stamps`` in milliseconds, and a sound after ``delay``."""
    base = Fraction(1, 1000) if stamps is not None else 1 / fps
    stamps = range(round(seconds * fps)) if stamps is None else stamps
    with av.open(str(path), "w") as container:
        picture = container.add_stream(codec, rate=fps, options={"qmin": "1", "qmax": "2"})
        assert isinstance(picture, av.VideoStream)
        picture.height, picture.width, picture.pix_fmt = *size, "yuv420p"
        picture.time_base = picture.codec_context.time_base = base
        picture.codec_context.gop_size = gop
        track = None
        if sound is not None:
            track = container.add_stream("pcm_s16le", rate=rate, layout=layout)
        if track is not None:  # before the picture: the muxer lays both beside one another
            values = np.round(sound(seconds - delay, rate) * 32767).astype(np.int16)
            channels = len(track.codec_context.layout.channels)
            for at in range(0, len(values), rate // 10):
                part = np.repeat(values[at : at + rate // 10], channels)[None]
                block = av.AudioFrame.from_ndarray(part, format="s16", layout=layout)
                block.sample_rate, block.time_base = rate, Fraction(1, rate)
                block.pts = round(delay * rate) + at
                container.mux(track.encode(block))
            container.mux(track.encode())
        for index, stamp in enumerate(stamps):
            grey = np.full((*size, 3), level(0 if still else index), np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
            frame.pts, frame.time_base = stamp, base
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
    return path


def noise(seconds, rate):
    """A sound that is not silent."""
    return np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * rate))


def silence(seconds, rate):
    """A sound track of zeros."""
    return np.zeros(round(seconds * rate))


def moving(path, seed, seconds=2.0):
    """A film that is of use: noise to see and to hear."""
    rng = np.random.default_rng(seed)
    return film(
        path,
        seconds,
        size=(32, 32),
        sound=lambda seconds, rate: rng.uniform(-0.3, 0.3, round(seconds * rate)),
    )

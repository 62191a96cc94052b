"""Encoding of sound to packets, for clips that are made and for given files."""

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

if TYPE_CHECKING:
    AnyPacket = Packet[Any]
else:
    AnyPacket = Packet  # generic in its stub alone

Channels = npt.NDArray[np.float32]
"""Sound of several channels, (channels, samples)."""

SAMPLES: Final = "pcm_s16le"  # FFmpeg's name of samples of 16 bits
_BITS: Final = 128_000  # per second and channel


def encoded(
    target: OutputContainer, waveform: Channels, rate: int, layout: str, codec: str = "aac"
) -> Iterator[AnyPacket]:
    """Add an audio track, then yield its packets; sample 0 gets the stamp 0."""
    track = target.add_stream(codec, rate=rate, layout=layout)
    assert isinstance(track, AudioStream)
    track.bit_rate = _BITS * len(waveform)
    block = av.AudioFrame.from_ndarray(waveform, format="fltp", layout=layout)
    block.sample_rate = rate
    block.pts, block.time_base = 0, Fraction(1, rate)
    if codec == SAMPLES:
        for one in av.AudioResampler(format="s16", layout=layout, rate=rate).resample(block):
            yield from track.encode(one)
    else:
        yield from track.encode(block)
    yield from track.encode()

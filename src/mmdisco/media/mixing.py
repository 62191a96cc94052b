"""Mixing of audio channels, resampling to one rate, and encoding of sound to packets.

Channels are mixed by FFmpeg's own weights scaled to a sum of 1, which never clips.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.filter import Graph
from av.packet import Packet
from av.video.frame import VideoFrame

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


class Mixer:
    """Mixer of frames into blocks of the same channels at one rate, whatever each frame's format.

    Args:
        rate: Samples per second of the result.
        layout: Its channels, as FFmpeg names them.
    """

    def __init__(self, rate: int, layout: str = "mono") -> None:
        self._rate, self._layout = rate, layout
        self._form: tuple[str, str, int, int] | None = None
        self._graph: Graph | None = None

    def mixed(self, frame: AudioFrame) -> Iterator[Channels]:
        """Yield the blocks that are complete once ``frame`` is in."""
        channels = len(frame.layout.channels)
        form = (frame.format.name, frame.layout.name, channels, frame.sample_rate)
        if self._graph is None or form != self._form:
            # the track changes its format on the way, as broadcasts do between programmes
            yield from self.rest()
            self._form, self._graph = form, _graph(frame, self._rate, self._layout)
        self._graph.push(frame)
        yield from _ready(self._graph)

    def rest(self) -> Iterator[Channels]:
        """Yield the samples that a filter still holds back."""
        graph, self._graph = self._graph, None
        if graph is not None:
            graph.push(None)
            yield from _ready(graph)


def _graph(frame: AudioFrame, rate: int, layout: str) -> Graph:
    graph = Graph()
    source = graph.add_abuffer(
        sample_rate=frame.sample_rate,
        format=frame.format.name,
        layout=frame.layout,
        time_base=frame.time_base or Fraction(1, frame.sample_rate),
    )
    # float samples are otherwise mixed at equal power, which is 3 dB too loud for equal channels
    mix = graph.add("aresample", f"{rate}:rematrix_maxval=1")
    form = graph.add("aformat", f"sample_fmts=fltp:channel_layouts={layout}")
    graph.link_nodes(source, mix, form, graph.add("abuffersink")).configure()
    return graph


def _ready(graph: Graph) -> Iterator[Channels]:
    for block in pulled(graph):
        assert isinstance(block, AudioFrame)
        yield block.to_ndarray().astype(np.float32, copy=False)


def pulled(graph: Graph) -> Iterator[AudioFrame | VideoFrame]:
    """Yield the frames that a filter graph has ready."""
    while True:
        try:
            yield graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return

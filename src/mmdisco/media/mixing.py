"""Down- and upmixing of audio channels, and resampling to one rate.

Channels are mixed by FFmpeg's own weights scaled to a sum of 1, which never clips.
"""

from collections.abc import Iterator
from fractions import Fraction

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.filter import Graph
from av.video.frame import VideoFrame

from mmdisco.media.encode import Channels


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

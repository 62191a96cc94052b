"""All channels of a sound as one, by FFmpeg's own weights scaled to a sum of 1: it never clips."""

from collections.abc import Iterator
from fractions import Fraction

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.filter import Graph

from mmdisco.media.clip import Waveform


class Mixer:
    """Mixes frames into blocks of one channel at one rate, whatever form each frame has.

    Args:
        rate: Samples a second of the result.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._form: tuple[str, str, int, int] | None = None
        self._graph: Graph | None = None

    def mixed(self, frame: AudioFrame) -> Iterator[Waveform]:
        """What is ready once ``frame`` is in."""
        channels = len(frame.layout.channels)
        form = (frame.format.name, frame.layout.name, channels, frame.sample_rate)
        if self._graph is None or form != self._form:
            # the track changes its form on the way, as broadcasts do between programmes
            yield from self.rest()
            self._form, self._graph = form, _graph(frame, self._rate)
        self._graph.push(frame)
        yield from _ready(self._graph)

    def rest(self) -> Iterator[Waveform]:
        """What a filter still holds back."""
        graph, self._graph = self._graph, None
        if graph is not None:
            graph.push(None)
            yield from _ready(graph)


def _graph(frame: AudioFrame, rate: int) -> Graph:
    graph = Graph()
    source = graph.add_abuffer(
        sample_rate=frame.sample_rate,
        format=frame.format.name,
        layout=frame.layout,
        time_base=frame.time_base or Fraction(1, frame.sample_rate),
    )
    # float samples are otherwise mixed at equal power, which is 3 dB too loud for equal channels
    mix = graph.add("aresample", f"{rate}:rematrix_maxval=1")
    form = graph.add("aformat", "sample_fmts=fltp:channel_layouts=mono")
    graph.link_nodes(source, mix, form, graph.add("abuffersink")).configure()
    return graph


def _ready(graph: Graph) -> Iterator[Waveform]:
    while True:
        try:
            block = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        assert isinstance(block, AudioFrame)
        yield block.to_ndarray()[0].astype(np.float32, copy=False)

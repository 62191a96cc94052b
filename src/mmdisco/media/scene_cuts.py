"""Detection of cuts between the shots of a video, by FFmpeg's scene score."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Final

import av
from av.filter import Graph

from mmdisco.media.decode import DecodeErrors, frames_at
from mmdisco.media.mixing import pulled
from mmdisco.media.opening import opened

_RATE: Final = Fraction(12)  # frames examined per second; a cut is found to 1/12 s
_CHANGE: Final = 0.3  # threshold of FFmpeg's scene score in [0, 1]


def scene_cuts(path: Path) -> Iterator[Fraction]:
    """Yield the seconds after time 0 at which a new shot begins, in order, in one decoding pass.

    Raises:
        UserError: The file cannot be read or has no video track.
    """
    with opened(path) as container:
        graph: Graph | None = None
        endless = (step / _RATE for step in count())
        for index, frame in enumerate(frames_at(container, endless, 1 / _RATE, DecodeErrors())):
            small = frame.reformat(64, 36, "rgb24", interpolation="AREA", threads=1)
            if graph is None:
                graph = _graph()
            small.pts = index
            small.time_base = 1 / _RATE
            graph.vpush(small)
            for cut in pulled(graph):
                yield (cut.pts or 0) * (cut.time_base or 1 / _RATE)


def _graph() -> Graph:
    graph = Graph()
    source = graph.add_buffer(
        width=64, height=36, format=av.VideoFormat("rgb24", 64, 36), time_base=1 / _RATE
    )
    chosen = graph.add("select", f"gt(scene,{_CHANGE})")
    graph.link_nodes(source, chosen, graph.add("buffersink")).configure()
    return graph

"""Clips of one format from a file, in one pass, and the cuts between its shots.

Neither the file nor its clips fill the memory.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Final

import av
import numpy as np
from av.filter import Graph

from mmdisco.errors import UserError
from mmdisco.media.clip import Audio, AudioVideo, ClipSpec, Frames, Video, Waveform, fit_video
from mmdisco.media.decode import DecodeErrors, frames_at, sound
from mmdisco.media.geometry import pixel_shape, pixels
from mmdisco.media.mixing import pulled
from mmdisco.media.opening import opened, picture_track
from mmdisco.media.probe import SkipReason, without_path
from mmdisco.media.read import resampled

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


_MARGIN: Final = Fraction(1, 4)  # seconds of audio on either side, for the ringing of a filter


def read_clips(
    path: Path, starts: Sequence[Fraction], form: ClipSpec, audio_track: int | None = None
) -> Iterator[AudioVideo | SkipReason]:
    """Yield a clip from each of ``starts`` on, or the reason why there is none.

    The video is decoded as clips are asked for, the sound of the whole span at once; so a span
    should be minutes. A clip lasts exactly ``form.seconds``; where the file lacks the last
    frame the one before is held, and sound that ends early is silent.

    Args:
        path: A video file.
        starts: Seconds after time 0, rising; clips may overlap.
        form: Length, rates and size of the clips.
        audio_track: Number of the audio track, from 1; None is the one that a player plays.

    Yields:
        As many items as ``starts``.
    """
    done = 0
    try:
        for one in _taken(path, starts, form, audio_track):
            yield one
            done += 1
    except UserError as error:
        reason = SkipReason("undecodable", without_path(path, str(error)))
        for _ in starts[done:]:
            yield reason


def _taken(
    path: Path, starts: Sequence[Fraction], form: ClipSpec, audio_track: int | None
) -> Iterator[AudioVideo | SkipReason]:
    heard = DecodeErrors()
    waveform, before = _heard(path, starts, form, heard, audio_track)
    seen = DecodeErrors()
    with opened(path) as container:
        pixel = pixel_shape(picture_track(container))
        times = sorted({time for start in starts for time in _times(start, form)})
        shown = zip(times, frames_at(container, times, 1 / form.fps, seen), strict=False)
        kept: dict[Fraction, Frames] = {}
        for start in starts:
            own = _times(start, form)
            kept = {time: frame for time, frame in kept.items() if time >= start}
            if own[-1] not in kept:
                for time, frame in shown:
                    kept[time] = pixels(frame, form.size, pixel)
                    if time == own[-1]:
                        break
            frames = [kept[time] for time in own if time in kept]
            end = start + form.seconds
            if seen.within(start, end) or heard.within(start, end):
                yield SkipReason(
                    "undecodable", f"damaged within {float(start):g} to {float(end):g} s"
                )
                continue
            if len(frames) < form.frames - 1 or not frames:
                lasts = f"{len(frames)} of {form.frames} frames"
                yield SkipReason("too short", lasts)
                continue
            first = round((start - before) * form.sample_rate)
            samples = round(form.seconds * form.sample_rate)
            part = waveform[first : first + samples]
            part = np.pad(part, (0, samples - len(part)))
            video = fit_video(Video(np.stack(frames), form.fps), form.frames)
            yield AudioVideo(Audio(part, form.sample_rate), video)


def _times(start: Fraction, form: ClipSpec) -> list[Fraction]:
    return [start + step / form.fps for step in range(form.frames)]


def _heard(
    path: Path,
    starts: Sequence[Fraction],
    form: ClipSpec,
    damage: DecodeErrors,
    audio_track: int | None,
) -> tuple[Waveform, Fraction]:
    """Return the sound around all clips at their sample rate, and the time it begins at."""
    before = max(Fraction(0), starts[0] - _MARGIN)
    until = starts[-1] + form.seconds + _MARGIN
    with opened(path) as container:
        waveform, rate = sound(container, before, until - before, damage, audio_track)
    if not len(waveform):
        return waveform, before
    return resampled(Audio(waveform, rate), form.sample_rate).waveform, before

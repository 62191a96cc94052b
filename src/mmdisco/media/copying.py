"""Stream copy: packets of a file's tracks, taken over without decoding.

A video track is copied where that is exact: the excerpt begins with a key frame, no frame of it
needs one beyond its end, and the file lasts as long. An audio track is copied into containers
that can skip what its decoder needs before the excerpt, or sample by sample. Otherwise a track
is re-encoded; audio keeps its channels and its rate then.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
from av.container import InputContainer, OutputContainer

from mmdisco.media.clock import clock_of, rate_of
from mmdisco.media.decode import channels
from mmdisco.media.mixing import SAMPLES, AnyPacket, Mixer, encoded
from mmdisco.media.opening import opened, picture_track, sound_track

# Samples per second: all rates of AAC.
SOUND_RATES: Final = frozenset(
    (7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
)
FALLBACK_RATE: Final = 48_000  # instead of a rate that no clip can be written at

_MP4: Final = "mov,mp4,m4a,3gp,3g2,mj2"  # FFmpeg's name of the format
# codecs that mp4, mov and mkv all hold
_PICTURES: Final = frozenset(("h264", "hevc", "av1", "vp9"))
_PICTURE_SOURCES: Final = frozenset((_MP4, "matroska,webm"))
_SOUNDS: Final = frozenset(("aac", "mp3"))  # codecs that every player supports in mp4 and mov
_SOUND_SOURCES: Final = frozenset((_MP4, "matroska,webm", "mp3"))
_TRIMMING: Final = frozenset((".mp4", ".mov"))  # containers that can skip a beginning
_HOLDING_SAMPLES: Final = frozenset((".mov", ".mkv"))
_SLACK: Final = Fraction(2, 1000)  # seconds; containers round stamps to a millisecond
_LEAD: Final = Fraction(15, 100)  # seconds of packets until an audio decoder has settled
_LAYOUTS: Final = ("mono", "stereo", "2.1", "3.0", "4.0", "quad", "5.0", "5.1", "5.1(side)", "7.1")
_USUAL: Final = {1: "mono", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}  # layouts by channels


@dataclass(frozen=True)
class Picture:
    """Video of an excerpt of a file.

    Attributes:
        path: The file.
        start: Seconds after time 0.
        seconds: Length.
    """

    path: Path
    start: Fraction
    seconds: Fraction

    @property
    def can_be_copied(self) -> bool:
        """Whether the video of exactly these seconds can be copied.

        Raises:
            UserError: The file cannot be read.
        """
        with opened(self.path) as container:
            return bool(self._packets(container))

    def copy_into(self, target: OutputContainer) -> Iterator[AnyPacket]:
        """Add the track, then yield its packets, their stamps counted from the start."""
        # the source stays open until the last packet is taken
        with opened(self.path) as container:
            packets = self._packets(container)
            track = target.add_stream_from_template(picture_track(container))
            yield from _moved(packets, clock_of(container).zero + self.start, track)

    def _packets(self, container: InputContainer) -> list[AnyPacket]:
        """Return the excerpt's packets in the order of the file; none if they do not suffice."""
        stream, clock = picture_track(container), clock_of(container)
        rate, base = rate_of(container), stream.time_base
        known = stream.codec_context.codec.canonical_name in _PICTURES
        held = known and container.format.name in _PICTURE_SOURCES
        if not held or clock.joined or base is None:
            return []
        first = clock.zero + self.start
        end = first + self.seconds
        if self.start:
            container.seek(int(first / base) + 1, stream=stream)
        kept: list[AnyPacket] = []
        beyond = False
        for packet in container.demux(stream):
            if packet.pts is None or packet.dts is None:
                break
            stamp = packet.pts * base
            if not kept and not (packet.is_keyframe and abs(stamp - first) <= _SLACK):
                return []
            inside = first - _SLACK <= stamp < end - _SLACK
            if kept and (stamp < first - _SLACK or (inside and beyond)):
                return []  # a frame of the excerpt needs one outside it
            beyond = beyond or not inside
            if inside:
                kept.append(packet)
            elif packet.dts * base >= end:
                break
        last = max((packet.pts or 0 for packet in kept), default=0) * base
        lasts = len(kept) and last + 1 / rate >= end - 1 / rate / 2
        return kept if lasts else []


@dataclass(frozen=True)
class Sound:
    """Audio of an excerpt of a file.

    Attributes:
        path: The file.
        start: Seconds after time 0.
        seconds: Length.
        number: Number of the audio track, from 1; None is the one that a player plays.
    """

    path: Path
    start: Fraction
    seconds: Fraction
    number: int | None = None

    def way(self, suffix: str) -> str:
        """Describe in words what becomes of it in a container with the file ending ``suffix``.

        Raises:
            UserError: The file cannot be read.
        """
        with opened(self.path) as container:
            if self._copied(container, suffix) or self._codec(container, suffix) == SAMPLES:
                return "the sound copied"
            layout, rate = self._form(container)
        return f"the sound encoded anew, {layout} at {rate} Hz"

    def put_into(self, target: OutputContainer, suffix: str) -> Iterator[AnyPacket]:
        """Add the track, then yield its packets."""
        with opened(self.path) as container:
            if self._copied(container, suffix):
                track = target.add_stream_from_template(sound_track(container, self.number))
                zero = clock_of(container, self.number).zero + self.start
                yield from _moved(self._packets(container), zero, track)
                return
            layout, rate = self._form(container)
            codec = self._codec(container, suffix)
            waveform = channels(
                container, Mixer(rate, layout), rate, self.start, self.seconds, number=self.number
            )
        missing = round(self.seconds * rate) - waveform.shape[1]
        yield from encoded(target, np.pad(waveform, ((0, 0), (0, missing))), rate, layout, codec)

    def _copied(self, container: InputContainer, suffix: str) -> bool:
        if suffix not in _TRIMMING or container.format.name not in _SOUND_SOURCES:
            return False
        known = sound_track(container, self.number).codec_context.codec.canonical_name in _SOUNDS
        return known and not clock_of(container, self.number).joined

    def _packets(self, container: InputContainer) -> Iterator[AnyPacket]:
        zero = clock_of(container, self.number).zero
        for packet in container.demux(sound_track(container, self.number)):
            if packet.pts is None or not packet.size:
                continue
            stamp = packet.pts * packet.time_base - zero
            if stamp >= self.start + self.seconds:
                return
            if stamp >= self.start - _LEAD:
                yield packet

    def _codec(self, container: InputContainer, suffix: str) -> str:
        same = sound_track(container, self.number).codec_context.name == SAMPLES
        return SAMPLES if same and suffix in _HOLDING_SAMPLES else "aac"

    def _form(self, container: InputContainer) -> tuple[str, int]:
        stream = sound_track(container, self.number)
        name, rate = stream.layout.name, stream.rate
        if name not in _LAYOUTS:
            name = _USUAL.get(stream.layout.nb_channels, "stereo")
        return name, rate if rate in SOUND_RATES else FALLBACK_RATE


def _moved(
    packets: list[AnyPacket] | Iterator[AnyPacket], zero: Fraction, track: Any
) -> Iterator[AnyPacket]:
    for packet in packets:
        shift = round(zero / packet.time_base)
        stamp = packet.pts or 0
        packet.pts, packet.dts = (
            stamp - shift,
            (stamp if packet.dts is None else packet.dts) - shift,
        )
        packet.stream = track
        yield packet

"""One block: decode, judge, encode. Alone it needs its films and the models, and no other block."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final

import torch
from torch import Tensor

from mmdisco.av import AV
from mmdisco.media.clip import AudioVideo
from mmdisco.media.given import Form
from mmdisco.media.probing import Fault
from mmdisco.media.windows import windows
from mmdisco.prepare.encoding import Encoder
from mmdisco.prepare.glimpse import glimpse
from mmdisco.prepare.judging import judge, statistics
from mmdisco.prepare.plan import Block, Piece
from mmdisco.training.pairs import Pairs

_SHOWN: Final = 8  # clips of a block that are kept at a glance, and as many of each reason


class Maker:
    """Makes blocks.

    Args:
        encoder: The models.
        batch: Clips that are encoded at once; as many are in memory.
        audio_track: Number of the sound track, from 1; None is the one that a player plays.
    """

    def __init__(self, encoder: Encoder, batch: int, audio_track: int | None = None) -> None:
        self._encoder = encoder
        self._batch = batch
        self._audio_track = audio_track

    def make(self, block: Block) -> tuple[Pairs | None, list[dict[str, Any]]]:
        """The pairs of the clips that are kept, None without any, and a record of every clip."""
        records: list[dict[str, Any]] = []
        latents: list[AV[Tensor]] = []
        waiting: list[tuple[dict[str, Any], AudioVideo]] = []
        for piece, start, found in taken(block, self._encoder.form, self._audio_track):
            record = self._record(piece, start)
            records.append(record)
            if isinstance(found, Fault):
                _drop(record, found)
                continue
            record["statistics"] = statistics(found)
            fault = judge(found)
            if fault is not None:
                _drop(record, fault)
                alike = [one for one in records if one.get("reason") == fault.reason]
                if len(alike) <= _SHOWN:
                    record["glimpse"] = glimpse(found)
                continue
            waiting.append((record, found))
            if (len(records) - 1) % -(-len(block) // _SHOWN) == 0:
                record["glimpse"] = glimpse(found)
            if len(waiting) == self._batch:
                latents += self._encoded(waiting)
                waiting = []
        if waiting:
            latents += self._encoded(waiting)
        captions = [record["said"] for record in records if record["kept"]]
        return self._encoder.pairs(latents, captions) if latents else None, records

    def _record(self, piece: Piece, start: Fraction) -> dict[str, Any]:
        return {
            "kept": True,
            "source": piece.name,
            "group": piece.group,
            "start": round(float(start), 6),
            "end": round(float(start + self._encoder.form.seconds), 6),
            "caption": self._encoder.prompt(piece.caption),
            "said": piece.caption,
        }

    def _encoded(self, waiting: list[tuple[dict[str, Any], AudioVideo]]) -> list[AV[Tensor]]:
        both = self._encoder.latents([clip for _, clip in waiting])
        found: list[AV[Tensor]] = []
        for row, (record, _) in enumerate(waiting):
            one = both.map(lambda latent, row=row: latent[row])
            if all(bool(torch.isfinite(side).all()) for side in (one.audio, one.video)):
                found.append(one)
            else:
                _drop(record, Fault("not finite", "the models make no numbers of it"))
        return found


def taken(
    block: Block, form: Form, audio_track: int | None = None
) -> Iterator[tuple[Piece, Fraction, AudioVideo | Fault]]:
    """Every clip of a block in order, or why there is none."""
    for run in block.runs:
        fault = _changed(run.piece)
        if fault is not None:
            yield from ((run.piece, start, fault) for start in run.starts)
            continue
        clips = windows(run.piece.path, run.starts, form, audio_track)
        for start, found in zip(run.starts, clips, strict=True):
            yield run.piece, start, found


def _changed(piece: Piece) -> Fault | None:
    try:
        size = piece.path.stat().st_size
    except OSError as error:
        return Fault("unreadable", error.strerror or str(error))
    return None if size == piece.bytes else Fault("changed", "it has another size than at first")


def _drop(record: dict[str, Any], fault: Fault) -> None:
    record["kept"] = False
    record["reason"], record["detail"] = fault.reason, fault.detail

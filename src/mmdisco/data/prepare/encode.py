"""Filtering and encoding of clips by the models of a system, shard by shard.

``ShardEncoder`` computes latents and caption embeddings; ``BlockEncoder`` decodes, filters and
encodes one shard, independently of all others, and decodes some of its latents again; ``thumbnail``
makes a small preview of a clip.
"""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmdisco.core.av import AV, each
from mmdisco.core.denoiser import Conditioning, JointModel
from mmdisco.core.pairs import Pairs
from mmdisco.data.prepare.plan import ClipGroup, ShardPlan
from mmdisco.data.prepare.reconstruction import measured
from mmdisco.errors import UserError
from mmdisco.generation.pipeline import encode_captions
from mmdisco.generation.system import JointSystem, Requirements
from mmdisco.media.clip import AudioVideo, ClipSpec, Frames
from mmdisco.media.probe import SkipReason
from mmdisco.media.windows import read_clips

_CHANGE: Final = 10 / 255  # of a pixel's value; compression alone seldom changes it by more
_SIDE: Final = 64  # minimum length of the shorter side after subsampling, pixels
_PIXELS: Final = 1e-3  # minimum share of pixels that must change at some time


def skip_reason(clip: AudioVideo) -> SkipReason | None:
    """Return the reason to skip a clip; None if it is usable.

    A clip is unusable if every sample is 0 to 16 bits, or if fewer than one pixel in a thousand
    ever differs from the first frame by more than 10 of 255.
    """
    if clip.audio.is_silent:
        return SkipReason("digital silence")
    if _changing(_subsampled(clip.video.frames)) < _PIXELS:
        return SkipReason("frozen picture")
    return None


def statistics(clip: AudioVideo) -> dict[str, Any]:
    """Compute statistics for the manifest, rounded to four decimals.

    Returns:
        ``loudness``: root mean square in dB of full scale; ``peak``: the largest sample;
            ``motion``: mean change of a pixel from frame to frame; ``brightness``: mean of all
            pixels.
    """
    frames = _subsampled(clip.video.frames)
    power = float(np.mean(np.square(clip.audio.waveform, dtype=np.float64)))
    moved = np.abs(np.diff(frames, axis=0)).mean() if len(frames) > 1 else 0.0
    return {
        "loudness": round(10 * float(np.log10(max(power, 1e-12))), 4),
        "peak": round(float(np.abs(clip.audio.waveform).max()), 4),
        "motion": round(float(moved), 4),
        "brightness": round(float(frames.mean()), 4),
    }


def _subsampled(frames: Frames) -> Frames:
    """Subsample large frames to every n-th pixel: accurate enough here, and much faster."""
    step = max(1, min(frames.shape[1:3]) // _SIDE)
    return frames[:, ::step, ::step]


def _changing(frames: Frames) -> float:
    """Compute the share of pixels that ever differ from the first frame."""
    moved = np.zeros(frames.shape[1:3], bool)
    for frame in frames[1:]:
        moved |= (np.abs(frame - frames[0]) > _CHANGE).any(axis=-1)
    return float(moved.mean())


class ShardEncoder:
    """Encoders of a system, loaded at the first use.

    Args:
        pair: The system.
    """

    def __init__(self, pair: JointSystem) -> None:
        self._pair = pair
        self._model: JointModel | None = None
        self._known: dict[str, tuple[str, tuple[str, ...]]] = {}

    @property
    def form(self) -> ClipSpec:
        """Format of the clips to encode."""
        return self._pair.form

    def expect(self) -> None:
        """Check that the models are here.

        Raises:
            UserError: Files are missing, or the clips are longer than the models know.
        """
        if self.form.seconds > self._pair.window:
            raise UserError(
                f"clips of {float(self.form.seconds):g} s: the models know "
                f"{float(self._pair.window):g} s, and longer ones can only be generated"
            )
        self._pair.expect(Requirements("", guided=False, one_sided=False))

    def prompt(self, caption: str) -> str:
        """Return the text to encode for a caption: "" where the system knows no word of it."""
        return self._read(caption)[0]

    def notices(self, caption: str) -> tuple[str, ...]:
        """Return a line for every part of a caption that the system ignores or replaces."""
        return self._read(caption)[1]

    def known_words(self, caption: str) -> tuple[int, int] | None:
        """Count the words of a caption that the system knows, as ``JointSystem.known_words``."""
        return self._pair.known_words(caption)

    @property
    def lossy(self) -> bool:
        """Whether latents keep less than the whole clip."""
        return self._pair.lossy

    def latents(self, clips: Sequence[AudioVideo]) -> AV[Tensor]:
        """Encode clips of the format to clean latents, batch first, float32, on the CPU."""
        with torch.no_grad():
            audio = self._loaded.encode_audio([clip.audio for clip in clips])
            video = self._loaded.encode_video([clip.video for clip in clips])
        return AV(audio.float().cpu(), video.float().cpu())

    def decode(self, latents: AV[Tensor]) -> AudioVideo:
        """Decode the latents of one clip, without the batch."""
        with torch.no_grad():
            (audio,) = self._loaded.decode_audio(latents.audio[None])
            (video,) = self._loaded.decode_video(latents.video[None])
        return AudioVideo(audio, video)

    def pairs(self, latents: Sequence[AV[Tensor]], captions: AV[Sequence[str]]) -> Pairs:
        """Stack latents of single clips, and encode each distinct caption of either side once."""
        prompts = captions.map(lambda side: [self.prompt(caption) for caption in side])
        different = prompts.map(lambda side: sorted(set(side)))
        with torch.no_grad():
            encoded = encode_captions(self._loaded, different)

        def of(cond: Conditioning, own: list[str], distinct: list[str]) -> Conditioning:
            rows = torch.tensor([distinct.index(prompt) for prompt in own])
            embeds = tuple(one.cpu()[rows].contiguous() for one in cond.embeds)
            return Conditioning(cond.pooled.float().cpu()[rows].contiguous(), embeds)

        z_0 = AV(
            torch.stack([one.audio for one in latents]), torch.stack([one.video for one in latents])
        )
        return Pairs(z_0, each(of, encoded, prompts, different))

    @property
    def _loaded(self) -> JointModel:
        if self._model is None:
            self._model = self._pair.model()
        return self._model

    def _read(self, caption: str) -> tuple[str, tuple[str, ...]]:
        """Return the text to encode, and remarks on it."""
        if caption not in self._known:
            self._known[caption] = self._understood(caption)
        return self._known[caption]

    def _understood(self, caption: str) -> tuple[str, tuple[str, ...]]:
        if not caption.strip() or not self._pair.prompted:
            return "", ()
        try:
            notices = self._pair.expect(Requirements(caption, guided=False, one_sided=False))
        except UserError:
            return "", ()
        return caption, tuple(notices)


_FRAMES: Final = 4
_HEIGHT: Final = 54  # pixels
_COLUMNS: Final = 96  # width of the waveform outline
_QUALITY: Final = 70  # JPEG quality


def thumbnail(clip: AudioVideo) -> dict[str, Any]:
    """Make a preview: frames side by side, and the peak amplitude of every column.

    Returns:
        ``jpeg``: base64; ``outline``: integers from 0 to 100, the square root of the amplitude, so
            that quiet sounds are visible.
    """
    frames = clip.video.frames
    chosen = frames[np.linspace(0, len(frames) - 1, _FRAMES).round().astype(int)]
    strip = np.concatenate(list(np.clip(chosen, 0, 1)), axis=1)
    image = Image.fromarray(np.round(strip * 255).astype(np.uint8))
    width = max(1, round(image.width * _HEIGHT / image.height))
    file = io.BytesIO()
    image.resize((width, _HEIGHT), Image.Resampling.BOX).save(file, "JPEG", quality=_QUALITY)
    columns = np.array_split(np.abs(clip.audio.waveform), _COLUMNS)
    outline = [round(100 * float(column.max()) ** 0.5) if len(column) else 0 for column in columns]
    return {"jpeg": base64.b64encode(file.getvalue()).decode(), "outline": outline}


_SHOWN: Final = 8  # clips per shard with a preview, and as many for each reason to skip


class BlockEncoder:
    """Encoder of whole shards.

    Args:
        encoder: The models.
        batch: Clips that are encoded at once, which is how many are in memory.
        audio_track: Number of the audio track, from 1; None is the track that a player plays.
    """

    def __init__(self, encoder: ShardEncoder, batch: int, audio_track: int | None = None) -> None:
        self._encoder = encoder
        self._batch = batch
        self._audio_track = audio_track

    def make(
        self, block: ShardPlan, places: Mapping[int, bool] = MappingProxyType({})
    ) -> tuple[Pairs | None, list[dict[str, Any]]]:
        """Encode the clips of a shard.

        Args:
            block: The shard.
            places: Positions of the clips to decode again, and whether the report plays them; in
                place of one that is dropped, the next one is.

        Returns:
            The pairs of all usable clips, None without any, and a record of every clip.
        """
        records: list[dict[str, Any]] = []
        latents: list[AV[Tensor]] = []
        waiting: list[_Waiting] = []
        due: list[bool] = []
        for clip_group, start, found in decode_clips(block, self._encoder.form, self._audio_track):
            record = self._record(clip_group, start)
            due += [places[len(records)]] if len(records) in places else []
            records.append(record)
            if isinstance(found, SkipReason):
                _skip(record, found)
                continue
            record["statistics"] = statistics(found)
            reason = skip_reason(found)
            if reason is not None:
                _skip(record, reason)
                alike = [one for one in records if one.get("reason") == reason.category]
                if len(alike) <= _SHOWN:
                    record["thumbnail"] = thumbnail(found)
                continue
            waiting.append(_Waiting(record, found, due.pop(0) if due else None))
            if (len(records) - 1) % -(-len(block) // _SHOWN) == 0:
                record["thumbnail"] = thumbnail(found)
            if len(waiting) == self._batch:
                latents += self._encoded(waiting)
                waiting = []
        if waiting:
            latents += self._encoded(waiting)
        kept = [record for record in records if record["kept"]]
        captions = [record["source_caption"] for record in kept]
        sounds = [record.get("source_audio_caption", record["source_caption"]) for record in kept]
        pairs = self._encoder.pairs(latents, AV(sounds, captions)) if latents else None
        return pairs, records

    def _record(self, clip_group: ClipGroup, start: Fraction) -> dict[str, Any]:
        sound, heard = clip_group.audio_caption, dict[str, str]()
        if sound is not None:
            heard = {"audio_caption": self._encoder.prompt(sound), "source_audio_caption": sound}
        return {
            "kept": True,
            "source": clip_group.name,
            "group": clip_group.group,
            "start": round(float(start), 6),
            "end": round(float(start + self._encoder.form.seconds), 6),
            "caption": self._encoder.prompt(clip_group.caption),
            "source_caption": clip_group.caption,
            **heard,
        }

    def _encoded(self, waiting: "list[_Waiting]") -> list[AV[Tensor]]:
        both = self._encoder.latents([one.clip for one in waiting])
        found: list[AV[Tensor]] = []
        for row, item in enumerate(waiting):
            one = both.map(lambda latent, row=row: latent[row])
            if all(bool(torch.isfinite(side).all()) for side in (one.audio, one.video)):
                found.append(one)
                if item.played is not None:
                    item.record["reconstruction"] = self._reconstructed(item, one)
            else:
                _skip(item.record, SkipReason("not finite", "the models make no numbers of it"))
        return found

    def _reconstructed(self, item: "_Waiting", latents: AV[Tensor]) -> dict[str, Any]:
        try:
            decoded = self._encoder.decode(latents)
            return measured(item.clip, decoded, played=bool(item.played))
        except UserError as error:  # of clips that are encoded already, a decoder takes nothing
            return {"failed": str(error)}


@dataclass(frozen=True)
class _Waiting:
    """Clip to encode; ``played`` is None unless it is decoded again."""

    record: dict[str, Any]
    clip: AudioVideo
    played: bool | None


def decode_clips(
    block: ShardPlan, form: ClipSpec, audio_track: int | None = None
) -> Iterator[tuple[ClipGroup, Fraction, AudioVideo | SkipReason]]:
    """Decode every clip of a shard in order, or give the reason to skip it."""
    for run in block.runs:
        reason = _changed(run.clip_group)
        if reason is not None:
            yield from ((run.clip_group, start, reason) for start in run.starts)
            continue
        clips = read_clips(run.clip_group.path, run.starts, form, audio_track)
        for start, found in zip(run.starts, clips, strict=True):
            yield run.clip_group, start, found


def _changed(clip_group: ClipGroup) -> SkipReason | None:
    try:
        size = clip_group.path.stat().st_size
    except OSError as error:
        return SkipReason("unreadable", error.strerror or str(error))
    return (
        None
        if size == clip_group.bytes
        else SkipReason("changed", "it has another size than at first")
    )


def _skip(record: dict[str, Any], reason: SkipReason) -> None:
    record["kept"] = False
    record["reason"], record["detail"] = reason.category, reason.detail

"""Making of a plan: every file is probed, none is decoded unless scene cuts are needed.

The split into training and validation follows a hash of the group, so it is stable. A single video
is divided into blocks of time, each a group.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Final

from mmdisco.data.config import PrepareConfig
from mmdisco.data.pairing import evenly_spaced
from mmdisco.data.prepare.plan import ClipGroup, PreparePlan
from mmdisco.data.prepare.sources import TRAIN, VALIDATION, SkippedFile, Source, SourceVideo
from mmdisco.errors import UserError
from mmdisco.media.clip import ClipSpec
from mmdisco.media.probe import SkipReason, VideoInfo, probe
from mmdisco.media.windows import scene_cuts

SPLIT_BLOCK: Final = Fraction(60)  # length in seconds of a block of a single video, by default


def split(
    clip_groups: Sequence[ClipGroup],
    share: float,
    seconds: Fraction,
    split_block: Fraction = SPLIT_BLOCK,
) -> tuple[list[ClipGroup], int]:
    """Assign clips to splits, and count those left out between two splits of one video.

    A split that the data set defines stays. Where chance gives validation or training no group, the
    group with the nearest hash is moved there.

    Args:
        clip_groups: Clips of all videos.
        share: Approximate share of the groups for validation; 0 gives it none.
        seconds: Length of a clip; the gap between two splits of one video is as long.
        split_block: Length in seconds of the blocks that a single video is split by.
    """
    single = is_single_video(clip_groups)
    if single and share > 0:
        clip_groups = [
            part for clip_group in clip_groups for part in _blocks(clip_group, split_block)
        ]
    validation = _chosen((one.group for one in clip_groups if not one.split), share)
    if any(one.split for one in clip_groups):
        validation = {one.group for one in clip_groups if _place(one.group) < share}
    split = [
        clip_group
        if clip_group.split
        else replace(clip_group, split=VALIDATION if clip_group.group in validation else TRAIN)
        for clip_group in clip_groups
    ]
    return _joined(split, seconds) if single else (split, 0)


def is_single_video(clip_groups: Sequence[ClipGroup]) -> bool:
    """Check whether all are of one group without a split, so that the video itself is divided."""
    return len({clip_group.group for clip_group in clip_groups}) == 1 and not any(
        one.split for one in clip_groups
    )


def _place(group: str) -> float:
    """Map a group to [0, 1) by its hash."""
    digest = hashlib.sha256(group.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:7]) / 2**56


def _chosen(groups: Iterable[str], share: float) -> set[str]:
    ordered = sorted(set(groups), key=_place)
    count = sum(_place(group) < share for group in ordered)
    if share > 0 and len(ordered) > 1:
        count = min(max(count, 1), len(ordered) - 1)
    elif len(ordered) == 1:
        count = 0
    return set(ordered[:count])


def _blocks(clip_group: ClipGroup, split_block: Fraction) -> list[ClipGroup]:
    found: dict[int, list[Fraction]] = {}
    for start in clip_group.starts:
        found.setdefault(int(start // split_block), []).append(start)
    return [
        replace(clip_group, group=f"{clip_group.group}#{index}", starts=tuple(starts))
        for index, starts in found.items()
    ]


def _joined(clip_groups: list[ClipGroup], seconds: Fraction) -> tuple[list[ClipGroup], int]:
    """Join neighbours of one split, leaving out one clip's length between two splits."""
    joined: list[ClipGroup] = []
    left_out = 0
    for clip_group in clip_groups:
        before = joined[-1] if joined else None
        if before is None or _source(before) != _source(clip_group):
            joined.append(clip_group)
        elif before.split == clip_group.split:
            joined[-1] = replace(before, starts=before.starts + clip_group.starts)
        else:
            free = before.starts[-1] + 2 * seconds
            starts = tuple(start for start in clip_group.starts if start >= free)
            left_out += len(clip_group.starts) - len(starts)
            if starts:
                joined.append(replace(clip_group, starts=starts))
    return joined, left_out


def _source(clip_group: ClipGroup) -> tuple[Path, str, str | None]:
    return clip_group.path, clip_group.caption, clip_group.audio_caption


_DOUBT: Final = Fraction(1, 12)  # seconds by which a cut may lie earlier than it is detected


def make_plan(source: Source, form: ClipSpec, config: PrepareConfig) -> Iterator[str | PreparePlan]:
    """Probe all files of a source and plan their clips.

    Yields:
        The name of each file, once it has been probed; the plan at the end.

    Raises:
        UserError: The source is missing or malformed, or an option has no effect on it.
    """
    probed: dict[Path, VideoInfo | SkipReason] = {}
    clip_groups: list[ClipGroup] = []
    refused: list[SkippedFile] = []
    for item in source.items():
        found = item if isinstance(item, SkippedFile) else _group_of(item, form, config, probed)
        if isinstance(found, SkippedFile):
            refused.append(found)
        else:
            clip_groups.append(found)
        yield item.name
    _expect_effect(config, clip_groups)
    split_block = config.split_block or SPLIT_BLOCK
    whole, left_out = (
        split(clip_groups, config.share, form.seconds, split_block) if clip_groups else ([], 0)
    )
    yield PreparePlan(tuple(whole), tuple(refused), left_out)


def _expect_effect(config: PrepareConfig, clip_groups: Sequence[ClipGroup]) -> None:
    if not clip_groups:
        return
    if config.validation is not None and all(one.split for one in clip_groups):
        raise UserError(
            "--validation has no effect, since the source defines the split of every video: leave "
            "it out"
        )
    if config.split_block is not None and not (config.share > 0 and is_single_video(clip_groups)):
        raise UserError(
            "--split-block has no effect, since it divides a single video for validation: leave it "
            "out"
        )


def _group_of(
    item: SourceVideo,
    form: ClipSpec,
    config: PrepareConfig,
    probed: dict[Path, VideoInfo | SkipReason],
) -> ClipGroup | SkippedFile:
    if item.path not in probed:
        probed[item.path] = probe(item.path, config.audio_track)
    info = probed[item.path]
    if isinstance(info, SkipReason):
        return SkippedFile(item.name, info)
    # a clip may lack half a frame at its end: files are cut at frames, not at clips
    end = info.seconds + 1 / (2 * form.fps)
    end = end if item.end is None else min(item.end, end)
    try:
        starts = _starts(item, end, form.seconds, config)
    except UserError as error:
        return SkippedFile(item.name, SkipReason("undecodable", str(error)))
    if not starts:
        lasts = f"{max(0.0, float(min(end, info.seconds) - item.start)):.2f} s"
        return SkippedFile(
            item.name, SkipReason("too short", f"{lasts} of {float(form.seconds):g} s")
        )
    if config.clips_per_file is not None:
        starts = [starts[k] for k in evenly_spaced(len(starts), config.clips_per_file)]
    return ClipGroup(
        item.path,
        item.name,
        item.caption,
        item.group,
        item.split,
        info.bytes,
        tuple(starts),
        item.audio_caption,
        round(float(info.seconds), 3),
    )


def _starts(
    item: SourceVideo, end: Fraction, seconds: Fraction, config: PrepareConfig
) -> Sequence[Fraction]:
    stride = config.clip_stride or seconds
    bounds = [(item.start, end)]
    if config.shots:
        seen = [time for time in scene_cuts(item.path) if item.start < time < end]
        edges = list(pairwise([item.start, *seen, end]))
        bounds = [(a, b - _DOUBT) for a, b in edges[:-1]] + edges[-1:]
    return [
        first + k * stride
        for first, last in bounds
        for k in range(max(0, int((last - first - seconds) // stride) + 1))
    ]

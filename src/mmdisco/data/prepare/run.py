"""Preparation of a folder: plan, shards one after another, then manifest and report.

A shard is done when its outcome is written, after its file and the store's list. Finished shards
are verified by checksum and left alone, so the same settings give the same files wherever the run
was stopped, and only what was lost is made again.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from mmdisco.data.config import PrepareConfig
from mmdisco.data.pair_store import PairStore
from mmdisco.data.prepare.encode import BlockEncoder, ShardEncoder
from mmdisco.data.prepare.layouts import source_of
from mmdisco.data.prepare.page import write_page
from mmdisco.data.prepare.plan import PreparePlan, ShardOutcome, ShardPlan
from mmdisco.data.prepare.planning import make_plan
from mmdisco.data.prepare.reconstruction import reconstructed_places
from mmdisco.data.prepare.report import report
from mmdisco.data.prepare.sources import SPLITS, Source
from mmdisco.errors import UserError
from mmdisco.generation.presets.registry import system_of
from mmdisco.io.files import (
    expect_writable,
    json_text,
    remove_leftovers,
    sha256,
    write_json,
    write_text,
)
from mmdisco.media.clip import ClipSpec

KIND: Final = "real"
_LIBRARIES: Final = ("mmdisco", "torch", "av")
_HEARD: Final = ("audio_caption", "source_audio_caption")  # where they differ
_LISTED: Final = ("source", "start", "end", "caption", "source_caption", "group", "statistics")


@dataclass(frozen=True)
class Step:
    """Progress of a preparation.

    Attributes:
        doing: Current activity.
        done: Number of processed clips.
        total: Clips of the plan; 0 while it is being made.
        notice: Message to the user; may be empty.
    """

    doing: str
    done: int = 0
    total: int = 0
    notice: str = ""


def prepare(config: PrepareConfig, encoder: ShardEncoder | None = None) -> Iterator[Step]:
    """Fill the folder.

    Args:
        config: The configuration.
        encoder: Encoders of its system that are loaded already.

    Raises:
        UserError: Models or the source are missing, the folder was made with other settings or
            cannot be written, or no clip is usable.
    """
    notices: list[str] = []
    source = source_of(config, notices.append)
    yield from (Step("plan", notice=line) for line in notices)
    pair = system_of(config)
    encoder = encoder or ShardEncoder(pair)
    expect_writable(config.out / "prepared.json")
    encoder.expect()
    about: dict[str, Any] = {
        "preset": config.preset,
        **({"models": pair.describe()} if config.preset is None else {}),
        "options": config.build_options(),
        "weights": None if config.weights is None else str(config.weights),
        "weight_hashes": dict(pair.weight_hashes()),
    }
    remove_leftovers(config.out)
    plan = yield from _planned(config, source, encoder.form, about)
    blocks = plan.blocks(config.shard_size)
    total, done = sum(map(len, blocks)), 0
    work = _Work(config, encoder, blocks)
    outcomes: list[ShardOutcome] = []
    for block in blocks:
        yield Step(block.runs[0].clip_group.name, done, total, work.damage_of(block))
        outcomes.append(work.outcome(block))
        done += len(block)
    yield Step("report", done, total)
    _finish(config, encoder, plan, outcomes, about)


class _Work:
    """Processing of shards in order, each at the next index of its split's store."""

    def __init__(
        self, config: PrepareConfig, encoder: ShardEncoder, blocks: Sequence[ShardPlan]
    ) -> None:
        self._folder = config.out / "blocks"
        count = config.reconstructions if encoder.lossy else 0
        self._places = reconstructed_places(list(map(len, blocks)), count)
        self._maker = BlockEncoder(encoder, config.batch, config.audio_track)
        self._stores: dict[str, PairStore] = {
            split: PairStore.restored(config.out / split, KIND) for split in SPLITS
        }
        self._next: dict[str, int] = {split: 0 for split in SPLITS}

    def damage_of(self, block: ShardPlan) -> str:
        """Describe the damage of a finished shard; "" if it is intact or not made yet."""
        record = self._record(block)
        outcome = ShardOutcome.read(record)
        if outcome is None:
            return f"{record} is damaged: made again" if record.exists() else ""
        if self._is_whole(outcome):
            return ""
        shard = self._stores[block.split].path(outcome.shard or 0)
        return f"{shard} is damaged, not there or not listed: made again"

    def outcome(self, block: ShardPlan) -> ShardOutcome:
        """Return the outcome of a shard, made now unless it is done."""
        outcome = ShardOutcome.read(self._record(block))
        if outcome is None or not self._is_whole(outcome):
            outcome = self._made(block, outcome)
        if outcome.shard is not None:
            self._next[block.split] += 1
        return outcome

    def _made(self, block: ShardPlan, before: ShardOutcome | None) -> ShardOutcome:
        shard = self._next[block.split]
        pairs, clips = self._maker.make(block, self._places[block.number])
        if before is not None and (len(pairs) if pairs else 0) != len(before.kept):
            raise UserError(
                f"shard {before.shard} of {block.split} is damaged and its videos are not what "
                "they were: give another folder with --out"
            )
        if pairs is not None:
            self._stores[block.split].put(shard, pairs)
        outcome = ShardOutcome(block.split, None if pairs is None else shard, tuple(clips))
        outcome.write(self._record(block))
        return outcome

    def _record(self, block: ShardPlan) -> Path:
        return self._folder / f"block-{block.number:05d}.json"

    def _is_whole(self, outcome: ShardOutcome) -> bool:
        store, shard = self._stores[outcome.split], outcome.shard
        if shard is None:
            return True
        return store.is_whole(shard) and store.lengths[shard] == len(outcome.kept)


def _planned(
    config: PrepareConfig, source: Source, form: ClipSpec, about: Mapping[str, Any]
) -> Generator[Step, None, PreparePlan]:
    path = config.out / "blocks" / "plan.jsonl"
    settings = {**about, **config.arguments()}
    kept = PreparePlan.read(path)
    if kept is not None:
        _expect_same(kept[1], settings, config.out)
        return kept[0]
    if path.exists():
        yield Step("plan", notice=f"{path} is damaged: made again")
    plan = PreparePlan((), ())
    for step in make_plan(source, form, config):
        if isinstance(step, PreparePlan):
            plan = step
        else:
            yield Step(step)
    plan.write(path, settings)
    return plan


def _expect_same(before: Mapping[str, Any], now: Mapping[str, Any], out: Path) -> None:
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            raise UserError(
                f"{out} was prepared with {key} {before.get(key)!r}, not {now.get(key)!r}: give "
                "another folder with --out"
            )


def _finish(
    config: PrepareConfig,
    encoder: ShardEncoder,
    plan: PreparePlan,
    outcomes: list[ShardOutcome],
    about: Mapping[str, Any],
) -> None:
    """Write manifest and report, and last of all the file that marks the folder as complete."""
    out = config.out
    index: dict[str, int] = {split: 0 for split in SPLITS}
    lines: list[str] = []
    for outcome in outcomes:
        for row, clip in enumerate(outcome.kept):
            place = {"split": outcome.split, "index": index[outcome.split]}
            where = {"shard": outcome.shard, "row": row}
            listed = (*_LISTED, *(key for key in _HEARD if key in clip))
            lines.append(json_text({**place, **where, **{key: clip[key] for key in listed}}))
            index[outcome.split] += 1
    summary = report(plan, outcomes, encoder)
    write_json(out / "report.json", summary)
    write_page(out / "report.html", summary, outcomes)
    if not lines:
        raise UserError(f"no clip is of use: {out / 'report.json'} says why")
    write_text(out / "manifest.jsonl", "".join(f"{line}\n" for line in lines))
    form = encoder.form
    record = {
        "made_by": "mmdisco prepare",
        **about,
        "seconds": float(form.seconds),
        "fps": float(form.fps),
        "size": list(form.size),
        "sample_rate": form.sample_rate,
        "clips": index,
        "manifest_sha256": sha256(out / "manifest.jsonl"),
        "arguments": config.arguments(),
        "versions": {name: version(name) for name in _LIBRARIES},
    }
    write_json(out / "prepared.json", record)

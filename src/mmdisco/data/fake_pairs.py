"""Fake pairs: the base models' own samples for prepared clips, made by any number of processes.

``generate_fake_pairs`` draws them by the full reverse process. ``FakePairs`` distributes the work:
each shard follows from (seed, shard) alone and lies in a folder of its own until all earlier shards
are there; then the next process appends it to the store, under a lock. So the store is the same
however many processes make it, and wherever they are stopped.
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from mmdisco.core.av import AV
from mmdisco.core.denoiser import Conditioning, JointDenoiser
from mmdisco.core.pairs import Pairs
from mmdisco.core.rng import NoiseSource
from mmdisco.core.sampler import Sampler
from mmdisco.data.pair_store import PairStore
from mmdisco.data.prepared import SPLITS, PreparedFolder
from mmdisco.errors import UserError
from mmdisco.generation.pipeline import encode_captions, guided_base
from mmdisco.generation.system import JointSystem, SamplingDefaults
from mmdisco.io.files import (
    MOST_LIST_BYTES,
    read_object,
    read_text,
    remove_abandoned,
    write_json,
    write_text,
)
from mmdisco.io.locking import alone


def generate_fake_pairs(
    base: JointDenoiser,
    sampler: Sampler,
    batches: list[AV[Conditioning]],
    shapes: AV[torch.Size],
    store: PairStore,
    *,
    seed: int,
) -> Iterator[int]:
    """Sample one shard per batch of captions, continuing after those that the store holds.

    Args:
        base: Frozen base models with the classifier-free guidance of generation, without joint
            guidance.
        sampler: Sampler of the full reverse process.
        batches: Encoded captions, one batch per shard.
        shapes: Shapes of one sample's latents, without the batch.
        store: Store that receives the shards.
        seed: Seed; a shard's noise follows from (seed, shard) alone, so a rerun repeats it.

    Yields:
        The number of shards done, after each one.
    """
    for shard in range(store.shards, len(batches)):
        store.append(fake_shard(base, sampler, batches[shard], shapes, seed=seed, shard=shard))
        yield shard + 1


def fake_shard(
    base: JointDenoiser,
    sampler: Sampler,
    cond: AV[Conditioning],
    shapes: AV[torch.Size],
    *,
    seed: int,
    shard: int,
) -> Pairs:
    """Sample one batch of captions, from noise of (seed, shard) alone.

    Args:
        base: As in ``generate_fake_pairs``.
        sampler: Sampler of the full reverse process.
        cond: Encoded captions.
        shapes: Shapes of one sample's latents, without the batch.
        seed: Seed of all shards.
        shard: Index of the shard, from 0.
    """
    count = len(cond.audio.pooled)
    noise = NoiseSource.from_seeds([seed * 1_000_003 + shard])
    whole = shapes.map(lambda shape: torch.Size([count, *shape]))
    return Pairs(sampler.sample(base, sampler.initial(noise, whole), cond, noise), cond)


MAKER: Final = "mmdisco sample-fakes"
DISCRIMINATORS: Final = ("discriminator", "additive")


@dataclass(frozen=True)
class FakeShard:
    """Plan of fakes that are made in one batch.

    Attributes:
        number: Index among all shards.
        split: ``train`` or ``validation``.
        place: Index among the shards of its split.
        first: Row of its first fake among those of its split.
        sources: Row of the clip whose caption each fake is made for.
        captions: One caption per fake, for either side.
    """

    number: int
    split: str
    place: int
    first: int
    sources: tuple[int, ...]
    captions: AV[tuple[str, ...]]


@dataclass(frozen=True)
class FakePairs:
    """Job of making the fake pairs of a prepared folder.

    Attributes:
        clips: Clips whose captions are used.
        pair: System of the base models.
        sampling: Settings; classifier-free guidance as in generation, no joint guidance.
        out: Folder that all processes share.
        samples_per_clip: Fakes per clip's caption.
        shard_size: Fakes per batch.
        seed: Seed of the noise.
        max_per_caption: Maximum number of fakes per caption in each split; None is no limit.
    """

    clips: PreparedFolder
    pair: JointSystem
    sampling: SamplingDefaults
    out: Path
    samples_per_clip: int = 1
    shard_size: int = 32
    seed: int = 0
    max_per_caption: int | None = None

    def __post_init__(self) -> None:
        for name, value, least in (
            ("samples a clip", self.samples_per_clip, 1),
            ("fakes a shard", self.shard_size, 1),
            ("as a seed", self.seed, 0),
            ("fakes a caption", self.max_per_caption, 1),
        ):
            if value is not None and value < least:
                raise UserError(f"{value} {name}: give at least {least}")
        if not any(self.clips.captions.values()):
            raise UserError(f"{self.clips.folder} holds no clips: prepare some first")

    @property
    def shards(self) -> list[FakeShard]:
        """List all shards, those of the training split first."""
        found: list[FakeShard] = []
        for split in SPLITS:
            captions = self.clips.texts(split)
            rows = list(self._rows(self.clips.captions[split]))
            for place, first in enumerate(range(0, len(rows), self.shard_size)):
                own = tuple(rows[first : first + self.shard_size])
                texts = captions.map(lambda side, own=own: tuple(side[row] for row in own))
                found.append(FakeShard(len(found), split, place, first, own, texts))
        return found

    def settings(self) -> dict[str, Any]:
        """Return every setting that affects the fakes."""
        scale = self.sampling.cfg_scale
        return {
            "made_by": MAKER,
            "preset": self.clips.options.preset,
            **({"models": self.pair.describe()} if self.clips.options.preset is None else {}),
            "options": self.clips.options.build_options() | {"device": ""},
            "independent": self.pair.independent,
            "weights": base_weight_hashes(self.pair),
            "clips": self.clips.fingerprint,
            "steps": self.sampling.steps,
            "scheduler": self.sampling.scheduler,
            "cfg_scale": [scale.audio, scale.video],
            "samples_per_clip": self.samples_per_clip,
            "shard_size": self.shard_size,
            "seed": self.seed,
            "max_per_caption": self.max_per_caption,
        }

    def make(
        self, rank: int = 0, processes: int = 1, notice: Callable[[str], object] = lambda _: None
    ) -> Iterator[FakeShard]:
        """Make every ``processes``-th shard that is missing or damaged, from ``rank`` on.

        Args:
            rank: Rank of this process.
            processes: Number of processes.
            notice: Called with a message about each damaged shard, which is made again.

        Yields:
            Each of these shards, once it is there; those of earlier runs too.

        Raises:
            UserError: The folder holds fakes of other settings, or cannot be written.
        """
        if not 0 <= rank < processes:
            raise UserError(f"shard {rank} of {processes}: give one from 0 to {processes - 1}")
        with self._lock():
            remove_abandoned(self.out.rglob(".*.part*"))
            self._expect_own()
            for split in SPLITS:
                if (self.out / split / "store.json").exists():
                    listed = PairStore.restored(self.out / split, "fake").shards
                    if not listed:
                        notice(f"{self.out / split / 'store.json'} is damaged: made again")
        for shard in self.shards[rank::processes]:
            if not self._is_made(shard, notice):
                PairStore(self._piece(shard), "fake").put(0, self._sample(shard))
                self.merge()
            yield shard
        self.merge()

    def merge(self) -> bool:
        """Append the shards that are next in order, and write the manifest once all are there.

        Returns:
            Whether all are there.
        """
        with self._lock():
            stores = {split: PairStore(self.out / split, "fake") for split in SPLITS}
            for shard in self.shards:
                store, piece = stores[shard.split], self._piece(shard)
                if piece.is_dir() and store.shards >= shard.place:
                    if not store.is_whole(shard.place) and _is_whole(piece):
                        store.put(shard.place, PairStore(piece, "fake").read())
                    if store.shards > shard.place:
                        shutil.rmtree(piece, ignore_errors=True)
            whole = all(stores[shard.split].shards > shard.place for shard in self.shards)
            if whole:
                shutil.rmtree(self.out / "pieces", ignore_errors=True)
                text = "".join(map(_lines, self.shards))
                if _read(self._manifest) != text:
                    write_text(self._manifest, text)
            return whole

    @property
    def _manifest(self) -> Path:
        return self.out / "manifest.jsonl"

    def _piece(self, shard: FakeShard) -> Path:
        return self.out / "pieces" / f"{shard.number:05d}"

    def _rows(self, captions: list[str]) -> Iterator[int]:
        made: Counter[str] = Counter()
        for row, caption in enumerate(captions):
            for _ in range(self.samples_per_clip):
                if self.max_per_caption is None or made[caption] < self.max_per_caption:
                    made[caption] += 1
                    yield row

    def _is_made(self, shard: FakeShard, notice: Callable[[str], object]) -> bool:
        store, piece = PairStore(self.out / shard.split, "fake"), self._piece(shard)
        if store.is_whole(shard.place) or _is_whole(piece):
            return True
        if store.shards > shard.place:
            notice(f"{store.path(shard.place)} is damaged or not there: made again")
        elif piece.exists():
            notice(f"{piece} is not whole: made again")
            shutil.rmtree(piece)
        return False

    def _sample(self, shard: FakeShard) -> Pairs:
        # fixed seeds for base models that draw random numbers beside the noise
        seeds = [
            self.seed * 1_000_003 + shard.number * self.shard_size + i
            for i in range(self.shard_size)
        ]
        model = self.pair.model(seeds[: len(shard.sources)])
        return fake_shard(
            guided_base(model, self.sampling.cfg_scale, self.pair.method),
            self.pair.method.sampler(model, self.sampling.settings),
            encode_captions(model, shard.captions),
            model.latent_shapes(float(self.pair.form.seconds)),
            seed=self.seed,
            shard=shard.number,
        )

    def _lock(self) -> AbstractContextManager[None]:
        return alone(self.out / ".lock")

    def _expect_own(self) -> None:
        path = self.out / "fakes.json"
        wanted = self.settings()
        if not path.exists():
            write_json(path, wanted)
            return
        found = read_object(path)
        for name, value in wanted.items():
            if found.get(name) != value:
                raise UserError(
                    f"{self.out} holds fakes of other {name} ({found.get(name)}, asked for: "
                    f"{value}): give the same settings or another folder"
                )


def base_weight_hashes(pair: JointSystem) -> dict[str, str]:
    """Return the checksums of a system's weights except those of its discriminators."""
    return {name: one for name, one in pair.weight_hashes().items() if name not in DISCRIMINATORS}


def _is_whole(piece: Path) -> bool:
    try:
        return PairStore(piece, "fake").is_whole(0)
    except UserError:
        return False


def _read(path: Path) -> str | None:
    try:
        return read_text(path, MOST_LIST_BYTES)
    except UserError:
        return None


def _lines(shard: FakeShard) -> str:
    rows = zip(shard.sources, shard.captions.video, shard.captions.audio, strict=True)
    lines = [
        {"split": shard.split, "index": index, "source": source, "caption": caption}
        | ({} if sound == caption else {"audio_caption": sound})
        for index, (source, caption, sound) in enumerate(rows, start=shard.first)
    ]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)

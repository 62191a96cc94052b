"""Real and fake pairs of the embedded system, for training and diagnostics."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from mmdisco.adapters.miniature.spec import SECONDS
from mmdisco.core.av import AV
from mmdisco.core.denoiser import IndependentModels
from mmdisco.core.pairs import Pairs
from mmdisco.data.fake_pairs import generate_fake_pairs
from mmdisco.data.pair_store import PairStore
from mmdisco.data.pairing import rows_by_key
from mmdisco.generation.pipeline import guided_base
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.media.sounding_objects.dataset import Example
from mmdisco.media.sounding_objects.scene import SceneWish

FORMS: Final[tuple[Mapping[str, None], ...]] = (
    {},
    {"count": None},
    {"count": None, "size": None},
    {"count": None, "size": None, "colour": None},
)
PART: Final = 32  # clips per encoding batch


def encoded(model: IndependentModels, examples: Sequence[Example]) -> Pairs:
    """Encode clips to latents and captions."""
    return Pairs(
        AV(
            model.encode_audio([one.clip.audio for one in examples]),
            model.encode_video([one.clip.video for one in examples]),
        ),
        model.encode_prompts([one.caption.text for one in examples]),
    )


def fill_real(
    store: PairStore, model: IndependentModels, clip: Callable[[int], Example], count: int
) -> Iterator[int]:
    """Fill a store of real pairs up to ``count``, continuing after those that it holds.

    Args:
        store: Store to fill.
        model: Models that encode the clips.
        clip: Returns the example of a row.
        count: Final number of pairs.

    Yields:
        The number of pairs, after each shard.
    """
    while len(store) < count:
        rows = range(len(store), min(len(store) + PART, count))
        store.append(encoded(model, [clip(row) for row in rows]))
        yield len(store)


def fill_fake(
    store: PairStore, folder: MiniatureSystem, shards: Sequence[Sequence[str]], seed: int
) -> Iterator[int]:
    """Fill a store with fake pairs, sampled as in generation, continuing after those that it holds.

    Args:
        store: Store to fill.
        folder: System of the pair.
        shards: Captions of each shard.
        seed: Seed of the noise, together with the number of the shard.

    Yields:
        The number of shards, after each.
    """
    if store.shards >= len(shards):
        return
    model, sampling = folder.model(), folder.sampling()
    yield from generate_fake_pairs(
        guided_base(model, sampling.guidance_scale),
        folder.method.sampler(model, sampling.settings),
        [model.encode_prompts(texts) for texts in shards],
        model.latent_shapes(SECONDS),
        store,
        seed=seed,
    )


def rows_of_fakes(meanings: Sequence[SceneWish], count: int) -> dict[Hashable, list[int]]:
    """Select fakes among the first ``count`` for each meaning a caption can have.

    Where no fake has a meaning, falls back to fakes of another number of events, then also of
    another size, then to those of the same kind only.
    """
    groups = [rows_by_key([replace(one, **form) for one in meanings[:count]]) for form in FORMS]

    def rows(meaning: SceneWish) -> list[int]:
        found = (
            group.get(replace(meaning, **form)) for form, group in zip(FORMS, groups, strict=True)
        )
        # with very few fakes there may be none of a kind
        return next(filter(None, found), list(range(count)))

    return {meaning: rows(meaning) for meaning in dict.fromkeys(meanings)}

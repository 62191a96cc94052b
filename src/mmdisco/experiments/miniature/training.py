"""Pairs of the embedded system, and training and diagnostics of its discriminators."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from mmdisco.adapters.miniature import SECONDS
from mmdisco.adapters.miniature.model import AUDIO_SHAPE, VIDEO_SHAPE
from mmdisco.core.av import AV
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.denoiser import IndependentModels
from mmdisco.core.pairs import Pairs, PairSource
from mmdisco.data.fake_pairs import generate_fake_pairs
from mmdisco.data.pair_store import PairStore
from mmdisco.data.pairing import MixedPairs, RecombinedWithinCaption, rows_by_key
from mmdisco.discriminators.hub import PretrainedDiscriminator
from mmdisco.discriminators.two_tower import AudioVideoConfig, AudioVideoDiscriminator
from mmdisco.errors import UserError
from mmdisco.experiments.grid import key_of
from mmdisco.experiments.miniature.evaluation import asked_of, held_out
from mmdisco.generation.pipeline import guided_base
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.media.sounding_objects.dataset import Example
from mmdisco.media.sounding_objects.scene import SceneConstraints
from mmdisco.training.cached_denoiser import CachedDenoiser
from mmdisco.training.config import DiscriminatorConfig, NegativesConfig, TrainingConfig
from mmdisco.training.diagnostics.measure import DiagnosticsRunner, comparisons, couplings_of
from mmdisco.training.discriminator_config import build_discriminator_config
from mmdisco.training.stages import build_trainer
from mmdisco.training.trainer import Trainer

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
        guided_base(model, sampling.cfg_scale, folder.method),
        folder.method.sampler(model, sampling.settings),
        [model.encode_prompts(texts) for texts in shards],
        model.latent_shapes(SECONDS),
        store,
        seed=seed,
    )


def rows_of_fakes(meanings: Sequence[SceneConstraints], count: int) -> dict[Hashable, list[int]]:
    """Select fakes among the first ``count`` for each meaning a caption can have.

    Where no fake has a meaning, falls back to fakes of another number of events, then also of
    another size, then to those of the same kind only.
    """
    groups = [rows_by_key([replace(one, **form) for one in meanings[:count]]) for form in FORMS]

    def rows(meaning: SceneConstraints) -> list[int]:
        found = (
            group.get(replace(meaning, **form)) for form, group in zip(FORMS, groups, strict=True)
        )
        # with very few fakes there may be none of a kind
        return next(filter(None, found), list(range(count)))

    return {meaning: rows(meaning) for meaning in dict.fromkeys(meanings)}


TEXT_WIDTH: Final = 64


def architecture(config: DiscriminatorConfig, text_width: int = TEXT_WIDTH) -> AudioVideoConfig:
    """Build the configuration of a discriminator of the embedded pair's latents."""
    shapes, texts = AV(AUDIO_SHAPE, VIDEO_SHAPE), AV(text_width, text_width)
    rates = shapes.map(lambda shape: shape[1] / SECONDS)
    return build_discriminator_config(config, shapes, texts, rates)


def miniature_trainer(config: TrainingConfig, pair: MiniatureSystem, cache: Path) -> Trainer:
    """Make the training loop for a pair, with the classifier-free guidance of generation.

    Args:
        config: Configuration of the training.
        pair: System of the pair.
        cache: Folder that caches predictions of the base models; those of other weights or another
            guidance lie in folders of their own.
    """
    model, scale = pair.model(), pair.sampling().cfg_scale
    parts = ("text_encoder", "audio_denoiser", "video_denoiser")
    key = key_of([*(pair.config["sha256"][part] for part in parts), scale.audio, scale.video])
    base = CachedDenoiser(guided_base(model, scale, pair.method), cache / key)
    return build_trainer(config, base, SameTimestep(model.schedules), model.encode_prompts([""]))


def negatives(
    config: NegativesConfig, real: Pairs, fake: PairStore, meanings: Sequence[SceneConstraints]
) -> PairSource:
    """Make the negatives: fakes and real pairs, recombined within the meaning of a caption.

    Args:
        config: Share of shuffled pairs; fakes are always recombined.
        real: Real pairs.
        fake: Fake pairs, made for the captions of the first real ones.
        meanings: Meaning of the caption of each real pair.
    """
    rows = rows_of_fakes(meanings, len(fake))
    fakes = RecombinedWithinCaption.with_captions(fake.read(), rows, real.cond, meanings)
    if not config.shuffled_fraction:
        return fakes
    shuffled = RecombinedWithinCaption.of(real, meanings)
    return MixedPairs(shuffled, fakes, config.shuffled_fraction)


LEAST_PAIRS: Final = 16  # two captions of eight clips each
FAKE_SEED: Final = 7_000_003


def fitting(folder: MiniatureSystem, name: str | None) -> AudioVideoDiscriminator:
    """Load a discriminator for the pair: its own, or one from a folder or the hub.

    Raises:
        UserError: It is missing, or reads other latents.
    """
    if name is None:
        return folder.discriminator()
    network = PretrainedDiscriminator.from_pretrained(name).network
    folder.expect_fitting(network.config, "embedded")
    return network


def diagnostics_runner(
    folder: MiniatureSystem, kept: Path, *, pairs: int, levels: int, watch: Callable[[], None]
) -> DiagnosticsRunner:
    """Compare held-out clips with fakes of their captions and with shuffled sounds.

    Args:
        folder: System of the pair.
        kept: Folder that caches latents, fakes and predictions of the base models.
        pairs: Number of real pairs, and of fakes.
        levels: Noise levels of each coupling.
        watch: Called after each level of a measurement.

    Raises:
        UserError: There are too few pairs.
    """
    if pairs < LEAST_PAIRS:
        raise UserError(f"{pairs} held-out pairs: ask for at least {LEAST_PAIRS}")
    model = folder.model()
    # nothing cached for another pair can be used
    kept = kept / key_of([pairs, folder.config["sha256"], folder.config["sampling"]])
    real, fake = PairStore(kept / "real", "real"), PairStore(kept / "fake", "fake")
    for _ in fill_real(real, model, held_out, pairs):
        pass
    texts = [held_out(index).caption.text for index in range(pairs)]
    shards = [texts[first : first + PART] for first in range(0, pairs, PART)]
    for _ in fill_fake(fake, folder, shards, FAKE_SEED):
        pass
    clips, meanings = real.read(), [asked_of(index) for index in range(pairs)]
    base = guided_base(model, folder.sampling().cfg_scale, folder.method)
    return DiagnosticsRunner(
        base=CachedDenoiser(base, kept / "bases"),
        couplings=couplings_of(SameTimestep(model.schedules), one_sided=True),
        real=clips,
        against=comparisons(clips, fake.read(), meanings, model.encode_prompts([""])),
        levels=levels,
        watch=watch,
    )

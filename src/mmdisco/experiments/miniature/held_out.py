"""Held-out pairs of the embedded data, for diagnostics of discriminators."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mmdisco.core.av import AV
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.denoiser import Conditioning
from mmdisco.data.pair_store import PairStore
from mmdisco.discriminators.hub import PretrainedDiscriminator
from mmdisco.discriminators.two_tower import AudioVideoDiscriminator
from mmdisco.errors import UserError
from mmdisco.experiments.miniature.data import PART, fill_fake, fill_real
from mmdisco.experiments.miniature.evaluation import asked_of, held_out
from mmdisco.generation.pipeline import guided_base
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.training.cached_denoiser import CachedDenoiser
from mmdisco.training.diagnostics.measure import DiagnosticsRunner, RealVsOther, paths_of
from mmdisco.training.diagnostics.shuffled_pairs import shuffle_pairs

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


def examiner_of(
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
    told = repr([pairs, *sorted(folder.config["sha256"].items()), folder.config["sampling"]])
    kept = kept / hashlib.sha256(told.encode()).hexdigest()[:12]
    real, fake = PairStore(kept / "real", "real"), PairStore(kept / "fake", "fake")
    for _ in fill_real(real, model, held_out, pairs):
        pass
    texts = [held_out(index).caption.text for index in range(pairs)]
    shards = [texts[first : first + PART] for first in range(0, pairs, PART)]
    for _ in fill_fake(fake, folder, shards, FAKE_SEED):
        pass
    null: AV[Conditioning] = model.encode_prompts([""])
    clips, meanings = real.read(), [asked_of(index) for index in range(pairs)]
    base = guided_base(model, folder.sampling().guidance_scale)
    return DiagnosticsRunner(
        base=CachedDenoiser(base, kept / "bases"),
        paths=paths_of(SameTimestep(model.schedules), one_sided=True),
        real=clips,
        against={
            "fake": RealVsOther(clips, fake.read()),
            "shuffled": RealVsOther(*shuffle_pairs(meanings).pairs(clips, null)),
        },
        levels=levels,
        watch=watch,
    )

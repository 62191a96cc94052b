"""Pairs of the data set that nothing was trained on, for examining discriminators."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mmdisco.av import AV
from mmdisco.discriminator.audio_video import AudioVideoDiscriminator
from mmdisco.discriminator.folder import DiscriminatorFolder
from mmdisco.embedded.data import PART, fill_fake, fill_real
from mmdisco.embedded.evaluation import asked_of, held_out
from mmdisco.embedded.weights import Folder
from mmdisco.errors import UserError
from mmdisco.health.examining import Comparison, Examiner, paths_of
from mmdisco.health.exchange import exchange
from mmdisco.models import Conditioning
from mmdisco.path import IndexPath
from mmdisco.pipeline import guided_base
from mmdisco.training.remembered import RememberedBase
from mmdisco.training.store import PairStore

LEAST_PAIRS: Final = 16  # two captions of eight clips each
FAKE_SEED: Final = 7_000_003


def fitting(folder: Folder, name: str | None) -> AudioVideoDiscriminator:
    """A discriminator for the pair: its own, or one from a folder or the hub.

    Raises:
        UserError: It is not there, or reads other latents.
    """
    if name is None:
        return folder.discriminator()
    network = DiscriminatorFolder.from_pretrained(name).network
    folder.expect_fitting(network.config, "embedded")
    return network


def examiner_of(
    folder: Folder, kept: Path, *, pairs: int, levels: int, watch: Callable[[], None]
) -> Examiner:
    """Held-out clips, what the bases make of their captions, and both exchanged.

    Args:
        folder: The pair.
        kept: Folder where latents, fakes and answers of the bases are kept for the next time.
        pairs: Real ones, and as many fakes.
        levels: Noise levels of each path.
        watch: Called after each level of an examination.

    Raises:
        UserError: Too few pairs.
    """
    if pairs < LEAST_PAIRS:
        raise UserError(f"{pairs} held-out pairs: ask for at least {LEAST_PAIRS}")
    model = folder.model()
    # of another pair nothing can be taken over
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
    return Examiner(
        base=RememberedBase(base, kept / "bases"),
        paths=paths_of(IndexPath(model.schedules), one_sided=True),
        real=clips,
        against={
            "fake": Comparison(clips, fake.read()),
            "shuffled": Comparison(*exchange(meanings).pairs(clips, null)),
        },
        levels=levels,
        watch=watch,
    )

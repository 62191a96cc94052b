"""Training of a discriminator of the embedded pair, for ablations and the recipe of the pair."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mmdisco.adapters.miniature.model import AUDIO_SHAPE, VIDEO_SHAPE
from mmdisco.adapters.miniature.spec import SECONDS
from mmdisco.core.av import AV
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.pairs import Pairs, PairSource
from mmdisco.data.pair_store import PairStore
from mmdisco.data.pairing import MixedPairs, RecombinedWithinCaption
from mmdisco.discriminators.two_tower import AudioVideoConfig
from mmdisco.experiments.miniature.data import rows_of_fakes
from mmdisco.generation.pipeline import guided_base
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.media.sounding_objects.scene import SceneWish
from mmdisco.training.cached_denoiser import CachedDenoiser
from mmdisco.training.config import DiscriminatorConfig, NegativesConfig, TrainingConfig
from mmdisco.training.discriminator_config import build_discriminator_config
from mmdisco.training.run import build_trainer
from mmdisco.training.trainer import Trainer

TEXT_WIDTH: Final = 64


def architecture(config: DiscriminatorConfig, text_width: int = TEXT_WIDTH) -> AudioVideoConfig:
    """Build the configuration of a discriminator of the embedded pair's latents."""
    shapes, texts = AV(AUDIO_SHAPE, VIDEO_SHAPE), AV(text_width, text_width)
    return build_discriminator_config(config, shapes, texts, SECONDS)


def miniature_trainer(config: TrainingConfig, pair: MiniatureSystem, cache: Path) -> Trainer:
    """Make the training loop for a pair, with the classifier-free guidance of generation.

    Args:
        config: Configuration of the training.
        pair: System of the pair.
        cache: Folder that caches predictions of the base models; those of other weights or another
            guidance lie in folders of their own.
    """
    model, scale = pair.model(), pair.sampling().guidance_scale
    parts = ("text_encoder", "audio_denoiser", "video_denoiser")
    used = [*(pair.config["sha256"][part] for part in parts), scale]
    key = hashlib.sha256(repr(used).encode()).hexdigest()[:12]
    base = CachedDenoiser(guided_base(model, scale), cache / key)
    return build_trainer(config, base, SameTimestep(model.schedules), model.encode_prompts([""]))


def negatives(
    config: NegativesConfig, real: Pairs, fake: PairStore, meanings: Sequence[SceneWish]
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

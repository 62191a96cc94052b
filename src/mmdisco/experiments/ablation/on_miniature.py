"""Ablations on the embedded data: unlimited clips, and metrics with exact ground truth."""

import hashlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch

from mmdisco.adapters.miniature.spec import SECONDS
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.losses import MMDisCoLoss
from mmdisco.core.pairs import Pairs, PairSource
from mmdisco.data.pair_store import PairStore
from mmdisco.data.pairing import MixedPairs, RecombinedWithinCaption
from mmdisco.discriminators.correlation import CorrelationFusion
from mmdisco.discriminators.hub import PretrainedDiscriminator
from mmdisco.discriminators.two_tower import AudioVideoDiscriminator
from mmdisco.discriminators.wrappers import ZeroLogit
from mmdisco.errors import UserError
from mmdisco.evaluation.metrics.sounding_objects.feature_networks import FEATURES
from mmdisco.experiments.ablation.setting import ExperimentSetting
from mmdisco.experiments.ablation.study import Arm, Baseline, SamplingVariant, TrainingRecipe
from mmdisco.experiments.miniature.data import PART, fill_fake, fill_real, rows_of_fakes
from mmdisco.experiments.miniature.evaluation import Bench, joined
from mmdisco.experiments.miniature.grid import reference_of
from mmdisco.experiments.miniature.held_out import examiner_of, fitting
from mmdisco.experiments.miniature.tables import figures_of
from mmdisco.generation.pipeline import guided_base
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.io.files import plain, read_json, sha256, write_json
from mmdisco.io.locking import alone
from mmdisco.media.sounding_objects.dataset import Example, caption_of, example
from mmdisco.media.sounding_objects.scene import SceneWish
from mmdisco.training.cached_denoiser import CachedDenoiser
from mmdisco.training.config import (
    ContrastiveConfig,
    DiscriminatorConfig,
    NegativesConfig,
    NoiseLevelConfig,
    TrainerConfig,
)
from mmdisco.training.contrastive import CaptionGroups
from mmdisco.training.diagnostics.measure import DiagnosticsRunner
from mmdisco.training.discriminator_config import build_discriminator_config
from mmdisco.training.run import build_level_sampler, contrastive_trainer
from mmdisco.training.trainer import Trainer

DATA_SEED: Final = 0
LEAST_CLIPS: Final = 16  # two captions of eight clips, as re-pairing needs

RECIPE: Final = TrainingRecipe(
    shape=DiscriminatorConfig(interaction="products"),
    levels=NoiseLevelConfig(independent=0.35, one_sided=0.3),
    loss=MMDisCoLoss(1.0, 1000.0),
    fakery=NegativesConfig(repaired=True, shuffled=0.5),
    training=TrainerConfig(
        steps=600,
        batch_size=32,
        learning_rate=1e-3,
        warmup=100,
        weight_decay=0.01,
        clip=1.0,
        ema=0.995,
        caption_dropout=0.0,
        checkpoint_every=100,
    ),
    first=ContrastiveConfig(steps=600),
    kept=False,
)


@dataclass(frozen=True)
class OnMiniature(ExperimentSetting):
    """Setting of the embedded pair and its data.

    Attributes:
        weights: Folder of the pair.
        stores: Folder with stores ``real`` and ``fake``; None makes them.
        counts: Numbers of real pairs and of fakes to make.
        recipe: Baseline recipe that arms change.
        steps: Sampling steps; None is the pair's.
    """

    weights: Path
    stores: Path | None
    counts: tuple[int, int]
    recipe: TrainingRecipe
    steps: int | None = None

    @property
    def folder(self) -> MiniatureSystem:
        """System of the pair."""
        return MiniatureSystem(self.weights)

    @property
    def data(self) -> Path:
        """Folder of both stores."""
        if self.stores is not None:
            return self.stores
        return self.root / "data" / f"{_key(self.folder, *self.counts)}"

    def usual(self) -> Baseline:
        """Return the pair's own sampling and the baseline recipe."""
        sampling = self.folder.sampling()
        if self.steps is not None:
            sampling = replace(sampling, steps=self.steps)
        return Baseline(self.recipe, SamplingVariant(sampling))

    def expect(self, arms: list[Arm]) -> None:
        """Check that the discriminator is there if one is needed, and the stores."""
        if self.clips < LEAST_CLIPS:
            raise UserError(f"{self.clips} clips of each arm: ask for at least {LEAST_CLIPS}")
        if any(arm.recipe is None and arm.way.guided for arm in arms):
            fitting(self.folder, self.discriminator)
        if self.stores is not None:
            self._stores()

    def prepare(self, arms: list[Arm]) -> None:
        """Make real pairs, fakes, held-out pairs, and the scores of real clips."""
        folder = self.folder
        if any(arm.recipe for arm in arms):
            if self.stores is None:
                real, fake = (PairStore(self.data / one, one) for one in ("real", "fake"))
                rows, fakes = self.counts
                texts = [caption_of(DATA_SEED, row).text for row in range(fakes)]
                shards = [texts[first : first + PART] for first in range(0, fakes, PART)]
                for _ in fill_real(real, folder.model(), _clip, rows):
                    pass
                for _ in fill_fake(fake, folder, shards, DATA_SEED):
                    pass
            self._examiner()
        if self.clips > FEATURES:
            reference_of(self.root, self.weights)
        if not self._real.is_file():
            bench = Bench.load(folder)
            cell = joined(list(bench.read(bench.reconstructed(self.clips))))
            write_json(self._real, plain(cell.record(None, 0)))

    def weight_hashes(self) -> Mapping[str, Any]:
        """Return the hashes of the weights, with the sampling of the fakes and the data."""
        config = self.folder.config
        stores: Any = list(self.counts)
        if self.stores is not None:
            stores = [sha256(self.stores / kind / "store.json") for kind in ("real", "fake")]
        return plain({"weights": config["sha256"], "sampling": config["sampling"], "data": stores})

    def train(self, recipe: TrainingRecipe, seed: int, folder: Path) -> None:
        """Train as the recipe of the embedded pair does, at a smaller scale."""
        pair = self.folder
        model, scale = pair.model(), pair.sampling().guidance_scale
        real, fake = self._stores()
        pairs = real.read()
        meanings = [caption_of(DATA_SEED, row).named for row in range(len(real))]
        null = model.encode_prompts([""])
        path = SameTimestep(model.schedules)
        trainer = Trainer(
            # every arm with the same seed evaluates the base models on the same inputs
            base=CachedDenoiser(guided_base(model, scale), self.root / "bases" / _key(pair)),
            levels=build_level_sampler(recipe.levels, path),
            criterion=recipe.loss,
            config=replace(recipe.training, seed=seed),
            null=null,
        )
        config = build_discriminator_config(
            recipe.shape,
            model.latent_shapes(SECONDS),
            null.map(lambda one: one.pooled.shape[1]),
            SECONDS,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = AudioVideoDiscriminator(config)
        if recipe.first.steps and isinstance(network.fusion, CorrelationFusion):
            first = _first_of(recipe.first, meanings)
            contrast = contrastive_trainer(first, trainer)
            # shared by arms that differ in later stages only
            told = [
                self.weight_hashes(),
                asdict(recipe.shape),
                asdict(recipe.levels),
                asdict(first),
            ]
            key = hashlib.sha256(repr([*told, asdict(contrast.config)]).encode()).hexdigest()[:12]
            place = self.root / "firsts" / key
            groups = CaptionGroups.of(pairs, meanings, null, first.group, first.strangers)
            with alone(place / ".lock"):
                contrast.fit(network, groups, groups, place)
            if recipe.kept:
                network.freeze_all_but_transformer()
        source = _told_from(recipe.fakery, pairs, fake, meanings)
        average = trainer.fit(network, real, source, folder / "training")
        result = AudioVideoDiscriminator(config)
        result.load_state_dict(average.state_dict())
        facts = {"recipe": plain(asdict(recipe)), "seed": seed}
        PretrainedDiscriminator(result, "embedded", facts).save(folder)

    def measure(self, arm: Arm, seed: int, trained: Path | None, name: str) -> dict[str, float]:
        """Measure agreement and faithfulness of clips, and diagnostics after training."""
        folder, found = self.folder, dict[str, float]()
        discriminator: Discriminator = ZeroLogit()
        if trained is not None:
            network = PretrainedDiscriminator.load(trained).network
            found |= self._examiner().examine(network).figures()
            discriminator = network
        elif arm.way.guided:
            discriminator = fitting(folder, self.discriminator)
        bench = Bench.load(folder)
        settings = replace(arm.way.sampling.settings, resamples=arm.way.resamples)
        began = time.process_time()
        made = list(bench.guided(discriminator, settings, "nothing", seed, self.clips))
        found["CPU seconds a clip"] = (time.process_time() - began) / self.clips
        found["evaluations"] = float(arm.way.evaluations)
        reference = reference_of(self.root, self.weights) if self.clips > FEATURES else None
        record = joined(list(bench.read(iter(made)))).record(reference, seed)
        return found | figures_of(plain(record), read_json(self._real)["paired"])

    def columns(self, measured: Sequence[str]) -> Mapping[str, str]:
        """Select alignment, faithfulness, cost and diagnostics."""
        shown = {
            "gap event_f1": "gap closed, events",
            "gap material": "gap closed, material",
            "gap size": "gap closed, size",
            "paired event_f1": "event F1",
            "paired caption_kind": "kind seen as named",
            "frechet_video": "Fréchet video",
            "frechet_audio": "Fréchet audio",
            "CPU seconds a clip": "CPU s a clip",
            "joint: ranking against shuffled": "AUC against shuffled",
            "joint: ranking against fake": "AUC against fakes",
            "joint: nats audio": "nats audio",
            "joint: nats video": "nats video",
            "given video: nats audio": "nats audio, video given",
            "given audio: nats video": "nats video, audio given",
        }
        return {name: heading for name, heading in shown.items() if name in measured}

    @property
    def _real(self) -> Path:
        return self.root / "real" / f"{_key(self.folder, self.clips)}.json"

    def _examiner(self) -> DiagnosticsRunner:
        return examiner_of(
            self.folder,
            self.root / "held-out",
            pairs=self.pairs,
            levels=self.levels,
            watch=lambda: None,
        )

    def _stores(self) -> tuple[PairStore, PairStore]:
        real, fake = PairStore(self.data / "real", "real"), PairStore(self.data / "fake", "fake")
        for store, kind in ((real, "real"), (fake, "fake")):
            if not len(store):
                raise UserError(
                    f"{self.data} has no store of {kind} pairs: leave --pair-stores out"
                )
        return real, fake


def _first_of(wish: ContrastiveConfig, meanings: list[SceneWish]) -> ContrastiveConfig:
    """Limit groups to the number of pairs of one meaning."""
    return replace(wish, group=min(wish.group, max(Counter(meanings).values())))


def _told_from(
    fakery: NegativesConfig, pairs: Pairs, fake: PairStore, meanings: list[SceneWish]
) -> PairSource:
    rows = rows_of_fakes(meanings, len(fake))
    fakes = RecombinedWithinCaption.with_captions(fake.read(), rows, pairs.cond, meanings)
    if not fakery.shuffled:
        return fakes
    return MixedPairs(RecombinedWithinCaption.of(pairs, meanings), fakes, fakery.shuffled)


def _clip(row: int) -> Example:
    return example(DATA_SEED, row)


def _key(folder: MiniatureSystem, *more: object) -> str:
    told = [sorted(folder.config["sha256"].items()), folder.config["sampling"], *more]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:12]

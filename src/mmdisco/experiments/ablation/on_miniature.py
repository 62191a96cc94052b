"""Ablations on the embedded data: unlimited clips, and metrics with exact ground truth."""

import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from typing_extensions import override

from mmdisco.core.discriminator import Discriminator
from mmdisco.data.pair_store import PairStore
from mmdisco.discriminators.hub import PretrainedDiscriminator
from mmdisco.discriminators.two_tower import AudioVideoDiscriminator
from mmdisco.discriminators.wrappers import ZeroLogit
from mmdisco.errors import UserError
from mmdisco.evaluation.metrics.sounding_objects.feature_networks import FEATURES
from mmdisco.experiments.ablation.study import ExperimentSetting, Variant
from mmdisco.experiments.grid import key_of
from mmdisco.experiments.miniature.evaluation import Bench, joined, joint_generation
from mmdisco.experiments.miniature.grid import flat_metrics, reference_of
from mmdisco.experiments.miniature.training import (
    PART,
    architecture,
    diagnostics_runner,
    fill_fake,
    fill_real,
    fitting,
    miniature_trainer,
    negatives,
)
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.generation.system import SamplingDefaults
from mmdisco.io.files import plain, read_json, sha256, write_json
from mmdisco.io.locking import alone
from mmdisco.media.sounding_objects.dataset import caption_of, example
from mmdisco.training.config import (
    ContrastiveConfig,
    DiscriminatorConfig,
    LossConfig,
    NegativesConfig,
    NoiseLevelConfig,
    PretrainingConfig,
    TrainerConfig,
    TrainingConfig,
)
from mmdisco.training.contrastive import CaptionGroups
from mmdisco.training.diagnostics.measure import DiagnosticsRunner
from mmdisco.training.stages import TrainingStages, new_network

DATA_SEED: Final = 0
LEAST_CLIPS: Final = 16  # two captions of eight clips, as recombination needs

TRAINING: Final = TrainingConfig(
    discriminator=DiscriminatorConfig(fusion="attention+correlation"),
    levels=NoiseLevelConfig(independent=0.35, one_sided=0.3),
    negatives=NegativesConfig(recombine=True, shuffled_fraction=0.5),
    loss=LossConfig(contrastive=10),
    contrastive=ContrastiveConfig(power=1.3),
    training=TrainerConfig(
        steps=600,
        learning_rate=1e-3,
        warmup_steps=100,
        ema_decay=0.995,
        caption_dropout=0.0,
        checkpoint_every=100,
    ),
    contrastive_pretraining=PretrainingConfig(steps=600),
)


@dataclass(frozen=True, kw_only=True)
class OnMiniature(ExperimentSetting):
    """Setting of the embedded pair and its data.

    Attributes:
        weights: Folder of the pair.
        stores: Folder with stores ``real`` and ``fake``; None makes them.
        counts: Numbers of real pairs and of fakes to make.
    """

    weights: Path
    stores: Path | None
    counts: tuple[int, int]

    @property
    def folder(self) -> MiniatureSystem:
        """System of the pair."""
        return MiniatureSystem(self.weights)

    @property
    def data(self) -> Path:
        """Folder of both stores."""
        if self.stores is not None:
            return self.stores
        return self.root / "data" / _key(self.folder, *self.counts)

    @override
    def usual_sampling(self) -> SamplingDefaults:
        return self.folder.sampling()

    def expect(self, variants: list[Variant]) -> None:
        """Check that the discriminator is there if one is needed, and the stores."""
        if self.clips < LEAST_CLIPS:
            raise UserError(f"{self.clips} clips of each variant: ask for at least {LEAST_CLIPS}")
        if any(variant.training is None and variant.sampling.guided for variant in variants):
            fitting(self.folder, self.discriminator)
        if self.stores is not None:
            self._stores()

    def prepare(self, variants: list[Variant]) -> None:
        """Make real pairs, fakes, held-out pairs, and the scores of real clips."""
        folder = self.folder
        if any(variant.training for variant in variants):
            if self.stores is None:
                real, fake = (PairStore(self.data / one, one) for one in ("real", "fake"))
                rows, fakes = self.counts
                texts = [caption_of(DATA_SEED, row).text for row in range(fakes)]
                shards = [texts[first : first + PART] for first in range(0, fakes, PART)]
                for _ in fill_real(real, folder.model(), partial(example, DATA_SEED), rows):
                    pass
                for _ in fill_fake(fake, folder, shards, DATA_SEED):
                    pass
            self._runner()
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

    def train(self, config: TrainingConfig, seed: int, folder: Path) -> None:
        """Train as the recipe of the embedded pair does, at a smaller scale."""
        real, fake = self._stores()
        pairs = real.read()
        meanings = [caption_of(DATA_SEED, row).named for row in range(len(real))]
        # groups are as large as the pairs of one meaning allow
        largest = min(config.contrastive.group_size, max(Counter(meanings).values()))
        config = config.updated({"training.seed": seed, "contrastive.group_size": largest})
        # every variant with the same seed evaluates the base models on the same inputs
        trainer = miniature_trainer(config, self.folder, self.root / "bases")
        text_width = trainer.null.audio.pooled.shape[1]
        network = new_network(architecture(config.discriminator, text_width), seed)
        null, contrastive = trainer.null, config.contrastive
        stages = TrainingStages(
            config, trainer, lambda: CaptionGroups.of(pairs, meanings, null, contrastive)
        )
        if stages.pretrainer is not None:
            # shared by variants that differ in later stages only
            parts = (config.discriminator, config.levels, contrastive)
            own = [
                one.tree()
                for one in (*parts, config.contrastive_pretraining, stages.pretrainer.config)
            ]
            pretrained = self.root / "pretrained" / key_of([self.weight_hashes(), *own])
            with alone(pretrained / ".lock"):
                deque(stages.pretrain(network, pretrained), maxlen=0)
        source = negatives(config.negatives, pairs, fake, meanings)
        average = deque(stages.train(network, real, source, folder / "training"), maxlen=1).pop()
        result = AudioVideoDiscriminator(network.config)
        result.load_state_dict(average.state_dict())
        facts = {"training": config.deciding(), "seed": seed}
        PretrainedDiscriminator(result, "embedded", facts).save(folder)

    def measure(
        self, variant: Variant, seed: int, trained: Path | None, name: str
    ) -> dict[str, float]:
        """Measure agreement and faithfulness of clips, and diagnostics after training."""
        folder, found = self.folder, dict[str, float]()
        discriminator: Discriminator = ZeroLogit()
        if trained is not None:
            network = PretrainedDiscriminator.load(trained).network
            found |= self._runner().measure(network).summary()
            discriminator = network
        elif variant.sampling.guided:
            discriminator = fitting(folder, self.discriminator)
        bench = Bench.load(folder)
        settings = variant.sampling.settings
        began = time.process_time()
        made = list(bench.guided(discriminator, settings, joint_generation, seed, self.clips))
        found["CPU seconds a clip"] = (time.process_time() - began) / self.clips
        found["evaluations"] = float(variant.sampling.evaluations)
        reference = reference_of(self.root, self.weights) if self.clips > FEATURES else None
        record = joined(list(bench.read(iter(made)))).record(reference, seed)
        return found | flat_metrics(plain(record), read_json(self._real)["paired"])

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

    def _runner(self) -> DiagnosticsRunner:
        return diagnostics_runner(
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


def _key(folder: MiniatureSystem, *more: object) -> str:
    return key_of([folder.config["sha256"], folder.config["sampling"], *more])

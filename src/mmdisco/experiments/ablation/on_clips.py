"""Ablations on prepared clips: diagnostics on held-out pairs, and metrics of generated clips."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from mmdisco.core.av import AV
from mmdisco.core.discriminator import Discriminator
from mmdisco.data.prepared import PreparedFolder
from mmdisco.discriminators.wrappers import ZeroLogit
from mmdisco.errors import UserError
from mmdisco.evaluation.config import EvaluationConfig
from mmdisco.evaluation.evaluate import evaluate
from mmdisco.evaluation.metrics.result import MetricResult
from mmdisco.experiments.ablation.study import ExperimentSetting, Variant
from mmdisco.generation.pipeline import GenerationRun, JointGeneration, SamplerConfig, generate
from mmdisco.generation.system import SamplingDefaults
from mmdisco.io.files import read_object
from mmdisco.media.clip import AudioVideo
from mmdisco.media.write import write_clip
from mmdisco.training.config import TrainerConfig, TrainingConfig
from mmdisco.training.diagnostics.held_out import HeldOutClips
from mmdisco.training.run import build

BATCH: Final = 8
METRICS: Final = ("frechet", "kernel", "av-align", "sync")

TRAINING: Final = TrainingConfig(
    # without contrastive pretraining, which needs many clips per caption
    training=TrainerConfig(steps=600, warmup_steps=100, ema_decay=0.995, checkpoint_every=100),
)


@dataclass(frozen=True, kw_only=True)
class OnClips(ExperimentSetting):
    """Setting of a folder that ``mmdisco prepare`` made, with fakes of ``mmdisco sample-fakes``.

    Attributes:
        data: Folder of the clips.
        fakes: Folder of the fakes.
        weights: Folder of weights of the preset.
    """

    data: Path
    fakes: Path
    weights: Path | None

    def usual_sampling(self) -> SamplingDefaults:
        """Return the preset's sampling, with the guidance of the fakes and joint scales of 1.

        The scales are 1 because a newly trained discriminator has no tuned ones.
        """
        held = self._held()
        scale = AV(*map(float, held.inputs.made["cfg_scale"]))
        return replace(held.pair.sampling(), cfg_scale=scale, joint_scale=AV(1.0, 1.0))

    def expect(self, variants: list[Variant]) -> None:
        """Check that guided variants without training have a discriminator and clips to compare."""
        sampled = any(one.training is None and one.sampling.guided for one in variants)
        if sampled and self.discriminator is None:
            raise UserError("this study trains nothing: give --discriminator FOLDER")
        if sampled and not self.clips:
            raise UserError("this study compares clips: give --clips, at least 2")
        if any(one.training is not None and one.training.loss.contrastive for one in variants):
            raise UserError(
                "contrast needs many clips of one caption, as the embedded data has: leave --data "
                "and --fakes out, or --contrastive"
            )
        if self.clips == 1 or self.clips < 0:
            raise UserError(f"{self.clips} clips of each variant: ask for 0, or at least 2")
        held = self._held()
        if self.discriminator is not None:
            held.discriminator(self.discriminator)

    def prepare(self, variants: list[Variant]) -> None:
        """Decode held-out clips, so that metrics compare what passed through the autoencoders."""
        if self.clips:
            held = self._held()
            latents = held.inputs.clips.store("validation").read()
            if len(list(self._clips("real").glob("*.mp4"))) < len(latents):
                _write(self._clips("real"), self._decoded(held, latents.z_0))

    def weight_hashes(self) -> Mapping[str, Any]:
        """Return the hashes of clips and fakes."""
        return {
            "clips": PreparedFolder(self.data).fingerprint,
            "fakes": read_object(self.fakes / "fakes.json"),
        }

    def train(self, config: TrainingConfig, seed: int, folder: Path) -> None:
        """Train as ``mmdisco train`` does."""
        folders = {"data": self.data, "fakes": self.fakes, "weights": self.weights, "out": folder}
        light = {"compute.cpu": True, "validation.every": 0, "validation.clips": 0}
        for _ in build(config.updated({**folders, **light, "training.seed": seed})).steps():
            pass

    def measure(
        self, variant: Variant, seed: int, trained: Path | None, name: str
    ) -> dict[str, float]:
        """Measure diagnostics of a trained discriminator, and metrics of clips if any are made."""
        held, found = self._held(), dict[str, float]()
        discriminator: Discriminator = ZeroLogit()
        source = self.discriminator if trained is None else str(trained)
        if variant.sampling.guided and source is not None:
            network = held.discriminator(source)
            discriminator = network
            if trained is not None:
                kept = self.root / "held-out" / "bases"
                runner = held.runner(self.pairs, self.levels, lambda: None, kept)
                found |= runner.measure(network).summary()
        found["evaluations"] = float(variant.sampling.evaluations)
        if self.clips:
            folder = self._clips(name)
            began = time.process_time()
            _write(folder, self._generated(held, discriminator, variant.sampling.settings, seed))
            found["CPU seconds a clip"] = (time.process_time() - began) / self.clips
            found |= self._metrics(folder, seed)
        return found

    def columns(self, measured: Sequence[str]) -> Mapping[str, str]:
        """Select a choice of the diagnostics, and all metrics of clips."""
        shown = {
            "joint: ranking against shuffled": "AUC against shuffled",
            "joint: ranking against fake": "AUC against fakes",
            "joint: calibration_error against fake": "calibration error",
            "joint: nats audio": "nats audio",
            "joint: nats video": "nats video",
            "given video: nats audio": "nats audio, video given",
            "given audio: nats video": "nats video, audio given",
            "CPU seconds a clip": "CPU s a clip",
        }
        own = ("joint:", "given video:", "given audio:")
        others = [one for one in measured if not one.startswith(own) and one != "evaluations"]
        chosen = [name for name in shown if name in measured and name not in others]
        return {name: shown.get(name, name) for name in [*others, *chosen]}

    def _held(self) -> HeldOutClips:
        return HeldOutClips.load(self.data, self.fakes, self.weights)

    def _clips(self, name: str) -> Path:
        return self.root / "clips" / name

    def _decoded(self, held: HeldOutClips, z_0: AV[Tensor]) -> Iterator[AudioVideo]:
        for first in range(0, len(z_0.audio), BATCH):
            some = z_0.map(lambda one, first=first: one[first : first + BATCH])
            sounds = held.model.decode_audio(some.audio)
            videos = held.model.decode_video(some.video)
            yield from (AudioVideo(*both) for both in zip(sounds, videos, strict=True))

    def _generated(
        self, held: HeldOutClips, discriminator: Discriminator, settings: SamplerConfig, seed: int
    ) -> Iterator[AudioVideo]:
        captions = held.inputs.clips.captions["validation"]
        texts = [captions[index % len(captions)] for index in range(self.clips)]
        generation = GenerationRun(
            model=held.model,
            discriminator=discriminator,
            settings=settings,
            task=JointGeneration(),
            seconds=float(held.pair.form.seconds),
            method=held.pair.method,
        )
        for first in range(0, self.clips, BATCH):
            own = texts[first : first + BATCH]
            seeds = [seed * 1_000_000 + first + offset for offset in range(len(own))]
            yield from generate(generation, own, seeds)

    def _metrics(self, folder: Path, seed: int) -> dict[str, float]:
        config = EvaluationConfig(
            generated=folder,
            reference=self._clips("real"),
            metrics=METRICS,
            seed=seed,
            jobs=1,
            cache=self.root / "readings",
        )
        result = evaluate(config)
        found: dict[str, float] = {}
        for one in result.outcomes:
            if isinstance(one, MetricResult):
                found[one.name] = one.value
                found |= {f"{one.name}: {key}": value for key, value in one.baseline.items()}
        return found


def _write(folder: Path, clips: Iterator[AudioVideo]) -> None:
    for index, clip in enumerate(clips):
        path = folder / f"{index:05d}.mp4"
        if not path.exists():
            write_clip(path, clip)

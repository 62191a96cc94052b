"""Evaluation of the embedded pair: audio-video agreement, faithfulness, and controls.

A row of the table is a setting of generation; a cell is a row with one seed of the sampling noise.
Captions, and the given clips of one-sided generation, come from a part of the data that was never
trained on. A cell depends only on its row, its seed, the number of clips and the weights.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from mmdisco.adapters.miniature import SECONDS
from mmdisco.core.av import AV
from mmdisco.core.denoiser import IndependentModels
from mmdisco.core.discriminator import Discriminator
from mmdisco.discriminators.distilled import DistilledGradient, DistilledGuidance
from mmdisco.evaluation.metrics.distances import FeatureStatistics, frechet_distance
from mmdisco.evaluation.metrics.result import UNGUIDED
from mmdisco.evaluation.metrics.sounding_objects.agreement import (
    Reading,
    agreement,
    as_record,
    read,
    same_caption_shuffle,
    shuffle,
)
from mmdisco.evaluation.metrics.sounding_objects.feature_networks import (
    AudioFeatures,
    VideoFeatures,
    audio_features,
    video_features,
)
from mmdisco.generation.config import candidate_seed
from mmdisco.generation.particles import SequentialMonteCarlo
from mmdisco.generation.pipeline import (
    AudioToVideo,
    GenerationRun,
    JointGeneration,
    SamplerConfig,
    Task,
    VideoToAudio,
)
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.generation.system import SamplingDefaults
from mmdisco.media.clip import AudioVideo
from mmdisco.media.sounding_objects.dataset import Example, caption_of, example, example_of
from mmdisco.media.sounding_objects.scene import SceneConstraints

HELD_OUT: Final = 1_000_003  # seed of data that is never trained on
CLIPS_PER_CAPTION: Final = 8
BATCH: Final = 32
REFERENCE_CLIPS: Final = 2048
FEW_STEPS: Final = (8, 4)
SMC_EVERY: Final = 4  # steps


TaskOf = Callable[[Sequence[Example]], Task]
"""Builds the generation task of a batch of examples, whose audio or video may be given."""


def joint_generation(examples: Sequence[Example]) -> Task:
    """Generate both modalities; nothing of the examples is given."""
    del examples
    return JointGeneration()


def video_to_audio(examples: Sequence[Example]) -> Task:
    """Generate sound for the videos of the examples."""
    videos = [one.clip.video for one in examples]
    return VideoToAudio(videos, videos)


def audio_to_video(examples: Sequence[Example]) -> Task:
    """Generate videos for the sounds of the examples."""
    sounds = [one.clip.audio for one in examples]
    return AudioToVideo(sounds, sounds)


@dataclass(frozen=True)
class MiniatureRow:
    """Settings of generation that a row of the table is about.

    Attributes:
        name: Name in the table.
        task: Generation task.
        sampling: Settings; ``joint_scale`` is that of the row.
        discriminator: Name of the discriminator in the weights folder.
        candidates: Number made for each clip, of which the one with the largest logit is kept.
        distilled: Whether the network that is distilled from it guides in its place.
        smc_every: Steps from one resampling of the candidates to the next; 0 is none.
    """

    name: str
    task: TaskOf
    sampling: SamplingDefaults
    discriminator: str = "discriminator"
    candidates: int = 1
    distilled: bool = False
    smc_every: int = 0


def rows(sampling: SamplingDefaults) -> list[MiniatureRow]:
    """List the rows of the published table."""
    unguided = replace(sampling, joint_scale=AV(0.0, 0.0))
    to_audio = replace(sampling, joint_scale=AV(sampling.video_to_audio, 0.0))
    to_video = replace(sampling, joint_scale=AV(0.0, sampling.audio_to_video))
    joint = MiniatureRow("joint", joint_generation, sampling)
    sound = MiniatureRow("video to audio", video_to_audio, to_audio)
    video = MiniatureRow("audio to video", audio_to_video, to_video)
    return [
        MiniatureRow(UNGUIDED, joint_generation, unguided),
        joint,
        MiniatureRow("joint, additive control", joint_generation, sampling, "additive"),
        replace(joint, name="joint, best of 4", candidates=4),
        replace(joint, name="joint, resampled 4", candidates=4, smc_every=SMC_EVERY),
        *(_in_steps(joint, steps) for steps in FEW_STEPS),
        MiniatureRow(f"video to audio, {UNGUIDED}", video_to_audio, unguided),
        sound,
        _in_steps(sound, 8),
        MiniatureRow(f"audio to video, {UNGUIDED}", audio_to_video, unguided),
        video,
        _in_steps(video, 8),
    ]


def _in_steps(row: MiniatureRow, steps: int) -> MiniatureRow:
    """Return the row with the defaults for fewer steps."""
    return replace(row, name=f"{row.name}, {steps} steps", sampling=row.sampling.in_steps(steps))


def held_out(index: int) -> Example:
    """Return a clip never trained on; eight share a caption, within which sounds are recombined."""
    return example_of(asked_of(index), HELD_OUT + 1, index)


def asked_of(index: int) -> SceneConstraints:
    """Return the meaning of the caption of ``held_out(index)``, without making the clip."""
    return caption_of(HELD_OUT, index // CLIPS_PER_CAPTION).named


@dataclass(frozen=True)
class MiniatureCell:
    """Detections in the clips of one row and one seed.

    Attributes:
        readings: Detections of each clip.
        features: Features of sound and video, (n, d) each.
    """

    readings: list[Reading]
    features: AV[np.ndarray]

    def record(self, reference: AV[FeatureStatistics] | None, seed: int) -> dict[str, Any]:
        """Compute the results of the cell for JSON, with both baselines."""
        record: dict[str, Any] = {
            "clips": len(self.readings),
            "paired": as_record(agreement(self.readings)),
            "recombined": as_record(agreement(same_caption_shuffle(self.readings, seed))),
            "shuffled": as_record(agreement(shuffle(self.readings, seed))),
        }
        if reference is not None:
            for name in ("audio", "video"):
                own = FeatureStatistics.of(getattr(self.features, name))
                record[f"frechet_{name}"] = frechet_distance(own, getattr(reference, name))
        return record


@dataclass(frozen=True)
class Bench:
    """Loaded networks.

    Attributes:
        folder: System of the pair.
        model: The base models.
        features: Networks of the Fréchet distances.
    """

    folder: MiniatureSystem
    model: IndependentModels
    features: tuple[AudioFeatures, VideoFeatures]

    @staticmethod
    def load(folder: MiniatureSystem) -> "Bench":
        """Load everything but the discriminators."""
        networks = (
            folder.load("audio_features", AudioFeatures),
            folder.load("video_features", VideoFeatures),
        )
        return Bench(folder, folder.model(), networks)

    def generated(self, row: MiniatureRow, seed: int, clips: int) -> Iterator[list[AudioVideo]]:
        """Generate the clips of a row, batch by batch."""
        discriminator = self.folder.discriminator(row.discriminator)
        settings, task = row.sampling.settings, row.task
        if row.distilled:
            own = self.folder.weight_hashes()[row.discriminator]
            network = DistilledGuidance.load(self.folder.distilled_folder(), own).network
            reuse = replace(settings.reuse, source=DistilledGradient(network))
            settings = replace(settings, reuse=reuse)
        if row.smc_every:
            smc = SequentialMonteCarlo(row.candidates, row.smc_every)
            settings = replace(settings, smc=smc)
        yield from self.guided(discriminator, settings, task, seed, clips, row.candidates)

    def guided(
        self,
        discriminator: Discriminator,
        settings: SamplerConfig,
        task: TaskOf,
        seed: int,
        clips: int,
        candidates: int = 1,
    ) -> Iterator[list[AudioVideo]]:
        """Generate clips of the held-out captions with a given discriminator and settings.

        Args:
            discriminator: Discriminator for these base models.
            settings: Settings of sampling.
            task: Generation task.
            seed: Seed of the sampling noise.
            clips: Number of clips.
            candidates: Number made for each clip, of which the one with the largest logit is kept.
                Those that are resampled on the way are made in one batch.
        """
        together = 1 if settings.smc is None else candidates
        batch = max(1, BATCH // together)
        for start in range(0, clips, batch):
            wanted = [held_out(index) for index in range(start, min(start + batch, clips))]
            captions = [one.caption.text for one in wanted for _ in range(together)]
            given = task([one for one in wanted for _ in range(together)])
            run = GenerationRun(self.model, discriminator, settings, given, SECONDS)
            own = [seed * 1_000_000 + start + offset for offset in range(len(wanted))]
            if settings.smc is not None:
                every = [candidate_seed(one, each) for one in own for each in range(candidates)]
                z_0 = deque(run.run(captions, every), maxlen=1).pop()
                kept, best, _ = run.best(captions, z_0, candidates)
                yield kept.clips(best)
                continue
            seeds = ([candidate_seed(seed, one) for seed in own] for one in range(candidates))
            made = [deque(run.run(captions, one), maxlen=1).pop() for one in seeds]
            if candidates > 1:
                made = [_best(made, [run.logits(captions, one) for one in made])]
            yield run.clips(made[0])

    def reconstructed(self, clips: int) -> Iterator[list[AudioVideo]]:
        """Pass held-out clips through both autoencoders."""
        for start in range(0, clips, BATCH):
            real = [held_out(index).clip for index in range(start, min(start + BATCH, clips))]
            sounds = self.model.decode_audio(self.model.encode_audio([one.audio for one in real]))
            videos = self.model.decode_video(self.model.encode_video([one.video for one in real]))
            yield [AudioVideo(*pair) for pair in zip(sounds, videos, strict=True)]

    def read(self, batches: Iterator[list[AudioVideo]]) -> Iterator[MiniatureCell]:
        """Detect events and attributes and compute features, batch by batch."""
        start = 0
        for clips in batches:
            named = [asked_of(start + offset) for offset in range(len(clips))]
            start += len(clips)
            readings = [read(clip, one) for clip, one in zip(clips, named, strict=True)]
            yield MiniatureCell(readings, self._features(clips))

    def reference(self) -> Iterator[AV[FeatureStatistics]]:
        """Compute features of other held-out clips, unmodified, batch by batch."""
        for start in range(0, REFERENCE_CLIPS, BATCH):
            clips = [example(HELD_OUT + 2, start + offset).clip for offset in range(BATCH)]
            yield self._features(clips).map(FeatureStatistics.of)

    def _features(self, clips: Sequence[AudioVideo]) -> AV[np.ndarray]:
        audio, video = self.features
        return AV(
            audio_features(audio, [clip.audio for clip in clips]),
            video_features(video, [clip.video for clip in clips]),
        )


def _best(made: Sequence[AV[Tensor]], logits: Sequence[Tensor]) -> AV[Tensor]:
    """Take of each clip the latents of the candidate with the largest logit."""
    best = torch.stack([*logits]).argmax(0)
    rows = torch.arange(len(best))
    return AV(
        torch.stack([one.audio for one in made])[best, rows],
        torch.stack([one.video for one in made])[best, rows],
    )


def joined(cells: Sequence[MiniatureCell]) -> MiniatureCell:
    """Concatenate all batches of a cell."""
    return MiniatureCell(
        [reading for cell in cells for reading in cell.readings],
        AV(
            np.concatenate([cell.features.audio for cell in cells]),
            np.concatenate([cell.features.video for cell in cells]),
        ),
    )

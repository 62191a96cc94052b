"""Evaluation of the embedded pair: audio-video agreement, faithfulness, and controls.

A row of the table is a way to generate; a cell is a row with one seed of the sampling noise.
Captions, and the given clips of one-sided generation, come from a part of the data that was never
trained on. A cell depends only on its row, its seed, the number of clips and the weights.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from mmdisco.adapters.miniature.spec import SECONDS
from mmdisco.core.av import AV
from mmdisco.core.denoiser import IndependentModels
from mmdisco.core.discriminator import Discriminator
from mmdisco.evaluation.metrics.frechet import FeatureStatistics, frechet_distance
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
from mmdisco.generation.pipeline import (
    AudioToVideo,
    GenerationRun,
    JointGeneration,
    SamplerConfig,
    Task,
    VideoToAudio,
    generate,
)
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.generation.system import SamplingDefaults
from mmdisco.media.clip import AudioVideo
from mmdisco.media.sounding_objects.dataset import Example, caption_of, example, example_of
from mmdisco.media.sounding_objects.scene import SceneWish

HELD_OUT: Final = 1_000_003  # seed of data that is never trained on
CLIPS_PER_CAPTION: Final = 8
BATCH: Final = 32
REFERENCE_CLIPS: Final = 2048


@dataclass(frozen=True)
class MiniatureRow:
    """A way to generate.

    Attributes:
        name: Name in the table.
        given: ``nothing``, ``audio`` or ``video``.
        sampling: Settings; ``joint_scale`` is that of the row.
        discriminator: Name of the discriminator in the weights folder.
    """

    name: str
    given: str
    sampling: SamplingDefaults
    discriminator: str = "discriminator"


def rows(sampling: SamplingDefaults) -> list[MiniatureRow]:
    """List the rows of the published table."""
    alone = replace(sampling, joint_scale=AV(0.0, 0.0))
    to_audio = replace(sampling, joint_scale=AV(sampling.video_to_audio, 0.0))
    to_video = replace(sampling, joint_scale=AV(0.0, sampling.audio_to_video))
    return [
        MiniatureRow("bases alone", "nothing", alone),
        MiniatureRow("joint", "nothing", sampling),
        MiniatureRow("joint, additive control", "nothing", sampling, "additive"),
        MiniatureRow("joint, 50 DDIM steps", "nothing", replace(sampling, steps=50, solver="ddim")),
        MiniatureRow("video to audio, bases alone", "video", alone),
        MiniatureRow("video to audio", "video", to_audio),
        MiniatureRow("audio to video, bases alone", "audio", alone),
        MiniatureRow("audio to video", "audio", to_video),
    ]


def held_out(index: int) -> Example:
    """Return a clip that was never trained on; eight share a caption's meaning, for re-pairing."""
    return example_of(asked_of(index), HELD_OUT + 1, index)


def asked_of(index: int) -> SceneWish:
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
            "re-paired": as_record(agreement(same_caption_shuffle(self.readings, seed))),
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
        return self.guided(discriminator, row.sampling.settings, row.given, seed, clips)

    def guided(
        self,
        discriminator: Discriminator,
        settings: SamplerConfig,
        given: str,
        seed: int,
        clips: int,
    ) -> Iterator[list[AudioVideo]]:
        """Generate clips of the held-out captions with a given discriminator and settings.

        Args:
            discriminator: Discriminator for these base models.
            settings: Settings of sampling.
            given: ``nothing``, ``audio`` or ``video``.
            seed: Seed of the sampling noise.
            clips: Number of clips.
        """
        for start in range(0, clips, BATCH):
            wanted = [held_out(index) for index in range(start, min(start + BATCH, clips))]
            task = _task(given, wanted)
            generation = GenerationRun(self.model, discriminator, settings, task, SECONDS)
            seeds = [seed * 1_000_000 + start + offset for offset in range(len(wanted))]
            yield generate(generation, [one.caption.text for one in wanted], seeds)

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
            audio, video = self.features
            yield MiniatureCell(
                [read(clip, wish) for clip, wish in zip(clips, named, strict=True)],
                AV(
                    audio_features(audio, [clip.audio for clip in clips]),
                    video_features(video, [clip.video for clip in clips]),
                ),
            )

    def reference(self) -> Iterator[AV[FeatureStatistics]]:
        """Compute features of other held-out clips, unmodified, batch by batch."""
        audio, video = self.features
        for start in range(0, REFERENCE_CLIPS, BATCH):
            clips = [example(HELD_OUT + 2, start + offset).clip for offset in range(BATCH)]
            yield AV(
                FeatureStatistics.of(audio_features(audio, [clip.audio for clip in clips])),
                FeatureStatistics.of(video_features(video, [clip.video for clip in clips])),
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


def _task(given: str, wanted: Sequence[Example]) -> Task:
    sounds, videos = [one.clip.audio for one in wanted], [one.clip.video for one in wanted]
    tasks: dict[str, Task] = {
        "nothing": JointGeneration(),
        "video": VideoToAudio(videos, videos),
        "audio": AudioToVideo(sounds, sounds),
    }
    return tasks[given]

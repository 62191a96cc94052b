"""Distillation of a trained discriminator, from the clips and fakes that it was trained with."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch

from mmdisco.core.av import AV
from mmdisco.core.denoiser import JointModel
from mmdisco.discriminators.distilled import DistilledGuidance, DistilledNetwork
from mmdisco.discriminators.hub import PretrainedDiscriminator, read_config
from mmdisco.discriminators.wrappers import OnDevice
from mmdisco.errors import UserError
from mmdisco.generation.system import JointSystem, SamplingDefaults
from mmdisco.training.batches import Batches
from mmdisco.training.config import TrainingConfig
from mmdisco.training.datasets import TrainingData
from mmdisco.training.distillation import Distillation, batches_of, new_distilled
from mmdisco.training.guided_states import GuidedRuns, read_states

RUNS: Final = "guided runs"
UPDATES: Final = "distillation"
"""Names of both parts for progress."""


@dataclass(frozen=True)
class DistillationRun:
    """Distillation with all it needs but the trained discriminator.

    Attributes:
        config: Configuration of the training, every open setting resolved.
        pair: System of the base models.
        model: The base models, loaded.
        sampling: Settings of sampling, with the classifier-free guidance of the fakes.
        batches: Noised batches of the training.
        device: Device of both networks.
        watch: Called with the name of a part, how much of it is done, and its total.
    """

    config: TrainingConfig
    pair: JointSystem
    model: JointModel
    sampling: SamplingDefaults
    batches: Batches
    device: torch.device
    watch: Callable[[str, int, int], object]

    def expect(self, processes: int) -> None:
        """Check that one process does the training.

        Raises:
            UserError: Several do.
        """
        if processes > 1:
            raise UserError(
                "one process distils: leave --distill out, and give it with the same settings when "
                "the training is done, without accelerate launch"
            )

    def steps(self, inputs: TrainingData, folder: Path) -> Iterator[int]:
        """Sample guided runs, distil, and write the network beside the discriminator.

        Args:
            inputs: Clips and fake pairs of the training.
            folder: Folder of the discriminator; its ``training/distillation`` is worked in.

        Yields:
            The number of shards of guided runs, then of steps, after each.

        Raises:
            UserError: A checkpoint is of other settings, or the folder cannot be written.
        """
        own, run_dir = self.config.distillation, folder / "training" / "distillation"
        digest = str(read_config(folder)["sha256"])
        trained = PretrainedDiscriminator.load(folder).network
        discriminator = trained if self.device.type == "cpu" else OnDevice(trained, self.device)
        source = {
            "discriminator": digest,
            "clips": inputs.clips.fingerprint,
            "fakes": dict(inputs.made),
            "distillation": own.tree(),
            "levels": self.config.levels.tree(),
        }
        real, fake = inputs.clips.store("train"), inputs.negatives(self.config.negatives)
        scales = {"joint_scale": AV(1.0, 1.0), "video_to_audio": 1.0, "audio_to_video": 1.0}
        runs = GuidedRuns(
            self.model,
            self.pair.method,
            replace(self.sampling, **scales),
            discriminator,
            self.batches.null,
            self.model.latent_shapes(float(self.pair.form.seconds)),
            real,
            bool(self.config.levels.one_sided),
            own.joint_scales,
            self.config.training.seed,
        )
        sizes = [
            min(own.clips_per_shard, own.clips - first)
            for first in range(0, own.clips, own.clips_per_shard)
        ]
        for done in runs.fill(run_dir, sizes, source):
            self.watch(RUNS, done, len(sizes))
            yield done
        distillation = Distillation(
            discriminator,
            batches_of(self.config, self.batches),
            read_states(run_dir, len(sizes)),
            source,
        )
        network = new_distilled(own, trained.config, self.config.training.seed).to(self.device)
        average: DistilledNetwork = network
        steps = distillation.steps(network, real, fake, run_dir)
        for done, found in enumerate(steps, start=1):
            average = found
            self.watch(UPDATES, done, own.steps)
            yield done
        facts: dict[str, Any] = {"distillation": own.tree()}
        if len(inputs.clips.captions["validation"]) and len(inputs.captions["validation"]):
            held_out = inputs.clips.store("validation"), inputs.fake("validation")
            facts["held_out"] = distillation.measure(average, *held_out)
        result = DistilledNetwork(network.config)
        result.load_state_dict(average.state_dict())
        DistilledGuidance(result, digest, json.loads(json.dumps(facts))).save(folder)

"""Training run of a configuration: inputs are loaded and checked, results written.

Training begins with new weights, or with those of a discriminator that was trained before.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from mmdisco.core.av import AV
from mmdisco.core.denoiser import JointDenoiser
from mmdisco.core.discriminator import Discriminator
from mmdisco.discriminators.correlation import CorrelationFusionConfig
from mmdisco.discriminators.hub import PretrainedDiscriminator, find_discriminator, read_config
from mmdisco.discriminators.two_tower import AudioVideoDiscriminator
from mmdisco.errors import UserError
from mmdisco.generation.pipeline import guided_base
from mmdisco.generation.system import JointSystem
from mmdisco.io.files import expect_writable, read_object, remove_leftovers, write_json
from mmdisco.training.cached_denoiser import CachedDenoiser
from mmdisco.training.callbacks import build_callbacks
from mmdisco.training.config import (
    DiscriminatorConfig,
    TrainingConfig,
    write_config,
)
from mmdisco.training.datasets import TrainingData
from mmdisco.training.discriminator_config import build_discriminator_config
from mmdisco.training.distillation_run import DistillationRun
from mmdisco.training.distributed import Accelerated, Distributed
from mmdisco.training.model_card import last_measure, read_log, write_card
from mmdisco.training.stages import TrainingStages, build_trainer, new_network
from mmdisco.training.trainer import Callback

OWN: Final = "preset"
"""Name of the discriminator that comes with a preset."""


def load_network(
    config: TrainingConfig, pair: JointSystem, preset: str
) -> tuple[AudioVideoDiscriminator, str]:
    """Load the network that ``init_from`` names, to be trained further.

    Args:
        config: Configuration of the training.
        pair: System whose latents the network will read.
        preset: Name of that system.

    Returns:
        The network, and the checksum of its weights.

    Raises:
        UserError: The weights are missing, damaged, made for other latents or not trainable, or an
            architecture is requested beside them.
    """
    if config.discriminator != DiscriminatorConfig():
        raise UserError(
            "init_from brings its own architecture: leave discriminator.* and --fusion out"
        )
    if config.init_from == OWN:
        trained, digest = pair.discriminator(), pair.weight_hashes()["discriminator"]
    else:
        folder = find_discriminator(str(config.init_from))
        trained = PretrainedDiscriminator.load(folder).network
        digest = str(read_config(folder)["sha256"])
    if not isinstance(trained, AudioVideoDiscriminator):
        raise UserError(f"the discriminator of {preset} cannot be trained on: leave init_from out")
    pair.expect_fitting(trained.config, preset)
    network = AudioVideoDiscriminator(trained.config)
    network.load_state_dict(trained.state_dict())
    return network, digest


@dataclass(frozen=True)
class TrainingRun:
    """Training with all it needs.

    Attributes:
        config: Configuration with every open setting resolved.
        out: Folder of the trained discriminator.
        inputs: Clips and fake pairs.
        network: The network before its first step.
        init_digest: Checksum of the weights it was loaded from; None where they are new.
        stages: The training loops.
        distillation: Distillation of the result, if it is asked for.
    """

    config: TrainingConfig
    out: Path
    inputs: TrainingData
    network: AudioVideoDiscriminator
    init_digest: str | None
    stages: TrainingStages
    distillation: DistillationRun | None = None

    @property
    def run_dir(self) -> Path:
        """Folder of checkpoint, log, TensorBoard and samples."""
        return self.out / "training"

    @property
    def distributed(self) -> Distributed:
        """Processes that work on it."""
        return self.stages.trainer.distributed

    def steps(self) -> Iterator[int]:
        """Train, and write the folder at the end.

        Yields:
            The number of steps of pretraining or training done by this run, after each.

        Raises:
            UserError: The folder holds another training, or cannot be written.
        """
        self._expect_own()
        network = self.network
        before = self.stages.pretrain(network, self.run_dir / "pretraining")
        for done, _ in enumerate(before, start=1):
            yield done
        real = self.inputs.clips.store("train")
        negatives = self.inputs.negatives(self.config.negatives)
        average: Discriminator = network
        run = self.stages.train(network, real, negatives, self.run_dir)
        for done, found in enumerate(run, start=1):
            average = found
            yield done
        if self.distributed.main:
            result = AudioVideoDiscriminator(network.config)
            result.load_state_dict(average.state_dict())
            self._finish(result)
            if self.distillation is not None:
                yield from self.distillation.steps(self.inputs, self.out)
        self.distributed.wait()

    def _expect_own(self) -> None:
        """Refuse to resume under other settings, except those that do not affect the weights."""
        settings, inputs = self.out / "training.yaml", self.run_dir / "inputs.json"
        wanted = self._deciding()
        if inputs.exists():
            found = read_object(inputs)
            for name, value in wanted.items():
                if found.get(name) != value:
                    raise UserError(
                        f"{self.out} holds a training of other {name}: give the same settings or "
                        "another folder"
                    )
        # no process writes before all have read
        self.distributed.wait()
        if self.distributed.main:
            remove_leftovers(self.out)
            expect_writable(settings)
            write_config(settings, self.config)
            write_json(inputs, wanted)

    def _deciding(self) -> dict[str, Any]:
        wanted = {
            **self.config.deciding(),
            "discriminator": self.network.config.to_record(),
            "clips": self.inputs.clips.fingerprint,
            "fakes": dict(self.inputs.made),
            "init_from": self.init_digest,
        }
        return json.loads(json.dumps(wanted))  # as it will be read back

    def _finish(self, result: AudioVideoDiscriminator) -> None:
        lines = read_log(self.run_dir / "log.jsonl")
        captions = self.inputs.clips.captions
        facts: dict[str, Any] = {
            "one_sided": self.config.levels.one_sided,
            "clips": {
                **{part: len(own) for part, own in captions.items()},
                "captions": len({text for own in captions.values() for text in own}),
                "fakes": sum(map(len, self.inputs.captions.values())),
                "sha256": self.inputs.clips.fingerprint,
            },
            "bases": dict(self.inputs.made),
            "training": self.config.tree(),
            "held_out": last_measure(lines),
        }
        if "models" in self.inputs.made:
            facts["models"] = self.inputs.made["models"]
        name = self.inputs.clips.preset
        write_card(self.out, {"preset": name, **facts}, lines)
        PretrainedDiscriminator(result, name, facts).save(self.out)


def build(
    config: TrainingConfig,
    callbacks: Sequence[Callback] = (),
    pretraining_callbacks: Sequence[Callback] = (),
    watch: Callable[[str, int, int], object] = lambda _part, _done, _total: None,
) -> TrainingRun:
    """Load and check everything a configuration names.

    Args:
        config: Configuration of the training.
        callbacks: Callbacks beside those of the configuration.
        pretraining_callbacks: Callbacks of the contrastive pretraining.
        watch: Called during the distillation with what is done, how much of it, and its total.

    Raises:
        UserError: A folder is not named, or a file is missing or does not fit.
    """
    inputs = TrainingData.read(
        config.folder("data"), config.folder("fakes"), config.weights, config.pipelines
    )
    out, compute = config.folder("out"), config.compute
    distributed = Accelerated(compute.grad_accumulation, compute.mixed_precision, cpu=compute.cpu)
    distributed.expect(config.training.batch_size)
    pair = inputs.pair(inputs.clips.options.updated({"device": str(distributed.device)}))
    config = _resolved(config, pair)
    model = pair.model()
    null = model.encode_prompts([""])
    digest = None
    if config.init_from is None:
        texts = null.map(lambda one: one.pooled.shape[1])
        shapes, rates = model.latent_shapes(float(pair.form.seconds)), pair.latent_rates()
        shape = build_discriminator_config(config.discriminator, shapes, texts, rates)
        network = new_network(shape, config.training.seed)
    else:
        network, digest = load_network(config, pair, inputs.clips.preset)
    scale = AV(*map(float, inputs.made["cfg_scale"]))
    base: JointDenoiser = guided_base(model, scale, pair.method)
    if compute.cache_base:
        base = CachedDenoiser(base, out / "training" / "bases")
    sampling = replace(pair.sampling(), cfg_scale=scale)
    coupling = pair.method.sampler(model, sampling.settings).path
    trainer = build_trainer(config, base, coupling, null, distributed)
    for key, used in (
        ("contrastive_pretraining.steps", config.contrastive_pretraining.steps),
        ("loss.contrastive", config.loss.contrastive),
    ):
        if used and not isinstance(network.config.fusion, CorrelationFusionConfig):
            raise UserError(
                f"{key} needs a discriminator with inner products: give "
                "discriminator.fusion=attention+correlation"
            )
    if distributed.main:
        run_dir = out / "training"
        own = build_callbacks(config, inputs, run_dir, pair, trainer, model, sampling)
        callbacks = (*own, *callbacks)
    stages = TrainingStages(
        config,
        replace(trainer, callbacks=tuple(callbacks)),
        lambda: inputs.groups(config.contrastive, null),
        tuple(pretraining_callbacks),
    )
    if stages.pretrainer is not None:
        distributed.expect(stages.pretrainer.config.batch_size)
    distillation = None
    if config.distill:
        distillation = DistillationRun(
            config, pair, model, sampling, trainer.batches, distributed.device, watch
        )
        distillation.expect(distributed.processes)
    return TrainingRun(config, out, inputs, network, digest, stages, distillation)


def _resolved(config: TrainingConfig, pair: JointSystem) -> TrainingConfig:
    """Resolve the settings that are null and follow from the base models."""
    separate, levels = pair.two_levels, config.levels
    if not separate and (levels.independent or levels.one_sided):
        raise UserError(
            "the base models of this preset have one noise level for both modalities: leave "
            "levels.independent and levels.one_sided out"
        )
    usual = {
        "levels.independent": (levels.independent, 0.35 if separate else 0.0),
        "levels.one_sided": (levels.one_sided, 0.3 if separate else 0.0),
        "negatives.recombine": (config.negatives.recombine, pair.independent),
    }
    return config.updated({key: new for key, (value, new) in usual.items() if value is None})

"""Pairs to benchmark, by name, at their published sizes.

Each is a value whose fields are the configurations of its networks, so that a test can take small
ones. What is measured is the run of ``mmdisco generate``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import nn
from typing_extensions import override

from mmdisco.adapters.miniature import PACKAGED, SECONDS
from mmdisco.adapters.mmdiffusion.config import FPS, JointConfig
from mmdisco.adapters.mmdiffusion.config import JOINT as PUBLISHED
from mmdisco.adapters.mmdiffusion.model import MMDiffusion
from mmdisco.adapters.mmdiffusion.network import JointNetwork
from mmdisco.adapters.stock.joint import StockJointModel
from mmdisco.adapters.stock.layouts import network
from mmdisco.adapters.stock.model import StockModel
from mmdisco.adapters.videocrafter2.weights import Architecture
from mmdisco.core.av import AV
from mmdisco.core.denoiser import IndependentModels, JointModel
from mmdisco.core.guidance import ConstantScale
from mmdisco.core.log_ratio import GradientSource, ReuseEvery, backward_pass
from mmdisco.core.schedulers import solver
from mmdisco.discriminators.distilled import (
    DistilledGradient,
    DistilledGuidance,
    DistilledNetwork,
)
from mmdisco.discriminators.official.config import (
    AUDIOLDM_ANIMATEDIFF_VGGSOUND,
    AUFFUSION_VIDEOCRAFTER2_VGGSOUND,
    MMDIFFUSION_LANDSCAPE,
    OfficialConfig,
)
from mmdisco.discriminators.official.fusion import POSITIONS, SequenceFusionConfig
from mmdisco.discriminators.official.network import ReleasedDiscriminator
from mmdisco.discriminators.wrappers import OnDevice, ZeroLogit
from mmdisco.errors import UserError
from mmdisco.experiments.benchmark.base_models import (
    animatediff,
    audioldm,
    auffusion,
    configuration,
    random_network,
    seeded_network,
    videocrafter2,
)
from mmdisco.experiments.benchmark.profiler import AUDIO, DISCRIMINATOR, JOINT, VIDEO
from mmdisco.experiments.config import BenchmarkConfig
from mmdisco.generation.config import SystemConfig
from mmdisco.generation.pipeline import (
    GenerationRun,
    GuidanceOrder,
    JointGeneration,
    JointOutsideCFG,
    SamplerConfig,
)
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.generation.presets.mmdiffusion import OfficialMMDiffusion
from mmdisco.generation.presets.official_release import JointInsideCFG
from mmdisco.generation.presets.registry import system_of
from mmdisco.generation.system import Requirements
from mmdisco.training.config import DiscriminatorConfig, DistillationConfig
from mmdisco.training.discriminator_config import build_discriminator_config
from mmdisco.training.distillation import new_distilled
from mmdisco.training.run import new_network


@dataclass(frozen=True)
class BenchmarkCase:
    """A pair that is ready to take steps.

    Attributes:
        model: The base models.
        networks: Networks by part; the discriminator, or what is distilled from it, among them.
        seconds: Length of the clips.
        prompt: Prompt of every clip.
        order: Combination of both kinds of guidance.
        cfg_scale: Scale of classifier-free guidance.
        steps: Sampling steps.
    """

    model: JointModel
    networks: Mapping[str, nn.Module]
    seconds: float
    prompt: str = ""
    order: GuidanceOrder = field(default_factory=JointOutsideCFG)
    cfg_scale: AV[float] = field(default_factory=lambda: AV(2.5, 7.5))
    steps: int = 50

    def generation(self, setting: BenchmarkConfig) -> GenerationRun:
        """Build the run of ``mmdisco generate``, with DDIM and a joint scale of 1."""
        guiding: nn.Module = self.networks[DISCRIMINATOR]
        source: GradientSource = backward_pass
        if isinstance(guiding, DistilledNetwork):
            guiding, source = ZeroLogit(), DistilledGradient(guiding)
        settings = SamplerConfig(
            self.steps,
            AV(solver("ddim"), solver("ddim")),
            self.cfg_scale,
            AV(ConstantScale(1.0), ConstantScale(1.0)),
            reuse=ReuseEvery(setting.joint_every, source),
        )
        discriminator = OnDevice(cast(Any, guiding), torch.device(setting.device))
        task = JointGeneration()
        return GenerationRun(
            self.model, discriminator, settings, task, self.seconds, method=self.order
        )

    @property
    def weights(self) -> dict[str, int]:
        """Number of weights of each network."""
        return {
            part: sum(weight.numel() for weight in network.parameters())
            for part, network in self.networks.items()
        }


class BenchmarkPair(ABC):
    """Two base models, or a joint one, and a discriminator."""

    @abstractmethod
    def set_up(self, setting: BenchmarkConfig) -> BenchmarkCase:
        """Make the networks.

        Raises:
            UserError: The pair cannot be made in these sizes.
        """


@dataclass(frozen=True)
class TwoModels(BenchmarkPair):
    """Two independent base models with prompts, each as its adapter and its U-Net's configuration.

    Attributes:
        audio: Audio model.
        video: Video model.
        discriminator: Configuration of the discriminator.
        order: Combination of both kinds of guidance.
    """

    audio: tuple[Callable[..., Any], Mapping[str, Any]]
    video: tuple[Callable[..., Any], Mapping[str, Any]]
    discriminator: OfficialConfig
    order: GuidanceOrder = field(default_factory=JointOutsideCFG)

    @override
    def set_up(self, setting: BenchmarkConfig) -> BenchmarkCase:
        # first without memory, so that sizes are refused at once
        seconds = float(setting.length)
        self._check(self._models(setting.updated({"device": "meta"})), seconds)
        model = self._models(setting)
        networks = {
            AUDIO: _unet_of(model.audio),
            VIDEO: _unet_of(model.video),
            DISCRIMINATOR: _official(self.discriminator, setting),
        }
        return BenchmarkCase(model, networks, seconds, "a drum", self.order)

    def _models(self, setting: BenchmarkConfig) -> IndependentModels:
        audio, video = (make(config, setting) for make, config in (self.audio, self.video))
        return IndependentModels(audio, video)

    def _check(self, model: IndependentModels, seconds: float) -> None:
        shapes = model.latent_shapes(seconds)
        columns, frames = shapes.audio[1], shapes.video[1]
        # one position is the noise level's, one the class token's; the discriminator itself would
        # refuse only after minutes of work by the base models
        sequence = isinstance(self.discriminator.fusion, SequenceFusionConfig)
        if sequence and columns + frames > POSITIONS - 2:
            raise UserError(
                f"{columns} columns of sound and {frames} frames: the discriminator has positions "
                f"for {POSITIONS - 2} in all; ask for fewer"
            )


def audioldm_animatediff() -> TwoModels:
    """AudioLDM (m-full) with AnimateDiff (Stable Diffusion 1.5 and motion modules v1-5-2)."""
    return TwoModels(
        (audioldm, configuration("audioldm_unet")),
        (animatediff, configuration("animatediff_unet")),
        AUDIOLDM_ANIMATEDIFF_VGGSOUND,
    )


def auffusion_videocrafter2() -> TwoModels:
    """Auffusion with VideoCrafter2."""
    return TwoModels(
        (auffusion, configuration("auffusion_unet")),
        (videocrafter2, Architecture().unet),
        AUFFUSION_VIDEOCRAFTER2_VGGSOUND,
    )


@dataclass(frozen=True)
class JointBenchmark(BenchmarkPair):
    """MM-Diffusion, one network for both modalities, without prompts.

    Attributes:
        network: Configuration of the network.
        discriminator: Configuration of the discriminator.
    """

    network: JointConfig = PUBLISHED
    discriminator: OfficialConfig = MMDIFFUSION_LANDSCAPE

    def set_up(self, setting: BenchmarkConfig) -> BenchmarkCase:
        """Make a case of the released sampler, which evaluates the network once a step."""
        _check_usual(setting, "mmdiffusion")
        network = seeded_network(lambda: JointNetwork(self.network), setting)
        networks = {JOINT: network, DISCRIMINATOR: _official(self.discriminator, setting)}
        length, order = self.network.frames / FPS, OfficialMMDiffusion()
        return BenchmarkCase(MMDiffusion(network), networks, length, order=order, steps=20)


@dataclass(frozen=True)
class Embedded(BenchmarkPair):
    """The embedded pair, with its own weights.

    Attributes:
        weights: Folder of the weights.
    """

    weights: Path = PACKAGED

    @override
    def set_up(self, setting: BenchmarkConfig) -> BenchmarkCase:
        _check_usual(setting, "embedded")
        if (setting.device, setting.dtype) != ("cpu", "float32"):
            raise UserError("embedded runs on the CPU, in float32: leave device and dtype out")
        system = MiniatureSystem(self.weights)
        model, scale = system.model(), system.sampling().cfg_scale
        networks = {
            AUDIO: cast(Any, model.audio).denoiser.network,
            VIDEO: cast(Any, model.video).denoiser.network,
            DISCRIMINATOR: system.discriminator(),
        }
        if setting.guidance == "distilled":
            own = system.weight_hashes()["discriminator"]
            distilled = DistilledGuidance.load(system.distilled_folder(), own)
            networks[DISCRIMINATOR] = distilled.network
        return BenchmarkCase(model, networks, SECONDS, "a red ball bouncing", cfg_scale=scale)


@dataclass(frozen=True)
class NamedModels(BenchmarkPair):
    """Pipelines of diffusers with their weights, and a new discriminator for their latents.

    Attributes:
        models: Options that name two of them, or one that makes both.
    """

    models: Mapping[str, str]

    @override
    def set_up(self, setting: BenchmarkConfig) -> BenchmarkCase:
        if setting.height is None or setting.width is None:
            size = None
        else:
            size = (setting.height, setting.width)
        asked = {
            "seconds": setting.seconds,
            "frames": setting.frames,
            "size": size,
            "dtype": setting.dtype,
            "device": setting.device,
        }
        system = system_of(SystemConfig.of_tree({**self.models, **asked}))
        system.expect(Requirements("", guided=False, one_sided=False))
        model, seconds = system.model(), float(system.form.seconds)
        texts = model.encode_prompts([""]).map(lambda one: one.pooled.shape[1])
        shape = build_discriminator_config(
            DiscriminatorConfig(), model.latent_shapes(seconds), texts, system.latent_rates()
        )
        guiding: nn.Module = new_network(shape, setting.seed)
        if setting.guidance == "distilled":
            new = new_distilled(DistillationConfig(), shape, setting.seed)
            guiding = new.to(setting.device).eval().requires_grad_(False)  # noqa: FBT003
        networks = {**_denoisers(model), DISCRIMINATOR: guiding}
        defaults = system.sampling()
        return BenchmarkCase(
            model, networks, seconds, "a drum", system.method, defaults.cfg_scale, defaults.steps
        )


PAIRS: Final[dict[str, Callable[[], BenchmarkPair]]] = {
    "audioldm-animatediff": audioldm_animatediff,
    "audioldm-animatediff-as-released": lambda: replace(
        audioldm_animatediff(), order=JointInsideCFG()
    ),
    "auffusion-videocrafter2": auffusion_videocrafter2,
    "auffusion-videocrafter2-as-released": lambda: replace(
        auffusion_videocrafter2(), order=JointInsideCFG()
    ),
    "mmdiffusion": JointBenchmark,
    "embedded": Embedded,
}
"""Pairs by their names on the command line."""


def _denoisers(model: JointModel) -> dict[str, nn.Module]:
    if isinstance(model, StockJointModel):
        return {JOINT: network(model.pipe)}
    both = cast("AV[Any]", model)
    return {AUDIO: network(both.audio.pipe), VIDEO: network(both.video.pipe)}


def _unet_of(model: Any) -> nn.Module:
    return model.pipe.unet if isinstance(model, StockModel) else model.parts.unet


def _official(config: OfficialConfig, setting: BenchmarkConfig) -> ReleasedDiscriminator:
    if setting.guidance == "distilled":
        raise UserError("nothing is distilled from released discriminators: leave --guidance out")

    def make() -> ReleasedDiscriminator:
        return ReleasedDiscriminator(config)

    return random_network(make, torch.device(setting.device), torch.float32, setting.seed)


def _check_usual(setting: BenchmarkConfig, name: str) -> None:
    """Refuse sizes for a pair that has only one."""
    if any(size is not None for size in setting.sizes):
        raise UserError(f"{name} makes clips of one size: leave the sizes out")

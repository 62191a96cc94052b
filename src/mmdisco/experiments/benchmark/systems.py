"""Pairs to benchmark, by name, at their published sizes.

Each is a value whose fields are the shapes of its networks, so that a test can take small ones.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import torch

from mmdisco.adapters.miniature.spec import PACKAGED, SECONDS
from mmdisco.adapters.mmdiffusion.config import FPS, JointConfig
from mmdisco.adapters.mmdiffusion.config import JOINT as PUBLISHED
from mmdisco.adapters.mmdiffusion.model import MMDiffusion
from mmdisco.adapters.mmdiffusion.network import JointNetwork
from mmdisco.adapters.mmdiffusion.sampling import AtTrainedTimes, released_sampler
from mmdisco.adapters.vae import whole_steps
from mmdisco.adapters.videocrafter2.weights import Architecture
from mmdisco.core.av import AV
from mmdisco.core.denoiser import Conditioning, IndependentDenoisers
from mmdisco.core.guidance import ClassifierFreeGuidance
from mmdisco.discriminators.official.config import (
    AUDIOLDM_ANIMATEDIFF_VGGSOUND,
    AUFFUSION_VIDEOCRAFTER2_VGGSOUND,
    MMDIFFUSION_LANDSCAPE,
    OfficialConfig,
)
from mmdisco.discriminators.official.network import ReleasedDiscriminator
from mmdisco.discriminators.official.transformer import POSITIONS
from mmdisco.errors import UserError
from mmdisco.experiments.benchmark.base_models import (
    BenchmarkModel,
    animatediff,
    audioldm,
    auffusion,
    configuration,
    random_network,
    videocrafter2,
)
from mmdisco.experiments.benchmark.profiler import (
    AUDIO,
    DISCRIMINATOR,
    JOINT,
    VIDEO,
    Profiled,
    ProfiledJoint,
    Profiler,
)
from mmdisco.experiments.benchmark.subject import (
    BenchmarkCase,
    BenchmarkConfig,
    BenchmarkPair,
    GuidanceInsidePrompts,
    GuidanceOutsidePrompts,
    PromptGuidance,
    Text,
    captions,
    count,
    ddim,
    guide_of,
)
from mmdisco.generation.presets.miniature import MiniatureSystem

SIDE: Final = 256
FRAMES: Final = 16
LENGTH: Final = 2.0
# pixels per latent step, for every autoencoder here
FACTOR: Final = 8
# of a video latent, for every autoencoder here
CHANNELS: Final = 4
TOKENS: Final = 77
PROMPT: Final = "a red ball bouncing"


@dataclass(frozen=True)
class AudioLDMAnimateDiff(BenchmarkPair):
    """AudioLDM (m-full) with AnimateDiff (Stable Diffusion 1.5 and motion modules v1-5-2).

    Attributes:
        audio: Configuration of the audio U-Net.
        video: Configuration of the video U-Net.
        discriminator: Configuration of the discriminator.
        bins: Frequency bins of an audio latent.
        captions: Combination of both kinds of guidance.
    """

    audio: Mapping[str, Any] = field(default_factory=lambda: configuration("audioldm_unet"))
    video: Mapping[str, Any] = field(default_factory=lambda: configuration("animatediff_unet"))
    discriminator: OfficialConfig = AUDIOLDM_ANIMATEDIFF_VGGSOUND
    bins: int = 16
    captions: PromptGuidance = field(default_factory=GuidanceOutsidePrompts)

    def set_up(self, setting: BenchmarkConfig, ledger: Profiler) -> BenchmarkCase:
        """Make a case: each step evaluates each base model with and without captions."""
        steps = whole_steps(setting.seconds or LENGTH, Fraction(25), "AudioLDM", "latent step")
        most = int(self.video["motion_max_seq_length"])
        if (setting.frames or FRAMES) > most:
            raise UserError(f"{setting.frames} frames: AnimateDiff makes {most} at most")
        shapes = AV(
            torch.Size([setting.batch, int(self.audio["in_channels"]), steps, self.bins]),
            _video_shape(int(self.video["in_channels"]), FACTOR, "AnimateDiff", setting),
        )
        bases = AV(audioldm(self.audio, setting), animatediff(self.video, setting))
        tokens = AV(0, TOKENS)
        build = Independent(bases, self.discriminator, tokens, self.captions)
        return build.subject(shapes, setting, ledger)


@dataclass(frozen=True)
class AuffusionVideoCrafter2(BenchmarkPair):
    """Auffusion with VideoCrafter2.

    Attributes:
        audio: Configuration of the audio U-Net.
        video: Configuration of the video U-Net.
        discriminator: Configuration of the discriminator.
        bins: Frequency bins of an audio latent.
        captions: Combination of both kinds of guidance.
    """

    audio: Mapping[str, Any] = field(default_factory=lambda: configuration("auffusion_unet"))
    video: Mapping[str, Any] = field(default_factory=lambda: Architecture().unet)
    discriminator: OfficialConfig = AUFFUSION_VIDEOCRAFTER2_VGGSOUND
    bins: int = 32
    captions: PromptGuidance = field(default_factory=GuidanceOutsidePrompts)

    def set_up(self, setting: BenchmarkConfig, ledger: Profiler) -> BenchmarkCase:
        """Make a case: each step evaluates each base model with and without captions."""
        columns = whole_steps(setting.seconds or LENGTH, Fraction(25, 2), "Auffusion", "column")
        multiple = FACTOR * 2 ** (len(self.video["block_out_channels"]) - 1)
        frames = setting.frames or FRAMES
        # one position is the noise level's, one the class token's; the discriminator itself would
        # refuse only after minutes of work by the base models
        if columns + frames > POSITIONS - 2:
            raise UserError(
                f"{columns} columns of sound and {frames} frames: the discriminator has positions "
                f"for {POSITIONS - 2} in all; ask for fewer"
            )
        shapes = AV(
            torch.Size([setting.batch, int(self.audio["in_channels"]), columns, self.bins]),
            _video_shape(CHANNELS, multiple, "VideoCrafter2", setting),
        )
        bases = AV(auffusion(self.audio, setting, self.bins), videocrafter2(self.video, setting))
        tokens = AV(TOKENS, TOKENS)
        build = Independent(bases, self.discriminator, tokens, self.captions)
        return build.subject(shapes, setting, ledger)


@dataclass(frozen=True)
class JointBenchmark(BenchmarkPair):
    """MM-Diffusion, one network for both modalities, without captions.

    Attributes:
        network: Shape of the network.
        discriminator: Configuration of the discriminator.
    """

    network: JointConfig = PUBLISHED
    discriminator: OfficialConfig = MMDIFFUSION_LANDSCAPE

    def set_up(self, setting: BenchmarkConfig, ledger: Profiler) -> BenchmarkCase:
        """Make a case with one evaluation per step of the released sampler."""
        setting.expect_usual("mmdiffusion")
        network = random_network(
            lambda: JointNetwork(self.network), setting.device, setting.dtype, setting.seed
        )
        model = MMDiffusion(network)
        discriminator = _discriminator(self.discriminator, setting)
        base = ProfiledJoint(model, ledger, JOINT)
        shapes = model.latent_shapes(self.network.frames / FPS)
        nothing = Conditioning.none(setting.batch)
        return BenchmarkCase(
            AtTrainedTimes(guide_of(discriminator, setting, ledger)(base), model.schedules),
            released_sampler(model.schedules),
            shapes.map(lambda one: torch.Size([setting.batch, *one])),
            AV(nothing, nothing),
            {JOINT: count(network), DISCRIMINATOR: count(discriminator)},
        )


@dataclass(frozen=True)
class Embedded(BenchmarkPair):
    """The embedded pair, with its own weights.

    Attributes:
        weights: Folder of the weights.
    """

    weights: Path = PACKAGED

    def set_up(self, setting: BenchmarkConfig, ledger: Profiler) -> BenchmarkCase:
        """Make a case: each step runs each base model twice and the discriminator once."""
        setting.expect_usual("embedded")
        if (setting.device.type, setting.dtype) != ("cpu", torch.float32):
            raise UserError("embedded runs on the CPU, in float32: leave device and dtype out")
        folder = MiniatureSystem(self.weights)
        model, discriminator = folder.model(), folder.discriminator()
        settings = folder.sampling().settings
        metered = IndependentDenoisers(
            AV(Profiled(model.audio, ledger, AUDIO), Profiled(model.video, ledger, VIDEO))
        )
        base = ClassifierFreeGuidance(metered, model.encode_prompts([""]), settings.guidance_scale)
        shapes = model.latent_shapes(SECONDS)
        return BenchmarkCase(
            guide_of(discriminator, setting, ledger)(base),
            ddim(model.schedules),
            shapes.map(lambda one: torch.Size([setting.batch, *one])),
            model.encode_prompts([PROMPT] * setting.batch),
            {DISCRIMINATOR: count(discriminator)},
        )


PAIRS: Final[dict[str, Callable[[], BenchmarkPair]]] = {
    "audioldm-animatediff": AudioLDMAnimateDiff,
    "audioldm-animatediff-as-released": lambda: AudioLDMAnimateDiff(
        captions=GuidanceInsidePrompts()
    ),
    "auffusion-videocrafter2": AuffusionVideoCrafter2,
    "auffusion-videocrafter2-as-released": lambda: AuffusionVideoCrafter2(
        captions=GuidanceInsidePrompts()
    ),
    "mmdiffusion": JointBenchmark,
    "embedded": Embedded,
}
"""Pairs by their names on the command line."""


@dataclass(frozen=True)
class Independent:
    """Two independent base models with captions.

    Attributes:
        bases: Networks of the base models.
        config: Configuration of the discriminator.
        tokens: Tokens of a caption, for each base model.
        captions: Combination of both kinds of guidance.
    """

    bases: AV[BenchmarkModel]
    config: OfficialConfig
    tokens: AV[int]
    captions: PromptGuidance

    def subject(
        self, shapes: AV[torch.Size], setting: BenchmarkConfig, ledger: Profiler
    ) -> BenchmarkCase:
        """Make the case.

        Raises:
            UserError: A gradient is to serve several steps, and the captions do not allow it.
        """
        self.captions.expect(setting)
        bases, config, tokens = self.bases, self.config, self.tokens
        discriminator = _discriminator(config, setting)
        metered = IndependentDenoisers(
            AV(Profiled(bases.audio, ledger, AUDIO), Profiled(bases.video, ledger, VIDEO))
        )
        text = AV(
            Text(config.audio.text_width, tokens.audio), Text(config.video.text_width, tokens.video)
        )
        cond, null = captions(text, setting)
        guide = guide_of(discriminator, setting, ledger)
        weights = {
            AUDIO: count(bases.audio.network),
            VIDEO: count(bases.video.network),
            DISCRIMINATOR: count(discriminator),
        }
        denoiser = self.captions.guided(metered, guide, null)
        return BenchmarkCase(denoiser, ddim(metered.schedules), shapes, cond, weights)


def _discriminator(config: OfficialConfig, setting: BenchmarkConfig) -> ReleasedDiscriminator:
    return random_network(
        lambda: ReleasedDiscriminator(config), setting.device, torch.float32, setting.seed
    )


def _video_shape(channels: int, multiple: int, model: str, setting: BenchmarkConfig) -> torch.Size:
    height, width = setting.height or SIDE, setting.width or SIDE
    if height % multiple or width % multiple:
        raise UserError(f"a picture of {width}×{height}: {model} takes multiples of {multiple}")
    frames = setting.frames or FRAMES
    return torch.Size([setting.batch, channels, frames, height // FACTOR, width // FACTOR])

"""MM-Diffusion, which makes sound and video by one network and reads no prompts."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from mmdisco.adapters.components import published_file
from mmdisco.adapters.mmdiffusion.sampling import AtTrainedTimes, released_sampler
from mmdisco.core.av import AV
from mmdisco.core.denoiser import Conditioning, JointDenoiser, JointModel
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.guidance import JointGuidance
from mmdisco.core.noise import NoiseSchedule
from mmdisco.core.sampler import Sampler
from mmdisco.errors import UserError
from mmdisco.generation.config import SystemConfig
from mmdisco.generation.pipeline import GuidanceOrder, JointOutsideCFG, SamplerConfig
from mmdisco.generation.presets.pretrained import (
    ClampedDiscriminator,
    DiscriminatorSpec,
    OfficialDiscriminator,
    PresetInfo,
    PretrainedSystem,
)
from mmdisco.generation.presets.registry import CheckpointRef, Preset, expect_files, form_of
from mmdisco.generation.system import JointSystem, Requirements, SamplingDefaults
from mmdisco.media.clip import ClipSpec

if TYPE_CHECKING:
    from mmdisco.adapters.mmdiffusion.network import JointNetwork
    from mmdisco.adapters.mmdiffusion.super_resolution import UpscalerNetwork

SOURCE: Final = "https://github.com/researchmm/MM-Diffusion"
FORM: Final = ClipSpec(Fraction(8, 5), Fraction(10), (64, 64), 16_000)
# a two-step method is accurate enough at one evaluation a step
USUAL: Final = SamplingDefaults(20, "dpm++2m", AV(1.0, 1.0), AV(1.0, 1.0), 1.0, 1.0)


@dataclass(frozen=True)
class MMDiffusionPreset(Preset):
    """One of the two published networks.

    Attributes:
        title: Name of the preset.
        file: File of the network's weights.
        upscaler_file: File of the super-resolution network's weights.
        discriminator: The discriminator.
        clips: Format of the clips.
        enlarged: Height and width of upscaled frames.
        enlarging_steps: Evaluations per upscaled frame.
        method: Order in which models and guidance are combined.
    """

    title: str
    file: str
    upscaler_file: str
    discriminator: DiscriminatorSpec
    clips: ClipSpec = FORM
    enlarged: tuple[int, int] = (256, 256)
    enlarging_steps: int = 25
    method: GuidanceOrder = field(default_factory=JointOutsideCFG)

    @property
    @override
    def name(self) -> str:
        return self.title

    @property
    def base(self) -> CheckpointRef:
        """Checkpoint of the joint network."""
        return _published("sound and video", self.file, 0.5)

    @property
    def upscaler(self) -> CheckpointRef:
        """Checkpoint of the super-resolution network."""
        return _published("enlarging", self.upscaler_file, 1.2)

    @property
    def components(self) -> tuple[CheckpointRef, ...]:
        """Checkpoints of the network and the discriminator; the upscaler is loaded on demand."""
        return (self.base, self.discriminator.component)

    @property
    @override
    def form(self) -> ClipSpec:
        return self.clips

    @property
    def memory(self) -> float:
        """Rough memory requirement in GB: the network, and the attention of one clip."""
        return 3.0

    @property
    @override
    def remark(self) -> str:
        height, width = self.enlarged
        return f"reads no prompts; --size {height}x{width} wants {self.upscaler_file} too"

    def sampling(self) -> SamplingDefaults:
        """Return 20 steps of the second-order multistep solver."""
        return USUAL

    def as_released(self) -> "MMDiffusionPreset":
        """Return the preset with a bounded logit and the released DPM-Solver++."""
        return replace(
            self,
            discriminator=ClampedDiscriminator(self.discriminator),
            method=OfficialMMDiffusion(),
        )

    def pair(self, options: SystemConfig) -> JointSystem:
        """Return the system, nothing loaded yet; a size of ``enlarged`` upscales the frames.

        Raises:
            UserError: The network has no such option.
        """
        asked = form_of(self.clips, options)
        if (asked.seconds, asked.fps) != (self.clips.seconds, self.clips.fps) or (
            asked.size not in (self.clips.size, self.enlarged)
        ):
            small, large = ("x".join(map(str, size)) for size in (self.clips.size, self.enlarged))
            raise UserError(
                f"{self.name} makes clips of {float(self.clips.seconds):g} s, {small} or enlarged "
                f"to {large}, at {self.clips.fps} frames a second only: leave length and rate out, "
                f"and give --size {large} or none"
            )
        if options.offload or options.vae_slicing or options.vae_tiling:
            raise UserError(
                f"{self.name} is one network without autoencoders: leave offloading, slicing and "
                "tiling out"
            )
        upscaler = self.upscaler if options.size == self.enlarged else None
        further = () if upscaler is None else (upscaler,)
        facts = PresetInfo(
            self.name, (self.base, *further), self.discriminator, self.sampling(), self.method
        )
        return MMDiffusionSystem(facts, options, self, upscaler)


@dataclass(frozen=True)
class OfficialMMDiffusion(GuidanceOrder):
    """Order of MM-Diffusion: the released DPM-Solver++, evaluated at integer timesteps.

    The solver of the settings is not used.
    """

    def sampler(self, model: JointModel, settings: SamplerConfig) -> Sampler:
        """Build the released sampler."""
        return released_sampler(model.schedules, settings.steps)

    def denoiser(
        self,
        model: JointModel,
        discriminator: Discriminator,
        settings: SamplerConfig,
        null: AV[Conditioning],
    ) -> JointDenoiser:
        """Add joint guidance only; the network reads no prompts."""
        gradient = settings.reuse.begin()
        guided = JointGuidance(model, discriminator, settings.joint_scale, gradient)
        return AtTrainedTimes(guided, model.schedules)


class MMDiffusionSystem(PretrainedSystem):
    """System of one joint network, optionally with a super-resolution network.

    Args:
        facts: Description of the preset.
        options: Options the system is built with.
        preset: The preset.
        upscaler: Checkpoint of the super-resolution network; None leaves frames as they are.
    """

    def __init__(
        self,
        facts: PresetInfo,
        options: SystemConfig,
        preset: MMDiffusionPreset,
        upscaler: CheckpointRef | None,
    ) -> None:
        super().__init__(facts, options)
        self._preset = preset
        self._upscaler = upscaler

    @property
    @override
    def prompted(self) -> bool:
        return False

    @property
    def independent(self) -> bool:
        """Whether the modalities are independent: no, one network makes both."""
        return False

    @property
    def lossy(self) -> bool:
        """Whether latents keep less than a clip: no, they are its pixels and samples."""
        return False

    @property
    def form(self) -> ClipSpec:
        """Format of the clips before upscaling."""
        return self._preset.form

    def expect(self, demand: Requirements) -> list[str]:
        """Refuse prompts, and check that all files are here.

        Raises:
            UserError: There is a prompt, or files are missing.
        """
        name = self._facts.name
        for prompt in (demand.prompt, demand.negative):
            if prompt.strip():
                raise UserError(f"{name} reads no prompts, not even {prompt!r}: leave them out")
        if demand.chosen:
            raise UserError(
                f"{name} draws noise of its own for every sample: leave --candidates out"
            )
        self._expect_files(demand)
        if not demand.one_sided:
            return []
        return [
            f"{name} knows one noise level for both sides: it is shown the given one noised along, "
            "which leads the other, but not exactly"
        ]

    def model(self, seeds: Sequence[int] = ()) -> JointModel:
        """Load the network; its attention windows and upscaling noise are drawn from ``seeds``."""
        from mmdisco.adapters.mmdiffusion.model import MMDiffusion
        from mmdisco.adapters.mmdiffusion.super_resolution import (
            FrameDenoiser,
            UpscaledFrames,
            Upscaler,
        )

        own = tuple(seeds or (0,))
        model = MMDiffusion(self._network).seeded(own)
        if self._upscaler is None:
            return model
        upscaler = Upscaler(FrameDenoiser(self._upscaler_network), self._preset.enlarging_steps)
        return replace(model, frames=UpscaledFrames(upscaler, own))

    @property
    def _schedules(self) -> AV[NoiseSchedule]:
        return self.model().schedules

    @cached_property
    def _network(self) -> "JointNetwork":
        from mmdisco.adapters.mmdiffusion.checkpoint import load_joint

        network = load_joint(self._file(self._preset.base, self._preset.file))
        return network.to(self._options.torch_device(), self._options.torch_dtype)

    @cached_property
    def _upscaler_network(self) -> "UpscalerNetwork":
        from mmdisco.adapters.mmdiffusion.checkpoint import load_upscaler

        network = load_upscaler(self._file(self._preset.upscaler, self._preset.upscaler_file))
        return network.to(self._options.torch_device(), self._options.torch_dtype)

    def _file(self, component: CheckpointRef, name: str) -> Path:
        expect_files((component,), self._options, self._facts.name)
        return self._options.folder / component.folder / name


def _published(role: str, file: str, gigabytes: float) -> CheckpointRef:
    """Refer to a published file, or to the folder that it was converted to."""
    return CheckpointRef(
        role=role,
        source=SOURCE,
        parts=(published_file(file),),
        gigabytes=gigabytes,
        licence="see its page",
        folder="mmdiffusion",
        on_hub=False,
    )


LANDSCAPE: Final = MMDiffusionPreset(
    title="mmdiffusion-landscape",
    file="landscape.pt",
    upscaler_file="Landscape_SR.pt",
    discriminator=OfficialDiscriminator("mmdiffusion_landscape", 0.1),
)
AIST: Final = MMDiffusionPreset(
    title="mmdiffusion-aist",
    file="AIST++.pt",
    upscaler_file="AIST++_SR.pt",
    discriminator=OfficialDiscriminator("mmdiffusion_aist++", 0.1),
)

"""MM-Diffusion, which makes sound and video by one network and reads no prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Final

from mmdisco.adapters.parts import Part
from mmdisco.av import AV
from mmdisco.discriminator.base import Discriminator
from mmdisco.discriminator.wrappers import Placed
from mmdisco.errors import UserError
from mmdisco.media.given import Form
from mmdisco.models import JointModel
from mmdisco.pair import Demand, Pair, Sampling
from mmdisco.pipeline import AroundPrompts, Method
from mmdisco.presets.base import Component, Preset, expect_files
from mmdisco.presets.judges import Clamped, Judge
from mmdisco.presets.methods import TrainedTimes
from mmdisco.presets.options import DTYPES, Options
from mmdisco.released.alongside import NoisedAlong
from mmdisco.sampling.alongside import Alongside

if TYPE_CHECKING:
    from mmdisco.mmdiffusion.network import JointNetwork

SOURCE: Final = "https://github.com/researchmm/MM-Diffusion"
FORM: Final = Form(Fraction(8, 5), Fraction(10), (64, 64), 16_000)
# two steps back in time are enough, and cost one evaluation a step
USUAL: Final = Sampling(20, "dpm++2m", AV(1.0, 1.0), AV(1.0, 1.0), 1.0, 1.0)


@dataclass(frozen=True)
class MMDiffusionPreset(Preset):
    """One of the two published networks.

    Attributes:
        title: Its name.
        file: Of its weights.
        judge: Its discriminator.
        clips: What it makes.
        method: How they are put together.
    """

    title: str
    file: str
    judge: Judge
    clips: Form = FORM
    method: Method = field(default_factory=AroundPrompts)

    @property
    def name(self) -> str:
        """``title``."""
        return self.title

    @property
    def base(self) -> Component:
        """The published file, or the folder that it was converted to."""
        converted = (
            f"{self.file}.converted/model.safetensors",
            f"{self.file}.converted/config.json",
        )
        return Component(
            role="sound and video",
            source=SOURCE,
            parts=(Part("", (), ((self.file,), converted)),),
            gigabytes=0.5,
            licence="see its page",
            folder="mmdiffusion",
            on_hub=False,
        )

    @property
    def components(self) -> tuple[Component, ...]:
        """The network and the discriminator."""
        return (self.base, self.judge.component)

    @property
    def form(self) -> Form:
        """``clips``."""
        return self.clips

    @property
    def memory(self) -> float:
        """The network, and the attention of one clip."""
        return 3.0

    @property
    def remark(self) -> str:
        """It is asked for nothing."""
        return "reads no prompts"

    def sampling(self) -> Sampling:
        """20 steps."""
        return USUAL

    def as_released(self) -> "MMDiffusionPreset":
        """Bounded logit, the released DPM-Solver++."""
        return replace(self, judge=Clamped(self.judge), method=TrainedTimes())

    def pair(self, options: Options) -> Pair:
        """Nothing is loaded yet.

        Raises:
            UserError: The network has no such option.
        """
        asked = (options.seconds, options.fps, options.size)
        own = (self.clips.seconds, self.clips.fps, self.clips.size)
        if any(one not in (None, usual) for one, usual in zip(asked, own, strict=True)):
            height, width = self.clips.size
            raise UserError(
                f"{self.name} makes clips of {float(self.clips.seconds):g} s, {height}x{width} at "
                f"{self.clips.fps} frames a second only: leave length, size and rate out"
            )
        if options.offload or options.vae_slicing or options.vae_tiling:
            raise UserError(
                f"{self.name} is one network without autoencoders: leave offloading, slicing and "
                "tiling out"
            )
        return MMDiffusionPair(self, options)


class MMDiffusionPair(Pair):
    """The network of a preset, loaded at the first use and kept.

    Args:
        preset: Which.
        options: How it is built.
    """

    def __init__(self, preset: MMDiffusionPreset, options: Options) -> None:
        self._preset = preset
        self._options = options

    @property
    def prompted(self) -> bool:
        """It reads no prompts."""
        return False

    @property
    def independent(self) -> bool:
        """One network makes both, seeing both."""
        return False

    @property
    def form(self) -> Form:
        """The one form it makes."""
        return self._preset.form

    @property
    def method(self) -> Method:
        """That of the preset."""
        return self._preset.method

    def sampling(self) -> Sampling:
        """That of the preset."""
        return self._preset.sampling()

    def expect(self, demand: Demand) -> list[str]:
        """Refuse prompts, and name every missing file.

        Raises:
            UserError: Either is the case.
        """
        name = self._preset.name
        if demand.prompt.strip():
            raise UserError(f"{name} reads no prompts, not even {demand.prompt!r}: leave them out")
        wanted = self._preset.components if demand.guided else (self._preset.base,)
        expect_files(wanted, self._options, name)
        if not demand.one_sided:
            return []
        return [
            f"{name} knows one noise level for both sides: it is shown the given one noised along, "
            "which leads the other, but not exactly"
        ]

    def model(self, seeds: Sequence[int] = ()) -> JointModel:
        """The network with windows drawn from ``seeds``."""
        from mmdisco.mmdiffusion.model import MMDiffusion

        return MMDiffusion(self._network).seeded(seeds or (0,))

    def discriminator(self) -> Discriminator:
        """On the device of the network."""
        return self._judge

    def marks(self) -> Mapping[str, str]:
        """Of every component that is here."""
        return {
            component.role: component.mark(self._options)
            for component in self._preset.components
            if component.present(self._options)
        }

    @cached_property
    def _network(self) -> "JointNetwork":
        from mmdisco.mmdiffusion.published import load_joint

        expect_files((self._preset.base,), self._options, self._preset.name)
        folder = self._options.folder / self._preset.base.folder
        network = load_joint(folder / self._preset.file)
        return network.to(self._options.torch_device(), DTYPES[self._options.dtype])

    @cached_property
    def _judge(self) -> Discriminator:
        expect_files((self._preset.judge.component,), self._options, self._preset.name)
        judge = self._preset.judge.load(self._options)
        network = Placed(judge, self._options.torch_device())
        return NoisedAlong(network, Alongside(self.model().schedules))

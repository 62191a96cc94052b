"""Where a preset's discriminator comes from.

A pair with another discriminator than its own.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

from mmdisco.adapters.components import ComponentFiles
from mmdisco.core.av import AV
from mmdisco.core.denoiser import JointModel
from mmdisco.core.discriminator import Discriminator
from mmdisco.discriminators.hub import PretrainedDiscriminator, read_config
from mmdisco.discriminators.official.config import OfficialConfig
from mmdisco.discriminators.official.fusion import MeanFusionConfig
from mmdisco.discriminators.official.network import ClampedLogit
from mmdisco.discriminators.two_tower import AudioVideoConfig
from mmdisco.discriminators.wrappers import OnDevice
from mmdisco.generation.pipeline import GuidanceOrder
from mmdisco.generation.presets.base import CheckpointRef
from mmdisco.generation.presets.options import BuildOptions
from mmdisco.generation.system import JointSystem, Requirements, SamplingDefaults
from mmdisco.media.conditioning_clip import ClipSpec

SOURCE: Final = "AkioHayakawa/MMDisCo"


class DiscriminatorSpec(ABC):
    """A discriminator to be loaded."""

    @property
    @abstractmethod
    def component(self) -> CheckpointRef:
        """Its checkpoint."""

    @property
    @abstractmethod
    def apart(self) -> bool:
        """Whether it judges either side by itself, so that none follows the other."""

    @abstractmethod
    def load(self, options: BuildOptions) -> Discriminator:
        """On the CPU, in single precision.

        Raises:
            UserError: Its file is missing or damaged.
        """


@dataclass(frozen=True)
class OfficialDiscriminator(DiscriminatorSpec):
    """One that was published with the method; it reads one noise level for both sides.

    Attributes:
        stem: Of the published file.
        config: Its shape.
        gigabytes: Its size.
    """

    stem: str
    config: OfficialConfig
    gigabytes: float

    @property
    def component(self) -> CheckpointRef:
        """The published file, or the folder that it was converted to."""
        file = f"{self.stem}.pt"
        converted = (
            f"{file}.converted/discriminator.safetensors",
            f"{file}.converted/config.json",
        )
        return CheckpointRef(
            role="discriminator",
            source=SOURCE,
            parts=(ComponentFiles("", (), ((file,), converted)),),
            gigabytes=self.gigabytes,
            licence="see its page",
            folder="mmdisco",
        )

    @property
    def apart(self) -> bool:
        """True of means over time: the logit is a sum of either side's."""
        return isinstance(self.config.fusion, MeanFusionConfig)

    def load(self, options: BuildOptions) -> Discriminator:
        """Converted at the first use."""
        # its own module, for whoever only lists presets
        from mmdisco.discriminators.official.checkpoint import load_checkpoint

        return load_checkpoint(self._file(options), self.config)

    def _file(self, options: BuildOptions) -> Path:
        return self.component.find(options).folder / f"{self.stem}.pt"


@dataclass(frozen=True)
class ClampedDiscriminator(DiscriminatorSpec):
    """Another one with the release's bound on its logit."""

    judge: DiscriminatorSpec

    @property
    def component(self) -> CheckpointRef:
        """That of the other."""
        return self.judge.component

    @property
    def apart(self) -> bool:
        """As the other."""
        return self.judge.apart

    def load(self, options: BuildOptions) -> Discriminator:
        """Bounded."""
        return ClampedLogit(self.judge.load(options))


def one_sided_note(judge: DiscriminatorSpec) -> str:
    """What guidance by a released discriminator comes to where one side is given, in a line."""
    if judge.apart:
        return (
            "the released discriminator judges sound and video apart: it mends what is made, and "
            "does not lead it towards what is given"
        )
    return (
        "the released discriminator knows one noise level for both sides: it is shown the given "
        "one noised along, which is guidance, but not the exact one"
    )


@dataclass(frozen=True)
class WithDiscriminator(JointSystem):
    """Another pair with a discriminator from a folder of its own.

    Attributes:
        pair: The other one; its own discriminator is not needed.
        folder: That ``mmdisco train`` made.
        options: How the pair is built.
    """

    pair: JointSystem
    folder: Path
    options: BuildOptions

    @property
    def prompted(self) -> bool:
        """As the other."""
        return self.pair.prompted

    @property
    def independent(self) -> bool:
        """As the other."""
        return self.pair.independent

    @property
    def form(self) -> ClipSpec:
        """As the other."""
        return self.pair.form

    @property
    def method(self) -> GuidanceOrder:
        """As the other."""
        return self.pair.method

    def sampling(self) -> SamplingDefaults:
        """That of the other, with joint scales of 1 where another discriminator tuned them."""
        usual = replace(self.pair.sampling(), joint_scale=AV(1.0, 1.0))
        return replace(usual, video_to_audio=1.0, audio_to_video=1.0)

    def expect(self, demand: Requirements) -> list[str]:
        """What the bases say; a discriminator that saw no clean side is told of.

        Raises:
            UserError: The bases cannot meet the demand, or the folder holds no discriminator.
        """
        record = read_config(self.folder)
        AudioVideoConfig.from_record(record["discriminator"])
        notices = self.pair.expect(replace(demand, guided=False))
        if demand.guided and demand.one_sided and not record.get("one_sided", 0.0):
            notices.append(f"{self.folder} was not trained with one side given")
        return notices

    def model(self, seeds: Sequence[int] = ()) -> JointModel:
        """The bases of the other."""
        return self.pair.model(seeds)

    def discriminator(self) -> Discriminator:
        """From the folder, on the device of the models.

        Raises:
            UserError: It is damaged, or does not read what the bases make.
        """
        return self._judge

    def weight_hashes(self) -> Mapping[str, str]:
        """Those of the other, and the folder's in place of its discriminator's."""
        return {**self.pair.weight_hashes(), "discriminator": read_config(self.folder)["sha256"]}

    @cached_property
    def _judge(self) -> Discriminator:
        folder = PretrainedDiscriminator.load(self.folder)
        self.pair.expect_fitting(folder.network.config, "this preset")
        device = self.options.torch_device()
        return folder.network if device.type == "cpu" else OnDevice(folder.network, device)

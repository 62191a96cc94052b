"""Sources of a preset's discriminator, and systems with another discriminator than their own."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from mmdisco.adapters.components import published_file
from mmdisco.core.av import AV
from mmdisco.core.denoiser import JointModel
from mmdisco.core.discriminator import Discriminator
from mmdisco.discriminators.hub import PretrainedDiscriminator, read_config
from mmdisco.discriminators.two_tower import AudioVideoConfig
from mmdisco.discriminators.wrappers import ClampedLogit, OnDevice
from mmdisco.generation.pipeline import GuidanceOrder
from mmdisco.generation.presets.base import CheckpointRef
from mmdisco.generation.presets.options import BuildOptions
from mmdisco.generation.system import JointSystem, Requirements, SamplingDefaults
from mmdisco.media.conditioning_clip import ClipSpec

if TYPE_CHECKING:
    from mmdisco.discriminators.official.config import OfficialConfig

SOURCE: Final = "AkioHayakawa/MMDisCo"


class DiscriminatorSpec(ABC):
    """Specification of a discriminator."""

    @property
    @abstractmethod
    def component(self) -> CheckpointRef:
        """Checkpoint of the discriminator."""

    @property
    @abstractmethod
    def apart(self) -> bool:
        """Whether its logit is a sum over modalities, so that neither is guided by the other."""

    @abstractmethod
    def load(self, options: BuildOptions) -> Discriminator:
        """Load on the CPU, in single precision.

        Raises:
            UserError: Its file is missing or damaged.
        """


def published(stem: str) -> "OfficialConfig":
    """Look up the architecture of a published file; its code is imported only then."""
    from mmdisco.discriminators.official.config import PUBLISHED

    return PUBLISHED[stem]


@dataclass(frozen=True)
class OfficialDiscriminator(DiscriminatorSpec):
    """A discriminator published with the method; it reads one noise level for both modalities.

    Attributes:
        stem: Stem of the published file's name.
        gigabytes: Size.
        config: Function from the stem to the architecture.
    """

    stem: str
    gigabytes: float
    config: "Callable[[str], OfficialConfig]" = published

    @property
    def component(self) -> CheckpointRef:
        """Checkpoint: the published file, or the folder that it was converted to."""
        return CheckpointRef(
            role="discriminator",
            source=SOURCE,
            parts=(published_file(f"{self.stem}.pt"),),
            gigabytes=self.gigabytes,
            licence="see its page",
            folder="mmdisco",
        )

    @property
    def apart(self) -> bool:
        """Whether the network averages over time; its logit is then a sum over modalities."""
        from mmdisco.discriminators.official.fusion import MeanFusionConfig

        return isinstance(self.config(self.stem).fusion, MeanFusionConfig)

    def load(self, options: BuildOptions) -> Discriminator:
        """Load, converting the published file at the first use."""
        from mmdisco.discriminators.official.checkpoint import load_checkpoint

        return load_checkpoint(self._file(options), self.config(self.stem))

    def _file(self, options: BuildOptions) -> Path:
        return self.component.find(options).folder / f"{self.stem}.pt"


@dataclass(frozen=True)
class ClampedDiscriminator(DiscriminatorSpec):
    """A discriminator with the release's bound on its logit."""

    judge: DiscriminatorSpec

    @property
    @override
    def component(self) -> CheckpointRef:
        return self.judge.component

    @property
    @override
    def apart(self) -> bool:
        return self.judge.apart

    def load(self, options: BuildOptions) -> Discriminator:
        """Load the discriminator and bound its logit."""
        return ClampedLogit(self.judge.load(options))


def one_sided_note(judge: DiscriminatorSpec) -> str:
    """Describe in a line the effect of a released discriminator where one modality is given."""
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
    """A system with a discriminator from a folder.

    Attributes:
        pair: The original system; its own discriminator is not needed.
        folder: Folder that ``mmdisco train`` made.
        options: Options the system is built with.
    """

    pair: JointSystem
    folder: Path
    options: BuildOptions

    @property
    @override
    def prompted(self) -> bool:
        return self.pair.prompted

    @property
    @override
    def independent(self) -> bool:
        return self.pair.independent

    @property
    @override
    def form(self) -> ClipSpec:
        return self.pair.form

    @property
    @override
    def method(self) -> GuidanceOrder:
        return self.pair.method

    def sampling(self) -> SamplingDefaults:
        """Return the system's defaults; joint scales tuned for another discriminator become 1."""
        usual = replace(self.pair.sampling(), joint_scale=AV(1.0, 1.0))
        return replace(usual, video_to_audio=1.0, audio_to_video=1.0)

    def expect(self, demand: Requirements) -> list[str]:
        """Check the demand, and warn if the discriminator was trained without a clean side.

        Raises:
            UserError: The base models cannot meet the demand, or the folder holds no discriminator.
        """
        record = read_config(self.folder)
        AudioVideoConfig.from_record(record["discriminator"])
        notices = self.pair.expect(replace(demand, guided=False))
        if demand.guided and demand.one_sided and not record.get("one_sided", 0.0):
            notices.append(f"{self.folder} was not trained with one side given")
        return notices

    @override
    def model(self, seeds: Sequence[int] = ()) -> JointModel:
        return self.pair.model(seeds)

    def discriminator(self) -> Discriminator:
        """Load from the folder onto the device of the models.

        Raises:
            UserError: It is damaged, or does not read what the base models make.
        """
        return self._judge

    def weight_hashes(self) -> Mapping[str, str]:
        """Return the system's checksums, with the folder's in place of its discriminator's."""
        return {**self.pair.weight_hashes(), "discriminator": read_config(self.folder)["sha256"]}

    @cached_property
    def _judge(self) -> Discriminator:
        folder = PretrainedDiscriminator.load(self.folder)
        self.pair.expect_fitting(folder.network.config, "this preset")
        device = self.options.torch_device()
        return folder.network if device.type == "cpu" else OnDevice(folder.network, device)

"""Systems of published weights: what they share of files and settings, and their discriminators."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from mmdisco.adapters.components import published_file
from mmdisco.core.av import AV
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.noise import NoiseSchedule
from mmdisco.core.replacement import Replacement
from mmdisco.discriminators.wrappers import ClampedLogit, OnDevice, ReplacementDiscriminator
from mmdisco.errors import UserError
from mmdisco.generation.config import SystemConfig
from mmdisco.generation.pipeline import GuidanceOrder
from mmdisco.generation.presets.registry import CheckpointRef, expect_files
from mmdisco.generation.system import JointSystem, Requirements, SamplingDefaults

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
    def load(self, options: SystemConfig) -> Discriminator:
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

    def load(self, options: SystemConfig) -> Discriminator:
        """Load, converting the published file at the first use."""
        from mmdisco.discriminators.official.checkpoint import load_checkpoint

        return load_checkpoint(self._file(options), self.config(self.stem))

    def _file(self, options: SystemConfig) -> Path:
        return self.component.find(options).folder / f"{self.stem}.pt"


@dataclass(frozen=True)
class ClampedDiscriminator(DiscriminatorSpec):
    """A discriminator with the release's bound on its logit."""

    spec: DiscriminatorSpec

    @property
    @override
    def component(self) -> CheckpointRef:
        return self.spec.component

    @property
    @override
    def apart(self) -> bool:
        return self.spec.apart

    def load(self, options: SystemConfig) -> Discriminator:
        """Load the discriminator and bound its logit."""
        return ClampedLogit(self.spec.load(options))


def one_sided_note(spec: DiscriminatorSpec) -> str:
    """Describe in a line the effect of a released discriminator where one modality is given."""
    if spec.apart:
        return (
            "the released discriminator judges sound and video apart: it mends what is made, and "
            "does not lead it towards what is given"
        )
    return (
        "the released discriminator knows one noise level for both sides: it is shown the given "
        "one noised along, which is guidance, but not the exact one"
    )


@dataclass(frozen=True)
class PresetInfo:
    """Description of a preset for its system.

    Attributes:
        name: Name of the preset.
        bases: Checkpoints of the base models.
        discriminator: The discriminator; None where none is published.
        sampling: Default settings.
        method: Order in which models and guidance are combined.
    """

    name: str
    bases: tuple[CheckpointRef, ...]
    discriminator: DiscriminatorSpec | None
    sampling: SamplingDefaults
    method: GuidanceOrder


class PretrainedSystem(JointSystem):
    """System of published files, loaded at the first use and kept.

    Args:
        facts: Description of the preset.
        options: Options the system is built with.
    """

    def __init__(self, facts: PresetInfo, options: SystemConfig) -> None:
        self._facts = facts
        self._options = options

    @property
    @override
    def method(self) -> GuidanceOrder:
        return self._facts.method

    @override
    def sampling(self) -> SamplingDefaults:
        return self._facts.sampling

    @property
    @abstractmethod
    def _schedules(self) -> AV[NoiseSchedule]:
        """Return the noise schedules of the models."""

    def discriminator(self) -> Discriminator:
        """Load onto the device of the models.

        Raises:
            UserError: There is none, or its file is missing or damaged.
        """
        return self._discriminator

    def weight_hashes(self) -> Mapping[str, str]:
        """Return a checksum for every component that is here."""
        facts, options = self._facts, self._options
        published = () if facts.discriminator is None else (facts.discriminator.component,)
        here = (one for one in (*facts.bases, *published) if one.present(options))
        return {component.role: component.mark(options) for component in here}

    def _expect_files(self, demand: Requirements) -> None:
        """Check that all needed files are here, and that guidance has a discriminator."""
        discriminator = self._facts.discriminator
        if demand.guided and discriminator is None:
            raise UserError(
                f"{self._facts.name} has no published discriminator: give --no-joint-guidance "
                f"for the "
                "two models alone"
            )
        published = (
            (discriminator.component,) if demand.guided and discriminator is not None else ()
        )
        expect_files((*self._facts.bases, *published), self._options, self._facts.name)

    @cached_property
    def _discriminator(self) -> Discriminator:
        discriminator = self._facts.discriminator
        if discriminator is None:
            raise UserError(f"{self._facts.name} has no published discriminator")
        expect_files((discriminator.component,), self._options, self._facts.name)
        network = OnDevice(discriminator.load(self._options), self._options.torch_device())
        return ReplacementDiscriminator(network, Replacement(self._schedules))

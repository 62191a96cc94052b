"""Systems of published weights: what they share of files, discriminator and settings."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from typing_extensions import override

from mmdisco.core.av import AV
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.noise import NoiseSchedule
from mmdisco.core.replacement import Replacement
from mmdisco.discriminators.wrappers import OnDevice, ReplacementDiscriminator
from mmdisco.errors import UserError
from mmdisco.generation.config import SystemConfig
from mmdisco.generation.pipeline import GuidanceOrder
from mmdisco.generation.presets.discriminators import DiscriminatorSpec
from mmdisco.generation.presets.registry import CheckpointRef, expect_files
from mmdisco.generation.system import JointSystem, Requirements, SamplingDefaults


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

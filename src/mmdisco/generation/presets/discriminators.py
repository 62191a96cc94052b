"""Sources of the discriminators of published presets."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from mmdisco.adapters.components import published_file
from mmdisco.core.discriminator import Discriminator
from mmdisco.discriminators.wrappers import ClampedLogit
from mmdisco.generation.config import SystemConfig
from mmdisco.generation.presets.registry import CheckpointRef

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

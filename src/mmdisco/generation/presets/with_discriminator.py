"""Systems with another discriminator than their own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

from mmdisco.core.av import AV
from mmdisco.discriminators.hub import PretrainedDiscriminator, check_pair, read_config
from mmdisco.discriminators.two_tower import AudioVideoConfig
from mmdisco.discriminators.wrappers import OnDevice
from mmdisco.generation.config import SystemConfig
from mmdisco.generation.system import JointSystem, Requirements, SamplingDefaults
from mmdisco.media.clip import ClipSpec

if TYPE_CHECKING:
    from mmdisco.core.denoiser import JointModel
    from mmdisco.core.discriminator import Discriminator
    from mmdisco.generation.pipeline import GuidanceOrder


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
    options: SystemConfig

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
    def two_levels(self) -> bool:
        return self.pair.two_levels

    @property
    @override
    def lossy(self) -> bool:
        return self.pair.lossy

    @override
    def known_words(self, prompt: str) -> tuple[int, int] | None:
        return self.pair.known_words(prompt)

    @override
    def outline(self) -> "WithDiscriminator":
        return replace(self, pair=self.pair.outline())

    @property
    @override
    def form(self) -> ClipSpec:
        return self.pair.form

    @property
    @override
    def window(self) -> Fraction:
        return self.pair.window

    @property
    @override
    def method(self) -> "GuidanceOrder":
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
        check_pair(record, self.pair.describe(), self.folder)
        notices = self.pair.expect(replace(demand, guided=False))
        if demand.guided and demand.one_sided and not record.get("one_sided", 0.0):
            notices.append(f"{self.folder} was not trained with one side given")
        return notices

    @override
    def latent_rates(self) -> AV[float]:
        return self.pair.latent_rates()

    @override
    def describe(self) -> Mapping[str, Mapping[str, str]]:
        return self.pair.describe()

    @override
    def model(self, seeds: Sequence[int] = ()) -> "JointModel":
        return self.pair.model(seeds)

    def discriminator(self) -> "Discriminator":
        """Load from the folder onto the device of the models.

        Raises:
            UserError: It is damaged, or does not read what the base models make.
        """
        return self._discriminator

    @override
    def distilled_folder(self) -> Path:
        return self.folder

    def weight_hashes(self) -> Mapping[str, str]:
        """Return the system's checksums, with the folder's in place of its discriminator's."""
        return {**self.pair.weight_hashes(), "discriminator": read_config(self.folder)["sha256"]}

    @cached_property
    def _discriminator(self) -> "Discriminator":
        folder = PretrainedDiscriminator.load(self.folder)
        self.pair.expect_fitting(folder.network.config, self.options.title)
        device = self.options.torch_device()
        return folder.network if device.type == "cpu" else OnDevice(folder.network, device)

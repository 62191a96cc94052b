"""A pair with another discriminator than its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from mmdisco.av import AV
from mmdisco.discriminator.audio_video import AudioVideoConfig
from mmdisco.discriminator.base import Discriminator
from mmdisco.discriminator.folder import DiscriminatorFolder, read_config
from mmdisco.discriminator.wrappers import Placed
from mmdisco.media.given import Form
from mmdisco.models import JointModel
from mmdisco.pair import Demand, Pair, Sampling
from mmdisco.pipeline import Method
from mmdisco.presets.options import Options


@dataclass(frozen=True)
class Judged(Pair):
    """Another pair with a discriminator from a folder of its own.

    Attributes:
        pair: The other one; its own discriminator is not needed.
        folder: That ``mmdisco train`` made.
        options: How the pair is built.
    """

    pair: Pair
    folder: Path
    options: Options

    @property
    def prompted(self) -> bool:
        """As the other."""
        return self.pair.prompted

    @property
    def independent(self) -> bool:
        """As the other."""
        return self.pair.independent

    @property
    def form(self) -> Form:
        """As the other."""
        return self.pair.form

    @property
    def method(self) -> Method:
        """As the other."""
        return self.pair.method

    def sampling(self) -> Sampling:
        """That of the other, with joint scales of 1 where another discriminator tuned them."""
        usual = replace(self.pair.sampling(), joint_scale=AV(1.0, 1.0))
        return replace(usual, video_to_audio=1.0, audio_to_video=1.0)

    def expect(self, demand: Demand) -> list[str]:
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

    def marks(self) -> Mapping[str, str]:
        """Those of the other, and the folder's in place of its discriminator's."""
        return {**self.pair.marks(), "discriminator": read_config(self.folder)["sha256"]}

    @cached_property
    def _judge(self) -> Discriminator:
        folder = DiscriminatorFolder.load(self.folder)
        self.pair.expect_fitting(folder.network.config, "this preset")
        device = self.options.torch_device()
        return folder.network if device.type == "cpu" else Placed(folder.network, device)

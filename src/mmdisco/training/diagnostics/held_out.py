"""Held-out clips of a prepared folder, on which a discriminator is measured."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from mmdisco.core.av import AV
from mmdisco.core.denoiser import JointDenoiser, JointModel
from mmdisco.data.pairing import evenly_spaced, select_pairs
from mmdisco.discriminators.hub import PretrainedDiscriminator, check_pair
from mmdisco.discriminators.two_tower import AudioVideoDiscriminator
from mmdisco.errors import UserError
from mmdisco.generation.pipeline import guided_base
from mmdisco.generation.system import JointSystem
from mmdisco.training.cached_denoiser import CachedDenoiser
from mmdisco.training.datasets import TrainingData
from mmdisco.training.diagnostics.measure import DiagnosticsRunner, comparisons, couplings_of


@dataclass(frozen=True)
class HeldOutClips:
    """Held-out clips of a prepared folder with the base models of their discriminator.

    Attributes:
        inputs: Clips and fake pairs.
        pair: System of the base models.
        model: The base models, loaded.
    """

    inputs: TrainingData
    pair: JointSystem
    model: JointModel

    @staticmethod
    def load(
        data: Path,
        fakes: Path,
        weights: Path | None,
        pipelines: Mapping[str, str] = MappingProxyType({}),
    ) -> "HeldOutClips":
        """Read everything but latents.

        Raises:
            UserError: A file is missing or does not fit, or fewer than two clips are held out.
        """
        inputs = TrainingData.read(data, fakes, weights, pipelines)
        if len(inputs.clips.captions["validation"]) < 2:
            raise UserError(f"{data} holds fewer than 2 clips out: prepare it with more")
        pair = inputs.pair(inputs.clips.options)
        return HeldOutClips(inputs, pair, pair.model())

    def discriminator(self, name: str) -> AudioVideoDiscriminator:
        """Load a discriminator trained for these base models, from its folder or the hub.

        Raises:
            UserError: It is missing, or reads other latents.
        """
        found = PretrainedDiscriminator.from_pretrained(name)
        network = found.network
        check_pair(found.facts, self.pair.describe(), name)
        self.pair.expect_fitting(network.config, self.inputs.clips.preset)
        return network

    def runner(
        self, pairs: int, levels: int, watch: Callable[[], None], kept: Path | None = None
    ) -> DiagnosticsRunner:
        """Compare held-out clips with fake pairs, and with shuffled sounds of their own.

        Args:
            pairs: Maximum number of pairs of each kind.
            levels: Noise levels of each coupling.
            watch: Called after each level of a measurement.
            kept: Folder that caches predictions of the base models.
        """
        if pairs < 2:
            raise UserError(f"{pairs} held-out pairs: ask for at least 2")
        whole = self.inputs.clips.captions["validation"]
        rows = evenly_spaced(len(whole), pairs)
        captions = [whole[row] for row in rows]
        real = select_pairs(self.inputs.clips.store("validation").read(), rows)
        fake = self.inputs.fake("validation")
        some = select_pairs(fake.read(), evenly_spaced(len(fake), pairs))
        scale = AV(*map(float, self.inputs.made["cfg_scale"]))
        base: JointDenoiser = guided_base(self.model, scale, self.pair.method)
        sampler = self.pair.method.sampler(self.model, self.pair.sampling().settings)
        return DiagnosticsRunner(
            base=base if kept is None else CachedDenoiser(base, kept),
            couplings=couplings_of(sampler.path, one_sided=self.pair.two_levels),
            real=real,
            against=comparisons(real, some, captions, self.model.encode_prompts([""])),
            levels=levels,
            watch=watch,
        )

"""States of guided runs, each with the σ ∇h that guided it: what a distilled network learns from.

A distilled network is asked where guided runs pass, which noised clips do not cover: the latents of
a run that is halfway to agreement. Shards are made one by one, each from (seed, shard) alone.
"""

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from mmdisco.core.av import AV, each
from mmdisco.core.denoiser import Conditioning, JointModel
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.log_ratio import GradientSource, LogRatio, ReuseEvery, backward_pass
from mmdisco.core.noise import NoiseLevel, broadcast_like
from mmdisco.core.pairs import PairSource
from mmdisco.core.rng import NoiseSource, derived_seed, seeded_generator
from mmdisco.errors import UserError
from mmdisco.generation.pipeline import GuidanceOrder
from mmdisco.generation.system import SamplingDefaults
from mmdisco.io.files import read_header, read_tensors, understood, write_tensors


@dataclass(frozen=True)
class GuidanceStates:
    """A batch of noisy pairs, and σ ∇h at each.

    Attributes:
        z_t: Noisy latents in VP units.
        level: Their noise levels, α² + σ² = 1.
        text: Pooled captions.
        product: σ ∇h of either latent; 0 of a clean one.
    """

    z_t: AV[Tensor]
    level: AV[NoiseLevel]
    text: AV[Tensor]
    product: AV[Tensor]

    @staticmethod
    def of(
        z_t: AV[Tensor], level: AV[NoiseLevel], text: AV[Tensor], gradient: AV[Tensor]
    ) -> "GuidanceStates":
        """Build the states of latents in any units, with ∇h in the same."""
        return GuidanceStates(
            each(NoiseLevel.to_vp, level, z_t),
            level.map(
                lambda own: NoiseLevel(own.t, own.alpha / own.magnitude, own.sigma / own.magnitude)
            ),
            text,
            each(lambda own, g: broadcast_like(own.sigma, g) * g, level, gradient),
        )

    def __len__(self) -> int:
        return len(self.z_t.audio)

    def take(self, rows: Tensor) -> "GuidanceStates":
        """Return some rows, in single precision."""
        return GuidanceStates(
            self.z_t.map(lambda one: one[rows].float()),
            self.level.map(lambda own: own.take(rows.tolist())),
            self.text.map(lambda one: one[rows].float()),
            self.product.map(lambda one: one[rows].float()),
        )

    def draw(self, count: int, generator: Generator) -> "GuidanceStates":
        """Draw rows with replacement."""
        return self.take(torch.randint(len(self), (count,), generator=generator))

    def tensors(self) -> dict[str, Tensor]:
        """Return named tensors for a file; latents and products in half precision."""
        found: dict[str, Tensor] = {}
        for side in ("audio", "video"):
            z_t, level, text, product = (
                getattr(one, side) for one in (self.z_t, self.level, self.text, self.product)
            )
            found |= {f"{side}.z_t": z_t.half(), f"{side}.product": product.half()}
            # both sides may share a tensor, which safetensors does not store twice
            found |= {f"{side}.text": text.clone(), f"{side}.t": level.t.clone()}
            found |= {f"{side}.alpha": level.alpha.clone(), f"{side}.sigma": level.sigma.clone()}
        return found

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor]) -> "GuidanceStates":
        """Invert ``tensors``."""

        def both(name: str) -> AV[Tensor]:
            return AV(tensors[f"audio.{name}"], tensors[f"video.{name}"])

        level = each(NoiseLevel, both("t"), both("alpha"), both("sigma"))
        return GuidanceStates(both("z_t"), level, both("text"), both("product"))

    @staticmethod
    def joined(parts: Sequence["GuidanceStates"]) -> "GuidanceStates":
        """Concatenate batches."""
        tensors = [part.tensors() for part in parts]
        return GuidanceStates.from_tensors(
            {name: torch.cat([one[name] for one in tensors]) for name in tensors[0]}
        )


@dataclass(frozen=True, eq=False)
class RecordedGradient:
    """A ``GradientSource`` that keeps where it was asked and what it answered.

    Attributes:
        source: The source.
        kept: One batch of states for each evaluation.
    """

    source: GradientSource = backward_pass
    kept: list[GuidanceStates] = field(default_factory=list[GuidanceStates])

    def __call__(
        self,
        discriminator: Discriminator,
        z_t: AV[Tensor],
        level: AV[NoiseLevel],
        text: AV[Tensor],
    ) -> LogRatio:
        """Return the log ratio of the source."""
        found = self.source(discriminator, z_t, level, text)
        self.kept.append(GuidanceStates.of(z_t, level, text, found.gradient))
        return found


@dataclass(frozen=True)
class GuidedRuns:
    """Guided runs with captions of real pairs; with one side given, that side of the pairs.

    Attributes:
        model: The base models.
        method: Order in which models and guidance are combined.
        sampling: Settings of sampling, with the scales of each task.
        discriminator: The discriminator that guides.
        null: The encoded empty caption, batch size 1.
        shapes: Shapes of one sample's latents, without the batch.
        real: Real pairs.
        one_sided: Whether half of the runs have one side given.
        factors: Factors on the scales, in turn.
        seed: Seed of all shards.
    """

    model: JointModel
    method: GuidanceOrder
    sampling: SamplingDefaults
    discriminator: Discriminator
    null: AV[Conditioning]
    shapes: AV[torch.Size]
    real: PairSource
    one_sided: bool
    factors: Sequence[float]
    seed: int

    def states(self, shard: int, count: int) -> GuidanceStates:
        """Run a batch of clips, and return every state at which it was guided.

        Args:
            shard: Index of the shard. If one-sided generation is learnt, every second one has the
                video or the sound given.
            count: Clips.

        Raises:
            UserError: No state is guided.
        """
        pairs = self.real.draw(count, seeded_generator(self.seed, shard))
        given = (None, "video", None, "audio")[shard % 4] if self.one_sided else None
        factor = self.factors[shard // 4 % len(self.factors)]
        scale = {
            None: self.sampling.joint_scale,
            "video": AV(self.sampling.video_to_audio, 0.0),
            "audio": AV(0.0, self.sampling.audio_to_video),
        }[given].map(lambda own: factor * own)
        recorded = RecordedGradient()
        settings = replace(
            replace(self.sampling, joint_scale=scale).settings,
            reuse=ReuseEvery(source=recorded),
        )
        sampler = self.method.sampler(self.model, settings)
        if given is not None:
            sampler = sampler.given_video() if given == "video" else sampler.given_audio()
        noise = NoiseSource.from_seeds([derived_seed(self.seed, shard)])
        z_t = sampler.initial(noise, self.shapes.map(lambda one: torch.Size([count, *one])))
        if given is not None:
            z_t = replace(z_t, **{given: getattr(pairs.z_0, given)})
        denoiser = self.method.denoiser(self.model, self.discriminator, settings, self.null)
        deque(sampler.run(denoiser, z_t, pairs.cond, noise), maxlen=0)
        if not recorded.kept:
            raise UserError(
                "no step of a run lies in the interval of guidance: distil with more steps"
            )
        return GuidanceStates.joined(recorded.kept)

    def fill(
        self, folder: Path, sizes: Sequence[int], settings: Mapping[str, Any]
    ) -> Iterator[int]:
        """Write the shards that are missing, or of other settings.

        Args:
            folder: Folder of the shards.
            sizes: Clips of each shard.
            settings: What the states follow from.

        Yields:
            The number of shards, after each.
        """
        told = json.dumps(dict(settings), sort_keys=True)
        for shard, count in enumerate(sizes):
            path = shard_of(folder, shard)
            if not path.is_file() or read_header(path).metadata.get("run") != told:
                write_tensors(path, self.states(shard, count).tensors(), {"run": told})
            yield shard + 1


def read_states(folder: Path, shards: int) -> GuidanceStates:
    """Read the shards of a folder.

    Raises:
        UserError: One is missing or damaged.
    """
    with understood(folder):
        return GuidanceStates.joined(
            [
                GuidanceStates.from_tensors(read_tensors(shard_of(folder, shard)))
                for shard in range(shards)
            ]
        )


def shard_of(folder: Path, shard: int) -> Path:
    """Return the file of a shard."""
    return folder / f"states-{shard:05d}.safetensors"

"""A small network that gives σ ∇h of a discriminator directly, without a backward pass.

It is trained to repeat the product by which ``core.guidance`` changes ε̂, of one discriminator. It
reads what that one's towers read: each time step of a latent is cut into patches, as large as what
a tower averages in space, and is one token of a transformer over both modalities. Independent of
how it is trained.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmdisco.core.av import AV, each
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.log_ratio import LogRatio
from mmdisco.core.noise import NoiseLevel, broadcast_like, interpolate
from mmdisco.discriminators.convolutions import FlatLatents, Latents, beside_mean
from mmdisco.discriminators.embeddings import LevelEmbedding, Rotary, times_of
from mmdisco.discriminators.fusion import AdaLayerNorm, TimeFusionConfig, TransformerLayer
from mmdisco.discriminators.two_tower import AudioVideoConfig, text_embedding
from mmdisco.errors import UserError
from mmdisco.io.bounds import check_sizes, expect_fitting_file
from mmdisco.io.files import (
    read_object,
    read_tensors,
    sha256,
    understood,
    write_json,
    write_tensors,
)
from mmdisco.io.shapes import Latent, PerSample, Tokens, Vector

KIND: Final = "mmdisco distilled guidance"
CONFIG: Final = "distilled.json"
WEIGHTS: Final = "distilled.safetensors"
BINS: Final = 12
"""Noise angles, evenly spaced, at which the size of the product is tabulated."""


@dataclass(frozen=True)
class DistilledConfig:
    """Shape of a ``DistilledNetwork``.

    Attributes:
        discriminator: Configuration of the discriminator that it is distilled from.
        d_model: Width of the tokens and of the condition; a multiple of twice ``num_heads``.
        num_layers: Layers of the transformer over the tokens of both modalities.
        num_heads: Attention heads of a layer.
        patch_width: Width of the hidden layers of a patch.
    """

    discriminator: AudioVideoConfig
    d_model: int = 128
    num_layers: int = 1
    num_heads: int = 4
    patch_width: int = 160

    def __post_init__(self) -> None:
        check_sizes(self)
        self.layer()

    def layer(self) -> TimeFusionConfig:
        """Return the shape of the transformer.

        Raises:
            UserError: ``d_model`` does not fit the number of heads.
        """
        return TimeFusionConfig(self.d_model, self.num_layers, self.num_heads)

    def to_record(self) -> dict[str, Any]:
        """Return the configuration in JSON's types."""
        return {**asdict(self), "discriminator": self.discriminator.to_record()}

    @staticmethod
    def from_record(record: Any) -> "DistilledConfig":
        """Invert ``to_record``.

        Raises:
            UserError: The record describes no such configuration.
        """
        try:
            sizes = {name: one for name, one in record.items() if name != "discriminator"}
            return DistilledConfig(AudioVideoConfig.from_record(record["discriminator"]), **sizes)
        except (AttributeError, KeyError, TypeError) as error:
            said = " ".join(str(error).split())[:120]
            raise UserError(
                f"no configuration of a distilled network that this version reads: {said}"
            ) from error


class DistilledNetwork(nn.Module):
    """σ ∇h of both latents, from noisy latents, their levels and captions.

    The last layer starts at zero, so a new network gives no guidance. Its outputs are in units of
    the root mean square of the product at the noise angle of their own latent (``sizes``), so that
    every level is learnt alike.

    Attributes:
        sizes: Root mean square of σ ∇h by noise angle, ``BINS`` values a modality: sound, video.
    """

    sizes: Tensor

    def __init__(self, config: DistilledConfig) -> None:
        super().__init__()
        self.config = config
        width, reads = config.d_model, config.discriminator
        self.level = LevelEmbedding(width)
        self.audio_text = text_embedding(reads.audio.text_width, width)
        self.video_text = text_embedding(reads.video.text_width, width)
        self.audio = PatchCodec(reads.audio, config)
        self.video = PatchCodec(reads.video, config)
        self.layers = nn.ModuleList(
            TransformerLayer(config.layer(), width) for _ in range(config.num_layers)
        )
        self.register_buffer("sizes", torch.ones(2, BINS))

    def forward(self, z_t: AV[Tensor], level: AV[NoiseLevel], text: AV[Tensor]) -> AV[Tensor]:
        """Return σ ∇h of each latent: 0 for a clean one, and the same in the units of any schedule.

        Args:
            z_t: Noisy latents in the units of their own schedule.
            level: The noise level of either latent, one per sample.
            text: Pooled captions, as the discriminator reads them.
        """
        device = self.audio.mark.device
        z = each(lambda own, x: own.to_vp(x.to(device)), level, z_t)
        condition = (
            self.level(level)
            + self.audio_text(text.audio.to(device))
            + self.video_text(text.video.to(device))
        )
        codecs = AV(self.audio, self.video)
        read = each(lambda codec, x, own: codec.read(x, own, condition), codecs, z, level)
        tokens = each(lambda codec, patches: codec.token(patches), codecs, read)
        steps = AV(tokens.audio.shape[1], tokens.video.shape[1])
        seconds = each(lambda codec, count: codec.seconds(count, z.audio), codecs, steps)
        rotary = Rotary(
            torch.cat([seconds.audio, seconds.video]),
            self.config.d_model // self.config.num_heads,
        )
        both = torch.cat([tokens.audio, tokens.video], dim=1)
        for layer in self.layers:
            both = layer(both, condition, rotary)
        sides: AV[Tensor] = AV(both[:, : steps.audio], both[:, steps.audio :])
        products = each(
            lambda codec, patches, one, x: codec.write(patches, one, condition, x.shape),
            codecs,
            read,
            sides,
            z,
        )
        return each(
            lambda product, size, x: (broadcast_like(size, product) * product).to(x),
            products,
            self.sizes_at(level),
            z_t,
        )

    def sizes_at(self, level: AV[NoiseLevel]) -> AV[Tensor]:
        """Return the size of the product at levels, (b) of either modality; 0 of a clean one."""
        audio, video = self.sizes.to("cpu", torch.float64)
        return each(_at_angle, AV(audio, video), level)


def _at_angle(sizes: Tensor, level: NoiseLevel) -> PerSample:
    found = interpolate(level.angle.cpu().double(), torch.linspace(0, 1, BINS).double(), sizes)
    return torch.where(level.sigma.cpu() > 0, found, 0.0)


class PatchCodec(nn.Module):
    """Patches of one latent: to a token for each time step, and from it to the product.

    Args:
        latents: The kind of latent.
        config: Shape of the network.
    """

    def __init__(self, latents: Latents, config: DistilledConfig) -> None:
        super().__init__()
        hidden, width = config.patch_width, config.d_model
        self.patch = patch_of(latents, len(config.discriminator.channel_mult))
        self.rate = latents.rate / self.patch[0]
        values = latents.channels * math.prod(self.patch)
        self.into = nn.Linear(2 * values, hidden)
        self.shift = nn.Linear(width, hidden)
        self.pool = nn.Linear(hidden, width)
        self.mark = nn.Parameter(torch.randn(width) * 0.02)
        self.norm = AdaLayerNorm(width, width)
        self.keep = nn.Linear(hidden, hidden)
        self.back = nn.Linear(width, hidden)
        self.out = nn.Linear(hidden, values)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def read(self, x: Latent, level: NoiseLevel, condition: Vector) -> Tensor:
        """Map a latent in VP units to hidden values of its patches, (b, steps, places, hidden).

        Beside its own values a patch has the mean of all steps, as in ``FlattenStem``; both are
        scaled by their ``wiener_gain``.
        """
        patches = cut(beside_mean(x, level), self.patch)
        shift = self.shift(functional.silu(condition))
        return functional.silu(self.into(patches) + shift[:, None, None])

    def token(self, patches: Tensor) -> Tokens:
        """Return the token of each time step, (b, steps, width)."""
        return self.pool(patches.mean(2)) + self.mark

    def seconds(self, steps: int, like: Tensor) -> Tensor:
        """Return the time of each token."""
        return times_of(steps, self.rate, like)

    def write(
        self, patches: Tensor, tokens: Tokens, condition: Vector, shape: torch.Size
    ) -> Latent:
        """Map hidden values and tokens of both modalities to a latent of ``shape``."""
        told = self.back(self.norm(tokens, condition))[:, :, None]
        return joined(self.out(functional.silu(self.keep(patches) + told)), self.patch, shape)


def patch_of(latents: Latents, levels: int) -> tuple[int, ...]:
    """Return the size of a patch in time and on each axis after it: a tower's windows together."""
    if isinstance(latents, FlatLatents):
        return (1, *latents.space)
    return tuple(size ** (levels - 1) for size in latents.window())


def cut(x: Latent, patch: tuple[int, ...]) -> Tensor:
    """Cut (b, c, time, *space) into patches, (b, steps, places, c · values); zeros fill the last.

    Args:
        x: Latent.
        patch: Size of a patch on the time axis and each after it.
    """
    lacking = [-size % own for size, own in zip(x.shape[2:], patch, strict=True)]
    if any(lacking):
        x = functional.pad(x, [side for one in reversed(lacking) for side in (0, one)])
    counts = [size // own for size, own in zip(x.shape[2:], patch, strict=True)]
    split = [size for pair in zip(counts, patch, strict=True) for size in pair]
    apart = x.reshape(*x.shape[:2], *split)
    axes = range(len(patch))
    ordered = apart.permute(0, *(2 + 2 * one for one in axes), 1, *(3 + 2 * one for one in axes))
    return ordered.reshape(x.shape[0], counts[0], math.prod(counts[1:]), -1)


def joined(patches: Tensor, patch: tuple[int, ...], shape: torch.Size) -> Latent:
    """Invert ``cut`` for a latent of ``shape``."""
    counts = [-(-size // own) for size, own in zip(shape[2:], patch, strict=True)]
    apart = patches.reshape(shape[0], *counts, shape[1], *patch)
    axes = range(len(patch))
    middle = 1 + len(patch)
    order = [one for axis in axes for one in (1 + axis, middle + 1 + axis)]
    whole = apart.permute(0, middle, *order).reshape(
        shape[0], shape[1], *(size * own for size, own in zip(counts, patch, strict=True))
    )
    return whole[tuple(slice(size) for size in shape)]


@dataclass(frozen=True, eq=False)
class DistilledGradient:
    """The ``GradientSource`` of a distilled network; the discriminator is not evaluated.

    Attributes:
        network: The network, distilled from the discriminator of the run.
    """

    network: DistilledNetwork

    def __call__(
        self,
        discriminator: Discriminator,
        z_t: AV[Tensor],
        level: AV[NoiseLevel],
        text: AV[Tensor],
    ) -> LogRatio:
        """Return ∇h, 0 at a clean latent, and NaN for the logit, which is not computed."""
        with torch.no_grad():
            product = self.network(z_t, level, text)
        logit = z_t.audio.new_full((len(z_t.audio),), math.nan)
        return LogRatio(logit, each(_over_sigma, product, level))


def _over_sigma(product: Latent, level: NoiseLevel) -> Latent:
    # the product of a clean latent is 0, whatever it is divided by
    return product / broadcast_like(torch.where(level.sigma > 0, level.sigma, 1.0), product)


@dataclass(frozen=True)
class DistilledGuidance:
    """A distilled network, the discriminator that it is of, and what is known of it.

    Attributes:
        network: The frozen network.
        discriminator: SHA-256 of the discriminator's weights.
        facts: Further fields of ``distilled.json``.
    """

    network: DistilledNetwork
    discriminator: str
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def save(self, folder: Path) -> None:
        """Write weights in half precision, then the configuration, beside the discriminator.

        Raises:
            UserError: The folder cannot be written.
        """
        weights = {name: one.cpu().half() for name, one in self.network.state_dict().items()}
        write_tensors(folder / WEIGHTS, weights, {"kind": KIND})
        record = {
            "kind": KIND,
            "discriminator": self.discriminator,
            "network": self.network.config.to_record(),
            "sha256": sha256(folder / WEIGHTS),
            **self.facts,
        }
        write_json(folder / CONFIG, record)

    @staticmethod
    def load(folder: Path, discriminator: str) -> "DistilledGuidance":
        """Read what ``save`` wrote; the network computes in single precision.

        Args:
            folder: Folder of the discriminator.
            discriminator: SHA-256 of the discriminator's weights.

        Raises:
            UserError: There is none, it is of another discriminator, or damaged.
        """
        record, path = read_distilled(folder, discriminator), folder / WEIGHTS
        with understood(folder / CONFIG):
            config = DistilledConfig.from_record(record["network"])
        expect_fitting_file(lambda: DistilledNetwork(config), path)
        if sha256(path) != record["sha256"]:
            raise UserError(
                f"{path} is damaged: its checksum is not the one in {CONFIG}; distil or download "
                "it again"
            )
        network = DistilledNetwork(config)
        with understood(path):
            weights = {name: one.float() for name, one in read_tensors(path).items()}
            network.load_state_dict(weights)
        known = ("kind", "discriminator", "network", "sha256")
        facts = {name: value for name, value in record.items() if name not in known}
        frozen = network.eval().requires_grad_(False)  # noqa: FBT003
        return DistilledGuidance(frozen, discriminator, facts)


def read_distilled(folder: Path, discriminator: str) -> Mapping[str, Any]:
    """Read ``distilled.json`` of a discriminator's folder, without the weights.

    Args:
        folder: Folder of the discriminator.
        discriminator: SHA-256 of the discriminator's weights.

    Raises:
        UserError: There is none, or it is of another discriminator.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(
            f"{folder} holds no distilled network: make one with `mmdisco train --distill`, in the "
            "folder of its discriminator, or leave --guidance out"
        )
    record = read_object(path)
    if record.get("kind") != KIND or not record.keys() >= {"discriminator", "network", "sha256"}:
        raise UserError(f"{path} describes no distilled network: distil it again")
    if record["discriminator"] != discriminator:
        raise UserError(
            f"the network in {folder} was distilled from another discriminator: make one with "
            "`mmdisco train --distill`, or leave --guidance out"
        )
    return record

"""The released discriminator: two towers, a fusion, a linear layer.

The network of SonyResearch/MMDisCo at commit 3b9f84f, for inference with its weights. It takes
one noise level for both modalities, as a timestep, which enters both towers and the fusion;
captions enter the towers alone. Two wrappers complete it: ``ReplacementDiscriminator`` for
one-sided generation, and ``ClampedLogit``, the release's bound on the logit.
"""

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmdisco.core.av import AV, each
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.noise import NoiseLevel
from mmdisco.discriminators.convolutions import channels_last
from mmdisco.discriminators.official.attention import (
    GROUPS,
    CrossAttention,
    NoAttention,
    NoExchange,
    OfficialAttention,
)
from mmdisco.discriminators.official.blocks import FirstHalf, OfficialBlock, ResHalf
from mmdisco.discriminators.official.config import OfficialConfig
from mmdisco.discriminators.official.latents import LatentKind
from mmdisco.discriminators.two_tower import NoText
from mmdisco.errors import UserError
from mmdisco.io.shapes import Latent, Logit, PerSample, Vector

SLOWEST: Final = 10000.0


class ReleasedDiscriminator(Discriminator):
    """Log ratio of pairs of sound and video latents, by the released network.

    A video is (b, c, f, h, w), a sound (b, c, l, m) or (b, c, l), of any length and extent that
    the pools do not reduce to nothing and for which the fusion has positions.
    """

    def __init__(self, config: OfficialConfig) -> None:
        super().__init__()
        self.config = config
        self.pools = len(config.channel_mult) - 1
        self.time = OfficialTimeEmbedding(config.embedding)
        self.audio_text = _text_embedding(config.audio, config.embedding)
        self.video_text = _text_embedding(config.video, config.embedding)
        self.blocks = nn.ModuleList(_blocks(config))
        self.fusion = config.fusion.build(config.channels[-1], config.embedding)
        self.last = nn.Linear(self.fusion.features, 1)

    def forward(self, z_t: AV[Tensor], level: AV[NoiseLevel], text: AV[Tensor]) -> Logit:
        """Return the log ratio of each pair; see ``Discriminator``.

        Args:
            z_t: Noisy latents in the units of their own schedule.
            level: The noise level of either latent, both of the same timestep ``t``.
            text: The pooled caption of either modality: the mean of all its token vectors, those of
                the padding included, where the text encoder returns a sequence.

        Raises:
            UserError: A latent or a caption does not fit the configuration, the clip is too long,
                or the levels are of different timesteps.
        """
        _check("audio", self.config.audio, z_t.audio, text.audio, self.pools)
        _check("video", self.config.video, z_t.video, text.video, self.pools)
        time = self.time(_common_time(level))
        own_text = AV(self.audio_text(text.audio.to(time)), self.video_text(text.video.to(time)))
        embedding = own_text.map(lambda one: time + one)
        z = each(NoiseLevel.to_vp, level, z_t).map(channels_last)
        for block in self.blocks:
            z = block(z, embedding)
        return self.last(self.fusion(z.map(_mean_over_space), time))[:, 0]


class OfficialTimeEmbedding(nn.Module):
    """Sinusoids of the timestep through an MLP."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)

    def forward(self, t: PerSample) -> Vector:
        """Map timesteps in [0, 1000) to vectors.

        The features are sin(ω_i t), then cos(ω_i t), ω_i geometric from 1 to 1/10000, both ends
        included. The result has the precision and the device of the weights.
        """
        half = self.width // 2
        weight = self.first.weight
        # parity: single precision from the exponent on, as the weights were trained
        index = torch.arange(half, dtype=torch.float32, device=weight.device)
        frequencies = torch.exp(-math.log(SLOWEST) * index / (half - 1))
        phase = t.to(frequencies)[:, None] * frequencies
        features = torch.cat([phase.sin(), phase.cos()], dim=1).to(weight)
        return self.second(functional.silu(self.first(features)))


def _blocks(config: OfficialConfig) -> list[OfficialBlock]:
    channels = config.channels[0]

    def first(kind: LatentKind) -> FirstHalf:
        norm = config.input_norm(kind.channels, config.embedding, config.modulation)
        return FirstHalf(kind, channels, norm)

    blocks = [OfficialBlock(first(config.audio), first(config.video), NoExchange())]
    for index, wanted in enumerate(config.channels):
        if index > 0:
            blocks.append(_block(config, len(blocks), (channels, channels), None))
        for _ in range(config.depth):
            blocks.append(_block(config, len(blocks), (channels, wanted), index))
            channels = wanted
    return blocks


def _block(
    config: OfficialConfig, number: int, channels: tuple[int, int], level: int | None
) -> OfficialBlock:
    """Build block ``number``, from 0; one between two levels has no level, and pools."""

    def half(kind: LatentKind) -> ResHalf:
        window = kind.window if level is None else (1,) * len(kind.window)
        attention: OfficialAttention = NoAttention()
        if level in kind.attention:
            attention = kind.attend(channels[1], config.heads)
        dilation = 2 ** (number % config.dilations)
        modulation = config.modulation(GROUPS, channels[1], config.embedding)
        return ResHalf(kind, channels, modulation, window, dilation, attention)

    exchange = (
        CrossAttention(channels[1], channels[1] // config.head_width)
        if level in config.cross_attention
        else NoExchange()
    )
    return OfficialBlock(half(config.audio), half(config.video), exchange)


def _text_embedding(kind: LatentKind, embedding: int) -> nn.Module:
    return nn.Linear(kind.text_width, embedding) if kind.text_width > 0 else NoText(embedding)


def _mean_over_space(x: Latent) -> Tensor:
    """Map (b, c, time, *space) to (b, time, c)."""
    positions = x.movedim(1, -1)
    return positions.reshape(*positions.shape[:2], -1, positions.shape[-1]).mean(2)


def _common_time(level: AV[NoiseLevel]) -> PerSample:
    audio, video = level.audio.t, level.video.t
    # rounding in a coupling can shift t by a thousandth, which does not affect the network
    if not torch.allclose(audio, video, rtol=0.0, atol=1e-3):
        raise UserError(
            "the released discriminators know one noise level for both modalities: take a path on "
            "which both are at the same timestep, with neither side given"
        )
    return audio


def _check(modality: str, kind: LatentKind, x: Latent, text: Tensor, pools: int) -> None:
    axes = 2 + len(kind.window)
    if x.ndim != axes or x.shape[1] != kind.channels:
        raise UserError(
            f"{modality} latent of shape {tuple(x.shape)}: this discriminator reads {axes} axes, "
            f"the second of {kind.channels} channels"
        )
    smallest = tuple(size**pools for size in kind.window)
    if any(size < least for size, least in zip(x.shape[2:], smallest, strict=True)):
        raise UserError(
            f"{modality} latent of {tuple(x.shape[2:])} (time, then space) is too small for the "
            f"discriminator: give at least {smallest}"
        )
    if text.ndim != 2 or text.shape[1] != kind.text_width:
        raise UserError(
            f"{modality} captions of shape {tuple(text.shape)}: this discriminator reads a vector "
            f"of {kind.text_width} for each sample"
        )

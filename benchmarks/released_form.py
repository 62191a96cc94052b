"""The released discriminator's form: 2-D and 1-D convolutions with a change of layout between them.

The network of the configuration ``audioldm_animediff_vggsound`` with random weights, as a yardstick
for cost. Inside, video is (b, f, c, h, w): a spatial convolution reads (b·f, c, h, w), a temporal
one (b·h·w, c, f), a norm or a 1 × 1 convolution (b, c, f, h, w). Not for loading checkpoints.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

GROUPS = 32
WIDTH = 128
DEPTH = 4
MULTIPLIERS = (1, 2, 4)
VIDEO_CHANNELS, AUDIO_CHANNELS = 4, 8
VIDEO_TEXT, AUDIO_TEXT = 768, 512


class VideoConv(nn.Module):
    """A 2-D convolution of every frame, then a 1-D convolution of every pixel over time."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(channels, out_channels, 3, padding="same")
        self.temporal = nn.Conv1d(out_channels, out_channels, 3, padding="same")

    def forward(self, x: Tensor) -> Tensor:
        b, f, _, h, w = x.shape
        x = self.spatial(x.reshape(b * f, -1, h, w)).reshape(b, f, -1, h, w)
        x = self.temporal(x.permute(0, 3, 4, 2, 1).reshape(b * h * w, -1, f))
        return x.reshape(b, h, w, -1, f).permute(0, 4, 3, 1, 2)


class AudioConv(nn.Module):
    """A 3 × 3 convolution of time and mel together."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out_channels, 3, padding="same")

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class VideoPointwise(nn.Module):
    """A 1 × 1 × 1 convolution of (b, f, c, h, w)."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.transpose(1, 2)).transpose(1, 2)


class AudioPointwise(nn.Module):
    """A 1 × 1 convolution of (b, c, l, m)."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Norm(nn.Module):
    """GroupNorm in float32; a video is normalised over all its frames together."""

    def __init__(self, channels: int, *, affine: bool) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 5:
            return self.norm(x.transpose(1, 2).float()).to(x.dtype).transpose(1, 2)
        return self.norm(x.float()).to(x.dtype)


class Modulation(nn.Module):
    """GroupNorm without parameters, scaled and shifted by a projection of the embedding."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.projection = nn.Sequential(nn.SiLU(), nn.Linear(WIDTH, 2 * channels))
        self.norm = Norm(channels, affine=False)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        shape = (x.shape[0], 1, -1, 1, 1) if x.ndim == 5 else (x.shape[0], -1, 1, 1)
        scale, shift = self.projection(embedding).chunk(2, dim=1)
        return self.norm(x) * (1 + scale.reshape(shape)) + shift.reshape(shape)


class ResBlock(nn.Module):
    """Norm, SiLU, 3-tap convolution, pooling, modulation, SiLU, 1 × 1 convolution, and a skip.

    The weights of the last convolution are zero in the release's fresh network; here they are
    random, so that no factor of the gradient is a zero that a kernel could skip.
    """

    def __init__(
        self,
        convs: tuple[type[VideoConv], type[VideoPointwise]]
        | tuple[type[AudioConv], type[AudioPointwise]],
        channels: int,
        out_channels: int,
        pool: nn.Module,
    ) -> None:
        super().__init__()
        conv, pointwise = convs
        self.norm = Norm(channels, affine=True)
        self.conv = conv(channels, out_channels)
        self.pool = pool
        self.modulation = Modulation(out_channels)
        self.out = pointwise(out_channels, out_channels)
        self.skip = nn.Identity() if channels == out_channels else pointwise(channels, out_channels)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        branch = self.pool(self.conv(functional.silu(self.norm(x))))
        branch = self.out(functional.silu(self.modulation(branch, embedding)))
        return self.skip(self.pool(x)) + branch


def _tower(
    convs: tuple[type[VideoConv], type[VideoPointwise]]
    | tuple[type[AudioConv], type[AudioPointwise]],
    latent_channels: int,
    pool: nn.Module,
) -> nn.ModuleList:
    blocks: list[nn.Module] = [convs[0](latent_channels, WIDTH)]
    channels = WIDTH
    for level, multiplier in enumerate(MULTIPLIERS):
        for _ in range(DEPTH):
            blocks.append(ResBlock(convs, channels, WIDTH * multiplier, nn.Identity()))
            channels = WIDTH * multiplier
        if level < len(MULTIPLIERS) - 1:
            blocks.append(ResBlock(convs, channels, channels, pool))
    return nn.ModuleList(blocks)


class ReleasedForm(nn.Module):
    """Two towers, averages over space and time, one linear layer: f(video) + g(audio)."""

    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH))
        self.video_text = nn.Linear(VIDEO_TEXT, WIDTH)
        self.audio_text = nn.Linear(AUDIO_TEXT, WIDTH)
        self.video = _tower((VideoConv, VideoPointwise), VIDEO_CHANNELS, nn.AvgPool3d((1, 2, 2)))
        self.audio = _tower((AudioConv, AudioPointwise), AUDIO_CHANNELS, nn.AvgPool2d((1, 2)))
        self.head = nn.Linear(2 * WIDTH * MULTIPLIERS[-1], 1)

    def forward(
        self, audio: Tensor, video: Tensor, t: Tensor, audio_text: Tensor, video_text: Tensor
    ) -> Tensor:
        """The bounded logit that the release differentiates, shape (b,).

        Args:
            audio: (b, c, l, m).
            video: (b, c, f, h, w), as the video model holds it.
            t: Integer timesteps, (b,).
            audio_text: (b, 512).
            video_text: (b, 768).
        """
        time = self.time(_sinusoid(t))
        video_embedding = time + self.video_text(video_text)
        audio_embedding = time + self.audio_text(audio_text)
        video = self.video[0](video.transpose(1, 2))
        audio = self.audio[0](audio)
        for video_block, audio_block in zip(self.video[1:], self.audio[1:], strict=True):
            video = video_block(video, video_embedding)
            audio = audio_block(audio, audio_embedding)
        pooled = torch.cat([video.mean((3, 4)).mean(1), audio.mean(3).mean(2)], dim=1)
        probability = torch.sigmoid(self.head(pooled)[:, 0])
        return torch.log(probability + 1e-5) - torch.log1p(-probability + 1e-5)


def _sinusoid(t: Tensor) -> Tensor:
    half = WIDTH // 2
    frequencies = torch.exp(-math.log(10000) * torch.arange(half) / (half - 1))
    phase = t[:, None].float() * frequencies
    return torch.cat([phase.sin(), phase.cos()], dim=1)

"""Families of pipelines: the little that their code does not say itself.

A family is one object of ``VIDEO`` or ``AUDIO``. Prediction, guidance, prompts and decoding are
the pipeline's own; here are the layout of its latents, their numbers, and how a clip becomes one.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final, TypeVar

import torch
from torch import Tensor

from mmdisco.adapters.stock.encoders import (
    clap_vectors,
    encode_images,
    encode_longcat,
    encode_ltx,
    encode_mel,
    encode_scaled,
    encode_sound,
    encode_wan,
    mel_bins,
    mel_grid,
)
from mmdisco.adapters.stock.layouts import (
    AxisOrder,
    ChannelsLast,
    FramesInBatch,
    LaterFrames,
    Layout,
    PackedTokens,
    network,
)
from mmdisco.errors import UserError
from mmdisco.io.shapes import Latent, Text

_SAME: Final = AxisOrder((0, 1, 2, 3, 4))
_SLACK: Final = Fraction(1, 10**6)  # of a frame or step, for lengths in floating point


@dataclass(frozen=True)
class VideoFamily:
    """Pipelines of one kind of video latent.

    Attributes:
        pipelines: Names of diffusers' classes.
        layout: Layout of latents.
        encode: From the pipeline and pixels (b, 3, f, h, w) in [−1, 1] to normalised latents.
        fps: Frames per second of a pipeline's training; ``frame_rate`` of a call is first.
        factors: Attributes of a pipeline: frames of a latent step, pixels of a latent's side.
            A causal autoencoder has a first step of one frame; without the former every step has.
        given: Latent steps at the beginning that are made of an image and are no part of a latent.
        most: Frames for which a network has positions; None is no bound.
        batched: Whether a sample of a batch comes out as by itself; texts of other lengths beside
            it change it where the network does not mask their padding.
        pool: Caption vectors of a pipeline and prompts; None for the mean of its embeddings.
    """

    pipelines: tuple[str, ...]
    layout: Layout
    encode: Callable[[Any, Tensor], Latent]
    fps: Callable[[Any], int | Fraction]
    factors: tuple[str | None, str] = ("vae_scale_factor_temporal", "vae_scale_factor_spatial")
    given: int = 0
    most: Callable[[Any], int | None] = lambda pipe: None
    batched: bool = True
    pool: Callable[[Any, Sequence[str]], Text] | None = None

    def frames_per_step(self, pipe: Any) -> int:
        """Return the frames of a latent step after the first, which has one."""
        return 1 if self.factors[0] is None else getattr(pipe, self.factors[0])

    def rate(self, pipe: Any, call: Mapping[str, Any]) -> Fraction:
        """Return frames per second."""
        return Fraction(call.get("frame_rate") or self.fps(pipe))

    def steps_per_second(self, pipe: Any, call: Mapping[str, Any]) -> Fraction:
        """Return latent steps per second, after the first."""
        return self.rate(pipe, call) / self.frames_per_step(pipe)

    def frames(self, pipe: Any, steps: int) -> int:
        """Return the frames that decode from so many latent steps."""
        return (self.given + steps - 1) * self.frames_per_step(pipe) + 1

    def seconds(self, pipe: Any, call: Mapping[str, Any]) -> Fraction:
        """Return the length of the clip of a call with all of its arguments."""
        return self.lasts(pipe, call, self.shape(pipe, call)[1])

    def lasts(self, pipe: Any, call: Mapping[str, Any], steps: int) -> Fraction:
        """Return the seconds that decode from so many latent steps."""
        return self.frames(pipe, steps) / self.rate(pipe, call)

    def lasting(self, pipe: Any, call: Mapping[str, Any], seconds: Fraction) -> dict[str, Any]:
        """Return the argument for as many frames as decode from whole steps, up to a length."""
        frames, every = seconds * self.rate(pipe, call), self.frames_per_step(pipe)
        return {"num_frames": max(int(frames + _SLACK) - 1, 0) // every * every + 1}

    def shape(self, pipe: Any, call: Mapping[str, Any]) -> torch.Size:
        """Return (c, t, h, w) of a call with all of its arguments.

        Raises:
            UserError: The size is not given, and the pipeline has none of its own.
        """
        height, width = (
            (call.get(name) or 0) // self.side(pipe) or _own_size(pipe, name)
            for name in ("height", "width")
        )
        frames = call.get("num_frames") or _own_size(pipe, "frames")
        steps = (frames - 1) // self.frames_per_step(pipe) + 1
        return torch.Size([_channels(pipe), steps - self.given, height, width])

    def side(self, pipe: Any) -> int:
        """Return the pixels of a latent's side."""
        return int(getattr(pipe, self.factors[1]))

    def expect_possible(self, pipe: Any, call: Mapping[str, Any]) -> None:
        """Check the size and the frames of a call.

        Raises:
            UserError: The autoencoder cannot divide the size, the network has no positions for so
                many frames, or there is none beside the given image.
        """
        name, side = type(pipe).__name__, self.side(pipe)
        height, width = call.get("height") or side, call.get("width") or side
        if height % side or width % side:
            raise UserError(f"a picture of {width}×{height}: {name} takes multiples of {side}")
        frames, most = call.get("num_frames") or 1, self.most(pipe)
        if most is not None and frames > most:
            raise UserError(f"{frames} frames: {name} makes {most} at most; ask for fewer seconds")
        least = self.given * self.frames_per_step(pipe) + 1
        if frames < least:
            raise UserError(f"{frames} frames: {name} makes {least} at least; ask for more seconds")

    def arguments(self, pipe: Any, shape: torch.Size) -> dict[str, Any]:
        """Return the arguments of a call for latents (c, t, h, w)."""
        height, width = (size * self.side(pipe) for size in shape[2:])
        return {"num_frames": self.frames(pipe, shape[1]), "height": height, "width": width}


@dataclass(frozen=True)
class AudioFamily:
    """Pipelines of one kind of sound latent.

    Attributes:
        pipelines: Names of diffusers' classes.
        layout: Layout of latents.
        encode: From the pipeline and waveforms (b, channels, samples) in [−1, 1] to latents.
        length: Argument of a call that holds the seconds.
        grid: Samples per second and samples of a latent step, of a pipeline.
        space: Axes of a latent after time, of a pipeline.
        fixed: Latent steps of every call, where the length changes the decoded sound alone.
        rounding: Samples by which the length of whole steps is off, in the direction in which the
            pipeline rounds: to the samples or steps below, or to the steps above.
        batched: As of ``VideoFamily``.
        pool: As of ``VideoFamily``.
    """

    pipelines: tuple[str, ...]
    layout: Layout
    encode: Callable[[Any, Tensor], Latent]
    length: str
    grid: Callable[[Any], tuple[int, int]]
    space: Callable[[Any], tuple[int, ...]] = lambda pipe: ()
    fixed: Callable[[Any], int | None] = lambda pipe: None
    rounding: float = 0.5
    batched: bool = True
    pool: Callable[[Any, Sequence[str]], Text] | None = None

    def rate(self, pipe: Any, call: Mapping[str, Any]) -> Fraction:
        """Return samples per second."""
        return Fraction(self.grid(pipe)[0])

    def steps_per_second(self, pipe: Any, call: Mapping[str, Any]) -> Fraction:
        """Return latent steps per second."""
        return Fraction(*self.grid(pipe))

    def seconds(self, pipe: Any, call: Mapping[str, Any]) -> Fraction:
        """Return the length of the sound of a call with all of its arguments."""
        if call.get(self.length) is not None:
            return Fraction(call[self.length]).limit_denominator(10**6)
        return self.lasts(pipe, call, self.shape(pipe, call)[1])

    def lasts(self, pipe: Any, call: Mapping[str, Any], steps: int) -> Fraction:
        """Return the seconds that decode from so many latent steps."""
        return steps / self.steps_per_second(pipe, call)

    def lasting(self, pipe: Any, call: Mapping[str, Any], seconds: Fraction) -> dict[str, Any]:
        """Return the argument for a length."""
        return {self.length: float(seconds)}

    def shape(self, pipe: Any, call: Mapping[str, Any]) -> torch.Size:
        """Return (c, l) or (c, l, m) of a call with all of its arguments.

        Raises:
            UserError: The length is not given, and the pipeline has none of its own.
        """
        steps, seconds = self.fixed(pipe), call.get(self.length)
        if steps is None and seconds is not None:
            exact = Fraction(seconds) * self.steps_per_second(pipe, call)
            steps = max(1, math.ceil(exact - _SLACK))
        steps = _own_size(pipe, self.length) if steps is None else steps
        return torch.Size([_channels(pipe), steps, *self.space(pipe)])

    def arguments(self, pipe: Any, shape: torch.Size) -> dict[str, Any]:
        """Return the arguments of a call for latents (c, l) or (c, l, m)."""
        rate, samples = self.grid(pipe)
        if self.fixed(pipe) is not None:
            return {}
        return {self.length: (shape[1] * samples + self.rounding) / rate}


def _own_size(pipe: Any, name: str) -> int:
    config = network(pipe).config
    size = config.get(f"sample_{name}") or config.get("sample_size")
    if not isinstance(size, int):
        raise UserError(f"{type(pipe).__name__} has no size of its own: give {name}")
    return size


def _channels(pipe: Any) -> int:
    config = pipe.vae.config
    for name in ("z_dim", "latent_channels", "latent_dim", "decoder_input_channels"):
        if config.get(name):
            return config[name]
    raise UserError(f"{type(pipe.vae).__name__} states no number of latent channels")


_LTX: Final = VideoFamily(
    ("LTXPipeline",),
    PackedTokens(),
    encode_ltx,
    fps=lambda pipe: 25,
    factors=("vae_temporal_compression_ratio", "vae_spatial_compression_ratio"),
)

_KANDINSKY5: Final = VideoFamily(
    ("Kandinsky5T2VPipeline",),
    ChannelsLast(),
    encode_scaled,
    fps=lambda pipe: 24,
    batched=False,
)

VIDEO: Final = (
    VideoFamily(
        ("WanPipeline", "WanImageToVideoPipeline"),
        _SAME,
        encode_wan,
        fps=lambda pipe: 24 if pipe.config.expand_timesteps else 16,
    ),
    VideoFamily(
        ("HunyuanVideo15Pipeline", "HunyuanVideo15ImageToVideoPipeline"),
        _SAME,
        encode_scaled,
        fps=lambda pipe: 24,
    ),
    _LTX,
    replace(
        _LTX,
        pipelines=("LTXImageToVideoPipeline",),
        layout=LaterFrames(PackedTokens(), _SAME),
        given=1,
    ),
    VideoFamily(
        ("CogVideoXPipeline", "CogVideoXImageToVideoPipeline"),
        AxisOrder((0, 2, 1, 3, 4), own_dtype=True),
        encode_scaled,
        fps=lambda pipe: 16 if pipe.transformer.config.patch_size_t else 8,
    ),
    _KANDINSKY5,
    replace(
        _KANDINSKY5,
        pipelines=("Kandinsky5I2VPipeline",),
        layout=LaterFrames(ChannelsLast(), ChannelsLast()),
        given=1,
    ),
    VideoFamily(
        ("AnimateDiffPipeline",),
        AxisOrder((0, 1, 2, 3, 4), own_dtype=True),
        encode_images,
        fps=lambda pipe: 8,
        factors=(None, "vae_scale_factor"),
        most=lambda pipe: (
            None if pipe.free_noise_enabled else pipe.unet.config.motion_max_seq_length
        ),
    ),
    VideoFamily(
        ("TextToVideoSDPipeline",),
        FramesInBatch(),
        encode_images,
        fps=lambda pipe: 8,
        factors=(None, "vae_scale_factor"),
    ),
)
"""Families of video pipelines."""

_AUDIOLDM: Final = AudioFamily(
    ("AudioLDMPipeline", "MusicLDMPipeline"),
    AxisOrder((0, 1, 2, 3), own_dtype=True),
    encode_mel,
    length="audio_length_in_s",
    grid=mel_grid,
    space=mel_bins,
)

AUDIO: Final = (
    AudioFamily(
        ("StableAudio3Pipeline",),
        AxisOrder((0, 1, 2)),
        encode_sound,
        length="duration",
        grid=lambda pipe: (pipe.vae.config.sampling_rate, pipe.vae.downsampling_ratio),
    ),
    AudioFamily(
        ("StableAudioPipeline",),
        AxisOrder((0, 1, 2), own_dtype=True),
        encode_sound,
        length="audio_end_in_s",
        grid=lambda pipe: (pipe.vae.config.sampling_rate, pipe.vae.hop_length),
        fixed=lambda pipe: int(pipe.transformer.config.sample_size),
    ),
    _AUDIOLDM,
    replace(_AUDIOLDM, pipelines=("AudioLDM2Pipeline",), pool=clap_vectors),
    AudioFamily(
        ("AceStepPipeline",),
        AxisOrder((0, 2, 1)),
        encode_sound,
        length="audio_duration",
        grid=lambda pipe: (pipe.sample_rate, round(pipe.sample_rate / pipe.latents_per_second)),
        rounding=-0.5,
        batched=False,
    ),
    AudioFamily(
        ("LongCatAudioDiTPipeline",),
        AxisOrder((0, 2, 1)),
        encode_longcat,
        length="audio_duration_s",
        grid=lambda pipe: (pipe.sample_rate, pipe.vae_scale_factor),
        batched=False,
    ),
)
"""Families of audio pipelines."""

_REFUSED: Final = {
    "SkyReelsV2DiffusionForcing": "diffusion forcing gives each frame a noise level of its own",
    "Helios": "it generates chunk after chunk, each from the last",
    "HunyuanVideoFramepack": "it generates section after section, each from the last",
    "LTX2": "it makes sound with its video; LTX2Pipeline alone is known, to --joint-model",
    "AnyFlow": "a flow map jumps between levels and predicts no noise",
}

Family = TypeVar("Family", VideoFamily, AudioFamily)


def family_of(pipe: Any, families: Sequence[Family]) -> Family:
    """Find the family of a pipeline by its class or one that it derives from.

    Raises:
        UserError: It has no scheduler, is of a kind that has no ε of one level, or is not known.
    """
    names = _names(type(pipe))
    _expect_guidable(names)
    if not hasattr(getattr(pipe, "scheduler", None), "step"):
        raise UserError(f"{names[0]} has no scheduler: give a loaded diffusion pipeline")
    return family_of_class(type(pipe), families)


def family_of_class(kind: type, families: Sequence[Family]) -> Family:
    """Find the family of a class of pipelines.

    Raises:
        UserError: As ``family_of`` does.
    """
    names = _names(kind)
    _expect_guidable(names)
    for family in families:
        if any(name in family.pipelines for name in names):
            return family
    known = ", ".join(name for family in families for name in family.pipelines)
    wanted = type(families[0]).__name__
    raise UserError(
        f"{names[0]} is not among {known}: describe its latents in a {wanted} of some ten lines, "
        "as docs/stock.md shows, and give it as family"
    )


def _names(kind: type) -> list[str]:
    return [one.__name__ for one in kind.__mro__]


def _expect_guidable(names: Sequence[str]) -> None:
    for beginning, why in _REFUSED.items():
        if any(name.startswith(beginning) for name in names):
            raise UserError(f"{names[0]} cannot be guided: {why}")

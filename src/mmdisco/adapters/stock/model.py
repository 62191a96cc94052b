"""A loaded pipeline of diffusers as a base model, whatever its family."""

import inspect
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, Final, Generic

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedTokenizerBase
from typing_extensions import override

from mmdisco.adapters.device import ran_out
from mmdisco.adapters.stock import probe
from mmdisco.adapters.stock.families import AUDIO, VIDEO, AudioFamily, VideoFamily, family_of
from mmdisco.adapters.stock.layouts import network
from mmdisco.adapters.stock.schedulers import SchedulerLevels, TableLevels, read_scheduler
from mmdisco.adapters.vae import expect_one_length
from mmdisco.core.denoiser import BaseModel, Conditioning, Medium
from mmdisco.core.noise import NoiseLevel, NoiseSchedule
from mmdisco.discriminators.embeddings import mean_over_tokens
from mmdisco.errors import UserError
from mmdisco.io.shapes import Latent, Text
from mmdisco.media.clip import Audio, Video

_LONGEST: Final = 2048  # bytes of a prompt
_TEXTS: Final = ("negative_prompt", "negative_prompt_2", "prompt_2", "lyrics")  # one a sample


@dataclass(frozen=True)
class StockModel(BaseModel[Medium], Generic[Medium]):
    """ε̂ by running the pipeline's own ``__call__`` up to the first ``step`` of its scheduler.

    The prediction is the pipeline's own, classifier-free guidance included where ``call`` asks
    for it. A call takes all samples of one level, or of any where ``takes_levels`` says so. Prompts
    travel as their UTF-8 bytes; each is encoded once, by itself.

    Attributes:
        pipe: A ``DiffusionPipeline``; nothing that was set on it is changed.
        family: Its latents.
        call: Arguments of every ``__call__``, such as ``height`` and ``guidance_scale``.

    Raises:
        UserError: The pipeline cannot be run so; see ``family_of``.
    """

    pipe: Any
    family: VideoFamily | AudioFamily
    call: Mapping[str, Any]

    @cached_property
    def levels(self) -> SchedulerLevels:
        """Noise levels of the pipeline's scheduler."""
        return read_scheduler(self.pipe.scheduler)

    @property
    @override
    def schedule(self) -> NoiseSchedule:
        return self.levels.schedule

    @cached_property
    def prompts(self) -> probe.PromptCache:
        """Prompts that were encoded."""
        return probe.PromptCache(self.pipe)

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """Arguments of a call with the pipeline's own defaults for those not given."""
        signature = inspect.signature(type(self.pipe).__call__)
        unknown = self.call.keys() - signature.parameters.keys()
        if unknown:
            raise UserError(f"{type(self.pipe).__name__} takes no {', '.join(sorted(unknown))}")
        bound = signature.bind_partial(None, **self.call)
        bound.apply_defaults()
        return dict(bound.arguments)

    @property
    def rate(self) -> Fraction:
        """Frames or samples per second."""
        return self.family.rate(self.pipe, self.arguments)

    @property
    def steps_per_second(self) -> Fraction:
        """Latent steps per second; the first of a causal video autoencoder is one frame."""
        return self.family.steps_per_second(self.pipe, self.arguments)

    def predict_noise(self, x_t: Latent, level: NoiseLevel, cond: Conditioning) -> Latent:
        """Predict ε̂ of each sample; see ``Denoiser``.

        Raises:
            UserError: The network caches its blocks over the steps of a run.
        """
        expect_uncached(self.pipe)
        level = level.expand(len(x_t))
        x_t = x_t.detach()
        eps = torch.empty_like(x_t)
        for rows in self._calls(level):
            prompts = prompts_of(cond, rows)
            eps[rows] = self._predict(x_t[rows], level.take(rows), prompts)
        return eps

    def _name(self, part: str) -> str:
        side = "video" if isinstance(self.family, VideoFamily) else "sound"
        return f"the {part} of {type(self.pipe).__name__}, the {side}"

    def _calls(self, level: NoiseLevel) -> list[list[int]]:
        """Return the samples of each call."""
        count = len(level.t)
        if self.embedded or not self.family.batched:
            return [[row] for row in range(count)]
        if self.takes_levels:
            return [list(range(count))]
        return alike([level])

    @property
    def takes_levels(self) -> bool:
        """Whether the samples of a call may have different levels.

        A U-Net takes a timestep of each sample; so do pipelines around it that neither double
        the batch for classifier-free guidance nor scale latents by the step at hand.
        """
        guided = (self.arguments.get("guidance_scale") or 0) > 1
        return hasattr(self.pipe, "unet") and isinstance(self.levels, TableLevels) and not guided

    @property
    def embedded(self) -> bool:
        """Whether the call has embeddings in the place of prompts."""
        return any("prompt_embeds" in name for name in self.call)

    def _predict(self, x: Latent, level: NoiseLevel, prompts: Sequence[str]) -> Tensor:
        at = level if self.takes_levels else level.at(0)
        call, starting = self.call_for(x.shape[1:], prompts), self.family.layout.starting
        with self.prompts.used(), ran_out(self._name("step")), starting(self.pipe, x) as own:
            reached = probe.predict(self.pipe, self.levels, at, {**call, **own})
        output = self.family.layout.to_core(self.pipe, reached.output, x.shape[1:]).to(x)
        return self.levels.prediction.to_eps(output, x, level)

    def encode_prompts(self, prompts: Sequence[str]) -> Conditioning:
        """Pool the pipeline's own embeddings of each prompt over its tokens.

        A prompt of more tokens than the text encoder reads is cut with a warning.

        Raises:
            UserError: A prompt is longer than 2048 bytes.
        """
        self.warn_of_cuts(prompts)
        if self.family.pool is None:
            pooled = torch.cat([self._pool(prompt) for prompt in prompts])
        else:
            pooled = self.family.pool(self.pipe, prompts)
        return Conditioning(pooled, (to_bytes(prompts),))

    def warn_of_cuts(self, prompts: Sequence[str]) -> None:
        """Warn of prompts of more tokens than the text encoder reads."""
        tokenizer: Any = getattr(self.pipe, "tokenizer", None)
        if not isinstance(tokenizer, PreTrainedTokenizerBase):
            return
        longest = max(len(tokenizer.encode(prompt, verbose=False)) for prompt in prompts)
        read = self.arguments.get("max_sequence_length") or tokenizer.model_max_length
        if longest > read:
            warnings.warn(
                f"a prompt of {longest} tokens: the text encoder reads the first {read}",
                stacklevel=3,
            )

    def _pool(self, prompt: str) -> Text:
        offered = {
            "prompt": [prompt],
            "lyrics": [""],
            "device": self.pipe._execution_device,
            "batch_size": 1,
            "num_videos_per_prompt": 1,
            "num_images_per_prompt": 1,
            "num_waveforms_per_prompt": 1,
            "do_classifier_free_guidance": False,
        }
        known = inspect.signature(self.prompts.plain).parameters
        limits = {name: one for name, one in self.call.items() if name.startswith("max_")}
        taken = {name: one for name, one in {**offered, **limits}.items() if name in known}
        with torch.no_grad(), ran_out(self._name("text encoder")):
            encoded = self.prompts.encode(**taken)
        states, *others = encoded if isinstance(encoded, tuple) else (encoded,)
        return self.pool(states, others)

    @staticmethod
    def pool(states: Tensor, others: Sequence[Any]) -> Text:
        """Average embeddings over tokens.

        Args:
            states: Embeddings (b, tokens, d), or vectors (b, d).
            others: What was encoded beside them, a mask (b, tokens) perhaps.
        """
        masks = [one for one in others if getattr(one, "shape", None) == states.shape[:2]]
        return mean_over_tokens(states, masks[0] if masks else None)

    def latent_shape(self, seconds: float) -> torch.Size:
        """Return the shape of one sample's latent, without the batch.

        Raises:
            UserError: No latent decodes to just so many seconds; the message names lengths.
        """
        if not math.isfinite(seconds):
            raise UserError(f"a clip of {seconds} seconds: ask for a number of them")
        shape = self._shape(Fraction(seconds).limit_denominator(10**6))
        step, sizes = 1 / self.steps_per_second, self._sizes(shape)
        found = self.family.lasts(self.pipe, self.arguments, shape[1]) if sizes else self.seconds
        if abs(found - Fraction(seconds)) * self.rate > Fraction(1, 10):
            below = found - step if step < found > seconds else found
            raise UserError(
                f"{seconds:g} seconds: {type(self.pipe).__name__} makes clips of whole latent "
                f"steps; ask for {float(below):g} or {float(below + step):g}"
            )
        return shape

    def _shape(self, seconds: Fraction) -> torch.Size:
        """Return the shape of one sample's latent of a length, or the next one that can be made."""
        call = {**self.arguments, **self.lasting(seconds)}
        if isinstance(self.family, VideoFamily):
            self.family.expect_possible(self.pipe, call)
        return self.family.shape(self.pipe, call)

    def lasting(self, seconds: Fraction) -> dict[str, Any]:
        """Return the argument of a call that makes clips of a length, or the next one below."""
        return self.family.lasting(self.pipe, self.arguments, seconds)

    @property
    def seconds(self) -> Fraction:
        """Length of the clips of ``call``."""
        return self.family.seconds(self.pipe, self.arguments)

    @property
    def sample_shape(self) -> torch.Size:
        """Shape of one sample's latent of ``call``, without the batch."""
        return self.family.shape(self.pipe, self.arguments)

    @override
    def encode(self, media: Sequence[Medium]) -> Latent:
        lengths = [
            len(one.frames) if isinstance(one, Video) else len(one.waveform) for one in media
        ]
        video = isinstance(self.family, VideoFamily)
        expect_one_length(lengths, *(("video", "frames") if video else ("sound", "samples")))
        with torch.no_grad(), ran_out(self._name("encoder")):
            return torch.cat([self._encode(one) for one in media])

    def _encode(self, medium: Audio | Video) -> Latent:
        rate = medium.fps if isinstance(medium, Video) else medium.sample_rate
        if rate != self.rate:
            raise UserError(
                f"a clip of {rate} a second: {type(self.pipe).__name__} takes {self.rate}; "
                "convert it first"
            )
        shape = self._shape(medium.seconds)
        own = self._pixels if isinstance(medium, Video) else self._samples
        encoded = self.family.encode(self.pipe, own(medium, shape)).float().cpu()
        given = self.family.given if isinstance(self.family, VideoFamily) else 0
        return encoded[:, :, given:]

    def _pixels(self, video: Any, shape: torch.Size) -> Tensor:
        """Return (1, 3, f, h, w) in [−1, 1] of a video of the model's size."""
        sizes = self.family.arguments(self.pipe, shape)
        if video.frames.shape[1:3] != (sizes["height"], sizes["width"]):
            raise UserError(
                f"video of {video.frames.shape[2]}×{video.frames.shape[1]}: "
                f"{type(self.pipe).__name__} is set to {sizes['width']}×{sizes['height']}; fit the "
                "video or the setting"
            )
        return 2 * torch.from_numpy(video.frames).permute(3, 0, 1, 2)[None] - 1

    def _samples(self, audio: Any, shape: torch.Size) -> Tensor:
        """Return (1, channels, samples) of a sound, with silence up to whole latent steps."""
        channels = self.pipe.vae.config.get("audio_channels") or 1
        values = torch.from_numpy(audio.waveform).expand(1, channels, -1)
        whole = shape[1] / self.steps_per_second * self.rate
        return functional.pad(values, (0, round(whole) - values.shape[2]))

    @override
    def decode(self, x_0: Latent) -> list[Medium]:
        return [self._decode(one) for one in x_0.split(1)]

    def _decode(self, x_0: Latent) -> Any:
        call = {**self.call_for(x_0.shape[1:], [""]), "output_type": "np"}
        starting = self.family.layout.starting
        with self.prompts.used(), ran_out(self._name("decoder")), starting(self.pipe, x_0) as own:
            decoded = probe.decode(self.pipe, self.levels, {**call, **own})[0]
        values = np.asarray(decoded, dtype=np.float32)[0]
        if isinstance(self.family, VideoFamily):
            return Video(np.ascontiguousarray(values), self.rate)
        mono = values.mean(0) if values.ndim == 2 else values
        return Audio(np.clip(mono, -1, 1), int(self.rate))

    def call_for(self, shape: torch.Size, prompts: Sequence[str]) -> dict[str, Any]:
        """Return the arguments of a call for latents of a shape (c, t, …), with their prompts."""
        own = {**self._sizes(shape), "output_type": "latent"}
        if len(prompts) > 1:
            texts = (name for name, one in self.call.items() if isinstance(one, str))
            own |= {name: [self.call[name]] * len(prompts) for name in texts if name in _TEXTS}
        if not self.embedded:
            own["prompt"] = prompts[0] if len(prompts) == 1 else list(prompts)
        return {**self.call, **own}

    def _sizes(self, shape: torch.Size) -> dict[str, Any]:
        """Return the arguments of a call for latents of a shape; none where ``call`` has them."""
        sizes = self.family.arguments(self.pipe, shape)
        if sizes.keys() <= self.call.keys() and self.sample_shape == shape:
            return {}  # a length between two steps says more than their number
        return sizes


def stock_video(
    pipe: Any, call: Mapping[str, Any] | None = None, family: VideoFamily | None = None
) -> StockModel[Video]:
    """Return a video pipeline as a base model.

    Raises:
        UserError: The pipeline is not known; see ``family_of``.
    """
    return StockModel[Video](pipe, family or family_of(pipe, VIDEO), call or {})


def stock_audio(
    pipe: Any, call: Mapping[str, Any] | None = None, family: AudioFamily | None = None
) -> StockModel[Audio]:
    """Return an audio pipeline as a base model.

    Raises:
        UserError: The pipeline is not known; see ``family_of``.
    """
    return StockModel[Audio](pipe, family or family_of(pipe, AUDIO), call or {})


def expect_uncached(pipe: Any) -> None:
    """Check that a pipeline's network computes each call anew.

    Raises:
        UserError: It caches its blocks over the steps of a run.
    """
    if getattr(network(pipe), "is_cache_enabled", False):
        raise UserError(
            "the network keeps results from step to step, which mixes samples up: call "
            "disable_cache() on it"
        )


def alike(levels: Sequence[NoiseLevel]) -> list[list[int]]:
    """Return the rows of a batch that have the same levels, group by group."""
    numbers = [one for level in levels for one in (level.t.tolist(), level.sigma.tolist())]
    together: dict[Any, list[int]] = {}
    for row, own in enumerate(zip(*numbers, strict=True)):
        together.setdefault(own, []).append(row)
    return list(together.values())


def to_bytes(prompts: Sequence[str]) -> Tensor:
    """Return prompts as rows of their UTF-8 bytes, which ``prompts_of`` reads.

    Raises:
        UserError: One is longer than 2048 bytes.
    """
    return torch.stack([_to_bytes(prompt) for prompt in prompts])


def prompts_of(cond: Conditioning, rows: Sequence[int]) -> list[str]:
    """Return the prompts of some samples."""
    spelled = cond.embeds[0][list(rows)]
    return [bytes(one.tolist()).rstrip(b"\0").decode() for one in spelled]


def _to_bytes(prompt: str) -> Tensor:
    spelled = prompt.encode()
    if len(spelled) > _LONGEST:
        raise UserError(f"a prompt of {len(spelled)} bytes: shorten it to {_LONGEST}")
    return torch.frombuffer(bytearray(spelled.ljust(_LONGEST, b"\0")), dtype=torch.uint8)

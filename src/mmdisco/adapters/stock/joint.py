"""LTX-2, a pipeline of diffusers that makes video with sound, as a joint model.

Its one transformer predicts both sides. Its ``__call__`` steps the scheduler for the video, then
a copy of it for the sound; both latents are packed into tokens.
"""

import math
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import torch
from diffusers.pipelines.ltx2.pipeline_ltx2 import calculate_shift
from torch import Tensor
from typing_extensions import override

from mmdisco.adapters.stock import probe
from mmdisco.adapters.stock.encoders import encode_ltx, encode_ltx2_sound, ltx2_vectors
from mmdisco.adapters.stock.families import VideoFamily
from mmdisco.adapters.stock.layouts import PackedTokens
from mmdisco.adapters.stock.model import (
    StockModel,
    alike,
    expect_uncached,
    prompts_of,
    to_bytes,
)
from mmdisco.adapters.stock.schedulers import SchedulerLevels
from mmdisco.adapters.vae import expect_one_length
from mmdisco.core.av import AV
from mmdisco.core.denoiser import Conditioning, JointModel
from mmdisco.core.noise import NoiseLevel, NoiseSchedule
from mmdisco.errors import UserError
from mmdisco.io.shapes import Latent
from mmdisco.media.clip import Audio, Video

LTX2: Final = VideoFamily(
    ("LTX2Pipeline",),
    PackedTokens(),
    encode_ltx,
    fps=lambda pipe: 24,
    factors=("vae_temporal_compression_ratio", "vae_spatial_compression_ratio"),
)
"""Pipelines of video with sound that are known, by their video."""

_LEAST: Final = 32  # pixels of a side, of which a picture has multiples


@dataclass(frozen=True)
class StockJointModel(JointModel):
    """ε̂ of both sides by running the pipeline's own ``__call__`` up to its first two steps.

    The prediction is the pipeline's own with every guidance that ``call`` asks for: by the prompt,
    by its own contrast of modalities (``modality_scale``), by perturbed blocks (``stg_scale``).
    Either side may have its own noise level, or be clean. Latents are those that the pipeline
    steps, unpacked: video (b, c, t, h, w), sound (b, c, l, m).

    Attributes:
        pipe: An ``LTX2Pipeline``; nothing that was set on it is changed.
        call: Arguments of every ``__call__``, ``num_frames`` and ``height`` among them.
    """

    pipe: Any
    call: Mapping[str, Any]

    @cached_property
    def video(self) -> StockModel[Video]:
        """The video's side of the pipeline: sizes, prompts and encoding."""
        return StockModel[Video](self.pipe, LTX2, self.call)

    @property
    def levels(self) -> SchedulerLevels:
        """Noise levels of the pipeline's scheduler."""
        return self.video.levels

    @property
    @override
    def schedules(self) -> AV[NoiseSchedule]:
        return AV(self.levels.schedule, self.levels.schedule)

    @property
    def shift(self) -> float:
        """Timestep shift of the pipeline's own runs at the size of ``call``."""
        config = self.pipe.scheduler.config
        if not config.get("use_dynamic_shifting"):
            return self.levels.shift
        tokens = self.to_step(self.sample_shapes.map(lambda one: torch.empty(1, *one))).video
        names = ("base_image_seq_len", "max_image_seq_len", "base_shift", "max_shift")
        usual = zip(names, (1024, 4096, 0.95, 2.05), strict=True)
        return math.exp(
            calculate_shift(tokens.shape[1], *(config.get(name, one) for name, one in usual))
        )

    @property
    def steps_per_second(self) -> AV[float]:
        """Latent steps per second; the first of a causal autoencoder is shorter."""
        return AV(self._audio_rate, float(self.video.steps_per_second))

    @property
    def sample_shapes(self) -> AV[torch.Size]:
        """Shapes of one sample's latents of ``call``, without the batch."""
        return AV(self._audio_shape(self.video.sample_shape), self.video.sample_shape)

    @override
    def latent_shapes(self, seconds: float) -> AV[torch.Size]:
        video = self.video.latent_shape(seconds)
        return AV(self._audio_shape(video), video)

    def predict_noise(
        self, z_t: AV[Tensor], level: AV[NoiseLevel], cond: AV[Conditioning]
    ) -> AV[Tensor]:
        """Predict ε̂ of both; see ``JointDenoiser``. The prompt is that of the video.

        Raises:
            UserError: The network caches its blocks over the steps of a run.
        """
        expect_uncached(self.pipe)
        count = len(z_t.audio)
        z_t, level = z_t.map(Tensor.detach), level.map(lambda own: own.expand(count))
        eps = z_t.map(torch.zeros_like)
        groups = [[row] for row in range(count)]
        if not self.video.embedded:
            groups = alike([level.audio, level.video])
        for rows in groups:
            at = level.map(lambda own, rows=rows: own.take(rows))
            some = z_t.map(lambda x, rows=rows: x[rows])
            made = self._predict(some, at, prompts_of(cond.video, rows))
            for own, found, here in (
                (eps.audio, made.audio, at.audio),
                (eps.video, made.video, at.video),
            ):
                if not here.is_clean:
                    own[rows] = found
        return eps

    def _predict(self, z: AV[Tensor], level: AV[NoiseLevel], prompts: Sequence[str]) -> AV[Tensor]:
        with self._starting(z, prompts) as call, self._timed(level):
            one = level.map(lambda own: own.at(0))
            reached = probe.predict_both(self.pipe, self.levels, one, call)
        audio, video = (own.output for own in (reached.audio, reached.video))
        to_eps = self.levels.prediction.to_eps
        own = self.to_core(AV(audio, video), z.map(lambda x: x.shape[1:]))
        return AV(
            to_eps(own.audio.to(z.audio), z.audio, level.audio),
            to_eps(own.video.to(z.video), z.video, level.video),
        )

    def to_core(self, x: AV[Tensor], shapes: AV[torch.Size]) -> AV[Tensor]:
        """Unpack what ``step`` sees of either side.

        Args:
            x: Tokens (b, n, d) of sound and video.
            shapes: Shapes of one sample's latents.
        """
        _, steps, bins = shapes.audio
        audio = self.pipe._unpack_audio_latents(x.audio, steps, bins)
        return AV(audio, LTX2.layout.to_core(self.pipe, x.video, shapes.video))

    def to_step(self, z: AV[Tensor]) -> AV[Tensor]:
        """Invert ``to_core``."""
        audio = self.pipe._pack_audio_latents(z.audio)
        return AV(audio, LTX2.layout.to_step(self.pipe, z.video))

    @override
    def encode_prompts(self, prompts: Sequence[str]) -> AV[Conditioning]:
        self.video.warn_of_cuts(prompts)
        pooled = [self._pool(prompt) for prompt in prompts]
        audio, video = (torch.cat(side) for side in zip(*pooled, strict=True))
        # a copy each, for a store writes no tensor twice
        return AV(*(Conditioning(own, (to_bytes(prompts),)) for own in (audio, video)))

    def _pool(self, prompt: str) -> tuple[Tensor, Tensor]:
        limits = {name: one for name, one in self.call.items() if name == "max_sequence_length"}
        with torch.no_grad():
            embeds, mask, *_ = self.video.prompts.encode(
                prompt=[prompt], do_classifier_free_guidance=False, **limits
            )
        return ltx2_vectors(self.pipe, embeds, mask)

    @override
    def encode_video(self, video: Sequence[Video]) -> Latent:
        return self.video.encode(video)

    @override
    def encode_audio(self, audio: Sequence[Audio]) -> Latent:
        expect_one_length([len(one.waveform) for one in audio], "sound", "samples")
        rate = self.pipe.audio_sampling_rate
        for one in audio:
            if one.sample_rate != rate:
                raise UserError(
                    f"a clip of {one.sample_rate} a second: {type(self.pipe).__name__} encodes "
                    f"{rate}; convert it first"
                )
        steps = self._audio_steps(float(audio[0].seconds))
        waveforms = torch.from_numpy(np.stack([one.waveform for one in audio]))[:, None]
        with torch.no_grad():
            return encode_ltx2_sound(self.pipe, waveforms, steps).float().cpu()

    @override
    def decode_video(self, x_0: Latent) -> list[Video]:
        _, channels, _, bins = 1, *self._audio_shape(x_0.shape[1:])
        made: list[Video] = []
        for one in x_0.split(1):
            with self._starting(AV(torch.zeros(1, channels, 1, bins), one), [""]) as call:
                out = probe.decode(self.pipe, self.levels, {**call, "output_type": "np"})
            frames = np.asarray(out[0], dtype=np.float32)[0]
            made.append(Video(np.ascontiguousarray(frames), self.video.rate))
        return made

    @override
    def decode_audio(self, x_0: Latent) -> list[Audio]:
        side = _LEAST // self.video.family.arguments(self.pipe, torch.Size([1, 1, 1, 1]))["height"]
        least = torch.zeros(1, self.video.sample_shape[0], 1, side, side)
        made: list[Audio] = []
        for one in x_0.split(1):
            with self._starting(AV(one, least), [""]) as call:
                out = probe.decode(self.pipe, self.levels, {**call, "output_type": "np"})
            waveform = out[1].float().cpu().numpy()[0].mean(0)
            rate = self.pipe.vocoder.config["output_sampling_rate"]
            made.append(Audio(np.clip(waveform, -1, 1), rate))
        return made

    def _audio_shape(self, video: torch.Size) -> torch.Size:
        """Return the sound's (c, l, m) beside a video (c, t, h, w)."""
        config, pipe = self.pipe.audio_vae.config, self.pipe
        bins = config["mel_bins"] // pipe.audio_vae_mel_compression_ratio
        seconds = LTX2.frames(pipe, video[1]) / float(self.video.rate)
        return torch.Size([config["latent_channels"], self._audio_steps(seconds), bins])

    def _audio_steps(self, seconds: float) -> int:
        return round(seconds * self._audio_rate)

    @property
    def _audio_rate(self) -> float:
        pipe = self.pipe
        a_second = pipe.audio_sampling_rate / pipe.audio_hop_length
        return a_second / float(pipe.audio_vae_temporal_compression_ratio)

    @contextmanager
    def _starting(self, z: AV[Tensor], prompts: Sequence[str]) -> Generator[dict[str, Any]]:
        """Yield the arguments of a call that starts from a pair of latents."""
        call = self.video.call_for(z.video.shape[1:], prompts)
        call |= {"latents": z.video, "audio_latents": z.audio, "noise_scale": 0.0}
        call["generator"] = torch.Generator().manual_seed(0)  # draws noise of weight 0

        def unchanged(latents: Tensor, *_: Any) -> Tensor:
            return latents

        # latents that are stepped are normalised already
        with (
            probe.replaced(self.pipe, "_normalize_latents", unchanged),
            probe.replaced(self.pipe, "_normalize_audio_latents", unchanged),
            self.video.prompts.used(),
        ):
            yield call

    @contextmanager
    def _timed(self, level: AV[NoiseLevel]) -> Generator[None]:
        """Tell the transformer the sound's own time, where it differs from the video's."""
        audio, video = (self.levels.timestep(own.at(0)) for own in (level.audio, level.video))
        if torch.equal(audio, video):
            yield
            return
        transformer: Any = self.pipe.transformer
        plain = transformer.forward

        def forward(*given: Any, timestep: Tensor, **named: Any) -> Any:
            own = torch.full_like(timestep, float(audio))
            both = {"audio_timestep": own, "audio_sigma": own}
            return plain(*given, timestep=timestep, **{**named, **both})

        with probe.replaced(transformer, "forward", forward):
            yield


def stock_joint(pipe: Any, call: Mapping[str, Any] | None = None) -> StockJointModel:
    """Return a pipeline of video with sound as a joint model.

    Raises:
        UserError: It is no ``LTX2Pipeline``.
    """
    names = [kind.__name__ for kind in type(pipe).__mro__]
    if not any(name in names for name in LTX2.pipelines):
        raise UserError(f"{names[0]} is no joint model that is known: give an LTX2Pipeline")
    return StockJointModel(pipe, call or {})

"""MM-Diffusion as a joint model: clips of 1.6 s, without prompts."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from mmdisco.adapters.mmdiffusion.config import FPS, SAMPLE_RATE, JointConfig
from mmdisco.adapters.mmdiffusion.network import JointNetwork
from mmdisco.adapters.mmdiffusion.shifts import SeededShifts, WindowShifts
from mmdisco.adapters.mmdiffusion.super_resolution import Frames, NativeFrames, to_videos
from mmdisco.core.av import AV
from mmdisco.core.denoiser import Conditioning, JointModel
from mmdisco.core.noise import NoiseLevel, NoiseSchedule, linear
from mmdisco.core.replacement import Replacement
from mmdisco.errors import UserError
from mmdisco.io.shapes import Latent
from mmdisco.media.clip import Audio, Video


@dataclass(frozen=True)
class MMDiffusion(JointModel):
    """Sound and video by one network (Ruan et al. 2023, arXiv:2212.09478).

    Latents are the clips themselves: waveforms (b, 1, l) and frames (b, 3, f, h, w), in [−1, 1].

    Attributes:
        network: The network with its weights.
        shifts: Shifts of the windows of cross-attention; by default the same for every sample, so
            that none depends on its batch mates.
        frames: Postprocessing of decoded videos.
    """

    network: JointNetwork
    shifts: WindowShifts = field(default_factory=lambda: SeededShifts((0,)))
    frames: Frames = field(default_factory=NativeFrames)

    def seeded(self, seeds: Sequence[int]) -> "MMDiffusion":
        """Return the model with windows drawn from the seeds of a run, one per sample."""
        return replace(self, shifts=SeededShifts(tuple(seeds)))

    @property
    @override
    def schedules(self) -> AV[NoiseSchedule]:
        return AV(linear(), linear())

    def predict_noise(
        self, z_t: AV[Tensor], level: AV[NoiseLevel], cond: AV[Conditioning]
    ) -> AV[Tensor]:
        """Predict ε of both; a given, clean side is noised to the timestep of the other.

        Raises:
            UserError: The levels differ.
        """
        noised, levels = Replacement(self.schedules).noised(z_t, level)
        t = levels.audio.t
        if levels.audio.is_clean or not torch.equal(t, levels.video.t):
            raise UserError(
                "MM-Diffusion knows one noise level for both modalities: take a path on which both "
                "are at the same timestep"
            )
        weight = self.network.audio_head.norm.weight
        own = noised.map(lambda x: x.to(weight))
        eps = self.network(own, t.to(weight.device), self.shifts)
        return AV(eps.audio.to(z_t.audio), eps.video.to(z_t.video))

    def encode_prompts(self, prompts: Sequence[str]) -> AV[Conditioning]:
        """Return empty conditionings.

        Raises:
            UserError: A prompt is not empty.
        """
        asking = [prompt for prompt in prompts if prompt.strip()]
        if asking:
            raise UserError(
                f"MM-Diffusion takes no prompts, not even {asking[0]!r}: leave them out"
            )
        nothing = Conditioning.none(len(prompts))
        return AV(nothing, nothing)

    def latent_shapes(self, seconds: float) -> AV[torch.Size]:
        """Return the shapes of the clips that the network was trained on.

        Raises:
            UserError: The length is another one.
        """
        config = self.config
        length = config.frames / FPS
        if abs(seconds - length) > 1e-6:
            raise UserError(f"{seconds} seconds: MM-Diffusion makes clips of {length} only")
        video = torch.Size([3, config.frames, config.side, config.side])
        return AV(torch.Size([1, config.samples]), video)

    def encode_audio(self, audio: Sequence[Audio]) -> Latent:
        """Stack the waveforms.

        Raises:
            UserError: A sound has another rate or length.
        """
        for one in audio:
            if one.sample_rate != SAMPLE_RATE or len(one.waveform) != self.config.samples:
                raise UserError(
                    f"sound of {len(one.waveform)} samples at {one.sample_rate} Hz: MM-Diffusion "
                    f"takes {self.config.samples} at {SAMPLE_RATE}"
                )
        return torch.from_numpy(np.stack([one.waveform for one in audio]))[:, None]

    def encode_video(self, video: Sequence[Video]) -> Latent:
        """Stack the frames, from [0, 1] to [−1, 1].

        Raises:
            UserError: A video has another rate, size or length.
        """
        config = self.config
        wanted = (config.frames, config.side, config.side, 3)
        for one in video:
            if one.fps != FPS or one.frames.shape != wanted:
                frames, height, width, _ = one.frames.shape
                raise UserError(
                    f"video of {frames} frames of {width}×{height} at {one.fps} fps: MM-Diffusion "
                    f"takes {config.frames} of {config.side}×{config.side} at {FPS}"
                )
        frames = torch.from_numpy(np.stack([one.frames for one in video]))
        return frames.movedim(-1, 1) * 2 - 1

    @override
    def decode_audio(self, x_0: Latent) -> list[Audio]:
        bounded = x_0[:, 0].clamp(-1, 1).to("cpu", torch.float32).numpy()
        return [Audio(np.ascontiguousarray(one), SAMPLE_RATE) for one in bounded]

    @override
    def decode_video(self, x_0: Latent) -> list[Video]:
        return self.frames.shown(to_videos(x_0, Fraction(FPS)))

    @property
    def config(self) -> JointConfig:
        """Shape of the network and of its clips."""
        return self.network.config

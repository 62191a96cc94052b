"""MM-Diffusion as a base model that is joint already: clips of 1.6 s, without prompts."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from mmdisco.adapters.mmdiffusion.config import FPS, SAMPLE_RATE, JointConfig
from mmdisco.adapters.mmdiffusion.network import JointNetwork
from mmdisco.adapters.mmdiffusion.shifts import SeededShifts, WindowShifts
from mmdisco.adapters.mmdiffusion.super_resolution import AsTheyAre, Frames, to_videos
from mmdisco.core.av import AV
from mmdisco.core.denoiser import Conditioning, JointModel
from mmdisco.core.noise import NoiseLevel, NoiseSchedule, linear
from mmdisco.core.replacement import Replacement
from mmdisco.errors import UserError
from mmdisco.media.clip import Audio, Video
from mmdisco.shapes import Latent


@dataclass(frozen=True)
class MMDiffusion(JointModel):
    """Sound and video by one network (Ruan et al. 2023, arXiv:2212.09478).

    Latents are the clips themselves: waveforms (b, 1, l) and frames (b, 3, f, h, w), in [−1, 1].

    Attributes:
        network: With its weights.
        shifts: Where the windows of cross-attention lie. The same for every sample unless it says
            otherwise, so that no sample depends on its batch mates.
        frames: What becomes of decoded videos.
    """

    network: JointNetwork
    shifts: WindowShifts = field(default_factory=lambda: SeededShifts((0,)))
    frames: Frames = field(default_factory=AsTheyAre)

    def seeded(self, seeds: Sequence[int]) -> "MMDiffusion":
        """The same network with windows that a run draws from its own seeds, one a sample."""
        return replace(self, shifts=SeededShifts(tuple(seeds)))

    @property
    def schedules(self) -> AV[NoiseSchedule]:
        """β linear from 10⁻⁴ to 0.02, for both."""
        return AV(linear(), linear())

    def predict_noise(
        self, z_t: AV[Tensor], level: AV[NoiseLevel], cond: AV[Conditioning]
    ) -> AV[Tensor]:
        """ε of both, each seen with the other.

        A given, clean side is noised to the timestep of the other: see ``sampling.alongside``.

        Raises:
            UserError: The levels differ.
        """
        noised = Replacement(self.schedules).noised(z_t, level)
        t = noised.level.audio.t
        if noised.level.audio.is_clean or not torch.equal(t, noised.level.video.t):
            raise UserError(
                "MM-Diffusion knows one noise level for both modalities: take a path on which both "
                "are at the same timestep"
            )
        weight = self.network.audio_head.norm.weight
        own = noised.z_t.map(lambda x: x.to(weight))
        eps = self.network(own, t.to(weight.device), self.shifts)
        return AV(eps.audio.to(z_t.audio), eps.video.to(z_t.video))

    def encode_prompts(self, prompts: Sequence[str]) -> AV[Conditioning]:
        """Nothing, for as many clips.

        Raises:
            UserError: A prompt asks for something.
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
            UserError: Clips of another length are asked for.
        """
        config = self.config
        length = config.frames / FPS
        if abs(seconds - length) > 1e-6:
            raise UserError(f"{seconds} seconds: MM-Diffusion makes clips of {length} only")
        video = torch.Size([3, config.frames, config.side, config.side])
        return AV(torch.Size([1, config.samples]), video)

    def encode_audio(self, audio: Sequence[Audio]) -> Latent:
        """The waveforms.

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
        """The frames, from [0, 1] to [−1, 1].

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

    def decode_audio(self, x_0: Latent) -> list[Audio]:
        """The waveforms, cut off at ±1."""
        bounded = x_0[:, 0].clamp(-1, 1).to("cpu", torch.float32).numpy()
        return [Audio(np.ascontiguousarray(one), SAMPLE_RATE) for one in bounded]

    def decode_video(self, x_0: Latent) -> list[Video]:
        """The frames, cut off at ±1 and taken to [0, 1], then as ``frames`` has them."""
        return self.frames.shown(to_videos(x_0, Fraction(FPS)))

    @property
    def config(self) -> JointConfig:
        """The shape of the network and of its clips."""
        return self.network.config

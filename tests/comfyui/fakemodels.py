"""Models of ComfyUI with tiny networks, their autoencoders, and a discriminator of their pair."""

from itertools import chain

import torch
from torch import nn

from mmdisco.core.discriminator import Discriminator

TEXT = 6


class CONST:
    """Flow matching: x_t = (1 − σ) x_0 + σ ε."""

    sigma_max = torch.tensor(1.0)
    noise_scale = 1.0

    def alpha(self, sigma):
        return 1 - sigma

    def noise_scaling(self, sigma, noise, latent, max_denoise):
        return sigma * noise + (1 - sigma) * latent

    def inverse_noise_scaling(self, sigma, latent):
        return latent / (1 - sigma)

    def percent_to_sigma(self, percent):
        return 1.0 - percent


class EPS:
    """Every other model: x_t = x_0 + σ ε."""

    sigma_max = torch.tensor(20.0)

    def alpha(self, sigma):
        return torch.ones_like(sigma)

    def noise_scaling(self, sigma, noise, latent, max_denoise):
        return noise * (torch.sqrt(1 + sigma**2) if max_denoise else sigma) + latent

    def inverse_noise_scaling(self, sigma, latent):
        return latent

    def percent_to_sigma(self, percent):
        return 999999999.9 if percent <= 0 else 20.0 * (1 - percent)


class Model:
    """A network with its sampling and its latent format; x̂_0 depends on the level alone."""

    def __init__(self, sampling, scale, shift, fails_at=None):
        self.model_sampling, self.scale, self.shift = sampling, scale, shift
        self.fails_at, self.calls, self.loaded = fails_at, 0, False

    def process_latent_in(self, latent):
        return (latent + -self.shift) * (1 / self.scale)

    def process_latent_out(self, latent):
        return latent * self.scale + self.shift

    def denoised(self, x, sigma, cond):
        assert self.loaded
        self.calls += 1
        if self.calls == self.fails_at:
            raise RuntimeError("the model failed")
        sigma = sigma.reshape(-1, *[1] * (x.ndim - 1))
        alpha = self.model_sampling.alpha(sigma)
        z = x / torch.hypot(alpha, sigma)
        states, _ = cond[0]
        return torch.tanh(z * 0.8 + z.roll(1, 2) * 0.3 + states.mean()) * alpha / (alpha + sigma)

    def scale_latent_inpaint(self, x, sigma, noise, latent_image, **_):
        sigma = sigma.reshape(-1, *[1] * (noise.ndim - 1))
        return self.model_sampling.noise_scaling(sigma, noise, latent_image, max_denoise=False)


class ModelPatcher:
    """A MODEL."""

    load_device = torch.device("cpu")

    def __init__(self, model):
        self.model, self.model_options, self.additional = model, {}, {}

    def clone(self):
        return ModelPatcher(self.model)

    def set_additional_models(self, key, models):
        self.additional[key] = models

    def get_model_object(self, name):
        return getattr(self.model, name)

    def load(self):
        for patcher in (self, *chain(*self.additional.values())):
            patcher.model.loaded = True

    def cleanup(self):
        self.model.loaded = False


class Agreement(Discriminator):
    """Agreement of the means over time and space, smooth, of both levels and captions."""

    def __init__(self, audio=5, video=3):
        super().__init__()
        self.seen = []
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.audio, self.video = nn.Linear(audio + TEXT, 8), nn.Linear(video + TEXT, 8)

    def forward(self, z_t, level, text):
        self.seen.append(level.map(lambda own: float(own.sigma[0])))
        heard = self.features(self.audio, z_t.audio, level.audio, text.audio)
        shown = self.features(self.video, z_t.video, level.video, text.video)
        return 20 * (heard * shown).sum(1)

    @staticmethod
    def features(read, z_t, level, text):
        mean = level.to_vp(z_t).flatten(2).mean(2)
        return torch.tanh(read(torch.cat([mean, text], 1)))


class VideoVAE:
    """Autoencoder of videos of 4 n + 1 frames."""

    latent_channels = 3
    downscale_ratio = (lambda frames: (frames + 3) // 4, 8, 8)
    upscale_ratio = (lambda steps: 4 * steps - 3, 8, 8)

    def encode(self, images):
        frames = images[: self.upscale_ratio[0](self.downscale_ratio[0](len(images)))]
        video = frames[::4].movedim(-1, 0)[None]
        return torch.nn.functional.avg_pool3d(video, (1, 8, 8))

    def decode(self, latent):
        frames = latent.repeat_interleave(4, 2)[:, :, 3:]
        return frames.repeat_interleave(8, 3).repeat_interleave(8, 4).movedim(1, -1)


class AudioVAE:
    """Autoencoder of stereo sound, 40 steps a second."""

    audio_sample_rate = 16000

    def encode(self, waveform):
        steps = waveform.movedim(-1, 1)[:, :, ::400]
        return torch.cat([steps, steps, steps], 1)[:, :5]

    def decode(self, latent):
        return latent[:, :2].repeat_interleave(400, 2).movedim(1, -1)

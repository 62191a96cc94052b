"""Pairs of stock pipelines at tiny size, and a discriminator of any pair."""

import torch
from stockpipelines import build

from mmdisco.adapters.stock.model import stock_audio, stock_video
from mmdisco.core.av import AV
from mmdisco.core.discriminator import Discriminator

STEPS = 4


class Agreement(Discriminator):
    """Agreement of the means over time and space, smooth, of both levels and captions."""

    def __init__(self, models):
        super().__init__()
        self.read = torch.nn.ModuleDict()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            for side, model in (("audio", models.audio), ("video", models.video)):
                text = model.encode_prompts(["a"]).pooled.shape[1]
                self.read[side] = torch.nn.Linear(model.sample_shape[0] + text, 8)

    def forward(self, z_t, level, text):
        audio = self._features("audio", z_t.audio, level.audio, text.audio)
        video = self._features("video", z_t.video, level.video, text.video)
        return 20 * (audio * video).sum(1)

    def _features(self, side, z_t, level, text):
        mean = level.to_vp(z_t).flatten(2).mean(2)
        # where nothing is left of the clean latent there is nothing to agree on
        signal = (1 - level.angle).to(mean)[:, None]
        return signal * torch.tanh(self.read[side](torch.cat([mean, text], 1)))


def pair(video, audio, steps=STEPS):
    """Both as models of one length, with the calls of the table of tiny pipelines."""
    pipes = AV(build(audio), build(video))
    for _, call in (pipes.audio, pipes.video):
        del call["prompt"]
        call["num_inference_steps"] = steps
    shown = stock_video(*pipes.video)
    heard = stock_audio(*pipes.audio)
    call = {**heard.call, **heard.lasting(shown.seconds)}
    return AV(stock_audio(heard.pipe, call), shown)


def call_of(models, seed=0):
    """The arguments with which a joint pipeline calls either as ``run_alone`` does."""
    return {
        "output_type": "latent",
        "video_kwargs": {**models.video.call, "generator": torch.Generator().manual_seed(seed)},
        "audio_kwargs": {**models.audio.call, "generator": torch.Generator().manual_seed(seed)},
    }


def latents_of(output):
    return output.audio, output.frames

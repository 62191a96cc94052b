"""Auffusion equals the released code: spectrogram, vocoder, adapter, a whole run.

Each test runs over the committed files, whose denoiser is drawn again from its seed, and over the
full folder named by MMDISCO_GOLDEN, which has the weights themselves. The noise of the padding is
the recorded one here; the model's own is another, and always the same.
"""

import gzip
import json
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from closeness import assert_close
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from mmdisco.adapters.auffusion import codec as spectrogram
from mmdisco.adapters.auffusion.codec import SilencePadding
from mmdisco.adapters.auffusion.model import Auffusion, AuffusionParts
from mmdisco.adapters.auffusion.prompts import ConditionAdapter
from mmdisco.adapters.auffusion.weights import new_vocoder, translate
from mmdisco.core.denoiser import Conditioning

HERE = Path(__file__).parent / "data" / "auffusion"
FULL = os.environ.get("MMDISCO_GOLDEN")
RUN = "traj_auffusion_videocrafter"


class Recording:
    """One of the two sets of files."""

    def __init__(self, folder, stored):
        self.folder = folder
        self.stored = stored

    def tensors(self, name):
        return load_file(self.folder / f"{name}.safetensors")

    def record(self, name):
        return json.loads((self.folder / f"{name}.json").read_text())

    @property
    def run(self):
        """Shapes, schedules and scales of the run."""
        return self.record(RUN)["params"]

    def denoiser(self):
        if self.stored:
            return self.tensors(f"{RUN}_weights_audio_unet")
        drawn = json.loads(gzip.decompress((HERE / "parameters.json.gz").read_bytes()))
        generator = torch.Generator().manual_seed(drawn["seed"])
        weights = {}
        for key, shape in drawn["shapes"].items():
            value = torch.randn(shape, generator=generator)
            if len(shape) > 1:
                weights[key] = value * (0.9 / math.sqrt(math.prod(shape[1:])))
            else:
                weights[key] = 0.1 * value + (1 if key.endswith("weight") else 0)
        return weights


@pytest.fixture(scope="module", params=["committed", "full"])
def recording(request):
    if request.param == "committed":
        return Recording(HERE, stored=False)
    if not FULL:
        pytest.skip("MMDISCO_GOLDEN names no folder of reference vectors")
    return Recording(Path(FULL), stored=True)


@pytest.fixture(scope="module")
def sound(recording):
    return recording.tensors("auffusion_audio")


@pytest.fixture(scope="module")
def parts(recording):
    return recorded_parts(recording)


def recorded_parts(recording):
    decoder = recording.tensors(f"{RUN}_weights_audio_dec")
    text = CLIPTextConfig(
        hidden_size=4, num_attention_heads=2, num_hidden_layers=1, intermediate_size=8
    )
    run = recording.run
    vocoder = new_vocoder(run["vocoder"], Path("config.json"))
    vocoder.load_state_dict(translate({"generator": own(decoder, "vocoder.")}, Path("vocoder.pt")))
    vae, unet = AutoencoderKL(**run["a_vae"]), UNet2DConditionModel(**run["a_unet"])
    vae.load_state_dict(own(decoder, "vae."))
    unet.load_state_dict(recording.denoiser())
    return AuffusionParts(
        unet=unet,
        vae=vae,
        vocoder=vocoder,
        text_encoder=CLIPTextModel(text),
        adapter=ConditionAdapter(4, run["embs"]["audio"][1]),
        tokenizer=CLIPTokenizer(vocab={"<|endoftext|>": 0}, merges=[]),
        scheduler=PNDMScheduler(
            **{key: one for key, one in run["a_sched"].items() if key.startswith("beta")}
        ),
    )


def own(weights, prefix):
    return {key[len(prefix) :]: one for key, one in weights.items() if key.startswith(prefix)}


def close(one, other, rtol=1e-4):
    assert_close(one, other, rtol)


def test_spectrogram_equals_the_release(sound):
    levelled = spectrogram.level(sound["auffusion.wav_int16"].float()[None] / 32768)
    close(levelled, sound["auffusion.audio_normalised"])
    close(spectrogram.log_mel(levelled), sound["auffusion.log_mel"])


def test_picture_equals_the_release(sound):
    picture = spectrogram.to_picture(sound["auffusion.log_mel"])
    close(picture[0, :, :, :50] / 2 + 0.5, sound["auffusion.spec_01"].expand(3, -1, -1))
    assert (picture[..., 50:] == sound["auffusion.vae_input_pad_value"]).all()


def test_picture_becomes_a_spectrogram_as_in_the_release(sound):
    picture = 2 * sound["auffusion.spec_01"][None] - 1
    close(spectrogram.from_picture(picture)[0], sound["auffusion.denormalised"])


def test_silence_is_the_quietest_value(sound):
    silence = spectrogram.log_mel(torch.zeros(1, 3200))
    close(silence.unique(), sound["auffusion.silence_log_mel_unique"])


def test_vocoder_equals_the_release(recording, sound):
    config = recording.record("auffusion_audio")["vocoder_config"]
    vocoder = new_vocoder(config, Path("config.json"))
    weights = own(sound, "vocoder.weights_weight_norm.")
    vocoder.load_state_dict(translate({"generator": weights}, Path("vocoder.pt")))
    with torch.no_grad():
        waveform = vocoder(sound["vocoder.mel"].transpose(1, 2))
    close(waveform, sound["vocoder.wav"][:, 0])


def test_adapter_equals_the_release(recording, sound):
    config = recording.record("auffusion_audio")["adapter_config"]
    adapter = ConditionAdapter(config["condition_dim"], config["cross_attention_dim"])
    adapter.load_state_dict(own(sound, "adapter.weights."))
    close(adapter(sound["adapter.x"]), sound["adapter.y"])


def test_run_repeats_that_of_the_release(recording, parts):
    data, run = recording.tensors(RUN), recording.run
    scale, steps = run["a_scale"], run["steps"]
    cond, null = (
        Conditioning(tokens.mean(1), (tokens,))
        for tokens in (data["emb.audio"], data["emb.audio_neg"])
    )
    x = canonical(data["init.audio"])
    silence = SilencePadding(*[canonical(data["zero_emb"])[0]] * 2)
    for k, t in enumerate(data["sched.timesteps"]):
        predicted = []
        for kind, tokens in (("uncond", null), ("cond", cond)):
            noise = canonical(data[f"traj.audio.pad_noise_{kind}"][k])[0]
            before = torch.zeros(4, 128 - noise.shape[1], 32)
            padding = replace(silence, noise=torch.cat([before, noise], dim=1))
            model = Auffusion(parts, padding=padding)
            level = model.schedule.level(t[None].double())
            predicted.append(model.predict_noise(x, level, tokens))
            expected = canonical(data[f"traj.audio.base_{kind}"][k])
            close(predicted[-1], expected, 1e-3)
        pulls = [data[f"traj.disc.pred_audio_{kind}"][k] for kind in ("uncond", "cond")]
        pull = canonical(guided(scale, *pulls))
        eps = guided(scale, *predicted) + run["joint_scale_audio"] * pull
        drawn = canonical(data["traj.audio.noise"][k])
        x = ddpm(x, eps, drawn, int(t), 1000 // steps, data["sched.audio.alphas_cumprod"])
        close(x, canonical(data["traj.audio.latent_out"][k]), 1e-3)
    close(x, canonical(data["final.audio_latent"]), 1e-3)


def test_decoded_sound_equals_that_of_the_release(recording, parts):
    data = recording.tensors(RUN)
    latent = canonical(data["final.audio_latent"])
    (audio,) = Auffusion(parts).decode(latent)
    expected = data["output.audio_int16"][0].numpy()
    # whole columns here; the release cuts the second that was asked for, and to whole numbers
    assert len(audio.waveform) == latent.shape[2] * 1280
    made = np.trunc(audio.waveform[: len(expected)] * 32768)
    assert np.abs(made - expected).max() <= 1


def canonical(latent):
    """The release has frequency before time."""
    return latent.transpose(2, 3)


def guided(scale, without, with_caption):
    return without + scale * (with_caption - without)


def ddpm(x, eps, noise, t, stride, alphas_cumprod):
    """One step of Ho et al. 2020, Eq. 6 and 7, over a stride of timesteps."""
    bar = alphas_cumprod.double()
    previous = t - stride
    now, then = bar[t], bar[previous] if previous >= 0 else torch.tensor(1.0).double()
    x_0 = (x - (1 - now).sqrt() * eps) / now.sqrt()
    mean = then.sqrt() * (1 - now / then) / (1 - now) * x_0
    mean = mean + (now / then).sqrt() * (1 - then) / (1 - now) * x
    spread = ((1 - then) / (1 - now) * (1 - now / then)).sqrt()
    return (mean + spread * noise).float()

"""Pipelines as base models equal the released code: spectrograms, predictions, runs, clips.

The committed part covers the spectrogram, AnimateDiff and both decoders; the rest needs the full
folder, named by MMDISCO_GOLDEN.
"""

import json
import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from closeness import assert_close
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel, UNetMotionModel
from safetensors.torch import load_file
from transformers import (
    ClapTextConfig,
    ClapTextModelWithProjection,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    RobertaTokenizer,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
)

from mmdisco.adapters.audioldm_mel import MelFrontEnd
from mmdisco.adapters.stock.pretrained import assemble_pipeline, unguided_audio, unguided_video
from mmdisco.core.denoiser import Conditioning

HERE = Path(__file__).parent / "data" / "adapters"
FULL = os.environ.get("MMDISCO_GOLDEN")
RUNS = ("", "_joint3", "_nojoint")

full = pytest.mark.skipif(not FULL, reason="MMDISCO_GOLDEN names no folder of reference vectors")


def close(one, other, rtol=1e-4):
    assert_close(one, other, rtol)


def filled(network, weights, prefix=""):
    """The network with weights of which an autoencoder's encoder may be left out."""
    own = {key[len(prefix) :]: one for key, one in weights.items() if key.startswith(prefix)}
    report = network.load_state_dict(own, strict=False)
    assert not report.unexpected_keys
    assert all(key.startswith(("encoder.", "quant_conv.")) for key in report.missing_keys)
    return network


def animatediff(params, unet, vae):
    width = params["v_unet"]["cross_attention_dim"]
    text = CLIPTextModel(
        CLIPTextConfig(
            hidden_size=width, num_attention_heads=2, num_hidden_layers=1, intermediate_size=8
        )
    )
    parts = {
        "unet": filled(UNetMotionModel(**params["v_unet"]), unet),
        "vae": filled(AutoencoderKL(**params["v_vae"]), vae),
        "text_encoder": text,
        "tokenizer": CLIPTokenizer(vocab={"<|endoftext|>": 0}, merges=[], model_max_length=5),
        "scheduler": DDIMScheduler(**params["v_sched"]),
    }
    pipe = assemble_pipeline("AnimateDiffPipeline", parts)
    return unguided_video(pipe, (params["height"], params["width"]), Fraction(8))


def audioldm(params, unet, weights):
    own_unet = UNet2DConditionModel(**params["a_unet"])
    config = ClapTextConfig(
        hidden_size=8,
        num_attention_heads=2,
        num_hidden_layers=1,
        intermediate_size=8,
        projection_dim=params["a_unet"]["projection_class_embeddings_input_dim"],
    )
    tokens = {"<s>": 0, "<pad>": 1}
    vocoder = SpeechT5HifiGan(SpeechT5HifiGanConfig(**params["vocoder"]))
    parts = {
        "unet": own_unet if unet is None else filled(own_unet, unet),
        "vae": filled(AutoencoderKL(**params["a_vae"]), weights, "vae."),
        "vocoder": filled(vocoder, weights, "vocoder."),
        "text_encoder": ClapTextModelWithProjection(config),
        "tokenizer": RobertaTokenizer(vocab=tokens, merges=[], model_max_length=5),
        "scheduler": DDIMScheduler(**params["a_sched"]),
    }
    return unguided_audio(assemble_pipeline("AudioLDMPipeline", parts))


def predicted(model, x_t, level, embeds):
    """The prediction of each sample for embeddings in the place of its prompt."""
    nothing = Conditioning(torch.zeros(1, 0), (torch.zeros(1, 1, dtype=torch.uint8),))
    each = [replace(model, call={**model.call, "prompt_embeds": one[None]}) for one in embeds]
    return torch.cat(
        [one.predict_noise(x_t[i : i + 1], level.at(i), nothing) for i, one in enumerate(each)]
    )


def predictions(model, run, side, rows):
    """Both predictions of every row beside the recorded ones."""
    for row in range(rows):
        x_t = run[f"traj.{side}.latent_in"][row]
        level = model.schedule.level(run[f"traj.t.{side}"][row].double())
        for kind, text in (("cond", side), ("uncond", f"{side}_neg")):
            eps = predicted(model, x_t, level, run[f"emb.{text}"])
            yield eps, run[f"traj.{side}.base_{kind}"][row]


def sampled(model, run, side, scale):
    """The whole run from its first latent: DDPM steps (Ho et al. 2020, Eq. 7), recorded noise."""
    cond, null = (run[f"emb.{text}"] for text in (side, f"{side}_neg"))
    x_t = run[f"traj.{side}.latent_in"][0]
    times = [int(t[0]) for t in run[f"traj.t.{side}"]]
    bar = model.schedule.alphas.square()
    for row, t in enumerate(times):
        level = model.schedule.level(torch.full((len(x_t),), t, dtype=torch.float64))
        with_text, without = (predicted(model, x_t, level, one) for one in (cond, null))
        eps = without + scale * (with_text - without)
        before = float(bar[times[row + 1]]) if row + 1 < len(times) else 1.0
        now = float(bar[t])
        ratio, rest = now / before, 1 - now
        x_0 = level.predict_x0(x_t, eps)
        mean = before**0.5 * (1 - ratio) / rest * x_0 + ratio**0.5 * (1 - before) / rest * x_t
        spread = max((1 - before) / rest * (1 - ratio), 0.0) ** 0.5
        x_t = mean + spread * run[f"traj.{side}.noise"][row]
    return x_t


def frames(model, z_0):
    return torch.from_numpy(np.stack([one.frames for one in model.decode(z_0)]))


def int16(sounds):
    return torch.from_numpy(np.stack([(one.waveform * 32768).astype(np.int16) for one in sounds]))


@pytest.fixture(scope="module")
def run():
    return load_file(HERE / "run.safetensors")


@pytest.fixture(scope="module")
def params():
    return json.loads((HERE / "run.json").read_text())["params"]


@pytest.fixture(scope="module")
def video(params):
    weights = (load_file(HERE / f"{name}.safetensors") for name in ("video_unet", "video_vae"))
    return animatediff(params, *weights)


def test_the_spectrogram_is_that_of_the_training():
    recorded = load_file(HERE / "mel.safetensors")
    close(MelFrontEnd().log_mel(recorded["wav"][None])[:, 0], recorded["audioldm.log_mel"])


def test_schedules_are_those_of_the_run(run, video):
    close(video.schedule.alphas.square(), run["sched.video.alphas_cumprod"].double())


def test_animatediff_predicts_what_was_recorded(run, video):
    for eps, recorded in predictions(video, run, "video", 4):
        close(eps, recorded)


def test_animatediff_runs_as_recorded(run, video, params):
    z_0 = sampled(video, run, "video", params["v_scale"])
    close(z_0, run["final.video_latent"], 1e-3)


def test_frames_decode_as_recorded(run, video):
    recorded = run["decode.video_float"].permute(0, 2, 3, 4, 1)
    close(frames(video, run["final.video_latent"]), (recorded / 2 + 0.5).clamp(0, 1))


def test_sounds_decode_as_recorded(run, params):
    model = audioldm(params, None, load_file(HERE / "audio_dec.safetensors"))
    made = int16(model.decode(run["final.audio_latent"]))
    assert (made.int() - run["output.audio_int16"].int()).abs().max() <= 1


def recorded(which):
    name = f"traj_audioldm_animatediff{which}"
    params = json.loads((Path(FULL) / f"{name}.json").read_text())["params"]
    return load_file(Path(FULL) / f"{name}.safetensors"), params


def models_of(which, params):
    # the run without a discriminator has no weights of its own
    stem = f"traj_audioldm_animatediff{which.removesuffix('_nojoint')}_weights"
    unet_a, decoders_a, unet_v, vae = (
        load_file(Path(FULL) / f"{stem}_{name}.safetensors")
        for name in ("audio_unet", "audio_dec", "video_unet", "video_vae")
    )
    return {
        "audio": audioldm(params, unet_a, decoders_a),
        "video": animatediff(params, unet_v, vae),
    }


@full
@pytest.mark.parametrize("which", RUNS)
@pytest.mark.parametrize("side", ["audio", "video"])
def test_predictions_of_every_run_are_those_recorded(which, side):
    run, params = recorded(which)
    model = models_of(which, params)[side]
    close(model.schedule.alphas.square(), run[f"sched.{side}.alphas_cumprod"].double())
    for eps, other in predictions(model, run, side, len(run[f"traj.t.{side}"])):
        close(eps, other)


@full
@pytest.mark.parametrize("side", ["audio", "video"])
def test_runs_without_a_discriminator_are_those_recorded(side):
    run, params = recorded("_nojoint")
    model = models_of("_nojoint", params)[side]
    z_0 = sampled(model, run, side, params["a_scale" if side == "audio" else "v_scale"])
    close(z_0, run[f"final.{side}_latent"], 1e-3)


@full
@pytest.mark.parametrize("which", RUNS)
def test_clips_of_every_run_decode_as_recorded(which):
    run, params = recorded(which)
    models = models_of(which, params)
    video = run["decode.video_float"].permute(0, 2, 3, 4, 1)
    made = frames(models["video"], run["final.video_latent"])
    close(made, (video / 2 + 0.5).clamp(0, 1))
    sounds = int16(models["audio"].decode(run["final.audio_latent"]))
    assert (sounds.int() - run["output.audio_int16"].int()).abs().max() <= 1

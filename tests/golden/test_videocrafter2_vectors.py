"""VideoCrafter2 equals the released code: networks, noise levels, tokens, a whole run.

Each test runs over the committed files, whose weights are drawn again from their seed, and over the
full folder named by MMDISCO_GOLDEN, which has the weights themselves.
"""

import gzip
import json
import math
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from closeness import assert_close
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from mmdisco.adapters.videocrafter2.codec import VideoSpec
from mmdisco.adapters.videocrafter2.model import VideoCrafter2, VideoCrafter2Parts, padded_ids
from mmdisco.adapters.videocrafter2.unet import (
    clean_scales,
    run_unet,
    training_betas,
    training_schedule,
)
from mmdisco.adapters.videocrafter2.weights import Architecture, convert, load_networks
from mmdisco.core.denoiser import Conditioning

HERE = Path(__file__).parent / "data" / "videocrafter2"
FULL = os.environ.get("MMDISCO_GOLDEN")
RUN = "traj_auffusion_videocrafter"
FILES = {
    "videocrafter": [*(f"unet_part{part}" for part in range(3)), "first_stage"],
    RUN: ["vc_unet_part0", "vc_unet_part1", "vc_rest"],
}


def architecture_of(config, text):
    """Ours of the release's configuration, and of open_clip's."""
    unet = config["params"]["unet_config"]["params"]
    images = config["params"]["first_stage_config"]["params"]["ddconfig"]
    factors = [2**level for level in range(len(unet["channel_mult"]))]
    attended = [factor in unet["attention_resolutions"] for factor in factors]
    levels = len(images["ch_mult"])
    return Architecture(
        {
            "block_out_channels": [unet["model_channels"] * one for one in unet["channel_mult"]],
            "down_block_types": [
                "CrossAttnDownBlock3D" if one else "DownBlock3D" for one in attended
            ],
            "up_block_types": [
                "CrossAttnUpBlock3D" if one else "UpBlock3D" for one in reversed(attended)
            ],
            "layers_per_block": unet["num_res_blocks"],
            "attention_head_dim": unet["num_head_channels"],
            "cross_attention_dim": unet["context_dim"],
        },
        {
            "block_out_channels": [images["ch"] * one for one in images["ch_mult"]],
            "down_block_types": ["DownEncoderBlock2D"] * levels,
            "up_block_types": ["UpDecoderBlock2D"] * levels,
            "layers_per_block": images["num_res_blocks"],
        },
        {
            "vocab_size": text["vocab_size"],
            "max_position_embeddings": text["context_length"],
            "hidden_size": text["width"],
            "intermediate_size": 4 * text["width"],
            "num_attention_heads": text["heads"],
            "num_hidden_layers": text["layers"] - 1,
            "hidden_act": "gelu",
        },
    )


def redrawn(name):
    """The weights of a recording, as they were drawn: all norms near 1, all biases near 0."""
    drawn = json.loads(gzip.decompress((HERE / "parameters.json.gz").read_bytes()))[name]
    generator = torch.Generator().manual_seed(drawn["seed"])
    weights = {}
    for key, shape in drawn["shapes"].items():
        value = torch.randn(shape, generator=generator)
        if len(shape) > 1:
            weights[key] = value * (0.9 / math.sqrt(math.prod(shape[1:])))
        else:
            weights[key] = 0.1 * value + (1 if key.endswith("weight") else 0)
    return weights


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
        """Shapes and scales of the run."""
        return self.record(RUN)["params"]

    def architecture(self, name):
        config = self.run["vc"] if name == RUN else self.record(name)["config"]
        return architecture_of(config, self.record("openclip_text")["text_cfg"])

    def weights(self, name):
        if not self.stored:
            return redrawn(name)
        weights = {}
        for file in FILES[name]:
            weights |= load_file(self.folder / f"{name}_weights_{file}.safetensors")
        return weights

    def networks(self, name, folder):
        """Through a checkpoint, as a user has it."""
        text = self.tensors("openclip_text")
        tower = {
            f"cond_stage_model.{key.removeprefix('weights.')}": one
            for key, one in text.items()
            if key.startswith("weights.")
        }
        tables = {"betas": training_betas().float(), "scale_arr": clean_scales().float()}
        state = {**tables, **self.weights(name), **tower}
        torch.save({"state_dict": state}, folder / "model.ckpt")
        convert(folder / "model.ckpt", self.architecture(name))
        return load_networks(folder)


@pytest.fixture(scope="module", params=["committed", "full"])
def recording(request):
    if request.param == "committed":
        return Recording(HERE, stored=False)
    if not FULL:
        pytest.skip("MMDISCO_GOLDEN names no folder of reference vectors")
    return Recording(Path(FULL), stored=True)


@pytest.fixture(scope="module")
def networks(recording, tmp_path_factory):
    return recording.networks("videocrafter", tmp_path_factory.mktemp("networks"))


@pytest.fixture(scope="module")
def model(recording, tmp_path_factory):
    made = recording.networks(RUN, tmp_path_factory.mktemp("run"))
    parts = silent_parts(made)
    return VideoCrafter2(parts, VideoSpec(16, 16, Fraction(8)))


def silent_parts(networks):
    """Recorded networks with a text encoder and a tokenizer that are never asked."""
    width = networks.unet.config["cross_attention_dim"]
    sizes = {"hidden_size": width, "num_hidden_layers": 1, "num_attention_heads": 1}
    text = CLIPTextModel(CLIPTextConfig(vocab_size=8, intermediate_size=8, **sizes))
    tokenizer = CLIPTokenizer(vocab={"<|endoftext|>": 0}, merges=[])
    return VideoCrafter2Parts(networks.unet, networks.autoencoder, text, tokenizer)


def close(one, other, rtol=1e-4):
    assert_close(one, other, rtol)


def test_unet_equals_the_release(recording, networks):
    data = recording.tensors("videocrafter")
    (fps,) = data["fps"].unique().tolist()
    made = run_unet(networks.unet, data["x"], data["t"].float(), float(fps), data["context"])
    close(made, data["out"])


def test_unet_reads_the_frame_rate_as_the_release_does(recording, networks):
    data = recording.tensors("videocrafter")
    made = run_unet(networks.unet, data["x"], data["t"].float(), 16.0, data["context"])
    close(made, data["out_fps_int16"])


def test_autoencoder_equals_the_release(recording, networks):
    data = recording.tensors("videocrafter")
    vae = networks.autoencoder
    latents = frames_of(data["z"]) / vae.config["scaling_factor"]
    close(vae.decode(latents).sample, frames_of(data["decoded"]))
    posterior = vae.encode(frames_of(data["enc.video"])).latent_dist
    close(posterior.parameters, frames_of(data["enc.moments"]))


def test_text_tower_equals_the_release(recording, networks):
    data = recording.tensors("openclip_text")
    close(networks.text(data["tokens"]).last_hidden_state, data["out_penultimate"])


def test_forward_process_scales_the_clean_latent_as_the_training_did(recording):
    data = recording.tensors("videocrafter")
    levels = training_schedule().level(data["q_sample.t"].double())
    close(levels.add_noise(data["q_sample.x"], data["q_sample.noise"]), data["q_sample.out"])
    plain = data["vc_own.alphas_cumprod"].double()
    alphas = plain.sqrt() * data["vc_own.scale_arr"].double()[:1000]
    close(training_schedule().alphas, alphas)
    close(training_schedule().sigmas, (1 - plain).sqrt())


def test_token_numbers_equal_those_of_open_clip(recording):
    tokenizer = CLIPTokenizer.from_pretrained(str(HERE / "tokenizer"))
    texts = json.loads((HERE / "texts.json").read_text())
    with pytest.warns(UserWarning, match="reads the first 77"):
        ids = padded_ids(tokenizer, texts, 77)
    assert torch.equal(ids, recording.tensors("openclip_text")["tokenize.ids"])


def test_run_repeats_that_of_the_release(recording, model):
    data = recording.tensors(RUN)
    cond, null = (
        Conditioning(tokens.mean(1), (tokens,))
        for tokens in (data["emb.video"], data["emb.video_neg"])
    )
    x, run = data["init.video"], recording.run
    scale = run["v_scale"]
    for k, t in enumerate(data["sched.timesteps"]):
        level = model.schedule.level(t[None].double())
        with_caption = model.predict_noise(x, level, cond)
        without = model.predict_noise(x, level, null)
        close(with_caption, data["traj.video.base_cond"][k], 1e-3)
        close(without, data["traj.video.base_uncond"][k], 1e-3)
        pulls = [data[f"traj.disc.pred_video_{kind}"][k] for kind in ("uncond", "cond")]
        eps = guided(scale, without, with_caption)
        eps = eps + run["joint_scale_video"] * guided(scale, *pulls)
        drawn, stride = data["traj.video.noise"][k], 1000 // run["steps"]
        x = ddpm(x, eps, drawn, int(t), stride, data["sched.video.alphas_cumprod"])
        close(x, data["traj.video.latent_out"][k], 1e-3)
    close(x, data["final.video_latent"], 1e-3)


def test_decoded_frames_equal_those_of_the_release(recording, model):
    data = recording.tensors(RUN)
    (video,) = model.decode(data["final.video_latent"])
    expected = data["output.video_uint8"][0].permute(1, 2, 3, 0).numpy()
    # the release cuts to whole numbers, so that a last digit may tip one
    assert np.abs(np.trunc(video.frames * 255) - expected).max() <= 1
    shown = (data["decode.video_float"] / 2 + 0.5).clamp(0, 1)[0].permute(1, 2, 3, 0)
    close(torch.from_numpy(video.frames), shown)


def frames_of(videos):
    """(b, c, f, h, w) to (b·f, c, h, w)."""
    return videos.transpose(1, 2).flatten(0, 1)


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

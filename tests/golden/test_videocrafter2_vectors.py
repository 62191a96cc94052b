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
from transformers import CLIPTokenizer

from mmdisco.adapters.checkpoint import materialize
from mmdisco.adapters.video_vae import VideoSpec
from mmdisco.adapters.videocrafter2.autoencoder import AutoencoderShape
from mmdisco.adapters.videocrafter2.codec import SCALE
from mmdisco.adapters.videocrafter2.layers import fold
from mmdisco.adapters.videocrafter2.model import VideoCrafter2, VideoCrafter2Parts
from mmdisco.adapters.videocrafter2.schedule import clean_scales, training_betas, training_schedule
from mmdisco.adapters.videocrafter2.text import OpenCLIPText, OpenCLIPTextEncoder, TowerShape
from mmdisco.adapters.videocrafter2.unet import UNetShape
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
    return Architecture(
        UNetShape(
            channels=unet["model_channels"],
            multipliers=tuple(unet["channel_mult"]),
            blocks=unet["num_res_blocks"],
            attention_factors=tuple(sorted(unet["attention_resolutions"])),
            head_width=unet["num_head_channels"],
            context=unet["context_dim"],
        ),
        AutoencoderShape(
            channels=images["ch"],
            multipliers=tuple(images["ch_mult"]),
            blocks=images["num_res_blocks"],
        ),
        TowerShape(
            vocabulary=text["vocab_size"],
            length=text["context_length"],
            width=text["width"],
            heads=text["heads"],
            layers=text["layers"],
        ),
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
    tower = OpenCLIPText(TowerShape(vocabulary=8, length=5, width=12, heads=2, layers=2))
    parts = VideoCrafter2Parts(
        unet=made.unet,
        autoencoder=made.autoencoder,
        tower=tower,
        tokenizer=CLIPTokenizer(vocab={"<|endoftext|>": 0}, merges=[]),
    )
    return VideoCrafter2(parts, VideoSpec(16, 16, Fraction(8)))


def close(one, other, rtol=1e-4):
    assert_close(one, other, rtol)


def test_unet_equals_the_release(recording, networks):
    data = recording.tensors("videocrafter")
    made = networks.unet(data["x"], data["t"].float(), data["fps"].float(), data["context"])
    close(made, data["out"])


def test_unet_reads_the_frame_rate_as_the_release_does(recording, networks):
    data = recording.tensors("videocrafter")
    made = networks.unet(data["x"], data["t"].float(), torch.full((2,), 16.0), data["context"])
    close(made, data["out_fps_int16"])


def test_autoencoder_equals_the_release(recording, networks):
    data = recording.tensors("videocrafter")
    close(networks.autoencoder.decode(fold(data["z"]) / SCALE), fold(data["decoded"]))
    close(networks.autoencoder.encode(fold(data["enc.video"])), fold(data["enc.moments"]))


def test_text_tower_equals_the_release(recording, networks):
    data = recording.tensors("openclip_text")
    close(networks.text(data["tokens"]), data["out_penultimate"])


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
    encoder = OpenCLIPTextEncoder(
        tokenizer, materialize(lambda: OpenCLIPText(TowerShape(layers=1)))
    )
    texts = json.loads((HERE / "texts.json").read_text())
    with pytest.warns(UserWarning, match="reads the first 77"):
        ids = encoder.ids(texts)
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

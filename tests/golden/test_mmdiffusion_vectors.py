"""MM-Diffusion against what the released code computed; see data/mmdiffusion/README.md."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from closeness import assert_close
from safetensors.torch import load_file

from mmdisco.adapters.mmdiffusion import checkpoint
from mmdisco.adapters.mmdiffusion.checkpoint import load_joint, load_upscaler
from mmdisco.adapters.mmdiffusion.config import (
    JOINT,
    UPSCALER,
    JointConfig,
    UNetLevel,
    UpscalerConfig,
)
from mmdisco.adapters.mmdiffusion.model import MMDiffusion
from mmdisco.adapters.mmdiffusion.network import JointNetwork
from mmdisco.adapters.mmdiffusion.sampling import (
    AtTrainedTimes,
    ContinuousPath,
    MMDiffusionSpacing,
    orders,
    released_sampler,
)
from mmdisco.adapters.mmdiffusion.shifts import NoShifts, WindowShifts
from mmdisco.adapters.mmdiffusion.super_resolution import FrameDenoiser, Upscaler, UpscalerNetwork
from mmdisco.core.av import AV
from mmdisco.core.denoiser import Conditioning, JointDenoiser
from mmdisco.core.guidance import ConstantScale, JointGuidance
from mmdisco.core.noise import linear
from mmdisco.core.rng import NoiseSource
from mmdisco.discriminators.official.checkpoint import load_checkpoint
from mmdisco.discriminators.official.config import OfficialConfig
from mmdisco.discriminators.official.fusion import MeanFusionConfig
from mmdisco.discriminators.official.latents import OfficialVideo, Waveform
from mmdisco.discriminators.wrappers import ClampedLogit
from mmdisco.io.conversion import extent
from mmdisco.io.pickles import renamed

PACKED = Path(__file__).parent / "data" / "mmdiffusion"
FULL = os.environ.get("MMDISCO_GOLDEN")
SCHEDULES = AV(linear(), linear())


@pytest.fixture(scope="module", params=["packed", "full"])
def recordings(request, tmp_path_factory):
    if request.param == "full" and not FULL:
        pytest.skip("set MMDISCO_GOLDEN to the folder of all recordings")
    folder = PACKED if request.param == "packed" else Path(FULL)
    return Recordings(folder, tmp_path_factory.mktemp("checkpoints"))


@dataclass
class Recordings:
    folder: Path
    checkpoints: Path

    def read(self, name):
        if not (self.folder / f"{name}.json").exists():
            pytest.skip(f"{name} is in the folder of all recordings alone: set MMDISCO_GOLDEN")
        record = json.loads((self.folder / f"{name}.json").read_text())
        return record, load_file(self.folder / f"{name}.safetensors")

    def checkpoint(self, *names):
        """The weights of some files as one that is like a published one; whether exact."""
        weights = {}
        for name in names:
            weights |= load_file(self.folder / f"{name}.safetensors")
        weights = {key.split("weights.")[-1].removeprefix("disc."): x for key, x in weights.items()}
        path = self.checkpoints / f"{names[0]}.pt"
        torch.save(weights, path)
        return path, all(x.dtype == torch.float32 for x in weights.values())


@dataclass(frozen=True)
class Recorded(WindowShifts):
    """The shifts of a recording, one a block, shared by the batch."""

    shifts: tuple[int, ...]

    def draw(self, t, block, positions):
        assert self.shifts[block] < positions
        return [self.shifts[block]] * len(t)


class Replay(JointDenoiser):
    """Predictions of a recording, whatever it is asked."""

    def __init__(self, tensors):
        self.tensors = tensors
        self.count = 0

    def predict_noise(self, z_t, level, cond):
        row = {key: x[self.count] for key, x in self.tensors.items() if key.startswith("eval.")}
        self.count += 1
        assert_close(level.audio.t, row["eval.t"].double())
        audio = row["eval.base.audio"] + row["eval.disc.pred_audio"]
        video = row["eval.base.video"] + row["eval.disc.pred_video"]
        return AV(audio, video.transpose(1, 2))


def config_of(flags):
    """Our shape of the flags of the released constructor."""

    def levels(name):
        return [
            int(one).bit_length() - 1 if one != "-1" else None for one in flags[name].split(",")
        ]

    windows = [int(one) for one in flags["cross_attention_windows"].split(",")]
    window = dict(zip(levels("cross_attention_resolutions"), windows, strict=True))
    video, audio = levels("video_attention_resolutions"), levels("audio_attention_resolutions")
    multipliers = [int(one) for one in flags["channel_mult"].split(",")]
    return JointConfig(
        width=flags["num_channels"],
        levels=tuple(
            UNetLevel(times * flags["num_channels"], window.get(i, 0), i in video, i in audio)
            for i, times in enumerate(multipliers)
        ),
        depth=flags["num_res_blocks"],
        crosses_middle=windows == [1, 4, 8],
        head_channels=flags["num_head_channels"],
        frames=flags["video_size"][0],
        side=flags["video_size"][2],
        samples=flags["audio_size"][1],
    )


def pair_of(tensors, prefix):
    """Our layout: channels before frames."""
    return AV(tensors[f"{prefix}audio"], tensors[f"{prefix}video"].transpose(1, 2))


def forward_close(got, expected, exact):
    # what is packed has its weights in half precision
    assert_close(got, expected, rtol=1e-4 if exact else 3e-3)


def run_close(got, expected, *, exact=True):
    # enlarging drives random weights to ±1, and what is in between follows them loosely
    assert_close(got, expected, rtol=1e-3 if exact else 5e-2)


@pytest.mark.parametrize(
    ("name", "parts"),
    [("mmdiff_unet_tail_nomiddle", [""]), ("mmdiff_unet", ["_part0", "_part1"])],
)
def test_joint_network_with_shifted_windows(recordings, name, parts):
    record, tensors = recordings.read(name)
    path, exact = recordings.checkpoint(*[f"{name}_weights{part}" for part in parts])
    config = config_of(record["flags"])
    network = load_joint(path, config)
    shifts = record["window_shifts_in_call_order"]
    if config.crosses_middle:
        # all see all there, and nothing is drawn: blocks are counted, draws are recorded
        shifts.insert(sum(level.window > 0 for level in config.levels) * config.depth, 0)
    out = network(pair_of(tensors, ""), tensors["t"].double(), Recorded(tuple(shifts)))
    expected = pair_of(tensors, "out.")
    forward_close(out.audio, expected.audio, exact)
    forward_close(out.video, expected.video, exact)


def guided_recording(recordings):
    name = "mmdiff_guided_dpm_solver"
    record, tensors = recordings.read(name)
    path, exact = recordings.checkpoint(f"{name}_weights_unet")
    assert exact
    model = MMDiffusion(load_joint(path, config_of(record["flags"])), NoShifts())
    return record, tensors, model


def sample(denoiser, tensors):
    """Latents after each evaluation of the released sampler."""
    none = Conditioning.none(2)
    sampler = released_sampler(SCHEDULES)
    asked = AtTrainedTimes(denoiser, SCHEDULES)
    start = pair_of(tensors, "x_T.")
    return list(sampler.run(asked, start, AV(none, none), NoiseSource.from_seeds([0])))


@pytest.mark.parametrize("row", [0, 7, 14, 19])
def test_joint_network_within_a_run(recordings, row):
    _, tensors, model = guided_recording(recordings)
    here = {key: x[row] for key, x in tensors.items() if key.startswith("eval.")}
    level = SCHEDULES.audio.level(here["eval.t"].double())
    none = Conditioning.none(2)
    eps = model.predict_noise(pair_of(here, "eval.in."), AV(level, level), AV(none, none))
    expected = pair_of(here, "eval.base.")
    forward_close(eps.audio, expected.audio, exact=True)
    forward_close(eps.video, expected.video, exact=True)


def test_solver_given_the_recorded_predictions(recordings):
    record, tensors = recordings.read("mmdiff_guided_dpm_solver")
    path = sample(Replay(tensors), tensors)
    for row, before in enumerate([pair_of(tensors, "x_T."), *path[:-1]]):
        expected = pair_of({k: x[row] for k, x in tensors.items() if "eval.in" in k}, "eval.in.")
        run_close(before.audio, expected.audio)
        run_close(before.video, expected.video)
    ends = np.cumsum(record["orders"]) - 1
    for row, end in enumerate(ends):
        run_close(path[end].audio, tensors["step.audio"][row])
        run_close(path[end].video.transpose(1, 2), tensors["step.video"][row])


def test_unguided_run(recordings):
    _, tensors, model = guided_recording(recordings)
    last = sample(model, tensors)[-1]
    run_close(last.audio, tensors["unguided.output.audio"])
    expected = tensors["unguided.output.video_uint8"].numpy().astype(int)
    shown = np.stack([np.floor(video.frames * 255) for video in model.decode_video(last.video)])
    assert np.abs(shown - expected).max() <= 1


def judge_of(record):
    theirs = record["disc_config"]
    towers = theirs["feature_extractor"]
    return OfficialConfig(
        audio=Waveform(towers["audio_cdim"]),
        video=OfficialVideo(towers["video_cdim"]),
        fusion=MeanFusionConfig(),
        width=towers["model_channels"],
        depth=towers["num_res_blocks"],
        channel_mult=tuple(towers["channel_mult"]),
        embedding=theirs["time_embed_dims"],
        dilations=towers["max_dila"],
    )


def test_run_guided_by_the_released_discriminator(recordings):
    record, tensors, model = guided_recording(recordings)
    path, _ = recordings.checkpoint("mmdiff_guided_dpm_solver_weights_disc")
    discriminator = ClampedLogit(load_checkpoint(path, judge_of(record)))
    scale = AV(
        ConstantScale(float(record["joint_scale_audio"])),
        ConstantScale(float(record["joint_scale_video"])),
    )
    last = sample(JointGuidance(model, discriminator, scale), tensors)[-1]
    expected = pair_of(tensors, "final.")
    run_close(last.audio, expected.audio)
    run_close(last.video, expected.video)
    # the guidance itself is far larger than what is allowed
    assert (last.audio - tensors["unguided.output.audio"]).abs().max() > 0.05


def test_levels_of_the_solver(recordings):
    record, tensors = recordings.read("mmdiff_noise_schedule")
    path = ContinuousPath(SCHEDULES)
    stops = torch.cat([MMDiffusionSpacing().stops(path, 20), torch.zeros(1, dtype=torch.float64)])
    times = (path.levels(stops).audio.t + 1) / 1000
    assert_close(times, tensors["logsnr_grid_20"].double(), rtol=2e-5)
    assert_close(SCHEDULES.audio.alphas.square(), tensors["alphas_cumprod_f64"])
    assert {count: orders(int(count)) for count in record["orders"]} == record["orders"]


def upscaler(recordings, record):
    net = record["net_config"]
    config = UpscalerConfig(
        levels=tuple(net["model_channels"] * times for times in net["channel_mult"]),
        attention=tuple(
            2**level in net["attention_resolutions"] for level in range(len(net["channel_mult"]))
        ),
        depth=net["num_res_blocks"],
        heads=net["num_heads"],
        side=net["image_size"],
    )
    parts = [f"mmdiff_image_sr_weights_part{part}" for part in (0, 1)]
    path, exact = recordings.checkpoint(*parts)
    return load_upscaler(path, config), exact


def test_upscaling_network(recordings):
    record, tensors = recordings.read("mmdiff_image_sr")
    network, exact = upscaler(recordings, record)
    out = network(tensors["fwd.x"], tensors["fwd.t"].double(), tensors["fwd.low_res"])
    forward_close(out, tensors["fwd.out"], exact)


def test_frames_enlarged_in_25_steps(recordings):
    record, tensors = recordings.read("mmdiff_image_sr")
    network, exact = upscaler(recordings, record)
    made = Upscaler(FrameDenoiser(network), steps=25)
    small = tensors["low_res"].transpose(1, 2)
    large = made.sample(small, tensors["noise"][:1])
    run_close(large.transpose(1, 2), tensors["output"], exact=exact)


@pytest.mark.parametrize(
    ("table", "network", "translate"),
    [
        (
            "mmdiffusion_base_unet",
            lambda: JointNetwork(JOINT),
            lambda weights: renamed(weights, checkpoint.JOINT_NAMES, Path("table")),
        ),
        (
            "mmdiffusion_image_sr_unet",
            lambda: UpscalerNetwork(UPSCALER).unet,
            lambda weights: checkpoint.upscaler_weights(weights, UPSCALER, Path("table")),
        ),
    ],
)
def test_published_names_and_shapes_are_those_of_the_networks(table, network, translate):
    path = Path(FULL or "").parent / "tables" / f"{table}.json"
    if not FULL or not path.exists():
        pytest.skip("set MMDISCO_GOLDEN to the folder of all recordings, beside its tables")
    published = json.loads(path.read_text())["state_dict"]
    with torch.device("meta"):
        own = network().state_dict()
        weights = {name: torch.empty(one["shape"]) for name, one in published.items()}
    found = {name: extent(one) for name, one in translate(weights).items()}
    assert found == {name: extent(one) for name, one in own.items()}

"""The released network against what the release itself computed; see data/released/README.md."""

import functools
import json
import re
from pathlib import Path

import pytest
import torch
from closeness import assert_close
from recordings import FOLDER, FULL, PACKED, record_of, recordings, schedule_of, whole
from safetensors.torch import load_file
from torch.nn.functional import softplus

from mmdisco.core.av import AV
from mmdisco.core.log_ratio import log_ratio_gradient
from mmdisco.core.noise import broadcast_like, linear
from mmdisco.discriminators.official.blocks import (
    ModulatedInputNorm,
    NoInputNorm,
    ScaleAndShift,
    ShiftBefore,
)
from mmdisco.discriminators.official.checkpoint import published, released_name
from mmdisco.discriminators.official.config import OfficialConfig
from mmdisco.discriminators.official.fusion import (
    ChannelFusionConfig,
    ClassToken,
    MeanFusionConfig,
    MeanOfTokens,
    SequenceFusionConfig,
    TransformerConfig,
)
from mmdisco.discriminators.official.latents import OfficialVideo, Spectrogram, Waveform
from mmdisco.discriminators.official.network import ReleasedDiscriminator
from mmdisco.discriminators.wrappers import ClampedLogit

SCHEDULE = re.compile(r"(\w+) ([\d.e-]+)\.\.([\d.e-]+), (\d+) steps")
CALLS = [
    (name, call) for name in recordings("disc_") for call in range(len(record_of(name)["calls"]))
]


def config_of(theirs):
    """Our configuration of the release's YAML."""
    towers, fusion = theirs["feature_extractor"], theirs["fusion_model_conf"]
    widths = AV(theirs["audio_text_emb_dims"] or 0, theirs["video_text_emb_dims"] or 0)

    def levels(name):
        # the release counts in factors of down-sampling
        return tuple(factor.bit_length() - 1 for factor in towers[name])

    sound = {"1d": Waveform, "2d": Spectrogram}[towers["audio_conv_type"]]
    readout = ClassToken if fusion["use_class_token"] else MeanOfTokens
    form = fusion["fusion_type"].split("_")[0]
    head = MeanFusionConfig()
    if form != "aggregate":
        transformer = TransformerConfig(
            fusion["model_channels"],
            fusion["num_attn_layers"] + int(fusion["use_class_token"]),
            fusion["out_channels"],
            readout,
        )
        head = {"cat": SequenceFusionConfig, "interp": ChannelFusionConfig}[form](transformer)
    norm = {None: NoInputNorm, "tmod_norm": ModulatedInputNorm}
    return OfficialConfig(
        audio=sound(towers["audio_cdim"], widths.audio, levels("audio_attention_resolutions")),
        video=OfficialVideo(
            towers["video_cdim"], widths.video, levels("video_attention_resolutions")
        ),
        fusion=head,
        width=towers["model_channels"],
        depth=towers["num_res_blocks"],
        channel_mult=tuple(towers["channel_mult"]),
        modulation=ScaleAndShift if towers["use_scale_shift_norm"] else ShiftBefore,
        embedding=theirs["time_embed_dims"],
        dilations=towers["max_dila"],
        input_norm=norm[towers["first_norm_type"]],
        cross_attention=levels("cross_attention_resolutions"),
        heads=towers["num_heads"],
        head_width=towers["num_head_channels"],
    )


def told(words):
    """The configuration of a schedule that a record tells as "linear 0.1..0.2, 1000 steps; …"."""
    table, start, end, rows = re.match(
        r"(\w+) ([\d.e-]+)\.\.([\d.e-]+), (\d+) steps", words
    ).groups()
    return {
        "beta_schedule": table,
        "beta_start": float(start),
        "beta_end": float(end),
        "num_train_timesteps": int(rows),
    }


def network_of(config, weights):
    network = ReleasedDiscriminator(config)
    network.load_state_dict(published(config).translate(weights, Path("recording")))
    return network


def under(prefix, tensors):
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


class Case:
    """A recording of one network, in the layout of this project."""

    def __init__(self, name):
        record = record_of(name)
        self.tensors = load_file(FOLDER / f"{name}.safetensors")
        self.flags = record["calls"]
        self.words = record["noise_schedule_for_score_factor"]
        self.network = network_of(config_of(record["config"]), under("weights.", self.tensors))

    def turned(self, pair, call):
        """From the caller's layout to ours, or back."""
        flags = self.flags[call]
        return AV(
            pair.audio.transpose(2, 3) if flags["audio_spatial_transpose"] else pair.audio,
            pair.video if flags["video_channel_time_transpose"] else pair.video.transpose(1, 2),
        )

    def inputs(self, call):
        given = under(f"call{call}.inputs.", self.tensors)
        t = given["timesteps"]
        level = schedule_of(told(self.words)).level(whole(t))
        assert_close(-level.sigma.float(), given["score_factor"])
        none = torch.zeros(len(t), 0)
        text = AV(given.get("audio_text_emb", none), given.get("video_text_emb", none))
        pooled = text.map(lambda one: one.mean(1) if one.ndim == 3 else one)
        return self.turned(AV(given["audio"], given["video"]), call), AV(level, level), pooled

    def expected(self, call):
        return under(f"call{call}.outputs.", self.tensors)


@functools.cache
def case_of(name):
    return Case(name)


def close(got, expected, rtol=1e-4):
    assert_close(got, expected, rtol)


@pytest.mark.parametrize(("name", "call"), CALLS)
def test_logit_and_gradient_are_those_of_the_release(name, call):
    case = case_of(name)
    z, level, text = case.inputs(call)
    expected = case.expected(call)
    close(case.network(z, level, text), expected["logit"])
    clamped = ClampedLogit(case.network)
    ratio = log_ratio_gradient(lambda latents: clamped(latents, level, text), z)
    close(ratio.logit, expected["logit_exp"])
    gradient = case.turned(ratio.gradient, call)
    close(gradient.audio, expected["grad_audio"])
    close(gradient.video, expected["grad_video"])


@pytest.mark.parametrize("name", [name for name, call in CALLS if call == 0])
def test_gradient_of_the_gradient_is_that_of_the_release(name):
    case = case_of(name)
    z, level, text = case.inputs(0)
    clamped = ClampedLogit(case.network)
    ratio = log_ratio_gradient(lambda latents: clamped(latents, level, text), z, create_graph=True)
    logit = case.network(z, level, text)
    noise = ratio.gradient.map(lambda one: broadcast_like(level.audio.sigma, one) * one)
    loss = noise.audio.square().mean() + noise.video.square().mean() + softplus(-logit).mean()
    close(loss, case.tensors["call0.train.loss"])
    names = {released_name(name): weight for name, weight in case.network.named_parameters()}
    expected = under("call0.train.grad.", case.tensors)
    got = torch.autograd.grad(loss, [names[name] for name in expected])
    for value, wanted in zip(got, expected.values(), strict=True):
        close(value.reshape(wanted.shape), wanted)


def test_residuals_along_a_run_of_mm_diffusion_are_those_of_the_release():
    folder = Path(FULL) if FULL else PACKED.parent / "mmdiffusion"
    record = json.loads((folder / "mmdiff_guided_dpm_solver.json").read_text())
    run = load_file(folder / "mmdiff_guided_dpm_solver.safetensors")
    weights = load_file(folder / "mmdiff_guided_dpm_solver_weights_disc.safetensors")
    clamped = ClampedLogit(network_of(config_of(record["disc_config"]), weights))
    level = linear().level(run["eval.t"].flatten().to(torch.float64))
    none = torch.zeros(len(level.t), 0)
    z = AV(run["eval.in.audio"].flatten(0, 1), run["eval.in.video"].flatten(0, 1).transpose(1, 2))

    ratio = log_ratio_gradient(lambda one: clamped(one, AV(level, level), AV(none, none)), z)

    residual = ratio.gradient.map(lambda one: -broadcast_like(level.sigma, one) * one)
    close(residual.audio, run["eval.disc.pred_audio"].flatten(0, 1))
    close(residual.video.transpose(1, 2), run["eval.disc.pred_video"].flatten(0, 1))

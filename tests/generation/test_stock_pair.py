"""Two pipelines by their folders: what is refused before anything is loaded, and the bill."""

import json
import shutil
from fractions import Fraction
from functools import partial

import pytest
import torch
from safetensors.torch import load_file, save_file

from mmdisco import UserError, generate
from mmdisco.adapters.device import ran_out
from mmdisco.core.av import AV
from mmdisco.core.guidance import ClassifierFreeGuidance
from mmdisco.discriminators.convolutions import VideoLatents, WaveformLatents
from mmdisco.discriminators.fusion import AdditiveFusionConfig
from mmdisco.discriminators.hub import PretrainedDiscriminator
from mmdisco.discriminators.two_tower import AudioVideoConfig, AudioVideoDiscriminator
from mmdisco.generation.bill import bill_of
from mmdisco.generation.config import GenerateConfig, SystemConfig
from mmdisco.generation.presets.registry import system_of
from mmdisco.generation.presets.stock_pair import PipelineGuidance
from mmdisco.generation.resolve import check, resolve

SMALL = {"frames": 9, "size": (16, 16), "steps": 2}


@pytest.fixture(scope="module")
def pair(stock_pipelines):
    return {
        "video_model": str(stock_pipelines["wan"]),
        "audio_model": str(stock_pipelines["stable audio"]),
    }


@pytest.fixture(scope="module")
def system(pair):
    return system_of(SystemConfig(**pair, size=(16, 16), seconds=Fraction(9, 16)))


def begin(config):
    """All that a request is checked for before it is run."""
    system = system_of(config)
    check(resolve(config, system), system)
    _ = system.form
    _ = config.no_joint_guidance or system.discriminator()


def refused(match, **options):
    with pytest.raises(UserError, match=match) as error:
        begin(GenerateConfig(prompt="a dog", **options))
    assert "\n" not in str(error.value)


def copied(folder, to):
    return shutil.copytree(folder, to / "copy")


def edited(folder, to, **changes):
    """A copy of a pipeline's folder with another index."""
    path = copied(folder, to) / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return str(path.parent)


def discriminator(folder, models=None, channels=16):
    config = AudioVideoConfig(
        audio=WaveformLatents(3, 4.0, 4),
        video=VideoLatents(channels, 4.0, 32),
        width=8,
        depth=1,
        channel_mult=(1,),
        fusion=AdditiveFusionConfig(),
    )
    facts = {} if models is None else {"models": models}
    PretrainedDiscriminator(AudioVideoDiscriminator(config), "these", facts).save(folder)
    return str(folder)


def test_one_model_or_a_preset_beside_two_is_refused(pair):
    with pytest.raises(UserError, match="belong together"):
        GenerateConfig(video_model=pair["video_model"])
    with pytest.raises(UserError, match="leave --preset out"):
        GenerateConfig(**pair, preset="embedded")
    with pytest.raises(UserError, match="leave --batch-cfg"):
        GenerateConfig(**pair, batch_cfg=True)
    with pytest.raises(UserError, match="leave --as-released out"):
        GenerateConfig(**pair, as_released=True)
    with pytest.raises(UserError, match="--joint-model makes both"):
        GenerateConfig(**pair, joint_model="a/b")
    with pytest.raises(UserError, match="leave --preset out"):
        GenerateConfig(joint_model="a/b", preset="embedded")
    with pytest.raises(UserError, match="reads one prompt"):
        GenerateConfig(joint_model="a/b", prompt="a", audio_prompt="b")
    with pytest.raises(UserError, match="--modality-scale is of a --joint-model"):
        GenerateConfig(**pair, modality_scale=2.0)


@pytest.mark.parametrize("kind", [{"batched": True}, {"rescale": 0.5}], ids=str)
def test_another_kind_of_guidance_is_refused_for_a_preset_of_two_as_well(system, kind):
    other, model = partial(ClassifierFreeGuidance, **kind), system.model()
    with pytest.raises(UserError, match="leave --batch-cfg and --cfg-rescale out"):
        PipelineGuidance().base(model, model.encode_prompts([""]), AV(2.0, 2.0), other)


def test_a_record_of_two_models_is_read_again(pair):
    config = GenerateConfig(prompt="a", audio_prompt="b", audio_negative_prompt="c", **pair)
    record = config.to_record()
    assert "preset" not in record
    assert GenerateConfig(**record) == config
    assert config.updated({"steps": 3}).captions == AV("b", "a")
    assert config.negatives == AV("c", "")
    assert SystemConfig(preset=None, **config.build_options()).title == config.title


def test_defaults_are_those_of_the_pipelines_calls(system):
    sampling = system.sampling()
    assert sampling.steps == 50
    assert sampling.cfg_scale == AV(7.0, 5.0)


def test_the_form_and_the_rates_are_the_pipelines_own(system):
    assert system.form.seconds == Fraction(9, 16)
    assert system.form.size == (16, 16)
    assert system.form.fps == 16
    # every latent of Stable Audio 1 has its full length, whatever is heard of it
    assert system.latent_rates() == AV(4.0, 4.0)
    assert system.model().latent_shapes(float(system.form.seconds)).audio[1] == 8


def test_folders_that_hold_no_pipeline_that_can_be_guided_are_refused(pair, tmp_path):
    audio, video = pair["audio_model"], pair["video_model"]
    nothing = {"video_model": str(tmp_path), "audio_model": audio}
    refused("no model_index.json", **nothing)
    refused("no such folder, and no id", video_model="no such", audio_model=audio)
    refused("the hub gives no pipeline", video_model="no/such", audio_model=audio)
    refused("WanPipeline is not among StableAudio", video_model=video, audio_model=video)
    unscheduled = edited(video, tmp_path, scheduler=[None, None])
    refused("has no scheduler", video_model=unscheduled, audio_model=audio)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("OwnPipeline", "OwnPipeline is not among WanPipeline"),
        ("WanImageToVideoPipeline", "needs image, which no option gives"),
        ("SkyReelsV2DiffusionForcingPipeline", "cannot be guided"),
    ],
)
def test_pipelines_of_other_kinds_are_refused_by_name(pair, tmp_path, kind, said):
    video = edited(pair["video_model"], tmp_path, _class_name=kind)
    refused(said, video_model=video, audio_model=pair["audio_model"])


def test_missing_and_damaged_files_are_named(pair, tmp_path):
    folder = copied(pair["video_model"], tmp_path)
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    rest = {"video_model": str(folder), "audio_model": pair["audio_model"]}
    weights.write_bytes(weights.read_bytes()[:100])
    refused("copy cannot be loaded", **rest, **SMALL, no_joint_guidance=True)
    weights.unlink()
    refused("vae/diffusion_pytorch_model.safetensors in ", **rest, no_joint_guidance=True)


def test_lengths_that_cannot_be_made_name_the_nearest(pair):
    rest = {**pair, "size": (16, 16), "no_joint_guidance": True}
    refused(r"ask for --frames 5 \(0.3125 s\) or --frames 9 \(0.5625 s\)", **rest, frames=8)
    refused(r"ask for --frames 13 .* or --frames 17", **rest, seconds=1)
    # the tiny Stable Audio makes 2 s
    refused(r"2 s at most; the nearest that both make is --frames 29", **rest, frames=33)
    refused("multiples of 8", **{**rest, "size": (16, 20)}, frames=9)


def test_guidance_wants_a_discriminator_of_this_pair(pair, system, tmp_path):
    refused("no published discriminator: give --discriminator", **pair, **SMALL)
    models = system.describe()
    own = discriminator(tmp_path / "own", models)
    config = GenerateConfig(prompt="a", **pair, **SMALL, discriminator=own)
    assert check(resolve(config, system_of(config)), system_of(config)) == []
    moved = {side: {**one, "model": "elsewhere"} for side, one in models.items()}
    discriminator(tmp_path / "own", moved)
    check(resolve(config, system_of(config)), system_of(config))  # the weights are the same
    others = {**models, "video": {**models["video"], "model": "A/B", "sha256": "0"}}
    other = discriminator(tmp_path / "other", others)
    refused(r"was trained for A/B \(WanPipeline\) with", **pair, **SMALL, discriminator=other)
    narrow = discriminator(tmp_path / "narrow", channels=4)
    refused("makes video latents of", **pair, **SMALL, discriminator=narrow)


def test_weights_are_known_by_their_contents(pair, system, tmp_path):
    folder = copied(pair["video_model"], tmp_path)
    same = system_of(SystemConfig(**{**pair, "video_model": str(folder)}))
    assert same.weight_hashes() == system.weight_hashes()
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    weights[next(iter(weights))] += 1
    save_file(weights, path, {"format": "pt"})
    found = system_of(SystemConfig(**{**pair, "video_model": str(folder)})).weight_hashes()
    assert found["audio"] == system.weight_hashes()["audio"]
    assert found["video"] != system.weight_hashes()["video"]


def test_prompts_and_scales_reach_either_pipeline(pair):
    options = {**pair, **SMALL, "no_joint_guidance": True}

    def made(prompt="a dog", **more):
        (clip,) = generate(prompt, **options, **more)
        return clip

    plain, other = made(), made(audio_prompt="rain")
    assert (plain.video.frames == other.video.frames).all()
    assert (plain.audio.waveform != other.audio.waveform).any()
    negated = made(audio_negative_prompt="noise")
    assert (plain.video.frames == negated.video.frames).all()
    assert (plain.audio.waveform != negated.audio.waveform).any()
    scaled = made(cfg_scale_video=2.0)
    assert (plain.video.frames != scaled.video.frames).any()
    assert (plain.audio.waveform == scaled.audio.waveform).all()


def test_the_bill_counts_a_run_and_samples_nothing(pair, tmp_path):
    own = discriminator(tmp_path / "own")
    config = GenerateConfig(prompt="a", **pair, **SMALL, discriminator=own, candidates=3)
    bill = bill_of(resolve(config, system_of(config)))
    passes = {(one.side, one.name): one.passes for one in bill.networks}
    # Wan runs the branches of its guidance one after the other; candidates are a batch
    assert passes["video", "transformer"] == 2 * SMALL["steps"]
    assert passes["video", "vae"] == 1
    assert passes["discriminator", "discriminator"] == SMALL["steps"] + 1
    assert bill.discriminator_share > 0
    assert bill.fits
    assert bill.steps == AV(2, 2)


@pytest.mark.parametrize("preset_options", [{}, {"no_joint_guidance": True, "steps": 3}])
def test_the_bill_of_a_preset(tiny_pair, preset_options):
    config = GenerateConfig(prompt="a red ball", weights=tiny_pair, **preset_options)
    bill = bill_of(resolve(config, system_of(config)))
    found = {(one.side, one.name): one.passes for one in bill.networks}
    steps = preset_options.get("steps", 8)
    assert found["video", "denoiser"] == found["audio", "denoiser"] == 2 * steps
    assert (bill.discriminator_share > 0) == (not preset_options)


def test_memory_that_runs_out_is_said_with_its_part():
    with (
        pytest.raises(UserError, match="ran out in the decoder: try --dtype"),
        ran_out("the decoder"),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(RuntimeError, match="another"), ran_out("the decoder"):
        raise RuntimeError("another error")

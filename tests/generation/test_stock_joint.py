"""One pipeline of video with sound by its folder: the system that commands run on."""

import shutil
from fractions import Fraction
from typing import Any

import pytest
import torch

from mmdisco import UserError, generate
from mmdisco.core.av import AV
from mmdisco.discriminators.convolutions import SpectrogramLatents, VideoLatents
from mmdisco.discriminators.fusion import AdditiveFusionConfig
from mmdisco.discriminators.hub import PretrainedDiscriminator
from mmdisco.discriminators.two_tower import AudioVideoConfig, AudioVideoDiscriminator
from mmdisco.generation.bill import bill_of, outline_of
from mmdisco.generation.config import GenerateConfig, SystemConfig
from mmdisco.generation.presets.registry import system_of
from mmdisco.generation.resolve import check, resolve

SMALL = {"frames": 5, "size": (32, 32), "steps": 2}


@pytest.fixture(scope="module")
def named(stock_pipelines):
    return {"joint_model": str(stock_pipelines["ltx-2"])}


@pytest.fixture(scope="module")
def system(named):
    return system_of(SystemConfig(**named, frames=5, size=(32, 32)))


def discriminator(folder, system, models):
    texts = system.model().encode_prompts([""]).map(lambda one: one.pooled.shape[1])
    config = AudioVideoConfig(
        audio=SpectrogramLatents(2, 25.0, texts.audio),
        video=VideoLatents(4, 6.0, texts.video),
        width=8,
        depth=1,
        channel_mult=(1,),
        fusion=AdditiveFusionConfig(),
    )
    PretrainedDiscriminator(AudioVideoDiscriminator(config), "these", {"models": models}).save(
        folder
    )
    return str(folder)


def test_defaults_and_form_are_the_pipelines_own(system):
    sampling, form = system.sampling(), system.form
    assert (sampling.steps, sampling.cfg_scale) == (30, AV(7.0, 3.0))
    assert (form.seconds, form.fps, form.size) == (Fraction(5, 24), 24, (32, 32))
    assert form.sample_rate == 16_000  # as its encoder reads sound
    assert system.latent_rates() == AV(25.0, 6.0)
    assert not system.independent
    assert system.two_levels


def test_a_pipeline_of_another_kind_is_refused_by_name(stock_pipelines):
    config = GenerateConfig(prompt="a", joint_model=str(stock_pipelines["wan"]))
    with pytest.raises(UserError, match="WanPipeline is no pipeline of video with sound"):
        check(resolve(config, system_of(config)), system_of(config))
    missing = GenerateConfig(prompt="a", joint_model="no/such")
    with pytest.raises(UserError, match="--joint-model no/such: there is no such folder"):
        resolve(missing, system_of(missing))


def test_options_reach_the_pipeline(named):
    def made(prompt="a dog", **more):
        (clip,) = generate(prompt, **named, **SMALL, no_joint_guidance=True, **more)
        return clip

    plain = made()
    assert len(plain.video.frames) == SMALL["frames"]
    again = made()
    assert (plain.video.frames == again.video.frames).all()
    for other in (
        made(modality_scale=3.0),
        made(cfg_scale_video=1.0),
        made(negative_prompt="rain"),
        made("rain"),
    ):
        assert (plain.video.frames != other.video.frames).any()
    louder = made(cfg_scale_audio=1.0)
    assert (plain.audio.waveform != louder.audio.waveform).any()


def test_a_discriminator_of_this_pipeline_guides_it(named, system, tmp_path):
    own = discriminator(tmp_path / "own", system, system.describe())
    options = {**named, **SMALL}
    with pytest.raises(UserError, match="no published discriminator"):
        generate("a", **options)
    (guided,) = generate("a", **options, discriminator=own)
    (alone,) = generate("a", **options, no_joint_guidance=True)
    assert (guided.video.frames != alone.video.frames).any()
    pair = discriminator(
        tmp_path / "pair",
        system,
        {side: {"model": "A/B", "pipeline": "P", "sha256": "0"} for side in ("audio", "video")},
    )
    with pytest.raises(UserError, match=r"was trained for A/B \(P\) with A/B \(P\), not for"):
        generate("a", **options, discriminator=pair)


def test_a_bill_needs_no_weights(named, system, tmp_path):
    folder = shutil.copytree(named["joint_model"], tmp_path / "copy")
    models = {"joint": {**system.describe()["joint"], "model": str(folder)}}
    options = {**SMALL, "discriminator": discriminator(tmp_path / "own", system, models)}
    for weights in folder.rglob("*.safetensors"):
        weights.unlink()
    config = GenerateConfig(prompt="a", joint_model=str(folder), **options)
    with pytest.raises(UserError, match="lacks files"):
        check(resolve(config, system_of(config)), system_of(config))
    outline = outline_of(config)
    check(resolve(config, outline), outline)
    bill = bill_of(resolve(config, outline))
    passes = {(one.side, one.name): one.passes for one in bill.networks}
    assert passes["joint", "transformer"] == SMALL["steps"]
    assert bill.discriminator_share > 0
    assert bill.weights > 0
    contrasted = bill_of(resolve(config.updated({"modality_scale": 3.0}), outline))
    (network,) = (one for one in contrasted.networks if one.name == "transformer")
    assert network.passes == 2 * SMALL["steps"]


def test_a_given_side_is_held(named):
    (clip,) = generate("a", **named, **SMALL, no_joint_guidance=True)
    config = GenerateConfig(prompt="a", **named, **SMALL, no_joint_guidance=True)
    model: Any = system_of(config).model()
    latent = model.encode_video([clip.video])
    assert torch.isfinite(latent).all()
    assert latent.shape[1:] == model.sample_shapes.video

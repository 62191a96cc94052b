"""The bill of a joint run: what is counted before it is what the run does."""

import json
from collections import Counter
from typing import Any

import fullsize
import pytest
import torch
from jointly import STEPS, Agreement, call_of, latents_of, pair
from stockpipelines import AUDIO, VIDEO, build
from torch.utils.flop_counter import FlopCounterMode

from mmdisco import UserError
from mmdisco.adapters.stock.dry_run import dry_pipeline, on_meta
from mmdisco.adapters.stock.meta import MetaCount
from mmdisco.adapters.stock.model import stock_audio, stock_video
from mmdisco.core.av import AV
from mmdisco.core.log_ratio import ReuseEvery, log_ratio_gradient
from mmdisco.core.noise import NoiseLevel
from mmdisco.discriminators.convolutions import VideoLatents, WaveformLatents
from mmdisco.discriminators.two_tower import AudioVideoConfig, AudioVideoDiscriminator
from mmdisco.generation.cost import gradient_cost
from mmdisco.generation.joint_pipeline import JointPipeline


@pytest.fixture(scope="module")
def models():
    return pair("wan 2.2", "stable audio 3")


@pytest.fixture(scope="module")
def joint(models):
    return JointPipeline(models.video.pipe, models.audio.pipe, Agreement(models))


def cost_of(joint, models, **given):
    call = {"video_kwargs": models.video.call, "audio_kwargs": models.audio.call, **given}
    return joint.cost("a dog barks", **call)


def network(cost, side, name):
    (found,) = (one for one in cost.networks if (one.side, one.name) == (side, name))
    return found


def passes_of_a_run(pipe, call):
    """Passes of each network through a real run."""
    counted, hooks = Counter(), []
    names = {id(part): name for name, part in pipe.components.items()}
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            hook = lambda part, *_: counted.update([names[id(part)]])  # noqa: E731
            hooks.append(part.register_forward_hook(hook))
    pipe(**call)
    for hook in hooks:
        hook.remove()
    return counted


@pytest.mark.parametrize("name", [*VIDEO, *AUDIO])
def test_what_is_counted_is_what_a_run_does(name):
    """Every family: as many passes of each network, and an output of the same shape."""
    pipe, call = build(name)
    call = {**call, "num_inference_steps": 3, "generator": torch.Generator().manual_seed(0)}
    dry, passes = dry_pipeline(pipe)
    latents = dry(**call, output_type="latent")[0]
    counted = {one.name: one.count for one in passes if one.count and one.name != "vae"}
    ran = passes_of_a_run(pipe, {**call, "output_type": "latent"})
    if name == "audioldm2":  # CLAP is asked for features, which is no pass by itself
        assert counted.pop("text_encoder") == 2
    ran.pop("vae", None)
    assert counted == ran
    assert latents.shape == pipe(**call, output_type="latent")[0].shape


def test_operations_of_a_decoder_are_those_that_run():
    """An autoencoder without attention, which the library does not count on a CPU."""
    pipe, _ = build("ltx")
    latents = torch.randn(1, 8, 2, 4, 4)
    with torch.no_grad(), FlopCounterMode(display=False) as ran:
        pipe.vae.decode(latents)
    decoder: Any = on_meta(pipe.vae)
    with torch.no_grad(), MetaCount(decoder.parameters()) as counted:
        decoder.decode(latents)
    assert counted.operations == ran.get_total_flops() > 0


def test_operations_of_a_gradient_are_those_that_run():
    """Forward and backward of our own discriminator."""
    config = AudioVideoConfig(WaveformLatents(8, 10.0, 4), VideoLatents(4, 8.0, 4), 8, 1, (1, 2))
    network = AudioVideoDiscriminator(config).requires_grad_(False)  # noqa: FBT003
    z_t, text = AV(torch.randn(1, 8, 6), torch.randn(1, 4, 3, 8, 8)), AV(*torch.zeros(2, 1, 4))
    level = AV(*[NoiseLevel(*torch.full((3, 1), 0.7).unbind())] * 2)
    with FlopCounterMode(display=False) as ran:
        log_ratio_gradient(lambda z: network(z, level, text), z_t)
    operations, peak = gradient_cost(on_meta(network), z_t, level, text)
    assert operations == ran.get_total_flops() > 0
    assert peak > z_t.video.numel() * 4


def test_attention_is_counted_as_the_fused_kernel():
    """2 products of 2 · 8 · 100 · 50 · 4 operations a head, and no matrix of 100 × 50."""
    query, key = (torch.empty(1, 2, tokens, 4, device="meta") for tokens in (100, 50))
    with MetaCount() as count:
        made = torch.nn.functional.scaled_dot_product_attention(query, key, key)
    assert made.shape == query.shape
    assert count.operations == 2 * 2 * 2 * 100 * 50 * 4
    assert count.peak == query.numel() * 4


def test_memory_that_is_dropped_is_counted_no_longer():
    x = torch.empty(1000, device="meta")
    with MetaCount() as count:
        for _ in range(5):
            y = x + 1
            y = y * 2
    assert y.shape == x.shape
    assert 4000 <= count.peak <= 12000


def test_experts_and_both_branches_of_guidance_are_counted(joint, models):
    cost = cost_of(joint, models)
    experts = [network(cost, "video", name) for name in ("transformer", "transformer_2")]
    assert sum(one.passes for one in experts) == 2 * STEPS  # Wan runs a pass a branch
    sound = network(cost, "audio", "transformer")
    assert (sound.passes, sound.batch) == (STEPS, 2)  # Stable Audio runs both in one batch
    assert cost.passes_a_step(sound) == 1


def test_the_discriminator_is_counted_where_it_is_run(joint, models):
    every = network(cost_of(joint, models), "discriminator", "discriminator")
    reusing = JointPipeline(joint.video, joint.audio, joint.discriminator, ReuseEvery(2))
    half = network(cost_of(reusing, models), "discriminator", "discriminator")
    assert every.passes == 2 * half.passes == STEPS
    assert every.operations == 2 * half.operations
    assert cost_of(joint, models).discriminator_share > cost_of(reusing, models).discriminator_share
    assert cost_of(joint, models, joint_scale=0).discriminator_share == 0


def test_a_given_side_makes_no_step(joint, models):
    video = models.video.decode(torch.zeros(1, *models.video.sample_shape))
    given = {**models.video.call, "num_frames": len(video[0].frames)}
    cost = cost_of(joint, models, given_video=video, video_kwargs=given)
    assert cost.steps.video == 0
    assert network(cost, "video", "transformer").passes == 0
    assert network(cost, "video", "vae").passes == 1
    assert network(cost, "audio", "transformer").passes == STEPS


def test_pipelines_are_left_as_they_are(joint, models):
    before = latents_of(joint("a dog barks", **call_of(models)))
    cost_of(joint, models)
    after = latents_of(joint("a dog barks", **call_of(models)))
    assert all(torch.equal(*both) for both in zip(before, after, strict=True))


def test_hooks_of_offloading_are_neither_run_nor_lost():
    pipe, call = build("wan")
    ran = []
    plain = pipe.transformer.forward
    pipe.transformer.forward = lambda *given, **named: ran.append(1) or plain(*given, **named)
    dry, passes = dry_pipeline(pipe)
    dry(**call, num_inference_steps=2)
    assert not ran
    assert {one.name: one.count for one in passes}["transformer"] == 4
    pipe(**call, num_inference_steps=2)
    assert len(ran) == 4


def test_a_bill_says_whether_the_device_has_the_memory(joint, models):
    cost = cost_of(joint, models, capacity=10**12)
    assert cost.memory_offloaded < cost.memory < 10**12
    assert cost.fits
    assert str(cost).endswith("it fits.")
    less = cost_of(joint, models, capacity=cost.memory - 1)
    assert not less.fits
    assert "enable_model_cpu_offload" in str(less)
    least = cost_of(joint, models, capacity=cost.memory_offloaded - 1)
    assert not least.fits_offloaded
    assert "does not fit" in str(least)


def test_a_bill_is_a_table_and_json(joint, models):
    cost = cost_of(joint, models)
    record = json.loads(json.dumps(cost.to_dict()))
    assert record["operations"] == sum(one["operations"] for one in record["networks"])
    assert record["weights"] == sum(
        tensor.numel() * tensor.element_size()
        for pipe in (joint.video, joint.audio)
        for part in pipe.components.values()
        if isinstance(part, torch.nn.Module)
        for tensor in (*part.parameters(), *part.buffers())
    ) + sum(one.numel() * 4 for one in joint.discriminator.parameters())
    table = str(cost).splitlines()
    assert table[0].startswith("| network")
    assert any(line.startswith("| video transformer_2 |") for line in table)


def test_a_bill_is_refused_as_the_run_would_be(joint, models):
    with pytest.raises(UserError, match="takes no frames"):
        cost_of(joint, models, video_kwargs={**models.video.call, "frames": 3})


@pytest.mark.parametrize("name", [*fullsize.VIDEO, *fullsize.AUDIO])
def test_published_sizes(name):
    """Parameters of the denoiser and shape of the latent, as published."""
    pipe, call, billions, shape = fullsize.build(name)
    denoiser = getattr(pipe, "transformer", None) or pipe.unet
    counted = sum(one.numel() for one in denoiser.parameters())
    assert counted == pytest.approx(billions * 1e9, rel=0.01)
    stock = stock_video if name in fullsize.VIDEO else stock_audio
    assert tuple(stock(pipe, call).sample_shape) == shape

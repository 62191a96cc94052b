"""What the presets' pipelines promise as base models, for all of them."""

import pytest
import torch
from closeness import assert_close
from test_adapters_tiny import (
    BUILDERS,
    SECONDS,
    clips,
    load,
    modality,
    networks,
    save,
)

from mmdisco.core.av import AV
from mmdisco.core.denoiser import IndependentDenoisers
from mmdisco.core.guidance import ClassifierFreeGuidance
from mmdisco.core.pairs import Pairs
from mmdisco.data.pair_store import PairStore
from mmdisco.media.clip import Audio

SHAPES = {
    "audioldm": (4, 160, 4),
    "audioldm2": (4, 160, 4),
    "animatediff": (4, 4, 8, 12),
    "text-to-video": (4, 4, 8, 12),
}
PROMPTS = ["a dog barks", "", "rain on a roof of tin, and a train far away"]


@pytest.fixture(scope="module", params=BUILDERS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def model(name):
    return BUILDERS[name]()


def seconds(name):
    return SECONDS[modality(name)]


def noise(model, name, count, length=None):
    shape = list(model.latent_shape(seconds(name)))
    shape[1] = length or shape[1]
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(1))


def levels(model, *times):
    return model.schedule.level(torch.tensor(times, dtype=torch.float64))


def close(one, other, tolerance=1e-5):
    assert_close(one, other, rtol=tolerance)


def test_latents_have_time_on_axis_2(model, name):
    assert model.latent_shape(seconds(name)) == torch.Size(SHAPES[name])
    longer = model.latent_shape(2 * seconds(name))
    assert longer[1] == 2 * SHAPES[name][1]
    assert longer[2:] == torch.Size(SHAPES[name][2:])


@pytest.mark.parametrize("length", [1, 5, 7])
def test_any_number_of_steps_is_taken(model, name, length):
    x_t = noise(model, name, 1, length)
    eps = model.predict_noise(x_t, levels(model, 500), model.encode_prompts(["a"]))
    assert eps.shape == x_t.shape
    assert model.decode(x_t)


def test_noise_comes_out_whatever_the_network_predicts(model, name):
    x_t, at = noise(model, name, 2), levels(model, 800, 100)
    cond = model.encode_prompts(["a", "b"])
    output = model.predict_noise(x_t, at, cond)
    alpha, sigma = (one.float().reshape(-1, *[1] * (x_t.ndim - 1)) for one in (at.alpha, at.sigma))
    from_v = BUILDERS[name]("v_prediction").predict_noise(x_t, at, cond)
    close(from_v, alpha * output + sigma * x_t)
    from_x_0 = BUILDERS[name]("sample").predict_noise(x_t, at, cond)
    close(from_x_0, (x_t - alpha * output) / sigma)


def test_schedule_is_the_table_of_the_scheduler(model):
    betas = model.pipe.scheduler.betas.double()
    assert_close(model.schedule.alphas, torch.cumprod(1 - betas, 0).sqrt(), rtol=1e-5)
    assert torch.equal(model.schedule.times, torch.arange(1000.0, dtype=torch.float64))


def test_parameters_are_frozen_and_nothing_drops_out(model):
    for network in networks(model):
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_no_gradient_flows_through_a_prediction(name, prediction_type):
    model = BUILDERS[name](prediction_type)
    x_t = noise(model, name, 1).requires_grad_()
    eps = model.predict_noise(x_t, levels(model, 500), model.encode_prompts(["a"]))
    assert not eps.requires_grad


def test_a_prompt_depends_on_no_batch_mate(model):
    together = model.encode_prompts(PROMPTS)
    for i, prompt in enumerate(PROMPTS):
        alone = model.encode_prompts([prompt])
        close(together.pooled[i : i + 1], alone.pooled)
        for one, other in zip(together.embeds, alone.embeds, strict=True):
            assert torch.equal(one[i : i + 1], other)


def test_text_changes_the_noise(model, name):
    x_t, at = noise(model, name, 1), levels(model, 500)
    one, other = (
        model.predict_noise(x_t, at, model.encode_prompts([prompt])) for prompt in PROMPTS[:2]
    )
    assert (one - other).abs().max() > 1e-4


def test_pooled_text_is_one_vector_a_prompt(model, name):
    cond = model.encode_prompts(PROMPTS)
    assert cond.pooled.dtype == torch.float32
    assert cond.pooled.shape == (3, {"audio": 12, "video": 20}[modality(name)])
    assert (cond.pooled[0] - cond.pooled[1]).abs().max() > 1e-4
    if modality(name) == "audio":
        close(cond.pooled.norm(dim=1), torch.ones(3))
    else:
        tokens = model.pipe.encode_prompt(PROMPTS, "cpu", 1, False)[0]  # noqa: FBT003
        close(cond.pooled, tokens.mean(1))


def test_clips_come_back_with_their_length_rate_and_size(model, name):
    given = clips(name, 2)
    z_0 = model.encode(given)
    assert z_0.shape == (2, *SHAPES[name])
    assert z_0.dtype == torch.float32
    for before, after in zip(given, model.decode(z_0), strict=True):
        assert after.seconds == before.seconds
        if isinstance(before, Audio):
            assert after.sample_rate == before.sample_rate
            assert abs(after.waveform).max() <= 1
        else:
            assert after.fps == before.fps
            assert after.frames.shape == before.frames.shape
            assert after.frames.min() >= 0
            assert after.frames.max() <= 1


def test_encoding_and_decoding_depend_on_no_batch_mate(model, name):
    given = clips(name, 2)
    z_0 = model.encode(given)
    close(z_0[1:], model.encode(given[1:]))
    together, alone = model.decode(z_0)[1], model.decode(z_0[1:])[0]
    field = "waveform" if modality(name) == "audio" else "frames"
    assert (getattr(together, field) == getattr(alone, field)).all()


def test_latents_are_scaled_for_the_network(model, name):
    given = clips(name, 1)
    scale = model.pipe.vae.config.scaling_factor
    z_0 = model.encode(given)
    model.pipe.vae.register_to_config(scaling_factor=2 * scale)
    try:
        close(model.encode(given), 2 * z_0)
        field = "waveform" if modality(name) == "audio" else "frames"
        rescaled = getattr(model.decode(2 * z_0)[0], field)
    finally:
        model.pipe.vae.register_to_config(scaling_factor=scale)
    assert (rescaled == getattr(model.decode(z_0)[0], field)).all()


def test_a_negative_prompt_guides(model, name):
    null, negative = (AV(*[model.encode_prompts([text])] * 2) for text in ("", "noise"))
    pair = IndependentDenoisers(AV(model, model))
    z_t, cond = AV(*[noise(model, name, 2)] * 2), AV(*[model.encode_prompts(["a", "b"])] * 2)
    at = AV(*[levels(model, 500, 400)] * 2)
    plain, null_eps = (pair.predict_noise(z_t, at, one).audio for one in (cond, null_for(null, 2)))
    guided = ClassifierFreeGuidance(pair, null, AV(3.0, 1.0)).predict_noise(z_t, at, cond)
    close(guided.audio, null_eps + 3 * (plain - null_eps))
    other = ClassifierFreeGuidance(pair, negative, AV(3.0, 1.0)).predict_noise(z_t, at, cond)
    assert (other.audio - guided.audio).abs().max() > 1e-4


def null_for(null, count):
    def repeated(cond):
        embeds = tuple(one.expand(count, *one.shape[1:]) for one in cond.embeds)
        return type(cond)(cond.pooled.expand(count, -1), embeds)

    return null.map(repeated)


def test_saved_and_loaded_it_is_the_same_model(model, name, tmp_path):
    loaded = load(name, save(name, tmp_path))
    assert torch.equal(loaded.schedule.alphas, model.schedule.alphas)
    x_t, at, given = noise(model, name, 1), levels(model, 500), clips(name, 1)
    before, after = (one.encode_prompts(PROMPTS[:1]) for one in (model, loaded))
    close(after.pooled, before.pooled)
    close(loaded.predict_noise(x_t, at, after), model.predict_noise(x_t, at, before))
    close(loaded.encode(given), model.encode(given))
    field = "waveform" if modality(name) == "audio" else "frames"
    one, other = (getattr(each.decode(x_t)[0], field) for each in (loaded, model))
    assert_close(one, other, rtol=1e-4, scale=1)
    assert not any(p.requires_grad for network in networks(loaded) for p in network.parameters())


def test_half_precision_stays_inside(model, name, tmp_path):
    half = load(name, save(name, tmp_path), torch.bfloat16)
    assert half.pipe.unet.dtype == torch.bfloat16
    x_t, at = noise(model, name, 1), levels(model, 500)
    cond = half.encode_prompts(["a"])
    assert cond.pooled.dtype == torch.float32
    eps = half.predict_noise(x_t, at, cond)
    assert eps.dtype == half.encode(clips(name, 1)).dtype == torch.float32
    exact = model.predict_noise(x_t, at, model.encode_prompts(["a"]))
    assert (eps - exact).abs().max() < 0.1 * exact.abs().max()
    assert half.decode(x_t)


def test_captions_of_any_length_share_one_store(model, name, tmp_path):
    store = PairStore(tmp_path / "store", "real")
    for prompt in PROMPTS:
        z_0, cond = noise(model, name, 1), model.encode_prompts([prompt])
        store.append(Pairs(AV(z_0, z_0.clone()), AV(cond, model.encode_prompts([prompt]))))
    kept = store.read().cond.audio
    for one, other in zip(kept.embeds, model.encode_prompts(PROMPTS).embeds, strict=True):
        assert torch.equal(one, other)

import dataclasses
import json

import pytest
import torch
from closeness import assert_close

from mmdisco.core.av import AV
from mmdisco.core.noise import NoiseLevel, flow_matching, scaled_linear, variance_exploding
from mmdisco.discriminators.convolutions import SpectrogramLatents, VideoLatents, WaveformLatents
from mmdisco.discriminators.fusion import AdditiveFusionConfig, TimeFusionConfig
from mmdisco.discriminators.towers import ResBlock
from mmdisco.discriminators.two_tower import AudioVideoConfig, AudioVideoDiscriminator
from mmdisco.errors import UserError
from mmdisco.testing import DiscriminatorContract

TINY = AudioVideoConfig(
    audio=SpectrogramLatents(channels=3, rate=10.0, text_width=5),
    video=VideoLatents(channels=2, rate=4.0, text_width=7),
    width=16,
    depth=1,
    channel_mult=(1, 2),
    fusion=TimeFusionConfig(d_model=16, num_layers=2, num_heads=2),
)
ADDITIVE = dataclasses.replace(TINY, fusion=AdditiveFusionConfig())
WAVEFORM = dataclasses.replace(
    TINY, audio=WaveformLatents(channels=3, rate=10.0, text_width=5, time_pool=2)
)
WITHOUT_TEXT = dataclasses.replace(
    TINY, audio=SpectrogramLatents(3, 10.0), video=VideoLatents(2, 4.0)
)
FUSIONS = pytest.mark.parametrize("config", [TINY, ADDITIVE], ids=["time", "additive"])


def network(config):
    """A network past its first steps: the blocks' last convolutions are no longer zero."""
    torch.manual_seed(0)
    made = AudioVideoDiscriminator(config)
    for module in made.modules():
        if isinstance(module, ResBlock):
            torch.nn.init.normal_(module.last.linear.weight, std=0.2)
    return made


def latents(config, generator, batch=2, frames=4, steps=12):
    waveform = isinstance(config.audio, WaveformLatents)
    audio = (config.audio.channels, steps) if waveform else (config.audio.channels, steps, 4)
    return AV(
        torch.randn(batch, *audio, generator=generator),
        torch.randn(batch, config.video.channels, frames, 4, 4, generator=generator),
    )


def captions(config, generator, batch=2):
    return AV(
        torch.randn(batch, config.audio.text_width, generator=generator),
        torch.randn(batch, config.video.text_width, generator=generator),
    )


def levels(batch=2, audio=400.0, video=700.0):
    schedule = scaled_linear()
    return AV(
        schedule.level(torch.full((batch,), audio)), schedule.level(torch.full((batch,), video))
    )


def gradient(made, z, level, text, *, create_graph=False):
    z = z.map(lambda one: one.detach().requires_grad_())
    logit = made(z, level, text)
    return AV(*torch.autograd.grad(logit.sum(), (z.audio, z.video), create_graph=create_graph))


def relative_change(first, second):
    return float(((first - second).norm() / first.norm()).detach())


def other_audio_moves_video_gradient(config, generator):
    made, level, text = network(config), levels(), captions(config, generator)
    z = latents(config, generator)
    other = AV(latents(config, generator).audio, z.video)
    return relative_change(
        gradient(made, z, level, text).video, gradient(made, other, level, text).video
    )


def test_audio_changes_the_gradient_of_the_video_with_the_fusion_in_time(generator):
    assert other_audio_moves_video_gradient(TINY, generator) > 1e-3


def test_audio_leaves_the_gradient_of_the_video_with_the_additive_head(generator):
    assert other_audio_moves_video_gradient(ADDITIVE, generator) < 1e-5


def test_untrained_network_with_fusion_in_time_already_sees_the_pair(generator):
    torch.manual_seed(0)
    made, level, text = AudioVideoDiscriminator(TINY), levels(), captions(TINY, generator)
    z = latents(TINY, generator)
    other = AV(latents(TINY, generator).audio, z.video)
    first, second = gradient(made, z, level, text), gradient(made, other, level, text)
    assert relative_change(first.video, second.video) > 1e-3


def test_sound_half_a_second_later_changes_the_logit_with_the_fusion_in_time(generator):
    made, level, text = network(TINY), levels(), captions(TINY, generator)
    z = latents(TINY, generator, steps=20)
    late = AV(z.audio.roll(5, dims=2), z.video)
    change = (made(late, level, text) - made(z, level, text)).abs() / made(z, level, text).abs()
    assert change.min() > 1e-3


@pytest.mark.parametrize("frames", [8, 16, 64])
@pytest.mark.parametrize("seconds", [0.5, 2.0, 20.0])
def test_one_set_of_weights_takes_any_length(frames, seconds, generator):
    made, level, text = network(TINY), levels(), captions(TINY, generator)
    z = latents(TINY, generator, frames=frames, steps=round(seconds * TINY.audio.rate))
    assert made(z, level, text).isfinite().all()


class TestContract(DiscriminatorContract):
    @pytest.fixture(params=[TINY, ADDITIVE], ids=["time", "additive"])
    def config(self, request):
        return request.param

    @pytest.fixture
    def discriminator(self, config):
        return network(config)

    @pytest.fixture
    def pair(self, config, generator):
        return latents(config, generator, 3), levels(3), captions(config, generator, 3)


@FUSIONS
def test_reordering_the_batch_reorders_the_logits(config, generator):
    made, text = network(config), captions(config, generator)
    z, level = latents(config, generator), levels()
    flipped = made(z.map(lambda one: one.flip(0)), level, text.map(lambda one: one.flip(0)))
    assert_close(made(z, level, text).flip(0), flipped)


@FUSIONS
@pytest.mark.parametrize("to_device", [{"audio": 100.0}, {"video": 100.0}], ids=["audio", "video"])
def test_either_level_changes_the_gradients_of_both(config, to_device, generator):
    made, text, z = network(config), captions(config, generator), latents(config, generator)
    before, after = gradient(made, z, levels(), text), gradient(made, z, levels(**to_device), text)
    assert relative_change(before.audio, after.audio) > 1e-3
    assert relative_change(before.video, after.video) > 1e-3


@FUSIONS
@pytest.mark.parametrize("modality", ["audio", "video"])
def test_either_caption_changes_the_logit(config, modality, generator):
    made, z, text = network(config), latents(config, generator), captions(config, generator)
    other = dataclasses.replace(text, **{modality: -getattr(text, modality)})
    before, after = made(z, levels(), text), made(z, levels(), other)
    assert relative_change(before, after) > 1e-3


def test_captions_of_width_0_have_no_weights(generator):
    made = network(WITHOUT_TEXT)
    assert not any("text" in name for name, _ in made.named_parameters())
    z, text = latents(WITHOUT_TEXT, generator), captions(WITHOUT_TEXT, generator)
    assert made(z, levels(), text).isfinite().all()


def test_captions_of_another_width_are_refused(generator):
    z, text = latents(TINY, generator), captions(WITHOUT_TEXT, generator)
    with pytest.raises(UserError, match="audio captions of width 0: this discriminator reads 5"):
        network(TINY)(z, levels(), text)


def test_latent_too_small_for_the_pools_is_refused(generator):
    z, text = latents(TINY, generator), captions(TINY, generator)
    with pytest.raises(UserError, match=r"too small .* at least \(1, 2, 2\)"):
        network(TINY)(AV(z.audio, z.video[..., :1, :]), levels(), text)


@pytest.mark.parametrize("schedule", [variance_exploding(), flow_matching()], ids=["ve", "flow"])
def test_units_of_the_family_do_not_matter(schedule, generator):
    made, text, z = network(TINY), captions(TINY, generator), latents(TINY, generator)
    one = schedule.level(torch.tensor([300.0, 700.0]))
    vp = NoiseLevel(one.t, one.alpha / one.magnitude, one.sigma / one.magnitude)
    scaled = z.map(lambda x: x * one.magnitude.to(x.dtype).reshape(-1, *[1] * (x.ndim - 1)))
    assert_close(made(scaled, AV(one, one), text), made(z, AV(vp, vp), text), rtol=1e-4)


@pytest.mark.parametrize(
    "level",
    [
        levels(),
        AV(NoiseLevel.clean(2), levels().video),
        AV(NoiseLevel.clean(2), NoiseLevel.clean(2)),
    ],
    ids=["noisy", "clean audio", "clean"],
)
@pytest.mark.parametrize("config", [TINY, ADDITIVE, WAVEFORM], ids=["time", "additive", "waveform"])
def test_weights_learn_from_the_gradient(config, level, generator):
    made, z, text = network(config), latents(config, generator), captions(config, generator)
    slope = gradient(made, z, level, text, create_graph=True)
    (slope.audio.square().sum() + slope.video.square().sum()).backward()
    got = {name: weight.grad for name, weight in made.named_parameters()}
    # a constant added to the logit, or to all of it that is linear, moves no gradient
    reached = [name for name, grad in got.items() if grad is not None and bool(grad.any())]
    assert len(reached) > 0.7 * len(got)
    assert all(grad.isfinite().all() for grad in got.values() if grad is not None)


def test_second_derivative_is_that_of_finite_differences(generator):
    config = dataclasses.replace(TINY, depth=1, channel_mult=(1, 1), width=8)
    made = network(config).double()
    z = latents(config, generator, batch=1, frames=2, steps=3).map(lambda one: one.double())
    text = captions(config, generator, batch=1).map(lambda one: one.double())
    direction = latents(config, generator, batch=1, frames=2, steps=3).map(lambda x: x.double())
    weight = made.get_parameter("video.blocks.0.wide.spatial.weight")

    def slope():
        got = gradient(made, z, levels(1), text, create_graph=True)
        return (got.audio * direction.audio).sum() + (got.video * direction.video).sum()

    (exact,) = torch.autograd.grad(slope(), weight)
    change = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
    expected = float((exact * change).sum())
    with torch.no_grad():
        weight += 1e-5 * change
        above = float(slope_value(slope))
        weight -= 2e-5 * change
        below = float(slope_value(slope))
    assert (above - below) / 2e-5 == pytest.approx(expected, rel=1e-5)


def slope_value(slope):
    with torch.enable_grad():
        return slope().detach()


def test_untrained_logits_are_small_and_their_gradients_are_not_zero(generator):
    made = AudioVideoDiscriminator(TINY)
    z, text = latents(TINY, generator), captions(TINY, generator)
    assert made(z, levels(), text).abs().max() < 1
    got = gradient(made, z, levels(), text)
    assert got.audio.abs().max() > 0
    assert got.video.abs().max() > 0


@pytest.mark.parametrize(
    ("fusion", "count"),
    [(TimeFusionConfig(), 37_273_345), (AdditiveFusionConfig(), 33_261_313)],
    ids=["time", "additive"],
)
def test_parameter_count_at_the_size_of_the_paper(fusion, count):
    config = AudioVideoConfig(
        SpectrogramLatents(8, 25.0, 512), VideoLatents(4, 8.0, 768), fusion=fusion
    )
    with torch.device("meta"):
        made = AudioVideoDiscriminator(config)
    assert sum(weight.numel() for weight in made.parameters()) == count


@pytest.mark.parametrize("config", [TINY, ADDITIVE, WAVEFORM], ids=["time", "additive", "waveform"])
def test_weights_and_configuration_survive_their_files(config, generator):
    made, z, text = network(config), latents(config, generator), captions(config, generator)
    again = AudioVideoConfig.from_record(json.loads(json.dumps(config.to_record())))
    assert again == config
    loaded = AudioVideoDiscriminator(again)
    loaded.load_state_dict(made.state_dict())
    assert torch.equal(loaded(z, levels(), text), made(z, levels(), text))


def test_weights_are_contiguous_as_safetensors_wants_them():
    assert all(weight.is_contiguous() for weight in network(TINY).state_dict().values())


@pytest.mark.parametrize(
    "change",
    [
        {"fusion": {"kind": "mystery"}},
        {"audio": {"kind": "video", "channels": 3, "rate": 1.0}},
        {"colour": 3},
    ],
    ids=["fusion", "modality", "unknown"],
)
def test_record_of_something_else_is_refused(change):
    with pytest.raises(
        UserError, match=r"^no configuration of a discriminator that this version reads: "
    ):
        AudioVideoConfig.from_record({**TINY.to_record(), **change})


@pytest.mark.parametrize("record", [-1, None, "x", [], {"audio": 3}], ids=str)
def test_a_record_of_another_type_is_refused(record):
    with pytest.raises(UserError, match=r"^no configuration of a discriminator "):
        AudioVideoConfig.from_record(record)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: dataclasses.replace(TINY, width=0), "width 0: give a number of at least 1"),
        (lambda: dataclasses.replace(TINY, depth=0), "depth 0: give a number of at least 1"),
        (lambda: dataclasses.replace(TINY, channel_mult=()), "give one or more"),
        (lambda: dataclasses.replace(TINY, channel_mult=(1, 0)), "each at least 1"),
        (lambda: VideoLatents(0, 8.0), "channels 0: give a number of at least 1"),
        (lambda: VideoLatents(4, 0.0), "rate 0.0: give a number greater than 0"),
        (lambda: VideoLatents(4, 8.0, -1), "text_width -1: give a number of at least 0"),
        (lambda: WaveformLatents(4, 8.0, time_pool=0), "time_pool 0: give a number of at least 1"),
        (lambda: TimeFusionConfig(d_model=20, num_heads=4), "multiple of twice its 4 heads"),
        (lambda: TimeFusionConfig(num_layers=0), "num_layers 0: give a number of at least 1"),
    ],
)
def test_sizes_that_make_no_network_are_refused_in_one_line(make, message):
    with pytest.raises(UserError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)

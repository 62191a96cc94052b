from dataclasses import replace

import pytest
import torch
from closeness import assert_close
from torch import nn
from torch.nn import functional

from mmdisco.core.av import AV
from mmdisco.core.denoiser import Conditioning, Denoiser, IndependentDenoisers
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.guidance import ClassifierFreeGuidance, ConstantScale, JointGuidance
from mmdisco.core.log_ratio import log_ratio_gradient
from mmdisco.core.noise import NoiseLevel, scaled_linear, variance_exploding
from mmdisco.discriminators.official.blocks import (
    ModulatedInputNorm,
    ShiftBefore,
)
from mmdisco.discriminators.official.config import OfficialConfig
from mmdisco.discriminators.official.fusion import (
    ChannelFusionConfig,
    ClassToken,
    MeanFusionConfig,
    MeanOfTokens,
    SequenceFusionConfig,
    TransformerConfig,
    stretch,
)
from mmdisco.discriminators.official.latents import (
    DilatedSpectrogramConvolution,
    DilatedWaveformConvolution,
    OfficialVideo,
    Spectrogram,
    Waveform,
)
from mmdisco.discriminators.official.network import ReleasedDiscriminator
from mmdisco.discriminators.wrappers import ClampedLogit
from mmdisco.errors import UserError

MEAN = OfficialConfig(
    audio=Spectrogram(3, 5),
    video=OfficialVideo(2, 6),
    fusion=MeanFusionConfig(),
    width=32,
    depth=1,
    channel_mult=(1, 1),
    embedding=8,
)
TRANSFORMER = TransformerConfig(16, 1, 8, ClassToken)
SEQUENCE = replace(MEAN, fusion=SequenceFusionConfig(TRANSFORMER))
CHANNELS = replace(MEAN, fusion=ChannelFusionConfig(replace(TRANSFORMER, readout=MeanOfTokens)))
WAVES = replace(MEAN, audio=Waveform(3, 5), dilations=10)
ATTENTIVE = replace(
    MEAN,
    audio=Spectrogram(3, 5, attention=(0, 1)),
    video=OfficialVideo(2, 6, attention=(0,)),
    cross_attention=(1,),
    head_width=16,
)
SHIFTED = replace(
    MEAN,
    modulation=ShiftBefore,
    input_norm=ModulatedInputNorm,
    channel_mult=(1.5, 1),
    width=64,
)
CONFIGS = [MEAN, SEQUENCE, CHANNELS, WAVES, ATTENTIVE, SHIFTED]


def network_of(config):
    torch.manual_seed(0)
    network = ReleasedDiscriminator(config)
    for weight in network.parameters():
        # branches that begin at zero would hide what is in them
        nn.init.normal_(weight, std=weight[0].numel() ** -0.5 if weight.ndim > 1 else 0.5)
    return network.eval()


def pair(config, generator, batch=2, steps=9, frames=4):
    sound = (20 * steps,) if isinstance(config.audio, Waveform) else (steps, 4)
    return AV(
        torch.randn(batch, 3, *sound, generator=generator),
        torch.randn(batch, 2, frames, 4, 4, generator=generator),
    )


def levels(*timesteps):
    level = scaled_linear().level(torch.tensor(timesteps, dtype=torch.float64))
    return AV(level, level)


def texts(generator, batch=2):
    return AV(
        torch.randn(batch, 5, generator=generator), torch.randn(batch, 6, generator=generator)
    )


def test_a_shift_is_added_before_the_norm(generator):
    shifted = ShiftBefore(32, 64, 8)
    nn.init.normal_(shifted.norm.weight)
    x, own = torch.randn(2, 64, 3, 4, generator=generator), torch.randn(2, 8, generator=generator)
    added = x + shifted.projection(functional.silu(own))[:, :, None, None]
    wanted = functional.group_norm(added, 32, shifted.norm.weight, shifted.norm.bias)
    assert_close(shifted(x, own), wanted)


def test_a_fraction_of_a_multiplier_makes_its_share_of_channels():
    network = ReleasedDiscriminator(SHIFTED)
    assert SHIFTED.channels == (96, 64)
    assert network.last.in_features == 2 * 64
    assert len(network.get_parameter("blocks.0.audio.wide.convolution.weight")) == 96


@pytest.mark.parametrize("config", CONFIGS)
def test_a_pair_does_not_see_its_batch_mates(config, generator):
    network = network_of(config)
    z, text = pair(config, generator), texts(generator)
    both = network(z, levels(900, 30), text)
    alone = network(z.map(lambda x: x[1:]), levels(30), text.map(lambda x: x[1:]))
    assert_close(alone, both[1:], rtol=1e-4)


@pytest.mark.parametrize("config", CONFIGS)
def test_timestep_and_both_captions_reach_the_logit(config, generator):
    network = network_of(config)
    z, text = pair(config, generator), texts(generator)
    logit = network(z, levels(500, 500), text)
    assert (network(z, levels(400, 400), text) - logit).abs().min() > 1e-4
    assert (network(z, levels(500, 500), AV(-text.audio, text.video)) - logit).abs().min() > 1e-4
    assert (network(z, levels(500, 500), AV(text.audio, -text.video)) - logit).abs().min() > 1e-4


def gradient_of_video(network, z, text):
    return log_ratio_gradient(lambda one: network(one, levels(500, 500), text), z).gradient.video


def test_means_over_time_keep_either_gradient_from_seeing_the_other_side(generator):
    z, text = pair(MEAN, generator), texts(generator)
    network = network_of(MEAN)
    other = gradient_of_video(network, AV(-z.audio, z.video), text)
    assert_close(other, gradient_of_video(network, z, text), rtol=1e-4)


@pytest.mark.parametrize("config", [SEQUENCE, CHANNELS, ATTENTIVE])
def test_a_transformer_or_attention_between_the_towers_lets_it_see(config, generator):
    z, text = pair(config, generator), texts(generator)
    network = network_of(config)
    own = gradient_of_video(network, z, text)
    change = gradient_of_video(network, AV(-z.audio, z.video), text) - own
    assert change.norm() > 0.01 * own.norm()


@pytest.mark.parametrize(
    ("config", "setting"),
    [
        (MEAN, {"dilations": 3}),
        (WAVES, {"dilations": 1}),
        (ATTENTIVE, {"heads": 2}),
        (ATTENTIVE, {"head_width": 32}),
        (SEQUENCE, {"fusion": SequenceFusionConfig(replace(TRANSFORMER, layers=2))}),
    ],
)
def test_a_setting_changes_the_logit(config, setting, generator):
    z, text = pair(config, generator), texts(generator)
    network, other = network_of(config), network_of(replace(config, **setting))
    other.load_state_dict(network.state_dict(), strict=False)
    change = network(z, levels(500, 500), text) - other(z, levels(500, 500), text)
    assert change.abs().min() > 1e-5


@pytest.mark.parametrize(
    ("config", "most"), [(SEQUENCE, (6, 120)), (CHANNELS, (6, 127)), (CHANNELS, (127, 6))]
)
def test_a_clip_is_refused_beyond_the_positions_that_are_learned(config, most, generator):
    network, text = network_of(config), texts(generator, 1)
    frames, steps = most
    network(pair(config, generator, 1, steps, frames), levels(500), text)
    longer = pair(config, generator, 1, steps + (steps > 6), frames + (frames > 6))
    with pytest.raises(UserError, match=r"129 tokens.* 128"):
        network(longer, levels(500), text)


def test_means_over_time_take_clips_of_any_length(generator):
    z = pair(MEAN, generator, 1, steps=300, frames=3)
    assert network_of(MEAN)(z, levels(500), texts(generator, 1)).isfinite().all()


@pytest.mark.parametrize(
    "level",
    [
        AV(levels(500).audio, levels(400).audio),
        AV(levels(500).audio, NoiseLevel.clean(1)),
        AV(NoiseLevel.clean(1), levels(500).audio),
    ],
)
def test_levels_of_different_timesteps_are_refused(level, generator):
    with pytest.raises(UserError, match="one noise level"):
        network_of(MEAN)(pair(MEAN, generator, 1), level, texts(generator, 1))


def test_latents_of_another_family_are_seen_in_the_same_units(generator):
    network, z, text = network_of(MEAN), pair(MEAN, generator, 1), texts(generator, 1)
    level = variance_exploding().level(torch.tensor([500.0], dtype=torch.float64))
    scaled = z.map(lambda x: (x * level.magnitude).float())
    got = network(scaled, AV(level, level), text)
    assert_close(got, network(z, levels(500), text), rtol=1e-4)


@pytest.mark.parametrize(
    ("audio", "video", "named"),
    [
        ((1, 4, 9, 4), (1, 2, 4, 4, 4), "audio latent"),
        ((1, 3, 36), (1, 2, 4, 4, 4), "audio latent"),
        ((1, 3, 9, 4), (1, 4, 2, 4, 4), "video latent"),
        ((1, 3, 9, 1), (1, 2, 4, 4, 4), "audio latent.*too small"),
        ((1, 3, 9, 4), (1, 2, 4, 1, 4), "video latent.*too small"),
    ],
)
def test_a_latent_of_another_shape_is_refused(audio, video, named, generator):
    z = AV(torch.zeros(audio), torch.zeros(video))
    with pytest.raises(UserError, match=named):
        network_of(MEAN)(z, levels(500), texts(generator, 1))


@pytest.mark.parametrize("wrong", [(1, 4), (1, 7, 5)])
def test_captions_of_another_shape_are_refused(wrong, generator):
    text = AV(torch.zeros(wrong), torch.zeros(1, 6))
    with pytest.raises(UserError, match="audio captions"):
        network_of(MEAN)(pair(MEAN, generator, 1), levels(500), text)


@pytest.mark.parametrize("length", [16, 17, 19, 30])
@pytest.mark.parametrize(("dilation", "window"), [(4, 4), (8, 4), (2, 4), (3, 1), (64, 4)])
def test_dilated_convolution_of_a_wave_is_averaged(length, dilation, window, generator):
    torch.manual_seed(0)
    wide = DilatedWaveformConvolution(3, 5, (window,), dilation)
    x = torch.randn(2, 3, length, generator=generator)
    one = wide.convolution
    plain = functional.conv1d(x, one.weight, one.bias, padding=dilation, dilation=dilation)
    assert_close(wide(x), functional.avg_pool1d(plain, window))


@pytest.mark.parametrize("window", [(1, 1), (1, 2)])
def test_dilated_convolution_of_a_spectrogram_is_averaged(window, generator):
    torch.manual_seed(0)
    wide = DilatedSpectrogramConvolution(3, 5, window, 4)
    x = torch.randn(2, 3, 9, 7, generator=generator)
    one = wide.convolution
    plain = functional.conv2d(x, one.weight, one.bias, padding=4, dilation=4)
    assert_close(wide(x), functional.avg_pool2d(plain, window))


@pytest.mark.parametrize(("given", "count"), [(3, 8), (4, 4), (5, 7), (1, 3)])
def test_stretching_repeats_the_nearest_earlier_step(given, count, generator):
    tokens = torch.randn(2, given, 3, generator=generator)
    expected = functional.interpolate(tokens.mT, size=count, mode="nearest").mT
    assert_close(stretch(tokens, count), expected)


class Certain(Discriminator):
    """A logit that is proportional to the first number of the sound."""

    def __init__(self, slope):
        super().__init__()
        self.slope = slope

    def forward(self, z_t, level, text):
        return self.slope * z_t.audio[:, 0]


@pytest.mark.parametrize(("logit", "slope"), [(0.5, 1.0), (-8.0, 1.0), (20.0, 0.0), (-30.0, 0.0)])
def test_the_bound_stops_the_gradient_of_a_certain_logit_alone(logit, slope):
    clamped, ones = ClampedLogit(Certain(logit)), AV(torch.ones(1, 1), torch.ones(1, 1))
    ratio = log_ratio_gradient(lambda z: clamped(z, levels(500), ones), ones)
    assert abs(float(ratio.logit)) < 11.52
    assert_close(
        ratio.gradient.audio, torch.full((1, 1), slope * logit), rtol=0.05, scale=abs(logit)
    )


class Silent(Denoiser):
    @property
    def schedule(self):
        return scaled_linear()

    def predict_noise(self, x_t, level, cond):
        return torch.zeros_like(x_t)


def test_joint_and_classifier_free_guidance_use_it_as_any_discriminator(generator):
    network, z, level = network_of(SEQUENCE), pair(SEQUENCE, generator), levels(500, 500)
    text = texts(generator)
    base = IndependentDenoisers(AV(Silent(), Silent()))
    guided = JointGuidance(base, network, AV(ConstantScale(1.0), ConstantScale(8.0)))
    null = AV(Conditioning(torch.zeros(1, 5)), Conditioning(torch.zeros(1, 6)))
    cond = text.map(Conditioning)

    eps = ClassifierFreeGuidance(guided, null, AV(2.5, 7.5)).predict_noise(z, level, cond)

    def residual(given):
        ratio = log_ratio_gradient(lambda one: network(one, level, given), z)
        return ratio.gradient.video * -8.0 * level.video.sigma.float()[:, None, None, None, None]

    empty = residual(AV(torch.zeros(2, 5), torch.zeros(2, 6)))
    assert_close(eps.video, empty + 7.5 * (residual(text) - empty), rtol=1e-4)

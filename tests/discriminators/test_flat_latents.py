"""Discriminators that read every step of a small latent as one vector."""

import pytest
import torch
from closeness import assert_close, is_close

from mmdisco.core.av import AV
from mmdisco.core.log_ratio import log_ratio_gradient
from mmdisco.core.noise import cosine
from mmdisco.discriminators.convolutions import FlatLatents, VideoLatents
from mmdisco.discriminators.fusion import TimeFusionConfig
from mmdisco.discriminators.two_tower import AudioVideoConfig, AudioVideoDiscriminator
from mmdisco.errors import UserError
from mmdisco.training.config import DiscriminatorConfig
from mmdisco.training.discriminator_config import build_discriminator_config

CONFIG = AudioVideoConfig(
    audio=FlatLatents(channels=2, rate=20.0, text_width=3, space=(4,)),
    video=FlatLatents(channels=2, rate=10.0, text_width=3, space=(2, 2)),
    width=16,
    depth=1,
    channel_mult=(1,),
    fusion=TimeFusionConfig(d_model=16, num_layers=1, num_heads=2),
)


@pytest.fixture
def network() -> AudioVideoDiscriminator:
    torch.manual_seed(0)
    network = AudioVideoDiscriminator(CONFIG)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def _inputs(steps: int = 8) -> tuple[AV, AV, AV]:
    generator = torch.Generator().manual_seed(1)
    z_t = AV(
        torch.randn(3, 2, 2 * steps, 4, generator=generator),
        torch.randn(3, 2, steps, 2, 2, generator=generator),
    )
    level = cosine().level(torch.tensor([100.0, 400.0, 800.0], dtype=torch.float64))
    text = AV(torch.randn(3, 3, generator=generator), torch.randn(3, 3, generator=generator))
    return z_t, AV(level, level), text


@pytest.mark.parametrize(
    ("video", "kind"),
    [
        ((6, 20, 10, 12), FlatLatents),
        ((4, 16, 16, 16), FlatLatents),
        ((4, 16, 32, 32), VideoLatents),
    ],
)
def test_steps_of_up_to_1024_values_are_read_whole(video, kind):
    shapes = AV(torch.Size((6, 40, 16)), torch.Size(video))
    made = build_discriminator_config(DiscriminatorConfig(), shapes, AV(64, 64), AV(20.0, 10.0))
    assert type(made.video) is kind


@pytest.mark.parametrize("steps", [4, 8, 13])
def test_any_number_of_steps_gives_one_logit_a_pair(network, steps):
    z_t, level, text = _inputs(steps)
    assert network(z_t, level, text).shape == (3,)


def test_every_value_of_a_step_moves_the_logit(network):
    z_t, level, text = _inputs()
    gradient = log_ratio_gradient(lambda z: network(z, level, text), z_t).gradient
    assert gradient.audio.abs().amin() > 0
    assert gradient.video.abs().amin() > 0


def test_where_a_value_stands_in_space_matters(network):
    z_t, level, text = _inputs()
    turned = AV(z_t.audio, z_t.video.flip(3))
    assert not is_close(network(z_t, level, text), network(turned, level, text), rtol=1e-3)


def test_the_gradient_of_one_side_sees_the_other(network):
    z_t, level, text = _inputs()
    other = AV(z_t.audio.roll(1, 0), z_t.video)
    first, second = (
        log_ratio_gradient(lambda z: network(z, level, text), z).gradient.video
        for z in (z_t, other)
    )
    assert not is_close(first, second, rtol=1e-3)


def test_a_pair_does_not_depend_on_its_batch(network):
    z_t, level, text = _inputs()
    alone = network(
        z_t.map(lambda x: x[:1]),
        level.map(lambda _: cosine().level(level.audio.t[:1])),
        text.map(lambda x: x[:1]),
    )
    assert_close(network(z_t, level, text)[:1], alone)


def test_another_extent_in_space_is_refused(network):
    z_t, level, text = _inputs()
    with pytest.raises(UserError, match="space"):
        network(AV(z_t.audio, z_t.video[..., :1]), level, text)


def test_the_configuration_survives_its_record():
    assert AudioVideoConfig.from_record(CONFIG.to_record()) == CONFIG

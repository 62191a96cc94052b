import pytest
import torch
from closeness import assert_close, is_close

from mmdisco.core.av import AV, each
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.log_ratio import log_ratio_gradient
from mmdisco.core.noise import NoiseLevel, linear, variance_exploding
from mmdisco.discriminators.mlp import VectorConfig, VectorDiscriminator
from mmdisco.errors import UserError

COUNT = 5


@pytest.fixture
def network():
    torch.manual_seed(0)
    net = VectorDiscriminator(VectorConfig(2, width=16, text_width=3))
    torch.nn.init.normal_(net.last.weight)
    return net


def inputs(generator, u=0.5):
    z = AV(*torch.randn(2, COUNT, 2, generator=generator))
    path = SameTimestep(AV(linear(), linear()))
    text = AV(*torch.randn(2, COUNT, 3, generator=generator))
    return z, path.levels(torch.full((COUNT,), u, dtype=torch.float64)), text


def test_fresh_network_gives_no_guidance(generator):
    z, level, _ = inputs(generator)
    net = VectorDiscriminator(VectorConfig(2, width=16))
    text = AV(torch.zeros(COUNT, 0), torch.zeros(COUNT, 0))
    gradient = log_ratio_gradient(lambda pair: net(pair, level, text), z).gradient
    assert not gradient.audio.any()


@pytest.mark.parametrize("side", ["audio", "video"])
def test_level_of_either_side_matters(side, network, generator):
    z, level, text = inputs(generator)
    _, other, _ = inputs(generator, u=0.2)
    changed = AV(other.audio, level.video) if side == "audio" else AV(level.audio, other.video)
    assert not is_close(network(z, level, text), network(z, changed, text), rtol=1e-3)


def test_caption_matters(network, generator):
    z, level, text = inputs(generator)
    assert not is_close(network(z, level, text), network(z, level, text.swap()), rtol=1e-3)


def test_sound_changes_the_gradient_of_the_video(network, generator):
    z, level, text = inputs(generator)
    other = AV(z.audio + 1, z.video)
    one, two = (
        log_ratio_gradient(lambda pair: network(pair, level, text), pair).gradient.video
        for pair in (z, other)
    )
    assert not is_close(one, two, rtol=1e-3)


def test_clean_sides_are_finite(network, generator):
    z, level, text = inputs(generator)
    clean = AV(NoiseLevel.clean(COUNT), level.video)
    ratio = log_ratio_gradient(lambda pair: network(pair, clean, text), z)
    assert ratio.logit.isfinite().all()
    assert ratio.gradient.audio.isfinite().all()


def test_units_of_a_schedule_do_not_matter(network, generator):
    z, level, text = inputs(generator)
    exploding = variance_exploding().level_at_log_snr(level.audio.log_snr)
    stretched = z.audio * exploding.magnitude[:, None].float()
    got = network(AV(stretched, z.video), AV(exploding, level.video), text)
    assert_close(got, network(z, level, text), rtol=1e-3)


def test_pairs_do_not_see_one_another(network, generator):
    z, level, text = inputs(generator)
    one = z.map(lambda x: x[:1])
    alone = network(
        one,
        level.map(lambda at: at.__class__(at.t[:1], at.alpha[:1], at.sigma[:1])),
        text.map(lambda t: t[:1]),
    )
    assert_close(alone, network(z, level, text)[:1])


def test_every_sound_of_a_group_meets_every_video(network, generator):
    z, text = (AV(*torch.randn(2, 6, width, generator=generator)) for width in (2, 3))
    level = SameTimestep(AV(linear(), linear())).levels(torch.full((6,), 0.4).double())
    found = network.pairwise_logits(z, level, text, 3)
    assert found.shape == (2, 1, 3, 3)
    chosen = AV(torch.tensor([3, 5]), torch.tensor([4, 3]))  # of the second group
    two = level.map(lambda one: one.take([0, 1]))
    pairs, told = (each(lambda x, row: x[row], one, chosen) for one in (z, text))
    assert_close(torch.stack([found[1, 0, 0, 1], found[1, 0, 2, 0]]), network(pairs, two, told))


@pytest.mark.parametrize("wrong", [{"width": 0}, {"layers": 0}, {"dimensions": -1}], ids=str)
def test_impossible_shapes_are_refused(wrong):
    with pytest.raises(UserError, match="at least 1"):
        VectorConfig(**wrong)

import pytest
import torch
from closeness import assert_close
from torch import nn
from torch.nn import functional

from mmdisco.adapters.mmdiffusion.attention import (
    DilatedConvolution,
    FactorizedConvolution,
    GroupNorm,
    attend,
    time_features,
)
from mmdisco.adapters.mmdiffusion.config import (
    JOINT,
    UPSCALER,
    JointConfig,
    UNetLevel,
    UpscalerConfig,
)
from mmdisco.adapters.mmdiffusion.network import JointNetwork
from mmdisco.adapters.mmdiffusion.shifts import NoShifts, SeededShifts
from mmdisco.adapters.mmdiffusion.super_resolution import UpscalerNetwork
from mmdisco.core.av import AV
from mmdisco.errors import UserError

SMALL = JointConfig(
    width=32,
    levels=(UNetLevel(32), UNetLevel(64, window=2, video_attention=True, audio_attention=True)),
    depth=1,
    crosses_middle=True,
    head_channels=32,
    frames=4,
    side=8,
    samples=256,
)


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return JointNetwork(SMALL).eval().requires_grad_(False)  # noqa: FBT003


def clips(generator, count=2, samples=256, frames=4, side=8):
    return AV(
        torch.randn(count, 1, samples, generator=generator),
        torch.randn(count, 3, frames, side, side, generator=generator),
    )


def times(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("build", "parameters", "names"),
    [
        (lambda: JointNetwork(JOINT), 133_675_524, 1046),
        (lambda: UpscalerNetwork(UPSCALER), 311_027_910, 630),
    ],
    ids=["joint", "upscaler"],
)
def test_networks_are_as_large_as_the_published_ones(build, parameters, names):
    with torch.device("meta"):
        network = build()
    assert sum(one.numel() for one in network.parameters()) == parameters
    assert len(network.state_dict()) == names


def test_configurations_survive_json():
    assert JointConfig.from_record(JOINT.to_record()) == JOINT
    assert UpscalerConfig.from_record(UPSCALER.to_record()) == UPSCALER


def test_noise_has_the_shape_of_the_clips(network, generator):
    z_t = clips(generator)
    eps = network(z_t, times(10, 900), NoShifts())
    assert eps.map(lambda x: x.shape) == z_t.map(lambda x: x.shape)


def test_samples_do_not_see_their_batch_mates(network, generator):
    z_t = clips(generator, count=3)
    t = times(3, 500, 500)
    together = network(z_t, t, SeededShifts((5, 6, 7)))
    for index, seed in enumerate((5, 6, 7)):
        one = slice(index, index + 1)
        alone = network(z_t.map(lambda x, one=one: x[one]), t[one], SeededShifts((seed,)))
        assert_close(alone.audio, together.audio[one], rtol=1e-4)
        assert_close(alone.video, together.video[one], rtol=1e-4)


def test_either_modality_sees_the_other(network, generator):
    z_t, other = clips(generator), clips(generator)
    t = times(500, 500)
    before = network(z_t, t, NoShifts())
    sound = network(AV(other.audio, z_t.video), t, NoShifts())
    picture = network(AV(z_t.audio, other.video), t, NoShifts())
    assert (sound.video - before.video).abs().max() > 1e-4
    assert (picture.audio - before.audio).abs().max() > 1e-4


def test_seeds_settle_the_windows(network, generator):
    z_t, t = clips(generator), times(500, 500)
    first = network(z_t, t, SeededShifts((1,))).video
    assert torch.equal(network(z_t, t, SeededShifts((1,))).video, first)
    assert not torch.equal(network(z_t, t, SeededShifts((4,))).video, first)


def test_shifts_differ_between_blocks_and_times_and_are_uniform():
    shifts = SeededShifts((0,))
    drawn = [shifts.draw(times(t), block, 16)[0] for t in range(100) for block in range(10)]
    counts = torch.bincount(torch.tensor(drawn), minlength=16)
    assert len(counts) == 16
    # 62.5 expected, with a standard deviation of 7.7
    assert 35 < counts.min() <= counts.max() < 95


def test_shifts_of_one_seed_hold_for_any_batch():
    assert len(set(SeededShifts((3,)).draw(times(5, 5, 5), 2, 100))) == 1


def test_seeds_of_another_number_are_refused():
    with pytest.raises(UserError, match="2 seeds"):
        SeededShifts((1, 2)).draw(times(5, 5, 5), 0, 4)


@pytest.mark.parametrize(
    ("samples", "frames", "side", "told"),
    [(254, 4, 8, "254 samples"), (256, 4, 7, "7×7"), (256, 1, 8, "1 frames")],
)
def test_clips_that_do_not_divide_are_refused(network, generator, samples, frames, side, told):
    z_t = clips(generator, 1, samples, frames, side)
    with pytest.raises(UserError, match=told):
        network(z_t, times(5), NoShifts())


@pytest.mark.parametrize(("tokens", "others"), [(12, 20), (14, 20), (12, 23), (13, 22)])
@pytest.mark.parametrize(("window", "shift"), [(1, 0), (1, 3), (2, 2), (3, 1), (4, 0)])
def test_tokens_see_the_windows_of_the_definition(generator, tokens, others, window, shift):
    frames, heads, channels = 4, 2, 8
    query = torch.randn(tokens, channels, generator=generator)
    keys, values = torch.randn(2, others, channels, generator=generator)
    got = attend(
        query,
        torch.cat([keys, values], 1),
        frames=frames,
        window=window,
        shift=shift,
        heads=heads,
    )
    own, size = tokens // frames, others // frames
    for index in range(tokens):
        chunk = min(index // own, frames - 1)
        seen = (torch.arange(window * size) + (chunk + shift) * size) % others
        for head in range(heads):
            part = slice(head * 4, head * 4 + 4)
            weights = torch.softmax(keys[seen, part] @ query[index, part] / 2, 0)
            assert_close(got[index, part], weights @ values[seen, part], rtol=1e-4)


@pytest.mark.parametrize("dilation", [1, 2, 4, 8, 512])
@pytest.mark.parametrize("pool", [1, 4])
def test_dilated_convolution_is_that_of_the_library(generator, dilation, pool):
    layer = DilatedConvolution(3, 5, dilation, pool)
    nn.init.normal_(layer.bias)
    x = torch.randn(2, 64, 3, generator=generator)
    wide = functional.conv1d(
        x.transpose(1, 2), layer.weight, layer.bias, padding=dilation, dilation=dilation
    )
    expected = functional.avg_pool1d(wide, pool).transpose(1, 2)
    assert_close(layer(x), expected, rtol=1e-4)


@pytest.mark.parametrize("pool", [1, 2])
def test_space_time_convolution_is_two_of_the_library(generator, pool):
    layer = FactorizedConvolution(3, 5, pool)
    x = torch.randn(2, 4, 8, 6, 3, generator=generator)
    wide = functional.conv3d(
        x.movedim(-1, 1), layer.spatial.weight[:, :, None], layer.spatial.bias, padding=(0, 1, 1)
    )
    wide = functional.conv3d(
        wide, layer.temporal.weight[..., None], layer.temporal.bias, padding=(1, 0, 0)
    )
    expected = functional.avg_pool3d(wide, (1, pool, pool)).movedim(1, -1)
    assert_close(layer(x), expected, rtol=1e-4)


def test_norm_is_that_of_the_library(generator):
    norm = GroupNorm(64)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(2, 3, 5, 64, generator=generator)
    expected = functional.group_norm(x.movedim(-1, 1), 32, norm.weight, norm.bias).movedim(1, -1)
    assert_close(norm(x), expected)


def test_cosines_come_before_sines():
    features = time_features(times(0, 1), 4)
    assert_close(features[0], torch.tensor([1.0, 1.0, 0.0, 0.0]))
    assert_close(features[1], torch.tensor([0.540302, 0.999950, 0.841471, 0.0099998]))

import importlib.util
from pathlib import Path

import pytest
import torch
from closeness import assert_close
from torch import nn
from torch.nn import functional

from mmdisco.discriminators.convolutions import (
    SpectrogramLatents,
    VideoLatents,
    WaveformLatents,
    channels_last,
)
from mmdisco.discriminators.towers import ResBlock, num_groups

VIDEO, SPECTROGRAM = VideoLatents(4, 8.0), SpectrogramLatents(8, 25.0)
WAVEFORM = WaveformLatents(8, 25.0, time_pool=4)


@pytest.fixture(scope="module")
def released():
    path = Path(__file__).parents[2] / "benchmarks" / "released_form.py"
    spec = importlib.util.spec_from_file_location("released_form", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_released_form_has_the_weights_of_the_release(released):
    with torch.device("meta"):
        network = released.ReleasedForm()
    assert sum(weight.numel() for weight in network.parameters()) == 33_261_313


def share(ours, theirs):
    """Copy weights in the order in which both blocks create them by role."""
    with torch.no_grad():
        for mine, other in zip(ours, theirs, strict=True):
            for (_, to), (_, source) in zip(
                mine.named_parameters(), other.named_parameters(), strict=True
            ):
                to.copy_(source.reshape(to.shape))


@pytest.mark.parametrize(("channels", "down"), [(32, False), (64, False), (64, True)])
def test_video_block_computes_what_the_released_one_does(released, channels, down, generator):
    torch.manual_seed(0)
    convs = released.VideoConv, released.VideoPointwise
    pool = nn.AvgPool3d((1, 2, 2)) if down else nn.Identity()
    theirs = released.ResBlock(convs, channels, 64, pool)
    ours = ResBlock(VIDEO, channels, 64, 128, VIDEO.window() if down else (1, 1, 1))
    compare(ours, theirs, torch.randn(2, channels, 3, 5, 6, generator=generator), generator)


@pytest.mark.parametrize(("channels", "down"), [(32, False), (64, False), (64, True)])
def test_audio_block_computes_what_the_released_one_does(released, channels, down, generator):
    torch.manual_seed(0)
    convs = released.AudioConv, released.AudioPointwise
    pool = nn.AvgPool2d((1, 2)) if down else nn.Identity()
    theirs = released.ResBlock(convs, channels, 64, pool)
    ours = ResBlock(SPECTROGRAM, channels, 64, 128, SPECTROGRAM.window() if down else (1, 1))
    compare(ours, theirs, torch.randn(2, channels, 7, 5, generator=generator), generator)


def compare(ours, theirs, x, generator):
    theirs_parts = [theirs.norm, theirs.conv, theirs.modulation, theirs.out, theirs.skip]
    share([ours.norm, ours.wide, ours.modulation, ours.last, ours.skip], theirs_parts)
    # the release has 32 groups of any width, ours at least 4 channels in each
    theirs.norm.norm.num_groups = ours.norm.num_groups
    theirs.modulation.norm.norm.num_groups = ours.groups
    embedding = torch.randn(2, 128, generator=generator)
    got = ours(channels_last(x), embedding)
    video = x.ndim == 5
    expected = theirs(x.transpose(1, 2) if video else x, embedding)
    assert_close(got, expected.transpose(1, 2) if video else expected, rtol=1e-4)


@pytest.mark.parametrize("length", [8, 9, 11])
def test_pooled_waveform_convolution_is_the_average_of_the_convolution(length, generator):
    torch.manual_seed(0)
    wide = WAVEFORM.wide(3, 5, (4,))
    x = torch.randn(2, 3, length, generator=generator)
    weight, bias = (wide.get_parameter(f"convolution.{name}") for name in ("weight", "bias"))
    plain = functional.conv1d(x, weight, bias, padding=1)
    assert_close(wide(x), functional.avg_pool1d(plain, 4))


@pytest.mark.parametrize("batch", [1, 3])
def test_channels_stay_innermost_through_a_block_and_its_gradient(batch):
    torch.manual_seed(0)
    block = ResBlock(VIDEO, 16, 32, 8, (1, 1, 1))
    x = channels_last(torch.randn(batch, 16, 2, 4, 4)).requires_grad_()
    y = block(x, torch.randn(batch, 8))
    (slope,) = torch.autograd.grad(y, x, channels_last(torch.randn_like(y)))
    for tensor in (y, slope):
        assert tensor.stride() == channels_last(tensor.contiguous()).stride()


@pytest.mark.parametrize(
    ("channels", "groups"),
    [(1, 1), (3, 1), (4, 1), (7, 1), (16, 4), (24, 6), (64, 16), (128, 32), (256, 32), (512, 32)],
)
def test_groups_divide_the_channels_and_hold_four_or_more(channels, groups):
    assert num_groups(channels) == groups
    assert channels % groups == 0

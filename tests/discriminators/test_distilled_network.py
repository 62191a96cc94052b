"""The network that gives σ ∇h directly: its shapes, its units, and the files it lies in."""

from dataclasses import replace

import pytest
import torch
from closeness import assert_close

from mmdisco.core.av import AV
from mmdisco.core.noise import NoiseLevel
from mmdisco.discriminators.convolutions import (
    FlatLatents,
    SpectrogramLatents,
    VideoLatents,
    WaveformLatents,
)
from mmdisco.discriminators.distilled import (
    DistilledConfig,
    DistilledGradient,
    DistilledGuidance,
    DistilledNetwork,
    cut,
    joined,
)
from mmdisco.discriminators.two_tower import AudioVideoConfig
from mmdisco.discriminators.wrappers import ZeroLogit
from mmdisco.errors import UserError

FLAT = AV(FlatLatents(2, 20.0, 3, (4,)), FlatLatents(2, 10.0, 3, (2, 2)))
KINDS = {
    "flat": (FLAT, AV((2, 6, 4), (2, 3, 2, 2))),
    "spectrogram": (AV(SpectrogramLatents(2, 25.0, 3), VideoLatents(3, 8.0, 3)), None),
    "waveform": (AV(WaveformLatents(2, 21.0, 3), VideoLatents(3, 8.0, 3)), None),
    "samples": (AV(WaveformLatents(1, 16_000.0, 3, time_pool=4), VideoLatents(3, 8.0, 3)), None),
}
SHAPES = {
    "spectrogram": AV((2, 7, 9), (3, 4, 6, 5)),
    "waveform": AV((2, 7), (3, 4, 6, 5)),
    "samples": AV((1, 101), (3, 4, 6, 5)),
}


def distilled(latents=FLAT, *, zero=False):
    """A network that guides; new ones begin at zero."""
    reads = AudioVideoConfig(latents.audio, latents.video, width=8, depth=1, channel_mult=(1, 2))
    torch.manual_seed(0)
    network = DistilledNetwork(DistilledConfig(reads, d_model=8, num_heads=2, patch_width=12))
    if not zero:
        for codec in (network.audio, network.video):
            torch.nn.init.normal_(codec.out.weight, std=0.5)
        network.sizes.copy_(torch.rand(network.sizes.shape) + 0.5)
    return network.eval()


def levels(*sigmas):
    sigma = torch.tensor(sigmas, dtype=torch.float64)
    return NoiseLevel(sigma, (1 - sigma.square()).sqrt(), sigma)


def pair(shapes, generator):
    z_t = shapes.map(lambda one: torch.randn(2, *one, generator=generator))
    text = AV(*torch.randn(2, 2, 3, generator=generator))
    return z_t, AV(levels(0.8, 0.5), levels(0.6, 0.9)), text


@pytest.mark.parametrize("kind", KINDS)
def test_products_have_the_shapes_of_the_latents_and_begin_at_zero(kind, generator):
    latents, shapes = KINDS[kind]
    case = pair(shapes or SHAPES[kind], generator)
    for name in ("audio", "video"):
        z_t = getattr(case[0], name)
        new, other = (getattr(distilled(latents, zero=zero)(*case), name) for zero in (True, False))
        assert torch.equal(new, torch.zeros_like(z_t))
        assert other.shape == z_t.shape
        assert other.abs().amin(tuple(range(1, other.ndim))).max() > 0


def test_patches_fit_together_again(generator):
    x = torch.randn(2, 3, 5, 6, 7, generator=generator)
    patches = cut(x, (2, 4, 3))
    assert patches.shape == (2, 3, 2 * 3, 3 * 2 * 4 * 3)
    assert torch.equal(joined(patches, (2, 4, 3), x.shape), x)
    # a patch is one place of the latent
    assert torch.equal(patches[0, 1, 0].reshape(3, 2, 4, 3), x[0, :, 2:4, :4, :3])


def test_each_modality_and_caption_counts_in_both_products(generator):
    network, (z_t, level, text) = distilled(), pair(KINDS["flat"][1], generator)
    usual = network(z_t, level, text)
    for changed in (
        (replace(z_t, audio=-z_t.audio), level, text),
        (replace(z_t, video=-z_t.video), level, text),
        (z_t, replace(level, audio=levels(0.1, 0.2)), text),
        (z_t, level, replace(text, video=-text.video)),
    ):
        other = network(*changed)
        assert not torch.equal(other.audio, usual.audio)
        assert not torch.equal(other.video, usual.video)


def test_a_product_depends_on_no_batch_mate(generator):
    network, (z_t, level, text) = distilled(), pair(KINDS["flat"][1], generator)
    together = network(z_t, level, text)
    alone = network(
        z_t.map(lambda one: one[1:]),
        level.map(lambda one: one.at(1)),
        text.map(lambda one: one[1:]),
    )
    assert_close(alone.audio[0], together.audio[1], rtol=1e-5)
    assert_close(alone.video[0], together.video[1], rtol=1e-5)


def test_the_product_has_no_units_and_the_gradient_those_of_its_latent(generator):
    network, (z_t, level, text) = distilled(), pair(KINDS["flat"][1], generator)
    source = DistilledGradient(network)
    exploding = level.map(
        lambda own: NoiseLevel(own.t, torch.ones_like(own.alpha), own.sigma / own.alpha)
    )
    scales = exploding.map(lambda own: own.magnitude.float())
    large = AV(
        z_t.audio * scales.audio[:, None, None, None],
        z_t.video * scales.video[:, None, None, None, None],
    )
    assert_close(network(large, exploding, text).audio, network(z_t, level, text).audio, rtol=1e-5)
    own, other = (
        source(ZeroLogit(), z, at, text).gradient.audio
        for z, at in ((z_t, level), (large, exploding))
    )
    assert_close(other * scales.audio[:, None, None, None], own, rtol=1e-5)


def test_a_clean_side_has_no_gradient_and_no_logit_is_made_up(generator):
    z_t, level, text = pair(KINDS["flat"][1], generator)
    given = replace(level, video=NoiseLevel.clean(2))
    found = DistilledGradient(distilled())(ZeroLogit(), z_t, given, text)
    assert torch.equal(found.gradient.video, torch.zeros_like(z_t.video))
    assert found.gradient.audio.abs().max() > 0
    assert found.logit.isnan().all()


def test_a_folder_reads_back_what_was_written(tmp_path, generator):
    own, case = distilled(), pair(KINDS["flat"][1], generator)
    DistilledGuidance(own, "a" * 64, {"made": "here"}).save(tmp_path)
    found = DistilledGuidance.load(tmp_path, "a" * 64)
    assert found.facts == {"made": "here"}
    assert found.network.config == own.config
    # weights are kept in half precision
    assert_close(found.network(*case).video, own(*case).video, rtol=2e-2)
    assert not any(one.requires_grad for one in found.network.parameters())


def test_what_is_of_no_use_is_refused_in_one_line(tmp_path):
    with pytest.raises(UserError, match="holds no distilled network: make one with `mmdisco train"):
        DistilledGuidance.load(tmp_path, "a" * 64)
    DistilledGuidance(distilled(), "a" * 64).save(tmp_path)
    with pytest.raises(UserError, match="distilled from another discriminator"):
        DistilledGuidance.load(tmp_path, "b" * 64)
    path = tmp_path / "distilled.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(UserError, match="checksum"):
        DistilledGuidance.load(tmp_path, "a" * 64)
    (tmp_path / "distilled.json").write_text("{}")
    with pytest.raises(UserError, match="describes no distilled network"):
        DistilledGuidance.load(tmp_path, "a" * 64)

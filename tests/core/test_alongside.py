"""A given side noised along, for networks that know one noise level."""

import pytest
import torch
from closeness import assert_close
from torch import nn

from mmdisco.core.av import AV
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.log_ratio import log_ratio_gradient
from mmdisco.core.noise import NoiseLevel, linear, scaled_linear
from mmdisco.core.replacement import Replacement
from mmdisco.discriminators.wrappers import ReplacementDiscriminator

SCHEDULES = AV(scaled_linear(), linear())
CLEAN = NoiseLevel.clean(2)


def audio_level(t):
    return SCHEDULES.audio.level(torch.full((2,), float(t)))


def latents(generator, count=2):
    return AV(*torch.randn(2, count, 3000, generator=generator))


def test_the_clean_side_gets_noise_of_its_own_schedule_at_the_timestep_of_the_other(generator):
    z, level = latents(generator), audio_level(400)
    noised, levels = Replacement(SCHEDULES).noised(z, AV(level, CLEAN))
    own = SCHEDULES.video.level(torch.tensor([400.0]))
    assert levels.video.t.tolist() == [400.0, 400.0]
    assert_close(levels.video.sigma[:1], own.sigma)
    assert noised.audio is z.audio
    eps = (noised.video - float(own.alpha) * z.video) / float(own.sigma)
    assert abs(float(eps.mean())) < 0.1
    assert abs(float(eps.std()) - 1) < 0.05


def test_a_clean_sound_is_noised_too(generator):
    z = latents(generator)
    level = SCHEDULES.video.level(torch.full((2,), 400.0))
    noised, levels = Replacement(SCHEDULES).noised(z, AV(CLEAN, level))
    assert levels.audio.t.tolist() == [400.0, 400.0]
    assert noised.video is z.video
    assert not torch.equal(noised.audio, z.audio)


def test_noise_is_settled_by_the_timestep_and_alike_for_all_samples(generator):
    z, along = latents(generator), Replacement(SCHEDULES)
    both = along.noised(z, AV(audio_level(400), CLEAN))[0].video
    assert torch.equal(along.noised(z, AV(audio_level(400), CLEAN))[0].video, both)
    level = SCHEDULES.audio.level(torch.tensor([400.0]))
    second = z.map(lambda x: x[1:])
    alone = along.noised(second, AV(level, NoiseLevel.clean(1)))[0].video
    assert torch.equal(alone, both[1:])

    def noise(t):
        own = SCHEDULES.video.level(torch.full((2,), float(t)))
        return along.noised(z.map(torch.zeros_like), AV(audio_level(t), CLEAN))[0].video / float(
            own.sigma[0]
        )

    correlation = torch.corrcoef(torch.stack([noise(400)[0], noise(401)[0]]))[0, 1]
    assert abs(float(correlation)) < 0.1


@pytest.mark.parametrize("clean", [True, False])
def test_pairs_of_one_kind_stay_as_they_are(clean, generator):
    z, level = latents(generator), CLEAN if clean else audio_level(400)
    assert Replacement(SCHEDULES).noised(z, AV(level, level))[0] is z


class OneLevel(Discriminator):
    """h = audio · video; takes one timestep only."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, z_t, level, text):
        assert torch.equal(level.audio.t, level.video.t)
        return self.scale * (z_t.audio * z_t.video).sum(1)


def test_guidance_of_the_made_side_follows_the_noised_given_one(generator):
    z, level = latents(generator), AV(audio_level(400), CLEAN)
    along = Replacement(SCHEDULES)
    network = ReplacementDiscriminator(OneLevel(), along)
    gradient = log_ratio_gradient(lambda one: network(one, level, AV(z.audio, z.video)), z).gradient
    assert_close(gradient.audio, along.noised(z, level)[0].video)

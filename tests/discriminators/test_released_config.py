import pytest

from mmdisco.discriminators.official.blocks import ModulatedInputNorm, ShiftBefore
from mmdisco.discriminators.official.checkpoint import empty, released_name
from mmdisco.discriminators.official.config import PUBLISHED, OfficialConfig
from mmdisco.discriminators.official.fusion import (
    ChannelFusionConfig,
    MeanFusionConfig,
    MeanOfTokens,
    TransformerConfig,
)
from mmdisco.discriminators.official.latents import OfficialVideo, Spectrogram
from mmdisco.errors import UserError

SOUND, PICTURE, MEAN = Spectrogram(2), OfficialVideo(2), MeanFusionConfig()
WEIGHTS = {
    "audioldm_animediff_vggsound": 33_261_313,
    "auffusion_videocrafter2_vggsound": 38_972_161,
    "mmdiffusion_aist++": 12_682_241,
    "mmdiffusion_landscape": 12_682_241,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_shapes_have_the_published_number_of_weights(name):
    assert sum(one.numel() for one in empty(PUBLISHED[name]).parameters()) == WEIGHTS[name]


@pytest.mark.parametrize(
    "config",
    [
        *PUBLISHED.values(),
        OfficialConfig(SOUND, PICTURE, MEAN, channel_mult=(0.5, 1.25), modulation=ShiftBefore),
        OfficialConfig(
            Spectrogram(2, attention=(0, 1)),
            PICTURE,
            ChannelFusionConfig(TransformerConfig(16, 1, 8, MeanOfTokens)),
            width=32,
            input_norm=ModulatedInputNorm,
            cross_attention=(1,),
            head_width=32,
        ),
    ],
)
def test_a_configuration_comes_back_from_its_record(config):
    assert OfficialConfig.from_record(config.to_record()) == config


@pytest.mark.parametrize("record", [-1, None, "x", [], {}], ids=str)
def test_a_record_of_another_type_is_refused(record):
    with pytest.raises(UserError, match="configuration of a released discriminator"):
        OfficialConfig.from_record(record)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"width": 48}, "width 48"),
        ({"width": 0}, "width 0"),
        ({"depth": 0}, "depth 0"),
        ({"dilations": 0}, "dilations 0"),
        ({"embedding": 3}, "embedding 3"),
        ({"embedding": 2}, "embedding 2"),
        ({"channel_mult": ()}, "channel_mult"),
        ({"channel_mult": (1, 0)}, "channel_mult"),
        ({"channel_mult": (1, 1.3)}, r"\(128, 166\) channels"),
        ({"channel_mult": (1, float("nan"))}, "channel_mult"),
        ({"cross_attention": (3,)}, "levels"),
        ({"cross_attention": (0,), "head_width": 48}, "head_width 48"),
        ({"audio": Spectrogram(2, attention=(-1,))}, "levels"),
        ({"video": OfficialVideo(2, attention=(0,)), "heads": 3}, "heads 3"),
    ],
)
def test_a_shape_that_no_network_has_is_refused_by_its_name(settings, named):
    with pytest.raises(UserError, match=named):
        OfficialConfig(**{"audio": SOUND, "video": PICTURE, "fusion": MEAN, **settings})


def test_names_without_a_scale_are_those_of_the_release():
    config = OfficialConfig(
        SOUND,
        PICTURE,
        MEAN,
        channel_mult=(1,),
        depth=1,
        modulation=ShiftBefore,
        input_norm=ModulatedInputNorm,
    )
    names = {released_name(name) for name in empty(config).state_dict()}
    block = "feature_extractor.input_blocks"
    assert f"{block}.1.0.audio_out_layers.0.norm.GroupNorm.weight" in names
    assert f"{block}.1.0.video_out_layers.0.projection.1.bias" in names
    assert f"{block}.0.0.video_norm.norm.GroupNorm.bias" in names


def test_an_odd_width_of_the_fusion_is_refused():
    with pytest.raises(UserError, match="width 15"):
        TransformerConfig(15, 1, 8, MeanOfTokens)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "unheard of"},
        {"kind": "video"},
        {"speed": 3},
        {"audio": {"kind": "spectrogram"}},
        {"fusion": {"kind": "class"}},
    ],
)
def test_a_record_of_something_else_is_refused(change):
    record = OfficialConfig(SOUND, PICTURE, MEAN).to_record()
    with pytest.raises(UserError):
        OfficialConfig.from_record({**record, **change})


def test_a_part_alone_is_no_configuration():
    with pytest.raises(UserError, match="part"):
        OfficialConfig.from_record({"kind": "mean"})

"""Guided steps of tiny pairs, and the record and table of their costs."""

import json
from dataclasses import replace

import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from mmdisco.adapters.mmdiffusion.config import JointConfig, UNetLevel
from mmdisco.cli.bench import execute
from mmdisco.discriminators.official.config import (
    AUDIOLDM_ANIMATEDIFF_VGGSOUND,
    AUFFUSION_VIDEOCRAFTER2_VGGSOUND,
    MMDIFFUSION_LANDSCAPE,
)
from mmdisco.errors import UserError
from mmdisco.experiments.benchmark import measure as measuring
from mmdisco.experiments.benchmark.base_models import (
    animatediff,
    audioldm,
    auffusion,
    configuration,
    videocrafter2,
)
from mmdisco.experiments.benchmark.measure import measure
from mmdisco.experiments.benchmark.profiler import AUDIO, JOINT, VIDEO
from mmdisco.experiments.benchmark.results import record_of, table
from mmdisco.experiments.benchmark.systems import PAIRS, Embedded, JointBenchmark, TwoModels
from mmdisco.experiments.config import BenchmarkConfig
from mmdisco.generation.pipeline import JointOutsideCFG
from mmdisco.generation.presets.official_release import JointInsideCFG

SMALL = {"seconds": 0.32, "frames": 2, "height": 32, "width": 32}


def small(**changes):
    return BenchmarkConfig(**SMALL | changes)


def shrunk(name, blocks):
    """Half the levels of a configuration, and few channels."""
    config = dict(configuration(name))
    config.update({"layers_per_block": 1, "norm_num_groups": 4, "block_out_channels": [16, 16]})
    config.update({"down_block_types": blocks[0], "up_block_types": blocks[1]})
    return config


def audioldm_animatediff():
    audio = shrunk("audioldm_unet", (["DownBlock2D"] * 2, ["UpBlock2D"] * 2))
    audio["cross_attention_dim"] = 16
    video = shrunk(
        "animatediff_unet",
        (
            ["CrossAttnDownBlockMotion", "DownBlockMotion"],
            ["UpBlockMotion", "CrossAttnUpBlockMotion"],
        ),
    )
    shape = replace(
        AUDIOLDM_ANIMATEDIFF_VGGSOUND, width=32, depth=1, channel_mult=(1,), embedding=8
    )
    return TwoModels((audioldm, audio), (animatediff, video), shape)


def auffusion_videocrafter2():
    audio = shrunk("auffusion_unet", (["DownBlock2D"] * 2, ["UpBlock2D"] * 2))
    video = {
        "block_out_channels": (32, 32),
        "down_block_types": ("DownBlock3D", "CrossAttnDownBlock3D"),
        "up_block_types": ("CrossAttnUpBlock3D", "UpBlock3D"),
        "layers_per_block": 1,
        "attention_head_dim": 32,
        "cross_attention_dim": 1024,
    }
    shape = replace(
        AUFFUSION_VIDEOCRAFTER2_VGGSOUND, width=32, depth=1, channel_mult=(1,), embedding=8
    )
    return TwoModels((auffusion, audio), (videocrafter2, video), shape)


def mmdiffusion():
    levels = (UNetLevel(32), UNetLevel(32, window=1, video_attention=True))
    network = JointConfig(
        width=32,
        levels=levels,
        depth=1,
        crosses_middle=True,
        head_channels=32,
        frames=2,
        side=8,
        samples=256,
    )
    shape = replace(MMDIFFUSION_LANDSCAPE, width=32, depth=1, channel_mult=(1,), embedding=8)
    return JointBenchmark(network, shape)


def last(pair, setting, repeats=1):
    *_, measured = measure(pair, setting.updated({"repeats": repeats}))
    return measured


@pytest.mark.parametrize("make", [audioldm_animatediff, auffusion_videocrafter2])
@pytest.mark.parametrize(("order", "runs"), [(JointOutsideCFG(), 1), (JointInsideCFG(), 2)])
def test_a_step_runs_every_base_twice(make, order, runs):
    measured = last(replace(make(), order=order), small())
    assert measured.parts == ["audio base", "video base", "discriminator", "scheduler"]
    assert [measured.cost(part).runs for part in measured.parts] == [2, 2, runs, 1]
    assert all(measured.cost(part).seconds > 0 for part in measured.parts)
    assert all(measured.cost(part).flops > 0 for part in measured.parts[:3])


def test_a_joint_base_and_its_discriminator_run_once():
    measured = last(mmdiffusion(), BenchmarkConfig())
    assert measured.parts == ["joint base", "discriminator", "scheduler"]
    assert [measured.cost(part).runs for part in measured.parts] == [1, 1, 1]


def test_the_embedded_pair_is_measured_with_its_weights(tiny_pair):
    measured = last(Embedded(tiny_pair), BenchmarkConfig())
    assert [measured.cost(part).runs for part in measured.parts] == [2, 2, 1, 1]


def test_steps_that_share_a_gradient_are_timed_together():
    usual, shared = (last(mmdiffusion(), BenchmarkConfig(joint_every=every)) for every in (1, 2))
    assert [shared.cost(part).runs for part in shared.parts] == [2, 1, 2]
    own, half = usual.ratios["flops"], shared.ratios["flops"]
    assert half == pytest.approx(own / 2, rel=1e-3)


def test_the_first_step_is_timed_without_a_warm_up():
    told = list(measure(mmdiffusion(), BenchmarkConfig(warm_up=False)))
    assert [len(one.steps) for one in told] == [1, 2, 3]
    assert told[-1].steps[0] is told[-1].first


def test_every_repeat_is_told_with_those_before_it():
    lengths = [len(one.steps) for one in measure(mmdiffusion(), BenchmarkConfig())]
    assert lengths == [1, 2, 3]


def test_operations_are_those_of_the_networks_whatever_the_seed():
    first, other = (last(mmdiffusion(), BenchmarkConfig(seed=seed)) for seed in (0, 1))
    assert first.cost("joint base").flops == other.cost("joint base").flops


def test_a_batch_of_two_takes_twice_the_operations():
    one, two = (last(mmdiffusion(), BenchmarkConfig(batch=batch)) for batch in (1, 2))
    ratio = two.cost("joint base").flops / one.cost("joint base").flops
    assert ratio == pytest.approx(2, rel=0.01)
    assert two.shapes.video[0] == 2


@pytest.mark.parametrize(
    ("size", "side", "shape"),
    [
        ({"seconds": 0.4}, "audio", (1, 8, 10, 16)),
        ({"frames": 3}, "video", (1, 4, 3, 4, 4)),
        ({"height": 48}, "video", (1, 4, 2, 6, 4)),
        ({"width": 48}, "video", (1, 4, 2, 4, 6)),
    ],
)
def test_a_size_changes_what_is_measured(size, side, shape):
    measured = last(audioldm_animatediff(), small(**size))
    assert tuple(getattr(measured.shapes, side)) == shape


def test_bases_compute_in_the_type_asked_for():
    setting = small(dtype="bfloat16")
    record = record_of(last(audioldm_animatediff(), setting), setting)
    assert record["dtype"] == {"base_models": "bfloat16", "discriminator": "float32"}


def test_attention_and_products_in_place_are_counted():
    counter = FlopCounterMode(display=False, custom_mapping=measuring._FORMULAS)
    query, key = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 7, 8)
    with counter, torch.no_grad():
        functional.scaled_dot_product_attention(query, key, key)
    attention = counter.get_total_flops()
    with counter:
        torch.zeros(4, 6).addmm_(torch.zeros(4, 5), torch.zeros(5, 6))
    assert attention == 4 * 2 * 3 * 5 * 7 * 8
    assert counter.get_total_flops() == 2 * 4 * 5 * 6


@pytest.mark.parametrize(
    ("make", "setting", "message"),
    [
        (audioldm_animatediff, small(seconds=0.33), "ask for 0.32 or 0.36"),
        (audioldm_animatediff, small(frames=33), "AnimateDiffPipeline makes 32 at most"),
        (audioldm_animatediff, small(height=36), "takes multiples of 8"),
        (auffusion_videocrafter2, small(width=24), "takes multiples of 16"),
        (auffusion_videocrafter2, small(frames=123), "positions for 126"),
        (mmdiffusion, BenchmarkConfig(frames=8), "one size: leave the sizes out"),
        (
            lambda: replace(audioldm_animatediff(), order=JointInsideCFG()),
            small(joint_every=2),
            "at every step: leave --joint-every out",
        ),
        (mmdiffusion, BenchmarkConfig(joint_every=20), "ask for fewer"),
        (Embedded, BenchmarkConfig(seconds=2.0), "one size: leave the sizes out"),
        (Embedded, BenchmarkConfig(dtype="float16"), "leave device and dtype out"),
    ],
)
def test_sizes_that_a_pair_does_not_make_are_refused(make, setting, message):
    with pytest.raises(UserError, match=message):
        last(make(), setting)


@pytest.mark.parametrize("size", ["seconds", "frames", "height", "width", "batch"])
def test_a_size_of_nothing_is_refused(size):
    with pytest.raises(UserError, match=f"{size} 0: give more than 0"):
        BenchmarkConfig(**{size: 0})


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ({"dtype": "int8"}, "choose one of float32, float16, bfloat16"),
        ({"repeats": 0}, "repeats 0: give more than 0"),
        ({"threads": 0}, "threads 0: give more than 0"),
        ({"joint_every": 0}, "joint_every 0: give more than 0"),
        ({"seed": -1}, "seed -1: give at least 0"),
    ],
)
def test_a_setting_out_of_its_range_is_refused(mistake, message):
    with pytest.raises(UserError, match=message):
        BenchmarkConfig(**mistake)


def test_more_repeats_than_the_sampler_has_steps_are_refused():
    with pytest.raises(UserError, match="ask for 1 to 19"):
        last(mmdiffusion(), BenchmarkConfig(), 20)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(PAIRS, "mmdiffusion", mmdiffusion)
    monkeypatch.setitem(PAIRS, "audioldm-animatediff", audioldm_animatediff)


@pytest.mark.usefixtures("tiny")
def test_an_order_writes_its_record_and_table_with_their_conditions(tmp_path):
    out = tmp_path / "new" / "bench.json"
    text = execute(BenchmarkConfig(pair="mmdiffusion", threads=1, out=out))
    record = json.loads(out.read_text())["mmdiffusion"]
    assert record["repeats"] == 3
    assert record["threads"] == 1
    assert {"python", "torch", "mmdisco", "device", "seed", "latents"} <= record.keys()
    assert len(record["parts"]["discriminator"]["seconds"]) == 3
    assert text == table(record)
    assert text in out.with_suffix(".md").read_text()


@pytest.mark.usefixtures("tiny")
def test_records_of_other_pairs_are_kept(tmp_path):
    out = tmp_path / "bench.json"
    execute(BenchmarkConfig(pair="mmdiffusion", repeats=1, out=out))
    execute(BenchmarkConfig(pair="audioldm-animatediff", repeats=1, out=out, **SMALL))
    assert list(json.loads(out.read_text())) == ["audioldm-animatediff", "mmdiffusion"]
    page = out.with_suffix(".md").read_text()
    assert page.index("## audioldm-animatediff") < page.index("## mmdiffusion")


@pytest.mark.usefixtures("tiny")
def test_a_shared_gradient_has_a_section_of_its_own(tmp_path):
    out = tmp_path / "bench.json"
    for every in (2, 1):
        execute(BenchmarkConfig(pair="mmdiffusion", joint_every=every, repeats=1, out=out))
    assert list(json.loads(out.read_text())) == ["mmdiffusion", "mmdiffusion, a gradient for 2"]
    assert "rounds of 2 steps timed: 1" in out.with_suffix(".md").read_text()


@pytest.mark.usefixtures("tiny")
def test_threads_are_as_before_when_an_order_is_done():
    before = torch.get_num_threads()
    execute(BenchmarkConfig(pair="mmdiffusion", repeats=1, threads=before + 1))
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (
            BenchmarkConfig(pair="nonsense"),
            "choose one of audioldm-animatediff, audioldm-anim",
        ),
        (BenchmarkConfig(pair="mmdiffusion", device="nowhere"), "leave --device out"),
        (BenchmarkConfig(pair="mmdiffusion", device="meta"), "cpu and cuda alone"),
        (BenchmarkConfig(), "name a pair, or"),
        (BenchmarkConfig(video_model="a/b"), "belong together"),
        (BenchmarkConfig(pair="mmdiffusion", joint_model="a/b"), "name a pair, or"),
    ],
)
def test_an_order_that_cannot_be_carried_out_is_refused_at_once(order, message):
    with pytest.raises(UserError, match=message):
        execute(order)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("bench.md", "", "ends in .json"),
        ("bench.json", '{"other": 1}', "holds something else"),
        ("bench.json", "[", "not JSON"),
    ],
)
def test_a_file_of_something_else_is_left_alone(tmp_path, name, text, message):
    out = tmp_path / name
    out.write_text(text)
    with pytest.raises(UserError, match=message):
        execute(BenchmarkConfig(pair="mmdiffusion", out=out))
    assert out.read_text() == text


def test_two_pipelines_are_timed_as_they_are(stock_pipelines, tmp_path):
    models = {
        "video_model": str(stock_pipelines["wan"]),
        "audio_model": str(stock_pipelines["stable audio"]),
    }
    sizes = {"frames": 9, "height": 32, "width": 32}
    out = tmp_path / "bench.json"
    text = execute(BenchmarkConfig(**sizes, repeats=1, warm_up=False, out=out, **models))
    ((name, record),) = json.loads(out.read_text()).items()
    assert name == f"{models['video_model']} with {models['audio_model']}"
    # Wan runs both branches of its guidance, Stable Audio both in one batch
    assert record["parts"][VIDEO]["runs"] == 2
    assert record["parts"][AUDIO]["runs"] == 1
    assert record["latents"]["video"] == [1, 16, 3, 4, 4]
    assert "discriminator" in text


def test_a_pipeline_that_makes_both_is_one_part(stock_pipelines, tmp_path):
    model, out = str(stock_pipelines["ltx-2"]), tmp_path / "bench.json"
    sizes = {"frames": 5, "height": 32, "width": 32}
    execute(BenchmarkConfig(joint_model=model, **sizes, repeats=1, warm_up=False, out=out))
    ((name, record),) = json.loads(out.read_text()).items()
    assert name == model
    assert record["parts"][JOINT]["runs"] == 1  # both branches of its guidance in one batch
    assert record["parts"].keys().isdisjoint({AUDIO, VIDEO})

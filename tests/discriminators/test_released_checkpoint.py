import json
import pickle
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from closeness import assert_close
from safetensors.torch import load_file, save_file
from torch import nn

from mmdisco.core.av import AV
from mmdisco.core.noise import scaled_linear
from mmdisco.discriminators.official.checkpoint import (
    empty,
    load_checkpoint,
    published,
    released_name,
)
from mmdisco.discriminators.official.config import (
    AUDIOLDM_ANIMATEDIFF_VGGSOUND,
    MMDIFFUSION_LANDSCAPE,
    OfficialConfig,
)
from mmdisco.discriminators.official.fusion import MeanFusionConfig
from mmdisco.discriminators.official.latents import OfficialVideo, Spectrogram
from mmdisco.discriminators.official.network import ReleasedDiscriminator
from mmdisco.errors import UserError
from mmdisco.io.conversion import converted

CONFIG = OfficialConfig(
    audio=Spectrogram(3, 5),
    video=OfficialVideo(2, 6),
    fusion=MeanFusionConfig(),
    width=32,
    depth=1,
    channel_mult=(1,),
    embedding=8,
)
BIAS = "time_embed.projection.linear_1.bias"


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = ReleasedDiscriminator(CONFIG).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return network


@pytest.fixture
def weights(network):
    """By the release's names."""
    return {released_name(name): value for name, value in network.state_dict().items()}


@pytest.fixture
def checkpoint(weights, tmp_path):
    path = tmp_path / "pair.pt"
    torch.save(weights, path)
    return path


def logit(network):
    generator = torch.Generator().manual_seed(1)
    z = AV(
        torch.randn(1, 3, 6, 4, generator=generator),
        torch.randn(1, 2, 3, 4, 4, generator=generator),
    )
    level = scaled_linear().level(torch.tensor([300.0], dtype=torch.float64))
    with torch.no_grad():
        return network(z, AV(level, level), AV(torch.ones(1, 5), torch.ones(1, 6)))


def test_a_published_file_gives_its_network_frozen(network, checkpoint):
    loaded = load_checkpoint(checkpoint, CONFIG)
    assert_close(logit(loaded), logit(network))
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_names_may_carry_the_prefix_of_the_whole_model(network, weights, checkpoint):
    torch.save({f"residual_predictor.{name}": one for name, one in weights.items()}, checkpoint)
    assert_close(logit(load_checkpoint(checkpoint, CONFIG)), logit(network))


def test_half_precision_is_taken_in_single(network, weights, checkpoint):
    torch.save({name: one.half() for name, one in weights.items()}, checkpoint)
    loaded = load_checkpoint(checkpoint, CONFIG)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    assert_close(logit(loaded), logit(network), rtol=0.02)


def test_the_converted_folder_is_enough_by_itself(network, checkpoint):
    load_checkpoint(checkpoint, CONFIG)
    checkpoint.unlink()
    assert_close(logit(load_checkpoint(checkpoint, CONFIG)), logit(network))


def test_a_converted_folder_holds_two_files_and_no_pickle(checkpoint):
    load_checkpoint(checkpoint, CONFIG)
    folder = checkpoint.with_name("pair.pt.converted")
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "model.safetensors",
    ]


def test_the_second_load_converts_nothing(checkpoint):
    load_checkpoint(checkpoint, CONFIG)
    written = checkpoint.with_name("pair.pt.converted") / "model.safetensors"
    before = written.stat().st_mtime_ns
    load_checkpoint(checkpoint, CONFIG)
    assert written.stat().st_mtime_ns == before


def test_a_replaced_file_is_converted_again(weights, checkpoint):
    first = logit(load_checkpoint(checkpoint, CONFIG))
    torch.save({**weights, BIAS: weights[BIAS] + 1}, checkpoint)
    assert (logit(load_checkpoint(checkpoint, CONFIG)) - first).abs() > 1e-4


def test_a_folder_of_another_network_is_not_passed_off_as_the_wanted_one(checkpoint):
    load_checkpoint(checkpoint, CONFIG)
    checkpoint.unlink()
    with pytest.raises(UserError, match="another network"):
        load_checkpoint(checkpoint, replace(CONFIG, dilations=2))


def nothing(path, weights):
    path.unlink()


def a_folder(path, weights):
    path.unlink()
    path.mkdir()


def half_of_it(path, weights):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def no_bytes(path, weights):
    path.write_bytes(b"")


def a_web_page(path, weights):
    path.write_bytes(b"<!DOCTYPE html><html>Not Found</html>")


def a_list(path, weights):
    torch.save(list(weights.values()), path)


def tensors_by_number(path, weights):
    torch.save(dict(enumerate(weights.values())), path)


def a_nested_state_dict(path, weights):
    torch.save({"state_dict": weights, "epoch": 3}, path)


def more_than_tensors(path, weights):
    path.write_bytes(pickle.dumps({"run": Fraction(1, 2)}, protocol=2))


def an_empty_state_dict(path, weights):
    torch.save({}, path)


def one_missing(path, weights):
    torch.save({name: one for name, one in weights.items() if name != BIAS}, path)


def one_too_many(path, weights):
    torch.save({**weights, "ema.decay": torch.ones(1)}, path)


def one_of_another_shape(path, weights):
    torch.save({**weights, BIAS: torch.zeros(9)}, path)


def one_of_integers(path, weights):
    torch.save({**weights, BIAS: torch.zeros(8, dtype=torch.int64)}, path)


def one_not_a_number(path, weights):
    torch.save({**weights, BIAS: torch.tensor([1.0, float("nan"), *[0.0] * 6])}, path)


def one_infinite(path, weights):
    torch.save({**weights, BIAS: torch.full((8,), float("inf"))}, path)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (nothing, "not there"),
        (a_folder, "config.json"),
        (half_of_it, "cut short"),
        (no_bytes, "cut short"),
        (a_web_page, "damaged"),
        (a_list, "no state dict"),
        (tensors_by_number, "no state dict"),
        (a_nested_state_dict, "no state dict"),
        (more_than_tensors, "more than tensors"),
        (an_empty_state_dict, "no state dict"),
        (one_missing, "1 tensors missing and 0 too many, such as time.first.bias"),
        (one_too_many, r"0 tensors missing and 1 too many, such as ema\.decay"),
        (one_of_another_shape, r"first\.bias is of shape \(9,\)"),
        (one_of_integers, r"first\.bias is of shape \(8,\) and torch\.int64"),
        (one_not_a_number, r"first\.bias holds values that are not finite"),
        (one_infinite, "not finite"),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_line_and_leaves_nothing(
    make, said, weights, checkpoint
):
    make(checkpoint, weights)
    with pytest.raises(UserError, match=said) as refused:
        load_checkpoint(checkpoint, CONFIG)
    assert "\n" not in str(refused.value)
    assert str(checkpoint) in str(refused.value)
    assert not checkpoint.with_name("pair.pt.converted").exists()


def test_a_refused_file_leaves_the_earlier_conversion_as_it_was(network, weights, checkpoint):
    load_checkpoint(checkpoint, CONFIG)
    half_of_it(checkpoint, weights)
    with pytest.raises(UserError, match="cut short"):
        load_checkpoint(checkpoint, CONFIG)
    checkpoint.unlink()
    assert_close(logit(load_checkpoint(checkpoint, CONFIG)), logit(network))


def test_weights_of_another_published_shape_are_named():
    weights = {
        released_name(n): one for n, one in empty(MMDIFFUSION_LANDSCAPE).state_dict().items()
    }
    with pytest.raises(UserError, match=r"load it as .*mmdiffusion_landscape"):
        published(AUDIOLDM_ANIMATEDIFF_VGGSOUND).translate(weights, Path("x.pt"))


def test_a_place_that_cannot_be_written_to_is_told(checkpoint):
    converted(checkpoint).write_text("a file")
    with pytest.raises(UserError, match="cannot write"):
        load_checkpoint(checkpoint, CONFIG)


@pytest.fixture
def folder(checkpoint):
    load_checkpoint(checkpoint, CONFIG)
    return converted(checkpoint)


def test_damaged_weights_are_refused(folder):
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match=r"damaged.*convert"):
        load_checkpoint(folder, CONFIG)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_missing_file_of_the_folder_is_told(name, folder):
    (folder / name).unlink()
    with pytest.raises(UserError, match=name):
        load_checkpoint(folder, CONFIG)


def test_what_a_conversion_cut_short_leaves_is_never_loaded(folder, checkpoint):
    path = folder / "model.safetensors"
    tensors = {name: one + 1 for name, one in load_file(path).items()}
    save_file(tensors, path)
    with pytest.raises(UserError, match="damaged"):
        load_checkpoint(folder, CONFIG)
    (folder / "config.json").unlink()
    load_checkpoint(checkpoint, CONFIG)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"sha256": None}, "damaged"), ({"shape": {"kind": "x"}}, "kind x")],
)
def test_a_damaged_record_is_refused(change, said, folder):
    record = json.loads((folder / "config.json").read_text())
    changed = {**record, **change}
    (folder / "config.json").write_text(json.dumps({k: v for k, v in changed.items() if v}))
    with pytest.raises(UserError, match=said):
        load_checkpoint(folder, CONFIG)


def test_a_record_of_another_shape_is_refused(folder):
    path = folder / "config.json"
    record = json.loads(path.read_text())
    record["shape"] = replace(CONFIG, depth=2).to_record()
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match="another network"):
        load_checkpoint(folder, CONFIG)

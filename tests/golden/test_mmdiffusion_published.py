"""Reading published files; small recorded weights stand for the published ones."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mmdisco.adapters.mmdiffusion.checkpoint import load_joint, load_upscaler
from mmdisco.adapters.mmdiffusion.config import JointConfig, UNetLevel, UpscalerConfig
from mmdisco.errors import UserError
from mmdisco.io.conversion import CONFIG, WEIGHTS, converted

PACKED = Path(__file__).parent / "data" / "mmdiffusion"
CONFIGURATION = JointConfig(
    width=32,
    levels=(UNetLevel(32), UNetLevel(32, window=1, video_attention=True)),
    depth=1,
    crosses_middle=True,
    head_channels=32,
    frames=4,
    side=8,
    samples=128,
)


@pytest.fixture(scope="module")
def weights():
    return load_file(PACKED / "mmdiff_guided_dpm_solver_weights_unet.safetensors")


@pytest.fixture
def published(tmp_path, weights):
    path = tmp_path / "landscape.pt"
    torch.save(weights, path)
    return path


def rewritten(path, weights, **changes):
    torch.save({**weights, **changes}, path)
    return path


def refusal(path, config=CONFIGURATION):
    with pytest.raises(UserError) as error:
        load_joint(path, config)
    message = str(error.value)
    assert "\n" not in message
    assert path.name in message
    return message


def test_network_is_frozen_and_single_precision(published):
    network = load_joint(published, CONFIGURATION)
    assert not network.training
    assert all(not one.requires_grad for one in network.parameters())
    assert {one.dtype for one in network.parameters()} == {torch.float32}


def test_conversion_is_enough_by_itself(published):
    first = load_joint(published, CONFIGURATION).state_dict()
    published.unlink()
    for path in (published, converted(published)):
        again = load_joint(path, CONFIGURATION).state_dict()
        assert all(torch.equal(first[name], one) for name, one in again.items())


def test_published_file_is_read_once(published):
    load_joint(published, CONFIGURATION)
    written = (converted(published) / WEIGHTS).stat().st_mtime_ns
    load_joint(published, CONFIGURATION)
    assert (converted(published) / WEIGHTS).stat().st_mtime_ns == written


def test_replaced_file_is_converted_again(published, weights):
    load_joint(published, CONFIGURATION)
    halved = {name: one / 2 for name, one in weights.items()}
    network = load_joint(rewritten(published, halved), CONFIGURATION)
    bias = "time_embed.0.bias"
    assert torch.equal(network.time.first.bias, weights[bias] / 2)


def test_conversion_cut_short_is_made_again(published):
    load_joint(published, CONFIGURATION)
    (converted(published) / CONFIG).unlink()
    (converted(published) / WEIGHTS).write_bytes(b"half of it")
    load_joint(published, CONFIGURATION)


def test_failed_conversion_leaves_nothing(published, weights):
    rewritten(published, weights, surplus=torch.zeros(1))
    refusal(published)
    assert not converted(published).exists()


def test_missing_file(tmp_path):
    assert "not there" in refusal(tmp_path / "landscape.pt")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_truncated_file(published, share):
    whole = published.read_bytes()
    published.write_bytes(whole[: int(share * len(whole))])
    assert "cut short" in refusal(published)


def test_code_in_a_pickle_is_not_run(tmp_path):
    marker = tmp_path / "ran"

    class Code:
        def __reduce__(self):
            return Path.touch, (marker,)

    path = tmp_path / "landscape.pt"
    path.write_bytes(pickle.dumps({"weight": Code()}, protocol=2))
    refusal(path)
    torch.save({"weight": Code()}, path)
    refusal(path)
    assert not marker.exists()


@pytest.mark.parametrize("held", [[1, 2], {"state_dict": {"weight": torch.zeros(1)}}])
def test_file_without_a_state_dict(tmp_path, held):
    path = tmp_path / "landscape.pt"
    torch.save(held, path)
    assert "no state dict" in refusal(path)


def test_missing_and_surplus_tensors(published, weights):
    fewer = dict(list(weights.items())[1:])
    assert "1 tensors missing and 0 too many" in refusal(rewritten(published, fewer))
    assert "0 tensors missing and 1 too many" in refusal(
        rewritten(published, weights, surplus=torch.zeros(1))
    )


def test_tensor_of_another_shape(published, weights):
    changed = rewritten(published, weights, **{"time_embed.0.bias": torch.zeros(3)})
    assert "shape" in refusal(changed)


def test_another_architecture(published):
    deeper = JointConfig(**{**vars(CONFIGURATION), "depth": 2})
    assert "another network" in refusal(published, deeper)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite(published, weights, value):
    name = "time_embed.0.bias"
    bias = weights[name].clone()
    bias[0] = value
    assert "not finite numbers" in refusal(rewritten(published, weights, **{name: bias}))


def test_damaged_conversion_is_named(published):
    load_joint(published, CONFIGURATION)
    path = converted(published) / WEIGHTS
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    assert "is damaged" in refusal(published)


def test_folder_of_the_other_network(published):
    load_joint(published, CONFIGURATION)
    with pytest.raises(UserError, match="not that of MM-Diffusion's upscaler"):
        load_upscaler(converted(published))


def test_conversion_whose_shape_is_unreadable(published):
    load_joint(published, CONFIGURATION)
    path = converted(published) / CONFIG
    path.write_text(json.dumps({**json.loads(path.read_text()), "shape": {"levels": 3}}))
    published.unlink()
    assert "does not describe a network" in refusal(published)


def test_upscaler_is_read_likewise(tmp_path):
    parts = [
        load_file(PACKED / f"mmdiff_image_sr_weights_part{part}.safetensors") for part in (0, 1)
    ]
    path = tmp_path / "upscaler.pt"
    torch.save(parts[0] | parts[1], path)
    config = UpscalerConfig(levels=(32, 64), attention=(False, True), depth=1, heads=4, side=16)
    first = load_upscaler(path, config).state_dict()
    again = load_upscaler(converted(path)).state_dict()
    assert all(torch.equal(first[name], one) for name, one in again.items())

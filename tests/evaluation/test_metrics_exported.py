"""Networks in ONNX: what they are fed, how they are declared, what is refused, what comes of it."""

import json
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
import torch
from closeness import assert_close
from torch import nn

from mmdisco.cli.evaluate import execute
from mmdisco.errors import UserError
from mmdisco.evaluation.config import EvaluationConfig
from mmdisco.evaluation.metrics.base import EvaluationData
from mmdisco.evaluation.metrics.exported import AudioNetwork, VideoNetwork, picture_for, sound_for
from mmdisco.evaluation.metrics.features import InMemory
from mmdisco.evaluation.metrics.joint_space import CrossModal
from mmdisco.evaluation.metrics.result import MetricResult
from mmdisco.evaluation.registry import features_of
from mmdisco.io.files import sha256
from mmdisco.media.clip import Audio, AudioVideo, Video
from mmdisco.media.sounding_objects.dataset import example
from mmdisco.media.write import write_clip

HASH = {"file": "x.onnx", "sha256": "0" * 64}
CLIP = example(0, 0).clip


SIGHT = """
<ir_version: 8, opset_import: ["": 18]>
sight (float[1, 3, t, h, w] x) => (float[1, f] features, float[1, 5] logits)
{
  axes = Constant <value_ints = [3, 4]> ()
  means = ReduceMean <keepdims = 0> (x, axes)
  features = Flatten <axis = 1> (means)
  from = Constant <value_ints = [0]> ()
  to = Constant <value_ints = [5]> ()
  one = Constant <value_ints = [1]> ()
  logits = Slice (features, from, to, one)
}
"""
EARS = """
<ir_version: 8, opset_import: ["": 18]>
ears (float[b, n] x) => (float[b, 6] features)
{
  from = Constant <value_ints = [0]> ()
  to = Constant <value_ints = [6]> ()
  one = Constant <value_ints = [1]> ()
  features = Slice (x, from, to, one)
}
"""
PATCHES = EARS.replace("float[b, n] x", "float[b, 1, 96, 64] y").replace(
    "{\n", "{\n  x = Flatten <axis = 1> (y)\n", 1
)


def saved(folder, name, text):
    path = folder / name
    onnx.save(onnx.parser.parse_model(text), path)
    return {"file": name, "sha256": sha256(path)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("exported")


@pytest.fixture(scope="module")
def sight(folder):
    return saved(folder, "sight.onnx", SIGHT)


@pytest.fixture(scope="module")
def ears(folder):
    return saved(folder, "ears.onnx", EARS)


def declared(folder, name, **values):
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"name": name, **values}))
    return str(path)


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        ("bcthw", (1, 3, 4, 32, 32)),
        ("btchw", (1, 4, 3, 32, 32)),
        ("bthwc", (1, 4, 32, 32, 3)),
        ("tchw", (4, 3, 32, 32)),
    ],
)
def test_frames_are_laid_out_as_declared(layout, shape):
    form = VideoNetwork(**HASH, frames=4, size=(32, 32), layout=layout)
    found = picture_for(form, CLIP.video)
    assert found.shape == shape
    # the same numbers whatever their order
    plain = picture_for(form.model_copy(update={"layout": "tchw"}), CLIP.video)
    assert_close(found.sum(), plain.sum(), scale=plain.abs().sum())
    again = found[0] if layout.startswith("b") else found
    axes = [layout.replace("b", "").index(axis) for axis in "tchw"]
    torch.testing.assert_close(again.permute(axes), plain)


def test_values_are_scaled_as_declared():
    frames = np.zeros((3, 8, 8, 3), np.float32)
    frames[..., 1] = 1
    video = Video(frames, Fraction(10))
    i3d = picture_for(VideoNetwork(**HASH, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)), video)
    assert i3d[0, :, 0, 0, 0].tolist() == [-1, 1, -1]
    imagenet = VideoNetwork(
        **HASH, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), layout="tchw"
    )
    found = picture_for(imagenet, video)[0, :, 0, 0]
    assert_close(found, [-0.485 / 0.229, 0.544 / 0.224, -0.406 / 0.225])


def test_the_middle_is_cut_in_the_shape_of_the_size():
    frames = np.zeros((2, 8, 16, 3), np.float32)
    frames[:, :, 4:12] = 1  # the middle square
    video = Video(frames, Fraction(10))
    cut = picture_for(VideoNetwork(**HASH, size=(4, 4), crop=True), video)
    assert cut.min() == 1
    whole = picture_for(VideoNetwork(**HASH, size=(4, 4)), video)
    assert whole.min() < 0.2


def test_sounds_are_cut_or_filled_to_the_declared_length():
    audio = Audio(np.full(16_000, 0.5, np.float32), 16_000)
    long = sound_for(AudioNetwork(**HASH, form="bn", seconds=2.0), audio)
    assert long.shape == (1, 32_000)
    assert long[0, 15_000] == 0.5
    assert long[0, -1] == 0
    assert sound_for(AudioNetwork(**HASH, form="b1n", seconds=0.5), audio).shape == (1, 1, 8_000)
    assert sound_for(AudioNetwork(**HASH, form="bn", rate=32_000), audio).shape == (1, 32_000)
    assert sound_for(AudioNetwork(**HASH, form="vggish"), audio).shape == (1, 1, 96, 64)


def test_a_network_gives_features_and_logits_by_place(folder, sight):
    path = declared(folder, "i3d", sees={**sight, "frames": 4, "output": 0, "logits": 1})
    found = features_of(f"exported:{path}")
    assert found.classes == ("i3d",)
    (one,) = found.extractors
    record = one.read(CLIP)
    chosen = CLIP.video.frames[[0, 5, 10, 15]]
    wanted = chosen.mean((1, 2)).T.flatten()  # channel first
    assert_close(record["features"], wanted, rtol=1e-4)
    assert_close(record["logits"], wanted[:5], rtol=1e-4)
    assert one.version.startswith(sight["sha256"][:12])
    other = declared(folder, "i3d-8", sees={**sight, "frames": 8, "output": 0, "logits": 1})
    assert features_of(f"exported:{other}").extractors[0].version != one.version


def test_what_torch_exports_is_run(folder):
    network = nn.Sequential(nn.Conv1d(1, 7, 400, stride=160), nn.GELU(), nn.AvgPool1d(14))
    example = torch.zeros(1, 1, 16_000)
    path = folder / "trained.onnx"
    with warnings.catch_warnings():
        # the exporter that is new in torch 2.9 needs one package more
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(network, (example,), path, dynamo=False)
    some = {"file": path.name, "sha256": sha256(path), "form": "b1n", "seconds": 1.0}
    (one,) = features_of(f"exported:{declared(folder, 'trained', hears=some)}").extractors
    sound = torch.from_numpy(CLIP.audio.waveform[:16_000])[None, None]
    with torch.no_grad():
        wanted = network(sound).mean((0, 1)).numpy()
    assert_close(one.read(CLIP)["features"], wanted, rtol=1e-4)


def test_patches_are_averaged(folder):
    patches = saved(folder, "patches.onnx", PATCHES)
    path = declared(folder, "vggish", hears={**patches, "form": "vggish"})
    (one,) = features_of(f"exported:{path}").extractors
    audio = Audio(np.tile(CLIP.audio.waveform, 2), 16_000)
    clip = AudioVideo(audio, CLIP.video)
    assert one.needs(clip) is None
    assert one.read(clip)["features"].shape == (6,)
    short = AudioVideo(Audio(audio.waveform[:8000], 16_000), CLIP.video)
    assert one.needs(short) == "clips of at least 0.975 s"


def test_a_shared_space_is_compared_pair_by_pair():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((20, 8))
    noise = 0.1 * rng.standard_normal((20, 8))
    kept = {
        "a-video": [{"features": row} for row in rows],
        "a-audio": [{"features": 3 * row} for row in rows + noise],
    }
    names = [str(k) for k in range(20)]
    (found,) = CrossModal("a-video", "a-audio").measure(EvaluationData(InMemory(names, kept)))
    assert isinstance(found, MetricResult)
    assert found.value > 0.95
    assert abs(found.baseline["shuffled"]) < 0.2
    assert found.baseline["z"] > 5


def test_evaluate_takes_an_exported_network(folder, sight, ears, tmp_path):
    path = declared(
        folder,
        "bind",
        sees={**sight, "frames": 2, "output": 1},
        hears={**ears, "form": "bn"},
        shared=True,
    )
    for k in range(12):
        write_clip(tmp_path / "made" / f"{k}.mp4", example(0, k).clip)
    options = EvaluationConfig(
        generated=tmp_path / "made",
        metrics=("cross-modal",),
        features=(f"exported:{path}",),
        cache=tmp_path / "c",
        jobs=1,
    )
    with pytest.raises(UserError, match="5 and 6 features are no shared space"):
        execute(options)
    path = declared(
        folder,
        "bound",
        sees={**sight, "frames": 2, "output": 0},  # 2 frames of 3 channels
        hears={**ears, "form": "bn"},
        shared=True,
    )
    options = options.updated({"features": [f"exported:{path}"]})
    assert "cross-modal agreement, bound-video and bound-audio" in execute(options)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({}, "give sees, hears or both"),
        ({"sees": {**HASH}}, "is not there"),
        (
            {"sees": {**HASH, "arguments": {}}},
            "unknown option 'sees.arguments'",
        ),
        ({"sees": {**HASH, "size": [1e9, 4]}}, "sees.size 1000000000.0"),
        ({"sees": {**HASH, "frames": 10**12}}, "sees.frames 1000000000000: give 1 to 1000"),
        ({"sees": {**HASH, "std": [1, 0, 1]}}, "sees.std 0: give more than 0"),
        (
            {"hears": {**HASH, "form": "bn", "rate": 10**12}},
            "hears.rate 1000000000000: give 1000",
        ),
        (
            {"hears": {**HASH, "form": "bn", "seconds": 1e12}},
            "hears.seconds 1000000000000.0: give",
        ),
        ({"sees": {**HASH, "fps": 4}}, "unknown option 'sees.fps'"),
        ({"sees": {"file": "x.onnx"}}, "sees.sha256 is missing"),
        (
            {"hears": {**HASH, "form": "mel"}},
            "unknown hears.form 'mel': choose one of bn",
        ),
        ({"sees": {**HASH}, "shared": True}, "a shared space needs both"),
    ],
)
def test_a_wrong_declaration_is_one_clear_line(folder, values, line):
    path = declared(folder, "wrong", **values)
    with pytest.raises(UserError, match=line) as error:
        features_of(f"exported:{path}")
    assert "\n" not in str(error.value)


def test_another_file_than_declared_is_not_run(folder, sight):
    path = declared(folder, "other", sees={**sight, "sha256": "1" * 64})
    with pytest.raises(UserError, match="not run"):
        features_of(f"exported:{path}")


@pytest.mark.parametrize("name", ["x.pt", "x.pt2", "x.ts", "x.pth", "x.torchscript"])
def test_files_that_hold_programs_are_never_opened(folder, name):
    (folder / name).write_bytes(b"whatever")
    some = {"file": name, "sha256": sha256(folder / name)}
    with pytest.raises(UserError, match=r"may hold programs.*torch\.onnx\.export"):
        features_of(f"exported:{declared(folder, 'program', sees=some)}")


def test_a_pickle_under_an_onnx_name_is_not_run(folder, tmp_path):
    class Touches:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    torch.save(Touches(), folder / "pickle.onnx")
    some = {"file": "pickle.onnx", "sha256": sha256(folder / "pickle.onnx")}
    with pytest.raises(UserError, match="is no network"):
        features_of(f"exported:{declared(folder, 'pickle', sees=some)}")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "/etc/passwd"])
def test_weights_in_another_file_are_refused(folder, location):
    (folder / "weights.bin").write_bytes(np.ones(4, np.float32).tobytes())
    model = onnx.parser.parse_model(
        """
        <ir_version: 8, opset_import: ["": 18]>
        outside (float[1, 4] x) => (float[1, 4] y)
        <float[4] w = {1, 1, 1, 1}>
        { y = Mul (x, w) }
        """
    )
    (weights,) = model.graph.initializer
    weights.ClearField("float_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=location)
    path = folder / "outside.onnx"
    path.write_bytes(model.SerializeToString())
    some = {"file": path.name, "sha256": sha256(path), "form": "bn"}
    with pytest.raises(UserError, match=r"weights in another file.*external_data=False"):
        features_of(f"exported:{declared(folder, 'outside', hears=some)}")


def test_operators_of_other_libraries_are_refused_in_branches_too(folder):
    text = """
    <ir_version: 8, opset_import: ["": 18, "com.other": 1]>
    custom (float[1, 4] x, bool c) => (float[1, 4] y)
    {
      y = If (c) <
        then_branch = t () => (float[1, 4] z) { z = com.other.Run (x) },
        else_branch = e () => (float[1, 4] z) { z = Identity (x) }
      >
    }
    """
    some = {**saved(folder, "custom.onnx", text), "form": "bn"}
    with pytest.raises(UserError, match=r"calls Run of com\.other"):
        features_of(f"exported:{declared(folder, 'custom', hears=some)}")


def test_a_network_of_several_inputs_is_refused(folder):
    text = """
    <ir_version: 8, opset_import: ["": 18]>
    two (float[1, n] x, float[1, n] y) => (float[1, n] z) { z = Add (x, y) }
    """
    some = {**saved(folder, "two.onnx", text), "form": "bn"}
    with pytest.raises(UserError, match="takes x, y: export the network with one input"):
        features_of(f"exported:{declared(folder, 'two', hears=some)}")


def test_an_input_of_another_shape_is_said(folder, sight):
    path = declared(folder, "flat", sees={**sight, "layout": "tchw"})
    with pytest.raises(UserError, match=r"takes .* fails on \[16, 3, 64, 64\]") as error:
        features_of(f"exported:{path}").extractors[0].read(CLIP)
    assert "\n" not in str(error.value)


def test_too_many_pixels_are_refused_before_they_are_made():
    form = VideoNetwork(**HASH, frames=1_000, size=(4_096, 4_096))
    with pytest.raises(UserError, match="too many pixels at once"):
        picture_for(form, CLIP.video)


def test_what_is_no_network_is_said(folder):
    (folder / "junk.onnx").write_bytes(b"junk")
    some = {"file": "junk.onnx", "sha256": sha256(folder / "junk.onnx")}
    with pytest.raises(UserError, match="is no network"):
        features_of(f"exported:{declared(folder, 'junk', sees=some)}")


@pytest.mark.parametrize(
    ("wrong", "line"),
    [({"output": 7}, "gives nothing at 7"), ({}, "gives features, logits: say which with output")],
)
def test_an_output_that_is_not_there_is_said(folder, sight, wrong, line):
    path = declared(folder, "missing", sees={**sight, **wrong})
    with pytest.raises(UserError, match=line):
        features_of(f"exported:{path}").extractors[0].read(CLIP)

"""Wrong files of every kind end in one line: nothing runs, hangs, or takes the machine's memory."""

import contextlib
import json
import os
import pickle
import random
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

import onnx
import onnx.parser
import pytest
import torch
from mutations import as_json, mutated_bytes, mutated_tree

from mmdisco.adapters.mmdiffusion.checkpoint import load_joint
from mmdisco.adapters.mmdiffusion.config import JointConfig, UNetLevel
from mmdisco.adapters.mmdiffusion.network import JointNetwork
from mmdisco.cli.app import main
from mmdisco.cli.inspect_files import describe
from mmdisco.cli.prompt_files import read_prompts
from mmdisco.data.pair_store import PairStore
from mmdisco.data.prepare.sources import read_captions
from mmdisco.data.prepared import PreparedFolder
from mmdisco.discriminators.hub import PretrainedDiscriminator
from mmdisco.discriminators.official.config import MMDIFFUSION_AIST, OfficialConfig
from mmdisco.errors import UserError
from mmdisco.evaluation.metrics.exported import read_form
from mmdisco.evaluation.metrics.onnx_network import OnnxNetwork
from mmdisco.generation.config import GenerateConfig, SystemConfig
from mmdisco.generation.metadata import read_record
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.io.files import read_object, sha256, write_json, write_tensors
from mmdisco.io.pickles import read_pickle, state_dict
from mmdisco.media.read import read_audio, read_clip
from mmdisco.media.sounding_objects.dataset import example
from mmdisco.media.write import write_audio, write_clip
from mmdisco.training.checkpoint import TrainingCheckpoint
from mmdisco.training.config import TrainingConfig, read_config
from mmdisco.training.diagnostics.report import Diagnostics

CASES = 21  # of each kind
SECONDS = 10  # of the processor, a case
BYTES = 2**30  # beyond what the process has

SMALL = JointConfig(
    width=32,
    levels=(UNetLevel(32), UNetLevel(32, window=2, video_attention=True)),
    depth=1,
    crosses_middle=True,
    head_channels=32,
    frames=2,
    side=8,
    samples=64,
)
RECORD = {
    "made_by": "mmdisco generate",
    **GenerateConfig(
        prompt="a red ball",
        seed=3,
        seconds=1.6,
        size=(64, 64),
        fps=10,
        steps=4,
        scheduler="ddim",
        cfg_scale_audio=1.5,
        cfg_scale_video=1.5,
        joint_scale_audio=1.0,
        joint_scale_video=1.0,
        joint_every=1,
        joint_min_logsnr=-3.0,
    ).to_record(),
    "sample": 0,
    "environment": {
        "versions": {"torch": "2"},
        "threads": 1,
        "machine": "",
        "weights": {"sound": "0"},
        "given": None,
    },
    "took_seconds": 1.0,
}
FORM = {
    "name": "x",
    "sees": {"file": "x.onnx", "sha256": "0" * 64, "size": [8, 8], "mean": [0, 0, 0]},
    "hears": {"file": "y.onnx", "sha256": "0" * 64, "form": "bn", "rate": 16_000, "seconds": 1.0},
}
LEVEL = {"pairs": {"train": 1}, "paths": {"joint": {"levels": [], "reliability": {}}}}
GRAPH = """
<ir_version: 8, opset_import: ["": 18]>
small (float[1, n] x) => (float[1, n] y) <float[1] w = {2}> { y = Mul (x, w) }
"""


class Hang(BaseException):
    """More time of the processor than any wrong file may take."""


class Fuzz:
    """What came of mutated files, by kind."""

    def __init__(self, folder):
        self.folder = folder
        self.rng = random.Random(0)
        self.counts = {}
        self.faults = []
        self.running = False
        self.ran = []
        sys.addaudithook(self._audit)

    def _audit(self, event, args):
        if self.running and event in ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen"):
            self.ran.append((event, args))

    def one(self, kind, read):
        count = self.counts.setdefault(kind, Counter())
        self.running = True
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            read()
            count["read"] += 1
        except UserError as error:
            said = str(error)
            if "\n" in said or len(said) > 2_000:
                self.faults.append(f"{kind}: not one short line: {said[:300]!r}")
            count["refused"] += 1
        except Hang:
            self.faults.append(f"{kind}: more than {SECONDS} s\n{traceback.format_exc()[-1500:]}")
        except BaseException:
            self.faults.append(f"{kind}\n{traceback.format_exc()[-1500:]}")
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            self.running = False

    def trees(self, kind, path, tree, read, write=as_json):
        for _ in range(CASES):
            path.write_bytes(write(mutated_tree(tree, self.rng)))
            self.one(kind, read)
        path.write_bytes(write(tree))

    def bytes(self, kind, path, read, after=lambda: None):
        """``after`` may put a checksum right: one that comes with a file protects nothing."""
        whole = path.read_bytes()
        for _ in range(CASES):
            path.write_bytes(mutated_bytes(whole, self.rng))
            after()
            self.one(kind, read)
        path.write_bytes(whole)
        after()


@contextlib.contextmanager
def bounded():
    """Within so much memory, and with the clock of the processor watched."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    now = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES, now[1]))

    def stop(signum, frame):
        raise Hang

    before = signal.signal(signal.SIGPROF, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGPROF, before)
        resource.setrlimit(resource.RLIMIT_AS, now)


@pytest.fixture
def corpus(tmp_path, tiny_pair):
    """A whole file or folder of every kind."""
    from mmdisco.discriminators.two_tower import AudioVideoConfig, AudioVideoDiscriminator

    pair = tmp_path / "pair"
    pair.mkdir()
    for file in tiny_pair.iterdir():
        (pair / file.name).write_bytes(file.read_bytes())
    config = json.loads((pair / "config.json").read_text())
    judge = AudioVideoDiscriminator(AudioVideoConfig.from_record(config["discriminator"]))
    PretrainedDiscriminator(judge, "embedded").save(tmp_path / "judge")
    joint = tmp_path / "joint"
    write_tensors(joint / "model.safetensors", JointNetwork(SMALL).state_dict(), {})
    told = {"network": "joint", "shape": SMALL.to_record()}
    write_json(joint / "config.json", {**told, "sha256": sha256(joint / "model.safetensors")})
    store = tmp_path / "prepared" / "train"
    shard = {
        f"{side}.{name}": torch.zeros(3, 4)
        for side in ("audio", "video")
        for name in ("z_0", "pooled")
    }
    write_tensors(store / "shard-00000.safetensors", shard, {"kind": "real"})
    listed = {"kind": "real", "lengths": [3], "sha256": [sha256(store / "shard-00000.safetensors")]}
    write_json(store / "store.json", listed)
    lines = [{"split": "train", "index": k, "caption": "a ball"} for k in range(3)]
    manifest = tmp_path / "prepared" / "manifest.jsonl"
    manifest.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    about = {
        "preset": "embedded",
        "options": SystemConfig(seconds=1.6, size=(64, 64), fps=10).build_options(),
        "manifest_sha256": sha256(manifest),
        "size": [64, 64],
        "seconds": 1.6,
        "fps": 10.0,
        "sample_rate": 16_000,
    }
    write_json(tmp_path / "prepared" / "prepared.json", about)
    TrainingCheckpoint(3, {"width": 8}, {"network.w": torch.zeros(8)}).save(
        tmp_path / "run.safetensors"
    )
    torch.save({"a.weight": torch.randn(20, 20), "b": torch.ones(3)}, tmp_path / "published.pt")
    onnx.save(onnx.parser.parse_model(GRAPH), tmp_path / "x.onnx")
    write_clip(tmp_path / "clip.mp4", example(0, 0).clip)
    write_audio(tmp_path / "sound.wav", example(0, 0).clip.audio)
    (tmp_path / "p.csv").write_text('prompt,negative_prompt,seed\n"a, b",c,4\nball,,\n')
    (tmp_path / "p.jsonl").write_text('"ball"\n{"prompt": "x", "seed": 3}\n')
    (tmp_path / "c.csv").write_text("path,caption,start,end\na.mp4,ball,0,2.5\nb.mp4,,,\n")
    (tmp_path / "c.jsonl").write_text('{"path": "a.mp4", "caption": "x", "start": 1}\n')
    return tmp_path


def rewritten(path, **values):
    write_json(path, {**json.loads(path.read_text()), **values})


def all_of(fuzz, folder):
    path = folder / "any.json"
    fuzz.trees("record", path, RECORD, lambda: read_record(path))
    fuzz.trees("exported network", path, FORM, lambda: read_form(path))
    fuzz.trees("diagnostics", path, LEVEL, lambda: Diagnostics.read(path))
    config = TrainingConfig(data=Path("a"), fakes=Path("b"), out=Path("c")).tree()
    fuzz.trees("training, values", path, config, lambda: read_config(path, {}))
    path.write_bytes(json.dumps(config, indent=1).encode())
    fuzz.bytes("training, bytes", path, lambda: read_config(path, {}))
    released = MMDIFFUSION_AIST.to_record()
    for _ in range(CASES):
        tree = mutated_tree(released, fuzz.rng)
        path.write_bytes(as_json(tree))
        fuzz.one("released shape", lambda: OfficialConfig.from_record(read_object(path)))

    def pair():
        found = MiniatureSystem(folder / "pair")
        for read in (found.weight_hashes, found.sampling, found.model, found.discriminator):
            read()

    config = folder / "pair" / "config.json"
    fuzz.trees("embedded folder", config, json.loads(config.read_text()), pair)
    judge = folder / "judge"
    config, weights = judge / "config.json", judge / "model.safetensors"
    tree = json.loads(config.read_text())
    fuzz.trees("discriminator, values", config, tree, lambda: PretrainedDiscriminator.load(judge))
    fuzz.bytes(
        "discriminator, weights",
        weights,
        lambda: PretrainedDiscriminator.load(judge),
        lambda: rewritten(config, sha256=sha256(weights)),
    )
    joint = folder / "joint"
    tree = json.loads((joint / "config.json").read_text())
    fuzz.trees("MM-Diffusion", joint / "config.json", tree, lambda: load_joint(joint))

    prepared = folder / "prepared"
    store = prepared / "train"
    tree = json.loads((store / "store.json").read_text())
    fuzz.trees("store, values", store / "store.json", tree, lambda: PairStore(store, "real").read())
    shard = store / "shard-00000.safetensors"
    fuzz.bytes(
        "store, shard",
        shard,
        lambda: PairStore(store, "real").read(),
        lambda: rewritten(store / "store.json", sha256=[sha256(shard)]),
    )
    tree = json.loads((prepared / "prepared.json").read_text())
    fuzz.trees(
        "prepared, values",
        prepared / "prepared.json",
        tree,
        lambda: PreparedFolder(prepared).options,
    )
    manifest = prepared / "manifest.jsonl"

    fuzz.bytes(
        "prepared, manifest",
        manifest,
        lambda: PreparedFolder(prepared).captions,
        lambda: rewritten(prepared / "prepared.json", manifest_sha256=sha256(manifest)),
    )
    run = folder / "run.safetensors"
    fuzz.bytes("training checkpoint", run, lambda: TrainingCheckpoint.load(run))
    fuzz.bytes("tensors, inspected", run, lambda: describe(run))
    pickled = folder / "published.pt"
    fuzz.bytes("published pickle", pickled, lambda: state_dict(read_pickle(pickled), pickled))
    network = folder / "x.onnx"
    fuzz.bytes("ONNX", network, lambda: OnnxNetwork.load(network, sha256(network)))
    for name, read in (("p", read_prompts), ("c", read_captions)):
        for ending in ("csv", "jsonl"):
            table = folder / f"{name}.{ending}"
            kind = f"{'prompts' if name == 'p' else 'captions'}, {ending}"
            fuzz.bytes(kind, table, lambda read=read, table=table: read(table))
    fuzz.bytes("film", folder / "clip.mp4", lambda: read_clip(folder / "clip.mp4"))
    fuzz.bytes("sound", folder / "sound.wav", lambda: read_audio(folder / "sound.wav"))


def test_five_hundred_wrong_files_end_in_one_line_each(corpus, capsys):
    fuzz = Fuzz(corpus)
    before = {path for path in corpus.rglob("*") if path.is_file()}
    with bounded():
        all_of(fuzz, corpus)
    with capsys.disabled():
        total = sum(sum(count.values()) for count in fuzz.counts.values())
        print(f"\n{total} wrong files")  # noqa: T201
        for kind, count in sorted(fuzz.counts.items()):
            print(f"  {kind:<24} {count['read']:3} read {count['refused']:4} refused")  # noqa: T201
    assert not fuzz.faults, "\n\n".join(fuzz.faults[:20])
    assert not fuzz.ran
    assert total >= 500
    after = {path for path in corpus.rglob("*") if path.is_file()}
    assert after - before <= {corpus / "any.json"}


def told(capsys, monkeypatch, *arguments):
    """What a command says, and its status."""
    monkeypatch.setattr(sys, "argv", ["mmdisco", *map(str, arguments)])
    try:
        main()
    except SystemExit as stop:
        status = stop.code
    return status, capsys.readouterr().err


@pytest.fixture
def strange(tmp_path):
    """What lies where a file should, and is none."""
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    (tmp_path / "self.json").symlink_to(tmp_path / "self.json")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "large.json").write_bytes(b'"' + b"x" * 2**24 + b'"')
    return tmp_path


STRANGE = ["pipe", "folder", "zero", "self", "deep", "large", "n" * 300, "missing"]


@pytest.mark.parametrize("name", STRANGE)
@pytest.mark.parametrize("command", ["generate --from-metadata", "train", "inspect"])
def test_commands_say_in_one_line_what_is_no_file(strange, capsys, monkeypatch, command, name):
    began = time.process_time()
    status, said = told(capsys, monkeypatch, *command.split(), strange / f"{name}.json")
    if command == "inspect":  # what it needs is imported above
        assert time.process_time() - began < 2
    assert status == 2
    assert said.startswith("mmdisco: ")
    assert said.count("\n") == 1


def test_mutated_files_given_to_commands_end_in_lines_without_a_traceback(
    corpus, capsys, monkeypatch
):
    rng = random.Random(1)
    monkeypatch.chdir(corpus)
    config = json.dumps(TrainingConfig().tree(), indent=1)
    (corpus / "training.yaml").write_text(config)
    write_json(corpus / "record.json", RECORD)
    made = ("--weights", "pair", "--steps", 1, "--out", "made.mp4")
    commands = {
        "record.json": ("generate", "--from-metadata", "record.json", "--weights", "pair"),
        "p.csv": ("generate", "--prompts", "p.csv", *made),
        "p.jsonl": ("generate", "--prompts", "p.jsonl", *made),
        "training.yaml": ("train", "training.yaml"),
        "judge/config.json": ("generate", "a red ball", "--discriminator", "judge", *made),
    }
    for name, command in commands.items():
        whole = (corpus / name).read_bytes()
        for _ in range(3):
            if name.endswith(".json"):
                wrong = as_json(mutated_tree(json.loads(whole), rng))
            else:
                wrong = mutated_bytes(whole, rng)
            (corpus / name).write_bytes(wrong)
            with bounded():
                status, said = told(capsys, monkeypatch, *command)
            assert status in (0, 2), (name, wrong)
            assert all(line.startswith("mmdisco: ") for line in said.splitlines()), (name, wrong)
        (corpus / name).write_bytes(whole)


def test_references_that_would_unfold_are_refused(tmp_path):
    path = tmp_path / "bomb.yaml"
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 12)]
    path.write_text("\n".join(lines))
    with pytest.raises(UserError, match=r"\*a0 refers to another place"):
        read_config(path, {})


@pytest.mark.parametrize(
    ("name", "value"), [("width", 65_536), ("depth", 64), ("channel_mult", [60_000] * 9)]
)
def test_a_configuration_beyond_its_weights_takes_no_memory(corpus, name, value):
    config = corpus / "judge" / "config.json"
    record = json.loads(config.read_text())
    record["discriminator"][name] = {"width": 65_536, "depth": 64, "channel_mult": [60_000] * 9}[
        name
    ]
    config.write_text(json.dumps(record))
    with (
        bounded(),
        pytest.raises(UserError, match=r"another network|another kind"),
    ):
        PretrainedDiscriminator.load(corpus / "judge")


class Touches:
    """A pickle that makes a file when it is loaded as pickles are."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize(
    "write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))]
)
@pytest.mark.parametrize("name", ["published.pt", "run.safetensors", "judge/model.safetensors"])
def test_no_pickle_runs_whatever_its_name(corpus, tmp_path, name, write):
    write(Touches(tmp_path / "ran"), corpus / name)
    readers = {
        "published.pt": lambda: read_pickle(corpus / name),
        "run.safetensors": lambda: TrainingCheckpoint.load(corpus / name),
        "judge/model.safetensors": lambda: PretrainedDiscriminator.load(corpus / "judge"),
    }
    with pytest.raises(UserError, match="damaged"):
        readers[name]()
    assert not (tmp_path / "ran").exists()


def test_a_tensor_larger_than_its_file_is_refused(tmp_path):
    torch.save({"a": torch.zeros(1).expand(2**40)}, tmp_path / "wide.pt")
    with pytest.raises(UserError, match="larger than its numbers"):
        read_pickle(tmp_path / "wide.pt")

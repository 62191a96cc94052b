import sys

import pytest
import torch
from accelerate.state import AcceleratorState

from mmdisco.adapters.miniature.model import AUDIO_SHAPE, VIDEO_SHAPE
from mmdisco.cli import main
from mmdisco.core.av import AV
from mmdisco.core.pairs import Pairs
from mmdisco.data.pair_store import PairStore
from mmdisco.generation.config import SystemConfig
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.io.files import sha256, write_json, write_text

CAPTIONS = ("a red ball bouncing", "a blue ball bouncing")


class Ended:
    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out.splitlines(), err


@pytest.fixture(autouse=True)
def _forget_accelerator():
    """A process has one accelerator state for life, but tests are many runs."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def mmdisco(monkeypatch, capfd):
    """The command, in this process."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["mmdisco", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        said = capfd.readouterr()
        return Ended(stopped.value.code, said.out, said.err)

    return run


def write_prepared(folder, model, rows):
    """A folder as ``mmdisco prepare`` leaves it; latents are noise."""
    generator = torch.Generator().manual_seed(5)
    lines = []
    for part, count in rows.items():
        store = PairStore(folder / part, "real")
        texts = [CAPTIONS[row % 2] for row in range(count)]
        for first in range(0, count, 4):
            own = texts[first : first + 4]
            z_0 = AV(
                torch.randn(len(own), *AUDIO_SHAPE, generator=generator),
                torch.randn(len(own), *VIDEO_SHAPE, generator=generator),
            )
            store.append(Pairs(z_0, model.encode_prompts(own)))
        lines += [
            f'{{"split": "{part}", "index": {row}, "caption": "{text}", "source": "film.mp4"}}\n'
            for row, text in enumerate(texts)
        ]
    write_text(folder / "manifest.jsonl", "".join(lines))
    record_prepared(folder)


def record_prepared(folder):
    """Write ``prepared.json`` for the manifest that is there."""
    record = {"preset": "embedded", "options": SystemConfig().build_options()}
    sums = {"manifest_sha256": sha256(folder / "manifest.jsonl")}
    write_json(folder / "prepared.json", record | sums)


@pytest.fixture(scope="session")
def prepared(tiny_pair, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    write_prepared(folder, MiniatureSystem(tiny_pair).model(), {"train": 6, "validation": 4})
    return folder


@pytest.fixture(scope="session")
def made(prepared, tiny_pair, tmp_path_factory):
    """Finished fakes of ``prepared``, made on one thread as by the processes that are forked."""
    from mmdisco.cli.fakes import execute
    from mmdisco.data.config import FakesConfig

    folder = tmp_path_factory.mktemp("made")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    usual = {"weights": tiny_pair, "steps": 2, "shard_size": 4}
    execute(FakesConfig(prepared=prepared, out=folder, **usual))
    torch.set_num_threads(before)
    return folder


@pytest.fixture
def asked(prepared, made, tiny_pair):
    """Arguments of a small training."""
    small = {
        "discriminator.width": 8,
        "discriminator.d_model": 8,
        "discriminator.num_layers": 1,
        "discriminator.num_heads": 2,
        "training.steps": 6,
        "training.batch_size": 4,
        "training.log_every": 2,
        "training.checkpoint_every": 2,
        "validation.every": 3,
        "validation.levels": 2,
        "validation.clips": 0,
        "validation.clip_steps": 1,
    }
    changes = [word for key, value in small.items() for word in ("--set", f"{key}={value}")]
    return ["train", "--data", prepared, "--fakes", made, "--weights", tiny_pair, *changes]

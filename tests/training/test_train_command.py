"""``mmdisco train``: a folder that generates, the same after any kill and for any processes."""

import json
import multiprocessing
import os
import re
import sys
from pathlib import Path

import pytest
import torch
import yaml
from accelerate.state import AcceleratorState
from killing import run_forked, run_killed
from torch.distributed import TCPStore

from mmdisco.cli import main
from mmdisco.cli.train import execute
from mmdisco.data.pairing import evenly_spaced, shuffle_pairs
from mmdisco.discriminators.hub import PretrainedDiscriminator
from mmdisco.errors import UserError
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.io.files import read_json, read_tensors
from mmdisco.training.callbacks import numbers
from mmdisco.training.config import TrainingConfig, read_config
from mmdisco.training.diagnostics.scores import ranking
from mmdisco.training.run import build

pytestmark = pytest.mark.usefixtures("one_thread")  # forks
WEIGHTS = "model.safetensors"


def config_of(asked, out, *changes):
    """The configuration of the arguments of ``asked``."""
    words = [str(word) for word in asked[1:]]
    given = {name: words[words.index(f"--{name}") + 1] for name in ("data", "fakes", "weights")}
    settings = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    return read_config(None, {**given, "out": out}, [*settings, *changes])


def test_training_gives_a_folder_that_generates(asked, tiny_pair, tmp_path, mmdisco):
    out = tmp_path / "out"
    small = ("--set", "validation.clips=1", "--set", "validation.clips_every=6")
    ended = mmdisco(*asked, "--out", out, *small)
    assert ended.status == 0, ended.err
    assert ended.out == [str(out)]
    names = {path.name for path in out.iterdir()}
    assert names >= {"config.json", WEIGHTS, "README.md", "curves.png", "training.yaml"}
    samples = {path.name for path in (out / "training" / "samples").iterdir()}
    assert samples == {"unguided-0.mp4", "step-00000006-0.mp4"}
    lines = [json.loads(one) for one in (out / "training" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 3, 4, 6]
    assert lines[0]["samples_per_second"] > 0
    measure = lines[1]["held_out"]
    assert len(measure["against_fake"]["accuracy"]) == 2
    assert len(measure["against_shuffled"]["ranking"]) == 2
    assert list((out / "training" / "tensorboard").iterdir())
    card = (out / "README.md").read_text()
    assert "6 clips to train on, 4 held out" in card
    assert "| noise | accuracy" in card
    assert read_json(out / "config.json")["one_sided"] == 0.3
    # the averaged weights of the checkpoint are the result
    average = read_tensors(out / "training" / "checkpoint.safetensors")
    for name, value in PretrainedDiscriminator.load(out).network.state_dict().items():
        assert torch.equal(value, average[f"average.{name}"])
    told = mmdisco("inspect", out).out
    assert told[0].startswith("a discriminator for embedded: ")
    assert "trained on 6 clips with 2 different captions and 10 fakes; 4 clips held out" in told
    assert told[-1] == "training: step 6"
    clip = tmp_path / "clip.mp4"
    made = mmdisco(
        *("generate", "a red ball", "--weights", tiny_pair, "--discriminator", out),
        *("--steps", 2, "--out", clip),
    )
    assert made.status == 0, made.err
    record = read_json(clip.with_suffix(".json"))
    assert record["discriminator"] == str(out)
    assert (
        record["environment"]["weights"]["discriminator"]
        == read_json(out / "config.json")["sha256"]
    )


CONTRAST = (
    "discriminator.fusion=attention+correlation",
    "contrastive_pretraining.steps=4",
    "contrastive.groups=2",
    "contrastive.group_size=3",
    "contrastive.uncaptioned_fraction=0.5",
)


def test_contrast_before_the_training_resumes_and_counts(asked, tmp_path, mmdisco):
    whole = build(config_of(asked, tmp_path / "whole", *CONTRAST))
    steps = list(whole.steps())
    assert steps[:4] == [1, 2, 3, 4]
    assert read_tensors(tmp_path / "whole" / "training" / "pretraining" / "checkpoint.safetensors")
    halved = build(config_of(asked, tmp_path / "halved", *CONTRAST)).steps()
    for _ in range(2):
        next(halved)
    told = mmdisco("inspect", tmp_path / "halved").out
    assert told[0] == "a training that is not finished: give mmdisco train once more"
    assert told[-1] == "contrastive pretraining: step 2"
    again = build(config_of(asked, tmp_path / "halved", *CONTRAST))
    list(again.steps())
    plain = build(config_of(asked, tmp_path / "plain", CONTRAST[0]))
    list(plain.steps())
    weights = [read_tensors(tmp_path / name / WEIGHTS) for name in ("whole", "halved", "plain")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not all(torch.equal(weights[0][name], weights[2][name]) for name in weights[0])
    with pytest.raises(UserError, match="other contrastive:"):
        list(build(config_of(asked, tmp_path / "plain", *CONTRAST)).steps())


def test_contrast_as_a_third_term_resumes_and_is_logged(asked, tmp_path):
    groups = [one for one in CONTRAST if not one.startswith("contrastive_pretraining")]
    changes = (*groups, "loss.contrastive=10")
    list(build(config_of(asked, tmp_path / "whole", *changes)).steps())
    for line in (tmp_path / "whole" / "training" / "log.jsonl").read_text().splitlines():
        if "discrimination" in json.loads(line):
            assert json.loads(line)["contrastive"] > 0
            assert 0 <= json.loads(line)["contrastive_accuracy"] <= 1
    halved = build(config_of(asked, tmp_path / "halved", *changes)).steps()
    for _ in range(4):
        next(halved)
    list(build(config_of(asked, tmp_path / "halved", *changes)).steps())
    list(build(config_of(asked, tmp_path / "plain", *groups)).steps())
    weights = [read_tensors(tmp_path / name / WEIGHTS) for name in ("whole", "halved", "plain")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not all(torch.equal(weights[0][name], weights[2][name]) for name in weights[0])
    with pytest.raises(UserError, match="other loss"):
        list(build(config_of(asked, tmp_path / "plain", *changes)).steps())


def test_contrast_wants_products(asked, tmp_path):
    with pytest.raises(UserError, match="fusion=attention"):
        build(config_of(asked, tmp_path / "out", *CONTRAST[1:]))
    with pytest.raises(UserError, match=r"loss\.contrastive needs .*fusion=attention"):
        build(config_of(asked, tmp_path / "out", "loss.contrastive=10"))
    few = build(config_of(asked, tmp_path / "out", *CONTRAST, "contrastive.group_size=5"))
    with pytest.raises(UserError, match="smaller groups"):
        list(few.steps())


def shapeless(asked, out, *changes):
    """The configuration of ``asked`` without an architecture."""
    kept = [word for word in asked if not str(word).startswith("discriminator.")]
    return config_of([word for word in kept if word != "--set"], out, *settings_of(kept), *changes)


def settings_of(words):
    return [str(word) for word in words if re.match(r"(training|validation)\.", str(word))]


def test_training_goes_on_from_a_trained_one(asked, tiny_pair, tmp_path):
    list(build(config_of(asked, tmp_path / "before", CONTRAST[0])).steps())
    before = PretrainedDiscriminator.load(tmp_path / "before").network
    starts = {
        str(tmp_path / "before"): before,
        "preset": MiniatureSystem(tiny_pair).discriminator(),
    }
    for number, (start, trained) in enumerate(starts.items()):
        config = shapeless(asked, tmp_path / str(number), f"init_from={start}")
        training = build(config)
        network = training.network
        assert network.config == trained.config
        assert all(torch.equal(a, b) for a, b in each_weight(network, trained))
        assert all(one.requires_grad for one in network.parameters())
        list(training.steps())
        after = PretrainedDiscriminator.load(config.out).network
        assert not all(torch.equal(a, b) for a, b in each_weight(after, trained))
    with pytest.raises(UserError, match=r"other (init_from|discriminator)"):
        list(build(shapeless(asked, tmp_path / "0", "init_from=preset")).steps())
    with pytest.raises(UserError, match="brings its own architecture"):
        build(config_of(asked, tmp_path / "out", "init_from=preset"))
    with pytest.raises(UserError, match="nowhere"):
        build(shapeless(asked, tmp_path / "out", "init_from=./nowhere"))


def each_weight(one, other):
    return zip(one.state_dict().values(), other.state_dict().values(), strict=True)


def test_killed_training_ends_as_the_uninterrupted_one(asked, tmp_path):
    def work(name):
        config = config_of(asked, tmp_path / name, "training.checkpoint_every=1")
        return lambda: list(execute(config, None))

    seconds = run_forked(work("whole"))
    run_killed(work("parts"), seconds)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for name in (WEIGHTS, "training/checkpoint.safetensors", "README.md", "curves.png"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes(), name


def test_two_processes_give_the_weights_of_one(asked, tmp_path):
    changes = ("validation.every=0", "training.log_every=3", "levels.distribution=importance")
    command = ["mmdisco", *asked, "--cpu", "--out", tmp_path / "two"]
    command += [word for change in changes for word in ("--set", change)]
    # as a launcher does it: whoever holds the port chooses it, so that no other process can take it
    meeting = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    launcher = {
        **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(meeting.port), "WORLD_SIZE": "2"},
        **{"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"},
        **{"ACCELERATE_USE_CPU": "true", "LOCAL_WORLD_SIZE": "2"},
    }

    def work(rank):
        os.environ.update(launcher | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        sys.argv = [str(word) for word in command]
        main()

    # forked: nothing is imported anew
    both = [
        multiprocessing.get_context("fork").Process(target=work, args=(rank,)) for rank in range(2)
    ]
    for process in both:
        process.start()
    list(execute(config_of(asked, tmp_path / "one", *changes, "compute.cpu=true"), None))
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    one, two = (read_tensors(tmp_path / name / WEIGHTS) for name in ("one", "two"))
    for name, value in one.items():
        assert torch.linalg.norm(two[name] - value) <= 1e-5 * torch.linalg.norm(value), name
    logs = [tmp_path / name / "training" / "log.jsonl" for name in ("one", "two")]
    first, second = (json.loads(log.read_text().splitlines()[0]) for log in logs)
    assert second["discrimination"] == pytest.approx(first["discrimination"], rel=1e-5)
    assert second["gradient_norm"] == pytest.approx(first["gradient_norm"], rel=1e-4)


def test_parts_of_a_batch_add_up_to_the_whole(asked, tmp_path):
    for name, parts in (("one", 1), ("two", 2)):
        list(execute(config_of(asked, tmp_path / name, f"compute.grad_accumulation={parts}"), None))
    one, two = (read_tensors(tmp_path / name / WEIGHTS) for name in ("one", "two"))
    for name, value in one.items():
        assert torch.linalg.norm(two[name] - value) <= 1e-5 * torch.linalg.norm(value), name


def test_mixed_precision_trains_nearly_the_same(asked, tmp_path):
    first = []
    for name in ("fp32", "bf16"):
        config = config_of(
            asked, tmp_path / name, f"compute.mixed_precision={name}", "training.steps=2"
        )
        list(execute(config, None))
        AcceleratorState._reset_state(reset_partial_state=True)
        log = tmp_path / name / "training" / "log.jsonl"
        first.append(json.loads(log.read_text().splitlines()[0])["denoising_audio"])
    assert first[0] != first[1]
    assert first[1] == pytest.approx(first[0], rel=0.02)


def test_mixed_precision_contrasts_pairs_too(asked, tmp_path):
    changes = (*CONTRAST, "compute.mixed_precision=bf16", "training.steps=1")
    list(execute(config_of(asked, tmp_path, *changes), None))
    AcceleratorState._reset_state(reset_partial_state=True)
    log = tmp_path / "training" / "pretraining" / "log.jsonl"
    assert json.loads(log.read_text().splitlines()[0])["discrimination"] > 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["training.batch_size=3", "compute.grad_accumulation=2"], "multiple of 2"),
        (["training.learning_rat=1"], "did you mean training.learning_rate?"),
        (["learning_rate=1"], "did you mean training.learning_rate?"),
        (["training.steps=many"], "training.steps 'many' is no whole number"),
        (
            ["discriminator.fusion=magic"],
            "choose one of attention, attention+correlation",
        ),
        (["negatives.shuffled_fraction=2"], "negatives.shuffled_fraction 2: give 0 to 1"),
        (["levels.independent=0.9", "levels.one_sided=0.9"], "at most 1"),
        (["data=/nowhere"], "/nowhere is no prepared folder"),
    ],
)
def test_impossible_settings_are_refused(changes, said, asked, tmp_path):
    with pytest.raises(UserError, match=re.escape(said)) as refused:
        list(execute(config_of(asked, tmp_path / "out", *changes), None))
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out" / "config.json").exists()


def test_other_settings_do_not_go_on_with_a_training(asked, tmp_path):
    list(execute(config_of(asked, tmp_path, "training.steps=2"), None))
    # what decides no weights may change
    list(execute(config_of(asked, tmp_path, "training.steps=2", "validation.every=5"), None))
    with pytest.raises(UserError, match="training of other loss"):
        list(execute(config_of(asked, tmp_path, "training.steps=2", "loss.denoising=3"), None))


def test_file_and_changes_are_one_configuration(tmp_path):
    file = tmp_path / "training.yaml"
    file.write_text("data: a\nfakes: b\nloss:\n  denoising: 10\ntraining:\n  steps: 7\n")
    config = read_config(file, {"out": "c", "training.seed": 3}, ["loss.discrimination=0.5"])
    assert (config.loss.denoising, config.loss.discrimination) == (10.0, 0.5)
    assert (config.training.steps, config.training.seed, config.training.max_grad_norm) == (
        7,
        3,
        1.0,
    )


def test_ranking_is_the_chance_of_a_larger_logit():
    assert ranking(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 1.0])) == 2.5 / 4


def test_sounds_are_exchanged_within_captions_where_there_are_two():
    some = shuffle_pairs(["a", "b", "a", "c"])
    assert (some.rows.tolist(), some.partners.tolist()) == ([0, 2], [2, 0])
    assert some.captioned
    bare = shuffle_pairs(["a", "b", "c"])
    assert bare.partners.tolist() == [1, 2, 0]
    # in a film neighbours are alike
    assert shuffle_pairs(["a"] * 6).partners.tolist() == [3, 4, 5, 0, 1, 2]
    assert not bare.captioned


def test_some_of_many_rows_are_spread_over_all():
    assert evenly_spaced(10, 4) == [0, 2, 5, 7]
    assert evenly_spaced(3, 4) == [0, 1, 2]


def test_board_has_a_name_for_every_number():
    line = {"step": 3, "loss": 1, "by": {"angle": [0.5, None]}, "clips": ["a.mp4"]}
    assert dict(numbers(line)) == {"loss": 1.0, "by/angle/0": 0.5}


def test_held_out_clips_examine_what_was_trained(
    asked, prepared, made, tiny_pair, tmp_path, mmdisco
):
    out = tmp_path / "out"
    assert mmdisco(*asked, "--out", out).status == 0
    folder = tmp_path / "diagnostics"
    given = ("--data", prepared, "--fakes", made, "--weights", tiny_pair, "--levels", 2)
    ended = mmdisco("diagnose", out, *given, "--out", folder)
    assert ended.status == 0, ended.err
    record = read_json(folder / "diagnostics.json")
    assert record["pairs"] == {
        "real": 4,
        "real against fake": 4,
        "fake": 4,
        "real against shuffled": 4,
        "shuffled": 4,
    }


def test_docs_list_every_setting_as_the_command_prints_it(mmdisco):
    printed = "\n".join(mmdisco("train", "--defaults").out)
    text = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
    listed = text.partition("<!-- settings:")[2].partition("```yaml\n")[2].partition("\n```")[0]
    assert listed == printed
    assert TrainingConfig.of_tree(yaml.safe_load(printed)) == TrainingConfig()


def test_training_after_contrast_may_change_the_transformer_only(asked, tmp_path):
    changes = (*CONTRAST, "contrastive_pretraining.train_transformer_only=true")
    run = build(config_of(asked, tmp_path / "out", *changes))
    list(run.steps())
    folder = tmp_path / "out" / "training"
    before, after = (
        read_tensors(folder / name / "checkpoint.safetensors") for name in ("pretraining", "")
    )
    changed = {
        name
        for name, value in before.items()
        if name.startswith("network.") and not torch.equal(value, after[name])
    }
    assert changed
    assert all(one.startswith("network.fusion.") for one in changed)
    assert not any(one.startswith("network.fusion.products.") for one in changed)


def test_settings_describe_themselves_once():
    for key in TrainingConfig().flat():
        assert TrainingConfig.describe(key), key

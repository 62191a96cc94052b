"""``recipes/game`` after its clips: commands, cells, choice of scales, ranking, curve, page."""

import csv
import json
import random
import shutil
import sys
from fractions import Fraction
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from mmdisco.core.av import AV
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.pairs import Pairs
from mmdisco.data.pair_store import PairStore
from mmdisco.data.pairing import select_pairs
from mmdisco.discriminators.hub import PretrainedDiscriminator
from mmdisco.errors import UserError
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.io.files import read_json, read_tensors, sha256, write_json
from mmdisco.media.clip import Audio, AudioVideo, Video
from mmdisco.media.read import read_clip
from mmdisco.media.write import write_clip

ROOT = Path(__file__).parents[2]
GAME = ROOT / "recipes" / "game"
MODULES = {path.stem for path in GAME.glob("*.py")}
CAPTIONS = ("a red ball bouncing", "a bell ringing")
NAMES = [f"basic-{index // 4:07d}-{index % 4:02d}.mp4" for index in range(8)]
TEXTS = [CAPTIONS[index % 2] for index in range(8)]


@pytest.fixture
def recipe(monkeypatch):
    """Imports modules of the recipe, which are forgotten afterwards."""
    monkeypatch.syspath_prepend(GAME)
    yield import_module
    for name in MODULES & set(sys.modules):
        del sys.modules[name]


def write_clips(folder):
    """Clips of a square that is lit while noise sounds, of two captions in turn."""
    rng = np.random.default_rng(0)
    for index, name in enumerate(NAMES):
        frames = rng.uniform(0.1, 0.3, (16, 64, 64, 3)).astype(np.float32)
        sound, first = 0.01 * rng.standard_normal(25_600), 3 + index
        frames[first : first + 3, 20:50, 20:50] = 0.9
        sound[1600 * first : 1600 * (first + 3)] += 0.2 * rng.standard_normal(3 * 1600)
        audio, video = Audio(sound.astype(np.float32), 16_000), Video(frames, Fraction(10))
        write_clip(folder / name, AudioVideo(audio, video))
    with (folder / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "caption"), *zip(NAMES, TEXTS, strict=True)])


def write_prepared(folder, names, texts, pairs):
    """A folder as ``mmdisco prepare`` writes one, as far as it is read."""
    PairStore(folder / "train", "real").append(pairs)
    rows = zip(names, texts, strict=True)
    lines = [
        json.dumps({"split": "train", "index": index, "source": name, "caption": text})
        for index, (name, text) in enumerate(rows)
    ]
    (folder / "manifest.jsonl").write_text("".join(f"{line}\n" for line in lines))
    write_json(folder / "prepared.json", {"manifest_sha256": sha256(folder / "manifest.jsonl")})


@pytest.fixture
def run(recipe, tiny_pair, tmp_path):
    """A run whose pair, discriminator and readers are of random weights."""
    write_clips(tmp_path / "clips" / "validation")
    shutil.copytree(tiny_pair, tmp_path / "pair")
    network = MiniatureSystem(tiny_pair).discriminator()
    PretrainedDiscriminator(network, str(tmp_path / "pair")).save(tmp_path / "discriminator")
    reading, networks, records = map(recipe, ("reading", "networks", "records"))
    thresholds = dict.fromkeys(reading.SIDES, dict.fromkeys(records.KINDS, 0.5))
    torch.manual_seed(0)
    own = networks.SightNetwork(1), networks.HearingNetwork()
    reading.Readers(*own, ("basic",), thresholds).save(tmp_path / "readers")
    return tmp_path


def test_a_cell_goes_on_and_only_one_side_of_a_given_clip_changes(recipe, run):
    cells, measure = map(recipe, ("cells", "measure"))
    row = cells.Row("video to audio", cells.video_to_audio, AV(2.0, 0.0), steps=3)
    study = measure.Study(run, clips=4)
    cell, real = study.cell("validation", row), study.cell("validation", cells.REAL)
    for one in (cell, real, study.cell("validation", cells.RECONSTRUCTED)):
        one.carry_out()
    first, sums = cell.results(), [sha256(path) for path in cell.paths]
    cell.paths[2].unlink()
    cell.file.unlink()
    cell.carry_out()
    assert [sha256(path) for path in cell.paths] == sums
    assert cell.results() == first
    made, given = read_clip(cell.paths[0]), read_clip(real.paths[0])
    light = [one.video.frames[:16].mean((1, 2, 3)) for one in (made, given)]
    assert np.argmax(light[0]) in range(np.argmax(light[1]) - 1, np.argmax(light[1]) + 2)
    todo = [real, study.cell("validation", cells.RECONSTRUCTED), cell]
    table = measure.table(todo)
    assert set(table) == {cells.REAL, cells.RECONSTRUCTED, "video to audio"}
    assert {"value", "control", "gap closed"} <= set(table["video to audio"]["events"])
    assert table[cells.REAL]["recognised"]["scenario"] == 1.0


def made_up(events, agree, distance):
    """Results of a cell in which a share of the shots is heard when it is seen."""
    rng, readings = random.Random(0), []
    for _ in range(40):
        seen = [{"kind": "pistol", "second": rng.uniform(0.2, 1.5)} for _ in range(events)]
        heard = [one if rng.random() < agree else {**one, "second": 5.0} for one in seen]
        readings.append({"seen": seen, "heard": heard, "sight": None, "sound": None})
    for one in readings:
        one["scenario"] = "basic"
    return {"readings": readings, "frechet": {"video": distance, "audio": distance}}


def test_the_scale_that_closes_most_of_the_gap_is_chosen_unless_clips_suffer(recipe, run):
    cells, measure = map(recipe, ("cells", "measure"))
    folder = run / "clips" / "train"
    folder.mkdir(parents=True)
    lines = [f"basic-0000000-{index:02d}.mp4,a pistol" for index in range(40)]
    (folder / "captions.csv").write_text("\n".join(["path,caption", *lines]))
    study = measure.Study(run, swept=40)

    def write(cell, agree, distance=1.0):
        write_json(cell.file, {"results": made_up(2, agree, distance)})

    for name in (cells.REAL, cells.RECONSTRUCTED):
        write(study.cell("train", name), 1.0)
    joint = measure.candidates(study, "joint", cells.jointly, measure.JOINT)
    for cell, agree, distance in zip(
        joint, (0, 0.2, 0.6, 0.4, 0.9, 0.3), (1, 1, 1.05, 1, 2, 1), strict=True
    ):
        write(cell, agree, distance)
    for name, task, scales in (
        ("video to audio", cells.video_to_audio, [AV(one, 0.0) for one in measure.TO_AUDIO]),
        ("audio to video", cells.audio_to_video, [AV(0.0, one) for one in measure.TO_VIDEO]),
    ):
        for place, cell in enumerate(measure.candidates(study, name, task, scales)):
            write(cell, 0.1 * place)
    chosen = measure.chosen_scales(study)
    assert chosen == cells.Scales(measure.JOINT[1], measure.TO_AUDIO[-1], measure.TO_VIDEO[-1])
    assert measure.chosen_scales(study) == chosen


class SameMean(Discriminator):
    """A logit that is larger the closer the means of both sides are."""

    def forward(self, z_t, level, text):
        means = [one.flatten(1).mean(1) for one in (z_t.audio, z_t.video)]
        return -(means[0] - means[1]).abs()


def test_own_sounds_rank_above_wrong_ones_where_the_network_compares(recipe, tiny_pair):
    ranking, model = recipe("ranking"), MiniatureSystem(tiny_pair).model()
    place = torch.arange(12.0)[:, None, None]
    z_0 = AV(place.expand(12, 4, 8)[..., None], place[..., None].expand(12, 4, 2, 2).clone())
    captions = [CAPTIONS[row % 2] for row in range(12)]
    pairs = Pairs(z_0, model.encode_prompts(captions))
    found = ranking.ranking_by_level(SameMean(), pairs, captions, model)
    for kind in (ranking.ANY, ranking.ALIKE):
        assert found[kind]["ranking"][0] == 1.0
        assert found[kind]["ranking"][-1] < 1.0
    table = ranking.cycles([[0, 2, 4], [1, 3]], np.random.default_rng(0))
    assert all(one != row and one % 2 == row % 2 for row, *others in table for one in others)


def test_the_curve_trains_on_the_first_hours_and_ranks_held_out_pairs(recipe, run):
    curve, ranking = map(recipe, ("curve", "ranking"))
    model = MiniatureSystem(run / "pair").model()
    z_0 = model.latent_shapes(1.6).map(lambda shape: torch.randn(8, *shape))
    pairs = Pairs(z_0, model.encode_prompts(TEXTS))
    # the order of a prepared folder is not that of play
    order = torch.tensor([7, 0, 3, 5, 1, 2, 6, 4])
    names, texts = ([one[row] for row in order] for one in (NAMES, TEXTS))
    write_prepared(run / "prepared", names, texts, select_pairs(pairs, order))
    hours = 5 * float(curve.SECONDS) / curve.HOUR
    found, captions = curve.first_hours(run / "prepared", hours)
    assert torch.equal(found.z_0.audio, z_0.audio[:5])
    assert captions == TEXTS[:5]
    config = curve.TRAINING.updated(
        {
            **{"contrastive_pretraining.steps": 2, "contrastive_pretraining.warmup_steps": 1},
            **{"discriminator.width": 8, "discriminator.d_model": 8},
            **{"contrastive.groups": 1, "contrastive.group_size": 2},
        }
    )
    cell = curve.CurveCell(run, run / "prepared", hours, run / "prepared", config)
    cell.carry_out()
    assert cell.done
    assert cell.results()["trained on"] == 5
    assert len(cell.results()[ranking.ANY]["ranking"]) == len(ranking.LEVELS)
    with pytest.raises(UserError, match="has 8 clips, not 2100: make more hours of them"):
        curve.first_hours(run / "prepared", 1.0)


def test_commands_run_two_at_once_and_those_that_were_done_not_again(recipe, tmp_path):
    script = tmp_path / "write.py"
    script.write_text(
        "import sys, time\nfrom pathlib import Path\n"
        "place, done = Path(sys.argv[1]), Path('done.json')\n"
        "place.write_text(place.read_text() + '.' if place.exists() else '.')\n"
        "while place.name == 'c' and (not done.exists() or 'py b' not in done.read_text()):\n"
        "    time.sleep(0.02)\n"
        "sys.exit(place.name == 'c')\n"
    )
    work = recipe("run").Recipe(tmp_path / "out")
    work.out.mkdir()
    words = [f"{script} {name}" for name in "abc"]
    with pytest.raises(SystemExit, match=r"failed with status 1: .*write\.py c"):
        work.run(*words)
    with pytest.raises(SystemExit):
        work.run(*words)
    assert [(work.out / name).read_text() for name in "abc"] == [".", ".", ".."]
    assert sorted(read_json(work.out / "done.json")) == words[:2]


def test_what_ships_makes_the_clips_of_the_run_at_its_chosen_scales(recipe, run):
    scales = {"joint": {"audio": 3.0, "video": 10.0}, "to_audio": 6.0, "to_video": 1.0}
    write_json(run / "evaluation" / "scales.json", scales)
    recipe("ship").ship(run, run / "shipped")
    shipped = MiniatureSystem(run / "shipped")
    assert shipped.sampling().joint_scale == AV(3.0, 10.0)
    assert (shipped.sampling().video_to_audio, shipped.sampling().audio_to_video) == (6.0, 1.0)
    own = PretrainedDiscriminator.load(run / "discriminator").network.state_dict()
    for name, one in shipped.discriminator().state_dict().items():
        assert torch.equal(one, own[name].half().float())
    for name in set(shipped.weight_hashes()) - {"discriminator"}:
        packed, kept = (
            read_tensors(run / one / f"{name}.safetensors") for one in ("shipped", "pair")
        )
        assert packed.keys() == kept.keys()
        assert all(torch.equal(one, kept[key]) for key, one in packed.items())
    assert "Freedoom" in (run / "shipped" / "README.md").read_text()


def test_the_page_is_the_recipes_with_figures_between_its_marks(recipe, run, monkeypatch):
    page = recipe("page")
    monkeypatch.setattr(page, "SHOWN", 1)
    kept = (ROOT / "docs" / "game.md").read_text()
    before, _, rest = page.page().partition(page.BEGIN)
    assert kept.startswith(before)
    assert kept.endswith(rest.partition(page.END)[2])
    cells, measure = map(recipe, ("cells", "measure"))
    study = measure.Study(run, clips=4)
    for row in (
        cells.REAL,
        cells.Row("joint", cells.jointly, cells.OFF),
        cells.rows(cells.Scales(cells.OFF, 1.0, 1.0))[0],
    ):
        folder = study.cell("validation", row).folder
        shutil.copytree(run / "clips" / "validation", folder)
    share = {"value": 0.5, "error": 0.01, "control": 0.25, "control error": 0.02}
    row = {"events": {**share, "gap closed": 0.625, "gap error": 0.03}, "class": share}
    row["kinds"] = {**share, "gap closed": 0.6, "gap error": 3.0}
    row |= {"recognised": {"scenario": 1.0, "sound": None}, "frechet": {"video": 2.0}}
    ranks = {"ranking": [0.9, 0.6], "error": [0.01, 0.02], "mean": 0.75}
    ranked = {"u": [0.0, 0.5], page.ANY: ranks, page.ALIKE: ranks}
    figures = {
        **{"clips": 4, "seeds": [0, 1], "versions": {"torch": "2"}},
        "scales": {"joint": {"audio": 3.0, "video": 10.0}, "to_audio": 6.0, "to_video": 1.0},
        "rows": {part: {"joint": row} for part in page.PARTS},
        "ranking": {part: {"discriminator": ranked} for part in page.PARTS},
    }
    write_json(run / "evaluation" / "figures.json", figures)
    write_json(run / "curve" / "1.json", {**ranked, "hours": 1.0, "trained on": 9, "steps": 5})
    f1 = {side: {"can be": {"all": {"f1": 0.97}}} for side in ("seen", "heard")}
    read = {part: {"f1": f1, "clips": 7} for part in page.PARTS}
    write_json(run / "readers" / "figures.json", {**read, "tolerance": 0.1, "seed": 0})
    (run / "pair" / "training").mkdir()
    write_json(run / "pair" / "training" / "durations.json", {"latents": 7200})
    page.write_page(run / "docs", run)
    text = (run / "docs" / "game.md").read_text()
    assert "{{" not in text
    assert page.NONE not in text
    assert "| joint | 0.500 ± 0.010 | 0.250 ± 0.020 | 0.625 ± 0.030 | 0.500" in text
    assert "| 1 | 9 | 5 | 0.900 ± 0.010 |" in text
    assert "| latents | 2.00 |" in text
    assert "| joint, gap closed, events | ≥ 0.6 | 0.625 | yes |" in text
    assert "| video to audio, gap closed, class | ≥ 0.75 | – | – |" in text
    pictures = [f"{name}.png" for name in ("ranking", "curve", "clips", "scenarios")]
    for name in (*pictures, "clip-0-alone.mp4", "clip-0-together.mp4"):
        assert f"game/{name}" in text
        assert (run / "docs" / "game" / name).exists()
    assert any(f"- “{one}”: [alone](game/clip-0-alone.mp4)" in text for one in CAPTIONS)
    assert "4 clips a row and seed, seeds 0, 1;" in text
    assert "| 0.500 ± 0.010 | 0.250 ± 0.020 | – |" in text  # a gap whose error says nothing

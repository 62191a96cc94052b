"""Readers of ``recipes/game``, trained on drawn clips of a game that is none."""

import sys
from fractions import Fraction
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from mmdisco.errors import UserError
from mmdisco.io.files import read_json, write_json, write_tensors
from mmdisco.media.clip import Audio, AudioVideo, Video
from mmdisco.media.write import write_clip
from mmdisco.training.bases.config import FitConfig

GAME = Path(__file__).parents[2] / "recipes" / "game"
MODULES = (
    *("agreement", "make_clips", "networks", "play", "reading", "readers", "record_scores"),
    *("records", "scenarios"),
)
SESSIONS = {"train": 4, "validation": 1, "held_out": 1}
FPS = Fraction(35, 3)
HEARING = FitConfig(steps=50, batch_size=8, warmup_steps=5, ema=0.9, checkpoint_every=25)
SIGHT = FitConfig(steps=4, batch_size=2, checkpoint_every=2)  # dear: it learns nothing in so few


@pytest.fixture
def recipe(monkeypatch):
    """The recipe's modules by name; forgotten afterwards."""
    monkeypatch.syspath_prepend(GAME)
    yield {name: import_module(name) for name in MODULES}
    for name in MODULES:
        del sys.modules[name]


def drawn_clip(tics: list[int]) -> AudioVideo:
    """A flash of three pictures and a burst of noise of six tics at each of some tics."""
    rng = np.random.default_rng(sum(tics))
    frames = np.full((20, 80, 96, 3), 0.2, np.float32)
    sound = np.zeros(37_800, np.float32)
    for tic in tics:
        first = -(-tic // 3)
        frames[first : first + 3, 40:60, 40:60] = (1, 0.8, 0.2)
        noise = rng.normal(0, 0.2, 6 * 630)
        sound[630 * tic : 630 * tic + len(noise)] += noise[: 37_800 - 630 * tic]
    return AudioVideo(Audio(sound.clip(-1, 1), 22_050), Video(frames, FPS))


def draw_sessions(recipe, folder: Path, out: Path) -> None:
    """Write the game's tables of drawn clips, and the clips as readers keep them."""
    rng = np.random.default_rng(0)
    for part, sessions in SESSIONS.items():
        name = "defend_the_line" if part == "held_out" else "basic"
        for seed in range(sessions):
            rows, clips = [], []
            for index in range(10):
                tics = sorted(rng.choice(range(4, 56, 10), rng.integers(0, 3), replace=False))
                events = [{"kind": "shot", "second": round(tic / 35, 4)} for tic in tics]
                path = f"{name}-{seed:07d}-{index:02d}.mp4"
                rows.append({"path": path, "scenario": name, "events": events})
                clips.append(drawn_clip(tics))
            (folder / part / "sessions").mkdir(parents=True, exist_ok=True)
            write_json(folder / part / "sessions" / f"{name}-{seed:07d}.json", rows)
            found = recipe["records"].features(clips)
            kept = out / "features" / part / f"{name}-{seed:07d}.safetensors"
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_tensors(kept, {"pictures": found.pictures, "sounds": found.sounds}, {})


def test_a_reader_finds_what_is_heard_and_the_command_goes_on_where_it_was(
    recipe, tmp_path, monkeypatch
):
    readers, clips, out = recipe["readers"], tmp_path / "clips", tmp_path / "out"
    monkeypatch.setattr(readers, "SIGHT", SIGHT)
    monkeypatch.setattr(readers, "HEARING", HEARING)
    draw_sessions(recipe, clips, out)
    monkeypatch.setattr(sys, "argv", ["readers.py", "--clips", str(clips), "--out", str(out)])
    readers.main()
    figures = read_json(out / "figures.json")
    for part in ("validation", "held_out"):
        assert figures[part]["f1"]["heard"]["can be"]["pistol"]["f1"] > 0.9
        assert figures[part]["recognised"]["sound"] > 0.9
    assert figures["thresholds"]["heard"]["rocket"] is None
    weights = (out / "readers.safetensors").read_bytes()
    (out / "figures.json").unlink()
    readers.main()
    assert (out / "readers.safetensors").read_bytes() == weights
    assert read_json(out / "figures.json") == figures
    loaded = recipe["reading"].Readers.load(out)
    (one, still) = loaded.read([drawn_clip([24]), drawn_clip([])])
    assert [event.kind for event in one.heard] == ["pistol"]
    assert one.heard[0].second == pytest.approx(24 / 35, abs=0.05)
    assert (one.sound, one.scenario) == ("pistol", "basic")
    assert (still.heard, still.sound) == ((), None)


def test_a_peak_lies_between_the_pictures_that_share_it(recipe):
    chance = np.zeros((20, 5))
    chance[7:9, 0] = 0.45
    chance[14, 2] = 0.3
    (shot, burst) = recipe["reading"].peaks(chance, "seen")
    assert (shot.event.kind, burst.event.kind) == ("pistol", "burst")
    assert shot.event.second == pytest.approx((3 * 7.5 - 1) / 35, abs=1e-6)
    assert (shot.score, burst.score) == pytest.approx((0.9, 0.3))
    heard = recipe["reading"].peaks(chance, "heard")
    assert heard[0].event.second == pytest.approx((3 * 7.5 + 1) / 35, abs=1e-6)


def test_files_are_read_with_flash_and_noise_where_they_were_written(recipe, tmp_path):
    records = recipe["records"]
    write_clip(tmp_path / "clip.mp4", drawn_clip([24]))
    found = records.features([records.read_file(tmp_path / "clip.mp4")])
    assert found.pictures.shape == (1, 20, 3, 40, 48)
    red = found.pictures[0, :, 0, 22, 25].float()
    assert (red > 128).nonzero().flatten().tolist() == [8, 9, 10]
    loud = found.sounds[0].mean(1)
    assert int((loud > -0.5).nonzero()[0]) == pytest.approx(24 * 3, abs=2)
    assert len(loud) == 60 * 3


def test_an_event_that_cannot_be_read_is_neither_missed_nor_wrong(recipe):
    scores, records = recipe["record_scores"], recipe["records"]
    first, late = records.Event("pistol", 0.5), records.Event("pistol", 59 / 35)
    record = records.Record(Path("clip.mp4"), "basic", (first, late))
    assert [records.can_be_seen(one) for one in (first, late)] == [True, False]
    assert not records.can_be_seen(records.Event("hurt", 0.5))
    for read in ([first], [first, late]):
        found = scores.counts([read], [record], "pistol", records.can_be_seen)
        assert (found.f1, found.true) == (1, 1)
    found = scores.counts([[first]], [record], "pistol", lambda _: True)
    assert found.f1 == pytest.approx(2 / 3)


def test_shots_are_classed_by_weapon(recipe, tmp_path):
    rows = [
        {"path": "a.mp4", "scenario": name, "events": [{"kind": "shot", "second": 1.0}]}
        for name in ("basic", "rocket_basic")
    ]
    write_json(tmp_path / "sessions" / "one.json", rows)
    (session,) = recipe["records"].sessions_of(tmp_path)
    assert [one.events[0].kind for one in session] == ["pistol", "rocket"]


def test_agreement_of_true_pairs_closes_the_gap_that_recombined_ones_leave(recipe):
    event = recipe["records"].Event
    rng = np.random.default_rng(0)
    seen = [
        [event("pistol", second) for second in sorted(rng.uniform(0, 1.7, rng.integers(0, 4)))]
        for _ in range(60)
    ]
    captions = ["a pistol, a brick hall", "a pistol fires, a round arena"] * 30
    measure = recipe["agreement"].agreement
    real = measure(seen, seen, captions, ["pistol"])
    apart = measure(seen, [*seen[2:], *seen[:2]], captions, ["pistol"])
    for name in ("events", "class", "kinds"):
        assert real[name].value == 1
        assert real[name].control < 0.75
        assert real[name].gap_closed(real[name])[0] == 1
    value, error = apart["events"].gap_closed(real["events"])
    assert abs(value) < 4 * error < 0.5
    assert len(real["kinds"].own) == 30
    # what the picture does not show cannot agree
    none = measure(
        seen,
        [[event("rocket", one.second) for one in clip] for clip in seen],
        captions,
        ["pistol", "rocket"],
    )
    assert (none["events"].value, none["class"].value) == (1, 0)


def test_clips_of_a_caption_of_their_own_are_left_out(recipe):
    event = recipe["records"].Event
    seen = [[event("pistol", 0.5)], [event("pistol", 1.0)], [event("pistol", 1.5)]]
    captions = ["a pistol, a brick hall", "a pistol, a brick hall", "a pistol, a round arena"]
    found = recipe["agreement"].agreement(seen, seen, captions, ["pistol"])
    assert len(found["events"].own) == 2
    assert found["events"].control == 0
    with pytest.raises(UserError, match="recombined within captions"):
        recipe["agreement"].agreement(seen[1:], seen[1:], captions[1:], ["pistol"])


def test_captions_name_kinds(recipe):
    named, tells = recipe["agreement"].named, recipe["agreement"].tells
    whole = "a rocket launcher fires, its rocket bursts, a bright concrete hall"
    assert named(whole) == {"rocket", "burst"}
    assert named("walking, a medikit is picked up, a green acid field") == {"pickup"}
    quiet = ("a pistol waits, a brick hall", "walking, nothing happens, a green acid field")
    assert all(tells(one) and not named(one) for one in quiet)
    untold = "a pistol, a brick hall"
    assert not tells(untold)
    found = recipe["agreement"].as_said(
        ["burst", "pistol", None, "pistol", None], [whole, whole, *quiet, untold], ["burst"]
    )
    assert (found["value"], found["clips"]) == (0.5, 4)

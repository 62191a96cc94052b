"""Clips of ``recipes/game``, played by a game that is none."""

import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mmdisco.data.prepare.layouts import ClipList, by_file
from mmdisco.data.prepare.sources import SourceVideo, read_captions
from mmdisco.io.files import read_json
from mmdisco.media.read import read_clip

GAME = Path(__file__).parents[2] / "recipes" / "game"
FIRED = 40  # tic, from the beginning of an episode
BUTTONS = [SimpleNamespace(name=name) for name in ("ATTACK", "MOVE_LEFT", "MOVE_RIGHT")]


class Game:
    """A game in which one shot is fired in every episode of 150 tics."""

    def __init__(self):
        self.tic, self.pressed = 0, []

    def set_seed(self, seed):
        pass

    def new_episode(self):
        self.tic = 0

    def get_available_buttons(self):
        return BUTTONS

    def is_episode_finished(self):
        return self.tic >= 150

    def make_action(self, pressed, tics):
        self.pressed.append(pressed)
        self.tic += tics

    def get_state(self):
        return SimpleNamespace(
            game_variables=(50 - (self.tic >= FIRED), 100, True),
            objects=[],
            labels=[],
            screen_buffer=np.full((120, 160, 3), self.tic, np.uint8),
            audio_buffer=np.full((630, 2), 10 * self.tic, np.int16),
        )

    def close(self):
        pass


@pytest.fixture
def recipe(monkeypatch):
    """The recipe's modules, with the game in the place of ViZDoom; forgotten afterwards."""
    monkeypatch.syspath_prepend(GAME)
    make_clips, play = map(import_module, ("make_clips", "play"))
    monkeypatch.setattr(play, "_game", lambda scenario, seed: Game())
    yield make_clips
    for name in ("make_clips", "play", "scenarios"):
        del sys.modules[name]


def test_a_shot_is_where_ammunition_falls(recipe):
    scenario = next(one for one in recipe.SCENARIOS if one.name == "basic")
    (recording,) = recipe.play(scenario, 0, 120 / 35)
    assert [(one.kind, one.second) for one in recording.events] == [("shot", (FIRED - 14) / 35)]
    assert len(recording.sound) == 630 * 120
    assert recording.frames.shape == (40, 120, 160, 3)


def test_a_pistol_whose_ammunition_is_filled_up_fires_after_it_was_ready(recipe):
    shots = {
        (True, 21): [6],  # pressed once, and ready again fifteen tics after the shot
        (True, 35): [6, 20],  # pressed on when it asks, nine tics after the shot
        (False, 40): [6, 25],  # pressed again just when it would have been ready
    }
    for (on, until), wanted in shots.items():
        ready = [True] * 2 + [False] * (until - 2) + [True] * 20
        attack = [on and tic == 15 and len(wanted) == 2 for tic in range(len(ready))]
        assert list(sys.modules["play"].pistol_shots(ready, attack)) == wanted


def test_clips_and_tables_are_what_prepare_reads(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "SESSION", 120 / 35)
    session = next(iter(recipe.sessions({"train": 0.01})))
    recipe.make(tmp_path, session)
    folder = tmp_path / "train"
    recipe.write_tables(folder, [session])
    captions = read_captions(folder / "captions.csv")
    found = [one for one in ClipList(folder, captions, by_file).items()]
    clips = [one for one in found if isinstance(one, SourceVideo)]
    assert [one.caption for one in clips] == [
        "a pistol fires, a brick hall",
        "a pistol waits, a brick hall",
    ]
    assert captions.unused() == []
    clip = read_clip(clips[0].path)
    assert clip.video.frames.shape == (20, 80, 96, 3)
    assert (clip.video.fps, clip.audio.sample_rate) == (Fraction(35, 3), 22_050)
    (first, _) = read_json(session.table(tmp_path))
    assert first["events"] == [{"kind": "shot", "second": round((FIRED - 14) / 35, 4)}]


def test_training_validation_and_held_out_scenarios_share_nothing(recipe):
    hours = dict.fromkeys(("train", "validation", "held_out"), 0.1)
    parts = {part: [one for one in recipe.sessions(hours) if one.part == part] for part in hours}
    seeds = {part: {one.seed for one in own} for part, own in parts.items()}
    assert seeds["train"].isdisjoint(seeds["validation"])
    assert {one.scenario.name for one in parts["held_out"]} == {"defend_the_line"}
    assert not any(one.scenario.held_out for one in parts["train"] + parts["validation"])


def test_about_every_other_caption_leaves_out_what_happens(recipe):
    scenario, kinds = recipe.BY_NAME["rocket_basic"], {"shot", "burst"}
    said = Counter(recipe.caption(f"{index}.mp4", scenario, kinds) for index in range(200))
    whole = "a rocket launcher fires, its rocket bursts, a bright concrete hall"
    assert set(said) == {whole, "a rocket launcher, a bright concrete hall"}
    assert 75 < said[whole] < 125


def test_what_a_crash_took_with_it_is_played_again(recipe, tmp_path, monkeypatch):
    crashes = iter([True, False])

    def make(out, session):
        if session.seed == 1 and next(crashes):
            raise BrokenProcessPool
        session.table(out).parent.mkdir(parents=True, exist_ok=True)
        session.table(out).write_text("[]")
        played.append(session.seed)

    played = []
    monkeypatch.setattr(recipe, "make", make)
    monkeypatch.setattr(recipe, "ProcessPoolExecutor", lambda jobs, *_: ThreadPoolExecutor(jobs))
    scenario = recipe.BY_NAME["basic"]
    recipe.make_all(tmp_path, [recipe.Session("train", scenario, seed) for seed in range(3)], 1)
    assert sorted(played) == [0, 1, 2]

"""Plays a scenario and records picture, sound and what happens.

The game runs at 35 tics a second; a picture is taken every third tic, the sound of all of them.
What happens is read from the game itself: a shot where ammunition falls, a burst where a rocket
stops, a pick-up where health rises, a hurt where it falls. A scenario that fills ammunition up all
the time has a pistol, whose shots follow from when it is ready and from the button.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from scenarios import Scenario

TICS: Final = 35  # a second
EVERY: Final = 3  # tics between pictures
FPS: Final = Fraction(TICS, EVERY)
RATE: Final = 22_050
DECISION: Final = (4, 14)  # tics until the player decides again, at least and at most
RAISED: Final = 4  # tics from a pistol that is no longer ready to its shot
ASKED: Final = 9  # tics from a shot until the button makes it fire on
FIRED_ON: Final = 14  # tics from a shot to the next, if it does
LOWERED: Final = 15  # tics from a shot until a pistol is ready, if it does not
WARM_UP: Final = 14  # tics: the weapon is raised, and nothing is heard

Kind = Literal["shot", "burst", "pickup", "hurt"]


@dataclass(frozen=True)
class Event:
    """Something that is both seen and heard, at a second from the beginning."""

    kind: Kind
    second: float


@dataclass(frozen=True, eq=False)
class Recording:
    """A stretch of play without a break.

    Attributes:
        frames: (frames, height, width, 3), uint8.
        sound: (samples, 2), int16 at ``RATE``.
        events: In the order of time.
    """

    frames: npt.NDArray[np.uint8]
    sound: npt.NDArray[np.int16]
    events: tuple[Event, ...]


def play(scenario: Scenario, seed: int, seconds: float) -> list[Recording]:
    """Play, and return one recording for each episode; the same seed plays the same.

    Args:
        scenario: What is played.
        seed: Seed of the game and of the player.
        seconds: Time of play, all episodes together.
    """
    game = _game(scenario, seed)
    rng = random.Random(f"{scenario.name} {seed}")
    recordings: list[Recording] = []
    left = round(seconds * TICS)
    try:
        while left > 0:
            # the engine's own generator goes on between episodes, and would depend on their number
            game.set_seed(rng.randrange(2**31))
            game.new_episode()
            states = _episode(game, scenario, rng, left)
            left -= len(states) + WARM_UP
            recordings.append(_recording(states))
    finally:
        game.close()
    return recordings


@dataclass(frozen=True, eq=False)
class _Tic:
    picture: npt.NDArray[np.uint8]
    sound: npt.NDArray[np.int16]
    ammunition: float
    health: float
    ready: bool
    attack: bool
    flying: int


def _episode(game: Any, scenario: Scenario, rng: random.Random, most: int) -> list[_Tic]:
    buttons = game.get_available_buttons()
    tics: list[_Tic] = []
    pressed, until = [False] * len(buttons), 0
    for tic in range(most + WARM_UP):
        state = game.get_state()
        if state is None or game.is_episode_finished():
            break
        if tic >= until:
            action = scenario.player(state, rng) if tic >= WARM_UP else {}
            pressed = [action.get(button.name, False) for button in buttons]
            until = tic + rng.randint(*DECISION)
        if tic >= WARM_UP:
            tics.append(_tic(state, attack="ATTACK" in _names(buttons, pressed)))
        game.make_action(pressed, 1)
    return tics


def _names(buttons: Any, pressed: Sequence[bool]) -> set[str]:
    return {button.name for button, own in zip(buttons, pressed, strict=True) if own}


def _tic(state: Any, *, attack: bool) -> _Tic:
    ammunition, health, ready = state.game_variables
    rockets = [one for one in state.objects if one.name.endswith("Rocket")]
    return _Tic(
        picture=state.screen_buffer.copy(),
        sound=state.audio_buffer.copy(),
        ammunition=float(ammunition),
        health=float(health),
        ready=bool(ready),
        attack=attack,
        # one that has burst stays for a while, and stands still
        flying=sum(abs(one.velocity_x) + abs(one.velocity_y) > 0 for one in rockets),
    )


def _recording(tics: list[_Tic]) -> Recording:
    events: list[Event] = []
    rockets, shots = any(one.flying for one in tics), set(_shots(tics))
    for index in range(1, len(tics)):
        before, now = tics[index - 1], tics[index]
        fired = index in shots
        kinds: dict[Kind, bool] = {
            "shot": fired,
            "burst": now.flying < before.flying + (fired and rockets),
            "pickup": now.health > before.health,
            "hurt": now.health < before.health,
        }
        events += [Event(kind, index / TICS) for kind, happens in kinds.items() if happens]
    pictures = [one.picture for one in tics[::EVERY]]
    sounds = [one.sound for one in tics]
    shape = (0, 120, 160, 3)
    return Recording(
        frames=np.stack(pictures) if pictures else np.empty(shape, np.uint8),
        sound=np.concatenate(sounds) if sounds else np.empty((0, 2), np.int16),
        events=tuple(events),
    )


def _shots(tics: Sequence[_Tic]) -> Iterator[int]:
    left = [one.ammunition for one in tics]
    if any(now > before for before, now in pairwise(left)):
        yield from pistol_shots([one.ready for one in tics], [one.attack for one in tics])
        return
    for index, (before, now) in enumerate(pairwise(left), 1):
        if now < before:
            yield index


def pistol_shots(ready: Sequence[bool], attack: Sequence[bool]) -> Iterator[int]:
    """Yield tics at which a pistol fires.

    Args:
        ready: Whether it is ready, at each tic.
        attack: Whether the button is pressed, from that tic to the next.
    """
    last, fires = len(ready) - 1, -1
    for tic in range(1, len(ready)):
        if ready[tic - 1] and not ready[tic]:
            fires = tic + RAISED
        if tic != fires:
            continue
        yield tic
        if attack[min(tic + ASKED, last)]:
            fires = tic + FIRED_ON
        elif not ready[min(tic + LOWERED, last)]:
            fires = tic + LOWERED + RAISED  # pressed just when it would have been ready


def _game(scenario: Scenario, seed: int) -> Any:
    # the game is an extra, and neither the rest of the recipe nor type checks need it
    import vizdoom  # pyright: ignore[reportMissingImports]

    game: Any = vizdoom.DoomGame()
    folder = Path(vizdoom.scenarios_path)
    game.load_config(str(folder / f"{scenario.name}.cfg"))
    game.set_doom_scenario_path(str(folder / f"{scenario.name}.wad"))
    game.set_window_visible(False)
    game.set_render_hud(False)
    game.set_screen_resolution(vizdoom.ScreenResolution.RES_160X120)
    game.set_screen_format(vizdoom.ScreenFormat.RGB24)
    game.set_labels_buffer_enabled(True)
    game.set_objects_info_enabled(True)
    game.set_audio_buffer_enabled(True)
    game.set_audio_sampling_rate(vizdoom.SamplingRate.SR_22050)
    game.set_audio_buffer_size(1)
    game.add_game_args("+snd_efx 0")  # OpenAL ends the process otherwise
    watched = ("SELECTED_WEAPON_AMMO", "HEALTH", "ATTACK_READY")
    game.set_available_game_variables([getattr(vizdoom.GameVariable, one) for one in watched])
    game.set_episode_timeout(60 * TICS)
    game.set_seed(seed)
    game.init()
    return game

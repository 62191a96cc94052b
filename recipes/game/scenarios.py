"""Scenarios of ViZDoom that the clips are played in, and how each is played.

The pictures and recorded sounds are Freedoom's (BSD 3-clause), the scenarios and the engine
ViZDoom's (MIT). Each player acts at random with the habits of its scenario, from a seed alone.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

Action = dict[str, bool]
Player = Callable[[Any, random.Random], Action]
"""Names of the buttons that are pressed for the next few tics, from ViZDoom's state of the game."""

HALF_WIDTH: Final = 80  # pixels of the rendered picture
CENTRED: Final = 14  # pixels from the middle within which a thing is walked towards
TURNED_TO: Final = ("Medikit",)


@dataclass(frozen=True)
class Scenario:
    """A map with a weapon, in words that captions use.

    Attributes:
        name: Name of its files in ViZDoom, and of the clips.
        where: Place, for captions.
        weapon: Weapon, for captions; None for bare hands.
        player: Chooses what is pressed.
        held_out: Whether no clip of it is for training.
    """

    name: str
    where: str
    weapon: str | None
    player: Player
    held_out: bool = False


@dataclass(frozen=True)
class Shooter:
    """Fires now and then, and moves to either side in between.

    Attributes:
        fire: Chance to fire at each decision.
        sideways: Names of the two buttons, to the left and to the right.
    """

    fire: float
    sideways: Sequence[str]

    def __call__(self, state: Any, rng: random.Random) -> Action:
        """Choose what is pressed."""
        if rng.random() < self.fire:
            return {"ATTACK": True}
        return {rng.choice(self.sideways): True} if rng.random() < 0.6 else {}


def gatherer(state: Any, rng: random.Random) -> Action:
    """Walk to the nearest medikit that is seen; look around where there is none."""
    seen = [one for one in state.labels if one.object_name in TURNED_TO]
    if not seen or rng.random() < 0.15:
        turn = rng.choice(("TURN_LEFT", "TURN_RIGHT"))
        return {turn: True, "MOVE_FORWARD": True}
    nearest = max(seen, key=lambda one: one.height)
    offset = nearest.x + nearest.width / 2 - HALF_WIDTH
    if abs(offset) <= CENTRED:
        return {"MOVE_FORWARD": True}
    turn = "TURN_LEFT" if offset < 0 else "TURN_RIGHT"
    return {turn: True, "MOVE_FORWARD": abs(offset) < 3 * CENTRED}


STEP: Final = ("MOVE_LEFT", "MOVE_RIGHT")
TURN: Final = ("TURN_LEFT", "TURN_RIGHT")

SCENARIOS: Final = (
    Scenario("basic", "a brick hall", "a pistol", Shooter(0.3, STEP)),
    Scenario("rocket_basic", "a bright concrete hall", "a rocket launcher", Shooter(0.25, STEP)),
    Scenario("health_gathering", "a green acid field", None, gatherer),
    Scenario("defend_the_center", "a round arena", "a pistol", Shooter(0.3, TURN)),
    Scenario("predict_position", "a dark hall", "a rocket launcher", Shooter(0.3, TURN)),
    Scenario("defend_the_line", "a brick corner", "a pistol", Shooter(0.3, TURN), held_out=True),
)
BY_NAME: Final = {one.name: one for one in SCENARIOS}

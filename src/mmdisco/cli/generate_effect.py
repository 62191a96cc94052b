"""Options of ``mmdisco generate`` that would change nothing are refused."""

from collections.abc import Mapping

from mmdisco.errors import UserError


def expect_unused(option: str, value: object) -> None:
    """Refuse what classifier-free guidance alone reads, where there is none.

    Raises:
        UserError: It is given.
    """
    if value:
        raise UserError(
            f"{option} has no effect at guidance scale 1: leave it out, or ask for another scale"
        )


def expect_sides(
    common: str,
    value: float | None,
    sides: Mapping[str, float | None],
    given: Mapping[str, bool],
) -> None:
    """Refuse a weight of a given side, and one for both sides beside a weight for each.

    Args:
        common: The option for both; that of a side ends with the side's name.
        value: Of the option for both.
        sides: Of that of either side.
        given: Which sides are given.

    Raises:
        UserError: There is one.
    """
    for side, weight in sides.items():
        if given[side] and weight is not None:
            name = "sound" if side == "audio" else side
            raise UserError(f"--{common}-{side} has no effect on a given {name}: leave it out")
    if value is not None and all(given[side] or sides[side] is not None for side in sides):
        raise UserError(f"--{common} has no effect beside a weight for each side: leave it out")

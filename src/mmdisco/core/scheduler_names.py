"""Names of the schedulers that ``mmdisco.core.schedulers`` builds. Imports no library."""

from typing import Final

from mmdisco.errors import UserError

SCHEDULERS: Final = (
    "ddim",
    "ddpm",
    "ddpm-clip",
    "dpm++2m",
    "dpm++3m",
    "sde-dpm++2m",
    "dpm++2s",
    "unipc",
    "euler",
    "euler-ancestral",
    "flow-euler",
)


def expect_scheduler(name: str) -> None:
    """Check a name of a scheduler.

    Raises:
        UserError: There is none of that name.
    """
    if name not in SCHEDULERS:
        raise UserError(f"unknown solver {name!r}: choose one of {', '.join(SCHEDULERS)}")

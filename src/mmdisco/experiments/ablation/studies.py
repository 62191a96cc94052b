"""All studies by name."""

from typing import Final

from mmdisco.errors import UserError
from mmdisco.experiments.ablation.sampling_studies import (
    CORRECTIONS,
    INTERVALS,
    REUSE,
    SAMPLERS,
    SCALES,
)
from mmdisco.experiments.ablation.study import AblationStudy
from mmdisco.experiments.ablation.training_studies import (
    CENTRAL,
    FAKES,
    INTERACTION,
    LEVELS,
    LOSS,
    SIZE,
    STEPS,
)

STUDIES: Final[dict[str, AblationStudy]] = {
    "central": CENTRAL,
    "loss": LOSS,
    "interaction": INTERACTION,
    "size": SIZE,
    "steps": STEPS,
    "fakes": FAKES,
    "levels": LEVELS,
    "scales": SCALES,
    "intervals": INTERVALS,
    "reuse": REUSE,
    "samplers": SAMPLERS,
    "corrections": CORRECTIONS,
}


def study(name: str) -> AblationStudy:
    """Look up a study by name.

    Raises:
        UserError: There is none of that name.
    """
    if name not in STUDIES:
        raise UserError(f"unknown study {name!r}: choose one of {', '.join(STUDIES)}")
    return STUDIES[name]

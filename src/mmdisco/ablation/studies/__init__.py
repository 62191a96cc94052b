"""Every study by name, a file each."""

from typing import Final

from mmdisco.ablation.studies.central import CENTRAL
from mmdisco.ablation.studies.corrections import CORRECTIONS
from mmdisco.ablation.studies.fakes import FAKES
from mmdisco.ablation.studies.interaction import INTERACTION
from mmdisco.ablation.studies.intervals import INTERVALS
from mmdisco.ablation.studies.levels import LEVELS
from mmdisco.ablation.studies.loss import LOSS
from mmdisco.ablation.studies.reuse import REUSE
from mmdisco.ablation.studies.samplers import SAMPLERS
from mmdisco.ablation.studies.scales import SCALES
from mmdisco.ablation.studies.size import SIZE
from mmdisco.ablation.studies.steps import STEPS
from mmdisco.ablation.study import Study
from mmdisco.errors import UserError

STUDIES: Final[dict[str, Study]] = {
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


def study(name: str) -> Study:
    """The study of a name.

    Raises:
        UserError: There is none.
    """
    if name not in STUDIES:
        raise UserError(f"unknown study {name!r}: choose one of {', '.join(STUDIES)}")
    return STUDIES[name]

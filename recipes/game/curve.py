"""How much data a discriminator needs: the same small training on less and on more hours of clips.

Only the contrastive loss is trained, which needs neither base models nor fakes, for the same number
of updates whatever the hours. Each network then ranks the same held-out pairs.
"""

import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from held_out import loaded
from make_clips import SECONDS
from ranking import held_out_pairs, ranking_by_level

from mmdisco.core.coupling import SameTimestep
from mmdisco.core.pairs import Pairs
from mmdisco.data.pairing import select_pairs
from mmdisco.data.prepared import PreparedFolder
from mmdisco.errors import UserError
from mmdisco.experiments.grid import Cell
from mmdisco.generation.pipeline import guided_base
from mmdisco.io.files import read_object, write_json
from mmdisco.training.config import (
    ContrastiveConfig,
    DiscriminatorConfig,
    NoiseLevelConfig,
    PretrainingConfig,
    TrainerConfig,
    TrainingConfig,
)
from mmdisco.training.contrastive import CaptionGroups
from mmdisco.training.discriminator_config import build_discriminator_config
from mmdisco.training.stages import TrainingStages, build_trainer, new_network

HOUR: Final = 3600
TRAINING: Final = TrainingConfig(
    discriminator=DiscriminatorConfig(
        fusion="attention+correlation", width=64, d_model=64, num_layers=1
    ),
    levels=NoiseLevelConfig(independent=0.0, one_sided=0.3),
    contrastive=ContrastiveConfig(groups=4, group_size=12, uncaptioned_fraction=0.5, power=1.3),
    contrastive_pretraining=PretrainingConfig(steps=2000, warmup_steps=100),
    training=TrainerConfig(learning_rate=2e-3, ema_decay=0.995, checkpoint_every=250),
)


@dataclass(frozen=True)
class CurveCell(Cell):
    """One size of the training data.

    Attributes:
        run: Folder of the run.
        data: Prepared clips, at least so many hours.
        hours: Hours of clips that are trained on.
        held_out: Prepared clips that are ranked.
        config: Settings of the training.
    """

    run: Path
    data: Path
    hours: float
    held_out: Path
    config: TrainingConfig = TRAINING

    @property
    def file(self) -> Path:
        """File of the result."""
        return self.run / "curve" / f"{self.hours:g}.json"

    @property
    def done(self) -> bool:
        """Whether it is measured."""
        return self.file.exists()

    def carry_out(self) -> None:
        """Train, save the discriminator, rank."""
        system, model = loaded(self.run / "pair")
        pairs, captions = first_hours(self.data, self.hours)
        shapes = model.latent_shapes(float(system.form.seconds))
        rates = shapes.map(lambda shape: shape[1] / float(system.form.seconds))
        null = model.encode_prompts([""])
        texts = null.map(lambda one: one.pooled.shape[1])
        config = build_discriminator_config(self.config.discriminator, shapes, texts, rates)
        base = guided_base(model, system.sampling().cfg_scale, system.method)
        stages = TrainingStages(
            self.config,
            build_trainer(self.config, base, SameTimestep(model.schedules), null),
            lambda: CaptionGroups.of(pairs, captions, null, self.config.contrastive),
        )
        network = new_network(config, self.config.training.seed)
        steps = stages.pretrain(network, self.file.with_suffix(""))
        average = deque(_shown(steps, f"{self.hours:g} hours"), maxlen=1).pop()
        held, said = held_out_pairs(self.held_out)
        steps_done = self.config.contrastive_pretraining.steps
        own = {"hours": self.hours, "trained on": len(pairs), "steps": steps_done}
        own["seed"] = self.config.training.seed
        write_json(self.file, {**own, **ranking_by_level(average, held, said, model)})

    def results(self) -> dict[str, Any]:
        """Read the result."""
        return read_object(self.file)


def first_hours(data: Path, hours: float) -> tuple[Pairs, list[str]]:
    """Training clips of the first sessions of all scenarios, with their captions.

    ``prepare`` leaves out silent and still ones, so the last size may hold fewer hours.

    Raises:
        UserError: There are less than half as many.
    """
    clips = PreparedFolder(data)
    names = [Path(str(one["source"])).stem.rsplit("-", 2) for one in clips.manifest["train"]]
    order = sorted(range(len(names)), key=lambda row: (names[row][1], names[row][2], names[row][0]))
    wanted = round(hours * HOUR / SECONDS)
    if len(order) < wanted / 2:
        raise UserError(f"{data} has {len(order)} clips, not {wanted}: make more hours of them")
    rows = order[:wanted]
    return select_pairs(clips.store("train").read(), rows), [
        clips.captions["train"][k] for k in rows
    ]


def _shown(steps: Iterator[Any], name: str) -> Iterator[Any]:
    for done, one in enumerate(steps, 1):
        if done % 200 == 0:
            sys.stderr.write(f"{name}: {done} updates\n")
        yield one

"""Who looks on at a course: from its settings to observers."""

from contextlib import suppress
from dataclasses import replace

from mmdisco.course.config import Course
from mmdisco.course.heldout import HeldOut
from mmdisco.course.inputs import Inputs
from mmdisco.course.watching import Auditions, Board, Pace
from mmdisco.health.exchange import exchange
from mmdisco.models import JointModel
from mmdisco.pair import Pair, Sampling
from mmdisco.training.observer import Observer
from mmdisco.training.store import spread, take
from mmdisco.training.trainer import Trainer


def observers_of(
    course: Course,
    inputs: Inputs,
    pair: Pair,
    trainer: Trainer,
    model: JointModel,
    sampling: Sampling,
) -> tuple[Observer, ...]:
    """Those that a course asks for.

    Args:
        course: The settings.
        inputs: Clips and fakes.
        pair: Whose bases.
        trainer: As it will train.
        model: The bases, loaded.
        sampling: How clips are made on the way.
    """
    run_dir, plan = course.out / "training", course.validation
    found: list[Observer] = []
    whole = inputs.clips.captions["validation"]
    rows = spread(len(whole), plan.pairs)
    captions = [whole[row] for row in rows]
    if plan.every and len(captions) > 1:
        real, fake = inputs.clips.store("validation"), inputs.fake("validation")
        found.append(
            HeldOut(
                real=take(real.read(), rows),
                fake=take(fake.read(), spread(len(fake), plan.pairs)),
                exchanged=exchange(captions),
                null=trainer.null,
                path=trainer.levels.path,
                levels=plan.levels,
                every=plan.every,
                seed=course.training.seed,
            )
        )
    if plan.clips:
        own = captions or inputs.clips.captions["train"]
        different = list(dict.fromkeys(own))
        texts = [different[index % len(different)] for index in range(plan.clips)]
        asked = sampling if plan.clip_steps is None else replace(sampling, steps=plan.clip_steps)
        found.append(Auditions(pair, model, asked, texts, run_dir / "samples", plan.clips_every))
    found.append(Pace(course.training.batch_size, course.training.log_every))
    # of an extra; the log has the same numbers
    with suppress(ImportError):
        found.append(Board(run_dir / "tensorboard"))
    return tuple(found)

"""Every family of stock pipelines: alone, joined, and against a loop that is written out here.

``python tests/generation/test_stock_table.py`` writes what it finds to docs/stock.md.
"""

import sys
from pathlib import Path

import pytest
import torch

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from jointly import Agreement, call_of, pair
from stockpipelines import AUDIO, VIDEO

from mmdisco.core.av import AV, each
from mmdisco.generation.joint_pipeline import JointPipeline
from mmdisco.testing import record_steps

DOCS = Path(__file__).parents[2] / "docs" / "stock.md"
BEGIN = "<!-- written by tests/generation/test_stock_table.py -->\n\n"
HEAD = (
    "| pipeline | scheduler | predicts | latent at `step` | its shape here | probe at 3 steps "
    "| joined, s = 0 | joined, s = 1 |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- |\n"
)
PROMPT = "a dog barks"


def plain_loop(models, visits, discriminator):
    """Both loops written out: predict, add the gradient, step; latents in the core's layout."""
    cond = models.map(lambda model: model.encode_prompts([PROMPT]))
    text = cond.map(lambda one: one.pooled)
    schedulers = visits.map(lambda own: own[0].scheduler)
    generators = visits.map(lambda own: own[0].arguments.arguments.get("generator"))
    x = each(lambda model, own: to_core(model, own[0].sample), models, visits)
    carried = {"audio": None, "video": None}
    for index in range(len(visits.audio)):
        levels = visits.map(lambda own, i=index: own[i].level)
        leaves = x.map(lambda one: one.detach().requires_grad_())
        logit = discriminator(leaves, levels, text).sum()
        gradient = AV(*torch.autograd.grad(logit, (leaves.audio, leaves.video)))
        stepped = {}
        for side in ("audio", "video"):
            model, level = getattr(models, side), getattr(levels, side)
            visit, before = getattr(visits, side)[index], getattr(x, side)
            prediction = model.levels.prediction
            if float(level.alpha) < 1e-3:  # pure noise is not guided
                output = visit.output
            else:
                eps = model.predict_noise(before, level, getattr(cond, side))
                eps = eps - float(level.sigma) * getattr(gradient, side)
                output = to_step(model, prediction.from_eps(eps, before, level))
            arguments = dict(visit.arguments.arguments)
            arguments |= {"model_output": output, "sample": to_step(model, before)}
            if getattr(generators, side) is not None:
                arguments["generator"] = getattr(generators, side)
            if "old_pred_original_sample" in arguments:
                arguments["old_pred_original_sample"] = carried[side]
            result = getattr(schedulers, side).step(**arguments)
            if "old_pred_original_sample" in arguments:
                carried[side] = result[1]
            stepped[side] = to_core(model, result[0])
        x = AV(**stepped)
    return x


def to_core(model, x):
    return model.family.layout.to_core(model.pipe, x, model.sample_shape)


def to_step(model, x):
    return model.family.layout.to_step(model.pipe, x)


def probed_exactly(model, visits):
    cond = model.encode_prompts([PROMPT])
    for visit in (visits[0], visits[1], visits[-1]):
        at, output = to_core(model, visit.sample), to_core(model, visit.output)
        eps = model.levels.prediction.to_eps(output, at, visit.level)
        if not torch.equal(model.predict_noise(at, visit.level, cond), eps):
            return False
    return True


def row(name):
    """The line of a family in the table."""
    own = "video" if name in VIDEO else "audio"
    models = pair(name, "stable audio 3") if own == "video" else pair("wan", name)
    discriminator = Agreement(models)
    joint = JointPipeline(models.video.pipe, models.audio.pipe, discriminator)
    visits = models.map(lambda model: record_steps(model, PROMPT))
    alone = visits.map(lambda own: own[-1].stepped)
    exact = []
    for scale in (0.0, 1.0):
        made = {}

        def keep(pipe, step, t, kept, made=made):
            made["video" if pipe is models.video.pipe else "audio"] = kept["latents"].clone()

        joint(PROMPT, joint_scale=scale, callback_on_step_end=keep, **call_of(models))
        made = AV(**made)
        exact.append(torch.equal(made.audio, alone.audio) and torch.equal(made.video, alone.video))
    off = each(
        lambda model, got, want: (to_core(model, got) - want).abs().max() / want.abs().max(),
        models,
        made,
        plain_loop(models, visits, discriminator),
    )
    off = float(max(off.audio, off.video))
    assert not exact[1]
    model = getattr(models, own)
    prediction = type(model.levels.prediction).__name__.strip("_")
    own_visits = getattr(visits, own)
    layout, shape = type(model.family.layout).__name__, tuple(own_visits[0].sample.shape)
    return (
        f"| {type(model.pipe).__name__} ({name}) | {type(model.pipe.scheduler).__name__} "
        f"| {prediction} | {layout} | {shape} "
        f"| {'equal' if probed_exactly(model, own_visits) else 'DIFFERS'} "
        f"| {'equal' if exact[0] else 'DIFFERS'} "
        f"| {'as the plain loop' if off < 1e-4 else f'OFF BY {off:.1e}'} |"
    )


@pytest.mark.parametrize("name", [*VIDEO, *AUDIO])
def test_the_documented_row_is_what_is_found(name):
    found = row(name)
    assert "DIFFERS" not in found
    assert "OFF" not in found
    assert found in DOCS.read_text(encoding="utf-8").splitlines()


def test_the_table_has_a_row_for_each_family():
    table = DOCS.read_text(encoding="utf-8").partition(BEGIN + HEAD)[2].partition("\n\n")[0]
    assert len(table.splitlines()) == len(VIDEO) + len(AUDIO)


if __name__ == "__main__":
    text = DOCS.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition("\n\n")[2]
    body = "".join(row(name) + "\n" for name in (*VIDEO, *AUDIO))
    DOCS.write_text(before + BEGIN + HEAD + body + "\n" + after, encoding="utf-8")

"""Studies as values: variants, claims, and their report. Nothing is trained."""

import csv
import io
from dataclasses import replace

import pytest

from mmdisco.core.av import AV
from mmdisco.errors import UserError
from mmdisco.evaluation.metrics.result import UNGUIDED
from mmdisco.experiments.ablation.on_miniature import TRAINING as USUAL_TRAINING
from mmdisco.experiments.ablation.results import Results, draw, page
from mmdisco.experiments.ablation.studies import STUDIES, study
from mmdisco.experiments.ablation.study import (
    AblationStudy,
    Baseline,
    Greater,
    NotGreater,
    Variant,
    VariantSampling,
)
from mmdisco.generation.system import SamplingDefaults

USUAL = Baseline(
    USUAL_TRAINING,
    VariantSampling(SamplingDefaults(20, "ddim", AV(1.5, 1.5), AV(1.0, 1.0), 1.0, 1.0)),
)
TRAINING = {"central", "loss", "contrast", "fusion", "size", "steps", "negatives", "levels"}


@pytest.mark.parametrize("name", STUDIES)
def test_variants_are_named_apart_and_differ(name):
    variants = STUDIES[name].all_variants(USUAL)
    assert variants[0].name == UNGUIDED
    assert not variants[0].sampling.guided
    assert len({variant.name for variant in variants}) == len(variants)
    settings = [(variant.sampling, variant.training) for variant in variants]
    assert all(one not in settings[:place] for place, one in enumerate(settings))


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_changes_the_training_or_the_sampling(name):
    variants = STUDIES[name].all_variants(USUAL)[1:]
    assert {variant.training is not None for variant in variants} == {name in TRAINING}
    if name in TRAINING:
        assert {variant.sampling for variant in variants} == {USUAL.sampling}


@pytest.mark.parametrize("name", STUDIES)
def test_claims_are_of_variants_that_are_there(name):
    variants = {variant.name for variant in STUDIES[name].all_variants(USUAL)}
    for claim in STUDIES[name].claims:
        assert {claim.variant, claim.than} <= variants


def test_variants_can_be_chosen_and_the_baseline_always_stays():
    chosen = STUDIES["loss"].select(USUAL, ["denoising"])
    assert [variant.name for variant in chosen] == [UNGUIDED, "denoising"]
    assert STUDIES["loss"].select(USUAL, []) == STUDIES["loss"].all_variants(USUAL)
    with pytest.raises(UserError, match="unknown variant 'x': choose of unguided baseline; cross"):
        STUDIES["loss"].select(USUAL, ["x"])


def test_the_central_claims_share_trainings_with_the_studies_of_their_variants():
    central = {variant.name: variant.training for variant in STUDIES["central"].all_variants(USUAL)}
    loss = {variant.name: variant.training for variant in STUDIES["loss"].all_variants(USUAL)}
    fusion = {variant.name: variant.training for variant in STUDIES["fusion"].all_variants(USUAL)}
    assert central["both losses"] == loss["both, λ = 1000"]
    assert central["both losses"] == fusion["attention+correlation, pretrained"]
    assert central["denoising"] == loss["denoising"]


def test_networks_without_pretraining_train_for_its_steps_besides():
    central = {variant.name: variant.training for variant in STUDIES["central"].all_variants(USUAL)}
    fusion = {variant.name: variant.training for variant in STUDIES["fusion"].all_variants(USUAL)}
    for name in ("attention", "additive"):
        assert central[name].discriminator == fusion[name].discriminator
        assert central[name].contrastive_pretraining.steps == 0
        steps = USUAL_TRAINING.training.steps + USUAL_TRAINING.contrastive_pretraining.steps
        assert central[name].training.steps == steps


def test_contrast_is_left_out_where_there_are_no_inner_products():
    found = [*STUDIES["central"].all_variants(USUAL), *STUDIES["fusion"].all_variants(USUAL)]
    trainings = [variant.training for variant in found if variant.training is not None]
    weights = {(one.discriminator.fusion, one.loss.contrastive) for one in trainings}
    assert weights == {
        ("attention+correlation", 10),
        ("attention", 0),
        ("pooled", 0),
        ("additive", 0),
    }


def test_unknown_study_is_refused_with_the_known():
    with pytest.raises(UserError, match="choose one of central, loss"):
        study("nonsense")


# interval of the mean of three differences d ± s: d ± 4.303 s / √3
@pytest.mark.parametrize(
    ("kind", "difference", "spread", "said"),
    [
        (Greater, 0.4, 0.1, "holds (+0.400, +0.152 to +0.648)"),
        (Greater, -0.4, 0.1, "FAILS (-0.400, -0.648 to -0.152)"),
        (Greater, 0.4, 0.2, "not decided (+0.400, -0.097 to +0.897)"),
        (NotGreater, 0.4, 0.1, "FAILS (+0.400, +0.152 to +0.648)"),
        (NotGreater, 0.4, 0.2, "holds (+0.400, -0.097 to +0.897)"),
        (NotGreater, -0.4, 0.1, "holds (-0.400, -0.648 to -0.152)"),
    ],
)
def test_a_claim_says_plainly_whether_it_holds(kind, difference, spread, said):
    others = [0.1, 0.9, 0.5]  # what a seed does to all variants alike does not count
    own = [other + difference + spread * off for other, off in zip(others, (-1, 0, 1), strict=True)]
    cells = {"a": [{"f": one} for one in own], "b": [{"f": one} for one in others]}
    claim = kind("a beats b", "f", "a", "b")
    assert claim.test(cells) == said
    one_seed = {name: seeds[:1] for name, seeds in cells.items()}
    assert claim.test(one_seed).startswith("not decided by one seed")
    assert claim.test({"a": cells["a"]}) == "not measured"
    assert claim.test(cells | {"b": [{"f": float("nan")}] * 3}) == "not measured"


@pytest.fixture
def results():
    variants = [
        Variant(UNGUIDED, USUAL.sampling.unguided),
        Variant("one & only", USUAL.sampling, x=1.0),
    ]
    cells = {
        UNGUIDED: [{"f": 0.1}, {"f": 0.3}],
        "one & only": [{"f": 0.5, "g": 7.0}, {"f": 0.72, "g": 7.0}],
    }
    claims = (Greater("guided beats the baseline", "f", "one & only", UNGUIDED),)
    conditions = {"seeds": [0, 1], "python": "3"}
    some = AblationStudy("A study", lambda baseline: variants, claims)
    return Results("some", some, variants, cells, {"f": "figure F", "g": "G"}, conditions)


def test_files_hold_every_figure_and_the_verdict(results, tmp_path):
    results.write(tmp_path)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "table.csv").read_text())))
    assert [(row["variant"], row["seed"], row["f"], row["g"]) for row in rows] == [
        (UNGUIDED, "0", "0.1", ""),
        (UNGUIDED, "1", "0.3", ""),
        ("one & only", "0", "0.5", "7.0"),
        ("one & only", "1", "0.72", "7.0"),
    ]
    text = (tmp_path / "table.md").read_text()
    assert f"| {UNGUIDED} | 0.200 ± 0.141 |  |" in text
    assert "guided beats the baseline: **holds (+0.410, +0.283 to +0.537)**" in text


@pytest.mark.parametrize("axis", ["", "evaluations"])
def test_page_needs_nothing_else(results, axis, tmp_path):
    shown = replace(results, study=replace(results.study, axis=axis))
    draw(tmp_path / "plot.png", shown)
    text = page(shown, tmp_path / "plot.png")
    assert "data:image/png;base64,iVBOR" in text
    assert "one &amp; only" in text
    assert "src='plot" not in text
    # what a variant changes is reported
    assert "sampling.defaults.joint_scale.audio" in text

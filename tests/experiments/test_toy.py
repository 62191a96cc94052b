import itertools
from functools import partial
from pathlib import Path

import pytest
import torch
from closeness import assert_close

from mmdisco.core.av import AV
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.denoiser import Conditioning, IndependentDenoisers
from mmdisco.core.guidance import ConstantScale, JointGuidance
from mmdisco.core.noise import linear
from mmdisco.errors import UserError
from mmdisco.evaluation.metrics.result import gap_closed
from mmdisco.experiments.config import ToyConfig
from mmdisco.experiments.toy.evaluation import (
    ToyEvaluation,
    class_agreement,
    gradient_r2,
    sliced_wasserstein,
    total_variation,
)
from mmdisco.experiments.toy.problems import (
    JOINTS,
    SETTINGS,
    ExactLogRatio,
    MixtureDenoiser,
    problem,
)
from mmdisco.experiments.toy.report import table, with_gap
from mmdisco.experiments.toy.run import (
    CONTRASTIVE,
    KeptToyCell,
    ToyCell,
    ToyRecipe,
    run_cell,
    train_denoiser,
)
from mmdisco.experiments.toy.studies import STUDIES

PATH = SameTimestep(AV(linear(), linear()))


def levels(count, generator, width):
    u = torch.rand(count, generator=generator, dtype=torch.float64)
    level = PATH.levels(u).audio
    return tuple(one[:, None].expand(-1, width) for one in (level.alpha, level.sigma))


@pytest.mark.parametrize("name", JOINTS)
def test_score_is_the_gradient_of_the_log_density(name, generator):
    law = JOINTS[name]()
    x = law.sample(50, generator).requires_grad_()
    alpha, sigma = levels(50, generator, x.shape[1])
    (gradient,) = torch.autograd.grad(law.log_density(x, alpha, sigma).sum(), x)
    assert_close(law.score(x.detach(), alpha, sigma), gradient, rtol=1e-9)


@pytest.mark.parametrize("name", JOINTS)
def test_marginal_of_the_density_is_the_density_of_the_marginal(name, generator):
    law = JOINTS[name]()
    width = law.means.shape[1] // 2
    joint, marginal = (one.sample(20_000, generator) for one in (law, law.marginal(0, width)))
    spread = torch.cov(marginal.T)
    assert_close(joint[:, :width].mean(0), marginal.mean(0), rtol=0.05, scale=marginal.std(0).max())
    assert_close(torch.cov(joint[:, :width].T), spread, rtol=0.06)


def test_density_of_a_plane_integrates_to_one():
    law = JOINTS["mixture"]()
    axis = torch.linspace(-5, 5, 400, dtype=torch.float64)
    x = torch.cartesian_prod(axis, axis)
    ones = torch.ones_like(x)
    mass = law.log_density(x, ones, 0 * ones).exp().sum() * (axis[1] - axis[0]) ** 2
    assert_close(mass.item(), 1.0, rtol=1e-6)


def test_components_that_coincide_are_merged():
    board = JOINTS["checkerboard"]()
    assert len(board.means) == 288
    assert len(board.marginal(0, 1).means) == 24
    assert_close(board.marginal(0, 1).weights.sum().item(), 1.0, rtol=1e-6)


def test_even_samples_meet_every_component(generator):
    law = JOINTS["8gaussians"]()
    classes = law.responsibilities(law.sample_evenly(800, generator)).argmax(1)
    assert torch.bincount(classes).tolist() == [100] * 8


@pytest.mark.parametrize("name", ["moons", "checkerboard"])
def test_measures_tell_truth_from_bases(name, generator):
    goal = problem(name, "ind")
    true = goal.joint.sample(10_000, generator)
    apart = torch.cat([true[:, :1], true[torch.randperm(10_000, generator=generator), 1:]], dim=1)
    assert total_variation(goal, true) < 0.06
    assert total_variation(goal, apart) > 0.3
    assert sliced_wasserstein(goal, true) < 0.04 < sliced_wasserstein(goal, apart)


def test_class_agreement_is_one_for_pairs_and_chance_for_strangers(generator):
    goal = problem("vectors", "ind")
    true = goal.joint.sample(4000, generator)
    shuffled = torch.cat([true[:, :8], true[torch.randperm(4000, generator=generator), 8:]], dim=1)
    assert class_agreement(goal, true) > 0.97
    assert abs(class_agreement(goal, shuffled) - 0.1) < 0.03


def test_r2_of_the_exact_ratio_is_one_and_of_half_of_it_three_quarters():
    class Half(ExactLogRatio):
        def forward(self, z_t, level, text):
            return super().forward(z_t, level, text) / 2

    goal = problem("mixture", "ood")
    exact, half = (kind(goal.joint, goal.bases) for kind in (ExactLogRatio, Half))
    assert_close(gradient_r2(goal, PATH, exact, 500), 1.0)
    assert_close(gradient_r2(goal, PATH, half, 500), 0.75, rtol=1e-4)


def test_gap_is_the_share_of_the_way():
    assert gap_closed(0.2, 0.6, 0.1) == pytest.approx(0.8)


@pytest.mark.parametrize("setting", SETTINGS)
def test_exact_ratio_closes_the_gap_by_sampling(setting):
    goal = problem("8gaussians", setting)
    pair = IndependentDenoisers(goal.bases.map(lambda law: MixtureDenoiser(law, linear())))
    ratio = ExactLogRatio(goal.joint, goal.bases)
    guided = JointGuidance(pair, ratio, AV(ConstantScale(), ConstantScale()))
    points = ToyEvaluation().sample(goal, PATH, guided, 4000, seed=0)
    assert total_variation(goal, points) < 0.12


def test_given_side_must_be_clean_for_an_exact_conditional():
    goal = problem("moons", "ind")
    pair = IndependentDenoisers(goal.bases.map(lambda law: MixtureDenoiser(law, linear())))
    ratio = ExactLogRatio(goal.joint, goal.bases)
    guided = JointGuidance(pair, ratio, AV(ConstantScale(), ConstantScale()))
    clean, along = (
        total_variation(goal, ToyEvaluation(task=task).sample(goal, PATH, guided, 3000, seed=0))
        for task in ("audio given video", "audio by replacement")
    )
    assert clean < 0.13
    assert along > 0.2


def test_trained_base_learns_the_noise_of_its_law(generator):
    law = problem("mixture", "ind").bases.audio
    base = train_denoiser(law, linear(), steps=300, seed=0)
    exact = MixtureDenoiser(law, linear())
    level = PATH.levels(torch.rand(2000, generator=generator).double()).audio
    x_t = level.add_noise(
        law.sample(2000, generator).float(), torch.randn(2000, 1, generator=generator)
    )
    cond = Conditioning.none(2000)
    error = (base.predict_noise(x_t, level, cond) - exact.predict_noise(x_t, level, cond)).square()
    assert error.mean() < 0.05


@pytest.mark.parametrize(
    "change",
    [
        {"denoising": 1.0},
        {"levels.distribution": "importance"},
        {"levels.power": 1.0},
        {"levels.independent": 0.5},
        {"levels.one_sided": 0.5},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_setting_of_a_recipe_changes_the_outcome(change, tmp_path):
    usual = ToyRecipe().updated({"training.steps": 20, "width": 16, "samples": 200})
    one, two = (
        run_cell(ToyCell("mixture", "ood", "both", 0, recipe), tmp_path / name)[1]
        for name, recipe in (("usual", usual), ("other", usual.updated(change)))
    )
    assert not torch.equal(one, two)


def test_the_third_term_changes_the_outcome_by_its_weight(tmp_path):
    recipe = ToyRecipe().updated({"training.steps": 5, "width": 16, "samples": 200})
    outcomes = [
        run_cell(ToyCell("mixture", "ind", loss, 0, recipe), tmp_path / loss)[1]
        for loss in ("both", *CONTRASTIVE)
    ]
    assert not any(torch.equal(one, two) for one, two in itertools.combinations(outcomes, 2))


def test_trained_bases_make_their_own_fakes(tmp_path, monkeypatch):
    small = partial(train_denoiser, steps=300, width=16)
    monkeypatch.setattr("mmdisco.experiments.toy.run.train_denoiser", small)
    short = {"training.steps": 5, "width": 16, "samples": 200, "trained_bases": True}
    recipe = ToyRecipe().updated(short)
    rows, _ = run_cell(ToyCell("mixture", "ind", "both", 0, recipe), tmp_path)
    assert 0 < float(str(rows[0]["tv"])) < 1
    assert len(list((tmp_path / "fakes").glob("shard-*.safetensors"))) == 4


def test_recipe_is_in_the_name_of_a_cell():
    recipes = (ToyRecipe().updated({"training.steps": n}) for n in (10, 20))
    cells = (ToyCell("moons", "ind", "both", 0, recipe) for recipe in recipes)
    one, two = (KeptToyCell(Path("out"), cell) for cell in cells)
    assert one.name != two.name


@pytest.mark.parametrize("name", STUDIES)
def test_quick_form_of_every_study_is_short(name):
    cells = STUDIES[name].cells(ToyConfig(study=name, quick=True))
    assert max(cell.recipe.training.steps for cell in cells) <= 500


def test_table_has_a_line_per_place_and_the_gap():
    place = {"task": "joint", "scheduler": "ddim", "steps": 50, "grid": "time", "resamples": 0}
    rows = [
        {"problem": "moons", "setting": "ind", "loss": loss, "seed": seed, "tv": tv, **place}
        for loss, tv in (("unguided", 0.6), ("exact", 0.1), ("both", 0.2))
        for seed in (0, 1)
    ]
    lines = table(with_gap(rows)).splitlines()
    assert lines[0] == "| problem | guided by | n | TV | gap closed |"
    assert lines[-1] == "| moons | both | 2 | 0.200 ± 0.000 | 0.800 ± 0.000 |"


@pytest.mark.parametrize(
    "wrong", [{"scheduler": "magic"}, {"grid": "odd"}, {"task": "both"}, {"steps": 0}], ids=str
)
def test_impossible_evaluations_are_refused(wrong):
    with pytest.raises(UserError):
        ToyEvaluation(**wrong)

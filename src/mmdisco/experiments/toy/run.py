"""One cell of the toy study: a problem, a loss and a seed, trained, sampled and measured."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from mmdisco.core.av import AV
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.denoiser import Conditioning, Denoiser, IndependentDenoisers, JointDenoiser
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.guidance import ConstantScale, JointGuidance
from mmdisco.core.losses import MMDisCoLoss
from mmdisco.core.noise import linear
from mmdisco.core.noise_levels import (
    LossSecondMomentSampler,
    NoiseLevelSampler,
    PowerSampler,
    TimestepSampler,
)
from mmdisco.core.pairs import PairSource
from mmdisco.core.sampler import Sampler
from mmdisco.core.schedulers import ddim
from mmdisco.data.fake_pairs import generate_fake_pairs
from mmdisco.data.pair_store import PairStore
from mmdisco.data.pairing import Recombined
from mmdisco.discriminators.mlp import VectorConfig, VectorDiscriminator
from mmdisco.errors import UserError
from mmdisco.experiments.toy.bases import train_denoiser
from mmdisco.experiments.toy.evaluation import ToyEvaluation
from mmdisco.experiments.toy.exact import BasePairs, ExactLogRatio, MixtureDenoiser, RealPairs
from mmdisco.experiments.toy.measure import gradient_r2, measures
from mmdisco.experiments.toy.problems import ToyProblem, problem
from mmdisco.training.config import TrainerConfig
from mmdisco.training.trainer import Trainer

REFERENCES = ("bases", "exact")
LOSSES = ("disc", "denoise", "both")
FAKE_SHARD, FAKE_SHARDS = 5000, 4


@dataclass(frozen=True)
class ToyRecipe:
    """Recipe of a cell's training and sampling.

    Attributes:
        steps: Training steps.
        width: Width of the discriminator.
        batch_size: Real pairs per step.
        learning_rate: Peak learning rate.
        denoising: λ of the loss ``both``.
        time_power: Exponent of the distribution of u; 1 is uniform, 0 stands for importance
            sampling.
        independent: Share of independent pairs of levels.
        one_sided: Share of pairs with one clean modality.
        octaves: Fourier features of the discriminator.
        trained_bases: Whether the base models are small networks instead of closed forms.
        samples: Number of samples per evaluation.
        evaluations: Ways of sampling.
    """

    steps: int = 2500
    width: int = 96
    batch_size: int = 192
    learning_rate: float = 6e-3
    denoising: float = 10.0
    time_power: float = 1.5
    independent: float = 0.0
    one_sided: float = 0.0
    octaves: int = 4
    trained_bases: bool = False
    samples: int = 10_000
    evaluations: tuple[ToyEvaluation, ...] = field(default_factory=lambda: (ToyEvaluation(),))

    def __post_init__(self) -> None:
        # values that a trainer would refuse are refused here, before a process is started
        TrainerConfig(
            steps=self.steps, batch_size=self.batch_size, learning_rate=self.learning_rate
        )
        VectorConfig(width=self.width)
        if not self.denoising > 0:
            raise UserError(f"lambda {self.denoising}: give a number above 0")
        if self.samples < 100:
            raise UserError(f"{self.samples} samples: ask for at least 100")

    def objective(self, loss: str) -> MMDisCoLoss:
        """Return the weights of a named loss."""
        return {
            "disc": MMDisCoLoss(1.0, 0.0),
            "denoise": MMDisCoLoss(0.0, 1.0),
            "both": MMDisCoLoss(1.0, self.denoising),
        }[loss]

    def time_law(self) -> TimestepSampler:
        """Make a new distribution of u."""
        return PowerSampler(self.time_power) if self.time_power else LossSecondMomentSampler()


@dataclass(frozen=True)
class ToyCell:
    """A problem in a setting, guided by what one loss learnt (or by a reference), for one seed."""

    problem: str
    setting: str
    loss: str
    seed: int
    recipe: ToyRecipe

    def __post_init__(self) -> None:
        problem(self.problem, self.setting)
        if self.loss not in (*REFERENCES, *LOSSES):
            raise UserError(f"unknown loss {self.loss!r}: choose one of {', '.join(LOSSES)}")

    @property
    def name(self) -> str:
        """File name that changes with every setting of the cell."""
        recipe = json.dumps(asdict(self.recipe), sort_keys=True).encode()
        digest = hashlib.sha256(recipe).hexdigest()[:8]
        return f"{self.problem}-{self.setting}-{self.loss}-{self.seed}-{digest}"


@dataclass(frozen=True)
class ToyOutcome:
    """Results of a cell: one row per evaluation, and the points of the first one."""

    rows: list[dict[str, object]]
    points: Tensor


def run_cell(cell: ToyCell, run_dir: Path) -> ToyOutcome:
    """Train (from a checkpoint if there is one), sample and measure.

    Args:
        cell: The cell.
        run_dir: Folder of checkpoint, log and fake pairs.
    """
    goal = problem(cell.problem, cell.setting)
    schedule = linear()
    path = SameTimestep(AV(schedule, schedule))
    base, real, fake = _bases(cell, goal, path, run_dir)
    common: dict[str, object] = {
        "problem": cell.problem,
        "setting": cell.setting,
        "loss": cell.loss,
        "seed": cell.seed,
    }
    denoiser: JointDenoiser = base
    if cell.loss != "bases":
        discriminator = _discriminator(cell, goal, base, path, real, fake, run_dir)
        common["r2"] = gradient_r2(goal, path, discriminator)
        denoiser = JointGuidance(base, discriminator, AV(ConstantScale(), ConstantScale()))
    rows: list[dict[str, object]] = []
    first: Tensor | None = None
    for evaluation in cell.recipe.evaluations:
        points = evaluation.sample(goal, path, denoiser, cell.recipe.samples, cell.seed)
        first = points if first is None else first
        rows.append({**common, **asdict(evaluation), **measures(goal, points)})
    assert first is not None
    return ToyOutcome(rows, first)


def _bases(
    cell: ToyCell, goal: ToyProblem, path: SameTimestep, run_dir: Path
) -> tuple[IndependentDenoisers, PairSource, PairSource]:
    schedule = path.schedules.audio
    if not cell.recipe.trained_bases:
        exact: AV[Denoiser] = goal.bases.map(lambda law: MixtureDenoiser(law, schedule))
        return IndependentDenoisers(exact), RealPairs(goal), BasePairs(goal)
    learnt: AV[Denoiser] = AV(
        train_denoiser(goal.bases.audio, schedule, seed=2 * cell.seed),
        train_denoiser(goal.bases.video, schedule, seed=2 * cell.seed + 1),
    )
    base = IndependentDenoisers(learnt)
    store = PairStore(run_dir / "fakes", "fake")
    shape = torch.Size([goal.width])
    none = Conditioning.none(FAKE_SHARD)
    shards = generate_fake_pairs(
        base,
        Sampler(path, AV(ddim(), ddim())),
        [AV(none, none)] * FAKE_SHARDS,
        AV(shape, shape),
        store,
        seed=cell.seed,
    )
    for _ in shards:
        pass
    return base, RealPairs(goal), Recombined(store)


def _discriminator(
    cell: ToyCell,
    goal: ToyProblem,
    base: JointDenoiser,
    path: SameTimestep,
    real: PairSource,
    fake: PairSource,
    run_dir: Path,
) -> Discriminator:
    if cell.loss == "exact":
        return ExactLogRatio(goal.joint, goal.bases)
    recipe = cell.recipe
    none = Conditioning.none(1)
    trainer = Trainer(
        base,
        NoiseLevelSampler(path, recipe.time_law(), recipe.independent, recipe.one_sided),
        recipe.objective(cell.loss),
        TrainerConfig(
            steps=recipe.steps,
            batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate,
            seed=cell.seed,
        ),
        AV(none, none),
    )
    config = VectorConfig(goal.width, width=recipe.width, octaves=recipe.octaves)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cell.seed)
        network = VectorDiscriminator(config)
    return trainer.fit(network, real, fake, run_dir)

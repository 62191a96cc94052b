"""One cell of the toy study: a problem, a loss and a seed, trained, sampled, measured and kept.

Its base models are exact, or small and trained: one MLP per modality that predicts the noise.
"""

import math
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Generator, Tensor, nn
from torch.nn.functional import silu
from typing_extensions import override

from mmdisco.core.av import AV
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.denoiser import Conditioning, Denoiser, IndependentDenoisers, JointDenoiser
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.guidance import ConstantScale, JointGuidance
from mmdisco.core.noise import NoiseLevel, NoiseSchedule, linear
from mmdisco.core.pairs import PairSource
from mmdisco.core.sampler import Sampler
from mmdisco.core.schedulers import ddim
from mmdisco.data.fake_pairs import generate_fake_pairs
from mmdisco.data.pair_store import PairStore
from mmdisco.data.pairing import Recombined
from mmdisco.discriminators.embeddings import level_features
from mmdisco.discriminators.mlp import VectorConfig, VectorDiscriminator
from mmdisco.errors import UserError
from mmdisco.experiments.grid import MeasuredCell
from mmdisco.experiments.toy.evaluation import ToyEvaluation, gradient_r2, measures
from mmdisco.experiments.toy.mixture import Mixture
from mmdisco.experiments.toy.problems import (
    BasePairs,
    ExactLogRatio,
    MixtureDenoiser,
    RealPairs,
    ToyProblem,
    problem,
)
from mmdisco.io.files import write_tensors
from mmdisco.io.settings import Settings
from mmdisco.io.shapes import Latent
from mmdisco.training.checkpoint import EMA
from mmdisco.training.config import (
    ContrastiveConfig,
    LossConfig,
    NoiseLevelConfig,
    TrainerConfig,
    TrainingConfig,
)
from mmdisco.training.stages import TrainingStages, build_trainer

LEVEL_WIDTH = 32
OCTAVES = 4


class NoiseNetwork(nn.Module):
    """ε̂ of a vector, (b, d), from Fourier features of it and of its noise level."""

    frequencies: Tensor

    def __init__(self, dimensions: int, width: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", 2.0 ** torch.arange(OCTAVES), persistent=False)
        self.first = nn.Linear(dimensions * (1 + 2 * OCTAVES) + LEVEL_WIDTH, width)
        self.second = nn.Linear(width + LEVEL_WIDTH, width)
        self.third = nn.Linear(width + LEVEL_WIDTH, width)
        self.last = nn.Linear(width, dimensions)

    def forward(self, x_t: Latent, level: NoiseLevel) -> Latent:
        """Predict the noise."""
        x = level.to_vp(x_t)
        at = level_features(level, LEVEL_WIDTH).to(x.dtype)
        phase = (x[:, :, None] * self.frequencies).flatten(1)
        x = silu(self.first(torch.cat([x, phase.sin(), phase.cos(), at], dim=1)))
        x = silu(self.second(torch.cat([x, at], dim=1)))
        x = silu(self.third(torch.cat([x, at], dim=1)))
        return self.last(x)


class TrainedDenoiser(Denoiser):
    """A base model trained on samples of its distribution only."""

    def __init__(self, network: NoiseNetwork, schedule: NoiseSchedule) -> None:
        self._network = network
        self._schedule = schedule

    @property
    def schedule(self) -> NoiseSchedule:
        """Schedule it was trained on."""
        return self._schedule

    @override
    def predict_noise(self, x_t: Latent, level: NoiseLevel, cond: Conditioning) -> Latent:
        return self._network(x_t, level)


def train_denoiser(
    law: Mixture,
    schedule: NoiseSchedule,
    *,
    steps: int = 3000,
    width: int = 64,
    batch_size: int = 256,
    learning_rate: float = 2e-3,
    seed: int,
) -> TrainedDenoiser:
    """Train by denoising score matching on fresh samples of ``law`` (Ho et al. 2020, Eq. 14)."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = NoiseNetwork(law.means.shape[1], width)
    average = EMA(network, 0.999)
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=0)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * (0.005 + 0.5 * (1 + math.cos(math.pi * step / steps)))
        loss = _denoising_error(network, law, schedule, batch_size, generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update(network, step)
    return TrainedDenoiser(average.network, schedule)


def _denoising_error(
    network: NoiseNetwork,
    law: Mixture,
    schedule: NoiseSchedule,
    batch_size: int,
    generator: Generator,
) -> Tensor:
    x_0 = law.sample(batch_size, generator).float()
    eps = torch.randn(x_0.shape, generator=generator)
    row = torch.randint(len(schedule.times), (batch_size,), generator=generator)
    level = schedule.level(schedule.times[row])
    return (network(level.add_noise(x_0, eps), level) - eps).square().mean()


REFERENCES = ("unguided", "exact")
PAPER_LOSSES = ("disc", "denoise", "both")
CONTRASTIVE: Final = {"contrast-1": 1.0, "contrast-10": 10.0}
"""Weights of the contrastive loss beside ``both``."""
LOSSES = (*PAPER_LOSSES, *CONTRASTIVE)
FAKE_SHARD, FAKE_SHARDS = 5000, 4


class ToyRecipe(Settings):
    """Training and sampling of a cell."""

    training: TrainerConfig = TrainerConfig(
        steps=2500,
        batch_size=192,
        learning_rate=6e-3,
        weight_decay=0.0,
        max_grad_norm=5.0,
        ema_decay=0.999,
        checkpoint_every=1000,
    )
    """The training loop; its seed is that of the cell."""
    levels: NoiseLevelConfig = NoiseLevelConfig(power=1.5, independent=0.0, one_sided=0.0)
    """Distribution of the noise levels."""
    denoising: PositiveFloat = 10.0
    """λ where cross-entropy stands beside it."""
    width: PositiveInt = 96
    """Width of the discriminator."""
    octaves: NonNegativeInt = 4
    """Fourier features of the discriminator."""
    trained_bases: bool = False
    """Whether the base models are small networks instead of closed forms."""
    samples: int = Field(default=10_000, ge=100)
    """Number of samples per evaluation."""
    evaluations: tuple[ToyEvaluation, ...] = (ToyEvaluation(),)
    """Ways of sampling."""

    def loss_weights(self, loss: str) -> LossConfig:
        """Return the weights of a named loss."""
        return {
            "disc": LossConfig(discrimination=1.0, denoising=0.0),
            "denoise": LossConfig(discrimination=0.0, denoising=1.0),
            "both": LossConfig(discrimination=1.0, denoising=self.denoising),
            **{
                name: LossConfig(denoising=self.denoising, contrastive=weight)
                for name, weight in CONTRASTIVE.items()
            },
        }[loss]


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


def run_cell(cell: ToyCell, run_dir: Path) -> tuple[list[dict[str, object]], Tensor]:
    """Train (from a checkpoint if there is one), sample and measure.

    Args:
        cell: The cell.
        run_dir: Folder of checkpoint, log and fake pairs.

    Returns:
        A row per evaluation, and the points of the first one.
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
    if cell.loss != "unguided":
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
    return rows, first


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
    recipe, none = cell.recipe, Conditioning.none(1)
    config = TrainingConfig(
        training=recipe.training.updated({"seed": cell.seed}),
        levels=recipe.levels,
        loss=recipe.loss_weights(cell.loss),
        contrastive=ContrastiveConfig(power=recipe.levels.power),
    )
    trainer = build_trainer(config, base, path, AV(none, none))
    shape = VectorConfig(goal.width, width=recipe.width, octaves=recipe.octaves)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cell.seed)
        network = VectorDiscriminator(shape)
    # without captions any pairs are a group
    stages = TrainingStages(config, trainer, lambda: real)
    return deque(stages.train(network, real, fake, run_dir), maxlen=1).pop()


KEPT_POINTS = 10_000


@dataclass(frozen=True)
class KeptToyCell(MeasuredCell):
    """A cell in the folder of its study.

    Attributes:
        cell: The cell.
    """

    cell: ToyCell

    @property
    @override
    def label(self) -> str:
        cell = self.cell
        return f"{cell.problem} {cell.setting} {cell.loss} seed {cell.seed}"

    @property
    @override
    def settings(self) -> dict[str, Any]:
        return {**vars(self.cell), "recipe": self.cell.recipe.tree()}

    @property
    def points_file(self) -> Path:
        """File of the points of the first evaluation."""
        return self.file.with_suffix(".safetensors")

    @override
    def measure(self) -> list[dict[str, object]]:
        rows, points = run_cell(self.cell, self.out / "runs" / self.name)
        points = points[:KEPT_POINTS].to(torch.float32)
        write_tensors(self.points_file, {"points": points}, {"cell": self.name})
        return rows

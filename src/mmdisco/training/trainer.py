"""The training loop as its users see it. Knows no argument parsing and no data set."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mmdisco.av import AV
from mmdisco.discriminator.base import Discriminator
from mmdisco.models import Conditioning, JointDenoiser
from mmdisco.schedule import NoiseLevel
from mmdisco.training.batches import Batches
from mmdisco.training.levels import LevelDraw, LevelLaw
from mmdisco.training.losses import Criterion, NoisedPairs
from mmdisco.training.observer import Observer
from mmdisco.training.pairs import PairSource
from mmdisco.training.running import Running
from mmdisco.training.settings import TrainConfig
from mmdisco.training.strategy import Alone, Strategy

__all__ = ["TrainConfig", "Trainer"]


@dataclass(frozen=True)
class Trainer:
    """Trains a discriminator for a base; stops and resumes anywhere.

    Attributes:
        base: The frozen base.
        levels: Law of the noise levels, on the sampler's path.
        criterion: What is minimised: the paper's ``Objective``, or ``Contrast`` before it.
        config: Settings of the run.
        null: The encoded empty caption, batch size 1, for caption dropout.
        strategy: Over which processes, in how many parts and in which precision a step is worked.
        observers: Who looks on and adds to the log; asked in the main process alone.
    """

    base: JointDenoiser
    levels: LevelLaw
    criterion: Criterion
    config: TrainConfig
    null: AV[Conditioning]
    strategy: Strategy = field(default_factory=Alone)
    observers: tuple[Observer, ...] = ()

    def fit(
        self, discriminator: Discriminator, real: PairSource, fake: PairSource, run_dir: Path
    ) -> Discriminator:
        """Train to the end; see ``steps``.

        Returns:
            The averaged network, frozen.
        """
        return deque(self.steps(discriminator, real, fake, run_dir), maxlen=1).pop()

    def steps(
        self, discriminator: Discriminator, real: PairSource, fake: PairSource, run_dir: Path
    ) -> Iterator[Discriminator]:
        """Train in place, from the checkpoint in ``run_dir`` if there is one.

        Args:
            discriminator: Fresh, or anything of the same shape when resuming; moved to where the
                strategy computes.
            real: Pairs from data.
            fake: Pairs that the base made.
            run_dir: Gets ``checkpoint.safetensors`` and ``log.jsonl``.

        Yields:
            The averaged network after each step, the same object every time.

        Raises:
            UserError: The checkpoint is of another network or run, the data is not finite, the
                batch cannot be shared out, or the folder cannot be written.
        """
        config = self.config
        self.strategy.expect(config.batch_size)
        run = Running(
            base=self.base,
            batches=self.batches,
            criterion=self.criterion,
            strategy=self.strategy,
            observers=self.observers,
            network=self.strategy.moved(discriminator),
            run_dir=run_dir,
        )
        start = run.resume()
        if start == config.steps:
            yield run.average.network
        for step in range(start, config.steps):
            run.update(step, real, fake)
            done = step + 1
            run.observe(done)
            if done % config.checkpoint_every == 0 or done == config.steps:
                run.save(done)
            yield run.average.network

    @property
    def batches(self) -> Batches:
        """The noised batches of the run."""
        return Batches(self.levels, self.config, self.null)

    def real_batch(self, step: int, real: PairSource) -> tuple[LevelDraw, NoisedPairs]:
        """Noised real pairs of a step, and how their levels were drawn."""
        return self.batches.real(step, real)

    def fake_batch(self, step: int, fake: PairSource, levels: AV[NoiseLevel]) -> NoisedPairs:
        """Fake pairs of a step at the levels of the real ones."""
        return self.batches.fake(step, fake, levels)

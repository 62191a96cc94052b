"""What ``mmdisco sample-fakes`` does with its arguments."""

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from mmdisco.cli.progress import progress
from mmdisco.core.av import AV
from mmdisco.core.scheduler_names import expect_scheduler
from mmdisco.data.fake_pairs import FakePairs
from mmdisco.data.prepared import PreparedClips
from mmdisco.errors import UserError
from mmdisco.generation.config import GenerateConfig
from mmdisco.generation.presets.registry import system_of
from mmdisco.generation.system import SamplingDefaults


@dataclass(frozen=True)
class FakesArgs:
    """All arguments, as given."""

    prepared: Path
    out: Path
    preset: str | None = None
    weights: Path | None = None
    samples: int = 1
    most: int | None = None
    shard: int = 32
    seed: int = 0
    steps: int | None = None
    solver: str | None = None
    guidance_scale: float | None = None
    device: str | None = None
    part: tuple[int, int] | None = None

    def plan(self) -> FakePairs:
        """What is to be made.

        Raises:
            UserError: An argument is out of its range, or something is missing.
        """
        clips = PreparedClips.read(self.prepared, self.weights)
        if self.preset not in (None, clips.preset):
            raise UserError(
                f"{self.prepared} was prepared for {clips.preset}, not {self.preset}: leave "
                "--preset out, or prepare the clips for it"
            )
        if self.device is not None:
            clips = replace(clips, options=clips.options.replaced(device=self.device))
        pair = system_of(clips.options)
        said = pair.prompted and any(any(texts) for texts in clips.captions.values())
        if self.guidance_scale is not None and not said:
            raise UserError("--cfg-scale has no effect without captions: leave it out")
        return FakePairs(
            clips,
            pair,
            self._sampling(pair.sampling()),
            self.out,
            self.samples,
            self.shard,
            self.seed,
            self.most,
        )

    def _sampling(self, usual: SamplingDefaults) -> SamplingDefaults:
        # the bounds are those of a clip's own options
        asked = GenerateConfig(
            steps=self.steps, scheduler=self.solver, cfg_scale=self.guidance_scale
        )
        name = asked.scheduler or usual.solver
        expect_scheduler(name)
        scale = usual.guidance_scale
        if asked.cfg_scale is not None:
            scale = AV(asked.cfg_scale, asked.cfg_scale)
        return replace(usual, steps=asked.steps or usual.steps, solver=name, guidance_scale=scale)

    @property
    def share(self) -> tuple[int, int]:
        """Which process of how many this is: as given, else as a launcher says."""
        if self.part is not None:
            return self.part
        return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def execute(order: FakesArgs) -> str:
    """Make this process's fakes; says what is there then."""
    plan, (rank, processes) = order.plan(), order.share
    with progress("shards") as shown:
        total = len(plan.shards[rank::processes])
        made = plan.make(rank, processes, lambda said: sys.stderr.write(f"mmdisco: {said}\n"))
        for _ in shown.track(made, "shards", total):
            pass
    if plan.merge():
        return str(order.out)
    return f"{order.out}: part {rank} of {processes} is done, others are not yet"

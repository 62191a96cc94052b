"""``mmdisco sample-fakes``: fake pairs from the base models, for the captions of prepared clips."""

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmdisco.cli.options import Device, Threads, Weights
from mmdisco.cli.stopping import GO_ON, running
from mmdisco.errors import UserError

if TYPE_CHECKING:
    from mmdisco.data.fake_pairs import FakePairs
    from mmdisco.generation.system import SamplingDefaults


def sample_fakes(
    prepared: Annotated[Path, typer.Argument(help="Folder that `mmdisco prepare` made.")],
    out: Annotated[Path, typer.Option(help="Folder of the fakes.")],
    preset: Annotated[
        str | None, typer.Option(help="Must be that of the clips, which is the default.")
    ] = None,
    weights: Weights = None,
    samples_per_clip: Annotated[int, typer.Option(help="Fakes of each clip's caption.")] = 1,
    max_per_caption: Annotated[
        int | None,
        typer.Option(help="Maximum number of fakes of one caption; no limit if left out."),
    ] = None,
    shard_size: Annotated[int, typer.Option(help="Fakes that are made in one batch.")] = 32,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    steps: Annotated[
        int | None, typer.Option(help="Sampling steps; the preset's if left out.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Scheduler; an unknown name lists them.")
    ] = None,
    cfg_scale: Annotated[
        float | None,
        typer.Option(help="Scale of classifier-free guidance; the preset's if left out."),
    ] = None,
    device: Device = None,
    threads: Threads = None,
    shard: Annotated[
        str | None,
        typer.Option(
            help="Share I/N of the work, as in 0/4: every N-th shard from I on. Under `accelerate "
            "launch` this is set already.",
        ),
    ] = None,
) -> None:
    """Sample the base models without joint guidance: negatives for the discriminator.

    It can be stopped at any time; the same command goes on where it was. Several processes may
    share a folder.
    """
    # an import that --help need not wait for
    from mmdisco.evaluation.command import part_of

    args = FakesArgs(
        prepared=prepared,
        out=out,
        preset=preset,
        weights=weights,
        samples_per_clip=samples_per_clip,
        max_per_caption=max_per_caption,
        shard_size=shard_size,
        seed=seed,
        steps=steps,
        scheduler=scheduler,
        cfg_scale=cfg_scale,
        device=device,
        shard=None if shard is None else part_of(shard),
    )
    rank, processes = args.share
    with running(f"finished shards are kept in {out}: {GO_ON}", threads) as run:
        # several processes fill the folder, each its own share
        run.hold(out, f".{rank}-{processes}.lock")
        run.share(out)
        typer.echo(execute(args))


@dataclass(frozen=True)
class FakesArgs:
    """The options, as ``mmdisco sample-fakes --help`` explains them."""

    prepared: Path
    out: Path
    preset: str | None = None
    weights: Path | None = None
    samples_per_clip: int = 1
    max_per_caption: int | None = None
    shard_size: int = 32
    seed: int = 0
    steps: int | None = None
    scheduler: str | None = None
    cfg_scale: float | None = None
    device: str | None = None
    shard: tuple[int, int] | None = None

    def plan(self) -> "FakePairs":
        """Plan the fakes.

        Raises:
            UserError: An argument is out of its range, or something is missing.
        """
        from mmdisco.data.fake_pairs import FakePairs
        from mmdisco.data.prepared import PreparedFolder
        from mmdisco.generation.presets.registry import system_of

        clips = PreparedFolder(self.prepared, self.weights)
        if self.preset not in (None, clips.preset):
            raise UserError(
                f"{self.prepared} was prepared for {clips.preset}, not {self.preset}: leave "
                "--preset out, or prepare the clips for it"
            )
        options = clips.options
        if self.device is not None:
            options = options.updated({"device": self.device})
        pair = system_of(options)
        captioned = pair.prompted and any(any(texts) for texts in clips.captions.values())
        if self.cfg_scale is not None and not captioned:
            raise UserError("--cfg-scale has no effect without captions: leave it out")
        return FakePairs(
            clips,
            pair,
            self._sampling(pair.sampling()),
            self.out,
            self.samples_per_clip,
            self.shard_size,
            self.seed,
            self.max_per_caption,
        )

    def _sampling(self, usual: "SamplingDefaults") -> "SamplingDefaults":
        from mmdisco.core.av import AV
        from mmdisco.generation.config import GenerateConfig

        # the bounds are those of a clip's own options
        GenerateConfig.of_tree(
            {"steps": self.steps, "scheduler": self.scheduler, "cfg_scale": self.cfg_scale}
        )
        name = self.scheduler or usual.scheduler
        scale = usual.cfg_scale
        if self.cfg_scale is not None:
            scale = AV(self.cfg_scale, self.cfg_scale)
        return replace(usual, steps=self.steps or usual.steps, scheduler=name, cfg_scale=scale)

    @property
    def share(self) -> tuple[int, int]:
        """Rank of this process and number of processes: as given, else as a launcher says."""
        if self.shard is not None:
            return self.shard
        return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def execute(args: FakesArgs) -> str:
    """Make this process's fakes, with a progress bar; return what is there then."""
    from mmdisco.cli.progress import progress

    plan, (rank, processes) = args.plan(), args.share
    with progress("shards") as shown:
        total = len(plan.shards[rank::processes])
        made = plan.make(rank, processes, lambda line: sys.stderr.write(f"mmdisco: {line}\n"))
        for _ in shown.track(made, "shards", total):
            pass
    if plan.merge():
        return str(args.out)
    return f"{args.out}: shard {rank} of {processes} is done, others are not yet"

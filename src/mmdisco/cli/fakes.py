"""``mmdisco sample-fakes``: fake pairs from the base models, for the captions of prepared clips."""

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer

from mmdisco.cli.options import Threads, options_of
from mmdisco.cli.stopping import GO_ON, running
from mmdisco.errors import UserError

if TYPE_CHECKING:
    from mmdisco.data.config import FakesConfig
    from mmdisco.data.fake_pairs import FakePairs
    from mmdisco.generation.system import SamplingDefaults


@options_of("mmdisco.data.config:FakesConfig")
def sample_fakes(threads: Threads = None, **options: Any) -> None:
    """Sample the base models without joint guidance: negatives for the discriminator.

    It can be stopped at any time; the same command goes on where it was. Several processes may
    share a folder.
    """
    # imports that --help need not wait for
    from mmdisco.cli.config_options import given
    from mmdisco.data.config import FakesConfig

    config = FakesConfig(**given(options))
    rank, processes = _share(config)
    with running(f"finished shards are kept in {config.out}: {GO_ON}", threads) as run:
        # several processes fill the folder, each its own share
        run.hold(config.out, f".{rank}-{processes}.lock")
        run.share(config.out)
        typer.echo(execute(config))


def execute(config: "FakesConfig") -> str:
    """Make this process's fakes, with a progress bar; return what is there then.

    Raises:
        UserError: An option does not fit the clips, or something is missing.
    """
    from mmdisco.cli.progress import progress

    plan, (rank, processes) = _plan(config), _share(config)
    with progress("shards") as shown:
        total = len(plan.shards[rank::processes])
        made = plan.make(rank, processes, lambda line: sys.stderr.write(f"mmdisco: {line}\n"))
        for _ in shown.track(made, "shards", total):
            pass
    if plan.merge():
        return str(config.out)
    return f"{config.out}: shard {rank} of {processes} is done, others are not yet"


def _share(config: "FakesConfig") -> tuple[int, int]:
    """Return rank of this process and number of processes: as given, else as a launcher says."""
    if config.shard is not None:
        return config.shard
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def _plan(config: "FakesConfig") -> "FakePairs":
    from mmdisco.data.fake_pairs import FakePairs
    from mmdisco.data.prepared import PreparedFolder
    from mmdisco.generation.presets.registry import system_of

    clips = PreparedFolder(config.prepared, config.weights, config.pipelines)
    if config.preset not in (None, clips.options.preset):
        raise UserError(
            f"{config.prepared} was prepared for {clips.preset}, not {config.preset}: leave "
            "--preset out, or prepare the clips for it"
        )
    options = clips.options
    if config.device is not None:
        options = options.updated({"device": config.device})
    if options.device == "cuda" and "LOCAL_RANK" in os.environ:
        import torch

        options.torch_device()  # raises where there is none
        # a launcher's processes on one machine have a GPU each, and one name for it in the record
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    pair = system_of(options)
    clips.expect_models(pair)
    captioned = pair.prompted and any(any(texts) for texts in clips.captions.values())
    if config.cfg_scale is not None and not captioned:
        raise UserError("--cfg-scale has no effect without captions: leave it out")
    return FakePairs(
        clips,
        pair,
        _sampling(config, pair.sampling()),
        config.out,
        config.samples_per_clip,
        config.shard_size,
        config.seed,
        config.max_per_caption,
    )


def _sampling(config: "FakesConfig", usual: "SamplingDefaults") -> "SamplingDefaults":
    from mmdisco.core.av import AV

    scale = config.cfg_scale
    usual = usual.in_steps(config.steps or usual.steps)
    return replace(
        usual,
        scheduler=config.scheduler or usual.scheduler,
        cfg_scale=usual.cfg_scale if scale is None else AV(scale, scale),
    )

"""Where the time of a training step goes: data, networks, optimiser.

Networks of the embedded pair's full size with random weights, pairs of noise in a store on disk.
The profile is torch's; the parts are those that ``mmdisco.training.trainer`` names. What is left is
the loop itself. Data is reading, drawing, noising; networks are both bases with classifier-free
guidance, the discriminator, its gradient, and the backward pass; optimiser is clipping, AdamW and
the average.

    python benchmarks/train_profile.py --steps 10 --out docs/train_profile.json
"""

import argparse
import json
import platform
import tempfile
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from mmdisco.adapters.miniature import PACKAGED, SECONDS
from mmdisco.adapters.miniature.denoiser import (
    ConvTransformer,
    DenoiserConfig,
    VelocityDenoiser,
)
from mmdisco.adapters.miniature.model import (
    AUDIO_SHAPE,
    VIDEO_SHAPE,
    audio_schedule,
    video_schedule,
)
from mmdisco.core.av import AV
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.denoiser import Conditioning, IndependentDenoisers
from mmdisco.core.guidance import ClassifierFreeGuidance
from mmdisco.core.losses import MMDisCoLoss
from mmdisco.core.noise import NoiseSchedule
from mmdisco.core.noise_levels import NoiseLevelSampler, PowerSampler
from mmdisco.core.pairs import Pairs
from mmdisco.data.pair_store import PairStore
from mmdisco.discriminators.two_tower import AudioVideoDiscriminator
from mmdisco.training.config import DiscriminatorConfig, TrainerConfig
from mmdisco.training.discriminator_config import build_discriminator_config
from mmdisco.training.trainer import DATA, NETWORKS, OPTIMISER, Trainer

STEP = "step"
TEXT = 64


def bases() -> IndependentDenoisers:
    """Both denoisers, with random weights."""
    record = json.loads((PACKAGED / "config.json").read_text())

    def denoiser(name: str, schedule: NoiseSchedule) -> VelocityDenoiser:
        network = ConvTransformer(DenoiserConfig.from_record(record[name]))
        return VelocityDenoiser(network.eval().requires_grad_(requires_grad=False), schedule)

    return IndependentDenoisers(
        AV(
            denoiser("audio_denoiser", audio_schedule()),
            denoiser("video_denoiser", video_schedule()),
        )
    )


def filled(folder: Path, kind: str, count: int) -> PairStore:
    """A store of noise."""
    store = PairStore(folder / kind, kind)
    z_0 = AV(torch.randn(count, *AUDIO_SHAPE), torch.randn(count, *VIDEO_SHAPE))
    store.append(Pairs(z_0, AV(*(Conditioning(torch.randn(count, TEXT)) for _ in range(2)))))
    return store


def trainer_of(steps: int, batch_size: int) -> Trainer:
    """With the settings that ``mmdisco train`` begins with."""
    base = bases()
    null = AV(*(Conditioning(torch.zeros(1, TEXT)) for _ in range(2)))
    return Trainer(
        base=ClassifierFreeGuidance(base, null, AV(1.5, 1.5)),
        levels=NoiseLevelSampler(SameTimestep(base.schedules), PowerSampler(), 0.35, 0.3),
        loss=MMDisCoLoss(1.0, 1000.0),
        config=TrainerConfig(
            steps=steps + 1, batch_size=batch_size, log_every=10**6, checkpoint_every=10**6
        ),
        null=null,
    )


def measured(steps: int, batch_size: int) -> dict[str, float]:
    """Milliseconds a step by part, after one step that is not measured."""
    trainer = trainer_of(steps, batch_size)
    shapes = AV(AUDIO_SHAPE, VIDEO_SHAPE)
    rates = shapes.map(lambda shape: shape[1] / SECONDS)
    config = build_discriminator_config(DiscriminatorConfig(), shapes, AV(TEXT, TEXT), rates)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        real, fake = filled(folder, "real", 512), filled(folder, "fake", 512)
        run = trainer.steps(AudioVideoDiscriminator(config), real, fake, folder)
        next(run)
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            # the last step writes a checkpoint, which is no part of a step
            for _ in range(steps - 1):
                with record_function(STEP):
                    next(run)
    spent = {one.key: one.cpu_time_total / 1000 / (steps - 1) for one in profiled.key_averages()}
    return {name: spent[name] for name in (STEP, DATA, NETWORKS, OPTIMISER)}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description="Profile a training step.")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("docs/train_profile.json"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    spent = measured(options.steps, options.batch_size)
    shares = {name: spent[name] / spent[STEP] for name in (DATA, NETWORKS, OPTIMISER)}
    record = {
        "milliseconds": {name: round(value, 2) for name, value in spent.items()},
        "shares": {name: round(value, 4) for name, value in shares.items()},
        "batch_size": options.batch_size,
        "steps": options.steps - 1,
        "threads": options.threads,
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    options.out.write_text(json.dumps(record, indent=1) + "\n")
    for name, value in spent.items():
        print(f"{name:16} {value:9.1f} ms {100 * value / spent[STEP]:6.1f} %")


if __name__ == "__main__":
    main()

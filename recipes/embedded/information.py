"""How much of what sound and picture say of each other a discriminator has learnt, by noise level.

On real pairs nothing was trained on, joint guidance lowers the error of the predicted noise. With
x_t = α x_0 + σ ε the mutual information is I = ½ ∫ E[‖ε − ε_base‖² − ‖ε − ε_joint‖²] d ln(α²/σ²)
(Guo et al. 2005, in units of ε), so the area under these curves is the part that was learnt, in
nats: what the audio's denoising gains from a clean video, and the other way round.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from train_discriminator import trained

from mmdisco.core.coupling import SameTimestep
from mmdisco.experiments.miniature.evaluation import HELD_OUT
from mmdisco.experiments.miniature.training import encoded
from mmdisco.generation.pipeline import guided_base
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.media.sounding_objects.dataset import example
from mmdisco.training.diagnostics.measure import DiagnosticsRunner, couplings_of

LEVELS = 12


def main() -> None:
    """Print one line per noise level, and both areas."""
    parser = argparse.ArgumentParser(
        description="Measure what a discriminator has learnt, in nats."
    )
    parser.add_argument("weights", type=Path)
    parser.add_argument("--name", default="discriminator")
    parser.add_argument("--clips", type=int, default=128)
    parser.add_argument("--folder", type=Path, default=Path("runs/embedded/pair"))
    o = parser.parse_args()
    torch.set_num_threads(1)
    folder = MiniatureSystem(o.folder)
    model = folder.model()
    network = trained(o.name, o.weights)
    couplings = couplings_of(SameTimestep(model.schedules), one_sided=True)
    runner = DiagnosticsRunner(
        base=guided_base(model, folder.sampling().cfg_scale, folder.method),
        couplings={name: couplings[name] for name in ("given video", "given audio")},
        real=encoded(model, [example(HELD_OUT, index) for index in range(o.clips)]),
        against={},
        levels=LEVELS,
    )
    areas: dict[str, float] = {}
    for name, along in runner.measure(network).couplings.items():
        for level in along.levels:
            (side,) = level.denoising
            found = level.denoising[side]
            sys.stdout.write(
                f"{name}: ln snr {found.log_snr:6.2f}  error {found.base:8.2f}  "
                f"gain {found.gain:7.3f} ± {found.error:.3f}\n"
            )
            areas[f"nats {name}"] = round(along.nats(side), 3)
    sys.stdout.write(json.dumps(areas) + "\n")


if __name__ == "__main__":
    main()

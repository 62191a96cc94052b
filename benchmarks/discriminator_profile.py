"""Where the gradient of the released discriminators spends its time, by kind of operation.

Networks of the published shapes with random weights, one clip of the usual size, one thread: every
operation that torch dispatches is timed by the thread's own clock, forward and backward. Beside it
stand its floating-point operations and a matrix product of 2048 by 2048 as a yardstick of the
machine; written are a page and a JSON file.

    python benchmarks/discriminator_profile.py --repeats 3 --out docs/discriminator_profile.md
"""

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from mmdisco.core.av import AV
from mmdisco.core.log_ratio import log_ratio_gradient
from mmdisco.core.noise import linear
from mmdisco.discriminators.official.config import (
    AUDIOLDM_ANIMATEDIFF_VGGSOUND,
    AUFFUSION_VIDEOCRAFTER2_VGGSOUND,
    MMDIFFUSION_LANDSCAPE,
    OfficialConfig,
)
from mmdisco.discriminators.official.network import ReleasedDiscriminator
from mmdisco.experiments.benchmark.base_models import random_network
from mmdisco.io.files import write_json, write_text

CASES: dict[str, tuple[OfficialConfig, tuple[int, ...], tuple[int, ...]]] = {
    "AudioLDM with AnimateDiff": (
        AUDIOLDM_ANIMATEDIFF_VGGSOUND,
        (1, 8, 50, 16),
        (1, 4, 16, 32, 32),
    ),
    "Auffusion with VideoCrafter2": (
        AUFFUSION_VIDEOCRAFTER2_VGGSOUND,
        (1, 4, 25, 32),
        (1, 4, 16, 32, 32),
    ),
    "MM-Diffusion": (MMDIFFUSION_LANDSCAPE, (1, 1, 25_600), (1, 3, 16, 64, 64)),
}
KINDS = {
    "convolutions": ("convolution",),
    "matrix products": ("mm", "addmm", "bmm"),
    "norms": ("norm",),
    "SiLU": ("silu",),
    "copies": ("clone", "copy", "cat"),
}
TIMESTEP = 500.0
SIDE = 2048


class Clock(TorchDispatchMode):
    """Seconds of this thread by kind of operation."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: dict[str, float] = defaultdict(float)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run and time one operation."""
        begun = time.thread_time()
        result = func(*args, **(kwargs or {}))
        self.seconds[kind_of(str(func))] += time.thread_time() - begun
        return result


def kind_of(name: str) -> str:
    """The row of the table that an operation belongs to."""
    stem = name.split(".")[1]
    return next(
        (
            kind
            for kind, weight_hashes in KINDS.items()
            if any(mark in stem for mark in weight_hashes)
        ),
        "the rest",
    )


def profile(gradient: Callable[[], Any], repeats: int) -> dict[str, Any]:
    """Medians of the seconds of each kind, and all operations, after one run that is not timed."""
    with FlopCounterMode(display=False) as counter:
        gradient()
    runs: list[dict[str, float]] = []
    for _ in range(repeats):
        with Clock() as clock:
            gradient()
        runs.append(clock.seconds)
    kinds = [*KINDS, "the rest"]
    seconds = {kind: statistics.median(run[kind] for run in runs) for kind in kinds}
    return {"seconds": seconds, "operations": counter.get_total_flops()}


def yardstick(repeats: int) -> float:
    """Operations a second of a large matrix product on one thread."""
    left, right = torch.randn(2, SIDE, SIDE)
    taken: list[float] = []
    for _ in range(repeats + 1):
        begun = time.thread_time()
        torch.mm(left, right)
        taken.append(time.thread_time() - begun)
    return 2 * SIDE**3 / min(taken)


def page(record: dict[str, Any]) -> str:
    """The Markdown page."""
    machine = record["matrix product"]
    lines = [
        "# Where the released discriminators spend their time",
        "",
        "Written by `benchmarks/discriminator_profile.py`: logit and gradient of one clip, one",
        f"thread, torch {record['torch']}, medians of {record['repeats']}. A large matrix product",
        f"runs at {machine / 1e9:.0f} billion operations a second here.",
        "",
        "| | " + " | ".join(record["cases"]) + " |",
        "| --- |" + " --- |" * len(record["cases"]),
    ]
    for kind in (*KINDS, "the rest"):
        cells: list[str] = []
        for case in record["cases"].values():
            total = sum(case["seconds"].values())
            own = case["seconds"][kind]
            cells.append(f"{own:.3f} s, {100 * own / total:.0f} %")
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    totals = [sum(case["seconds"].values()) for case in record["cases"].values()]
    lines.append("| all | " + " | ".join(f"{total:.3f} s" for total in totals) + " |")
    operations = [case["operations"] for case in record["cases"].values()]
    lines.append(
        "| 10⁹ operations | " + " | ".join(f"{one / 1e9:.0f}" for one in operations) + " |"
    )
    shares = [one / total / machine for one, total in zip(operations, totals, strict=True)]
    cells = [f"{100 * share:.0f} %" for share in shares]
    lines += ["| speed, of a matrix product's | " + " | ".join(cells) + " |", ""]
    return "\n".join(lines)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("docs/discriminator_profile.md"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    level = linear().level(torch.tensor([TIMESTEP]))
    cases: dict[str, Any] = {}
    for name, (config, sound, video) in CASES.items():
        network = random_network(
            lambda config=config: ReleasedDiscriminator(config),
            torch.device("cpu"),
            torch.float32,
            0,
        )
        z = AV(torch.randn(sound), torch.randn(video))
        text = AV(torch.randn(1, config.audio.text_width), torch.randn(1, config.video.text_width))

        def log_ratio(
            one: AV[Tensor], network: ReleasedDiscriminator = network, text: AV[Tensor] = text
        ) -> Tensor:
            return network(one, AV(level, level), text)

        def gradient(z: AV[Tensor] = z, log_ratio: Callable[..., Tensor] = log_ratio) -> object:
            return log_ratio_gradient(log_ratio, z)

        cases[name] = profile(gradient, given.repeats)
    record = {
        "torch": torch.__version__,
        "repeats": given.repeats,
        "matrix product": yardstick(given.repeats),
        "cases": cases,
    }
    write_json(given.out.with_suffix(".json"), record)
    text = page(record)
    write_text(given.out, text)
    print(text)


if __name__ == "__main__":
    main()

"""Cost of one guidance gradient: our discriminator beside the released one's 2-D and 1-D form.

Both networks at the paper's size (C = 128, L = 4, channel_mult 1, 2, 4) on latents of two seconds:
video 4 × 16 × 32 × 32, sound 8 × 50 × 16, batch 1, captions of 768 and 512. Measured is the forward
pass and the gradient with respect to both latents, weights frozen, as in sampling; the two take
turns, since a machine's speed drifts, and the ratio is that of the medians.

    python benchmarks/discriminator_cost.py --threads 2 --pairs 9 --out docs/discriminator_cost.json
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from released_form import ReleasedForm
from torch import Tensor, nn

from mmdisco.core.av import AV
from mmdisco.core.noise import scaled_linear
from mmdisco.discriminators.convolutions import SpectrogramLatents, VideoLatents
from mmdisco.discriminators.fusion import AdditiveFusionConfig, FusionConfig, TimeFusionConfig
from mmdisco.discriminators.towers import ResBlock
from mmdisco.discriminators.two_tower import AudioVideoConfig, AudioVideoDiscriminator
from mmdisco.io.reports import versions

TIMESTEP = 500


def ours(fusion: FusionConfig) -> AudioVideoDiscriminator:
    """Our network with random weights, the last convolutions of its blocks included."""
    network = AudioVideoDiscriminator(
        AudioVideoConfig(
            audio=SpectrogramLatents(channels=8, rate=25.0, text_width=512),
            video=VideoLatents(channels=4, rate=8.0, text_width=768),
            fusion=fusion,
        )
    )
    for module in network.modules():
        if isinstance(module, ResBlock):
            nn.init.normal_(module.last.linear.weight, std=0.02)
    return network.requires_grad_(requires_grad=False)


def seconds_of(logit: Callable[[], Tensor], latents: AV[Tensor]) -> float:
    """Wall time of the logit and its gradient with respect to both latents."""
    start = time.perf_counter()
    torch.autograd.grad(logit().sum(), (latents.audio, latents.video))
    return time.perf_counter() - start


def measure(pairs: int, seed: int) -> dict[str, list[float]]:
    """Seconds of each network, turn by turn, after one unmeasured turn."""
    torch.manual_seed(seed)
    latents = AV(
        torch.randn(1, 8, 50, 16, requires_grad=True),
        torch.randn(1, 4, 16, 32, 32, requires_grad=True),
    )
    text = AV(torch.randn(1, 512), torch.randn(1, 768))
    level = scaled_linear().level(torch.tensor([float(TIMESTEP)]))
    released = ReleasedForm().requires_grad_(requires_grad=False)
    timed = ours(TimeFusionConfig())
    additive = ours(AdditiveFusionConfig())
    logits: dict[str, Callable[[], Tensor]] = {
        "released form": lambda: released(
            latents.audio, latents.video, torch.tensor([TIMESTEP]), text.audio, text.video
        ),
        "ours, fusion in time": lambda: timed(latents, AV(level, level), text),
        "ours, additive": lambda: additive(latents, AV(level, level), text),
    }
    for logit in logits.values():
        seconds_of(logit, latents)
    seconds: dict[str, list[float]] = {name: [] for name in logits}
    for _ in range(pairs):
        for name, logit in logits.items():
            seconds[name].append(seconds_of(logit, latents))
    return seconds


def parameters() -> dict[str, int]:
    """The number of weights of each network."""
    with torch.device("meta"):
        networks = {
            "released form": ReleasedForm(),
            "ours, fusion in time": ours(TimeFusionConfig()),
            "ours, additive": ours(AdditiveFusionConfig()),
        }
    return {
        name: sum(weight.numel() for weight in network.parameters())
        for name, network in networks.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the gradient of discriminators.")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    seconds = measure(options.pairs, options.seed)
    weights = parameters()
    base = statistics.median(seconds["released form"])
    print(f"{'network':<24}{'weights':>12}{'median s':>10}{'least s':>10}{'ratio':>8}")
    rows: dict[str, dict[str, object]] = {}
    for name, times in seconds.items():
        median = statistics.median(times)
        rows[name] = {
            "parameters": weights[name],
            "median_seconds": round(median, 4),
            "ratio_of_medians": round(median / base, 4),
            "seconds": [round(one, 4) for one in times],
        }
        print(
            f"{name:<24}{weights[name]:>12,}{median:>10.3f}{min(times):>10.3f}{median / base:>8.3f}"
        )
    if options.out is not None:
        record = {
            "what": "seconds of one forward pass and gradient with respect to both latents",
            "latents": {"audio": [1, 8, 50, 16], "video": [1, 4, 16, 32, 32]},
            "width": 128,
            "depth": 4,
            "channel_mult": [1, 2, 4],
            "pairs": options.pairs,
            "seed": options.seed,
            "threads": options.threads,
            **versions("torch"),
            "networks": rows,
        }
        options.out.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()

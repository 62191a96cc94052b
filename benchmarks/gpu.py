"""Figures of one GPU, in less than eight minutes; on a CPU at tiny size with ``--dry-run``.

    python benchmarks/gpu.py --out docs/gpu.json

Networks have random weights, except those of the embedded pair; nothing is downloaded. Measured
are the embedded pair's networks against the CPU; seconds and peak memory of a step of networks of
the size of Wan 2.1 1.3B and Stable Audio 1, at 480×832 and 33 frames, by part; the discriminator's
share of it in float32 and bfloat16; offloading; training steps a second.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))  # for the tiny networks

import diffusers
from bills import discriminator
from torch import Tensor

from mmdisco.adapters.miniature.model import AUDIO_SHAPE, VIDEO_SHAPE
from mmdisco.core.av import AV, each
from mmdisco.core.denoiser import Conditioning, IndependentDenoisers
from mmdisco.core.log_ratio import log_ratio_gradient
from mmdisco.core.losses import MMDisCoLoss, NoisedPairs
from mmdisco.core.noise import NoiseLevel
from mmdisco.core.pairs import Pairs
from mmdisco.discriminators.two_tower import AudioVideoDiscriminator
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.io.files import write_json
from mmdisco.io.reports import versions

REPEATS = 3
d: Any = diffusers


def level_on(device: torch.device, count: int = 1) -> NoiseLevel:
    """Return the middle of a variance-preserving schedule."""
    half = torch.full((count,), 0.5**0.5, dtype=torch.float64, device=device)
    return NoiseLevel(half * 0 + 500, half, half)


def measured(device: torch.device, work: Callable[[], Any]) -> dict[str, float]:
    """Return the median seconds of some runs, after one that is not measured, and the peak GB."""
    cuda = device.type == "cuda"
    work()
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    seconds: list[float] = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        if cuda:
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated(device) / 1e9 if cuda else float("nan")
    return {"seconds": statistics.median(seconds), "peak_gb": peak}


def pairs(device: torch.device, count: int = 1) -> AV[Tensor]:
    """Return noise of the embedded pair's shapes, the same on every device."""
    generator = torch.Generator().manual_seed(0)
    shapes = AV(AUDIO_SHAPE, VIDEO_SHAPE)
    return shapes.map(lambda shape: torch.randn(count, *shape, generator=generator).to(device))


def against_cpu(system: MiniatureSystem, device: torch.device) -> dict[str, Any]:
    """Return how far the embedded pair's networks are from the CPU, relative, by number format."""
    bases: Any = system.model()
    network = system.discriminator()

    def outputs(where: torch.device, dtype: torch.dtype) -> AV[Any]:
        z, level, text = pairs(where, 2), level_on(where, 2), torch.ones(2, 64, device=where)
        with torch.autocast(where.type, dtype, enabled=dtype != torch.float32):
            denoisers = AV(bases.audio.denoiser.network, bases.video.denoiser.network)
            with torch.no_grad():
                v = each(lambda one, x: one.to(where)(x, level, text), denoisers, z)
            own: Any = network.to(where)
            slope = log_ratio_gradient(lambda x: own(x, AV(level, level), AV(text, text)), z)
        found = each(
            lambda one, other: torch.stack([one.float(), other.float()]), v, slope.gradient
        )
        return found.map(lambda one: one.cpu())

    exact = outputs(torch.device("cpu"), torch.float32)
    record: dict[str, Any] = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        low = outputs(device, dtype)
        off = each(
            lambda a, b: [float((x - y).norm() / y.norm()) for x, y in zip(a, b, strict=True)],
            low,
            exact,
        )
        record[name] = {
            f"{side} {part}": number
            for side, numbers in (("audio", off.audio), ("video", off.video))
            for part, number in zip(("denoiser", "gradient"), numbers, strict=True)
        }
    for one in (bases.audio.denoiser.network, bases.video.denoiser.network, network):
        one.cpu()
    return record


def large(device: torch.device, *, tiny: bool) -> dict[str, Any]:
    """Return seconds and memory of a step by part, and of offloading."""
    if tiny:
        import stockpipelines

        video, audio = stockpipelines.wan().transformer, stockpipelines.stable_audio().transformer
        shapes, widths, text = AV((3, 8), (16, 3, 4, 4)), AV(4, 32), 8
        dtype = torch.float32
    else:
        with torch.device(device):
            video = d.WanTransformer3DModel(num_attention_heads=12, ffn_dim=8960, num_layers=30)
            audio = d.StableAudioDiTModel()
        shapes, widths, text = AV((64, 1024), (16, 9, 60, 104)), AV(768, 4096), 512
        dtype = torch.bfloat16
    for one in (video, audio):
        one.to(dtype).eval().requires_grad_(requires_grad=False)
        if device.type == "cuda":
            one.cpu()
    t = torch.full((1,), 500.0, device=device)
    x = shapes.map(lambda shape: torch.randn(1, *shape, device=device, dtype=dtype))
    heard = torch.randn(2, 130, widths.audio, device=device, dtype=dtype)
    whole = audio.config.global_states_input_dim

    def step_video() -> None:
        for _ in range(2):  # both branches of guidance, one after the other
            states = torch.randn(1, text, widths.video, device=device, dtype=dtype)
            video(x.video, timestep=t, encoder_hidden_states=states)

    def step_audio() -> None:
        states = torch.zeros(2, 1, whole, device=device, dtype=dtype)
        both = x.audio.expand(2, -1, -1)
        audio(both, t.to(dtype), encoder_hidden_states=heard, global_hidden_states=states)

    record: dict[str, Any] = {}
    with torch.no_grad():
        for name, own, step in (("video", video, step_video), ("audio", audio, step_audio)):
            own.to(device)
            record[name] = measured(device, step)
            own.cpu()

    def offloaded() -> None:
        video.to(device)
        step_video()
        video.cpu()

    with torch.no_grad():
        record["video, offloaded"] = measured(device, offloaded)
    base = record["video"]["seconds"] + record["audio"]["seconds"]
    return record | gradients(device, x.map(Tensor.float), widths, base)


def gradients(
    device: torch.device, z: AV[Tensor], widths: AV[int], base: float
) -> dict[str, dict[str, float]]:
    """Return seconds and memory of a logit and its gradient, and their share of ``base``."""
    record: dict[str, dict[str, float]] = {}
    level = level_on(device)
    texts = widths.map(lambda width: torch.ones(1, width, device=device))
    rates = AV(44_100 / 2048, 16 / 4)  # of Stable Audio 1 and of Wan
    for name, low in (("float32", False), ("bfloat16", True)):
        made = discriminator(z.map(lambda x: x.shape[1:]), widths, rates, bfloat16=low)
        with torch.device(device):
            network = AudioVideoDiscriminator(made.config).requires_grad_(requires_grad=False)

        def slope(own: Any = network) -> None:
            log_ratio_gradient(lambda at: own(at, AV(level, level), texts), z)

        found = measured(device, slope)
        record[f"discriminator, {name}"] = {**found, "share_of_bases": found["seconds"] / base}
    return record


def training(system: MiniatureSystem, device: torch.device, batch_size: int) -> dict[str, float]:
    """Return the steps a second of a new discriminator of the embedded pair, both losses."""
    bases: Any = system.model()
    networks = (bases.audio.denoiser.network, bases.video.denoiser.network)
    for one in networks:
        one.to(device)
    with torch.device(device):
        network = AudioVideoDiscriminator(system.discriminator().config)
    base = IndependentDenoisers(AV(bases.audio.denoiser, bases.video.denoiser))
    text = Conditioning(torch.ones(batch_size, 64, device=device))
    level = level_on(device, batch_size)
    z = pairs(device, batch_size)
    noised = NoisedPairs(Pairs(z, AV(text, text)), z.map(torch.randn_like), AV(level, level))
    loss, optimizer = MMDisCoLoss(), torch.optim.AdamW(network.parameters(), 1e-4)

    def step() -> None:
        total = loss.total(loss.losses(network, base, noised, noised)).mean()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()

    found = measured(device, step)
    for one in networks:
        one.cpu()
    return {**found, "batch_size": batch_size, "steps_a_second": 1 / found["seconds"]}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure one GPU.")
    parser.add_argument("--dry-run", action="store_true", help="tiny networks, on the CPU")
    parser.add_argument("--out", type=Path, help="JSON file of the results")
    options = parser.parse_args()
    if not options.dry_run and not torch.cuda.is_available():
        raise SystemExit("there is no CUDA device: give --dry-run to try the script on the CPU")
    device = torch.device("cpu" if options.dry_run else "cuda")
    torch.manual_seed(0)
    system, start = MiniatureSystem(), time.monotonic()
    record: dict[str, Any] = {
        "device": "cpu" if options.dry_run else torch.cuda.get_device_name(device),
        "dry_run": options.dry_run,
        "versions": versions("mmdisco", "torch", "diffusers"),
    }
    for name, part in (
        ("embedded pair, relative difference to the CPU", lambda: against_cpu(system, device)),
        ("a step at 480x832, 33 frames", lambda: large(device, tiny=options.dry_run)),
        ("training", lambda: training(system, device, 2 if options.dry_run else 64)),
    ):
        record[name] = part()
        print(name, json.dumps(record[name], indent=1), flush=True)
        if options.out is not None:
            write_json(options.out, json.loads(json.dumps(record).replace("NaN", "null")))
    print(f"{time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()

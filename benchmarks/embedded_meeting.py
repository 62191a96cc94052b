"""The embedded pair as two ordinary pipelines of diffusers: through the meeting and by our loop.

    python benchmarks/embedded_meeting.py --clips 256 --jobs 2 --out docs/embedded/meeting

Both make clips of the same held-out captions from the same noise: jointly, sound for a video, and
video for a sound. Writes ``results.json`` and ``README.md``: the share of the gap to real pairs
that either closes, with standard errors. Finished cells are kept under ``cells``.
"""

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline, DPMSolverMultistepScheduler
from diffusers.utils.torch_utils import randn_tensor
from torch import Generator, Tensor, nn
from typing_extensions import override

from mmdisco.adapters.miniature import FPS, SAMPLE_RATE, SECONDS
from mmdisco.adapters.miniature.model import AUDIO_SHAPE, VIDEO_SHAPE, MiniatureModel
from mmdisco.adapters.stock.families import AudioFamily, VideoFamily
from mmdisco.adapters.stock.layouts import AxisOrder
from mmdisco.core.av import AV
from mmdisco.core.noise import NoiseSchedule
from mmdisco.core.rng import NoiseSource
from mmdisco.evaluation.metrics.result import gap_closed
from mmdisco.experiments.grid import MeasuredCell, run
from mmdisco.experiments.miniature.evaluation import (
    BATCH,
    Bench,
    MiniatureRow,
    audio_to_video,
    held_out,
    joined,
    rows,
    video_to_audio,
)
from mmdisco.experiments.miniature.grid import FIGURES
from mmdisco.generation.joint_pipeline import JointPipeline
from mmdisco.generation.presets.miniature import MiniatureSystem
from mmdisco.generation.system import SamplingDefaults
from mmdisco.io.files import plain, write_json, write_text
from mmdisco.io.reports import markdown_table, versions
from mmdisco.media.clip import Audio, AudioVideo, Video

WAYS = ("own loop", "meeting")
TASKS = ("joint", "video to audio", "audio to video")
TITLES = {"event_f1": "event F1", "material": "material", "size": "size"}


class Velocity(nn.Module):
    """Denoiser of the pair as diffusers' are: latents, a timestep and an embedding to v."""

    def __init__(self, network: nn.Module, schedule: NoiseSchedule) -> None:
        super().__init__()
        self.network = network
        self.schedule = schedule

    def forward(self, sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor) -> Tensor:
        t = timestep.cpu().double().expand(len(sample))
        return self.network(sample, self.schedule.level(t), encoder_hidden_states)


class Codec(nn.Module):
    """Encoder and decoder of either model."""

    def __init__(self, model: MiniatureModel[Any]) -> None:
        super().__init__()
        self.config = {"latent_channels": VIDEO_SHAPE[0]}
        self.encode, self.decode = model.encode, model.decode


class EmbeddedPipeline(DiffusionPipeline):
    """Either model of the embedded pair as an ordinary pipeline: its own loop and guidance."""

    def __init__(
        self, text_encoder: nn.Module, transformer: nn.Module, vae: nn.Module, scheduler: Any
    ) -> None:
        super().__init__()
        self.register_modules(
            text_encoder=text_encoder, transformer=transformer, vae=vae, scheduler=scheduler
        )

    @property
    def _execution_device(self) -> torch.device:
        return torch.device("cpu")

    def encode_prompt(self, prompt: Sequence[str]) -> Tensor:
        """Encode prompts, (b, 64)."""
        with torch.no_grad():
            return self.text_encoder(prompt)

    def sample(
        self,
        prompt: str | list[str],
        shape: torch.Size,
        steps: int,
        scale: float,
        generator: list[Generator] | None,
        latents: Tensor | None,
    ) -> Tensor:
        """Return the clean latents of a run over all levels, the last ones included."""
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        cond, null = self.encode_prompt(prompts), self.encode_prompt([""] * len(prompts))
        x = latents
        if x is None:
            x = randn_tensor((len(prompts), *shape), generator=generator)
        times = np.linspace(len(self.transformer.schedule.times) - 1, 0, steps).round().astype(int)
        self.scheduler.set_timesteps(timesteps=times.tolist())
        for t in self.scheduler.timesteps:
            v = self.transformer(x, t, cond)
            if scale != 1:
                unguided = self.transformer(x, t, null)
                v = unguided + scale * (v - unguided)
            x = self.scheduler.step(v, t, x, generator=generator, return_dict=False)[0]
        return x


class EmbeddedVideoPipeline(EmbeddedPipeline):
    """Videos of 16 frames of 64×64."""

    factor = 8

    @torch.no_grad()
    def __call__(  # noqa: PLR0913 - the arguments of diffusers' pipelines
        self,
        prompt: str | list[str] | None = None,
        num_frames: int = 16,
        height: int = 64,
        width: int = 64,
        num_inference_steps: int = 20,
        guidance_scale: float = 1.5,
        generator: list[Generator] | None = None,
        latents: Tensor | None = None,
        output_type: str = "np",
    ) -> tuple[Any]:
        x = self.sample(
            prompt or "", VIDEO_SHAPE, num_inference_steps, guidance_scale, generator, latents
        )
        if output_type == "latent":
            return (x,)
        return (np.stack([one.frames for one in self.vae.decode(x)]),)


class EmbeddedAudioPipeline(EmbeddedPipeline):
    """Sounds of 1.6 s."""

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str] | None = None,
        duration: float = SECONDS,
        num_inference_steps: int = 20,
        guidance_scale: float = 1.5,
        generator: list[Generator] | None = None,
        latents: Tensor | None = None,
        output_type: str = "np",
    ) -> tuple[Any]:
        x = self.sample(
            prompt or "", AUDIO_SHAPE, num_inference_steps, guidance_scale, generator, latents
        )
        if output_type == "latent":
            return (x,)
        return (np.stack([one.waveform for one in self.vae.decode(x)]),)


def _encode_video(pipe: Any, pixels: Tensor) -> Tensor:
    frames = ((pixels + 1) / 2).permute(0, 2, 3, 4, 1)
    return pipe.vae.encode([Video(one.numpy(), FPS) for one in frames])


def _encode_audio(pipe: Any, waveforms: Tensor) -> Tensor:
    return pipe.vae.encode([Audio(one.numpy(), SAMPLE_RATE) for one in waveforms[:, 0]])


FAMILIES: AV[Any] = AV(
    AudioFamily(
        ("EmbeddedAudioPipeline",),
        AxisOrder((0, 1, 2, 3)),
        _encode_audio,
        length="duration",
        grid=lambda pipe: (SAMPLE_RATE, round(SECONDS * SAMPLE_RATE) // AUDIO_SHAPE[1]),
        space=lambda pipe: tuple(AUDIO_SHAPE[2:]),
    ),
    VideoFamily(
        ("EmbeddedVideoPipeline",),
        AxisOrder((0, 1, 2, 3, 4)),
        _encode_video,
        fps=lambda pipe: FPS,
        factors=(None, "factor"),
    ),
)


def sampling() -> SamplingDefaults:
    """Return the settings of both ways: a multistep scheduler, and joint scales that it bears."""
    return replace(
        MiniatureSystem().sampling(),
        scheduler="sde-dpm++2m",
        joint_scale=AV(2.0, 6.0),
        video_to_audio=16.0,
        audio_to_video=7.0,
    )


def as_pipelines(system: MiniatureSystem) -> AV[Any]:
    """Return both models of the embedded pair as pipelines, with the scheduler of ``sampling``."""
    bases, text = system.model(), system.text()

    def made(kind: Any, model: Any) -> Any:
        table = model.schedule.alphas.square()
        before = torch.cat([torch.ones(1, dtype=table.dtype), table[:-1]])
        scheduler = DPMSolverMultistepScheduler(
            num_train_timesteps=len(table),
            trained_betas=(1 - table / before).tolist(),
            prediction_type="v_prediction",
            algorithm_type="sde-dpmsolver++",
        )
        scheduler.alphas_cumprod = table.float()  # whose product of betas underflows
        return kind(text, Velocity(model.denoiser.network, model.schedule), Codec(model), scheduler)

    return AV(made(EmbeddedAudioPipeline, bases.audio), made(EmbeddedVideoPipeline, bases.video))


def through_meeting(
    bench: Bench, row: MiniatureRow, seed: int, clips: int
) -> Iterator[list[AudioVideo]]:
    """Generate the clips of a row as ``Bench.generated`` does, by a ``JointPipeline``."""
    pipes, settings = as_pipelines(bench.folder), row.sampling.settings
    network = bench.folder.discriminator(row.discriminator)
    joint = JointPipeline(pipes.video, pipes.audio, network, settings.reuse, FAMILIES)
    for start in range(0, clips, BATCH):
        wanted = [held_out(index) for index in range(start, min(start + BATCH, clips))]
        seeds = [seed * 1_000_000 + start + offset for offset in range(len(wanted))]
        noise = NoiseSource.from_seeds(seeds).generators
        videos, sounds = (
            [getattr(one.clip, side) for one in wanted] for side in ("video", "audio")
        )
        out = joint(
            [one.caption.text for one in wanted],
            num_inference_steps=settings.steps,
            joint_scale=settings.joint_scale,
            given_video=videos if row.task is video_to_audio else None,
            given_audio=sounds if row.task is audio_to_video else None,
            video_kwargs={"guidance_scale": settings.cfg_scale.video, "generator": noise.video},
            audio_kwargs={"guidance_scale": settings.cfg_scale.audio, "generator": noise.audio},
        )
        if out.frames is not None:
            videos = [Video(one, FPS) for one in out.frames]
        if out.audio is not None:
            sounds = [Audio(one, SAMPLE_RATE) for one in out.audio]
        yield [AudioVideo(*both) for both in zip(sounds, videos, strict=True)]


@dataclass(frozen=True)
class WayCell(MeasuredCell):
    """One task, one way.

    Attributes:
        row: Row of the table of the embedded pair; ``None`` for real pairs.
        way: Name of ``WAYS``.
        seed: Seed of the sampling noise.
        clips: Number of clips.
    """

    row: MiniatureRow | None
    way: str
    seed: int
    clips: int

    @property
    @override
    def label(self) -> str:
        return f"{self.row.name} {self.way}" if self.row else "real pairs"

    @property
    @override
    def settings(self) -> dict[str, Any]:
        own = {"label": self.label, "seed": self.seed, "clips": self.clips}
        return {**own, "weights": MiniatureSystem().config["sha256"]}

    @override
    def measure(self) -> dict[str, Any]:
        bench, start = Bench.load(MiniatureSystem()), time.monotonic()
        if self.row is None:
            made = bench.reconstructed(self.clips)
        elif self.way == "meeting":
            made = through_meeting(bench, self.row, self.seed, self.clips)
        else:
            made = bench.generated(self.row, self.seed, self.clips)
        record = joined(list(bench.read(made))).record(None, self.seed)
        return {**record, "seconds": time.monotonic() - start}


def gap(record: dict[str, Any], real: dict[str, Any], figure: str) -> tuple[float, float]:
    """Return the share of the gap to real pairs that is closed, and its standard error; or NaN."""
    paired, recombined = (record[name][figure] for name in ("paired", "recombined"))
    best = real["paired"][figure]["value"]
    closed = gap_closed(paired["value"], recombined["value"], best)
    # to first order, in the mean over pairs and that over recombined ones
    error = math.hypot(paired["error"] or 0.0, (1 - closed) * (recombined["error"] or 0.0))
    return closed, error / abs(best - recombined["value"] or math.nan)


def compare(cells: Sequence[WayCell]) -> dict[str, Any]:
    """Compare both ways by task and figure."""
    real = cells[0].results()
    by = {(one.row.name, one.way): one.results() for one in cells if one.row}
    found: dict[str, Any] = {}
    for task in TASKS:
        for figure in FIGURES:
            (own, own_error), (met, met_error) = (gap(by[task, way], real, figure) for way in WAYS)
            error = math.hypot(own_error, met_error)
            found.setdefault(task, {})[figure] = {
                "own loop": {"gap_closed": own, "error": own_error},
                "meeting": {"gap_closed": met, "error": met_error},
                "difference": met - own,
                "error": error,
                "within_two_errors": abs(met - own) <= 2 * error,
            }
    return found


def page(record: dict[str, Any]) -> str:
    """Return the page of the results."""
    table = [
        [
            task,
            TITLES[figure],
            *(f"{one[way]['gap_closed']:.3f} ± {one[way]['error']:.3f}" for way in WAYS),
            f"{one['difference']:+.3f} ± {one['error']:.3f}",
            "yes" if one["within_two_errors"] else "NO",
        ]
        for task, figures in record["comparison"].items()
        for figure, one in figures.items()
    ]
    header = ["", "gap closed in", *WAYS, "difference", "within two standard errors"]
    known = ", ".join(f"{name} {one}" for name, one in record["versions"].items())
    known += f"; discriminator of SHA-256 {record['discriminator'][:12]}…"
    return "\n".join(
        [
            "# The embedded pair through the meeting",
            "",
            f"Written by `benchmarks/embedded_meeting.py`: {record['clips']} clips, seed "
            f"{record['seed']}, {known}.",
            "",
            "Its two models, each as an ordinary pipeline of diffusers with a loop and a scheduler",
            "of its own, generate jointly through `JointPipeline`; beside them are the same clips",
            "through our own loop, from one noise. Timesteps of a pipeline are whole",
            "numbers, so its noise levels differ a little. A gap closed is that of",
            "[the pair's tables](../README.md#what-it-reaches), here with its standard error over",
            "clips.",
            "",
            markdown_table(header, table),
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the meeting with our own loop.")
    parser.add_argument("--clips", type=int, default=256, help="clips of each task and way")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sampling noise")
    parser.add_argument("--jobs", type=int, default=1, help="processes, one thread each")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    options = parser.parse_args()
    known = {row.name: row for row in rows(sampling())}
    cell = partial(WayCell, options.out, seed=options.seed, clips=options.clips)
    cells = [cell(row=None, way="real")]
    cells += [cell(row=known[task], way=way) for task in TASKS for way in WAYS]
    for done, number, total in run(cells, options.jobs):
        print(f"{number} of {total}: {done.label}, {done.results()['seconds']:.1f} s", flush=True)
    record = {
        "clips": options.clips,
        "seed": options.seed,
        "versions": versions("mmdisco", "torch", "diffusers"),
        "discriminator": MiniatureSystem().config["sha256"]["discriminator"],
        "comparison": compare(cells),
        "cells": {one.label: one.results() for one in cells},
    }
    write_json(options.out / "results.json", plain(record))
    text = page(record)
    write_text(options.out / "README.md", text)
    print(text)


if __name__ == "__main__":
    main()

"""Trains the networks whose features the Fréchet distances of the embedded pair are measured in.

Run by ``run.py``; alone: ``python recipes/embedded/train_features.py video --out DIR``. Beside the
weights lies ``<modality>_features.json``, what a linear reading of the features gets right.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from progress import lines, progress
from torch import Generator, Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from mmdisco.evaluation.metrics.sounding_objects.feature_networks import (
    AUDIO_STEPS,
    FEATURES,
    VIDEO_STEPS,
    AudioFeatures,
    VideoFeatures,
)
from mmdisco.io.files import write_json, write_tensors
from mmdisco.io.reports import versions
from mmdisco.media.clip import AudioVideo
from mmdisco.media.mel import MelScale
from mmdisco.media.sounding_objects.dataset import example
from mmdisco.media.sounding_objects.scene import (
    MOST_EVENTS,
    SECONDS,
    Colour,
    ObjectKind,
    Scene,
    Size,
)
from mmdisco.training.bases.config import FitConfig
from mmdisco.training.bases.fit import FitRun

CLIPS = 6000
HELD_OUT = 1000
# apart from the clips that everything else is trained on
SEED_OFFSET = 7
# a clip has two events in its many steps: their mean loss is small
EVENTS_WEIGHT = 10.0

CHOICES = {"kind": len(ObjectKind), "colour": len(Colour), "size": len(Size), "count": MOST_EVENTS}


class Reader(nn.Module):
    """A feature network with a linear reading of each attribute and of the steps with events.

    Args:
        network: Inputs to features.
        steps: Parts of equal length of a clip.
    """

    def __init__(self, network: nn.Module, steps: int) -> None:
        super().__init__()
        self.network = network
        self.heads = nn.ModuleDict({name: nn.Linear(FEATURES, n) for name, n in CHOICES.items()})
        self.events = nn.Linear(FEATURES, steps)

    def forward(self, inputs: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Logits of each attribute, and of an event in each step."""
        features = self.network(inputs)
        return {name: head(features) for name, head in self.heads.items()}, self.events(features)


@dataclass(frozen=True)
class Modality:
    """One modality's network and inputs.

    Attributes:
        build: Makes the network.
        steps: Of the event grid.
        prepare: What is stored of a clip, frames as bytes.
        noise: Largest σ of the noise on its inputs.
        batch: Clips in an update.
        schedule: At most three minutes on one idle core.
    """

    build: Callable[[], nn.Module]
    steps: int
    prepare: Callable[[AudioVideo], Tensor]
    noise: float
    batch: int
    schedule: FitConfig


@dataclass(frozen=True)
class Pool:
    """Clips and their truth.

    Attributes:
        inputs: As ``Modality.prepare`` gives them, stacked.
        answers: The right class of each attribute, (clips,).
        events: 1 for steps with an event, else 0, (clips, steps).
    """

    inputs: Tensor
    answers: dict[str, Tensor]
    events: Tensor


def train(modality: str, seed: int, out: Path) -> None:
    """Train one network and write ``<modality>_features.safetensors`` and its accuracy."""
    target = out / f"{modality}_features.safetensors"
    if target.exists():
        return
    torch.manual_seed(seed)
    one = MODALITIES[modality]
    reader = Reader(one.build(), one.steps)
    pool = draw_pool(one, range(CLIPS), seed, f"clips for the {modality} features")

    def loss_of(step: int, generator: Generator) -> Tensor:
        del step
        chosen = torch.randint(CLIPS, (one.batch,), generator=generator)
        inputs = as_float(pool.inputs[chosen])
        # Features must not hinge on the last bit of an input, which no decoder gives. One draw
        # serves the batch: one for each clip would cost as much as the network.
        noise = torch.randn(inputs.shape[1:], generator=generator)
        sigma = one.noise * torch.rand(one.batch, *[1] * noise.ndim, generator=generator)
        logits, events = reader(torch.addcmul(inputs, sigma, noise))
        loss = EVENTS_WEIGHT * binary_cross_entropy_with_logits(events, pool.events[chosen])
        for name, answers in pool.answers.items():
            loss = loss + cross_entropy(logits[name], answers[chosen])
        return loss

    run = FitRun(
        one.schedule,
        seed,
        out / f"{modality}_features_training.safetensors",
        lines(f"{modality} features", one.schedule.steps),
    )
    trained = run.fit(reader, loss_of)
    held_out = range(CLIPS, CLIPS + HELD_OUT)
    right = accuracy(trained, draw_pool(one, held_out, seed, f"held-out {modality} clips"))
    figures = ", ".join(f"{name} {value:.3f}" for name, value in right.items())
    sys.stderr.write(f"{modality} features, right on held-out clips: {figures}\n")
    record = {"held-out accuracy": right, "conditions": conditions(seed)}
    write_json(out / f"{modality}_features.json", record)
    write_tensors(target, trained.network.state_dict(), {})


def draw_pool(modality: Modality, indices: range, seed: int, name: str) -> Pool:
    """Make the clips ``indices`` of the data, keeping one modality of each."""
    inputs, scenes = torch.empty(0), []
    for row, index in enumerate(progress(indices, name)):
        item = example(seed + SEED_OFFSET, index)
        prepared = modality.prepare(item.clip)
        if not row:  # at once: stacking at the end would hold a gigabyte of frames twice
            inputs = torch.empty(len(indices), *prepared.shape, dtype=prepared.dtype)
        inputs[row] = prepared
        scenes.append(item.scene)
    answers = {
        "kind": torch.tensor([list(ObjectKind).index(scene.kind) for scene in scenes]),
        "colour": torch.tensor([list(Colour).index(scene.colour) for scene in scenes]),
        "size": torch.tensor([list(Size).index(scene.size) for scene in scenes]),
        "count": torch.tensor([len(scene.events) - 1 for scene in scenes]),
    }
    return Pool(inputs, answers, torch.stack([grid(scene, modality.steps) for scene in scenes]))


def grid(scene: Scene, steps: int) -> Tensor:
    """1 for each of the equal parts of the clip in which an event happens, else 0, (steps,)."""
    events = torch.zeros(steps)
    events[[int(event.time / SECONDS * steps) for event in scene.events]] = 1
    return events


def accuracy(reader: Reader, pool: Pool) -> dict[str, float]:
    """Share of clips with each attribute read right; of steps; and the F1 of steps with events."""
    with torch.no_grad():
        parts = [reader(as_float(part)) for part in pool.inputs.split(64)]
    right = {
        name: (torch.cat([logits[name] for logits, _ in parts]).argmax(1) == answers).float()
        for name, answers in pool.answers.items()
    }
    found, true = torch.cat([events for _, events in parts]) > 0, pool.events > 0
    right["events"] = (found == true).float()
    f1 = 2 * (found & true).sum() / (found.sum() + true.sum())
    shares = {name: round(float(values.mean()), 4) for name, values in right.items()}
    return shares | {"events F1": round(float(f1), 4)}


def conditions(seed: int) -> dict[str, str | int]:
    """What the figures depend on."""
    return {
        "seed": seed,
        "clips": CLIPS,
        "held-out clips": HELD_OUT,
        **versions("mmdisco", "numpy", "torch"),
    }


def as_float(inputs: Tensor) -> Tensor:
    """Frames in [0, 1] from bytes; spectrograms as they are."""
    return inputs.float() / 255 if inputs.dtype == torch.uint8 else inputs


def frames(clip: AudioVideo) -> Tensor:
    """Frames of a clip as bytes, (16, 64, 64, 3)."""
    return torch.from_numpy(np.round(clip.video.frames * 255).astype(np.uint8))


def spectrogram(clip: AudioVideo) -> Tensor:
    """Spectrogram of a clip, (1, 128, 64)."""
    return SCALE.analyse(torch.from_numpy(clip.audio.waveform)[None])[0]


SCALE = MelScale()
MODALITIES = {
    "video": Modality(
        build=VideoFeatures,
        steps=VIDEO_STEPS,
        prepare=frames,
        noise=0.02,
        batch=16,
        schedule=FitConfig(steps=2000, learning_rate=4e-3, ema=0.99),
    ),
    "audio": Modality(
        build=AudioFeatures,
        steps=AUDIO_STEPS,
        prepare=spectrogram,
        noise=0.05,
        batch=64,
        schedule=FitConfig(steps=2000, learning_rate=4e-3, ema=0.99),
    ),
}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train the features of a Fréchet distance.")
    parser.add_argument("modality", choices=tuple(MODALITIES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/embedded"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    train(options.modality, options.seed, options.out)

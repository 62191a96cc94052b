"""Trains the text encoder of the embedded pair to tell what a caption names and what it leaves."""

import argparse
from enum import Enum
from pathlib import Path

import numpy as np
import torch
from progress import lines

from mmdisco.adapters.miniature.model import TextEncoder
from mmdisco.io.files import write_tensors
from mmdisco.media.sounding_objects.dataset import Caption, draw_caption, draw_named, vocabulary
from mmdisco.media.sounding_objects.scene import (
    Colour,
    ObjectKind,
    SceneConstraints,
    Size,
    draw_scene,
)
from mmdisco.training.bases.config import FitConfig
from mmdisco.training.bases.fit import FitRun
from mmdisco.training.bases.text import train_text_encoder

SCHEDULE = FitConfig(steps=1500, batch_size=256, learning_rate=3e-3, ema=0.99)
CAPTIONS = 8192
_ANSWERS = {"kind": tuple(ObjectKind), "colour": tuple(Colour), "size": tuple(Size)}


def train(seed: int, out: Path) -> None:
    """Train and write ``text_encoder.safetensors``."""
    target = out / "text_encoder.safetensors"
    if target.exists():
        return
    torch.manual_seed(seed)
    encoder = TextEncoder(vocabulary())
    captions = [_caption(np.random.default_rng((seed, index))) for index in range(CAPTIONS)]
    answers = [torch.tensor([_answer(name, c.named) for c in captions]) for name in ANSWERS]
    path = out / "text_encoder_training.safetensors"
    run = FitRun(SCHEDULE, seed, path, lines("text", SCHEDULE.steps))
    trained = train_text_encoder(encoder, [one.text for one in captions], answers, run)
    write_tensors(target, trained.state_dict(), {})


ANSWERS = (*_ANSWERS, "count")


def _caption(rng: np.random.Generator) -> Caption:
    if rng.uniform() < 0.1:
        return Caption("", SceneConstraints())
    return draw_caption(draw_named(draw_scene(rng, SceneConstraints()), rng), rng)


def _answer(name: str, named: SceneConstraints) -> int:
    """Position of the answer, 0 where the caption leaves it free."""
    value: Enum | int | None = getattr(named, name)
    if value is None:
        return 0
    return value if isinstance(value, int) else 1 + _ANSWERS[name].index(value)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train the text encoder of the embedded pair.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/embedded"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    train(options.seed, options.out)

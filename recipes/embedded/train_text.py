"""Trains the text encoder of the embedded pair to tell what a caption names and what it leaves."""

import argparse
from dataclasses import replace
from enum import Enum
from pathlib import Path

import numpy as np
import torch
from fit import Schedule, fit
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy

from mmdisco.adapters.miniature.model import TEXT_WIDTH, TextEncoder
from mmdisco.io.files import write_tensors
from mmdisco.media.sounding_objects.dataset import Caption, draw_caption, draw_named, vocabulary
from mmdisco.media.sounding_objects.scene import (
    MOST_EVENTS,
    Colour,
    ObjectKind,
    SceneConstraints,
    Size,
    draw_scene,
)

SCHEDULE = Schedule(steps=1500, learning_rate=3e-3, ema=0.99)
CAPTIONS = 8192
BATCH = 256
_ANSWERS = {"kind": tuple(ObjectKind), "colour": tuple(Colour), "size": tuple(Size)}


class Reader(nn.Module):
    """The encoder with a linear reading of each attribute, named or not."""

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        counts = {name: len(answers) + 1 for name, answers in _ANSWERS.items()}
        counts["count"] = MOST_EVENTS + 1
        self.heads = nn.ModuleDict({name: nn.Linear(TEXT_WIDTH, n) for name, n in counts.items()})


def train(seed: int, out: Path) -> None:
    """Train and write ``text_encoder.safetensors``."""
    target = out / "text_encoder.safetensors"
    if target.exists():
        return
    torch.manual_seed(seed)
    reader = Reader(TextEncoder(vocabulary()))
    captions = [_caption(np.random.default_rng((seed, index))) for index in range(CAPTIONS)]
    answers = {name: torch.tensor([_answer(name, c.named) for c in captions]) for name in ANSWERS}

    def loss_of(step: int, generator: Generator) -> Tensor:
        del step
        chosen = torch.randint(CAPTIONS, (BATCH,), generator=generator)
        vectors = reader.encoder([captions[int(index)].text for index in chosen])
        return sum(
            (
                cross_entropy(head(vectors), answers[name][chosen])
                for name, head in reader.heads.items()
            ),
            torch.zeros(()),
        )

    trained = fit(
        reader,
        loss_of,
        replace(SCHEDULE, seed=seed),
        out / "text_encoder_training.safetensors",
        "text",
    )
    write_tensors(target, trained.encoder.state_dict(), {})


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

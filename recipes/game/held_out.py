"""Clips of a part of the game's data, and what they are measured with."""

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mmdisco.core.denoiser import IndependentModels
from mmdisco.data.pairing import evenly_spaced
from mmdisco.errors import UserError
from mmdisco.evaluation.config import EvaluationConfig
from mmdisco.evaluation.evaluate import evaluate
from mmdisco.generation.config import SystemConfig
from mmdisco.generation.presets.registry import system_of
from mmdisco.generation.system import JointSystem
from mmdisco.media.clip import AudioVideo, ClipSpec
from mmdisco.media.read import ReadSpec, read_clip

REFERENCE: Final = 800  # clips that distances are measured to, at most
SIDES: Final = {"video": "video-statistics", "audio": "audio-statistics"}


@dataclass(frozen=True)
class Asked:
    """A clip of the game, whose caption is asked for.

    Attributes:
        path: The clip.
        caption: Its caption.
    """

    path: Path
    caption: str

    @property
    def scenario(self) -> str:
        """Name of the scenario, with which the name of the clip begins."""
        return self.path.stem.rsplit("-", 2)[0]


def listed(folder: Path) -> list[Asked]:
    """Clips of a folder of ``make_clips``, in the order of play.

    Raises:
        UserError: There are fewer than two.
    """
    with (folder / "captions.csv").open(newline="") as file:
        found = [Asked(folder / row["path"], row["caption"]) for row in csv.DictReader(file)]
    if len(found) < 2:
        raise UserError(f"{folder} lists fewer than two clips: make more with make_clips.py")
    return found


def chosen(folder: Path, clips: int) -> list[Asked]:
    """Some clips of a folder, evenly spaced."""
    found = listed(folder)
    return [found[row] for row in evenly_spaced(len(found), clips)]


def link_reference(folder: Path, clips: int, out: Path) -> Path:
    """Link the clips of a folder that are not chosen into ``out``, at most ``REFERENCE``."""
    own = {one.path for one in chosen(folder, clips)}
    others = [one.path for one in listed(folder) if one.path not in own]
    out.mkdir(parents=True, exist_ok=True)
    for path in (others[row] for row in evenly_spaced(len(others), REFERENCE)):
        if not (out / path.name).exists():
            os.link(path, out / path.name)
    return out


def frechet(folder: Path, reference: Path, cache: Path) -> dict[str, float]:
    """Fréchet distances in whitened statistics of frames and of sound, by side.

    None where there are too few clips.
    """
    config = EvaluationConfig(
        generated=folder, reference=reference, metrics=("frechet",), jobs=1, cache=cache
    )
    records = {one["metric"]: one["value"] for one in evaluate(config).record()["metrics"]}
    names = {side: f"Fréchet distance, {name}, whitened" for side, name in SIDES.items()}
    return {side: records[name] for side, name in names.items() if records.get(name) is not None}


def loaded(pair: Path) -> tuple[JointSystem, IndependentModels]:
    """Load a pair that ``mmdisco bases`` made."""
    system = system_of(SystemConfig(preset=str(pair)))
    model = system.model()
    assert isinstance(model, IndependentModels)
    return system, model


def as_heard_and_seen(asked: Sequence[Asked], form: ClipSpec) -> list[AudioVideo]:
    """Read clips at the rates, the size and the length of a pair."""
    spec = ReadSpec(
        seconds=form.seconds, fps=form.fps, size=form.size, sample_rate=form.sample_rate
    )
    return [read_clip(one.path, spec) for one in asked]

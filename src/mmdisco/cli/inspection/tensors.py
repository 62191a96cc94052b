"""Safetensors files: shards of pairs, training checkpoints, weights.

Latents of prepared clips or of fakes as clips again, by the models they were made with.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmdisco.cli.inspection.kind import MOST_CLIPS, FileKind
from mmdisco.data.prepared import PreparedFolder
from mmdisco.errors import UserError
from mmdisco.generation.config import SystemConfig
from mmdisco.generation.presets.registry import system_of
from mmdisco.io.files import read_header, read_object, read_tensors, understood
from mmdisco.media.clip import AudioVideo
from mmdisco.training.checkpoint import TrainingCheckpoint


def decoded(
    folder: Path, audio: Tensor, video: Tensor, titles: Sequence[str], weights: Path | None
) -> Mapping[str, AudioVideo]:
    """Clips by title.

    Args:
        folder: Of prepared clips or of fakes, which says by which models.
        audio: Latents of sound, a clip a row.
        video: Latents of video, likewise.
        titles: One a row.
        weights: Other weights than the folder names.

    Raises:
        UserError: The folder says nothing of models, or they are not here.
    """
    about, told, weight_hashes = _makers(folder)
    chosen = weights or (None if told is None else Path(told))
    with understood(folder):
        config = SystemConfig(preset=about["preset"], weights=chosen, **about["options"])
    pair = system_of(config)
    if not weight_hashes.items() <= dict(pair.weight_hashes()).items():
        raise UserError(
            f"{folder} was made with other weights of {about['preset']}: name them with --weights"
        )
    model = pair.model()
    with torch.no_grad():
        sounds, pictures = model.decode_audio(audio), model.decode_video(video)
    clips = [AudioVideo(a, v) for a, v in zip(sounds, pictures, strict=True)]
    return dict(zip(titles, clips, strict=True))


def _makers(folder: Path) -> tuple[Mapping[str, Any], str | None, Mapping[str, str]]:
    """The record of a folder, where its weights were, and their checksums."""
    if (folder / "fakes.json").is_file():
        record = read_object(folder / "fakes.json")
        # of a device it says nothing: fakes are the same wherever they are made
        options = {**record["options"], "device": "cpu"}
        return {**record, "options": options}, None, record["weights"]
    about = PreparedFolder(folder).about
    return about, about["weights"], about["marks"]


_MOST_LINES = 60


def is_tensors(path: Path) -> bool:
    """Whether a path is named as a safetensors file."""
    return path.is_file() and path.suffix == ".safetensors"


class ShardFile(FileKind):
    """Pairs of latents."""

    def fits(self, path: Path) -> bool:
        """It holds latents of sound."""
        return is_tensors(path) and "audio.z_0" in read_header(path).shapes

    def words(self, path: Path) -> list[str]:
        """Shapes and figures of every tensor."""
        tensors = read_tensors(path)
        kind = read_header(path).metadata.get("kind", "unnamed")
        count = len(tensors["audio.z_0"])
        return [f"a shard of {count} {kind} pairs", *figures(tensors)]

    def clips(self, path: Path, weights: Path | None) -> Mapping[str, AudioVideo]:
        """The first ones, decoded."""
        tensors = read_tensors(path)
        first = range(min(MOST_CLIPS, len(tensors["audio.z_0"])))
        rows = list(first)
        titles = [f"row {row}" for row in rows]
        both = tensors["audio.z_0"][rows], tensors["video.z_0"][rows]
        return decoded(path.parent.parent, *both, titles, weights)


class CheckpointFile(FileKind):
    """The state of a training run."""

    def fits(self, path: Path) -> bool:
        """It says where its run stands."""
        return is_tensors(path) and "run" in read_header(path).metadata

    def words(self, path: Path) -> list[str]:
        """Steps, settings, and how many numbers each group has."""
        checkpoint = TrainingCheckpoint.load(path)
        groups: Counter[str] = Counter()
        for name, tensor in checkpoint.tensors.items():
            groups[name.split(".", 1)[0]] += tensor.numel()
        lines = [f"a training checkpoint after {checkpoint.step} steps"]
        lines += [f"  {name}: {value}" for name, value in checkpoint.settings.items()]
        return lines + [f"{name}: {count:,} numbers" for name, count in groups.items()]


class WeightsFile(FileKind):
    """Any other tensors."""

    def fits(self, path: Path) -> bool:
        """Every safetensors file."""
        return is_tensors(path)

    def words(self, path: Path) -> list[str]:
        """Shapes and types."""
        found = read_header(path)
        numbers = sum(_product(shape) for shape in found.shapes.values())
        lines = [f"weights: {numbers:,} numbers in {len(found.shapes)} tensors"]
        lines += [f"  {name}: {value[:200]}" for name, value in found.metadata.items()]
        rows = [
            f"{name}: {found.types[name]} {list(shape)}" for name, shape in found.shapes.items()
        ]
        rest = len(rows) - _MOST_LINES
        return lines + rows[:_MOST_LINES] + ([f"and {rest} more"] if rest > 0 else [])


def figures(tensors: Mapping[str, Tensor]) -> list[str]:
    """Shape, mean, standard deviation and range of tensors, a line each."""
    lines: list[str] = []
    for name in sorted(tensors):
        tensor = tensors[name]
        said = f"{name}: {str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
        if tensor.numel() and tensor.is_floating_point():
            values = tensor.float()
            low, high = (float(end) for end in torch.aminmax(values))
            spread = float(values.std(correction=0))
            said += f", mean {float(values.mean()):.3f}, std {spread:.3f}, {low:.3f} to {high:.3f}"
        lines.append(said)
    return lines


def _product(shape: Sequence[int]) -> int:
    product = 1
    for side in shape:
        product *= side
    return product

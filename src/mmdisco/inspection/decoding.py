"""Latents of prepared clips or of fakes as clips again, by the models they were made with."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmdisco.errors import UserError
from mmdisco.files import read_object
from mmdisco.media.clip import AudioVideo
from mmdisco.prepare.result import Prepared
from mmdisco.presets import Options, preset


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
    about, told, marks = _makers(folder)
    chosen = weights or (None if told is None else Path(told))
    options = Options.from_record(about["options"], chosen)
    pair = preset(about["preset"]).pair(options)
    if not marks.items() <= dict(pair.marks()).items():
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
    about = Prepared(folder).about
    return about, about["weights"], about["marks"]

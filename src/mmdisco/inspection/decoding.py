"""Latents of a prepared folder as clips again, by the models they were made with."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmdisco.errors import UserError
from mmdisco.media.clip import AudioVideo
from mmdisco.prepare.result import Prepared
from mmdisco.presets import Options, preset


def decoded(
    folder: Path, audio: Tensor, video: Tensor, titles: Sequence[str], weights: Path | None
) -> Mapping[str, AudioVideo]:
    """Clips by title.

    Args:
        folder: A prepared folder, which says by which models.
        audio: Latents of sound, a clip a row.
        video: Latents of video, likewise.
        titles: One a row.
        weights: Other weights than the folder names.

    Raises:
        UserError: The folder is not prepared, or the models are not here.
    """
    about: dict[str, Any] = Prepared(folder).about
    told = about["weights"]
    chosen = weights or (None if told is None else Path(told))
    options = Options.from_record(about["options"], chosen)
    pair = preset(about["preset"]).pair(options)
    if dict(pair.marks()) != about["marks"]:
        raise UserError(
            f"{folder} was made with other weights of {about['preset']}: name them with --weights"
        )
    model = pair.model()
    with torch.no_grad():
        sounds, pictures = model.decode_audio(audio), model.decode_video(video)
    clips = [AudioVideo(a, v) for a, v in zip(sounds, pictures, strict=True)]
    return dict(zip(titles, clips, strict=True))

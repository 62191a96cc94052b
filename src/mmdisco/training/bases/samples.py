"""Pictures of what networks have learnt so far: reconstructions, and clips of held-out captions."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmdisco.adapters.miniature.autoencoder import NormalizedVAE
from mmdisco.adapters.miniature.denoiser import ConvTransformer, VelocityDenoiser
from mmdisco.adapters.miniature.model import MiniatureModel
from mmdisco.core.av import AV
from mmdisco.core.denoiser import IndependentModels
from mmdisco.core.guidance import ConstantScale
from mmdisco.data.pairing import evenly_spaced
from mmdisco.discriminators.wrappers import ZeroLogit
from mmdisco.generation.pipeline import (
    AudioToVideo,
    GenerationRun,
    JointGeneration,
    Task,
    VideoToAudio,
    generate,
)
from mmdisco.generation.system import JointSystem
from mmdisco.io.files import replacing
from mmdisco.media.plots import contact_sheet, draw_clips
from mmdisco.training.bases.autoencoders import as_images

_IMAGES: Final = 8
_OFF: Final = AV(ConstantScale(0.0), ConstantScale(0.0))


def draw_reconstructions(path: Path, autoencoder: NormalizedVAE, pool: Tensor) -> None:
    """Draw images, evenly spaced, above what the autoencoder keeps of them, as PNG.

    Args:
        path: File to write.
        autoencoder: The autoencoder.
        pool: Images (n, c, h, w): frames as bytes, or spectrograms.
    """
    chosen = as_images(pool[evenly_spaced(len(pool), _IMAGES)])
    with torch.no_grad():
        images = torch.cat([chosen, autoencoder.decode(autoencoder.encode(chosen))])
    if images.shape[1] == 1:  # time to the right, high tones above
        images = images.transpose(2, 3).flip(2).expand(-1, 3, -1, -1)
    frames = ((images + 1) / 2).clamp(0, 1).movedim(1, 3).numpy()
    sheet = np.round(contact_sheet(frames, len(chosen)) * 255).astype(np.uint8)
    with replacing(path) as beside:
        Image.fromarray(sheet).save(beside, "PNG")


@dataclass(frozen=True)
class SampleSheets:
    """Sheets of clips that base models make of the same captions and noise.

    Attributes:
        system: System whose autoencoders and text encoder serve.
        captions: Caption of each clip, of either side.
        z_0: Latents of the real clips that the captions describe.
    """

    system: JointSystem
    captions: AV[Sequence[str]]
    z_0: AV[Tensor]

    def draw_side(self, path: Path, side: str, network: ConvTransformer) -> None:
        """Draw clips of which one side is generated and the other one is the real clip's."""
        model = self._model
        own: MiniatureModel[Any] = copy.copy(getattr(model, side))
        own.denoiser = VelocityDenoiser(network, own.schedule)
        both: Mapping[str, MiniatureModel[Any]] = {side: own}
        task: Task
        if side == "audio":
            seen = model.decode_video(self.z_0.video)
            task = VideoToAudio(seen, seen)
        else:
            heard = model.decode_audio(self.z_0.audio)
            task = AudioToVideo(heard, heard)
        self._draw(path, replace(model, **both), task)

    def draw(self, path: Path) -> None:
        """Draw clips of which the system generates both sides."""
        self._draw(path, self._model, JointGeneration())

    @property
    def _model(self) -> IndependentModels:
        model = self.system.model()
        assert isinstance(model, IndependentModels)
        return model

    def _draw(self, path: Path, model: IndependentModels, task: Task) -> None:
        settings = replace(self.system.sampling().settings, joint_scale=_OFF)
        seconds = float(self.system.form.seconds)
        run = GenerationRun(model, ZeroLogit(), settings, task, seconds)
        captions = self.captions.video
        clips = generate(run, self.captions, range(len(captions)))
        titles = [f"{index}: {caption}" for index, caption in enumerate(captions, start=1)]
        draw_clips(path, dict(zip(titles, clips, strict=True)))

"""CLIP, CLAP and VideoMAE as extractors, through transformers: from a folder, or by hub id.

Preprocessing is the library's own, by the settings stored beside the weights; only the choice of
frames and of the rate is made here. The text encoders of CLIP and CLAP are here too.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers import (
    AutoTokenizer,
    ClapAudioModelWithProjection,
    ClapFeatureExtractor,
    CLIPVisionModelWithProjection,
    PreTrainedModel,
    VideoMAEForVideoClassification,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil

from mmdisco.errors import UserError
from mmdisco.evaluation.metrics.extractors import digest
from mmdisco.evaluation.metrics.features import Extractor, Record
from mmdisco.evaluation.metrics.joint_space import DIRECTION, Directions, TextScorer
from mmdisco.media.clip import AudioVideo, Frames, Video
from mmdisco.media.read import resampled

Own = TypeVar("Own", bound="_Network")
Part = TypeVar("Part")


@dataclass(frozen=True)
class _Network(Extractor):
    """A network and its processor.

    Attributes:
        network: The network with its weights, frozen.
        processor: Processor of the library.
        model: Class of the network.
        processing: Class of the processor.
    """

    network: nn.Module
    processor: Any
    model: ClassVar[type[PreTrainedModel]]
    processing: ClassVar[Any]

    @classmethod
    def load(cls: type[Own], path: str) -> Own:
        """Load from a folder or the hub.

        Raises:
            UserError: There is no such model.
        """
        return cls(weights_of(cls.model, path), loaded(cls.processing.from_pretrained, path))

    @cached_property
    def version(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Hash of the weights and of the processor's settings."""
        settings = json.dumps(self.processor.to_dict(), sort_keys=True, default=str)
        return digest(self.network, settings)


class ClipFrames(_Network):
    """CLIP's projected image features, averaged over all frames."""

    name = "clip"
    model = CLIPVisionModelWithProjection
    processing = CLIPImageProcessorPil
    preprocessing = "every frame by CLIPImageProcessor (resize, centre crop, normalise)"

    def read(self, clip: AudioVideo) -> Record:
        """Compute ``features`` and ``direction``, (projection,), means over frames.

        The second averages unit vectors: its dot product with a text's is the mean cosine.
        """
        frames = list(bytes_of(clip.video.frames))
        inputs = self.processor(images=frames, return_tensors="pt")
        with torch.no_grad():
            found = self.network(pixel_values=inputs["pixel_values"]).image_embeds
        directions = found / found.norm(dim=1, keepdim=True)
        return {"features": found.mean(0).numpy(), DIRECTION: directions.mean(0).numpy()}


class ClapSound(_Network):
    """CLAP's projected audio features."""

    name = "clap"
    model = ClapAudioModelWithProjection
    processing = ClapFeatureExtractor
    preprocessing = "resampled to the processor's rate, its first seconds by ClapFeatureExtractor"

    def read(self, clip: AudioVideo) -> Record:
        """Compute ``features`` and ``direction``, the same at length 1, (projection,)."""
        rate = int(self.processor.sampling_rate)
        # cut here, since the processor would take a random part of a longer sound
        heard = resampled(clip.audio, rate).waveform[: int(self.processor.nb_max_samples)]
        inputs = self.processor(heard, sampling_rate=rate, return_tensors="pt")
        with torch.no_grad():
            found = self.network(
                input_features=inputs["input_features"], is_longer=inputs["is_longer"]
            ).audio_embeds
        direction = found[0] / found[0].norm()
        return {"features": found[0].numpy(), DIRECTION: direction.numpy()}


class VideoMae(_Network):
    """VideoMAE: last hidden state averaged over tokens, and the logits of its classes."""

    name = "videomae"
    model = VideoMAEForVideoClassification
    processing = VideoMAEImageProcessorPil
    preprocessing = "frames evenly spaced, first and last among them, by VideoMAEImageProcessor"

    def read(self, clip: AudioVideo) -> Record:
        """Compute ``features`` (hidden,) and ``logits`` (classes,)."""
        config: Any = self.network.config
        frames = list(bytes_of(evenly_spaced(clip.video, config.num_frames)))
        inputs = self.processor(frames, return_tensors="pt")
        with torch.no_grad():
            found = self.network(pixel_values=inputs["pixel_values"], output_hidden_states=True)
        features = found.hidden_states[-1].mean(1)[0]
        return {"features": features.numpy(), "logits": found.logits[0].numpy()}


def bytes_of(frames: Frames) -> npt.NDArray[np.uint8]:
    """Convert frames in [0, 1] to bytes, as every processor expects them."""
    return np.round(frames * 255).clip(0, 255).astype(np.uint8)


def evenly_spaced(video: Video, count: int) -> Frames:
    """Select ``count`` frames, first and last included; frames of a short clip are repeated."""
    places = np.round(np.linspace(0, len(video.frames) - 1, count)).astype(np.int64)
    return video.frames[places]


def weights_of(kind: type[PreTrainedModel], path: str) -> nn.Module:
    """Load a network with all its weights from a folder or the hub, frozen.

    Raises:
        UserError: It is missing, or lacks weights, which would be drawn at random.
    """
    load: Any = kind.from_pretrained
    network, report = loaded(lambda one: load(one, output_loading_info=True), path)
    lacking = [*report["missing_keys"], *(str(one[0]) for one in report["mismatched_keys"])]
    if lacking:
        raise UserError(f"{path} is no {kind.__name__}: it lacks {sorted(lacking)[0]}")
    return network.eval().requires_grad_(False)  # noqa: FBT003


def loaded(load: Callable[[str], Part], path: str) -> Part:
    """Call ``load`` on a folder or a hub id.

    Raises:
        UserError: It is missing, or is something else.
    """
    try:
        return load(path)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"cannot load the network {path}: {reason}") from error


_AT_ONCE = 32


@dataclass(frozen=True)
class TextNetwork(TextScorer):
    """A network with projected text features, and its tokenizer; long texts are truncated.

    Attributes:
        network: The network, frozen.
        tokenizer: Tokenizer of the library.
    """

    network: nn.Module
    tokenizer: Any

    @staticmethod
    def load(kind: type[PreTrainedModel], path: str) -> "TextNetwork":
        """Load the text encoder of CLIP or CLAP from a folder or the hub.

        Raises:
            UserError: There is no such model.
        """
        return TextNetwork(weights_of(kind, path), loaded(_tokenizer, path))

    def directions(self, texts: Sequence[str]) -> Directions:
        """Compute projected features, (texts, projection), of length 1."""
        found: list[Directions] = []
        for start in range(0, len(texts), _AT_ONCE):
            some = list(texts[start : start + _AT_ONCE])
            inputs = self.tokenizer(some, padding=True, truncation=True, return_tensors="pt")
            with torch.no_grad():
                projected = self.network(
                    input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]
                ).text_embeds
            found.append(projected.float().numpy())
        rows = np.concatenate(found)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _tokenizer(path: str) -> Any:
    # otherwise a folder that brings its own code would cause a prompt at the terminal
    return AutoTokenizer.from_pretrained(path, trust_remote_code=False)

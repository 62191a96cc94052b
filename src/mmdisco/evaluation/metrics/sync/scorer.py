"""Sync scorer: a small model of whether a sound belongs to a video, and of their lag.

It embeds video and sound as one vector for every tenth of a second; the logit of a pair is the mean
dot product of simultaneous vectors. So all pairs of n clips cost n encodings, and the lag is found
by sliding one sequence along the other. A vector has three parts: from a network trained on
sounding objects, and from canonical pairs fitted to a film, one for whole clips and one for their
moments; see ``recipes/embedded/train_sync.py``. It uses no latents and no guidance.
"""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from mmdisco.evaluation.metrics.sync.canonical_correlation import (
    CanonicalPair,
    moments_heard,
    moments_seen,
    whole_heard,
    whole_seen,
)
from mmdisco.evaluation.metrics.sync.network import COLUMNS, RATE, SIDE, SyncNetwork
from mmdisco.io.files import read_tensors
from mmdisco.media.clip import Audio, AudioVideo, Video
from mmdisco.media.mel import MelScale
from mmdisco.media.read import resampled
from mmdisco.shapes import AudioLatent, Clips, Logits, Steps

PACKAGED: Final = Path(__file__).parent / "weights" / "sync_scorer.safetensors"
LEAST_STEPS: Final = 8

_SAMPLE_RATE: Final = 16_000
_WHOLE: Final = (100, 30)  # number of features of sound and of video
_MOMENTS: Final = (99, 54)
_VARIATES: Final = (8, 2)
# neighbouring moments are nearly redundant, so they are weighted by a third
_WORTH: Final = 1 / 3
# weight of the network's logits, which are overconfident on unfamiliar clips
_NETWORK: Final = 0.2

Embedding = npt.NDArray[np.float32]  # (steps, width)


class SyncScorer(nn.Module):
    """Embeddings (b, steps, width) of video and of sounds, and the logits of their pairs."""

    def __init__(self) -> None:
        super().__init__()
        self.network = SyncNetwork()
        self.whole = CanonicalPair(_WHOLE, _VARIATES[0])
        self.moments = CanonicalPair(_MOMENTS, _VARIATES[1])

    def embed_video(self, frames: Clips) -> Steps:
        """Embed video (b, steps, 32, 32, 3) in [0, 1], ten frames per second."""
        steps = frames.shape[1]
        own = _NETWORK * self.network.log_scale.exp() * self.network.embed_video(frames)
        whole = self.whole.embed_video(whole_seen(frames)).expand(-1, steps, -1)
        moments = _WORTH * steps * self.moments.embed_video(moments_seen(frames))
        return torch.cat([own, whole, moments], 2)

    def embed_audio(self, mel: AudioLatent) -> Steps:
        """Embed spectrograms (b, 1, 8 · steps, 64) of ``MelScale().analyse``."""
        own = self.network.embed_audio(mel)
        whole = self.whole.embed_audio(whole_heard(mel)).expand(-1, own.shape[1], -1)
        return torch.cat([own, whole, self.moments.embed_audio(moments_heard(mel))], 2)

    def logits(self, sounds: Steps, pictures: Steps) -> Logits:
        """Compute the logit of every sound with every video, (sounds, videos), of equal lengths.

        Larger for pairs that belong together; the value 0 has no special meaning.
        """
        return torch.einsum("atd,vtd->av", sounds, pictures) / sounds.shape[1]


def load_scorer(path: Path = PACKAGED) -> SyncScorer:
    """Load the scorer with the weights of ``path``, frozen.

    Raises:
        UserError: There is no such file, or it is damaged.
    """
    scorer = SyncScorer()
    scorer.load_state_dict({name: value.float() for name, value in read_tensors(path).items()})
    return scorer.eval().requires_grad_(False)  # noqa: FBT003


def picture_of(video: Video) -> Tensor:
    """Resample frames to the scorer's input, (steps, 32, 32, 3): the one shown at each tenth.

    Only whole tenths of a second are used; any size is averaged to 32×32.
    """
    steps = int(video.seconds * RATE)
    shown = np.array([int(step * video.fps / RATE) for step in range(steps)], np.int64)
    frames = torch.from_numpy(video.frames[shown]).movedim(3, 1)
    return interpolate(frames, (SIDE, SIDE), mode="area").movedim(1, 3)


def sound_of(audio: Audio) -> Tensor:
    """Compute the scorer's spectrogram, (1, 8 · steps, 64), of whole tenths of a second."""
    heard = resampled(audio, _SAMPLE_RATE).waveform
    scale = MelScale()
    whole = len(heard) // (COLUMNS * scale.hop) * COLUMNS * scale.hop
    return scale.analyse(torch.from_numpy(np.ascontiguousarray(heard[:whole]))[None])[0]


def embed(scorer: SyncScorer, clip: AudioVideo) -> tuple[Embedding, Embedding]:
    """Embed sound and video of one clip, in equally many steps.

    Raises:
        ValueError: The clip is shorter than 0.8 s.
    """
    picture, sound = picture_of(clip.video), sound_of(clip.audio)
    steps = min(len(picture), sound.shape[1] // COLUMNS)
    if steps < LEAST_STEPS:
        raise ValueError(f"a clip must last {LEAST_STEPS / RATE} s, not {steps / RATE} s")
    with torch.no_grad():
        heard = scorer.embed_audio(sound[None, :, : steps * COLUMNS])[0]
        seen = scorer.embed_video(picture[None, :steps])[0]
    return heard.numpy(), seen.numpy()

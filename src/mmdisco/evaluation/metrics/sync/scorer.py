"""Sync scorer: a small model of whether a sound belongs to a video, and of their lag.

It embeds video and sound as one vector for every tenth of a second; the logit of a pair is the mean
dot product of simultaneous vectors. So all pairs of n clips cost n encodings, and the lag is found
by sliding one sequence along the other. A vector has three parts: from a network trained on
sounding objects, and from canonical pairs fitted to a film, one for whole clips and one for their
moments; see ``recipes/embedded/train_sync.py``. It uses no latents and no guidance.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import rankdata
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
from mmdisco.io.shapes import AudioLatent, Clips, Logits, Steps
from mmdisco.media.clip import Audio, AudioVideo, Video
from mmdisco.media.mel import MelScale
from mmdisco.media.read import resampled

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


MOST: Final = 6  # steps that a sound may be late or early

Scores = npt.NDArray[np.floating]  # (sounds, pictures)


def auc(positive: Scores, negative: Scores) -> float:
    """Compute the probability that a positive scores above a negative, ties counted half.

    The area under the ROC curve (Mann and Whitney 1947).

    Args:
        positive: (n,), n ≥ 1.
        negative: (m,), m ≥ 1.
    """
    ranks = rankdata(np.concatenate([positive, negative]))
    n, m = len(positive), len(negative)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def pair_auc(scores: Scores) -> float:
    """Compute the AUC of the diagonal, the true pairs, against all shuffled pairs."""
    own = np.eye(len(scores), dtype=bool)
    return auc(scores[own], scores[~own])


def shuffled_auc(scores: Scores, seed: int, most: int = 20) -> float:
    """Compute the AUC of every other shuffle against the rest: 0.5 for an unbiased scorer.

    Over a single shuffle it would vary widely for few clips.
    """
    order = np.random.default_rng(seed).permutation(len(scores))
    moved = [scores[order, np.roll(order, k)] for k in range(1, min(most, len(scores) - 1) + 1)]
    return auc(np.concatenate(moved[::2]), np.concatenate(moved[1::2]))


@dataclass(frozen=True, slots=True)
class Lag:
    """Lag of a sound.

    Attributes:
        seconds: Positive if the sound comes after its video; between tenths by a parabola.
        peak: Score at the best whole step, minus the mean over all steps tried.
    """

    seconds: float
    peak: float


def lag(sound: Embedding, picture: Embedding, most: int = MOST) -> Lag:
    """Find the delay at which sound and video fit best, at most ``most`` steps either way.

    At least half of the clip overlaps at every delay tried, so ``most`` is lowered in short clips.
    """
    steps, scores = by_delay(sound, picture, most)
    best = int(scores.argmax())
    offset = 0.0
    if 0 < best < len(scores) - 1:
        before, at, after = scores[best - 1 : best + 2]
        bend = before - 2 * at + after
        offset = 0.5 * (before - after) / bend if bend < 0 else 0.0
    return Lag(float(steps[best] + offset) / RATE, float(scores[best] - scores.mean()))


def by_delay(
    sound: Embedding, picture: Embedding, most: int = MOST
) -> tuple[npt.NDArray[np.int_], Scores]:
    """Score the pair at each delay of the sound, in steps."""
    most = min(most, len(sound) // 2)
    steps = np.arange(-most, most + 1)
    return steps, np.array([_overlap(sound, picture, int(step)) for step in steps])


def _overlap(sound: Embedding, picture: Embedding, step: int) -> float:
    """Compute the mean dot product where the sound is taken ``step`` steps later than the video."""
    later, earlier = sound[max(0, step) :], picture[max(0, -step) :]
    length = min(len(later), len(earlier))
    return float(np.einsum("td,td->", later[:length], earlier[:length]) / length)

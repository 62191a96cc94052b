"""Trains the sync scorer on sounding objects and fits it to a film with sound.

``python recipes/embedded/train_sync.py --film FILM.mp4 --out DIR``. The network learns of
sounding objects: every clip comes in two takes, the second some tenths of a second later, and in a
batch each sound is told from all others, the other take of its own clip among them. Ten minutes of
film have too few moments for a network, which learns them by heart; it is taught to say nothing
there. What straight lines tell of the film is fitted exactly, to two of every three blocks of forty
seconds. Beside the weights lies ``sync_scorer.json`` with what the scorer reaches on held-out
clips; for the film also with each other third of the blocks held out.
"""

import argparse
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from film_clips import (
    STEPS,
    clips_of,
    held_out_blocks,
    loudness,
    median_loudness,
    training_blocks,
)
from progress import lines, progress
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy, logsigmoid

from mmdisco.evaluation.metrics.sync.canonical_correlation import (
    moments_heard,
    moments_seen,
    whole_heard,
    whole_seen,
)
from mmdisco.evaluation.metrics.sync.network import COLUMNS, RATE, SyncNetwork
from mmdisco.evaluation.metrics.sync.scorer import (
    SyncScorer,
    embed,
    pair_auc,
    picture_of,
    shuffled_auc,
    sound_of,
)
from mmdisco.io.files import sha256, write_json, write_tensors
from mmdisco.media.clip import AudioVideo
from mmdisco.media.read import ReadSpec, read_clip
from mmdisco.media.sounding_objects.dataset import example
from mmdisco.training.bases.config import FitConfig
from mmdisco.training.bases.fit import FitRun

CLIPS = 4000
HELD_OUT = 500
SEED = 9  # apart from the clips that everything else is trained on
LATEST = 6  # steps by which the second take may be late
BATCH = 12  # clips of each kind
SCHEDULE = FitConfig(steps=1500, weight_decay=0.02)
SILENCE = 0.1  # weight of the network's squared logits on the film
RIDGE = 3.0  # of the canonical pairs
EVERY = 4  # steps from one clip of the film to the next


@dataclass(frozen=True)
class Source:
    """Sequences to cut clips from.

    Attributes:
        pictures: (sequences, steps, 32, 32, 3) bytes.
        sounds: (sequences, 1, 8 · steps, 64).
        starts: Where clips may begin: (n, 2) of sequence and step; a take ``LATEST`` steps later
            begins in the sequence too.
    """

    pictures: Tensor
    sounds: Tensor
    starts: Tensor

    def takes(self, generator: Generator) -> tuple[Tensor, Tensor]:
        """Pictures and sounds of ``BATCH`` clips, then of the same clips some steps later."""
        chosen = self.starts[torch.randint(len(self.starts), (BATCH,), generator=generator)]
        late = torch.randint(1, LATEST + 1, (BATCH,), generator=generator)
        pictures, sounds = [], []
        for offset in (torch.zeros_like(late), late):
            for (row, first), step in zip(chosen.tolist(), offset.tolist(), strict=True):
                begin = first + step
                pictures.append(self.pictures[row, begin : begin + STEPS])
                sounds.append(self.sounds[row, :, begin * COLUMNS : (begin + STEPS) * COLUMNS])
        return torch.stack(pictures).float() / 255, torch.stack(sounds)


def objects(seed: int) -> Source:
    """Sounding objects; what comes before and after is the first and last frame, and silence."""
    room = STEPS + 2 * LATEST
    pictures = torch.empty(CLIPS, room, 32, 32, 3, dtype=torch.uint8)
    sounds = torch.full((CLIPS, 1, room * COLUMNS, 64), -1.0)
    for index in progress(range(CLIPS), "clips"):
        clip = example(seed + SEED, index).clip
        frames = (picture_of(clip.video) * 255).round().to(torch.uint8)
        pictures[index, :LATEST] = frames[:1]
        pictures[index, LATEST:-LATEST] = frames
        pictures[index, -LATEST:] = frames[-1:]
        sounds[index, :, LATEST * COLUMNS : -LATEST * COLUMNS] = sound_of(clip.audio)
    # earlier takes of half of them, later ones of the others
    rows = torch.arange(CLIPS)
    return Source(pictures, sounds, torch.stack([rows, LATEST * (rows % 2)], 1))


def film_source(film: AudioVideo) -> Source:
    """The film's training blocks as one sequence."""
    pictures = (picture_of(film.video) * 255).round().to(torch.uint8)[None]
    sounds = sound_of(film.audio)[None]
    training = training_blocks(min(pictures.shape[1], sounds.shape[2] // COLUMNS))
    starts = [s for block in training for s in range(block.start, block.stop - STEPS - LATEST)]
    return Source(pictures, sounds, torch.tensor([[0, s] for s in starts]))


def fit_to_film(scorer: SyncScorer, film: AudioVideo, third: int) -> None:
    """Fit the canonical pairs, in place, to all blocks of the film but one third."""
    pictures, sounds = picture_of(film.video), sound_of(film.audio)
    blocks = training_blocks(min(len(pictures), sounds.shape[1] // COLUMNS), third)
    starts = [start for block in blocks for start in block[: -STEPS + 1 : EVERY]]
    seen = torch.stack([pictures[start : start + STEPS] for start in starts])
    heard = torch.stack(
        [sounds[:, start * COLUMNS : (start + STEPS) * COLUMNS] for start in starts]
    )
    for pair, hear, see in (
        (scorer.whole, whole_heard, whole_seen),
        (scorer.moments, moments_heard, moments_seen),
    ):
        pair.fit(hear(heard).flatten(0, 1), see(seen).flatten(0, 1), RIDGE)


def held_out_film(film: AudioVideo, third: int) -> list[AudioVideo]:
    """Clips of the held-out blocks that are louder than the film's median clip."""
    median = median_loudness(film)
    clips = clips_of(film, held_out_blocks(len(film.video.frames), third), STEPS // 2)
    return [clip for clip in clips if loudness(clip) > median]


def augmented(pictures: Tensor, sounds: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Both takes of a clip changed alike, in what does not tell whether they belong together."""

    def one(spread: float, width: int = 1) -> Tensor:
        return (spread * torch.randn(BATCH, width, generator=generator)).repeat(2, 1)

    mirrored = (one(1.0) > 0)[..., None, None, None]
    pictures = torch.where(mirrored, pictures.flip(3), pictures)
    pictures = pictures * (1 + one(0.1, 3)[:, None, None, None]) + one(0.05)[..., None, None, None]
    pictures = pictures + 0.02 * torch.randn(pictures.shape, generator=generator)
    sounds = sounds + one(0.1)[..., None, None]
    return pictures, sounds + 0.1 * torch.randn(sounds.shape, generator=generator)


def contrast(scorer: SyncNetwork, pictures: Tensor, sounds: Tensor) -> Tensor:
    """Each sound's own picture among all, each picture's own sound, and the absolute logits."""
    logits = scorer.logits(scorer.embed_audio(sounds), scorer.embed_video(pictures))
    own = torch.arange(len(logits))
    other = (own + BATCH) % len(logits)
    among = cross_entropy(logits, own) + cross_entropy(logits.T, own)
    wrong = logsigmoid(-logits)
    easy = ~torch.eye(len(logits), dtype=torch.bool)
    easy[own, other] = False
    absolute = logsigmoid(logits[own, own]).mean()
    absolute = absolute + (wrong[easy].mean() + wrong[own, other].mean()) / 2
    return among / 2 - absolute


def outspokenness(network: SyncNetwork, pictures: Tensor, sounds: Tensor) -> Tensor:
    """Mean square of what the network says of all pairs, beside its constant."""
    logits = network.logits(network.embed_audio(sounds), network.embed_video(pictures))
    return (logits - network.bias).square().mean()


def figures(scorer: SyncScorer, clips: list[AudioVideo]) -> dict[str, float]:
    """AUC of true pairs against exchanged ones, and of exchanged ones against one another.

    Neighbouring clips overlap by half, so that exchanged pairs include near misses.
    """
    pairs = [embed(scorer, clip) for clip in clips]
    sounds, pictures = np.stack([a for a, _ in pairs]), np.stack([v for _, v in pairs])
    scores = np.einsum("atd,vtd->av", sounds, pictures)
    return {
        "clips": len(clips),
        "paired against shuffled": round(pair_auc(scores), 4),
        "shuffled against shuffled": round(shuffled_auc(scores, seed=0), 4),
    }


def main() -> None:
    """Make the clips, train the scorer, measure it on what was held out."""
    parser = argparse.ArgumentParser(description="Train the sync scorer.")
    parser.add_argument("--film", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/embedded"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    film = read_clip(options.film, ReadSpec(fps=Fraction(RATE)))
    source, cinema = objects(options.seed), film_source(film)

    def loss_of(step: int, generator: Generator) -> Tensor:
        del step
        own = contrast(network, *augmented(*source.takes(generator), generator))
        strange = augmented(*cinema.takes(generator), generator)
        return own + SILENCE * outspokenness(network, *strange)

    network = SyncNetwork()
    checkpoint = options.out / "sync_scorer_training.safetensors"
    run = FitRun(SCHEDULE, 0, checkpoint, lines("sync scorer", SCHEDULE.steps))
    trained: nn.Module = run.fit(network, loss_of)
    scorer = SyncScorer()
    scorer.network.load_state_dict(trained.state_dict())
    scorer.network.half().float()  # as it is kept
    of_film: list[dict[str, float]] = []
    for third in (0, 2, 1):  # the packaged one last
        fit_to_film(scorer, film, third)
        of_film.append(figures(scorer, held_out_film(film, third)))
    target = options.out / "sync_scorer.safetensors"
    tensors = scorer.state_dict() | {
        f"network.{name}": value.half() for name, value in scorer.network.state_dict().items()
    }
    write_tensors(target, tensors, {"film": sha256(options.film)})
    clips = [example(options.seed + SEED, CLIPS + k).clip for k in range(HELD_OUT)]
    record = {
        "sounding objects": figures(scorer, clips),
        "film, louder half": of_film[-1],
        "film, louder half, other thirds held out": of_film[:-1],
        "seed": options.seed,
        "film": sha256(options.film),
    }
    write_json(options.out / "sync_scorer.json", record)


if __name__ == "__main__":
    main()

"""Writes docs/unchosen: thirty-two clips of the embedded pair that nobody chose, in four ways.

    python website/unchosen.py [--out docs/unchosen]

Seeds 0 to 31, each with a caption of the held-out data: the models alone, together, the best of
four candidates, and together in eight steps, all from the noise of the seed. For each way a film of
all clips one after another; sheets of frames and waveforms with the instants that are seen and
heard; and a table of what readers of pixels and of waveforms, which know nothing of the
discriminator, make of them.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from gallery import INK, MARK, enlarged, save
from PIL import Image, ImageDraw, ImageFont

from mmdisco import generate
from mmdisco.evaluation.metrics.sounding_objects.agreement import Reading, agreement, read
from mmdisco.experiments.miniature.evaluation import CLIPS_PER_CAPTION, asked_of, held_out
from mmdisco.generation.metadata import libraries
from mmdisco.io.files import write_text
from mmdisco.io.reports import markdown_table
from mmdisco.media.clip import Audio, AudioVideo, Video
from mmdisco.media.write import write_clip

ROOT: Final = Path(__file__).resolve().parents[1]
WAYS: Final[dict[str, dict[str, Any]]] = {
    "alone": {"no_joint_guidance": True},
    "together": {},
    "best of 4": {"candidates": 4},
    "8 steps": {"steps": 8},
}
SEEDS: Final = range(32)
ROWS: Final = 8  # of a sheet
SHOWN: Final = 8  # frames of a clip in a sheet
FRAME: Final = 44  # pixels of such a frame
STRIP: Final = 34  # pixels of the waveform below it
GAP: Final = 10
HEAD: Final = 20  # pixels of a title
SIDE: Final = 160  # pixels of a clip in a film
COLUMNS: Final = {
    "event F1": "event_f1",
    "all events match": "exact",
    "colour seen = timbre heard": "material",
    "size seen = pitch heard": "size",
    "kind seen as named": "caption_kind",
    "kind heard as named": "caption_kind_heard",
    "colour seen as named": "caption_colour",
}


@dataclass(frozen=True)
class Unchosen:
    """The clips of one seed.

    Attributes:
        seed: Seed of the noise.
        caption: Prompt of all of them.
        clips: The clip of each way, by its name.
        readings: What is seen and heard in each.
    """

    seed: int
    caption: str
    clips: dict[str, AudioVideo]
    readings: dict[str, Reading]


def main(words: Sequence[str] | None = None) -> None:
    """Write films, sheets and the page."""
    parser = argparse.ArgumentParser(description="Write the page of clips that nobody chose.")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "unchosen")
    parser.add_argument("--weights", type=Path, help="folder of another pair")
    options = parser.parse_args(words)
    options.out.mkdir(parents=True, exist_ok=True)
    made = [make(seed, options.weights) for seed in SEEDS]
    for way in WAYS:
        write_clip(options.out / film(way), joined([one.clips[way] for one in made]))
    parts = [made[start : start + ROWS] for start in range(0, len(made), ROWS)]
    for number, part in enumerate(parts):
        save(options.out / f"sheet-{number}.png", sheet(part))
    page = options.out / "README.md"
    said = page.read_text().partition(SAID)[2] if page.exists() else "\n"
    write_text(page, written(made, len(parts)) + SAID + said)


def make(seed: int, weights: Path | None) -> Unchosen:
    """Generate and read the clips of a seed."""
    index = seed * CLIPS_PER_CAPTION
    caption, named = held_out(index).caption.text, asked_of(index)
    clips: dict[str, AudioVideo] = {}
    for way, options in WAYS.items():
        (clips[way],) = generate(caption, seed=seed, weights=weights, **options)
    return Unchosen(seed, caption, clips, {way: read(one, named) for way, one in clips.items()})


def film(way: str) -> str:
    """Name of the film of a way."""
    return f"{way.replace(' ', '-')}.mp4"


def joined(clips: Sequence[AudioVideo]) -> AudioVideo:
    """Return all clips one after another, enlarged."""
    first = clips[0]
    frames = [
        (np.asarray(enlarged(clip, index, SIDE)) / 255).astype(np.float32)
        for clip in clips
        for index in range(len(clip.video.frames))
    ]
    sound = np.concatenate([one.audio.waveform for one in clips])
    video = Video(np.stack(frames), first.video.fps)
    return AudioVideo(Audio(sound, first.audio.sample_rate), video)


def sheet(part: Sequence[Unchosen]) -> Image.Image:
    """Draw some seeds, a row each, with the clips of all ways beside each other."""
    wide, high = SHOWN * FRAME + GAP, 2 * HEAD + FRAME + STRIP + GAP
    drawn = Image.new("RGB", (len(WAYS) * wide + GAP, len(part) * high + GAP), "white")
    draw, font = ImageDraw.Draw(drawn), ImageFont.load_default(13)
    for row, one in enumerate(part):
        top = GAP + row * high
        draw.text((GAP, top), f"seed {one.seed}: {one.caption}", fill="black", font=font)
        for column, (way, clip) in enumerate(one.clips.items()):
            left = GAP + column * wide
            draw.text((left, top + HEAD - 2), way, fill="gray", font=font)
            count = len(clip.video.frames)
            for place, index in enumerate(np.linspace(0, count - 1, SHOWN).round().astype(int)):
                at = (left + place * FRAME, top + 2 * HEAD)
                drawn.paste(enlarged(clip, int(index), FRAME - 2), at)
            corner = (left, top + 2 * HEAD + FRAME)
            instants(draw, clip, one.readings[way], corner, SHOWN * FRAME - 2)
    return drawn


def instants(
    draw: ImageDraw.ImageDraw,
    clip: AudioVideo,
    reading: Reading,
    corner: tuple[int, int],
    width: int,
) -> None:
    """Draw a waveform, marks above it where something is seen and below it where it is heard."""
    left, top = corner
    middle, loudest = top + STRIP / 2, max(float(np.abs(clip.audio.waveform).max()), 0.05)
    for x, part in enumerate(np.array_split(clip.audio.waveform, width)):
        reach = float(np.abs(part).max()) / loudest * (STRIP / 2 - 7)
        draw.line((left + x, middle - reach, left + x, middle + reach), fill=INK)
    seconds = len(clip.audio.waveform) / clip.audio.sample_rate
    ends = ((reading.sight, top), (reading.hearing, top + STRIP - 7))
    for found, y in ends:
        for time in found.events:
            x = left + float(time) / seconds * width
            draw.line((x, y, x, y + 6), fill=MARK, width=2)


INTRODUCTION: Final = """
Clips of the [embedded pair](../embedded/README.md), every seed from 0 on, none left out, each with
a caption of the held-out data, in four ways from the same noise: the two models *alone*,
*together*, the *best of 4* candidates by the discriminator's logit, and together in *8 steps*.
Marks above a waveform: something is seen to strike or flash; below it: it is heard.
"""
SAID: Final = "\n## What is still wrong\n"


def written(made: Sequence[Unchosen], sheets: int) -> str:
    """Return the page, up to what was written by hand after looking and listening."""
    rows = []
    for way in WAYS:
        shares = agreement([one.readings[way] for one in made])
        rows.append([way, *(f"{shares[key].value:.2f}" for key in COLUMNS.values())])
    versions = ", ".join(f"{name} {one}" for name, one in libraries("mmdisco", "torch").items())
    lines = [
        f"# {len(made)} clips that nobody chose",
        INTRODUCTION,
        *(f"- [Film of all clips: {way}]({film(way)})" for way in WAYS),
        "",
        markdown_table(["", *COLUMNS], rows),
        "",
        "Read from pixels and waveforms alone, by `mmdisco.evaluation.metrics`, which know nothing",
        f"of the discriminator. Written by `python website/unchosen.py` with {versions}.",
        "",
    ]
    for number in range(sheets):
        first = made[number * ROWS].seed
        last = made[min(number * ROWS + ROWS, len(made)) - 1].seed
        about = f"Frames and waveforms of the seeds {first} to {last}, in four ways"
        lines += [f"![{about}](sheet-{number}.png)", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()

"""Writes docs/gallery: clips of the embedded pair, alone and together, of seeds nobody chose.

    python website/gallery.py [--out docs/gallery]

Every prompt of a short list with the first two seeds, none left out: for each a clip of the models
alone and one of them together, from one noise; a picture of both; and a page. The first of them is
in ``alone-together.gif`` too, moving, for README.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mmdisco import generate
from mmdisco.generation.metadata import libraries
from mmdisco.io.files import replacing, write_text
from mmdisco.media.clip import AudioVideo
from mmdisco.media.plots import draw_clips
from mmdisco.media.write import write_clip

ROOT: Final = Path(__file__).resolve().parents[1]
PROMPTS: Final = (
    "a drum being hit",
    "a red ball bouncing",
    "a blue bell rings",
    "a lamp flashing",
)
SEEDS: Final = (0, 1)
MAGNIFIED: Final = 3  # of the 64 pixels of a frame
COLOURS: Final = 96  # of a picture
SIDE: Final = 256  # pixels of a clip in the moving picture
STRIP: Final = 56  # pixels of the waveform below it
HEAD: Final = 26  # pixels of its title
GAP: Final = 16
INK: Final = (43, 92, 138)
MARK: Final = (214, 72, 24)
TITLES: Final = {"alone": "alone", "together": "together, guided"}

INTRODUCTION: Final = """# Gallery

Clips of the [embedded pair](../embedded/README.md). *Alone*: the two models side by side, which
share the prompt and nothing else. *Together*: the same noise with joint guidance. Look when
something is struck or flashes, and listen whether it sounds then. Every prompt of a short list has
the seeds {seeds}; none was chosen and none is left out. A click on a picture plays the clip.

<!-- not run: writes these pages anew -->

```sh
python website/gallery.py
```
"""


@dataclass(frozen=True)
class Pair:
    """The clips of one prompt and seed.

    Attributes:
        prompt: Prompt of both.
        seed: Seed of the noise that both began with.
        clips: The clip of each way, by its name.
    """

    prompt: str
    seed: int
    clips: dict[str, AudioVideo]

    @property
    def name(self) -> str:
        """Beginning of the names of its files."""
        return f"{self.prompt.replace(' ', '-')}-{self.seed}"


def main(words: Sequence[str] | None = None) -> None:
    """Write all clips, pictures and the page."""
    parser = argparse.ArgumentParser(description="Write the gallery.")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "gallery")
    parser.add_argument("--weights", type=Path, help="folder of another pair")
    parser.add_argument("--steps", type=int, help="of the sampler; the best number if left out")
    options = parser.parse_args(words)
    pairs: list[Pair] = []
    for prompt in PROMPTS:
        for seed in SEEDS:
            pair = make(prompt, seed, options.weights, options.steps)
            write(pair, options.out)
            pairs.append(pair)
    write_moving_picture(options.out / "alone-together.gif", pairs[0])
    write_text(options.out / "README.md", page(pairs))


def make(prompt: str, seed: int, weights: Path | None, steps: int | None) -> Pair:
    """Generate both clips of a prompt and a seed."""
    clips: dict[str, AudioVideo] = {}
    for name, unguided in (("alone", True), ("together", False)):
        (clips[name],) = generate(
            prompt, seed=seed, steps=steps, weights=weights, no_joint_guidance=unguided
        )
    return Pair(prompt, seed, clips)


def write(pair: Pair, folder: Path) -> None:
    """Write both clips, the middle frame of each, and a picture of both."""
    for name, clip in pair.clips.items():
        write_clip(folder / f"{pair.name}-{name}.mp4", clip, MAGNIFIED)
        frame = enlarged(clip, len(clip.video.frames) // 2, 64 * MAGNIFIED)
        save(folder / f"{pair.name}-{name}.png", frame)
    whole = folder / f"{pair.name}.png"
    draw_clips(whole, {TITLES[name]: clip for name, clip in pair.clips.items()})
    with Image.open(whole) as drawn:
        save(whole, drawn.convert("RGB").resize((drawn.width * 2 // 3, drawn.height * 2 // 3)))


def save(path: Path, picture: Image.Image) -> None:
    """Write a picture of few colours as PNG."""
    few = picture.quantize(COLOURS, dither=Image.Dither.NONE)
    with replacing(path) as beside:
        few.save(beside, "PNG", optimize=True)


def enlarged(clip: AudioVideo, index: int, side: int) -> Image.Image:
    """Return a frame at another size."""
    frame = (np.clip(clip.video.frames[index], 0, 1) * 255).round().astype(np.uint8)
    return Image.fromarray(frame).resize((side, side), Image.Resampling.BICUBIC)


def write_moving_picture(path: Path, pair: Pair) -> None:
    """Write both clips side by side as a GIF, with a mark that runs along either waveform."""
    count = len(pair.clips["alone"].video.frames)
    drawn = [still(pair, index) for index in range(count)]
    few = drawn[count // 2].quantize(COLOURS)
    frames = [one.quantize(palette=few, dither=Image.Dither.NONE) for one in drawn]
    each = round(1000 / float(pair.clips["alone"].video.fps))
    content = BytesIO()
    pauses = [each] * (count - 1) + [each * 5]
    frames[0].save(content, "GIF", save_all=True, append_images=frames[1:], duration=pauses, loop=0)
    with replacing(path) as beside:
        beside.write_bytes(content.getvalue())


def still(pair: Pair, index: int) -> Image.Image:
    """Return one frame of the moving picture."""
    width, height = 2 * SIDE + 3 * GAP, HEAD + SIDE + STRIP + 2 * GAP
    sheet = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for column, (name, clip) in enumerate(pair.clips.items()):
        left = GAP + column * (SIDE + GAP)
        draw.text((left, 6), TITLES[name], fill="black", font=font)
        sheet.paste(enlarged(clip, index, SIDE), (left, HEAD))
        waveform(draw, clip, (left, HEAD + SIDE + GAP // 2), (index + 0.5) / len(clip.video.frames))
    return sheet


def waveform(
    draw: ImageDraw.ImageDraw, clip: AudioVideo, corner: tuple[int, int], passed: float
) -> None:
    """Draw a waveform, and a mark at what has passed of it."""
    left, top = corner
    columns = np.array_split(clip.audio.waveform, SIDE)
    loudest = max(float(np.abs(clip.audio.waveform).max()), 0.05)
    for x, part in enumerate(columns):
        reach = float(np.abs(part).max()) / loudest * STRIP / 2
        middle = top + STRIP / 2
        draw.line((left + x, middle - reach, left + x, middle + reach), fill=INK)
    x = left + round(passed * SIDE)
    draw.line((x, top, x, top + STRIP), fill=MARK, width=2)


def page(pairs: Sequence[Pair]) -> str:
    """Return the page of the gallery."""
    lines = [INTRODUCTION.format(seeds=" and ".join(map(str, SEEDS)))]
    for prompt in dict.fromkeys(pair.prompt for pair in pairs):
        lines += [f"## {prompt[:1].upper()}{prompt[1:]}", ""]
        for pair in (one for one in pairs if one.prompt == prompt):
            lines += [f"Seed {pair.seed}: {', then '.join(TITLES.values())}.", ""]
            for name in pair.clips:
                about = f"{prompt}, seed {pair.seed}, {TITLES[name]}"
                files = f"{pair.name}-{name}"
                lines += [f"[![{about}]({files}.png)]({files}.mp4)"]
            about = f"Frames, waveform and spectrogram of both clips of seed {pair.seed}"
            lines += ["", f"![{about}]({pair.name}.png)", ""]
    made = ", ".join(f"{name} {one}" for name, one in libraries("mmdisco", "torch").items())
    return "\n".join([*lines, f"Written by `python website/gallery.py` with {made}.", ""])


if __name__ == "__main__":
    main()

"""Bills of the likely pairs at their published size, before anything is downloaded.

    python benchmarks/bills.py --out docs

Both pipelines of a pair make their own run on the meta device, at the number of steps, the size and
the length that their authors publish, and are counted with a discriminator for their latents as
``mmdisco train`` would make it. Writes ``bills.md`` and ``bills.json``.
"""

import argparse
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))  # of the tiny tokenizers

import fullsize

from mmdisco.adapters.stock.dry_run import dry_pipeline
from mmdisco.adapters.stock.model import stock_audio, stock_video
from mmdisco.core.av import AV
from mmdisco.discriminators.two_tower import AudioVideoDiscriminator
from mmdisco.generation.cost import JointCost
from mmdisco.generation.joint_pipeline import JointPipeline
from mmdisco.io.files import write_json, write_text
from mmdisco.io.reports import markdown_table, versions
from mmdisco.training.config import DiscriminatorConfig
from mmdisco.training.discriminator_config import build_discriminator_config

PAIRS = {
    "Wan 2.2 A14B with Stable Audio 3": ("Wan 2.2 A14B", "Stable Audio 3"),
    "Wan 2.2 5B with Stable Audio 3": ("Wan 2.2 5B", "Stable Audio 3"),
    "Wan 2.1 1.3B with Stable Audio 1": ("Wan 2.1 1.3B", "Stable Audio 1"),
    "HunyuanVideo 1.5 with Stable Audio 3": ("HunyuanVideo 1.5", "Stable Audio 3"),
    "CogVideoX 2B with AudioLDM 2": ("CogVideoX 2B", "AudioLDM 2"),
}
PROMPT = "a dog barks at the sea"
DENOISERS = ("transformer", "transformer_2", "unet")
DEVICES = (24, 48, 80)  # GB
SUMMARY = (
    "pair",
    "video",
    "sound",
    "steps",
    "TFLOP a step",
    "discriminator's share of it, %",
    "PFLOP of a clip",
    "GB, all on the device",
    "GB, one network at a time",
    "fits on",
)


@dataclass(frozen=True)
class Bill:
    """Cost of a pair.

    Attributes:
        name: Name of the pair.
        shapes: Latents of one sample.
        texts: Width of either side's pooled captions.
        rates: Steps per second of either latent, after a causal first one.
        seconds: Length of the clip.
        cost: Cost of the run.
    """

    name: str
    shapes: AV[torch.Size]
    texts: AV[int]
    rates: AV[float]
    seconds: AV[float]
    cost: JointCost

    @property
    def step(self) -> float:
        """Operations of the denoisers in a step, where the sides step together."""
        cost = self.cost
        return sum(
            one.operations / (cost.steps.audio if one.side == "audio" else cost.steps.video)
            for one in cost.networks
            if one.name in DENOISERS
        )

    @property
    def share(self) -> float:
        """Operations of a logit and its gradient over those of the denoisers in a step."""
        (own,) = (one for one in self.cost.networks if one.side == "discriminator")
        return own.operations / own.passes / self.step

    def row(self) -> list[str]:
        cost = self.cost
        devices = [f"{size} GB" for size in DEVICES if cost.memory <= size * 1e9]
        offloaded = [f"{size} GB" for size in DEVICES if cost.memory_offloaded <= size * 1e9]
        fits = devices[0] if devices else "none whole"
        if offloaded and offloaded[0] != fits:
            fits += f", {offloaded[0]} one at a time"
        return [
            self.name,
            _latent(self.shapes.video, self.seconds.video),
            _latent(self.shapes.audio, self.seconds.audio),
            f"{cost.steps.video}, {cost.steps.audio}",
            f"{self.step / 1e12:,.4g}",
            f"{100 * self.share:.2g}",
            f"{cost.operations / 1e15:,.4g}",
            f"{cost.memory / 1e9:.1f}",
            f"{cost.memory_offloaded / 1e9:.1f}",
            fits,
        ]


def bill(name: str, steps: int | None = None, **common: Any) -> Bill:
    """Return the bill of a pair of ``PAIRS``.

    Args:
        name: Name of the pair.
        steps: Steps of both sides; the pipelines' own numbers unless given.
        **common: Further arguments of the run.
    """
    (video, shown, *_), (audio, *_) = (fullsize.build(one) for one in PAIRS[name])
    own = {} if steps is None else {"num_inference_steps": steps}
    seen = stock_video(dry_pipeline(video)[0], shown)
    heard = stock_audio(dry_pipeline(audio)[0])
    heard = stock_audio(heard.pipe, heard.lasting(seen.seconds))
    shapes = AV(heard.sample_shape, seen.sample_shape)
    texts = AV(*(one.encode_prompts([PROMPT]).pooled.shape[1] for one in (heard, seen)))
    rates = AV(float(heard.steps_per_second), float(seen.steps_per_second))
    network = discriminator(shapes, texts, rates)
    cost = JointPipeline(video, audio, network).cost(
        PROMPT, video_kwargs={**shown, **own}, audio_kwargs=own, **common
    )
    seconds = AV(float(heard.seconds), float(seen.seconds))
    return Bill(name, shapes, texts, rates, seconds, cost)


def discriminator(
    shapes: AV[torch.Size], texts: AV[int], rates: AV[float], **wishes: Any
) -> AudioVideoDiscriminator:
    """Return a discriminator on the meta device, as ``mmdisco train`` makes it for latents.

    Args:
        shapes: Latents of one sample.
        texts: Width of either side's pooled captions.
        rates: Latent steps per second.
        **wishes: Settings of the discriminator.
    """
    settings = DiscriminatorConfig(fusion="attention+correlation", **wishes)
    with torch.device("meta"):
        made = AudioVideoDiscriminator(build_discriminator_config(settings, shapes, texts, rates))
    return made.requires_grad_(requires_grad=False)


def page(bills: list[Bill]) -> str:
    """Return the page of all bills."""
    known = ", ".join(f"{name} {one}" for name, one in versions("torch", "diffusers").items())
    parts = [
        "# Bills of likely pairs",
        "",
        f"Written by `benchmarks/bills.py` ({known}); the numbers are also in",
        "[bills.json](bills.json). Counted, not measured: full-size configurations on the meta",
        "device, both pipelines at their published size, length and number of steps, with",
        "classifier-free guidance as they set it, and a discriminator as `mmdisco train` makes it",
        "for their latents. How your own call is counted, and what is:",
        "[stock.md](stock.md#the-bill-before-the-run).",
        "",
        markdown_table(SUMMARY, [one.row() for one in bills]),
        "",
        "A latent is (channels, steps, …) with the seconds that decode from it. A step is one of",
        "either side, with both branches of guidance; logit and gradient are computed once for it.",
        "Wan 2.2 A14B has two experts, of which a step runs one. Memory is weights, in the",
        "precision that is published, and the largest activations, without tiling.",
    ]
    for one in bills:
        parts += ["", f"## {one.name}", "", str(one.cost)]
    return "\n".join(parts) + "\n"


def _latent(shape: torch.Size, seconds: float) -> str:
    return f"{tuple(shape)}, {seconds:.4g} s"


def main() -> None:
    parser = argparse.ArgumentParser(description="Count what likely pairs cost.")
    parser.add_argument("--pair", action="append", choices=PAIRS, help="pair; all unless given")
    parser.add_argument("--steps", type=int, help="steps of both sides; their own unless given")
    parser.add_argument("--out", type=Path, help="folder of bills.md and bills.json")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of libraries that are asked for shapes
    bills: list[Bill] = []
    for name in options.pair or PAIRS:
        bills.append(bill(name, options.steps))
        print(f"{name}\n\n{bills[-1].cost}\n", flush=True)
    if options.out is not None:
        record = {
            "versions": versions("torch", "diffusers", "transformers"),
            "pairs": {
                one.name: {
                    "latents": {"audio": list(one.shapes.audio), "video": list(one.shapes.video)},
                    "captions": {"audio": one.texts.audio, "video": one.texts.video},
                    "rates": {"audio": one.rates.audio, "video": one.rates.video},
                    "seconds": {"audio": one.seconds.audio, "video": one.seconds.video},
                    "operations_a_step": one.step,
                    "discriminator_share_of_a_step": one.share,
                    **one.cost.to_dict(),
                }
                for one in bills
            },
        }
        write_json(options.out / "bills.json", record)
        write_text(options.out / "bills.md", page(bills))


if __name__ == "__main__":
    main()

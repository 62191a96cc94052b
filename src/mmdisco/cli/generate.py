"""``mmdisco generate``: clips from a prompt, sound for a video, video for a sound."""

from pathlib import Path
from typing import Annotated

import typer


def generate(
    prompt: Annotated[
        str | None,
        typer.Argument(
            help='What to show and sound like, as in "a red ball bouncing". May be left out with '
            "--video, --audio and --repeat."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of the first sample, 0 by default; sample i has seed + i.")
    ] = None,
    samples: Annotated[int | None, typer.Option(help="How many clips, 1 by default.")] = None,
    video: Annotated[
        Path | None,
        typer.Option(
            help="Make sound for this video: its first 1.6 s; of a shorter one the last frame is "
            "held."
        ),
    ] = None,
    audio: Annotated[
        Path | None,
        typer.Option(
            help="Make a video for this sound: its first 1.6 s; after a shorter one there is "
            "silence."
        ),
    ] = None,
    no_guidance: Annotated[
        bool, typer.Option("--no-guidance", help="The two models alone, for comparison.")
    ] = False,
    joint_scale: Annotated[
        float | None, typer.Option(help="Weight of the joint guidance in both; 1 is the theory.")
    ] = None,
    audio_scale: Annotated[
        float | None, typer.Option(help="Weight of the joint guidance in the sound.")
    ] = None,
    video_scale: Annotated[
        float | None, typer.Option(help="Weight of the joint guidance in the video.")
    ] = None,
    guidance_scale: Annotated[
        float | None, typer.Option(help="Weight of the prompt (classifier-free); 1 is off.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Evaluations of the models.")] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="How to step; an unknown name lists them.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The clip (.mp4, .mov, .mkv); named after the prompt otherwise."),
    ] = None,
    wav: Annotated[bool, typer.Option("--wav", help="Write the sound by itself too.")] = False,
    weights: Annotated[Path | None, typer.Option(help="Folder of another pair's weights.")] = None,
    repeat: Annotated[
        Path | None, typer.Option(help="Make the clip beside this .json file again, to the bit.")
    ] = None,
) -> None:
    """Make clips of 1.6 s with sound: from a prompt, or one side for a given other.

    Beside each clip lie a picture of it (.png) and all that makes it again (.json).
    """
    # the libraries behind a clip take seconds to import, which --help need not wait for
    from mmdisco.cli.generate_clips import carry_out
    from mmdisco.cli.generate_order import Order, Wish

    wish = Wish(
        prompt=prompt,
        seed=seed,
        samples=samples,
        video=video,
        audio=audio,
        no_guidance=no_guidance,
        joint_scale=joint_scale,
        audio_scale=audio_scale,
        video_scale=video_scale,
        guidance_scale=guidance_scale,
        steps=steps,
        scheduler=scheduler,
    )
    order = Order(wish=wish, out=out, wav=wav, weights=weights, repeat=repeat)
    for path in carry_out(order):
        typer.echo(path)

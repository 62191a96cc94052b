"""``mmdisco generate``: clips from prompts, sound for a video, video for a sound."""

from pathlib import Path
from typing import Annotated

import typer

from mmdisco.cli.options import (
    CLIPS,
    MODELS,
    AudioTrack,
    Device,
    Dtype,
    Fps,
    Seconds,
    Size,
    Threads,
    Weights,
)
from mmdisco.cli.stopping import ANEW, running

RELEASE = "Reproduction"
SAMPLING = "Sampling"


def generate(
    prompt: Annotated[
        list[str] | None,
        typer.Argument(
            help='What to show and sound like, as in "a red ball bouncing"; several make several '
            "clips. May be left out with --prompts, --video, --audio and --from-metadata."
        ),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(help="More prompts: a .jsonl or .csv file (prompt, negative_prompt, seed)."),
    ] = None,
    no_prompt: Annotated[
        bool,
        typer.Option(
            "--no-prompt", help="Any clip: for a discriminator of films without captions."
        ),
    ] = False,
    preset: Annotated[
        str | None,
        typer.Option(help="Which pair, embedded by default; `mmdisco presets` lists them."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of the first sample, 0 by default; sample i has seed + i.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(help="How many clips of each prompt, 1 by default.")
    ] = None,
    video: Annotated[
        Path | None,
        typer.Option(
            help="Make sound for this video: as much of it as the pair makes; of a shorter one the "
            "last frame is held."
        ),
    ] = None,
    audio: Annotated[
        Path | None,
        typer.Option(
            help="Make a video for this sound: as much of it as the pair makes; after a shorter "
            "one there is silence."
        ),
    ] = None,
    audio_track: AudioTrack = None,
    start: Annotated[
        float | None,
        typer.Option(help="Second of the given video or sound to begin at, 0 by default."),
    ] = None,
    negative_prompt: Annotated[
        str | None, typer.Option(help="What clips shall not be like.", rich_help_panel=CLIPS)
    ] = None,
    seconds: Seconds = None,
    frames: Annotated[
        int | None, typer.Option(help="The same in frames.", rich_help_panel=CLIPS)
    ] = None,
    size: Size = None,
    fps: Fps = None,
    no_joint_guidance: Annotated[
        bool,
        typer.Option(
            "--no-joint-guidance",
            help="The two models alone, for comparison.",
            rich_help_panel=SAMPLING,
        ),
    ] = False,
    joint_scale: Annotated[
        float | None,
        typer.Option(
            help="Weight of the joint guidance in both; 1 is the theory.", rich_help_panel=SAMPLING
        ),
    ] = None,
    joint_scale_audio: Annotated[
        float | None,
        typer.Option(help="Weight of the joint guidance in the sound.", rich_help_panel=SAMPLING),
    ] = None,
    joint_scale_video: Annotated[
        float | None,
        typer.Option(help="Weight of the joint guidance in the video.", rich_help_panel=SAMPLING),
    ] = None,
    joint_every: Annotated[
        int | None,
        typer.Option(
            help="Ask the discriminator at the first of so many evaluations and hold its gradient "
            "for the others: cheaper, less exact.",
            rich_help_panel=SAMPLING,
        ),
    ] = None,
    joint_min_logsnr: Annotated[
        float | None,
        typer.Option(
            help="Joint guidance from this ln(α²/σ²) on; below is more noise.",
            rich_help_panel=SAMPLING,
        ),
    ] = None,
    joint_max_logsnr: Annotated[
        float | None,
        typer.Option(help="Joint guidance up to this ln(α²/σ²).", rich_help_panel=SAMPLING),
    ] = None,
    cfg_scale: Annotated[
        float | None,
        typer.Option(
            help="Weight of the prompt (classifier-free) in both; 1 is off.",
            rich_help_panel=SAMPLING,
        ),
    ] = None,
    cfg_scale_audio: Annotated[
        float | None,
        typer.Option(help="Weight of the prompt in the sound.", rich_help_panel=SAMPLING),
    ] = None,
    cfg_scale_video: Annotated[
        float | None,
        typer.Option(help="Weight of the prompt in the video.", rich_help_panel=SAMPLING),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Evaluations of the models.", rich_help_panel=SAMPLING)
    ] = None,
    resample: Annotated[
        int | None,
        typer.Option(
            help="How often each step is taken again from both latents noised back by one step, 0 "
            "by default.",
            rich_help_panel=SAMPLING,
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(help="How to step; an unknown name lists them.", rich_help_panel=SAMPLING),
    ] = None,
    batch_cfg: Annotated[
        bool,
        typer.Option(
            "--batch-cfg",
            help="Both prompts of classifier-free guidance in one batch: more memory, often "
            "faster.",
            rich_help_panel=SAMPLING,
        ),
    ] = False,
    as_released: Annotated[
        bool,
        typer.Option(
            "--as-released",
            help="As the released code runs the preset, what it does wrong included.",
            rich_help_panel=RELEASE,
        ),
    ] = False,
    from_metadata: Annotated[
        Path | None,
        typer.Option(
            help="Make the clip beside this .json file again; a line says what differs today.",
            rich_help_panel=RELEASE,
        ),
    ] = None,
    weights: Weights = None,
    discriminator: Annotated[
        str | None,
        typer.Option(
            help="Folder that `mmdisco train` made, or its id on the Hugging Face hub, instead of "
            "the preset's own discriminator.",
            rich_help_panel=MODELS,
        ),
    ] = None,
    dtype: Dtype = None,
    device: Device = None,
    threads: Threads = None,
    offload: Annotated[
        bool,
        typer.Option(
            "--offload",
            help="Keep networks in main memory until they are used.",
            rich_help_panel=MODELS,
        ),
    ] = False,
    vae_slicing: Annotated[
        bool,
        typer.Option("--vae-slicing", help="Decode image by image.", rich_help_panel=MODELS),
    ] = False,
    vae_tiling: Annotated[
        bool,
        typer.Option("--vae-tiling", help="Decode large images in tiles.", rich_help_panel=MODELS),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="The clip (.mp4, .mov, .mkv); named after the prompt otherwise."),
    ] = None,
    wav: Annotated[bool, typer.Option("--wav", help="Write the sound by itself too.")] = False,
) -> None:
    """Make clips with sound: from prompts, or one side for a given other.

    Beside each clip lie a picture of it (.png) and all that makes it again (.json).
    """
    # the libraries behind a clip take seconds to import, which --help need not wait for
    from mmdisco.cli.generate_clips import execute
    from mmdisco.cli.generate_models import PresetArgs
    from mmdisco.cli.generate_order import GenerateArgs, RequestArgs

    texts = tuple(prompt or ())
    wish = RequestArgs(
        prompt=texts[0] if texts else None,
        seed=seed,
        samples=samples,
        video=video,
        audio=audio,
        audio_track=audio_track,
        start=start,
        no_guidance=no_joint_guidance,
        joint_scale=joint_scale,
        audio_scale=joint_scale_audio,
        video_scale=joint_scale_video,
        guidance_every=joint_every,
        guidance_from=joint_min_logsnr,
        guidance_to=joint_max_logsnr,
        guidance_scale=cfg_scale,
        audio_guidance=cfg_scale_audio,
        video_guidance=cfg_scale_video,
        steps=steps,
        resamples=resample,
        scheduler=scheduler,
        negative_prompt=negative_prompt,
        batched=batch_cfg,
        no_prompt=no_prompt,
    )
    wanted = PresetArgs(
        preset=preset,
        as_released=as_released,
        seconds=seconds,
        frames=frames,
        size=size,
        fps=fps,
        dtype=dtype,
        device=device,
        offload=offload,
        vae_slicing=vae_slicing,
        vae_tiling=vae_tiling,
        discriminator=discriminator,
    )
    order = GenerateArgs(
        wish=wish,
        wanted=wanted,
        further=texts[1:],
        prompts=prompts,
        out=out,
        wav=wav,
        weights=weights,
        repeat=from_metadata,
    )
    with running(f"no clip is whole yet: {ANEW}", threads) as run:
        for path in execute(order, run):
            typer.echo(path)

"""Nodes of joint latents: nested ones, which hold a video first and its sound second.

Nodes of ComfyUI that read nested latents read these too.
"""

from typing import Any, Final

import comfy.utils
import torch
from comfy.nested_tensor import NestedTensor
from comfy_api.latest import io
from torch import Tensor
from typing_extensions import override

from mmdisco.core.av import AV
from mmdisco.media.clip import CEILING

from .autoencoders import (
    encode_sound,
    frames_of,
    latent_frames,
    rate_of,
    ratios,
    video_latent_size,
)
from .nested import LatentDict, held_latent, joined, split, unbound

CATEGORY: Final = "MMDisCo/latent"


def vae_inputs() -> list[Any]:
    """Return the inputs for both autoencoders."""
    return [
        io.Vae.Input("video_vae", tooltip="Autoencoder of the video's model."),
        io.Vae.Input("audio_vae", tooltip="Autoencoder of the sound's model."),
    ]


def seconds_input() -> Any:
    """Return the input for the length of the sound."""
    return io.Float.Input(
        "seconds",
        default=5.0,
        min=0.01,
        max=3600.0,
        step=0.01,
        round=False,
        tooltip="Length of the clip in seconds, best that of Match Lengths.",
    )


class MatchLengths(io.ComfyNode):
    """Lengths of video and sound that last equally long."""

    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MMDisCoMatchLengths",
            display_name="Match Lengths",
            category=CATEGORY,
            description="Rounds a length to frames that the video's autoencoder can make, and "
            "says how long they last, so that the sound is made just as long.",
            search_aliases=["duration", "frames", "audio length", "sync length"],
            inputs=[
                *vae_inputs(),
                io.Float.Input(
                    "seconds",
                    default=5.0,
                    min=0.01,
                    max=3600.0,
                    step=0.01,
                    tooltip="Length asked for, in seconds.",
                ),
                io.Float.Input(
                    "fps",
                    default=16.0,
                    min=1.0,
                    max=240.0,
                    step=0.001,
                    tooltip="Frames per second that the video's model makes: 16 for Wan 2.1.",
                ),
            ],
            outputs=[
                io.Int.Output(display_name="frames", tooltip="Frames of the video."),
                io.Float.Output(display_name="seconds", tooltip="How long they last, exactly."),
                io.Int.Output(display_name="samples", tooltip="Samples of the sound."),
            ],
        )

    @classmethod
    @override
    def execute(cls, video_vae: Any, audio_vae: Any, seconds: float, fps: float) -> io.NodeOutput:
        steps = latent_frames(video_vae, max(1, round(seconds * fps)))
        frames = min(
            (frames_of(video_vae, n) for n in (steps, steps + 1)),
            key=lambda n: abs(n - seconds * fps),
        )
        return io.NodeOutput(frames, frames / fps, round(frames / fps * rate_of(audio_vae)))


class EmptyVideoAudio(io.ComfyNode):
    """Latents of zeros of both modalities."""

    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MMDisCoEmptyVideoAudio",
            display_name="Empty Video and Audio Latent",
            category=CATEGORY,
            description="Makes empty latents of a video and of a sound of one length, joined.",
            search_aliases=["empty av latent", "joint latent", "video audio latent"],
            inputs=[
                *vae_inputs(),
                io.Int.Input(
                    "width", default=832, min=16, max=16384, step=8, tooltip="Pixels of a row."
                ),
                io.Int.Input(
                    "height", default=480, min=16, max=16384, step=8, tooltip="Pixels of a column."
                ),
                io.Int.Input(
                    "frames", default=81, min=1, max=16384, tooltip="Frames, as of Match Lengths."
                ),
                seconds_input(),
                io.Int.Input(
                    "batch_size", default=1, min=1, max=64, tooltip="Clips that are made at once."
                ),
            ],
            outputs=[io.Latent.Output(tooltip="Joint latents.")],
        )

    @classmethod
    @override
    def execute(
        cls,
        video_vae: Any,
        audio_vae: Any,
        width: int,
        height: int,
        frames: int,
        seconds: float,
        batch_size: int,
    ) -> io.NodeOutput:
        size = video_latent_size(video_vae, frames, height, width)
        video = torch.zeros(batch_size, video_vae.latent_channels, *size)
        silence = {"waveform": torch.zeros(1, 2, 1), "sample_rate": rate_of(audio_vae)}
        sound = encode_sound(audio_vae, silence, seconds)
        audio = torch.zeros(batch_size, *sound.shape[1:])
        return io.NodeOutput({"samples": NestedTensor([video, audio])})


class JoinVideoAudio(io.ComfyNode):
    """One latent of two."""

    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MMDisCoJoinVideoAudio",
            display_name="Join Video and Audio Latent",
            category=CATEGORY,
            description="Joins latents of a video and of its sound, with their noise masks.",
            search_aliases=["concat av latent", "combine video audio", "nested latent"],
            inputs=[
                io.Latent.Input("video", tooltip="Latents of the video."),
                io.Latent.Input("audio", tooltip="Latents of the sound, as many."),
            ],
            outputs=[io.Latent.Output(tooltip="Joint latents.")],
        )

    @classmethod
    @override
    def execute(cls, video: LatentDict, audio: LatentDict) -> io.NodeOutput:
        return io.NodeOutput(joined(AV(audio, video)))


class SplitVideoAudio(io.ComfyNode):
    """Two latents of one."""

    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MMDisCoSplitVideoAudio",
            display_name="Split Video and Audio Latent",
            category=CATEGORY,
            description="Splits joint latents into those of the video and those of the sound.",
            search_aliases=["separate av latent", "unnest latent", "audio from latent"],
            inputs=[io.Latent.Input("latent", tooltip="Joint latents.")],
            outputs=[
                io.Latent.Output(display_name="video", tooltip="Latents of the video."),
                io.Latent.Output(display_name="audio", tooltip="Latents of the sound."),
            ],
        )

    @classmethod
    @override
    def execute(cls, latent: LatentDict) -> io.NodeOutput:
        parts = split(latent)
        return io.NodeOutput(parts.video, parts.audio)


class EncodeVideoAudio(io.ComfyNode):
    """Latents of a clip."""

    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MMDisCoEncodeVideoAudio",
            display_name="Encode Video and Audio",
            category=CATEGORY,
            description="Encodes a clip to joint latents; its sound is cut, or padded with "
            "silence, to the length of the video.",
            search_aliases=["vae encode video audio", "clip to latent"],
            inputs=[
                io.Image.Input("images", tooltip="Frames of the video."),
                io.Audio.Input("audio", tooltip="Its sound; resampled if need be."),
                *vae_inputs(),
                io.Float.Input(
                    "fps",
                    default=16.0,
                    min=1.0,
                    max=240.0,
                    step=0.001,
                    tooltip="Frames per second of the video.",
                ),
            ],
            outputs=[io.Latent.Output(tooltip="Joint latents.")],
        )

    @classmethod
    @override
    def execute(
        cls, images: Tensor, audio: LatentDict, video_vae: Any, audio_vae: Any, fps: float
    ) -> io.NodeOutput:
        video_latent_size(video_vae, len(images), *images.shape[1:3])
        video = video_vae.encode(images[..., :3])
        sound = encode_sound(audio_vae, audio, len(images) / fps)
        return io.NodeOutput(joined(AV({"samples": sound}, {"samples": video})))


class DecodeVideoAudio(io.ComfyNode):
    """A clip of latents."""

    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MMDisCoDecodeVideoAudio",
            display_name="Decode Video and Audio",
            category=CATEGORY,
            description="Decodes joint latents to frames and sound; Create Video joins them.",
            search_aliases=["vae decode video audio", "latent to clip"],
            inputs=[io.Latent.Input("latent", tooltip="Joint latents."), *vae_inputs()],
            outputs=[
                io.Image.Output(display_name="images", tooltip="Frames, clip after clip."),
                io.Audio.Output(
                    display_name="audio", tooltip="Sounds; one that would clip is made quieter."
                ),
            ],
        )

    @classmethod
    @override
    def execute(cls, latent: LatentDict, video_vae: Any, audio_vae: Any) -> io.NodeOutput:
        parts = unbound(latent["samples"])
        images = video_vae.decode(parts.video)
        waveform = audio_vae.decode(parts.audio).movedim(-1, 1)
        peak = waveform.abs().amax(dim=(1, 2), keepdim=True)
        waveform = torch.where(peak > 1, waveform * (CEILING / peak), waveform)
        rate = int(getattr(audio_vae, "audio_sample_rate_output", rate_of(audio_vae)))
        images = images.reshape(-1, *images.shape[-3:])
        return io.NodeOutput(images, {"waveform": waveform, "sample_rate": rate})


class GivenVideo(io.ComfyNode):
    """Joint latents whose video is given."""

    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MMDisCoGivenVideo",
            display_name="Given Video",
            category=CATEGORY,
            description="Gives the video of joint latents, so that a sound is made for it. The "
            "result has the given video, unchanged.",
            search_aliases=["video to audio", "v2a", "foley", "sound for a video"],
            inputs=[
                io.Image.Input(
                    "images",
                    tooltip="Frames; scaled to the latents' size, cut to their length, or the "
                    "last one held.",
                ),
                io.Vae.Input("video_vae", tooltip="Autoencoder of the video's model."),
                io.Latent.Input("latent", tooltip="Joint latents, such as empty ones."),
            ],
            outputs=[io.Latent.Output(tooltip="The same with the video given.")],
        )

    @classmethod
    @override
    def execute(cls, images: Tensor, video_vae: Any, latent: LatentDict) -> io.NodeOutput:
        parts = split(latent)
        empty = parts.video["samples"]
        frames = frames_of(video_vae, empty.shape[2])
        _, rows, columns = ratios(video_vae)
        kept = images[:frames, ..., :3]
        held = kept[-1:].expand(frames - len(kept), *kept.shape[1:])
        scaled = comfy.utils.common_upscale(
            torch.cat([kept, held]).movedim(-1, 1),
            empty.shape[4] * columns,
            empty.shape[3] * rows,
            "bilinear",
            "center",
        )
        given = video_vae.encode(scaled.movedim(1, -1))
        return io.NodeOutput(joined(AV(parts.audio, held_latent(given, empty, "video"))))


class GivenAudio(io.ComfyNode):
    """Joint latents whose sound is given."""

    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MMDisCoGivenAudio",
            display_name="Given Audio",
            category=CATEGORY,
            description="Gives the sound of joint latents, so that a video is made for it. The "
            "result has the given sound, unchanged.",
            search_aliases=["audio to video", "a2v", "music video", "video for a sound"],
            inputs=[
                io.Audio.Input(
                    "audio", tooltip="Sound; cut to the length, or padded with silence."
                ),
                io.Vae.Input("audio_vae", tooltip="Autoencoder of the sound's model."),
                io.Latent.Input("latent", tooltip="Joint latents, such as empty ones."),
                seconds_input(),
            ],
            outputs=[io.Latent.Output(tooltip="The same with the sound given.")],
        )

    @classmethod
    @override
    def execute(
        cls, audio: LatentDict, audio_vae: Any, latent: LatentDict, seconds: float
    ) -> io.NodeOutput:
        parts = split(latent)
        given = encode_sound(audio_vae, audio, seconds)
        given = held_latent(given, parts.audio["samples"], "sound")
        return io.NodeOutput(joined(AV(given, parts.video)))

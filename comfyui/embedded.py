"""Node that makes a clip with the miniature models inside ``mmdisco``: nothing is downloaded."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

import comfy.model_management
import comfy.utils
import torch
from comfy_api.latest import InputImpl, Types, io
from typing_extensions import override

from mmdisco.core.av import AV
from mmdisco.generation.config import GenerateConfig
from mmdisco.generation.presets.registry import system_of

CATEGORY: Final = "MMDisCo"


class GenerateEmbedded(io.ComfyNode):
    """A clip of the embedded pair."""

    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        system = system_of(GenerateConfig())
        defaults, shortest = system.sampling(), float(system.form.seconds)
        return io.Schema(
            node_id="MMDisCoGenerateEmbedded",
            display_name="Generate (embedded)",
            category=CATEGORY,
            description="Makes a small clip with sound in seconds, on the CPU and without any "
            "download: two miniature models inside MMDisCo, which know bouncing balls, drums, "
            "lamps and bells.",
            search_aliases=["mmdisco", "text to video with audio", "demo", "joint generation"],
            inputs=[
                io.String.Input(
                    "prompt",
                    default="a red ball bouncing",
                    tooltip="Description of picture and sound.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**62,
                    control_after_generate=True,
                    tooltip="Seed of the noise.",
                ),
                io.Int.Input(
                    "steps",
                    default=defaults.steps,
                    min=1,
                    max=1000,
                    tooltip="Evaluations of the models.",
                ),
                io.Float.Input(
                    "seconds",
                    default=shortest,
                    min=shortest,
                    max=60.0,
                    step=0.1,
                    tooltip="Length of the clip; longer ones are made of overlapping windows.",
                ),
                *(
                    io.Float.Input(
                        f"joint_scale_{side}",
                        default=scale,
                        min=0.0,
                        max=100.0,
                        step=0.1,
                        tooltip=f"Scale of joint guidance in the {side}; 0 in both is the two "
                        "models alone.",
                    )
                    for side, scale in (
                        ("video", defaults.joint_scale.video),
                        ("audio", defaults.joint_scale.audio),
                    )
                ),
                io.Int.Input(
                    "candidates",
                    default=1,
                    min=1,
                    max=16,
                    tooltip="Clips that are made, of which the best by the discriminator is kept.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="images", tooltip="Frames."),
                io.Audio.Output(display_name="audio", tooltip="Sound."),
                io.Video.Output(display_name="video", tooltip="Both, for Save Video."),
            ],
        )

    @classmethod
    @override
    def execute(
        cls,
        prompt: str,
        seed: int,
        steps: int,
        seconds: float,
        joint_scale_video: float,
        joint_scale_audio: float,
        candidates: int,
    ) -> io.NodeOutput:
        from mmdisco import generate

        alone = (joint_scale_video, joint_scale_audio) == (0.0, 0.0)
        scales = AV(joint_scale_audio, joint_scale_video).map(lambda one: None if alone else one)
        bar = comfy.utils.ProgressBar(steps)

        def stepped(_run: Any, step: int, _timesteps: Any, _latents: Any) -> Mapping[str, Any]:
            comfy.model_management.throw_exception_if_processing_interrupted()
            bar.update_absolute(step + 1, steps)
            return {}

        # ComfyUI's inference mode admits no gradient
        with torch.inference_mode(mode=False):
            (clip,) = generate(
                prompt,
                seed=seed,
                steps=steps,
                seconds=seconds,
                candidates=candidates,
                no_joint_guidance=alone,
                joint_scale_audio=scales.audio,
                joint_scale_video=scales.video,
                callback_on_step_end=stepped,
            )
        images = torch.from_numpy(clip.video.frames)
        waveform = torch.from_numpy(clip.audio.waveform)[None, None]
        audio = {"waveform": waveform, "sample_rate": clip.audio.sample_rate}
        components = Types.VideoComponents(
            images=images, audio=audio, frame_rate=Fraction(clip.video.fps)
        )
        return io.NodeOutput(images, audio, InputImpl.VideoFromComponents(components=components))

"""Nodes of guidance: discriminator, parameters, guider, and scores of clips."""

from pathlib import Path
from typing import Any, Final

import folder_paths
import torch
from comfy.nested_tensor import NestedTensor
from comfy_api.latest import io
from typing_extensions import override

from mmdisco.core.av import AV
from mmdisco.core.discriminator import Discriminator
from mmdisco.discriminators.hub import PretrainedDiscriminator
from mmdisco.errors import UserError

from .guider import JointGuider, SideGuidance
from .nested import unbound

CATEGORY: Final = "MMDisCo/guidance"
FOLDER: Final = "mmdisco"
DiscriminatorType = io.Custom("MMDISCO_DISCRIMINATOR")
GuidanceType = io.Custom("MMDISCO_GUIDANCE")

folder_paths.add_model_folder_path(FOLDER, str(Path(folder_paths.models_dir) / FOLDER))


def folders() -> dict[str, Path]:
    """Return the folders of discriminators by name, those in ``models/mmdisco``."""
    places = [Path(place) for place in folder_paths.get_folder_paths(FOLDER)]
    found = [path for place in places for path in sorted(place.glob("*/config.json"))]
    return {path.parent.name: path.parent for path in reversed(found)}


class LoadDiscriminator(io.ComfyNode):
    """A trained discriminator."""

    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MMDisCoLoadDiscriminator",
            display_name="Load Discriminator",
            category=CATEGORY,
            description="Loads a discriminator that `mmdisco train` made for a pair of models, "
            "from a folder in models/mmdisco.",
            search_aliases=["mmdisco", "joint guidance", "audio video discriminator"],
            inputs=[
                io.Combo.Input(
                    "name",
                    options=sorted(folders()),
                    tooltip="Folder in models/mmdisco, with config.json and model.safetensors.",
                )
            ],
            outputs=[DiscriminatorType.Output(display_name="discriminator")],
        )

    @classmethod
    @override
    def execute(cls, name: str) -> io.NodeOutput:
        folder = folders().get(name)
        if folder is None:
            raise UserError(f"models/{FOLDER} has no folder {name!r}: put one there")
        # weights of ComfyUI's inference mode would admit no gradient
        with torch.inference_mode(mode=False):
            return io.NodeOutput(PretrainedDiscriminator.load(folder).network)


class GuidanceParameters(io.ComfyNode):
    """Guidance of one modality."""

    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MMDisCoGuidanceParameters",
            display_name="Guidance Parameters",
            category=CATEGORY,
            description="Sets the guidance of one modality; connect a second one for the other.",
            search_aliases=["joint scale", "cfg per modality", "mmdisco parameters"],
            inputs=[
                io.Combo.Input(
                    "modality", options=["video", "audio"], tooltip="Side that this is for."
                ),
                io.Float.Input(
                    "joint_scale",
                    default=1.0,
                    min=0.0,
                    max=100.0,
                    step=0.05,
                    tooltip="Scale of the discriminator's gradient; 0 leaves the model alone.",
                ),
                io.Float.Input(
                    "cfg",
                    default=5.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    tooltip="Scale of classifier-free guidance; 1 is off.",
                ),
                io.Float.Input(
                    "start_percent",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.001,
                    tooltip="Share of the video's schedule at which joint guidance begins.",
                ),
                io.Float.Input(
                    "end_percent",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.001,
                    tooltip="Share of the video's schedule at which joint guidance ends.",
                ),
                GuidanceType.Input(
                    "other", optional=True, tooltip="Parameters of the other modality."
                ),
            ],
            outputs=[GuidanceType.Output(display_name="parameters")],
        )

    @classmethod
    @override
    def execute(
        cls,
        modality: str,
        joint_scale: float,
        cfg: float,
        start_percent: float,
        end_percent: float,
        other: dict[str, SideGuidance] | None = None,
    ) -> io.NodeOutput:
        if modality in (other or {}):
            raise UserError(f"two sets of parameters for the {modality}: leave one out")
        if start_percent >= end_percent:
            raise UserError("joint guidance ends before it begins: raise end_percent")
        own = SideGuidance(joint_scale, cfg, start_percent, end_percent)
        return io.NodeOutput({**(other or {}), modality: own})


class JointGuiderNode(io.ComfyNode):
    """The guider of two models."""

    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MMDisCoJointGuider",
            display_name="Joint Guider",
            category=CATEGORY,
            description="Samples a video and its sound together, with any two models. The "
            "scheduler is that of the video's model; the sound follows at the same noise level.",
            search_aliases=["mmdisco", "audio video guider", "joint sampling", "multimodal guider"],
            inputs=[
                io.Model.Input("video_model", tooltip="Model of the video, with its patches."),
                io.Conditioning.Input("video_positive", tooltip="Prompt of the video."),
                io.Conditioning.Input("video_negative", tooltip="Its negative prompt."),
                io.Model.Input("audio_model", tooltip="Model of the sound, with its patches."),
                io.Conditioning.Input("audio_positive", tooltip="Prompt of the sound."),
                io.Conditioning.Input("audio_negative", tooltip="Its negative prompt."),
                io.Int.Input(
                    "every",
                    default=1,
                    min=1,
                    max=100,
                    tooltip="Run the discriminator at the first of so many evaluations and reuse "
                    "its gradient: faster, less exact.",
                ),
                DiscriminatorType.Input(
                    "discriminator",
                    optional=True,
                    tooltip="Discriminator of this pair; without one the two only share the run.",
                ),
                GuidanceType.Input(
                    "parameters",
                    optional=True,
                    tooltip="Guidance of either side; a side without has joint scale 1 and cfg 5.",
                ),
            ],
            outputs=[io.Guider.Output(tooltip="For SamplerCustomAdvanced, with joint latents.")],
        )

    @classmethod
    @override
    def execute(
        cls,
        video_model: Any,
        video_positive: Any,
        video_negative: Any,
        audio_model: Any,
        audio_positive: Any,
        audio_negative: Any,
        every: int,
        discriminator: Discriminator | None = None,
        parameters: dict[str, SideGuidance] | None = None,
    ) -> io.NodeOutput:
        guidance = AV("audio", "video").map(
            lambda side: (parameters or {}).get(side, SideGuidance())
        )
        guider = JointGuider(
            AV(audio_model, video_model),
            AV((audio_positive, audio_negative), (video_positive, video_negative)),
            guidance,
            discriminator,
            every,
        )
        return io.NodeOutput(guider)


class AlignmentScore(io.ComfyNode):
    """Logit of the discriminator."""

    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MMDisCoAlignmentScore",
            display_name="Alignment Score",
            category=CATEGORY,
            description="Scores how much each sound and its video belong together: the "
            "discriminator's logit of clean latents, higher is better.",
            search_aliases=["sync score", "audio video alignment", "rank clips"],
            inputs=scoring_inputs(),
            outputs=[
                io.Float.Output(
                    display_name="scores", is_output_list=True, tooltip="One score a clip."
                ),
                io.String.Output(display_name="ranking", tooltip="Clips from the best on."),
            ],
        )

    @classmethod
    @override
    def execute(cls, guider: Any, latent: dict[str, Any]) -> io.NodeOutput:
        scores = scores_of(guider, latent)
        order = sorted(range(len(scores)), key=lambda clip: -scores[clip])
        return io.NodeOutput(scores, "\n".join(f"{clip}: {scores[clip]:.3f}" for clip in order))


class BestOfBatch(io.ComfyNode):
    """Clips of a batch with the highest scores."""

    @classmethod
    @override
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MMDisCoBestOfBatch",
            display_name="Best of Batch",
            category=CATEGORY,
            description="Keeps the clips of a batch whose sound and video belong together most, "
            "the best first.",
            search_aliases=["best of n", "select latent", "rank clips"],
            inputs=[
                *scoring_inputs(),
                io.Int.Input("count", default=1, min=1, max=64, tooltip="Clips that are kept."),
            ],
            outputs=[io.Latent.Output(tooltip="Joint latents of the clips that are kept.")],
        )

    @classmethod
    @override
    def execute(cls, guider: Any, latent: dict[str, Any], count: int) -> io.NodeOutput:
        scores = torch.tensor(scores_of(guider, latent))
        if count > len(scores):
            raise UserError(f"the best {count} of {len(scores)} clips: ask for fewer")
        rows = scores.argsort(descending=True, stable=True)[:count]
        parts = unbound(latent["samples"])
        samples = NestedTensor([parts.video[rows], parts.audio[rows]])
        return io.NodeOutput({"samples": samples})


def scoring_inputs() -> list[Any]:
    """Return the inputs of what scores clips."""
    return [
        io.Guider.Input("guider", tooltip="The Joint Guider, with a discriminator."),
        io.Latent.Input("latent", tooltip="Joint latents that were sampled or encoded."),
    ]


def scores_of(guider: Any, latent: dict[str, Any]) -> list[float]:
    """Return the discriminator's logit of each clip.

    Raises:
        UserError: The guider is of another kind, or has no discriminator.
    """
    if not isinstance(guider, JointGuider):
        raise UserError("this guider has no discriminator: connect a Joint Guider")
    return guider.logits(latent["samples"]).tolist()

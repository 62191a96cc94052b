"""Discriminator guidance as a block of diffusers' modular pipelines, loadable from the hub.

It goes before the blocks that denoise, and attaches a given sound or video to their guider.
``save_block`` writes the folder of a repository that ``ModularPipelineBlocks.from_pretrained``
loads.
"""

from pathlib import Path
from typing import Any, Final

from diffusers.configuration_utils import FrozenDict
from diffusers.modular_pipelines import ModularPipelineBlocks
from diffusers.modular_pipelines.modular_pipeline_utils import ComponentSpec, InputParam
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from typing_extensions import override

from mmdisco.core.av import AV
from mmdisco.core.discriminator import Discriminator
from mmdisco.discriminators.hub import PretrainedDiscriminator
from mmdisco.errors import UserError
from mmdisco.generation.guider import DiscriminatorGuidance, GivenSide
from mmdisco.io.files import write_text

_MODULE: Final = "block"
_CODE: Final = '''"""Discriminator guidance; needs `pip install mmdisco`."""

from mmdisco.generation.guidance_block import DiscriminatorGuidanceStep

__all__ = ["DiscriminatorGuidanceStep"]
'''


class DiscriminatorGuidanceStep(ModularPipelineBlocks):
    """Block that attaches a discriminator and a given side to the guider of a pipeline.

    Inputs, beside those of the pipeline: ``discriminator``, a network or a folder or id of one;
    ``audio_latents`` or ``video_latents``, clean, of the given side; ``audio_text`` and
    ``video_text``, the pooled captions that the discriminator reads.

    Raises:
        UserError: Latents of both sides are given, or of neither, or the guider is another one.
    """

    @property
    @override
    def description(self) -> str:
        return "Guides one modality towards a given other one by a discriminator's gradient."

    @property
    @override
    def expected_components(self) -> list[ComponentSpec]:
        return [
            ComponentSpec(
                "guider",
                DiscriminatorGuidance,
                config=FrozenDict({"guidance_scale": 5.0, "joint_scale": 1.0}),
                default_creation_method="from_config",
            ),
            ComponentSpec("scheduler", SchedulerMixin),
        ]

    @property
    @override
    def inputs(self) -> list[InputParam]:
        return [
            InputParam("discriminator", required=True, description="Network, folder or id."),
            InputParam("audio_latents", description="Clean latents of a given sound."),
            InputParam("video_latents", description="Clean latents of a given video."),
            InputParam("audio_text", required=True, description="Pooled captions of the sound."),
            InputParam("video_text", required=True, description="Pooled captions of the video."),
        ]

    def __call__(self, components: Any, state: Any) -> tuple[Any, Any]:
        """Attach the given side to the guider."""
        block: Any = self.get_block_state(state)
        if not isinstance(components.guider, DiscriminatorGuidance):
            raise UserError(
                f"the guider is a {type(components.guider).__name__}: give the pipeline a "
                "DiscriminatorGuidance"
            )
        network = block.discriminator
        if not isinstance(network, Discriminator):
            network = PretrainedDiscriminator.from_pretrained(network).network
        given = GivenSide(
            network,
            AV(block.audio_latents, block.video_latents),
            AV(block.audio_text, block.video_text),
        )
        components.guider.attach(components.scheduler, given)
        return components, state


def save_block(folder: Path) -> None:
    """Write a repository of the block: its configuration, and code that imports it from here.

    Raises:
        UserError: The folder cannot be written.
    """
    write_text(folder / f"{_MODULE}.py", _CODE)
    step = DiscriminatorGuidanceStep()
    name = type(step).__name__
    step.register_to_config(auto_map={"ModularPipelineBlocks": f"{_MODULE}.{name}"})
    step.save_config(folder)

"""Options of ``mmdisco app``: the system that it begins with, where it listens, and its limits."""

import re
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field

from mmdisco.errors import UserError
from mmdisco.generation.config import GenerateConfig, SystemConfig
from mmdisco.io.settings import Panel

LIMITS: Final = Panel("Limits")
MEGABYTE: Final = 2**20
# neither begins with a dot, which would lead out of the folder of weights
_ID: Final = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


class AppConfig(SystemConfig):
    """Options of a page; those of the system hold for the preset, or the two models, it names."""

    host: str = "127.0.0.1"
    """Address to listen at; 0.0.0.0 lets other machines in."""
    port: Annotated[int, Field(ge=1, le=65_535)] = 7860
    """Port to listen at."""
    max_prompt_length: Annotated[int, Field(ge=1), LIMITS] = 1000
    """Letters of a prompt."""
    max_upload_size: Annotated[int, Field(ge=1), LIMITS] = 100
    """Megabytes of a file that is uploaded."""
    max_upload_seconds: Annotated[int, Field(ge=1), LIMITS] = 600
    """Length of a video or a sound that is uploaded."""
    max_steps: Annotated[int, Field(ge=1, le=1000), LIMITS] = 200
    """Steps of a clip."""
    max_candidates: Annotated[int, Field(ge=1, le=64), LIMITS] = 16
    """Candidates of a clip."""
    max_compared: Annotated[int, Field(ge=1), LIMITS] = 50
    """Clips that are compared at once."""
    keep_minutes: Annotated[int, Field(ge=1), LIMITS] = 60
    """Minutes after which an upload or a clip is deleted; all are when the page ends."""

    def of_preset(self, name: str) -> SystemConfig:
        """Return the choice of a preset, with the page's own options if it is the page's own."""
        if name == self.preset:
            return self.system
        return SystemConfig(preset=name, weights=self.weights)

    def of_models(self, video: str, audio: str, discriminator: str = "") -> SystemConfig:
        """Return the choice of two models, with the page's own options if it has two.

        Args:
            video: Id of a video pipeline on the Hugging Face hub, or a folder that the page's own
                options name.
            audio: The same of an audio pipeline.
            discriminator: The same of a discriminator; "" for none.

        Raises:
            UserError: One is left out, or names a folder that the page's options do not.
        """
        if not (video.strip() and audio.strip()):
            raise UserError("name both models by their ids on the Hugging Face hub")
        found = {"video_model": video, "audio_model": audio, "discriminator": discriminator}
        named = {option: name.strip() or None for option, name in found.items()}
        for option, name in named.items():
            if name is not None and name != getattr(self, option):
                _expect_id(name)
        own = SystemConfig(weights=self.weights) if self.preset else self.system
        options: dict[str, Any] = {**dict(own), "preset": None, **named}
        return SystemConfig(**options)

    def request(self, system: SystemConfig, options: dict[str, Any]) -> GenerateConfig:
        """Build a request of a system.

        Raises:
            UserError: An option is unknown or out of its range.
        """
        return GenerateConfig(**dict(system), **options)


def _expect_id(name: str) -> None:
    if not _ID.fullmatch(name) or Path(name).exists():
        raise UserError(
            f"{name}: give the id of a model on the Hugging Face hub, as in owner/name; folders "
            "are named when `mmdisco app` is started"
        )

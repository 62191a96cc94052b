"""Options of ``mmdisco app``: the system that it begins with, where it listens, and its limits."""

from typing import Annotated, Any, Final

from pydantic import Field

from mmdisco.errors import UserError
from mmdisco.generation.config import GenerateConfig, SystemConfig
from mmdisco.io.settings import Panel

LIMITS: Final = Panel("Limits")
MEGABYTE: Final = 2**20


class AppConfig(SystemConfig):
    """Options of a page; those of the system hold for the preset that is named."""

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

    @property
    def begins_with(self) -> str:
        """Preset that the page begins with.

        Raises:
            UserError: Two models are named instead.
        """
        if self.preset is None:
            raise UserError("the page offers presets: leave --video-model and --audio-model out")
        return self.preset

    def system_options(self, preset: str) -> dict[str, Any]:
        """Return the options of a preset's system: the page's own for its own preset."""
        if preset != self.preset:
            return {"preset": preset, "weights": self.weights}
        return {name: getattr(self, name) for name in SystemConfig.model_fields}

    def request(self, preset: str, options: dict[str, Any]) -> GenerateConfig:
        """Build a request of a preset.

        Raises:
            UserError: An option is unknown or out of its range.
        """
        return GenerateConfig(**self.system_options(preset), **options)

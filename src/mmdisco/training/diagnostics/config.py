"""Configuration of ``mmdisco diagnose``. Imports neither torch nor a model."""

from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, model_validator

from mmdisco.data.config import ClipModels
from mmdisco.errors import UserError
from mmdisco.io.settings import Positional


class DiagnoseConfig(ClipModels):
    """Configuration of the measurement of a discriminator.

    Raises:
        UserError: A value is out of its range or of another kind, or an option lacks another.
    """

    model_config = ConfigDict(strict=False)

    discriminator: Annotated[str | None, Positional()] = None
    """Folder that `mmdisco train` made, or its id on the hub; the embedded pair's own if left out.
    """
    data: Path | None = None
    """Folder that `mmdisco prepare` made; embedded data if left out."""
    fakes: Path | None = None
    """Folder that `mmdisco sample-fakes` made."""
    out: Path = Path("diagnostics")
    """Folder of the results."""
    pairs: Annotated[int, Field(ge=2)] = 256
    """Maximum number of held-out pairs; at least 16 of the embedded pair's."""
    levels: Annotated[int, Field(ge=1)] = 8
    """Number of noise levels of each coupling."""

    @model_validator(mode="after")
    def _check_data(self) -> "DiagnoseConfig":
        if (self.data is None) != (self.fakes is None):
            raise UserError("give both --data and --fakes, or neither for the embedded data")
        if self.pipelines and self.data is None:
            raise UserError("the models are those of --data: give it, or leave them out")
        if self.data is not None and self.discriminator is None:
            raise UserError("name the discriminator: a folder that `mmdisco train` made")
        return self

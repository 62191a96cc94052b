"""What a JSON file says of an exported network, and of what it is fed.

Every setting is one that published networks differ in; nothing is guessed from the weights.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from mmdisco.errors import UserError
from mmdisco.files import read_json

Part = int | str | None

_Side = Annotated[int, Field(ge=1, le=4_096)]
_Spread = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Network(BaseModel):
    """A file, and what is taken of what the network gives.

    Attributes:
        file: ONNX; beside the JSON unless the path is absolute.
        sha256: Of the file; no other is run.
        output: Place or name of the features among the outputs; None is the only one.
        logits: Place or name of the logits of its classes; None is none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Path
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    output: Part = None
    logits: Part = None


class Sees(Network):
    """A network of pictures, which gets (value − mean) / std of frames in [0, 1].

    Attributes:
        frames: So many, evenly spaced, first and last among them; None is all.
        size: (height, width) that frames are scaled to, bilinear and antialiased.
        crop: Whether the middle is cut out in the shape of ``size`` first.
        mean: Of red, green and blue.
        std: Likewise.
        layout: Order of axes, b one, t frames; without b frames are the batch.
    """

    frames: int | None = Field(default=None, ge=1, le=1_000)
    size: tuple[_Side, _Side] | None = None
    crop: bool = False
    mean: tuple[FiniteFloat, FiniteFloat, FiniteFloat] = (0.0, 0.0, 0.0)
    std: tuple[_Spread, _Spread, _Spread] = (1.0, 1.0, 1.0)
    layout: Literal["bcthw", "btchw", "bthwc", "tchw"] = "bcthw"


class Hears(Network):
    """A network of sounds.

    Attributes:
        form: ``bn`` is a waveform (1, samples), ``b1n`` (1, 1, samples), ``vggish`` VGGish's
            log-mel patches (patches, 1, 96, 64).
        rate: Samples a second; 16,000 of ``vggish``.
        seconds: Cut, or filled with silence, to this length; None leaves it.
    """

    form: Literal["bn", "b1n", "vggish"]
    rate: int = Field(default=16_000, ge=1_000, le=384_000)
    seconds: float | None = Field(default=None, gt=0, le=600)


class ExportedForm(BaseModel):
    """One network, or one of each side.

    Attributes:
        name: Short, for reports.
        sees: That of pictures.
        hears: That of sounds.
        shared: Whether both give vectors in one space, to be compared by their cosine.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    sees: Sees | None = None
    hears: Hears | None = None
    shared: bool = False

    @model_validator(mode="after")
    def _whole(self) -> "ExportedForm":
        if self.sees is None and self.hears is None:
            raise ValueError("give sees, hears or both")
        if self.shared and (self.sees is None or self.hears is None):
            raise ValueError("a shared space needs both sees and hears")
        return self


def read_form(path: Path) -> ExportedForm:
    """Read one; files come back with their whole paths.

    Raises:
        UserError: The file cannot be read, or a setting is unknown, missing or of a wrong kind.
    """
    values = read_json(path)
    try:
        form = ExportedForm.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{path}: {f'{where}: ' if where else ''}{first['msg']}") from error

    def whole(one: Network) -> dict[str, Path]:
        return {"file": path.parent / one.file}

    return form.model_copy(
        update={
            "sees": form.sees and form.sees.model_copy(update=whole(form.sees)),
            "hears": form.hears and form.hears.model_copy(update=whole(form.hears)),
        }
    )

"""One pipeline of a joint run: its own ``__call__``, with the ``step`` of its scheduler joined."""

import functools
import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import torch
from torch import Tensor

from mmdisco.adapters.device import ran_out
from mmdisco.adapters.stock.model import StockModel
from mmdisco.adapters.stock.probe import StepArguments, replaced, step_arguments
from mmdisco.core.noise import NoiseLevel
from mmdisco.core.parameterization import Prediction
from mmdisco.errors import UserError
from mmdisco.generation.meeting import Meeting, SideState
from mmdisco.io.shapes import Text

StepCallback = Callable[[Any, int, Any, dict[str, Any]], Mapping[str, Any] | None]
"""Called with the pipeline, the step, the timestep and {"latents": …} after each step; what it
returns as "latents" replaces them."""

_ADVICE: Final = (
    "enable_model_cpu_offload() and vae.enable_tiling() on it, or a smaller or shorter clip"
)


@dataclass(frozen=True)
class PipelineSide:
    """A pipeline with the arguments of its call.

    Attributes:
        name: "audio" or "video".
        model: The pipeline and its arguments.
        shape: Shape of one sample's latent in the core's layout.
        callback: Called after each step.
    """

    name: str
    model: StockModel[Any]
    shape: torch.Size
    callback: StepCallback | None

    @property
    def batch_size(self) -> int:
        """Samples of a call."""
        return len(self.prompts) * self._per_prompt

    @property
    def prompts(self) -> list[str]:
        """Prompts of the call."""
        given = self.model.arguments.get("prompt")
        return [given] if isinstance(given, str) else list(given or ())

    @property
    def _per_prompt(self) -> int:
        names = ("num_videos_per_prompt", "num_waveforms_per_prompt")
        return next((n for n in map(self.model.arguments.get, names) if n), 1)

    def captions(self) -> Text:
        """Return the pooled caption of each sample, of given embeddings where there is no prompt.

        Raises:
            UserError: There is neither.
        """
        call = self.model.arguments
        embedded = [one for name, one in call.items() if name.startswith("prompt_embeds")]
        if self.prompts:
            pooled = self.model.encode_prompts(self.prompts).pooled
        elif embedded and embedded[0] is not None:
            masks = [one for name, one in call.items() if "mask" in name and "negative" not in name]
            pooled = self.model.pool(embedded[0], masks)
        else:
            raise UserError(f"the {self.name} pipeline has no prompt: give one")
        return pooled.repeat_interleave(self._per_prompt, 0)

    def run(self, meeting: Meeting) -> Any:
        """Run the pipeline's own call; return its output.

        Raises:
            UserError: Its device has no memory left.
        """
        pipe = self.model.pipe
        joined = _JoinedStep(self, meeting, pipe.scheduler.step)
        step = functools.wraps(pipe.scheduler.step)(joined)
        with replaced(pipe.scheduler, "step", step), memory_advised(pipe):
            return pipe(**self.model.call)


def memory_advised(pipe: Any) -> AbstractContextManager[None]:
    """Say in the block what to try where a pipeline's memory runs out."""
    return ran_out(type(pipe).__name__, _ADVICE)


def changed_output(
    prediction: Prediction, output: Tensor, change: Tensor, level: NoiseLevel
) -> Tensor:
    """Return a network's output with its ε̂ changed.

    Args:
        prediction: Parameterization of the output.
        output: The output, in the pipeline's layout.
        change: Change of ε̂, likewise.
        level: Noise level, a batch of one.
    """
    return (output + float(prediction.gain(level)) * change.to(output.device)).to(output.dtype)


class _JoinedStep:
    """A scheduler's ``step`` that waits for the other side and takes its correction."""

    def __init__(self, side: PipelineSide, meeting: Meeting, plain: Callable[..., Any]) -> None:
        self._side = side
        self._meeting = meeting
        self._plain = plain
        self._signature = inspect.signature(plain)
        self._count = 0

    def __call__(self, *given: Any, **named: Any) -> Any:
        side, pipe = self._side, self._side.model.pipe
        bound = self._signature.bind(*given, **named)
        arguments = step_arguments(bound)
        level = side.model.levels.level(pipe.scheduler, arguments.t)
        done = Fraction(self._count, len(pipe.scheduler.timesteps))
        change = self._meeting.arrive(
            side.name, SideState(self._to_core(arguments.sample), level, done)
        )
        if change is not None:
            bound.arguments["model_output"] = self._changed(arguments, change, level)
        stepped = self._plain(*bound.args, **bound.kwargs)
        self._count += 1
        return self._after(stepped, arguments.t)

    def _changed(self, arguments: StepArguments, change: Tensor, level: NoiseLevel) -> Tensor:
        model = self._side.model
        own = model.family.layout.to_step(model.pipe, change)
        return changed_output(model.levels.prediction, arguments.output, own, level)

    def _after(self, stepped: Any, t: Any) -> Any:
        """Call back with the new latents, and note them."""
        latents = stepped[0]
        if self._side.callback is not None:
            kept = {"latents": latents}
            returned = self._side.callback(self._side.model.pipe, self._count - 1, t, kept)
            new = (returned or {}).get("latents", latents)
            if new is not latents and hasattr(stepped, "prev_sample"):
                stepped.prev_sample = new
            elif new is not latents:
                stepped = (new, *stepped[1:])
            latents = new
        self._meeting.stepped(self._side.name, self._to_core(latents))
        return stepped

    def _to_core(self, x: Tensor) -> Tensor:
        model = self._side.model
        return model.family.layout.to_core(model.pipe, x, self._side.shape)

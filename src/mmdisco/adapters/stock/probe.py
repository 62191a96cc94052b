"""A pipeline's own ``__call__``, run for a single prediction or for its decoder alone.

The pipeline is given latents and a copy of its scheduler that visits one level or none. For a
prediction the run ends at the first ``step``, whose arguments are the pipeline's own output,
with its own guidance, experts and image conditioning. Without a step only decoding is left.
"""

import functools
import inspect
from collections import OrderedDict
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from mmdisco.adapters.stock.schedulers import SchedulerLevels
from mmdisco.core.av import AV
from mmdisco.core.noise import NoiseLevel

_CACHED: Final = 32  # encoded prompts; those of large text encoders take megabytes each


class StepArguments(NamedTuple):
    """Arguments of a scheduler's ``step``, by meaning; the pipeline's own layout."""

    output: Tensor
    t: Any
    sample: Tensor


class _ReachedError(BaseException):
    pass


def step_arguments(bound: inspect.BoundArguments) -> StepArguments:
    """Pick the three arguments that every scheduler's ``step`` has, in whichever order."""
    named = bound.arguments
    return StepArguments(named["model_output"], named["timestep"], named["sample"])


def predict(
    pipe: Any, levels: SchedulerLevels, level: NoiseLevel, call: Mapping[str, Any]
) -> StepArguments:
    """Return what the pipeline would pass to its scheduler's ``step`` at a level.

    Args:
        pipe: The pipeline; left as it was.
        levels: Levels of its scheduler.
        level: A single level; a level of each sample where the network takes a timestep of each.
        call: Arguments of ``__call__``, with ``latents`` in the pipeline's own layout.
    """
    reached: list[StepArguments] = []
    _run_to_step(pipe, _noting(pipe, levels, level, reached, last=True), call)
    return reached[0]


def predict_both(
    pipe: Any, levels: SchedulerLevels, level: AV[NoiseLevel], call: Mapping[str, Any]
) -> AV[StepArguments]:
    """Return what a pipeline of video and sound would pass to the ``step`` of either scheduler.

    It steps the video's scheduler first, then the deep copy of it that it makes for the sound.

    Args:
        pipe: The pipeline; left as it was.
        levels: Levels of its scheduler.
        level: A single level of either side.
        call: Arguments of ``__call__``, with latents of both in the pipeline's own layout.
    """
    reached: list[StepArguments] = []
    video = _noting(pipe, levels, level.video, reached, last=False)
    audio = _noting(pipe, levels, level.audio, reached, last=True)

    def copied(memo: Any) -> Any:
        return audio

    video.__deepcopy__ = copied
    _run_to_step(pipe, video, call)
    return AV(reached[1], reached[0])


def _noting(
    pipe: Any,
    levels: SchedulerLevels,
    level: NoiseLevel,
    reached: list[StepArguments],
    *,
    last: bool,
) -> Any:
    """Return a scheduler of one level that notes the arguments of its step."""
    signature = inspect.signature(pipe.scheduler.step)

    def step(*given: Any, **named: Any) -> Any:
        reached.append(step_arguments(signature.bind(*given, **named)))
        if last:
            raise _ReachedError
        return (reached[-1].sample,)

    scheduler = levels.visiting(pipe.scheduler, [level])
    scheduler.step = functools.wraps(pipe.scheduler.step)(step)
    return scheduler


def _run_to_step(pipe: Any, scheduler: Any, call: Mapping[str, Any]) -> None:
    try:
        with _quiet(pipe, scheduler):
            pipe(**call)
    except _ReachedError:
        return
    raise RuntimeError(f"{type(pipe).__name__} ended without a step of its scheduler")


def decode(pipe: Any, levels: SchedulerLevels, call: Mapping[str, Any]) -> Any:
    """Return the pipeline's output for clean ``latents``, without a step."""
    with _quiet(pipe, levels.visiting(pipe.scheduler, [])):
        return pipe(**call)


class PromptCache:
    """Encodes each prompt of a pipeline once: stands in for its ``encode_prompt`` while in use.

    Attributes:
        plain: The pipeline's own method.
    """

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self._name = "encode_prompt" if hasattr(pipe, "encode_prompt") else "_encode_prompt"
        self._encoded: dict[str, Any] = {}
        self.plain: Callable[..., Any] = getattr(pipe, self._name)
        self._signature = inspect.signature(self.plain)

    def used(self) -> AbstractContextManager[None]:
        """Answer from the cache inside the block."""
        return replaced(self._pipe, self._name, self.encode)

    def encode(self, *given: Any, **named: Any) -> Any:
        """Return what the pipeline's own method returns, or returned before.

        Each prompt of a list is encoded by itself: beside a longer one some text encoders read
        the padding, and the encoding of a prompt would depend on its batch.
        """
        if any(isinstance(one, Tensor) for one in (*given, *named.values())):
            return self.plain(*given, **named)
        bound = self._signature.bind(*given, **named)
        prompts = bound.arguments["prompt"]
        if not isinstance(prompts, list) or len(prompts) == 1:
            return self._encode_one(bound)
        return _joined([self._encode_one(_of_sample(bound, i)) for i in range(len(prompts))])

    def _encode_one(self, bound: inspect.BoundArguments) -> Any:
        key = repr(sorted(bound.arguments.items()))
        if key not in self._encoded:
            if len(self._encoded) >= _CACHED:
                self._encoded.pop(next(iter(self._encoded)))
            self._encoded[key] = self.plain(*bound.args, **bound.kwargs)
        return self._encoded[key]


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Generator[None]:
    """Replace an attribute of an object inside the block.

    Pipelines write what is set to their configuration, so it goes past their ``__setattr__``.
    """
    own = vars(owner)
    before = {name: own[name]} if name in own else {}
    own[name] = value
    try:
        yield
    finally:
        del own[name]
        own.update(before)


def _of_sample(bound: inspect.BoundArguments, index: int) -> inspect.BoundArguments:
    """Return the arguments for a single prompt of a list."""
    count = len(bound.arguments["prompt"])
    own = {
        name: [one[index]] if isinstance(one, list) and len(one) == count else one
        for name, one in bound.arguments.items()
    }
    if "batch_size" in own:
        own["batch_size"] = 1
    return inspect.BoundArguments(bound.signature, OrderedDict(own))


def _joined(encodings: Sequence[Any]) -> Any:
    """Join the encodings of single prompts, the shorter ones filled up with zeros.

    Of a prompt with its negative one in front, all negative ones come first.
    """
    first = encodings[0]
    if isinstance(first, Tensor):
        each = list(encodings)
        if first.ndim > 1:
            tokens = max(one.shape[1] for one in each)
            padding = (0, 0) * (first.ndim - 2)
            each = [functional.pad(one, (*padding, 0, tokens - one.shape[1])) for one in each]
        return torch.stack(each, dim=1).flatten(0, 1)
    if isinstance(first, tuple | list):
        return type(first)(_joined(one) for one in zip(*encodings, strict=True))
    return first


@contextmanager
def _quiet(pipe: Any, scheduler: Any) -> Generator[None]:
    """Put a scheduler in the place of the pipeline's own, and show no progress."""
    with (
        replaced(pipe, "_progress_bar_config", {"disable": True}),
        replaced(pipe, "scheduler", scheduler),
    ):
        yield

"""A pipeline of video with sound, guided by a discriminator at its own schedulers.

The pipeline makes its own run, with whatever was set on it: at joint scale 0 it makes to the bit
what it makes alone.
"""

import copy
import functools
import inspect
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from mmdisco.adapters.stock.joint import StockJointModel, stock_joint
from mmdisco.adapters.stock.probe import replaced, step_arguments
from mmdisco.core.av import AV, each
from mmdisco.core.discriminator import Discriminator
from mmdisco.core.log_ratio import ReuseEvery
from mmdisco.errors import UserError
from mmdisco.generation.correction import Scale, correction
from mmdisco.generation.cost import JointCost, count_cost
from mmdisco.generation.meeting import Correction, SideState
from mmdisco.generation.pipeline_side import changed_output, memory_advised
from mmdisco.io.shapes import Text


@dataclass(frozen=True)
class GuidedPipeline:
    """A joint pipeline (LTX-2), guided by a discriminator of real pairs against its own.

    Attributes:
        pipe: The loaded pipeline.
        discriminator: Log ratio of real pairs against those that the pipeline makes.
        reuse: How often the discriminator's gradient is computed.
    """

    pipe: Any
    discriminator: Discriminator
    reuse: ReuseEvery = field(default_factory=ReuseEvery)

    def __call__(
        self,
        prompt: str | list[str],
        *,
        joint_scale: Scale | AV[Scale] = 1.0,
        **call: Any,
    ) -> Any:
        """Generate videos with sound; return what the pipeline returns.

        Args:
            prompt: One prompt, or one a clip.
            joint_scale: Scale s of the discriminator's gradient, also by noise level, also one
                a side; 0 is the pipeline's own run.
            **call: Further arguments of the pipeline's call.

        Raises:
            UserError: The pipeline, the discriminator and the arguments do not fit together.
        """
        model = stock_joint(self.pipe, call)
        prompts = [prompt] if isinstance(prompt, str) else prompt
        count = model.video.arguments.get("num_videos_per_prompt") or 1

        def captions() -> AV[Text]:
            pooled = model.encode_prompts(prompts).map(lambda one: one.pooled)
            return pooled.map(lambda text: text.repeat_interleave(count, 0))

        shapes, name = model.sample_shapes, type(self.pipe).__name__
        correct = correction(
            self.discriminator, joint_scale, captions, shapes, self.reuse.begin(), name
        )
        with _GuidedSteps(model, shapes, correct).joined(), memory_advised(self.pipe):
            return self.pipe(prompt=prompt, **call)

    def cost(
        self, prompt: str | list[str], *, capacity: int | None = None, **call: Any
    ) -> JointCost:
        """Return what a call with the same arguments costs, without computing any network.

        Args:
            prompt: As in a call.
            capacity: Bytes of the device; its own unless given.
            **call: Further arguments of a call.

        Raises:
            UserError: As a call does, or a network's course depends on its numbers.
        """

        def run(pipes: Mapping[str, Any], discriminator: Discriminator | None) -> None:
            judged = discriminator or self.discriminator
            replace(self, pipe=pipes["joint"], discriminator=judged)(prompt, **call)

        return count_cost({"joint": self.pipe}, self.discriminator, run, capacity)


class _GuidedSteps:
    """The ``step`` of the video's scheduler and of its copy for the sound, with a correction.

    Sound is stepped after video, from a latent that is known before: its first one or the result
    of its last step. So the video's step computes the correction of both.
    """

    def __init__(self, model: StockJointModel, shapes: AV[torch.Size], correct: Correction) -> None:
        self._model = model
        self._shapes = shapes
        self._correct = correct
        self._sound: Tensor | None = None
        self._changes: AV[Tensor | None] = AV(None, None)

    @contextmanager
    def joined(self) -> Generator[None]:
        """Correct the steps of the pipeline inside the block."""
        pipe = self._model.pipe
        scheduler = pipe.scheduler

        def copied(memo: Any) -> Any:
            return self._twin(scheduler, memo)

        with (
            replaced(pipe, "prepare_audio_latents", self._noting(pipe.prepare_audio_latents)),
            replaced(scheduler, "__deepcopy__", copied),
            replaced(scheduler, "step", self._joined_step(scheduler, "video")),
        ):
            yield

    def _noting(self, plain: Any) -> Any:
        def prepare_audio_latents(*given: Any, **named: Any) -> Tensor:
            made: Tensor = plain(*given, **named)
            self._sound = made
            return made

        return prepare_audio_latents

    def _twin(self, scheduler: Any, memo: Any) -> Any:
        """Return the copy that a deep copy of the scheduler would be, with a step of its own."""
        bare = copy.copy(scheduler)
        for name in ("step", "__deepcopy__"):
            del vars(bare)[name]
        twin = copy.deepcopy(bare, memo)
        twin.step = self._joined_step(twin, "audio")
        return twin

    def _joined_step(self, scheduler: Any, side: str) -> Any:
        plain = scheduler.step
        signature, levels = inspect.signature(plain), self._model.levels

        def step(*given: Any, **named: Any) -> Any:
            bound = signature.bind(*given, **named)
            arguments = step_arguments(bound)
            level = levels.level(scheduler, arguments.t)
            if side == "video":
                if self._sound is None:
                    raise UserError(f"{type(self._model.pipe).__name__} has no latents of sound")
                sample = AV(self._sound, arguments.sample)
                states = self._model.to_core(sample, self._shapes)
                changes = self._correct(states.map(lambda x: SideState(x, level)))
                self._changes = self._packed(changes, states)
            change = getattr(self._changes, side)
            if change is not None:
                output = changed_output(levels.prediction, arguments.output, change, level)
                bound.arguments["model_output"] = output
            stepped = plain(*bound.args, **bound.kwargs)
            if side == "audio":
                self._sound = stepped[0]
            return stepped

        return functools.wraps(plain)(step)

    def _packed(self, changes: AV[Tensor | None], states: AV[Tensor]) -> AV[Tensor | None]:
        packed = self._model.to_step(each(_or_zeros, changes, states))
        return each(lambda own, tokens: None if own is None else tokens, changes, packed)


def _or_zeros(change: Tensor | None, x: Tensor) -> Tensor:
    return torch.zeros_like(x) if change is None else change

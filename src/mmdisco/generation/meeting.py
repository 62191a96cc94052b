"""Two loops that run side by side and take their steps at agreed turns.

Either loop calls ``arrive`` before each of its steps and waits there. When both wait, the one
that has made less of its way steps, or both where they are level; a correction is computed from
both states first. With equally many steps that is one meeting a step. Which loop runs when
depends on the numbers of steps alone, so a run can be repeated to the bit.

Knows threads, and neither diffusers nor guidance.
"""

import contextvars
import threading
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import torch
from torch import Tensor
from typing_extensions import override

from mmdisco.core.av import AV
from mmdisco.core.noise import NoiseLevel

SIDES: Final = AV("audio", "video")


@dataclass(frozen=True)
class SideState:
    """A latent between two steps of its loop.

    Attributes:
        x_t: Latent in the core's layout, batch first.
        level: Its noise level, a batch of one.
        done: Share of the loop's steps that were made.
    """

    x_t: Tensor
    level: NoiseLevel
    done: Fraction = Fraction(1)


Correction = Callable[[AV[SideState]], AV[Tensor | None]]
"""From both states to the change of either side's ε̂; ``None`` changes nothing."""


class AbandonedError(BaseException):
    """The other side has failed; raised inside a loop to end it."""


class Meeting:
    """Two loops, at most one of which computes at a time unless they may run in parallel.

    Args:
        correct: Called at each meeting.
        given: States that do not change; a side that has one runs no loop.
        parallel: Whether both loops may compute at once, as on two devices.
    """

    def __init__(
        self, correct: Correction, given: AV[SideState | None], *, parallel: bool = False
    ) -> None:
        self._correct = correct
        self._parallel = parallel
        self._changed = threading.Condition()
        self._last = {side: state for side, state in _sides(given) if state is not None}
        # the video first: whatever draws from torch's own generator does so in one order
        self._unfinished = [side for side in ("video", "audio") if side not in self._last]
        self._ready = list(self._unfinished)
        self._running: set[str] = set()
        self._waiting: dict[str, SideState] = {}
        self._corrections: dict[str, Tensor | None] = {}
        self._failure: BaseException | None = None
        self.count = 0

    def run(self, loops: AV[Callable[[], Any]]) -> AV[Any]:
        """Run the loops and return their results; ``None`` for a given side.

        Errors and Ctrl-C on one side end the other at its next step, and are raised here.
        """
        results: dict[str, Any] = {}

        def one(side: str, loop: Callable[[], Any]) -> None:
            try:
                self._wait_for_turn(side)
                results[side] = loop()
                self._finish(side)
            except BaseException as error:
                self._fail(error)

        jobs = [(side, loop) for side, loop in _sides(loops) if side in self._unfinished]
        # the last one, the video where both run, stays in the caller's thread, where Ctrl-C arrives
        here = jobs.pop()
        threads = [_Thread(lambda job=job: one(*job)) for job in jobs]
        for thread in threads:
            thread.start()
        try:
            one(*here)
            for thread in threads:
                thread.join()
        except BaseException as error:  # Ctrl-C while the other side ends
            self._fail(error)
            for thread in threads:
                thread.join()
        if self._failure is not None:
            raise self._failure
        return SIDES.map(results.get)

    def arrive(self, side: str, state: SideState) -> Tensor | None:
        """Wait for the turn of a side's next step; return the change of its ε̂."""
        with self._changed:
            self._waiting[side] = state
            self._running.discard(side)
            self._settle()
        self._wait_for_turn(side)
        return self._corrections.pop(side, None)

    def stepped(self, side: str, x: Tensor) -> None:
        """Note the result of a side's step, which is its clean latent if no other step follows."""
        self._last[side] = SideState(x, NoiseLevel.clean(1))

    def _wait_for_turn(self, side: str) -> None:
        with self._changed:
            self._start_ready()
            self._changed.wait_for(lambda: side in self._running or self._failure is not None)
            if self._failure is not None:
                raise AbandonedError

    def _finish(self, side: str) -> None:
        with self._changed:
            self._unfinished.remove(side)
            self._running.discard(side)
            self._settle()

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            if self._failure is None and not isinstance(error, AbandonedError):
                self._failure = error
            self._changed.notify_all()

    def _settle(self) -> None:
        """Hold a meeting if every side that goes on waits."""
        if self._running or self._ready or not self._waiting.keys() >= set(self._unfinished):
            self._start_ready()
            return
        if not self._unfinished:
            return
        states = SIDES.map(lambda side: self._waiting.get(side) or self._last.get(side))
        if states.audio is not None and states.video is not None:
            changes = self._correct(AV(states.audio, states.video))
            self._corrections = {side: change for side, change in _sides(changes)}
            self.count += 1
        behind = min(self._waiting[side].done for side in self._unfinished)
        self._ready = [side for side in self._unfinished if self._waiting[side].done == behind]
        for side in self._ready:
            del self._waiting[side]
        self._start_ready()

    def _start_ready(self) -> None:
        while self._ready and (self._parallel or not self._running):
            self._running.add(self._ready.pop(0))
        self._changed.notify_all()


class _Thread(threading.Thread):
    """A thread with the caller's context variables, autocast, inference and gradient modes."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._context = contextvars.copy_context()
        self._autocast = [
            (kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind))
            for kind in ("cpu", "cuda")
        ]
        self._inference = torch.is_inference_mode_enabled()
        self._gradients = torch.is_grad_enabled()

    @override
    def run(self) -> None:
        (cpu, cpu_type, cpu_on), (cuda, cuda_type, cuda_on) = self._autocast
        with (
            torch.autocast(cpu, cpu_type, enabled=cpu_on),
            torch.autocast(cuda, cuda_type, enabled=cuda_on and torch.cuda.is_available()),
            torch.inference_mode(mode=self._inference),
            torch.set_grad_enabled(self._gradients),
        ):
            self._context.run(self._work)


def _sides(values: AV[Any]) -> list[tuple[str, Any]]:
    return [("audio", values.audio), ("video", values.video)]

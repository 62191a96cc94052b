"""Profiler that assigns time, floating-point operations and memory to the parts of a step.

Parts nest: a guided denoiser holds a discriminator and two base models. The cost of an inner part
is excluded from the outer one. Networks are measured by hooks, so that the measured step is the one
of generation.
"""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from typing_extensions import override

from mmdisco.core.av import AV
from mmdisco.core.denoiser import Conditioning, JointDenoiser
from mmdisco.core.noise import NoiseLevel

AUDIO: Final = "audio base"
VIDEO: Final = "video base"
JOINT: Final = "joint base"
DISCRIMINATOR: Final = "discriminator"
SCHEDULER: Final = "scheduler"


@dataclass
class Cost:
    """Cost of one part of a step.

    Attributes:
        runs: Number of runs.
        seconds: Wall time.
        cpu_seconds: CPU time of all threads of the process.
        flops: Floating-point operations of matrix products, convolutions and attention.
        peak_bytes: Peak of all memory held meanwhile, other parts' included; 0 where unknown.
    """

    runs: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    flops: int = 0
    peak_bytes: int = 0


_CLEAR: Final = Path("/proc/self/clear_refs")
_STATUS: Final = Path("/proc/self/status")


def reset_peak(device: torch.device) -> None:
    """Reset the high-water mark of memory to what is held now, where the system allows it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        # proc(5): 5 sets the mark of the process's resident set to the present size
        _CLEAR.write_text("5")


def peak_bytes(device: torch.device) -> int:
    """Return the peak since the reset: tensors on CUDA, else the resident set; 0 if unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        status = _STATUS.read_text()
    except OSError:
        return 0
    marks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(marks[0]) * 1024 if marks else 0


class Profiler:
    """Profiler of the parts of a step.

    Args:
        device: Device of the networks, which clocks synchronise with.
        count: Returns the floating-point operations so far; never decreases.
    """

    def __init__(self, device: torch.device, count: Callable[[], int]) -> None:
        self._device = device
        self._count = count
        self._inside: list[str] = []
        self._costs: dict[str, Cost] = {}
        self._since = self._reading()

    @contextmanager
    def part(self, name: str, runs: int = 1) -> Generator[None]:
        """Assign the cost of the block to ``name``, except that of nested parts.

        Args:
            name: Name of the part.
            runs: Number of runs that the block counts as.
        """
        self._enter(name, runs)
        try:
            yield
        finally:
            self._leave()

    def watch(self, network: nn.Module, name: str) -> None:
        """Assign the cost of every forward pass of a network to ``name``."""

        def enter(*_: object) -> None:
            self._enter(name, 1)

        def leave(*_: object) -> None:
            self._leave()

        network.register_forward_pre_hook(enter)
        network.register_forward_hook(leave, always_call=True)

    def _enter(self, name: str, runs: int) -> None:
        self._book()
        self._inside.append(name)
        self._costs.setdefault(name, Cost()).runs += runs

    def _leave(self) -> None:
        self._book()
        self._inside.pop()

    def close(self) -> dict[str, Cost]:
        """Return the costs since the last call, by part."""
        costs, self._costs = self._costs, {}
        return costs

    def _book(self) -> None:
        now = self._reading()
        if self._inside:
            cost = self._costs[self._inside[-1]]
            cost.seconds += now[0] - self._since[0]
            cost.cpu_seconds += now[1] - self._since[1]
            cost.flops += now[2] - self._since[2]
            cost.peak_bytes = max(cost.peak_bytes, peak_bytes(self._device))
        reset_peak(self._device)
        # read again, to exclude the cost of booking itself
        self._since = self._reading()

    def _reading(self) -> tuple[float, float, int]:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter(), time.process_time(), self._count()


@dataclass(frozen=True)
class ProfiledDenoiser(JointDenoiser):
    """A guided denoiser: without its watched networks it is the gradient of the discriminator.

    A few lines of arithmetic around the networks are counted with it.
    """

    denoiser: JointDenoiser
    profiler: Profiler

    @override
    def predict_noise(
        self, z_t: AV[Tensor], level: AV[NoiseLevel], cond: AV[Conditioning]
    ) -> AV[Tensor]:
        with self.profiler.part(DISCRIMINATOR, runs=0):
            return self.denoiser.predict_noise(z_t, level, cond)

"""Whose account a second, a floating-point operation or a gigabyte goes to.

Parts nest: a guided denoiser holds a discriminator and two bases. What is spent inside an inner
part is the inner one's alone. Denoisers are metered by wrappers, so what is measured is the very
step that sampling takes. Knows no pair.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from mmdisco.core.av import AV
from mmdisco.core.denoiser import Conditioning, Denoiser, JointDenoiser
from mmdisco.core.noise import NoiseLevel, NoiseSchedule
from mmdisco.shapes import Latent

AUDIO: Final = "audio base"
VIDEO: Final = "video base"
JOINT: Final = "joint base"
DISCRIMINATOR: Final = "discriminator"
SCHEDULER: Final = "scheduler"


@dataclass
class Cost:
    """What one part of a step has taken.

    Attributes:
        calls: How often it was entered.
        seconds: Wall time.
        cpu_seconds: Of all threads of the process.
        flops: Floating-point operations of matrix products, convolutions and attention.
        peak_bytes: The most memory held meanwhile, everything else that is held included; 0 where
            that cannot be known.
    """

    calls: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    flops: int = 0
    peak_bytes: int = 0


class Memory(ABC):
    """A high-water mark of memory."""

    @abstractmethod
    def reset(self) -> None:
        """Begin anew from what is held now."""

    @abstractmethod
    def peak(self) -> int:
        """Bytes at most since the reset; 0 where that cannot be known."""


class DeviceMemory(Memory):
    """Tensors on a CUDA device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def reset(self) -> None:
        """Begin anew."""
        torch.cuda.reset_peak_memory_stats(self._device)

    def peak(self) -> int:
        """Bytes of all tensors at most."""
        return torch.cuda.max_memory_allocated(self._device)


class ResidentMemory(Memory):
    """The process's resident set, on Linux; elsewhere nothing is known."""

    _CLEAR: Final = Path("/proc/self/clear_refs")
    _STATUS: Final = Path("/proc/self/status")

    def reset(self) -> None:
        """Begin anew, where the system lets a process do that."""
        try:
            # proc(5): 5 sets the high-water mark to the present size
            self._CLEAR.write_text("5")
        except OSError:
            return

    def peak(self) -> int:
        """Bytes at most."""
        try:
            status = self._STATUS.read_text()
        except OSError:
            return 0
        marks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
        return int(marks[0]) * 1024 if marks else 0


class Profiler:
    """The accounts of the parts of a step.

    Args:
        device: Where networks compute; clocks wait for it.
        count: Floating-point operations since some moment; never falls.
    """

    def __init__(self, device: torch.device, count: Callable[[], int]) -> None:
        self._device = device
        self._count = count
        cuda = device.type == "cuda"
        self._memory: Memory = DeviceMemory(device) if cuda else ResidentMemory()
        self._inside: list[str] = []
        self._costs: dict[str, Cost] = {}
        self._since = self._reading()

    @contextmanager
    def part(self, name: str) -> Generator[None]:
        """What is done in the block is on the account of ``name``, but for parts inside of it."""
        self._book()
        self._inside.append(name)
        self._costs.setdefault(name, Cost()).calls += 1
        try:
            yield
        finally:
            self._book()
            self._inside.pop()

    def close(self) -> dict[str, Cost]:
        """The accounts since the last time, by part."""
        costs, self._costs = self._costs, {}
        return costs

    def _book(self) -> None:
        now = self._reading()
        if self._inside:
            cost = self._costs[self._inside[-1]]
            cost.seconds += now[0] - self._since[0]
            cost.cpu_seconds += now[1] - self._since[1]
            cost.flops += now[2] - self._since[2]
            cost.peak_bytes = max(cost.peak_bytes, self._memory.peak())
        self._memory.reset()
        # again, for what the booking itself has taken is nobody's
        self._since = self._reading()

    def _reading(self) -> tuple[float, float, int]:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter(), time.process_time(), self._count()


@dataclass(frozen=True)
class Profiled(Denoiser):
    """A denoiser of one modality on an account of its own."""

    denoiser: Denoiser
    ledger: Profiler
    name: str

    @property
    def schedule(self) -> NoiseSchedule:
        """Unchanged."""
        return self.denoiser.schedule

    def predict_noise(self, x_t: Latent, level: NoiseLevel, cond: Conditioning) -> Latent:
        """Unchanged."""
        with self.ledger.part(self.name):
            return self.denoiser.predict_noise(x_t, level, cond)


@dataclass(frozen=True)
class ProfiledJoint(JointDenoiser):
    """A joint denoiser on an account of its own.

    Around ``JointGuidance`` it is the discriminator's: its bases are metered themselves, and the
    rest is the gradient and one line of arithmetic.
    """

    denoiser: JointDenoiser
    ledger: Profiler
    name: str

    def predict_noise(
        self, z_t: AV[Tensor], level: AV[NoiseLevel], cond: AV[Conditioning]
    ) -> AV[Tensor]:
        """Unchanged."""
        with self.ledger.part(self.name):
            return self.denoiser.predict_noise(z_t, level, cond)

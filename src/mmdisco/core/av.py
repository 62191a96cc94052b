"""One value per modality, of any type; independent of tensors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

A = TypeVar("A")
Value = TypeVar("Value", covariant=True)
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class AV(Generic[Value]):
    """A value for audio and one for video, always in this order."""

    audio: Value
    video: Value

    def map(self, fn: Callable[[Value], R]) -> "AV[R]":
        """Apply ``fn`` to the audio's value, then to the video's."""
        return AV(fn(self.audio), fn(self.video))

    def swap(self) -> "AV[Value]":
        """Exchange the modalities."""
        return AV(self.video, self.audio)


@overload
def each(fn: Callable[[A, B], R], first: AV[A], second: AV[B], /) -> AV[R]: ...
@overload
def each(fn: Callable[[A, B, C], R], first: AV[A], second: AV[B], third: AV[C], /) -> AV[R]: ...
@overload
def each(
    fn: Callable[[A, B, C, D], R], first: AV[A], second: AV[B], third: AV[C], fourth: AV[D], /
) -> AV[R]: ...
def each(fn: Callable[..., R], /, *values: AV[Any]) -> AV[R]:
    """Apply ``fn`` to the audio's values of all arguments, then to the video's, as ``map`` does."""
    return AV(fn(*(value.audio for value in values)), fn(*(value.video for value in values)))

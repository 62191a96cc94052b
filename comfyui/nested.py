"""Nested latents of ComfyUI, which hold a video first and its sound second."""

from collections.abc import Callable
from typing import Any

import comfy.utils
import torch
from comfy.nested_tensor import NestedTensor
from torch import Tensor

from mmdisco.core.av import AV
from mmdisco.errors import UserError

LatentDict = dict[str, Any]
"""A LATENT of ComfyUI: "samples", and perhaps a "noise_mask"."""


class VideoScaled(NestedTensor):
    """Nested latents of which arithmetic changes the video alone.

    ComfyUI scales what a run showed last by the video's latent format; the sound is scaled already.
    """

    def _copy(self) -> "VideoScaled":
        return VideoScaled(self.tensors)

    def apply_operation(self, other: Any, operation: Callable[[Any, Any], Any]) -> Any:
        """Apply an operation to the video, or, where there is no other operand, to both."""
        if other is None:
            return super().apply_operation(other, operation)
        return VideoScaled([operation(self.tensors[0], other), *self.tensors[1:]])


def unbound(latent: Any) -> AV[Tensor]:
    """Return both parts of nested latents, which hold the video first.

    Raises:
        UserError: They are not two, or not as many.
    """
    parts = latent.unbind() if getattr(latent, "is_nested", False) else [latent]
    if len(parts) != 2:
        raise UserError("a latent of one modality: join one of video and one of sound first")
    if len(parts[0]) != len(parts[1]):
        raise UserError(f"{len(parts[0])} videos and {len(parts[1])} sounds: give as many of each")
    return AV(parts[1], parts[0])


def unbound_mask(mask: Any) -> AV[Tensor | None]:
    """Return the masks of both parts; one that is not nested is the video's."""
    if not getattr(mask, "is_nested", False):
        return AV(None, mask)
    video, audio = mask.unbind()
    return AV(audio, video)


def pack(latents: AV[Tensor]) -> Tensor:
    """Return both latents as one (b, 1, n), on the video's device."""
    video = latents.video
    return comfy.utils.pack_latents([video, latents.audio.to(video)])[0]


def unpack(packed: Tensor, shapes: AV[torch.Size]) -> AV[Tensor]:
    """Invert ``pack``."""
    video, audio = comfy.utils.unpack_latents(packed, [shapes.video, shapes.audio])
    return AV(audio, video)


def joined(parts: AV[LatentDict]) -> LatentDict:
    """Return joint latents with the masks of both parts.

    Raises:
        UserError: One part is joint already, or there are not as many videos as sounds.
    """
    if any(part["samples"].is_nested for part in (parts.audio, parts.video)):
        raise UserError("a latent that is joint already: split it first")
    samples = NestedTensor([parts.video["samples"], parts.audio["samples"]])
    unbound(samples)
    out: LatentDict = {"samples": samples}
    if "batch_index" in parts.video:
        out["batch_index"] = parts.video["batch_index"]
    if "noise_mask" in parts.video or "noise_mask" in parts.audio:
        masks = parts.map(lambda one: one.get("noise_mask", _whole(one["samples"])))
        out["noise_mask"] = NestedTensor([masks.video, masks.audio])
    return out


def split(latent: LatentDict) -> AV[LatentDict]:
    """Invert ``joined``.

    Raises:
        UserError: The latents are of one modality.
    """
    samples = unbound(latent["samples"])
    parts: AV[LatentDict] = samples.map(lambda own: {"samples": own})
    mask = latent.get("noise_mask")
    if mask is not None and getattr(mask, "is_nested", False):
        masks = mask.unbind()
        parts.video["noise_mask"], parts.audio["noise_mask"] = masks[0], masks[1]
    elif mask is not None:
        parts.video["noise_mask"] = mask
    return parts


def held_latent(given: Tensor, empty: Tensor, side: str) -> LatentDict:
    """Return latents that sampling leaves as they are, for each clip of a batch.

    Raises:
        UserError: They are of another shape than those whose place they take.
    """
    if given.shape[1:] != empty.shape[1:]:
        raise UserError(
            f"the given {side} has latents of {tuple(given.shape[1:])}, the joint ones have "
            f"{tuple(empty.shape[1:])}: take the length and the autoencoder that made them"
        )
    samples = given.to(empty).expand(empty.shape).clone()
    return {"samples": samples, "noise_mask": torch.zeros_like(_whole(samples))}


def _whole(samples: Tensor) -> Tensor:
    """Return the mask of latents that are generated."""
    return torch.ones_like(samples[:, :1])

"""A frozen base that is asked the same again: its answers on disk.

Training runs the base on every noised batch, which costs more than the discriminator itself. The
base never changes, so with ``TrainConfig.period`` the same noised batches come again and the base
is run once for each, in all epochs and for every discriminator trained with the same seed.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mmdisco.core.av import AV, each
from mmdisco.core.denoiser import Conditioning, JointDenoiser
from mmdisco.core.noise import NoiseLevel
from mmdisco.errors import UserError
from mmdisco.io.files import read_tensors, write_tensors


@dataclass(frozen=True)
class CachedDenoiser(JointDenoiser):
    """A base whose predictions are kept in files named by the hash of what it was asked.

    They are kept in half precision, whose error, 5e-4 of a prediction, is far below the spread of
    the noise that it predicts. A damaged file is made again.

    Attributes:
        base: The frozen base. Another base wants another folder: the names do not tell it.
        folder: Where predictions are kept; two processes may share it.
    """

    base: JointDenoiser
    folder: Path

    def predict_noise(
        self, z_t: AV[Tensor], level: AV[NoiseLevel], cond: AV[Conditioning]
    ) -> AV[Tensor]:
        """ε of either modality, from the folder where it is there."""
        name = _digest(z_t, level, cond)
        path = self.folder / name[:2] / f"{name}.safetensors"
        if path.is_file():
            try:
                kept = read_tensors(path)
                return each(lambda one, like: one.to(like), AV(**kept), z_t)
            except (UserError, TypeError):
                path.unlink(missing_ok=True)
        eps = self.base.predict_noise(z_t, level, cond)
        halves = eps.map(lambda one: one.to("cpu", torch.float16))
        write_tensors(path, {"audio": halves.audio, "video": halves.video}, {})
        # as it will be read, so that a run that stopped and went on gives the same weights
        return each(lambda one, like: one.to(like), halves, z_t)


def _digest(z_t: AV[Tensor], level: AV[NoiseLevel], cond: AV[Conditioning]) -> str:
    digest = hashlib.sha256()
    for x_t, at, caption in (
        (z_t.audio, level.audio, cond.audio),
        (z_t.video, level.video, cond.video),
    ):
        for tensor in (x_t, at.t, at.alpha, at.sigma, caption.pooled, *caption.embeds):
            digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
            # as bytes: numpy has no bfloat16
            digest.update(
                tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            )
    return digest.hexdigest()

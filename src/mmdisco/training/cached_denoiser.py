"""Disk cache of the predictions of frozen base models.

Training evaluates the base models on every noised batch, which costs more than the discriminator
itself. They never change, so with ``TrainerConfig.cache_period`` the same noised batches recur and
each is evaluated once, in all epochs and for every discriminator trained with the same seed.
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
    """Base models whose predictions are cached in files named by a hash of the inputs.

    Predictions are stored in half precision, whose error, 5e-4 of a prediction, is far below the
    spread of the noise that it predicts. A damaged file is computed again.

    Attributes:
        base: The frozen base models. Other models need another folder: the hash does not cover
            them.
        folder: Folder of predictions; two processes may share it.
    """

    base: JointDenoiser
    folder: Path

    def predict_noise(
        self, z_t: AV[Tensor], level: AV[NoiseLevel], cond: AV[Conditioning]
    ) -> AV[Tensor]:
        """Return ε of both modalities, from the folder where it is cached."""
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
        # in the precision of the file, so that an interrupted and resumed run gives equal weights
        return each(lambda one, like: one.to(like), halves, z_t)


def _digest(z_t: AV[Tensor], level: AV[NoiseLevel], cond: AV[Conditioning]) -> str:
    digest = hashlib.sha256()
    for x_t, at, caption in (
        (z_t.audio, level.audio, cond.audio),
        (z_t.video, level.video, cond.video),
    ):
        for tensor in (x_t, at.t, at.alpha, at.sigma, caption.pooled, *caption.embeds):
            digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
            # hashed as bytes: numpy has no bfloat16
            digest.update(
                tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            )
    return digest.hexdigest()

"""Training of autoencoders, with latents that a denoiser can learn."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Final, cast

import torch
from diffusers import AutoencoderKL
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from torch import FloatTensor, Generator, Tensor, nn
from torch.nn.functional import pixel_unshuffle

from mmdisco.adapters.miniature import SQUARE
from mmdisco.adapters.miniature.autoencoder import NormalizedVAE
from mmdisco.training.bases.fit import FitRun

KL_WEIGHT: Final = 2e-4  # keeps latents smooth and near unit size; more costs sharpness
MOST_NOISE: Final = 0.5  # against latents of deviation 1
# what moves or sounds may cover a tenth of a frame, and is what matters
FOREGROUND: Final = 4.0
MEASURED: Final = 2000  # images whose latents are standardised
_AT_ONCE: Final = 64


class LatentCode(ABC):
    """Form of latents that a denoiser can learn."""

    @abstractmethod
    def sample(
        self, network: AutoencoderKL, squares: Tensor, generator: Generator
    ) -> tuple[Tensor, Tensor]:
        """Return latents for the decoder to read, and a term of the loss."""

    @abstractmethod
    def settle(self, network: AutoencoderKL, latents: Tensor) -> None:
        """Finish the trained ``network`` in place, given its latents (n, c, h, w) of the data."""


class VariationalLatents(LatentCode):
    """Posteriors near the unit normal, as of AudioLDM and Stable Diffusion."""

    def sample(
        self, network: AutoencoderKL, squares: Tensor, generator: Generator
    ) -> tuple[Tensor, Tensor]:
        """Draw from the posterior; the term is its divergence."""
        posterior = _posterior(network, squares)
        price = KL_WEIGHT * posterior.kl().mean() / posterior.mean[0].numel()
        return posterior.sample(generator), price

    def settle(self, network: AutoencoderKL, latents: Tensor) -> None:
        """Leave the network as it is."""


class WhiteLatents(LatentCode):
    """Latents of unit covariance that can be read through noise.

    Diffusion adds the same noise to every direction. Posteriors near the unit normal do not keep an
    encoder from putting nearly everything along one direction, where a green thing lies between a
    red and a blue one, and a denoiser that is unsure what is where paints it in any colour. Here
    all directions are equally strong, and noise does not hide what matters.
    """

    def sample(
        self, network: AutoencoderKL, squares: Tensor, generator: Generator
    ) -> tuple[Tensor, Tensor]:
        """Whiten over the batch, and add noise of up to ``MOST_NOISE``."""
        latents = _posterior(network, squares).mean
        mean, root = _spread(latents)
        white = torch.linalg.solve_triangular(root, _columns(latents) - mean[:, None], upper=False)
        white = white.unflatten(1, (len(latents), *latents.shape[2:])).transpose(0, 1)
        sigma = MOST_NOISE * torch.rand(len(white), 1, 1, 1, generator=generator)
        noise = torch.randn(white.shape, generator=generator)
        return white + sigma * noise, torch.zeros(())

    def settle(self, network: AutoencoderKL, latents: Tensor) -> None:
        """Build whitening over the data into the last map of the encoder."""
        mean, root = _spread(latents)
        conv = cast(nn.Conv2d, network.quant_conv)
        weight, bias = conv.weight, cast(Tensor, conv.bias)
        count = len(root)
        weight[:count] = torch.linalg.solve(root, weight[:count, :, 0, 0])[..., None, None]
        bias[:count] = torch.linalg.solve(root, bias[:count] - mean)


def train_autoencoder(
    network: AutoencoderKL,
    pool: Tensor,
    code: LatentCode,
    run: FitRun,
) -> NormalizedVAE:
    """Train an autoencoder on images.

    Args:
        network: The network.
        pool: Images (n, c, h, w): frames as bytes, or spectrograms.
        code: Form of the latents.
        run: Settings, seed and checkpoint.

    Returns:
        The averaged network, its latents standardised over the images.
    """

    def loss_of(step: int, generator: Generator) -> Tensor:
        del step
        chosen = pool[torch.randint(len(pool), (run.config.batch_size,), generator=generator)]
        squares = pixel_unshuffle(as_images(chosen), SQUARE)
        latents, price = code.sample(network, squares, generator)
        again = cast(DecoderOutput, network.decode(cast(FloatTensor, latents))).sample
        return reconstruction(squares, again) + price

    trained = run.fit(network, loss_of)
    some = pool[:: max(1, len(pool) // MEASURED)]
    with torch.no_grad():
        code.settle(trained, torch.cat([_means(trained, part) for part in some.split(_AT_ONCE)]))
        whole = NormalizedVAE(trained)
        latents = torch.cat([whole.encode(as_images(part)) for part in some.split(_AT_ONCE)])
    whole.mean = latents.mean((0, 2, 3))
    whole.deviation = latents.std((0, 2, 3))
    return whole


def _spread(latents: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean (c,) and lower root (c, c) of the covariance of latents (n, c, h, w)."""
    columns = _columns(latents)
    ridge = 1e-4 * torch.eye(len(columns))
    return columns.mean(1), torch.linalg.cholesky(torch.cov(columns) + ridge)


def _columns(latents: Tensor) -> Tensor:
    return latents.transpose(0, 1).flatten(1)


def _means(network: AutoencoderKL, pool: Tensor) -> Tensor:
    return _posterior(network, pixel_unshuffle(as_images(pool), SQUARE)).mean


def _posterior(network: AutoencoderKL, squares: Tensor) -> DiagonalGaussianDistribution:
    return cast(AutoencoderKLOutput, network.encode(squares)).latent_dist


def reconstruction(squares: Tensor, again: Tensor) -> Tensor:
    """Compute L1 and L2 between images and reconstructions, weighted by distance from the mean."""
    error = (again - squares).abs()
    usual = squares.mean(0, keepdim=True)
    weight = 1 + FOREGROUND * (squares - usual).abs()
    return (weight * (error + 2 * error.square())).mean()


def as_images(pool: Tensor) -> Tensor:
    """Return frames in [−1, 1] from bytes; spectrograms as they are."""
    return pool.float() / 127.5 - 1 if pool.dtype == torch.uint8 else pool


CODES: Final[Mapping[str, LatentCode]] = {
    "audio": VariationalLatents(),
    "video": WhiteLatents(),
}
"""Form of the latents of either modality."""

"""Denoisers of the pre-trained models, full-size with random weights.

Each calls its network as the model's adapter does. Autoencoders and text encoders take no part in a
step, so they are not made, and the adapters, which hold them, are not used.

A network is built on the meta device, given memory, and filled at the cost of writing the memory
once: the initialisers of its layers would take longer than the measurement. Configurations of
diffusers' networks are the JSON files in ``configs``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from diffusers import UNet2DConditionModel, UNetMotionModel
from torch import Tensor, nn
from typing_extensions import override

from mmdisco.adapters.auffusion.padding import COLUMNS, SilencePadding
from mmdisco.adapters.scheduler_config import SchedulerConfig
from mmdisco.adapters.videocrafter2.unet import new_unet, run_unet, training_schedule
from mmdisco.core.denoiser import Conditioning, Denoiser
from mmdisco.core.noise import NoiseLevel, NoiseSchedule, scaled_linear
from mmdisco.core.parameterization import Epsilon
from mmdisco.experiments.benchmark.subject import BenchmarkConfig
from mmdisco.io.files import read_json
from mmdisco.shapes import Latent

CONFIGS: Final = Path(__file__).parent / "configs"

Network = TypeVar("Network", bound=nn.Module)


def configuration(name: str) -> Mapping[str, Any]:
    """Read a packaged diffusers configuration, such as ``audioldm_unet``."""
    return read_json(CONFIGS / f"{name}.json")


def random_network(
    make: Callable[[], Network], device: torch.device, dtype: torch.dtype, seed: int
) -> Network:
    """Make a frozen network with random weights that preserve the scale of activations.

    Args:
        make: Builds the network; called on the meta device.
        device: Device of the network.
        dtype: Precision of the network.
        seed: Seed of the weights.
    """
    with torch.device("meta"):
        network = make()
    # torch's own cast: the one of diffusers warns about checkpoints, of which there is none
    nn.Module.to(network, dtype)
    network.to_empty(device=device).eval().requires_grad_(False)  # noqa: FBT003
    generator = torch.Generator(device).manual_seed(seed)
    for name, weight in network.named_parameters():
        if weight.ndim > 1:
            # variance 1/fan-in: no infinities, and no denormals, which a processor computes slowly
            bound = (3 / weight[0].numel()) ** 0.5
            weight.uniform_(-bound, bound, generator=generator)
        else:
            weight.fill_(0.0 if name.endswith("bias") else 1.0)
    for buffer in network.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(-1, 1, generator=generator)
        else:
            buffer.zero_()
    return network


FPS = 8.0

Call = Callable[[Tensor, Tensor, NoiseLevel, Conditioning], Tensor]


@dataclass(frozen=True)
class BenchmarkModel(Denoiser):
    """A network as a denoiser.

    Attributes:
        network: The network, for its weights.
        call: Function from latent, timestep, level and captions to the network's noise.
        levels: Noise schedule.
        device: Device of the network.
    """

    network: nn.Module
    call: Call
    levels: NoiseSchedule
    device: torch.device

    @property
    @override
    def schedule(self) -> NoiseSchedule:
        return self.levels

    def predict_noise(self, x_t: Latent, level: NoiseLevel, cond: Conditioning) -> Latent:
        """Predict ε̂, which is meaningless with random weights."""

        def network(latent: Tensor, t: Tensor) -> Tensor:
            return self.call(latent, t, level, cond)

        trained = SchedulerConfig(self.levels, Epsilon())
        return trained.predict_noise(network, x_t, level, self.device)


def audioldm(config: Mapping[str, Any], setting: BenchmarkConfig) -> BenchmarkModel:
    """Make AudioLDM, as ``mmdisco.adapters.audioldm`` runs it."""
    unet = _diffusers(UNet2DConditionModel, config, setting)

    def call(latent: Tensor, t: Tensor, level: NoiseLevel, cond: Conditioning) -> Tensor:
        labels = cond.embeds[0].to(setting.device, setting.dtype)
        return unet(latent.to(setting.dtype), t, None, class_labels=labels).sample

    return BenchmarkModel(unet, call, scaled_linear(start=0.0015, end=0.0195), setting.device)


def animatediff(config: Mapping[str, Any], setting: BenchmarkConfig) -> BenchmarkModel:
    """Make AnimateDiff, as ``mmdisco.adapters.animatediff`` runs it."""
    unet = _diffusers(UNetMotionModel, config, setting)

    def call(latent: Tensor, t: Tensor, level: NoiseLevel, cond: Conditioning) -> Tensor:
        tokens = cond.embeds[0].to(setting.device, setting.dtype)
        each_frame = tokens.repeat_interleave(latent.shape[2], 0)
        return unet(latent.to(setting.dtype), t, each_frame).sample

    return BenchmarkModel(unet, call, scaled_linear(), setting.device)


def auffusion(config: Mapping[str, Any], setting: BenchmarkConfig, bins: int) -> BenchmarkModel:
    """Make Auffusion, as ``mmdisco.adapters.auffusion`` runs it: always on 10.24 s.

    Args:
        config: Configuration of its U-Net.
        setting: Configuration of the benchmark.
        bins: Frequency bins of a latent.
    """
    unet = _diffusers(UNet2DConditionModel, config, setting)
    padding = SilencePadding.seeded(torch.zeros(int(config["in_channels"]), COLUMNS, bins))

    def call(latent: Tensor, t: Tensor, level: NoiseLevel, cond: Conditioning) -> Tensor:
        columns = latent.shape[2]
        whole = padding.extend(latent, level) if columns < COLUMNS else latent
        tokens = cond.embeds[0].to(setting.device, setting.dtype)
        noise = unet(whole.transpose(2, 3).to(setting.dtype), t, tokens).sample
        return noise.transpose(2, 3)[:, :, :columns]

    return BenchmarkModel(unet, call, scaled_linear(), setting.device)


def videocrafter2(config: Mapping[str, Any], setting: BenchmarkConfig) -> BenchmarkModel:
    """Make VideoCrafter2, as ``mmdisco.adapters.videocrafter2`` runs it."""
    unet = random_network(lambda: new_unet(config), setting.device, setting.dtype, setting.seed)

    def call(latent: Tensor, t: Tensor, level: NoiseLevel, cond: Conditioning) -> Tensor:
        tokens = cond.embeds[0].to(setting.device, setting.dtype)
        return run_unet(unet, latent.to(setting.dtype), t, FPS, tokens)

    return BenchmarkModel(unet, call, training_schedule(), setting.device)


def _diffusers(kind: Any, config: Mapping[str, Any], setting: BenchmarkConfig) -> Any:
    def make() -> nn.Module:
        return kind.from_config(dict(config))

    return random_network(make, setting.device, setting.dtype, setting.seed)

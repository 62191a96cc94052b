"""Noise levels and output of a network, from the configuration of its diffusers scheduler.

Nothing else of a checkpoint's scheduler is used: sampling is configured outside, so its spacing of
timesteps, its clipping and its order have no effect.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor

from mmdisco.core.noise import NoiseLevel, NoiseSchedule, variance_preserving
from mmdisco.core.parameterization import CleanSample, Epsilon, Prediction, VPrediction
from mmdisco.errors import UserError
from mmdisco.shapes import Latent

Network = Callable[[Tensor, Tensor], Tensor]

# the values of ``prediction_type`` in a scheduler's configuration
PREDICTIONS: Final[dict[str, Prediction]] = {
    "epsilon": Epsilon(),
    "sample": CleanSample(),
    "v_prediction": VPrediction(),
}


@dataclass(frozen=True)
class SchedulerConfig:
    """Noise levels and output of a network's training.

    Attributes:
        schedule: (α, σ) of the training timesteps.
        prediction: The predicted quantity.
    """

    schedule: NoiseSchedule
    prediction: Prediction

    @staticmethod
    def of(scheduler: SchedulerMixin) -> "SchedulerConfig":
        """Read the configuration of a scheduler.

        Raises:
            UserError: The scheduler has no table of β, or a prediction type that is not known.
        """
        kind: Any = scheduler
        name = type(scheduler).__name__
        if not isinstance(getattr(kind, "betas", None), Tensor):
            raise UserError(
                f"{name} has no table of β: give the scheduler that the network was trained with"
            )
        predicted = kind.config.get("prediction_type", "epsilon")
        if predicted not in PREDICTIONS:
            raise UserError(
                f"{name} is configured for {predicted!r}: choose one of {', '.join(PREDICTIONS)}"
            )
        return SchedulerConfig(_schedule(kind.betas), PREDICTIONS[predicted])

    def predict_noise(
        self, network: Network, x_t: Latent, level: NoiseLevel, device: torch.device
    ) -> Latent:
        """Predict ε̂ on the device and in the precision of ``x_t``, whatever the network predicts.

        Args:
            network: Function from the latent, on ``device``, and t, (b,), to the prediction.
            x_t: Latents in the units of the schedule.
            level: Noise levels, with the network's own times.
            device: Device of the network.
        """
        with torch.no_grad():
            output = network(x_t.to(device), level.t.to(device=device, dtype=torch.float32))
            return self.prediction.to_eps(output.to(x_t), x_t, level)


def _schedule(betas: Tensor) -> NoiseSchedule:
    """Build the exact table; a last row without signal is left out.

    In that row ε contains nothing of x_0, and the row before is nearly the same noise.
    """
    table = variance_preserving(betas)
    kept = table.alphas > 0
    return NoiseSchedule(table.times[kept], table.alphas[kept], table.sigmas[kept])

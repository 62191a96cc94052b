"""What a diffusers scheduler's configuration says of a network: its noise levels, its output.

Of a checkpoint's scheduler only that is used. How to sample is chosen outside, so its spacing of
timesteps, its clipping and its order have no say.
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
    """How a network was trained.

    Attributes:
        schedule: (α, σ) of its training timesteps.
        prediction: What it predicts.
    """

    schedule: NoiseSchedule
    prediction: Prediction

    @staticmethod
    def of(scheduler: SchedulerMixin) -> "SchedulerConfig":
        """The parameterisation that a scheduler is configured for.

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
        """ε̂ where ``x_t`` is and as precise, whatever the network predicts and in whichever type.

        Args:
            network: From the latent, on ``device``, and t, (b,), to what it predicts.
            x_t: In the units of the schedule.
            level: The network's own times count.
            device: Where the network computes.
        """
        with torch.no_grad():
            output = network(x_t.to(device), level.t.to(device=device, dtype=torch.float32))
            return self.prediction.to_eps(output.to(x_t), x_t, level)


def _schedule(betas: Tensor) -> NoiseSchedule:
    """The exact table; a last row of no signal at all is left out.

    There ε says nothing of x_0, and the row before it can hardly be told from noise.
    """
    table = variance_preserving(betas)
    kept = table.alphas > 0
    return NoiseSchedule(table.times[kept], table.alphas[kept], table.sigmas[kept])

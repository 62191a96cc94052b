"""Inception score and Kullback-Leibler divergences of class probabilities, in nats.

``IS = exp E KL(p(y|x) ‖ p(y))`` (Salimans et al. 2016); the set divergence compares the mean
probabilities of two sets, the paired one those of clips of the same name (Iashin and Rahtu 2021).
"""

import numpy as np
import numpy.typing as npt

Probabilities = npt.NDArray[np.floating]  # (clips, classes)

_LEAST = 1e-6  # floor: a class of probability 0 would make a divergence infinite


def softmax(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Compute probabilities (clips, classes) from logits."""
    exact = logits.astype(np.float64)
    raised = np.exp(exact - exact.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


def inception_score(probabilities: Probabilities) -> float:
    """Compute the score, from 1 (all clips alike or all unclear) to the number of classes."""
    return float(np.exp(_divergence(probabilities, probabilities.mean(0)).mean()))


def set_divergence(reference: Probabilities, generated: Probabilities) -> float:
    """Compute KL(mean reference ‖ mean generated)."""
    return float(_divergence(reference.mean(0)[None], generated.mean(0))[0])


def paired_divergences(
    reference: Probabilities, generated: Probabilities
) -> npt.NDArray[np.float64]:
    """Compute KL(reference ‖ generated) of each pair of rows, (pairs,)."""
    return _divergence(reference, generated)


def _divergence(p: Probabilities, q: Probabilities) -> npt.NDArray[np.float64]:
    p, q = np.maximum(p, _LEAST), np.maximum(q, _LEAST)
    return np.asarray((p * (np.log(p) - np.log(q))).sum(-1), np.float64)

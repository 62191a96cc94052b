"""Comparisons whose tolerance follows from the size of what is compared.

Sums come out in another order with other threads, batches and processors, so that any element is
off by the rounding of the largest terms: what is allowed is a share of the largest magnitude.
"""

import numpy as np
import torch

RTOL = {torch.float64: 1e-9, torch.float32: 2e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}

BATCH = 5e-2
"""Share by which latents of a run may differ with the size of its batch or its threads: the clean
latent of the first level, α = 1e-5, magnifies float32's rounding, some 1e-7, to some 1e-2."""

SAMPLE = 2**-15  # one step of a sound of 16 bits, whose full scale is 1
SHADE = 1 / 219  # one step from black to white of a film of 8 bits


def assert_close(actual, expected, rtol=None, *, scale=None):
    """Assert equal shapes, and no difference above ``rtol`` of ``scale``.

    ``scale`` is the largest magnitude that is expected. Where zeros are expected, it is to be
    given: the magnitude of what cancels. ``rtol`` is that of the coarser number format.
    """
    if torch.is_tensor(actual) and torch.is_tensor(expected):
        assert actual.dtype == expected.dtype
    actual, expected = of_numbers(actual), of_numbers(expected)
    rtol = allowed(actual, expected) if rtol is None else rtol
    scale = magnitude(expected) if scale is None else float(of_numbers(scale))
    assert scale > 0, "zeros tell no scale: give the one of what cancels"
    actual, expected = actual.double(), expected.double()
    if expected.ndim == 0:
        expected = expected.expand(actual.shape)
    torch.testing.assert_close(actual, expected, rtol=0, atol=rtol * scale)


def is_close(actual, expected, rtol=None, *, scale=None):
    """Whether :func:`assert_close` would pass."""
    actual, expected = of_numbers(actual), of_numbers(expected)
    rtol = allowed(actual, expected) if rtol is None else rtol
    scale = magnitude(expected) if scale is None else float(of_numbers(scale))
    return bool((actual.double() - expected.double()).abs().max() <= rtol * scale)


def of_numbers(value):
    return value.detach() if torch.is_tensor(value) else torch.from_numpy(np.array(value))


def allowed(*values):
    return max(RTOL.get(value.dtype, 0.0) for value in values)


def magnitude(value):
    return float(value.abs().max())

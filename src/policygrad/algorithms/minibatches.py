"""Random minibatches of equal size."""

from __future__ import annotations

import numpy as np

from policygrad._support.compiling import compiled_when_called
from policygrad._support.random_bits import bits_of, shuffle
from policygrad.types import I64


def shuffled(rng: np.random.Generator, samples: int, parts: int, epochs: int = 1) -> tuple[I64, I64]:
    """Return int64 (order, bounds) of `epochs` passes over all samples, each in `parts` of nearly equal size.

    With one part, the samples keep their order, and the generator is not used.
    """
    order, bounds = np.empty(epochs * samples, np.int64), np.zeros(epochs * parts + 1, np.int64)
    for epoch in range(epochs):
        here = order[epoch * samples : (epoch + 1) * samples]
        write_minibatches(bits_of(rng), parts, here, bounds[epoch * parts : (epoch + 1) * parts + 1])
        bounds[epoch * parts : (epoch + 1) * parts + 1] += epoch * samples
    return order, bounds


@compiled_when_called
def number_of_parts(samples: int, minibatch_size: int, least: int) -> int:
    """Return the number of minibatches of about this size, each of at least `least` samples, that an epoch has.

    A `minibatch_size` of 0 is one minibatch with all samples.
    """
    if minibatch_size == 0:
        return 1
    return max(1, min(int(samples / minibatch_size + 0.5), samples // least))


@compiled_when_called
def write_minibatches(bits: tuple[int, int], parts: int, order: I64, bounds: I64) -> None:
    """Write one pass over all samples, shuffled, to `order` [samples], and where its parts begin to `bounds`."""
    samples = len(order)
    for i in range(samples):
        order[i] = i
    if parts > 1:
        shuffle(bits, order)
    for i in range(parts + 1):
        bounds[i] = i * samples // parts

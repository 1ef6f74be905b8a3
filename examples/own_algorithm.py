"""An algorithm of one's own: three numbers a sample, at full speed in both engines.

This one trusts good news more than bad: where a step went worse than V(s) expected, it moves the policy less.
From the command line: `cd examples; policygrad train CartPole-v1 --algo own_algorithm:Optimist --bad-news 0.2`.
"""

from dataclasses import dataclass

import numpy as np
import torch

import policygrad as pg
from policygrad.types import Sample


def cotangents(sample, coefficients, w, e, c):
    for i in range(len(w)):
        trust = 1.0 if sample.advantage[i] > 0 else coefficients[3]
        w[i] = -coefficients[0] * trust * sample.advantage[i]  # with respect to log π(a|s)
        e[i] = -coefficients[1]  # to the entropy
        c[i] = coefficients[2] * (sample.value[i] - sample.target[i])  # to V(s)


@pg.register("optimist")
@dataclass(frozen=True, kw_only=True)
class Optimist(pg.Reinforce):
    """REINFORCE that hears bad news at half volume."""

    bad_news: float = 0.5
    """What a sample of negative advantage counts."""

    @property
    def cotangents(self):
        return cotangents

    def coefficients(self, samples, episodes, progress):
        return np.append(super().coefficients(samples, episodes, progress), np.float32(self.bad_news))


def textbook_loss(sample, algorithm):
    """The same as one would write it for automatic differentiation."""
    trust = torch.where(sample.advantage > 0, 1.0, algorithm.bad_news)
    policy = (
        -(trust * sample.advantage * sample.log_prob).mean() - algorithm.entropy_coef * sample.entropy.mean()
    )
    return policy + 0.5 * (sample.value - sample.target).square().mean()


def check(algorithm, B=64):
    """The three numbers against automatic differentiation of the loss."""
    rng = np.random.default_rng(0)
    sample = Sample(*rng.standard_normal((7, B)).astype(np.float32))
    w, e, c = (np.empty(B, np.float32) for _ in range(3))
    cotangents(sample, algorithm.coefficients(B, 1, 0.0), w, e, c)
    tensors = Sample(*(torch.tensor(column, requires_grad=True) for column in sample))
    textbook_loss(tensors, algorithm).backward()
    for ours, theirs in ((w, tensors.log_prob), (e, tensors.entropy), (c, tensors.value)):
        np.testing.assert_allclose(ours, theirs.grad, rtol=1e-5)
    print("the three numbers are the loss's derivatives")


if __name__ == "__main__":
    check(Optimist(entropy_coef=0.01))
    for engine in ("fused", "autograd"):
        run = pg.train("CartPole-v1", "optimist", engine=engine, steps=30_000, seed=0)
        print(f"{engine}: mean return {run.best_mean:.0f}, {run.steps / run.seconds:,.0f} steps/s")

"""Write your own algorithm. Its loss is one function, which runs at full speed in both engines.

This algorithm moves the policy less for samples of negative advantage, where a step went worse than V(s) predicted.
On the command line: `cd examples; policygrad train CartPole-v1 --algo own_algorithm:Optimist --bad-news 0.2`,
or with the loss alone:
`policygrad train CartPole-v1 --algo a2c --loss own_algorithm:optimistic --coefficient bad_news=0.2`.
"""

from dataclasses import dataclass

import policygrad as pg
from policygrad.losses import where


def optimistic(s, k):
    trust = where(s.advantage > 0, 1.0, k.bad_news)
    value_loss = (s.value - s.target) ** 2 / 2
    return -trust * s.advantage * s.log_prob - k.entropy_coef * s.entropy + k.value_coef * value_loss


@pg.register("optimist")
@dataclass(frozen=True, kw_only=True)
class Optimist(pg.A2C):
    """A2C with a smaller weight for negative advantages. Its numeric fields are coefficients of its loss."""

    loss: pg.losses.LossFunction = optimistic
    bad_news: float = 0.5
    """Weight of samples with a negative advantage."""
    horizon: int = 32
    learning_rate: float = 0.002


if __name__ == "__main__":
    pg.show(optimistic)
    for engine in ("fused", "autograd"):
        run = pg.train("CartPole-v1", "optimist", engine=engine, steps=30_000, seed=0)
        print(f"{engine}: best mean return {run.best_mean:.0f}, {run.steps / run.seconds:,.0f} steps/s")

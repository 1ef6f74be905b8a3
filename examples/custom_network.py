"""Use any torch module as the policy network; this one has products of the observations as features."""

import torch
from torch import nn

import policygrad as pg


class Bilinear(nn.Module):
    """Computes the logits from the observation and the products of all pairs of its components."""

    def __init__(self, state_dim: int, action_dim: int) -> None:
        super().__init__()
        self.output = nn.Linear(state_dim + state_dim**2, action_dim)

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        products = (state[:, :, None] * state[:, None, :]).flatten(1)
        return self.output(torch.cat([state, products], dim=1))


if __name__ == "__main__":
    torch.manual_seed(0)
    run = pg.train("CartPole-v1", pg.Reinforce(learning_rate=0.02), policy=Bilinear(4, 2), steps=40_000)
    result = pg.evaluate(run.policy, "CartPole-v1")
    print(f"{run.engine} engine, {run.steps:,} steps: {result}")
    assert run.engine == "autograd"
    assert result.low > 150

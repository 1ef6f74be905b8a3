"""Draw figures 13.1 and 13.2 of Sutton & Barto (2018): REINFORCE on the short corridor, without and with a baseline.

All states of the corridor look the same, and in one of them left and right are swapped, so the best policy is a certain
mixture of both. Each curve is the mean of 100 runs. Like the book's, the policy begins by going left in 95 % of the
steps. Here it takes one step per episode, along the sum over its steps; the book's takes one step of the same size per
step. V(s) moves an eighth of the way to the mean return of each episode.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

import policygrad as pg

BEST = -(6 + 4 * np.sqrt(2))
"""Expected return of the best policy, which goes right with probability 2 − √2: about −11.66."""
EPISODES = 1_000
RATES = {-12: 22_000, -13: 26_000, -14: 34_000}
"""Steps that every run needs for so many episodes, with some to spare, by the logarithm of the learning rate."""


def softmax(inputs: int, outputs: int) -> nn.Module:
    """Return a policy with one parameter per action."""
    preferences = nn.Linear(inputs, outputs, bias=False)
    with torch.no_grad():
        preferences.weight[:, 0] = torch.tensor([0.95, 0.05]).log()
    return nn.Sequential(preferences)


def state_value(inputs: int) -> nn.Module:
    """Return V(s) with one parameter, which begins at 0."""
    value = nn.Linear(inputs, 1, bias=False)
    nn.init.zeros_(value.weight)
    return nn.Sequential(value)


def mean_returns(log2_rate: int, steps: int, **settings) -> np.ndarray:
    """Return the mean over 100 runs of the return of each episode, [EPISODES]."""
    algorithm = pg.Reinforce(
        gamma=1.0,
        learning_rate=2.0**log2_rate,
        optimizer="sgd",
        average="episodes",
        normalize_advantages=False,
        max_grad_norm=None,
        **settings,
    )
    value = state_value if algorithm.uses_value else None
    runs = pg.train(
        "ShortCorridor-v0", algorithm, policy=softmax, value=value, num_envs=1, steps=steps,
        seeds=100, cores=2, select=False, progress=False,
    )  # fmt: skip
    # the budget is in steps: it suffices for the run that needs most of them
    return np.mean([run.episode_returns[:EPISODES] for run in runs], axis=0)


def draw(axes: plt.Axes, title: str, curves: dict[str, np.ndarray]) -> None:
    for name, returns in curves.items():
        axes.plot(np.arange(1, EPISODES + 1), returns, label=name, linewidth=1)
    axes.axhline(BEST, color="gray", linestyle="--", linewidth=1, label="best policy")
    axes.set(title=title, xlabel="episode", ylim=(-90, -5))
    axes.legend(loc="lower right")


if __name__ == "__main__":
    plain = {f"α = 2^{k}": mean_returns(k, steps, baseline="none") for k, steps in RATES.items()}
    learned = mean_returns(-9, 34_000, baseline="value", value_steps=1, value_learning_rate=1 / 8)
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), sharey=True, layout="constrained")
    draw(left, "REINFORCE", plain)
    draw(right, "with a baseline", {"V(s), α = 2^-9": learned, "no baseline, α = 2^-13": plain["α = 2^-13"]})
    left.set_ylabel("return, mean of 100 runs")
    figure.savefig(Path("short_corridor.png"), dpi=150)
    for name, returns in {**plain, "with V(s), α = 2^-9": learned}.items():
        print(
            f"{name}: return of the first 100 episodes {returns[:100].mean():.1f}, last {returns[-100:].mean():.1f}"
        )
    assert learned[:200].mean() > plain["α = 2^-13"][:200].mean()
    print("short_corridor.png shows the curves")

"""Train an agent without a Gymnasium environment: rock-paper-scissors against an opponent with a habit."""

import numpy as np
from gymnasium import spaces

import policygrad as pg

HABIT = [0.5, 0.3, 0.2]
"""Probabilities that the opponent plays rock, paper and scissors. The best response is paper."""

if __name__ == "__main__":
    rng = np.random.default_rng(0)
    agent = pg.Agent(spaces.Discrete(1), spaces.Discrete(3), pg.Reinforce(learning_rate=0.02), seed=0)
    for _ in range(60):
        for _ in range(64):
            mine = agent.act(0)
            theirs = rng.choice(3, p=HABIT)
            score = (mine - theirs + 1) % 3 - 1  # 1: won, 0: drawn, -1: lost
            agent.observe(float(score), next_observation=0, terminated=True)
        agent.update()
    choices = agent.policy.act(np.zeros(1000, int), rng=rng)
    share = np.bincount(choices, minlength=3) / 1000
    print(f"The agent plays rock {share[0]:.0%}, paper {share[1]:.0%}, scissors {share[2]:.0%}")
    assert share[1] > 0.9

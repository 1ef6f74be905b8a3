"""Learn a table Q(s, a) by Q-learning, on a lake of ice that it can represent and a corridor that it cannot.

    Q(s, a) ← Q(s, a) + α (r + γ max_a' Q(s', a') − Q(s, a))

Watkins 1989; Sutton & Barto 2018, section 6.5. Value-based methods are not part of the library: this file is here for
comparison. The agent takes the action with the largest Q, or with probability ε any action.
"""

import numpy as np

from policygrad.envs.textbook import FiniteEnv, short_corridor, slippery_grid


def q_learning(mdp, steps, alpha, epsilon, gamma, seed):
    """Learn for a number of steps. Return Q [S, A] and the returns of the episodes."""
    rng = np.random.default_rng(seed)
    env = FiniteEnv(mdp)
    S, A = env.observation_space.n, env.action_space.n
    q, returns, total = np.zeros((S, A)), [], 0.0
    s, _ = env.reset(seed=seed)
    for step in range(steps):
        # any of the best actions, at random
        best = np.flatnonzero(q[s] == q[s].max())
        a = rng.integers(A) if rng.random() < epsilon else rng.choice(best)
        following, reward, terminated, truncated, _ = env.step(a)
        total += reward
        # the target looks one step ahead and uses the table itself for everything after that
        target = reward + (0.0 if terminated else gamma * q[following].max())
        # smaller steps towards the end average the noise of the targets out
        q[s, a] += alpha * (1 - step / steps) * (target - q[s, a])
        s = following
        if terminated or truncated:
            returns.append(total)
            total, (s, _) = 0.0, env.reset()
    return q, np.array(returns)


if __name__ == "__main__":
    for name, mdp, gamma in (
        ("slippery grid", slippery_grid(), 0.99),
        ("short corridor", short_corridor(), 1.0),
    ):
        q, returns = q_learning(mdp, steps=100_000, alpha=0.2, epsilon=0.3, gamma=gamma, seed=0)
        print(
            f"{name}: mean of the last 100 returns {returns[-100:].mean():.2f}; Q in the first state {q[0].round(2)}"
        )

"""Exercise `hunt-baseline`: there is one error in this REINFORCE. Find it and mend it.

The program runs and it learns. But its gradient estimate is biased: the mean of the estimates is not the gradient of
J(θ) = E[Σ_t γ^t r_t]. It should be, because the baseline of an episode comes from the other episodes of the batch:

    ĝ = 1/N Σ_n Σ_t γ^t (G_tn − b_tn) ∇ log π(a_tn|s_tn)
    b_tn = mean of G_tm over the other episodes m ≠ n that still run at step t, or 0 if there are none

A baseline may be any number that does not depend on the action whose return it is subtracted from. With enough
episodes it makes the estimate less noisy, so the mended program must still have one that is unbiased.

The policy is a softmax with a table of logits. All arrays are time-major [T, N]: column n contains one episode from its
first row on. After its end, `active` is False and the rewards are 0.

    python hunt-baseline.py                       trains, and prints the mean return
    policygrad exercise check hunt-baseline.py    grades `gradient_estimate` with all pairs of episodes that can happen
                                                  in a small decision process
"""

import numpy as np

EXERCISE = "hunt-baseline"

START, GOAL, LENGTH, LIMIT = 1, 4, 5, 12  # a corridor of fields 0 to 4; both ends end the episode


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities π(a|s), [S, A], from logits [S, A]."""
    weight = np.exp(logits - logits.max(-1, keepdims=True))
    return weight / weight.sum(-1, keepdims=True)


def rewards_to_go(rewards: np.ndarray, gamma: float) -> np.ndarray:
    """Return G_t = r_t + γ G_{t+1}, [T, N]. Rewards after the end of an episode are 0."""
    returns = np.zeros_like(rewards)
    following = np.zeros(rewards.shape[1])
    for t in reversed(range(len(rewards))):
        following = rewards[t] + gamma * following
        returns[t] = following
    return returns


def baseline(returns: np.ndarray, active: np.ndarray) -> np.ndarray:
    """Return b [T, N]: the mean return of the episodes that still run at each step."""
    running = active.sum(axis=1, keepdims=True)
    total = (returns * active).sum(axis=1, keepdims=True)
    return np.broadcast_to(total / np.maximum(running, 1), returns.shape)


def gradient_estimate(
    logits: np.ndarray,
    states: np.ndarray,
    actions: np.ndarray,
    rewards: np.ndarray,
    active: np.ndarray,
    gamma: float,
) -> np.ndarray:
    """Return the estimate ĝ of the gradient of J with respect to the logits.

    Args:
        logits: [S, A] float64.
        states, actions: [T, N] int.
        rewards: [T, N] float64.
        active: [T, N] bool, True if the episode still runs at this step.
        gamma: discount, in [0, 1].

    Returns:
        [S, A] float64.
    """
    T, N = rewards.shape
    probabilities = softmax(logits)
    returns = rewards_to_go(rewards, gamma)
    weight = gamma ** np.arange(T)[:, None] * (returns - baseline(returns, active)) * active / N
    gradient = np.zeros_like(logits)
    for t in range(T):
        for n in range(N):
            s, a = states[t, n], actions[t, n]
            gradient[s] -= weight[t, n] * probabilities[s]
            gradient[s, a] += weight[t, n]
    return gradient


def play(logits: np.ndarray, episodes: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Return (states, actions, rewards, active) of some episodes, each [T, N]: 5 at the goal, 1 at the other end."""
    shape = (LIMIT, episodes)
    states, actions = np.zeros(shape, int), np.zeros(shape, int)
    rewards, active = np.zeros(shape), np.zeros(shape, bool)
    probabilities = softmax(logits)
    for n in range(episodes):
        s = START
        for t in range(LIMIT):
            a = int(rng.random() < probabilities[s, 1])
            states[t, n], actions[t, n], active[t, n] = s, a, True
            s += 1 if a == 1 else -1
            if s in (0, GOAL):
                rewards[t, n] = 5.0 if s == GOAL else 1.0
                break
    return states, actions, rewards, active


def train(
    updates: int = 300, episodes: int = 4, learning_rate: float = 0.1, gamma: float = 0.9
) -> np.ndarray:
    """Return the trained logits, and print the mean return now and then."""
    rng = np.random.default_rng(0)
    logits = np.zeros((LENGTH, 2))
    recent = []
    for update in range(1, updates + 1):
        states, actions, rewards, active = play(logits, episodes, rng)
        logits += learning_rate * gradient_estimate(logits, states, actions, rewards, active, gamma)
        recent.append(rewards.sum(axis=0).mean())
        if update % 50 == 0:
            print(f"updates {update:4d}   mean return of the last 50 batches {np.mean(recent[-50:]):.2f}")
    return logits


if __name__ == "__main__":
    train()

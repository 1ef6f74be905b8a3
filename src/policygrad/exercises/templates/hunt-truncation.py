"""Exercise `hunt-truncation`: there is one error in this actor-critic. Find it and mend it.

The program learns to run a machine. A fresh machine earns 1 per step and may wear out. A worn one earns 2 per step, but
it may break, which terminates the episode and costs 5. A repair costs 1 and makes the machine fresh. Nothing else ends
the work, but the program stops each episode after 8 steps to start a new one: the episode is truncated.

The advantages are generalized advantage estimates (GAE, Schulman et al. 2016), from steps of N environments that run
side by side. A column may contain several episodes, one after another:

    δ_t = r_t + γ V(s_{t+1}) − V(s_t)
    A_t = δ_t + γλ A_{t+1}

and V is trained towards A_t + V(s_t). Termination and truncation both end an episode, but they say different things
about the rewards that would have followed. The value of a state is meant for the task, not for the 8 steps of this
program.

The program runs, and it even learns what to do. But look at the V(s) that it prints. If fresh machines are run and worn
ones are repaired, the exact values are 5.75 (fresh) and 4.17 (worn).

    python hunt-truncation.py                       trains, and prints V(s) and the policy
    policygrad exercise check hunt-truncation.py    grades `advantages`
"""

import numpy as np

EXERCISE = "hunt-truncation"

FRESH, WORN, LIMIT = 0, 1, 8
RUN, REPAIR = 0, 1


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities π(a|s), [S, A], from logits [S, A]."""
    weight = np.exp(logits - logits.max(-1, keepdims=True))
    return weight / weight.sum(-1, keepdims=True)


def advantages(
    rewards: np.ndarray,
    values: np.ndarray,
    next_values: np.ndarray,
    terminated: np.ndarray,
    truncated: np.ndarray,
    gamma: float,
    lam: float,
) -> np.ndarray:
    """Return the generalized advantage estimates A_t.

    Args:
        rewards: [T, N] float64.
        values: [T, N] float64, V(s_t).
        next_values: [T, N] float64, V(s_{t+1}) of the state that followed, also where the episode ended with this step.
        terminated: [T, N] bool, True if the task ended the episode with this step.
        truncated: [T, N] bool, True if the time limit ended the episode with this step. Both flags are never True.
        gamma, lam: discount γ and λ, in [0, 1].

    Returns:
        [T, N] float64.
    """
    T, N = rewards.shape
    goes_on = ~(terminated | truncated)
    found = np.zeros((T, N))
    following = np.zeros(N)
    for t in reversed(range(T)):
        error = rewards[t] + gamma * goes_on[t] * next_values[t] - values[t]
        following = error + gamma * lam * goes_on[t] * following
        found[t] = following
    return found


def step(state: int, action: int, rng: np.random.Generator) -> tuple[int, float, bool]:
    """Return (next state, reward, terminated) of one step of the machine."""
    if action == REPAIR:
        return FRESH, -1.0, False
    if state == FRESH:
        return (WORN if rng.random() < 0.3 else FRESH), 1.0, False
    broken = bool(rng.random() < 0.5)
    return WORN, -5.0 if broken else 2.0, broken


def train(
    updates: int = 1500, steps: int = 8, machines: int = 4, gamma: float = 0.9, lam: float = 0.9
) -> np.ndarray:
    """Return V(s) [S] of the trained critic, and print what was learned now and then."""
    rng = np.random.default_rng(0)
    logits, value = np.zeros((2, 2)), np.zeros(2)
    state, age = np.zeros(machines, int), np.arange(machines) * LIMIT // machines
    shape = (steps, machines)
    for update in range(1, updates + 1):
        states, following, actions = np.zeros(shape, int), np.zeros(shape, int), np.zeros(shape, int)
        rewards, terminated, truncated = np.zeros(shape), np.zeros(shape, bool), np.zeros(shape, bool)
        probabilities = softmax(logits)
        for t in range(steps):
            for n in range(machines):
                a = int(rng.random() < probabilities[state[n], REPAIR])
                after, rewards[t, n], terminated[t, n] = step(state[n], a, rng)
                age[n] += 1
                truncated[t, n] = age[n] >= LIMIT and not terminated[t, n]
                states[t, n], actions[t, n], following[t, n] = state[n], a, after
                state[n] = after
                if terminated[t, n] or truncated[t, n]:
                    state[n], age[n] = rng.integers(2), 0
        credit = advantages(rewards, value[states], value[following], terminated, truncated, gamma, lam)
        for s in (FRESH, WORN):
            here = states == s
            if here.any():
                value[s] += 0.05 * credit[here].mean()
        gradient = np.zeros_like(logits)
        np.add.at(gradient, (states, actions), credit)
        gradient -= np.bincount(states.ravel(), credit.ravel(), minlength=2)[:, None] * probabilities
        logits += 0.1 * gradient / states.size
        if update % 250 == 0:
            repairs = softmax(logits)[WORN, REPAIR]
            print(
                f"updates {update:4d}   V(fresh) {value[FRESH]:5.2f}   V(worn) {value[WORN]:5.2f}"
                f"   repairs a worn machine with probability {repairs:.2f}"
            )
    return value


if __name__ == "__main__":
    train()

"""Small problems with known transition probabilities, for which results can be computed exactly."""

from __future__ import annotations

import numpy as np

from policygrad.envs.finite import FiniteEnv, FiniteMDP, kernel
from policygrad.envs.kernel import Kernel

__all__ = [
    "TEXTBOOK",
    "FiniteEnv",
    "FiniteMDP",
    "chain",
    "kernel",
    "mirrored_rock_paper_scissors",
    "random_mdp",
    "rock_paper_scissors",
    "short_corridor",
    "slippery_grid",
    "three_states",
]


def three_states(horizon: int = 4) -> FiniteMDP:
    """Return a problem with two states to move between and a terminal one. Moves are noisy; ending early pays less.

    It is small enough to enumerate every trajectory, and no two variants of REINFORCE coincide on it: episodes
    differ in length, rewards differ in sign, and most actions differ in their outcome.
    """
    transition = np.zeros((3, 2, 3))
    transition[0] = [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]]
    transition[1] = [[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]]
    transition[2] = [[0, 0, 1], [0, 0, 1]]
    reward = np.zeros((3, 2, 3))
    reward[0] = [[1.0, 0.0, -2.0], [0.0, 0.5, -1.0]]
    reward[1] = [[-1.0, 2.0, 0.0], [0.0, 1.0, 4.0]]
    return FiniteMDP(transition, reward, np.array([0.6, 0.4, 0.0]), terminal=(2,), horizon=horizon)


def random_mdp(seed: int = 0, states: int = 5, actions: int = 3, horizon: int = 6) -> FiniteMDP:
    """Return a random problem, in which the gradients of a softmax span (S − 1)(A − 1) dimensions.

    Transitions are drawn from a uniform distribution, and rewards from a standard normal one. Episodes begin in any
    state but the last one, which is terminal and follows each step with a probability between 0.02 and 0.3.

    Args:
        seed: seed of the numbers.
        states: number of states S, 2 or more.
        actions: number of actions A.
        horizon: number of steps after which an episode is truncated.
    """
    rng = np.random.default_rng(seed)
    ends = rng.uniform(0.02, 0.3, (states, actions, 1))
    others = rng.dirichlet(np.ones(states - 1), (states, actions))
    transition = np.concatenate([(1 - ends) * others, ends], -1)
    start = np.append(np.full(states - 1, 1 / (states - 1)), 0.0)
    reward = rng.standard_normal((states, actions, states))
    return FiniteMDP(transition, reward, start, (states - 1,), horizon)


def short_corridor(horizon: int = 1000) -> FiniteMDP:
    """Return a corridor of three states and a goal that all look the same. In the second state, left and right swap.

    Sutton & Barto (2018), example 13.1. Actions: 0 left, 1 right; each step costs 1. Going right with probability
    p has the value -2(2 - p) / (p(1 - p)). It is highest at p = 2 - √2 ≈ 0.59, where it is -(6 + 4√2) ≈ -11.66. A
    deterministic policy never reaches the goal.
    """
    following = np.array([[0, 1], [2, 0], [1, 3], [3, 3]])
    reward = np.full((4, 2, 4), -1.0)
    reward[3] = 0
    return FiniteMDP(np.eye(4)[following], reward, np.eye(4)[0], (3,), horizon, looks=(0, 0, 0, 0))


def chain(length: int = 5, slip: float = 0.2, horizon: int = 100) -> FiniteMDP:
    """Return a chain on which patience pays: 10 per step at its far end, 2 for going back to its start.

    Dearden, Friedman & Russell (1998), "Bayesian Q-learning", use 5 states and no end of the episode. Action 0 moves
    one state forward, and pays 10 where it stays in the last state. Action 1 goes back to the first state and pays
    2. With probability `slip` the other action happens.

    Args:
        length: number of states S, 2 or more.
        slip: probability that the action is swapped.
        horizon: number of steps per episode.

    Raises:
        ValueError: the length is less than 2.
    """
    if length < 2:
        raise ValueError(f"length must be 2 or more; got {length}")
    following = np.minimum(np.arange(length) + 1, length - 1)
    forward, back = np.eye(length)[following], np.eye(length)[np.zeros(length, int)]
    transition = np.stack([(1 - slip) * forward + slip * back, slip * forward + (1 - slip) * back], axis=1)
    # the next state tells which of the two happened, because no forward step leads to the first state
    reward = np.zeros((length, 2, length))
    reward[:, :, 0] = 2
    reward[-1, :, -1] = 10
    return FiniteMDP(transition, reward, np.eye(length)[0], (), horizon)


def slippery_grid(horizon: int = 100) -> FiniteMDP:
    """Return a frozen lake of 4 x 4 fields. Reaching the goal pays 1 and falling into a hole pays 0; both end it.

    The map and the dynamics are those of Gymnasium's FrozenLake-v1. Actions: 0 left, 1 down, 2 right, 3 up. The move
    is the chosen one or one of the two perpendicular to it, with probability 1/3 each. Fields are numbered row by
    row.
    """
    fields = "".join(("SFFF", "FHFH", "FFFH", "HFFG"))
    size, S = 4, 16
    moves = [(0, -1), (1, 0), (0, 1), (-1, 0)]
    transition, reward = np.zeros((S, 4, S)), np.zeros((S, 4, S))
    for s, field in enumerate(fields):
        for a in range(4):
            if field in "GH":
                transition[s, a, s] = 1
                continue
            for happens in (a - 1, a, a + 1):
                down, right = moves[happens % 4]
                row = min(max(s // size + down, 0), size - 1)
                column = min(max(s % size + right, 0), size - 1)
                transition[s, a, row * size + column] += 1 / 3
            reward[s, a, fields.index("G")] = 1
    terminal = tuple(s for s, field in enumerate(fields) if field in "GH")
    return FiniteMDP(transition, reward, np.eye(S)[fields.index("S")], terminal, horizon)


PAYOFF = np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
"""[3, 3]: payoff of a move (0 rock, 1 paper, 2 scissors) against each move of the opponent."""


def rock_paper_scissors(
    opponent: tuple[float, float, float] = (0.5, 0.25, 0.25), rounds: int = 10
) -> FiniteMDP:
    """Return a game against an opponent who draws every move from the same distribution, which makes it a bandit.

    The state is the opponent's last move; before the first round it is drawn in the same way. Actions are moves, and
    a round pays 1, 0 or -1.

    Args:
        opponent: probabilities of rock, paper and scissors.
        rounds: number of rounds, after which the game is truncated.
    """
    probabilities = np.array(opponent)
    transition = np.broadcast_to(probabilities, (3, 3, 3)).copy()
    reward = np.broadcast_to(PAYOFF, (3, 3, 3)).copy()
    return FiniteMDP(transition, reward, probabilities, (), rounds)


def mirrored_rock_paper_scissors(rounds: int = 10) -> FiniteMDP:
    """Return a game against an opponent who repeats the agent's last move: beating one's own last move always wins.

    The state is the agent's last move; before the first round it is random. Actions are moves, and a round pays 1, 0
    or -1.

    Args:
        rounds: number of rounds, after which the game is truncated.
    """
    transition = np.broadcast_to(np.eye(3), (3, 3, 3)).copy()
    reward = np.broadcast_to(PAYOFF.T[:, :, None], (3, 3, 3)).copy()
    return FiniteMDP(transition, reward, np.full(3, 1 / 3), (), rounds)


TEXTBOOK: dict[str, Kernel] = {
    name: kernel(mdp, name)
    for name, mdp in (
        ("ShortCorridor-v0", short_corridor()),
        ("Chain-v0", chain()),
        ("SlipperyGrid-v0", slippery_grid()),
        ("RockPaperScissors-v0", rock_paper_scissors()),
        ("MirroredRockPaperScissors-v0", mirrored_rock_paper_scissors()),
    )
}
"""Compiled textbook problems by id."""

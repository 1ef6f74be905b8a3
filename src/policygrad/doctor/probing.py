"""Plays a few episodes with a policy and with random actions, and records what they show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import nn

from policygrad._support.isolation import in_ordinary_torch
from policygrad._support.seeding import EpisodeSeeds, stream
from policygrad._support.threads import single_thread
from policygrad.doctor.predictability import FEWEST, MOST, Predictability, predicted_shares
from policygrad.doctor.probe import Ending, Played, Probe
from policygrad.envs import Environments
from policygrad.policies import Policy, evaluation_mode
from policygrad.policies.faults import check_actions
from policygrad.policies.tensors import as_tensors
from policygrad.spaces import observation_numbers
from policygrad.types import F32, F64, Array, Inputs

STEPS = 3000
"""Steps after which no further episodes begin, for each of the three ways of acting."""
ROUNDS = 40
"""Maximum number of episodes of each environment, for each way of acting."""
LONGEST = 1000
"""Number of steps after which an episode is cut."""
COMPARED_STEPS = 50
"""Maximum number of steps of the episodes that are played twice from the same seed."""
HIDDEN, REVEALED = 0.5, 0.8
"""Something that depends on the past is predicted to less than the first share of its variance from the current
observation, and to more than the second if earlier ones are known too."""

Act = Callable[[Array], Array]
"""Returns actions for the environments, [N, ·], for their observations [N, ·]."""


def probe(policy: Policy, environments: Environments, *, gamma: float = 0.99, seed: int = 0) -> Probe:
    """Play with a policy in environments that nothing else uses, with the discount factor of its training.

    The policy is left as it was. With environments whose resets determine an episode, the result depends only on the
    policy and the seed.

    Raises:
        NonFiniteError: an observation or an action is NaN or infinite.
        EnvironmentFault: the environment violates Gymnasium's API.
    """
    rng = stream(seed, "evaluation")
    first = int(rng.integers(2**31))

    def plays(act: Act) -> tuple[Played, ...]:
        # the same seeds for each way of acting, so that they differ by the actions only
        return _play(environments, act, EpisodeSeeds(np.random.default_rng(first)))

    with single_thread(), evaluation_mode(policy):
        by_chance = plays(_random_actions(environments, rng))
        sampled = plays(lambda observations: _actions(policy, observations, rng))
        greedy = plays(lambda observations: _actions(policy, observations, None))
        numbers = np.concatenate([played.observations for played in (*by_chance, *sampled)])
        seen = policy.normalized(numbers)
        dead_units = _dead_units(policy, seen)
        difference = None
        if environments.resets_by_seed:
            difference = _difference(environments, int(rng.integers(2**31)))
        memory, time = history_helps(by_chance + sampled, rng), _time_share(by_chance + sampled, rng)
        predictable_returns = _returns_share(sampled, gamma, rng)
    return Probe(
        by_chance,
        sampled,
        greedy,
        seen,
        dead_units,
        difference,
        environments.resets_by_seed,
        environments.max_episode_steps,
        memory,
        predictable_returns,
        time,
    )


def _random_actions(environments: Environments, rng: np.random.Generator) -> Act:
    space = deepcopy(environments.action_space)
    space.seed(int(rng.integers(2**31)))
    return lambda observations: np.stack([np.asarray(space.sample()) for _ in range(environments.num_envs)])


def _actions(policy: Policy, observations: Array, rng: np.random.Generator | None) -> Array:
    encoded = policy.encode(observations)
    noise = None if rng is None else policy.draw_noise(rng, len(encoded))
    chosen = policy.choose(Inputs(encoded), noise)
    check_actions(policy, encoded, chosen)
    return policy.environment_actions(chosen)


def _play(environments: Environments, act: Act, seeds: EpisodeSeeds) -> tuple[Played, ...]:
    """Play one episode in each environment, and again until enough steps have been taken.

    Every environment plays the same number of episodes, so that short ones are not over-represented.
    """
    played, taken = list[Played](), 0
    for _ in range(ROUNDS):
        played += _round(environments, act, seeds)
        taken = sum(map(len, played))
        if taken >= STEPS:
            break
    return tuple(played)


def _round(environments: Environments, act: Act, seeds: EpisodeSeeds) -> list[Played]:
    N, space = environments.num_envs, environments.observation_space
    observations = environments.reset(seeds)
    looks: list[list[F64]] = [[row] for row in _numbers(space, observations)]
    done: list[list[F64]] = [[] for _ in range(N)]
    rewards: list[list[float]] = [[] for _ in range(N)]
    endings: list[Ending | None] = [None] * N
    while None in endings and len(rewards[endings.index(None)]) < LONGEST:
        actions = act(observations)
        after, reward, terminated, truncated = environments.step(actions)
        following, numbers = _numbers(space, after), _numbers(environments.action_space, actions)
        for i in (i for i in range(N) if endings[i] is None):
            looks[i].append(following[i])
            done[i].append(numbers[i])
            rewards[i].append(float(reward[i]))
            if terminated[i] or truncated[i]:
                endings[i] = "terminated" if terminated[i] else "truncated"
        current = environments.current
        assert current is not None, "the environments have been reset"
        observations = current
    return [
        Played(np.array(looks[i]), np.array(done[i]), np.array(rewards[i]), endings[i] or "cut")
        for i in range(N)
    ]


def _numbers(space: Any, rows: Array) -> F64:
    # copied, because some environments write every observation into the same array
    return np.array(observation_numbers(space, rows), np.float64)


def _difference(environments: Environments, seed: int) -> str | None:
    """Return the first difference between two episodes of each environment from one seed; None if there is none."""
    twice = list[list[tuple[Array, ...]]]()
    for _ in range(2):
        act = _random_actions(environments, np.random.default_rng(seed))
        observations = environments.reset(EpisodeSeeds(np.random.default_rng(seed)))
        steps: list[tuple[Array, ...]] = [(np.array(observations),)]
        over = np.zeros(environments.num_envs, np.bool_)
        for _ in range(COMPARED_STEPS):
            observation, reward, terminated, truncated = environments.step(act(observations))
            # what follows the end of an episode is another one, which need not depend on the seed
            parts = (observation, reward, terminated, truncated)
            steps.append(tuple(np.array(part)[~over] for part in parts))
            over = over | terminated | truncated
            if over.all():
                break
        twice.append(steps)
    names = ("observation", "reward", "terminated", "truncated")
    for step, (once, again) in enumerate(zip(*twice, strict=False)):
        for name, one, other in zip(names, once, again, strict=False):
            if not np.array_equal(one, other, equal_nan=one.dtype.kind == "f"):
                return f"the first {name}" if step == 0 else f"{name} of step {step}"
    return None


@in_ordinary_torch
@torch.no_grad()
def _dead_units(policy: Policy, seen: F32) -> tuple[tuple[int, int], ...]:
    """Return (units that are 0 for all rows of `seen` [n, D], all units) of each ReLU layer, in order."""
    counts = list[tuple[int, int]]()

    def count(module: nn.Module, inputs: Any, output: Any) -> None:
        alive = (output != 0).reshape(-1, output.shape[-1]).any(0)
        counts.append((int((~alive).sum()), len(alive)))

    layers = [module for module in policy.network.modules() if isinstance(module, nn.ReLU)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    try:
        if layers:
            policy(as_tensors(Inputs(seen), policy.device))
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(counts)


def history_helps(played: Sequence[Played], rng: np.random.Generator) -> Predictability | None:
    """Return what the past predicts but the current observation hides, the clearest case; None if there is none.

    In a Markov decision process, the reward and the next observation depend on the current observation and action
    alone. If the previous observation and action, or the first observation, predict them much better, the current
    observation lacks something that a policy may need.
    """
    episodes = [episode for episode in played if len(episode) > 1]
    if not episodes:
        return None
    now = np.concatenate([np.hstack([e.observations[1:-1], e.actions[1:]]) for e in episodes])
    before = np.concatenate(
        [
            np.hstack(
                [
                    e.observations[:-2],
                    e.actions[:-1],
                    np.broadcast_to(e.observations[0], e.observations[1:-1].shape),
                ]
            )
            for e in episodes
        ]
    )
    reward = np.concatenate([e.rewards[1:] for e in episodes])
    change = np.concatenate([np.diff(e.observations[1:], axis=0) for e in episodes])
    targets = np.column_stack([reward, change])
    fitted, rows = _halves([len(e) - 1 for e in episodes], rng)
    if fitted is None:
        return None
    varies = (targets[rows][fitted].std(0) > 1e-8) & (targets[rows][~fitted].std(0) > 1e-8)
    if not varies.any():
        return None
    chosen = np.flatnonzero(varies)
    without = predicted_shares(now[rows], targets[rows][:, chosen], fitted, rng)
    known = predicted_shares(np.hstack([now, before])[rows], targets[rows][:, chosen], fitted, rng)
    clear = (without < HIDDEN) & (known > REVEALED)
    if not clear.any():
        return None
    best = int(np.argmax(np.where(clear, known - without, -np.inf)))
    what = "the reward" if chosen[best] == 0 else f"the change of entry {chosen[best] - 1} of the observation"
    return Predictability(what, float(without[best]), float(known[best]))


def _time_share(played: Sequence[Played], rng: np.random.Generator) -> float:
    """Return the share of the variance of the time that is predictable from the observation; NaN if unknown."""
    return _share_of([(e.observations[:-1], np.arange(float(len(e)))) for e in played], rng)


def _returns_share(played: Sequence[Played], gamma: float, rng: np.random.Generator) -> float:
    """Return the share of the variance of discounted returns that is predictable from the observation.

    It is what V(s) could explain. The last steps of a truncated episode are left out, because what would have followed
    is unknown.
    """
    pairs = list[tuple[F64, F64]]()
    for episode in played:
        returns, following = np.empty(len(episode)), 0.0
        for t in reversed(range(len(episode))):
            following = returns[t] = episode.rewards[t] + gamma * following
        unknown = 0
        if episode.ending != "terminated":
            unknown = min(len(episode) // 2, round(1 / max(1 - gamma, 1e-3)))
        known = len(episode) - unknown
        pairs.append((episode.observations[:known], returns[:known]))
    return _share_of(pairs, rng)


def _share_of(pairs: Sequence[tuple[F64, F64]], rng: np.random.Generator) -> float:
    """Return the share of the variance of numbers, [n] per episode, that inputs [n, D] predict; NaN if unknown."""
    fitted, rows = _halves([len(target) for _, target in pairs], rng)
    if fitted is None:
        return float("nan")
    inputs, target = (np.concatenate(parts)[rows] for parts in zip(*pairs, strict=True))
    if target[fitted].std() == 0 or target[~fitted].std() == 0:
        return float("nan")
    return float(predicted_shares(inputs, target[:, None], fitted, rng)[0])


def _halves(lengths: Sequence[int], rng: np.random.Generator) -> tuple[Any, Any]:
    """Split rows of several episodes into those to fit and those to predict, by whole episodes.

    Args:
        lengths: number of rows of each episode.
        rng: chooses the episodes, and at most `MOST` rows of each half.

    Returns:
        (True for a row to fit [n], indices of the rows [n]), or (None, None) if there are too few.
    """
    half = np.zeros(len(lengths), np.bool_)
    half[rng.permutation(len(lengths))[: len(lengths) // 2]] = True
    whose = np.repeat(half, lengths)
    parts = [rng.permutation(np.flatnonzero(whose == way))[:MOST] for way in (True, False)]
    if min(map(len, parts)) < FEWEST:
        return None, None
    rows = np.concatenate(parts)
    return whose[rows], rows

"""The selection of the best policy of a run, and of its way of acting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from torch import nn

import policygrad as pg
from policygrad.envs import make
from policygrad.evaluation.selection import allowance, select
from policygrad.policies import Snapshot
from policygrad.training import BLOCK, CANDIDATES, Candidates
from tests.helpers import Countdown

NOTHING = Snapshot(np.zeros(1, np.float32), {})


class Bet(gym.Env):
    """Episodes of one step whose reward is the number of the action, so that returns are means of actions."""

    observation_space = spaces.Box(-1, 1, (1,), np.float32)
    action_space = spaces.Discrete(4)

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: int):
        return np.zeros(1, np.float32), float(action), True, False, {}


def policy_with(*logits: float) -> pg.Policy:
    policy = pg.Policy(
        pg.DiscretePolicy(1, 4, (), rng=np.random.default_rng(0)), Bet.observation_space, Bet.action_space
    )
    import torch

    with torch.no_grad():
        policy.network.network[0].weight.zero_()  # type: ignore[index, union-attr]
        policy.network.network[0].bias.copy_(torch.tensor(logits))  # type: ignore[index, union-attr]
    return policy


def scored(*policies: pg.Policy, budget: int = 10_000, num_envs: int = 2) -> Any:
    environments = make(Bet, num_envs, vectorize="sync")
    snapshots = [policy.snapshot() for policy in policies]
    try:
        return select(policies[0], snapshots, environments, budget=budget, length=1.0, seed=3)
    finally:
        environments.close()


def test_the_best_on_fresh_episodes_is_chosen_with_its_way_of_acting():
    always_one, always_three = policy_with(0, 50, 0, 0), policy_with(0, 0, 0, 50)
    found = scored(always_one, always_three)
    assert (found.chosen, found.mean, found.greedy) == (1, 3.0, True)
    # action 0 is the most probable, but the mean of the actions is larger: sampling is better
    spread = policy_with(1.0, 0.9, 0.9, 0.9)
    found = scored(spread, policy_with(50, 0, 0, 0))
    assert (found.chosen, found.greedy) == (0, False)
    assert 0.9 < found.mean < 2.1


def test_of_equal_policies_the_first_is_chosen_and_acts_greedily():
    found = scored(policy_with(0, 0, 50, 0), policy_with(0, 0, 50, 1))
    assert (found.chosen, found.greedy, found.mean) == (0, True, 2.0)


def test_scoring_leaves_the_policy_unchanged_and_keeps_its_budget():
    first, second = policy_with(0, 0, 1, 0), policy_with(0, 0, 0, 50)
    before = first.snapshot()
    for budget in (12, 100, 400):
        found = scored(first, second, budget=budget)
        np.testing.assert_array_equal(first.snapshot().parameters, before.parameters)
        assert found.steps <= budget
    # one candidate needs at least six episodes (three per environment) in each way of acting, and another one twenty
    assert scored(first, second, budget=11) is None
    assert scored(first, second, budget=12).candidates == 1
    assert scored(first, second, budget=51).candidates == 1
    assert scored(first, second, budget=52).candidates == 2
    # with more environments, each runs one episode
    assert scored(first, second, budget=127, num_envs=64) is None
    many = scored(first, second, budget=300, num_envs=64)
    assert (many.episodes, many.candidates, many.steps) == (64, 2, 256)


def test_candidates_are_the_best_of_separate_windows():
    candidates = Candidates(NOTHING)
    means = [5.0, 7.0, 6.0, 7.0, 1.0, 9.0, 8.0, 3.0]
    news = []
    for i, mean in enumerate(means):
        # the first one replaces the initial policy, because no window was full before
        news.append(candidates.consider(NOTHING, mean, 100 + i * BLOCK // 2, full=i > 0, ended=True))
    assert news == [True, True, False, True, False, True, False, False]
    # of the candidates in each stretch of episodes the better one is kept, and of equal ones the later
    assert [(c.mean, c.episodes) for c in candidates.entries] == [
        (9.0, 100 + 5 * BLOCK // 2),
        (8.0, 100 + 6 * BLOCK // 2),
        (7.0, 100 + 3 * BLOCK // 2),
        (7.0, 100 + 1 * BLOCK // 2),
    ]
    for i in range(20):
        candidates.consider(NOTHING, 10.0 + i, 1000 + i * BLOCK, full=True, ended=True)
    assert [c.mean for c in candidates.entries] == [29.0, 28.0, 27.0, 26.0, 25.0]
    assert len(candidates.entries) == CANDIDATES
    assert candidates.best == candidates.entries[0]


def test_each_candidate_keeps_its_own_policy():
    rng = np.random.default_rng(0)
    candidates, offered = Candidates(NOTHING), list[tuple[float, int]]()
    for i in range(300):
        mean, episodes = float(rng.integers(20)), 100 + 7 * i
        snapshot = Snapshot(np.array([mean, episodes], np.float32), {})
        full, ended = i > 20, bool(rng.integers(2))
        candidates.consider(snapshot, mean, episodes, full=full, ended=ended)
        offered = [(mean, episodes)] if not full else offered + [(mean, episodes)] * ended
        best_of_blocks = {}
        for one in offered:
            block = one[1] // BLOCK
            if block not in best_of_blocks or one[0] >= best_of_blocks[block][0]:
                best_of_blocks[block] = one
        expected = sorted(best_of_blocks.values(), reverse=True)[:CANDIDATES]
        assert [(c.mean, c.episodes) for c in candidates.entries] == expected
        for entry in candidates.entries:
            assert entry.snapshot.parameters.tolist() == [entry.mean, entry.episodes]
    restored = Candidates(NOTHING)
    restored.restore(candidates.state())
    assert [(c.mean, c.episodes) for c in restored.entries] == [
        (c.mean, c.episodes) for c in candidates.entries
    ]


def test_the_allowance_is_a_twentieth_of_the_budget_or_more_if_steps_are_cheap():
    compiled, python = make("CartPole-v1", 2), make(Bet, 2, vectorize="sync")
    policy = pg.train("CartPole-v1", steps=100, select=False).policy
    assert allowance(python, policy, 10_000) == 500
    assert allowance(compiled, policy, 10_000) == 150_000
    assert allowance(compiled, policy, 10_000_000) == 500_000
    # the compiled loop does not support this network
    own = pg.train(
        "CartPole-v1", pg.Reinforce(), steps=100, select=False, policy=lambda d, n: nn.Linear(d, n)
    ).policy
    assert allowance(compiled, own, 10_000) == 500


def test_a_run_selects_its_best_policy_and_reports_it(tmp_path: Path):
    run = pg.train("CartPole-v1", steps=30_000, seed=1, out=tmp_path / "run")
    assert run.selection is not None
    assert run.policy.greedy is run.selection.greedy
    summary = run.summary()["selection"]
    assert summary["mean"] == run.selection.mean
    assert summary["episodes"] >= 10
    # the saved policy acts in the same way
    loaded = pg.load(tmp_path / "run")
    assert loaded.greedy is run.policy.greedy is True
    state = np.array([0.01, 0.0, 0.02, 0.0], np.float32)
    actions = {loaded.act(state) for _ in range(20)}
    assert actions == {loaded.act(state, greedy=True)}
    # it samples if asked
    loaded.network.network[-1].weight.data.zero_()  # type: ignore[index, union-attr]
    loaded.network.network[-1].bias.data.zero_()  # type: ignore[index, union-attr]
    assert {loaded.act(state, greedy=False) for _ in range(50)} == {0, 1}
    unselected = pg.train("CartPole-v1", steps=30_000, seed=1, select=False)
    assert unselected.selection is None
    assert unselected.policy.greedy is False
    # scoring changes nothing else
    for name, history in unselected.history.items():
        if name != "seconds":
            np.testing.assert_array_equal(history, run.history[name])
    assert unselected.best_mean == run.best_mean


def test_a_resumed_run_selects_the_same_policy_as_an_uninterrupted_one(tmp_path: Path):
    whole = pg.train("CartPole-v1", steps=40_000, seed=2)
    assert whole.selection is not None

    from policygrad.runs.recorder import Recorder

    taken = Recorder._take

    def interrupted(self: Any, iteration: Any) -> None:
        taken(self, iteration)
        if iteration.last["steps"] > 25_000:
            raise KeyboardInterrupt

    out = tmp_path / "halves"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recorder, "_take", interrupted)
        patch.setattr("policygrad.runs.folder.RunFolder.save_interval", 0.0)
        stopped = pg.train("CartPole-v1", steps=40_000, seed=2, out=out)
    assert stopped.ended == "interrupted"
    assert stopped.selection is None
    resumed = pg.train("CartPole-v1", steps=40_000, seed=2, out=out, resume=True)
    assert resumed.selection == whole.selection
    for name, tensor in whole.policy.state_dict().items():
        np.testing.assert_array_equal(resumed.policy.state_dict()[name], tensor)


def test_nothing_that_was_learned_is_lost_if_scoring_fails():
    made: list[int] = []

    def factory() -> gym.Env:
        made.append(1)
        if len(made) > 2:
            raise OSError("no more of them")
        return Countdown([5])

    with pytest.warns(RuntimeWarning, match="scoring the best policies raised OSError: no more of them"):
        run = pg.train(factory, pg.Reinforce(), steps=2_000, num_envs=2, vectorize="sync")
    assert run.ended == "budget"
    assert run.selection is None
    assert run.policy.act([0.0, 0.0]) in (0, 1)


def test_long_episodes_do_not_exceed_the_budget():
    """A greedy policy that is stuck would run to the step limit; the budget ends it, and nothing is selected."""

    class Stuck(Bet):
        def step(self, action: int):
            return np.zeros(1, np.float32), 0.0, action == 3, False, {}

    environments = make(Stuck, 2, vectorize="sync")
    stuck = policy_with(50, 0, 0, 0)
    steps = 0
    inner = environments.step

    def counted(actions: Any) -> Any:
        nonlocal steps
        steps += 2
        return inner(actions)

    environments.step = counted  # type: ignore[method-assign]
    assert select(stuck, [stuck.snapshot()], environments, budget=1_000, length=2.0, seed=0) is None
    assert steps <= 1_000
    environments.close()


def test_a_policy_that_is_trained_further_samples_again():
    first = pg.train("CartPole-v1", steps=20_000).policy
    assert first.greedy is True
    again = pg.train("CartPole-v1", pg.Reinforce(), policy=first, steps=300, select=False)
    assert again.policy.greedy is False

"""Evaluation: unbiased returns, confidence intervals, failures, and policies that stay unchanged."""

from __future__ import annotations

import time

import numpy as np
import pytest
from torch import nn

import policygrad as pg
from policygrad.envs import make
from policygrad.evaluation import progress, share_interval
from tests.helpers import Countdown


def policy_for(env: object) -> pg.Policy:
    environments = make(env, 1)  # type: ignore[arg-type]
    return pg.Policy(
        pg.DiscretePolicy(2, 2, 8, rng=np.random.default_rng(0)),
        environments.observation_space,
        environments.action_space,
    )


class Lottery(Countdown):
    """An episode lasts 1 or 50 steps with equal probability, and pays 1 per step."""

    def reset(self, *, seed=None, options=None):
        result = super().reset(seed=seed, options=options)
        self.lengths = [1 if self.np_random.random() < 0.5 else 50]
        return result

    def step(self, action: int):
        observation, _, *rest = super().step(action)
        return observation, 1.0, *rest


@pytest.mark.parametrize("num_envs", [1, 7, 16])
def test_parallel_evaluation_is_not_biased_towards_short_episodes(num_envs: int):
    """Taking the first episodes that finish in parallel environments would favor the short ones."""
    evaluation = pg.evaluate(
        policy_for(lambda: Lottery([1])), lambda: Lottery([1]), 400, seed=0, num_envs=num_envs
    )
    assert len(evaluation.returns) == 400
    share_of_long = (evaluation.lengths == 50).mean()
    # five standard deviations of 400 fair coins; the first 400 to finish of 16 would hold far fewer long ones
    assert abs(share_of_long - 0.5) < 5 * 0.5 / 20
    np.testing.assert_array_equal(evaluation.returns, evaluation.lengths)


def test_the_interval_of_the_mean_follows_the_t_distribution():
    evaluation = pg.Evaluation(np.array([1.0, 2.0, 3.0, 4.0]), np.ones(4, np.int64), greedy=True)
    assert evaluation.mean == 2.5
    # t(3, 0.975) = 3.1824463, s = 1.2909944
    np.testing.assert_allclose(evaluation.high - 2.5, 3.1824463 * 1.2909944 / 2, rtol=1e-6)
    np.testing.assert_allclose(evaluation.low + evaluation.high, 5)
    single = pg.Evaluation(np.array([1.0]), np.ones(1, np.int64), greedy=True)
    assert np.isnan(single.low)
    assert "greedy, 4 episodes" in str(evaluation)


def test_evaluation_is_reproducible_and_leaves_the_policy_unchanged():
    """Evaluation must restore the training mode of every module."""
    policy = policy_for(lambda: Lottery([1]))
    policy.network.network.append(nn.Dropout(0.5))
    policy.train()
    state = {k: v.clone() for k, v in policy.state_dict().items()}
    a, b, c = (pg.evaluate(policy, lambda: Lottery([1]), 20, greedy=False, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(a.returns, b.returns)
    assert (a.returns != c.returns).any()
    assert all(m.training for m in policy.modules())
    assert all((state[k] == v).all() for k, v in policy.state_dict().items())


def test_a_trained_policy_is_better_greedily_than_sampled():
    run = pg.train("CartPole-v1", seed=0, steps=15_000)
    greedy, sampled = (pg.evaluate(run.policy, "CartPole-v1", 50, greedy=g, seed=1) for g in (True, False))
    assert greedy.mean > sampled.mean


def test_an_episode_that_never_ends_is_cut_and_counted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("policygrad.evaluation.episodes.STEP_LIMIT", 50)
    result = pg.evaluate(
        policy_for(lambda: Lottery([1])), lambda: Countdown([30, 10**9]), episodes=6, num_envs=2
    )
    # the second episode of each environment is the long one
    assert result.lengths.tolist() == [30, 30, 50, 50, 30, 30]
    assert result.returns.tolist() == [sum(range(1, length + 1)) for length in (30, 30, 50, 50, 30, 30)]
    assert result.cut == 2
    assert "2 cut after 50 steps" in str(result)
    limited = pg.evaluate(policy_for(lambda: Lottery([1])), lambda: Countdown([9]), 2, max_episode_steps=5)
    # with a limit of the environment the episodes end by themselves, and none is cut
    assert limited.lengths.tolist() == [5, 5]
    assert limited.cut == 0


def test_invalid_arguments_are_named():
    policy = policy_for(lambda: Lottery([1]))
    with pytest.raises(ValueError, match=r"made for observations of Box.*CartPole-v1 has Box"):
        pg.evaluate(policy, "CartPole-v1")
    with pytest.raises(ValueError, match="episodes must be 1 or more"):
        pg.evaluate(policy, lambda: Lottery([1]), episodes=0)
    with pytest.raises(TypeError, match=r"expected a policygrad.Policy; got DiscretePolicy"):
        pg.evaluate(policy.network, lambda: Lottery([1]))  # type: ignore[arg-type]


def test_the_share_of_failures_has_an_exact_interval():
    """The interval is that of Clopper & Pearson, because Student's covers too little if few episodes fail."""
    from scipy.stats import binom

    for n, share in ((100, 0.02), (20, 0.3), (50, 0.001), (30, 0.999), (10, 0.5)):
        covered = sum(
            binom.pmf(k, n, share)
            for k in range(n + 1)
            if share_interval(k, n)[0] <= share <= share_interval(k, n)[1]
        )
        assert covered >= 0.95
    low, high = share_interval(0, 100)
    assert (low, round(high, 4)) == (0.0, 0.0295)
    assert abs(high - 3 / 100) < 0.001
    assert share_interval(100, 100) == (1 - high, 1.0)


def test_an_evaluation_reports_how_many_episodes_failed():
    lengths = np.ones(100, np.int64)
    two = pg.Evaluation(np.array([500.0] * 98 + [100.0, 20.0]), lengths, True, threshold=475.0)
    assert two.failures == 2
    assert two.failures_in_words == "2 of 100 below 475: 2 %  95 % [0.24 %, 7 %]"
    none = pg.Evaluation(np.full(100, 500.0), lengths, True, threshold=475.0)
    assert none.failures_in_words == "none of 100 below 475: at most 3 % of all (95 %)"
    assert none.mean_in_words == "500.0, all equal: at most 3 % of episodes differ (95 %)"
    assert "[500.0, 500.0]" not in str(none)
    unknown = pg.Evaluation(np.arange(5.0), np.ones(5, np.int64), False)
    assert unknown.failures is unknown.failure_interval is None
    assert unknown.failures_in_words == ""
    assert str(unknown).startswith("2.0  95 % [0.0, 4.0] (sampled, 5 episodes")


def test_the_threshold_is_that_of_the_environment(capsys: pytest.CaptureFixture[str]):
    run = pg.train("CartPole-v1", steps=300)
    found = pg.evaluate(run.policy, "CartPole-v1", 10)
    assert found.threshold == 475
    assert found.failures == (found.returns < 475).sum()
    assert pg.evaluate(policy_for(lambda: Countdown([3])), lambda: Countdown([3]), 3).threshold is None


def test_an_evaluation_shows_its_progress_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(progress.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress.show_episodes(10, None) as tick:
        time.sleep(0.11)
        tick(4, 1_234)
    assert "4 of 10 episodes, 1,234 steps" in capsys.readouterr().err


def test_an_evaluation_writes_lines_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(progress, "LINE_INTERVAL", 0.0)
    with progress.show_episodes(10, True) as tick:
        tick(4, 1_234)
    assert capsys.readouterr().err == "evaluating: 4 of 10 episodes, 1,234 steps\n"

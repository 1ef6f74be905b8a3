"""PPO: its steps, its limits on the change of the policy, and when it stops."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

import policygrad as pg
from policygrad.algorithms import PPO
from policygrad.algorithms.minibatches import shuffled
from policygrad.algorithms.penalty import adapted
from policygrad.engines import make_engine
from policygrad.interfaces import Update
from policygrad.policies import flat_parameters
from policygrad.types import Inputs
from tests.helpers import (
    HEADS,
    PPO_VARIANTS,
    check_that_engines_agree,
    engine_on_copies,
    history_rows,
    learner_state,
    networks,
    parameters,
    relative_error,
    steps_for,
)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("algorithm", PPO_VARIANTS.values(), ids=PPO_VARIANTS)
def test_engines_agree_after_20_updates(algorithm: Any, head: str):
    check_that_engines_agree(algorithm, head, steps_for, moved=1e-2)


@pytest.mark.parametrize("engine", ["fused", "autograd"])
@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_the_first_ratio_is_1_with_normalized_observations(env: str, engine: Any):
    """Normalized observations must be the same when the policy acts and when it learns.

    The steps are too small for float32, so that every ratio of an update is the first one.
    """
    still = pg.PPO(horizon=20, epochs=2, optimizer="sgd", learning_rate=1e-30)
    run = pg.train(
        env, still, steps=800, num_envs=4, engine=engine, progress=False,
        normalization=pg.Normalization(normalize_observations=True, normalize_rewards=True),
    )  # fmt: skip
    assert len(run.updates) > 2
    if engine == "fused":
        assert all(row["largest_ratio"] == 1.0 and row["kl"] == 0.0 for row in history_rows(run))
    else:
        # the order in which torch sums a product depends on the batch size
        assert all(abs(row["largest_ratio"] - 1) < 1e-5 and row["kl"] < 1e-10 for row in history_rows(run))


def test_updates_stop_at_the_target_kl_and_are_counted():
    algorithm = pg.PPO(horizon=64, epochs=10, learning_rate=0.03, target_kl=0.01, learning_rate_end=0.0)
    run = pg.train("CartPole-v1", algorithm, steps=3_000, progress=False)
    steps = run.history["policy_steps"]
    assert steps.min() < 80
    assert steps.min() >= 1


@pytest.mark.parametrize("engine_name", ["fused", "autograd"])
@pytest.mark.parametrize("normalized", ["none", "minibatch", "batch"])
def test_ppo_steps_along_the_mean_over_each_minibatch(normalized: Any, engine_name: Any):
    """The reference is gradient descent by torch on the loss of the paper, with advantages normalized by NumPy."""
    policy, value = networks("categorical")
    rollout, rate, parts, epochs = steps_for(policy, 2), 0.1, 2, 2
    engine, _ = engine_on_copies(policy, value, engine_name)
    engine_before, _ = engine_on_copies(policy, value, engine_name)
    size = rollout.num_samples // parts
    algorithm = pg.PPO(
        epochs=epochs, minibatch_size=size, normalize_advantages=normalized, value_coef=0.3, entropy_coef=0.02,
        learning_rate=rate, optimizer="sgd", max_grad_norm=None,
    )  # fmt: skip
    batch = algorithm.batch(rollout, engine)
    algorithm.learn(engine, rollout, learner_state())

    order, bounds = shuffled(np.random.default_rng(0), len(batch), parts, epochs)
    assert set(np.diff(bounds)) == {119}
    x, action = torch.from_numpy(batch.inputs.observation), torch.from_numpy(batch.action)
    target, old = (torch.from_numpy(batch.columns[name]) for name in ("target", "old_log_prob"))
    advantages = (
        replace(algorithm, normalize_advantages="none").batch(rollout, engine_before).columns["advantage"]
    )
    advantages = advantages.astype(np.float64)
    for start, stop in pairwise(bounds):
        rows = order[start:stop]
        advantage = advantages[rows]
        if normalized != "none":
            among = advantage if normalized == "minibatch" else advantages
            advantage = (advantage - among.mean()) / among.std()
        log_probs = policy(Inputs(x[rows]))
        ratio = (log_probs[np.arange(len(rows)), action[rows]] - old[rows]).exp()
        A = torch.from_numpy(advantage.astype(np.float32))
        surrogate = torch.min(ratio * A, ratio.clamp(0.8, 1.2) * A)
        entropy = -(log_probs.exp() * log_probs).sum(1)
        error = (value(x[rows]) - target[rows]) ** 2
        loss = (-surrogate - 0.02 * entropy + 0.3 * 0.5 * error).mean()
        parameters_of_both = [*policy.parameters(), *value.parameters()]
        with torch.no_grad():
            for p, gradient in zip(
                parameters_of_both, torch.autograd.grad(loss, parameters_of_both), strict=True
            ):
                p -= rate * gradient
    expected = np.concatenate([flat_parameters(m).numpy() for m in (policy, value)])
    assert relative_error(expected, parameters(engine)) < 1e-5


@pytest.mark.parametrize("how", ["none", "batch", "minibatch"])
def test_ppo_learns_from_advantages_normalized_over_the_batch_or_over_each_minibatch(
    how: Any, monkeypatch: pytest.MonkeyPatch
):
    policy, value = networks("categorical")
    engine, seen = make_engine(policy, value, "adam", "fused"), list[Update]()
    update = engine.update

    def spy(asked: Update) -> Any:
        seen.append(asked)
        return update(asked)

    monkeypatch.setattr(engine, "update", spy)
    rollout = steps_for(policy, 0)
    pg.PPO(epochs=2, minibatch_size=79, normalize_advantages=how).learn(engine, rollout, learner_state())
    assert len(seen) == 2
    for asked in seen:
        advantage = asked.batch.columns["advantage"]
        assert advantage.dtype == np.float32
        assert asked.minibatches is not None
        order, bounds = asked.minibatches
        parts = [advantage[order[start:stop]].astype(np.float64) for start, stop in pairwise(bounds)]
        assert len(parts) == 3
        moments = np.array([(part.mean(), part.std()) for part in parts])
        whole = advantage.mean(dtype=np.float64), advantage.std(dtype=np.float64)
        assert np.allclose(whole, (0, 1), atol=1e-6) == (how != "none")
        assert np.allclose(moments, (0, 1), atol=1e-6) == (how == "minibatch")


def test_each_epoch_takes_each_sample_once():
    order, bounds = shuffled(np.random.default_rng(0), 65, 2, 3)
    assert bounds.tolist() == [0, 32, 65, 97, 130, 162, 195]
    for epoch in order.reshape(3, 65):
        assert sorted(epoch) == list(range(65))
    assert (order[:65] != order[65:130]).any()


@pytest.mark.parametrize("samples", [2, 3, 64, 2048, 3000])
def test_minibatches_are_shuffled_like_numpys_permutations(samples: int):
    ours, numpys = (np.random.default_rng(samples) for _ in range(2))
    order, _ = shuffled(ours, samples, 2, epochs=3)
    expected = np.concatenate([numpys.permutation(samples) for _ in range(3)])
    np.testing.assert_array_equal(order, expected)
    assert ours.bit_generator.state == numpys.bit_generator.state


def test_recomputed_advantages_use_the_value_network_of_their_epoch(monkeypatch: pytest.MonkeyPatch):
    policy, value = networks("categorical")
    seen: list[np.ndarray] = []
    engine = make_engine(policy, value, "adam", "fused")
    values_along = engine.values_along

    def spy(rollout: Any) -> Any:
        found = values_along(rollout)
        seen.append(found[0])
        return found

    monkeypatch.setattr(engine, "values_along", spy)
    pg.PPO(epochs=3, recompute_advantages=True).learn(engine, steps_for(policy, 0), learner_state())
    assert len(seen) == 3
    assert np.abs(seen[1] - seen[0]).max() > 1e-4


def test_the_kl_penalty_follows_its_target():
    policy, value = networks("categorical")
    carried = learner_state()
    hasty = pg.PPO(clip=None, kl_penalty=1.0, kl_penalty_target=1e-4, learning_rate=0.01)
    hasty.learn(make_engine(policy, value, "adam", "fused"), steps_for(policy, 0), carried)
    assert carried.adaptive_coefficients == {"kl_penalty": 2.0}
    idle = replace(hasty, kl_penalty_target=1e3)
    metrics = idle.learn(make_engine(policy, value, "adam", "fused"), steps_for(policy, 0), carried)
    assert metrics["kl_penalty"] == 2.0
    assert carried.adaptive_coefficients == {"kl_penalty": 1.0}


@pytest.mark.parametrize(
    ("times", "factor"), [(1.6, 2.0), (1.4, 1.0), (1.0, 1.0), (1 / 1.4, 1.0), (1 / 1.6, 0.5)]
)
def test_the_kl_penalty_is_adapted_as_in_the_paper(times: float, factor: float):
    assert adapted(4.0, 0.01 * times, 0.01, 3.0) == 4.0 * factor


@pytest.mark.parametrize(("target", "limit"), [(1e-30, 2.0**20), (1e30, 2.0**-20)])
def test_the_kl_penalty_stays_in_a_range_from_which_it_can_return(target: float, limit: float):
    """Doubled without limit it would overflow, halved without limit it would become 0 and stay 0."""
    policy, value = networks("categorical")
    engine, carried = make_engine(policy, value, "adam", "fused"), learner_state()
    algorithm = pg.PPO(epochs=1, kl_penalty=3.0, kl_penalty_target=target, max_grad_norm=0.5)
    for seed in range(25):
        algorithm.learn(engine, steps_for(policy, seed), carried)
    assert carried.adaptive_coefficients == {"kl_penalty": 3 * limit}
    replace(algorithm, kl_penalty_target=1 / target).learn(engine, steps_for(policy, 25), carried)
    assert carried.adaptive_coefficients == {"kl_penalty": 3 * limit / (2 if limit > 1 else 0.5)}


def test_a_policy_that_went_too_far_is_not_stepped_until_the_next_update(monkeypatch: pytest.MonkeyPatch):
    """This includes later epochs, which are separate engine calls if advantages are normalized per minibatch."""
    policy, value = networks("categorical")
    engine, rates = make_engine(policy, value, "adam", "fused"), list[Any]()
    update = engine.update

    def spy(asked: Update) -> Any:
        outputs = update(asked)
        rates.append((asked.step.policy_rate, outputs.policy_steps))
        return outputs

    monkeypatch.setattr(engine, "update", spy)
    algorithm = pg.PPO(epochs=6, minibatch_size=60, learning_rate=0.02, target_kl=0.01)
    carried = learner_state()
    for seed in (0, 1):
        rates.clear()
        algorithm.learn(engine, steps_for(policy, seed), carried)
        stopped = next(i for i, (_, steps) in enumerate(rates) if steps < 4)
        assert 0 <= stopped < 5
        assert [rate for rate, _ in rates] == [0.02] * (stopped + 1) + [None] * (5 - stopped)


def test_schedules_are_linear_and_end_at_their_end_value():
    algorithm = pg.PPO(clip=0.2, clip_end=0.0, entropy_coef=0.1, entropy_coef_end=0.0)
    expected = {"clip": 0.1, "entropy_coef": 0.05, "value_coef": 0.5, "value_clip": np.inf, "kl_penalty": 0.0}
    assert algorithm.coefficient_values(0.5) == pytest.approx(expected, rel=1e-6)
    assert algorithm.coefficient_values(1.0) == expected | {"clip": 0.0, "entropy_coef": 0.0}


def test_small_minibatches_and_uneven_ones_stay_finite():
    """Normalizing the advantages of a small or uneven last minibatch must not divide by zero."""
    policy, value = networks("gaussian")
    rollout = steps_for(policy, 0, T=13, N=5)
    for size in (2, 7, 1000):
        engine, _ = engine_on_copies(policy, value, "fused")
        metrics = pg.PPO(epochs=2, minibatch_size=size).learn(engine, rollout, learner_state())
        assert all(np.isfinite(x) for x in metrics.values())


def test_several_epochs_need_a_limit_on_the_change_of_the_policy():
    with pytest.raises(ValueError, match=r"nothing would keep the policy.*set clip, kl_penalty or target_kl"):
        pg.PPO(clip=None)
    for limit in ({"kl_penalty": 1.0}, {"target_kl": 0.02}, {"epochs": 1}):
        pg.PPO(clip=None, **limit)


def test_a_clip_of_1_or_more_is_refused():
    with pytest.raises(ValueError, match="clip must be below 1"):
        pg.PPO(clip=1.5)
    with pytest.raises(ValueError, match="clip_end must be below 1"):
        pg.PPO(clip_end=1.5)


def test_the_reported_gradient_norm_is_that_of_the_last_step_taken():
    """This also holds if the KL stops the policy at the beginning of an epoch."""
    algorithm = pg.PPO(horizon=32, epochs=6, minibatch_size=128, learning_rate=0.003, target_kl=0.003)
    history = pg.train("CartPole-v1", algorithm, num_envs=8, steps=5_000, progress=False).history
    assert (history["policy_steps"] < 12).any()
    assert (history["policy_grad_norm"] > 0).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clip": 0.0}, "clip must be positive"),
        ({"epochs": 0}, "epochs must be 1 or more"),
        ({"minibatch_size": 2.5}, "minibatch_size must be 1 or more, a whole number"),
        ({"gae_lambda": 2.0}, r"gae_lambda must be in \[0, 1\]"),
        ({"normalize_advantages": "all"}, "normalize_advantages must be one of"),
        ({"kl_penalty_target": 0.01}, "which is 0: set kl_penalty to 1"),
        ({"target_kl": -1.0}, "target_kl must be positive"),
    ],
)
def test_invalid_settings_are_named(settings: dict[str, float], message: str):
    with pytest.raises(ValueError, match=message):
        PPO(**settings)

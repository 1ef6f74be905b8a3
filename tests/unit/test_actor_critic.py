"""A2C and PPO as algorithms: what they learn from, in which order, and when they stop."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

import policygrad as pg
from policygrad._support.threads import Workers
from policygrad.algorithms.diagnostics import policy_change_metrics, value_metrics
from policygrad.algorithms.ppo import shuffled
from policygrad.engines import make_engine
from policygrad.interfaces import Engine, Step, Update
from policygrad.policies import flat_parameters, kl_estimate
from policygrad.types import Batch, Inputs, LearnerState, Minibatches, Rollout
from tests.conftest import rollout_of, rows_of, with_observations
from tests.unit.test_engines import (
    FULL,
    HEADS,
    B,
    D,
    batch_for,
    both,
    learned_by_both,
    networks,
    parameters,
    relative,
    weights,
)


def learning(seed: int = 0, progress: float = 0.0) -> LearnerState:
    return LearnerState(np.random.default_rng(seed), progress)


def steps_for(policy: pg.Policy, seed: int, T: int = 40, N: int = 6) -> Rollout:
    """T × N steps with ends of both kinds, and rows in which an environment only reset itself."""
    rng = np.random.default_rng(seed)
    observation = rng.standard_normal((T + 1, N, D)).astype(np.float32)
    terminated, truncated, valid = np.zeros((3, T, N), bool)
    valid[:] = True
    terminated[7, 0] = truncated[11, 1] = terminated[T - 1, 2] = True
    valid[8, 0] = valid[12, 1] = False
    following = observation[1:].copy()
    following[7, 0], following[11, 1] = rng.standard_normal((2, D))
    encoded = observation[:-1].reshape(T * N, D)
    action = policy.choose(Inputs(encoded), policy.draw_noise(rng, T * N))
    reward = rng.standard_normal((T, N)) * valid
    return Rollout.from_pairs(
        observation=observation[:-1],
        action=action.reshape(T, N, *action.shape[1:]),
        reward=reward,
        original_reward=reward,
        next_observation=following,
        terminated=terminated,
        truncated=truncated,
        valid=valid,
    )


ALGORITHMS: dict[str, Any] = {
    "ppo": pg.PPO(epochs=2, learning_rate=0.001),
    "ppo, everything": pg.PPO(
        epochs=3, minibatch_size=50, normalize_advantages="batch", recompute_advantages=True, value_clip=0.2,
        kl_penalty=0.5, kl_penalty_target=0.01, entropy_coef=0.01, target_kl=0.05, learning_rate=0.001,
    ),
    "a2c": pg.A2C(),
    "a2c, n-step, Adam": pg.A2C(estimator="n-step", n=3, optimizer="adam", normalize_advantages=True),
    "a2c, v-trace": pg.A2C(estimator="v-trace", updates=3, gae_lambda=0.9, learning_rate=0.001),
}  # fmt: skip


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS)
def test_engines_agree_after_20_updates(algorithm: Any, head: str):
    policy, value = networks(head)
    before = np.concatenate([flat_parameters(m).numpy().copy() for m in (policy, value)])
    engines, carried = learned_by_both(policy, value, algorithm, steps_for, algorithm.optimizer)
    assert relative(parameters(engines[0]), parameters(engines[1])) < 1e-4
    assert relative(parameters(engines[0]), before) > 1e-2
    assert carried[0].adaptive_coefficients == carried[1].adaptive_coefficients


@pytest.mark.parametrize("head", HEADS)
def test_a_sample_s_log_prob_is_the_same_number_in_any_minibatch(head: str):  # bug 11
    policy, value = networks(head)
    engine, batch = make_engine(policy, value, "adam", "fused"), batch_for(policy)
    old, _ = engine.evaluate(batch.inputs, batch.action)
    for size in (1, 5, 6, 7, 64, 257, B):
        rows = np.random.default_rng(size).permutation(B)[:size]
        again, _ = engine.evaluate(batch.inputs.rows(rows), batch.action[rows])
        np.testing.assert_array_equal(again, old[rows])


@pytest.mark.parametrize("engine", ["fused", "autograd"])
@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_the_first_ratio_is_1_with_the_normaliser_on(env: str, engine: Any):  # bug 11
    """Steps too small for float32: each ratio of the update is the first one."""
    still = pg.PPO(horizon=20, epochs=2, optimizer="sgd", learning_rate=1e-30)
    run = pg.train(
        env, still, steps=800, num_envs=4, engine=engine, progress=False,
        normalization=pg.Normalization(normalize_observations=True, normalize_rewards=True),
    )  # fmt: skip
    assert len(run.updates) > 2
    if engine == "fused":
        assert all(row["largest_ratio"] == 1.0 and row["kl"] == 0.0 for row in rows_of(run))
    else:
        # torch multiplies batches of other sizes in another order
        assert all(abs(row["largest_ratio"] - 1) < 1e-5 and row["kl"] < 1e-10 for row in rows_of(run))


@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_the_kl_is_looked_at_before_the_step(engine: Any):  # bug 18
    policy, value = networks("categorical")
    stopping = make_engine(policy, value, "sgd", engine)
    batch = with_old(stopping, batch_for(policy))
    halves = Minibatches(np.arange(B), np.array([0, B // 3, 2 * B // 3, B]))
    update = Update(batch, PPO_LOSS, PPO_COEFFICIENTS, Step(5.0, 0.01), halves)
    once, _ = copied(policy, value, engine)
    first = Minibatches(halves.order[: B // 3], halves.bounds[:2])
    once.update(replace(update, minibatches=first))
    outputs = stopping.update(replace(update, max_kl=1e-3))
    # at the first the KL is 0, at the second it is over; V(s) goes on
    assert outputs.policy_steps == 1
    np.testing.assert_array_equal(
        parameters(stopping)[: n_policy(policy)], parameters(once)[: n_policy(policy)]
    )
    assert not np.array_equal(parameters(stopping)[n_policy(policy) :], parameters(once)[n_policy(policy) :])


PPO_LOSS = pg.PPO().traced_loss
PPO_COEFFICIENTS = pg.PPO().coefficient_values(0.0)


def with_old(engine: Engine, batch: Batch) -> Batch:
    """The batch with what the networks say of it as they are."""
    log_prob, _ = engine.evaluate(batch.inputs, batch.action)
    return batch.with_columns(old_log_prob=log_prob, old_value=engine.values(batch.inputs))


def n_policy(policy: pg.Policy) -> int:
    return len(flat_parameters(policy))


def copied(policy: pg.Policy, value: Any, engine: Any) -> tuple[Engine, Any]:
    import copy

    policy, value = copy.deepcopy(policy), copy.deepcopy(value)
    return make_engine(policy, value, "sgd", engine), value


def test_a_kl_without_anything_to_measure_it_from():
    policy, value = networks("categorical")
    for engine in both(policy, value):
        # whether the loss reads it as well, or not
        batch = batch_for(policy)
        update = Update(batch, FULL, weights(), Step(0.1, None), max_kl=0.1)
        with pytest.raises(ValueError, match="the batch has no column old_log_prob, which is read"):
            engine.update(update)
        batch = batch.with_columns(old_value=engine.values(batch.inputs))
        with pytest.raises(ValueError, match="the batch has no column old_log_prob, which is read"):
            engine.update(Update(batch, PPO_LOSS, PPO_COEFFICIENTS, Step(0.1, None), max_kl=0.1))


def test_the_kl_estimate_is_never_negative():  # bug 18
    rng = np.random.default_rng(0)
    old, new = rng.standard_normal((2, 10_000)).astype(np.float32)
    assert kl_estimate(new, old).min() >= 0
    # for actions of the old policy its mean is the KL: here of two coins
    p, q = np.array([0.7, 0.3]), np.array([0.4, 0.6])
    estimates = kl_estimate(np.log(q).astype(np.float32), np.log(p).astype(np.float32))
    assert (p * estimates).sum() == pytest.approx((p * np.log(p / q)).sum(), rel=1e-5)


def test_updates_stop_at_the_target_kl_and_are_counted():
    algorithm = pg.PPO(horizon=64, epochs=10, learning_rate=0.03, target_kl=0.01, learning_rate_end=0.0)
    run = pg.train("CartPole-v1", algorithm, steps=3_000, progress=False)
    steps = run.history["policy_steps"]
    assert steps.min() < 80
    assert steps.min() >= 1


@pytest.mark.parametrize("batch_size", [64, 512])
def test_two_cores_step_the_two_networks_to_the_same_bits(batch_size: int):
    policy, value = networks("gaussian")
    batch = batch_for(policy)
    assert PPO_LOSS.separates
    found = []
    for cores in (1, 2):
        engine, _ = copied(policy, value, "fused")
        assert engine.name == "fused"
        own_policy, own_value = engine.policy, engine.value  # pyright: ignore
        workers = Workers(cores)
        engine = make_engine(own_policy, own_value, "adam", "fused", workers=workers)
        minibatches = Minibatches(*shuffled(np.random.default_rng(0), B, B // batch_size or 1, 3))
        step = Step(0.01, 0.01, 0.5)
        outputs = engine.update(
            Update(with_old(engine, batch), PPO_LOSS, PPO_COEFFICIENTS, step, minibatches, max_kl=10.0)
        )
        workers.close()
        found.append((parameters(engine), outputs.log_prob, outputs.value, outputs.policy_steps))
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("engine", ["fused", "autograd"])
@pytest.mark.parametrize("normalized", ["none", "minibatch", "batch"])
def test_ppo_steps_along_the_mean_over_each_minibatch(normalized: Any, engine: Any):
    """Gradient descent by torch on the loss as the paper writes it, its advantages normalized by NumPy."""
    policy, value = networks("categorical")
    rollout, rate, parts, epochs = steps_for(policy, 2), 0.1, 2, 2
    engine, _ = copied(policy, value, engine)
    size = rollout.num_samples // parts
    algorithm = pg.PPO(
        epochs=epochs, minibatch_size=size, normalize_advantages=normalized, value_coef=0.3, entropy_coef=0.02,
        learning_rate=rate, optimizer="sgd", max_grad_norm=None,
    )  # fmt: skip
    batch, _ = algorithm.batch(engine, rollout)
    algorithm.learn(engine, rollout, learning())

    order, bounds = shuffled(np.random.default_rng(0), len(batch), parts, epochs)
    assert set(np.diff(bounds)) == {119}
    x, action = torch.from_numpy(batch.inputs.observation), torch.from_numpy(batch.action)
    target, old = (torch.from_numpy(batch.columns[name]) for name in ("target", "old_log_prob"))
    advantages = batch.columns["advantage"].astype(np.float64)
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
    assert relative(expected, parameters(engine)) < 1e-5


@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_v_trace_corrects_by_the_policy_now_over_the_one_that_acted(engine: Any):
    """With λ = 0 by hand: the advantage is min(1, π_now/π_acted) δ, and V's target V + that."""
    policy, value = networks("categorical")
    engine, _ = copied(policy, value, engine)
    rollout = steps_for(policy, 2)
    algorithm = pg.A2C(gamma=0.9, gae_lambda=0.0, estimator="v-trace", updates=2)
    x, action = rollout.observation[rollout.valid], rollout.action[rollout.valid]
    now, _ = engine.evaluate(Inputs(x), action)
    acted = now + np.random.default_rng(0).normal(0, 0.5, len(now)).astype(np.float32)
    corrected = algorithm._corrected(engine, rollout, Batch(Inputs(x), action, {}), acted).columns
    with torch.no_grad():
        v, after = (
            value(torch.from_numpy(seen[rollout.valid])).numpy().astype(np.float64)
            for seen in (rollout.observation, rollout.next_observation)
        )
    over = rollout.terminated[rollout.valid]
    error = rollout.reward[rollout.valid] + 0.9 * np.where(over, 0, after) - v
    expected = np.minimum(1, np.exp(now.astype(np.float64) - acted)) * error
    np.testing.assert_allclose(corrected["advantage"], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(corrected["target"], v + expected, rtol=1e-4, atol=1e-5)
    assert np.abs(corrected["advantage"] - error).max() > 0.1


@pytest.mark.parametrize("sizes", [(79, 79, 80), (2, 3, 233)], ids=str)
def test_ppo_normalizes_advantages_over_each_minibatch(sizes: tuple[int, ...]):
    rng = np.random.default_rng(0)
    advantage = rng.normal(3, 2, sum(sizes)).astype(np.float32)
    order, bounds = rng.permutation(len(advantage)), np.append(0, np.cumsum(sizes))
    found = pg.PPO()._normalized(advantage, order, bounds, len(sizes))
    assert found.dtype == np.float32
    for start, stop in pairwise(bounds):
        part = advantage[order[start:stop]].astype(np.float64)
        np.testing.assert_allclose(
            found[order[start:stop]], (part - part.mean()) / part.std(), rtol=1e-5, atol=1e-6
        )
    whole = advantage.astype(np.float64)
    for settings, count in ((pg.PPO(normalize_advantages="batch"), len(sizes)), (pg.PPO(), 1)):
        found = settings._normalized(advantage, order, bounds, count)
        np.testing.assert_allclose(found, (whole - whole.mean()) / whole.std(), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(
        pg.PPO(normalize_advantages="none")._normalized(advantage, order, bounds, 3), advantage
    )


def test_shuffled_passes_take_each_sample_once():
    order, bounds = shuffled(np.random.default_rng(0), 65, 2, 3)
    assert bounds.tolist() == [0, 32, 65, 97, 130, 162, 195]
    for epoch in order.reshape(3, 65):
        assert sorted(epoch) == list(range(65))
    assert (order[:65] != order[65:130]).any()


def test_values_along_steps_are_those_of_the_true_successors():  # bugs 3, 4, 22
    policy, value = networks("categorical")
    engine = make_engine(policy, value, "adam", "fused")
    rollout = steps_for(policy, seed=3)
    now, following = engine.values_along(rollout)
    T, N = rollout.valid.shape
    for found, seen in ((now, rollout.observation), (following, rollout.next_observation)):
        expected = engine.values(Inputs(np.ascontiguousarray(seen.reshape(T * N, D)))).reshape(T, N)
        np.testing.assert_allclose(found[rollout.valid], expected[rollout.valid], rtol=1e-6)


def test_rows_that_are_no_samples_are_not_learned_from():  # bug 7
    policy, value = networks("categorical")
    rollout = steps_for(policy, seed=4)
    poisoned = with_observations(
        replace(rollout, reward=np.where(rollout.valid, rollout.reward, 1e6)),
        np.where(rollout.valid[..., None], rollout.observation, np.float32(50)),
        rollout.next_observation,
    )
    for algorithm in (pg.PPO(epochs=2), pg.A2C(), pg.A2C(estimator="v-trace", updates=2)):
        engines = [copied(policy, value, "fused")[0] for _ in range(2)]
        metrics = [
            algorithm.learn(engine, steps, learning())
            for engine, steps in zip(engines, (rollout, poisoned), strict=True)
        ]
        np.testing.assert_array_equal(parameters(engines[0]), parameters(engines[1]))
        assert metrics[0] == metrics[1]


def test_on_whole_episodes_gae_1_is_reinforce_with_v():
    policy, value = networks("categorical")
    engine = make_engine(policy, value, "adam", "fused")
    rollout = rollout_of([[1.0, 2.0, 3.0], [5.0], [1.0, -1.0]], D=D)
    reinforce = pg.Reinforce(gamma=0.9, normalize_advantages=False).batch(rollout, engine)
    ppo, _ = pg.PPO(gamma=0.9, gae_lambda=1.0).batch(engine, rollout)
    for name in ("advantage", "target"):
        np.testing.assert_allclose(ppo.columns[name], reinforce.columns[name], rtol=1e-5, atol=1e-6)


def test_recomputed_advantages_see_the_value_network_of_their_epoch():
    policy, value = networks("categorical")
    seen: list[np.ndarray] = []

    class Spy(pg.PPO):
        def _estimate(self, rollout: Any, value: Any, next_value: Any) -> Any:
            seen.append(value)
            return super()._estimate(rollout, value, next_value)

    engine = make_engine(policy, value, "adam", "fused")
    Spy(epochs=3, recompute_advantages=True).learn(engine, steps_for(policy, 0), learning())
    assert len(seen) == 3
    assert np.abs(seen[1] - seen[0]).max() > 1e-4


def test_the_kl_penalty_follows_its_target():
    policy, value = networks("categorical")
    carried = learning()
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
def test_the_kl_penalty_moves_where_the_paper_says(times: float, factor: float):
    algorithm = pg.PPO(kl_penalty=3.0, kl_penalty_target=0.01)
    assert algorithm._adapted(4.0, 0.01 * times) == 4.0 * factor


@pytest.mark.parametrize(("target", "limit"), [(1e-30, 2.0**20), (1e30, 2.0**-20)])
def test_the_kl_penalty_stays_where_it_can_come_back_from(target: float, limit: float):
    """Doubled for ever it would overflow, halved for ever it would be 0, and 0 doubled is 0."""
    policy, value = networks("categorical")
    engine, carried = make_engine(policy, value, "adam", "fused"), learning()
    algorithm = pg.PPO(epochs=1, kl_penalty=3.0, kl_penalty_target=target, max_grad_norm=0.5)
    for seed in range(25):
        algorithm.learn(engine, steps_for(policy, seed), carried)
    assert carried.adaptive_coefficients == {"kl_penalty": 3 * limit}
    replace(algorithm, kl_penalty_target=1 / target).learn(engine, steps_for(policy, 25), carried)
    assert carried.adaptive_coefficients == {"kl_penalty": 3 * limit / (2 if limit > 1 else 0.5)}


def test_a_policy_that_went_too_far_rests_until_the_next_update(monkeypatch: pytest.MonkeyPatch):
    """Also in later epochs, which are calls of their own where advantages are normalised by the minibatch."""
    policy, value = networks("categorical")
    engine, rates = make_engine(policy, value, "adam", "fused"), list[Any]()
    update = engine.update

    def spy(asked: Update) -> Any:
        outputs = update(asked)
        rates.append((asked.step.policy_rate, outputs.policy_steps))
        return outputs

    monkeypatch.setattr(engine, "update", spy)
    algorithm = pg.PPO(epochs=6, minibatch_size=60, learning_rate=0.02, target_kl=0.01)
    carried = learning()
    for seed in (0, 1):
        rates.clear()
        algorithm.learn(engine, steps_for(policy, seed), carried)
        stopped = next(i for i, (_, steps) in enumerate(rates) if steps < 4)
        assert 0 <= stopped < 5
        assert [rate for rate, _ in rates] == [0.02] * (stopped + 1) + [None] * (5 - stopped)


def test_a_schedule_ends_where_it_says():
    algorithm = pg.PPO(clip=0.2, clip_end=0.0, entropy_coef=0.1, entropy_coef_end=0.0)
    expected = {"clip": 0.1, "entropy_coef": 0.05, "value_coef": 0.5, "value_clip": np.inf, "kl_penalty": 0.0}
    assert algorithm.coefficient_values(0.5) == pytest.approx(expected, rel=1e-6)
    assert algorithm.coefficient_values(1.0) == expected | {"clip": 0.0, "entropy_coef": 0.0}


def test_several_updates_from_the_same_data_need_v_trace():
    with pytest.raises(ValueError, match="set estimator='v-trace', or take PPO"):
        pg.A2C(updates=2)


def test_small_minibatches_and_uneven_ones_stay_finite():  # bug 8
    policy, value = networks("gaussian")
    rollout = steps_for(policy, 0, T=13, N=5)
    for size in (2, 7, 1000):
        engine, _ = copied(policy, value, "fused")
        metrics = pg.PPO(epochs=2, minibatch_size=size).learn(engine, rollout, learning())
        assert all(np.isfinite(x) for x in metrics.values())


def test_a_batch_keeps_its_columns_apart():
    policy, _ = networks("categorical")
    batch = batch_for(policy)
    with pytest.raises(ValueError, match="old_log_prob has shape"):
        Batch(batch.inputs, batch.action, {**batch.columns, "old_log_prob": np.zeros(3, np.float32)})


def test_something_has_to_hold_the_policy_over_several_epochs():
    with pytest.raises(
        ValueError, match=r"nothing would hold the policy.*give clip, kl_penalty or target_kl"
    ):
        pg.PPO(clip=None)
    for limit in ({"kl_penalty": 1.0}, {"target_kl": 0.02}, {"epochs": 1}):
        pg.PPO(clip=None, **limit)


def test_a_clip_that_clips_one_side_only_is_refused():
    with pytest.raises(ValueError, match="clip must be below 1"):
        pg.PPO(clip=1.5)
    with pytest.raises(ValueError, match="clip_end must be below 1"):
        pg.PPO(clip_end=1.5)


def test_the_gradient_norm_is_that_of_the_last_step_taken():
    """Also where the KL stops the policy at the beginning of an epoch."""
    algorithm = pg.PPO(horizon=32, epochs=6, minibatch_size=128, learning_rate=0.003, target_kl=0.003)
    history = pg.train("CartPole-v1", algorithm, num_envs=8, steps=5_000, progress=False).history
    assert (history["policy_steps"] < 12).any()
    assert (history["policy_grad_norm"] > 0).all()


@pytest.mark.parametrize("settings", [{}, {"estimator": "v-trace", "updates": 3}], ids=["one", "three"])
def test_a2c_says_how_far_its_updates_took_the_policy(settings: dict[str, Any]):
    algorithm = pg.A2C(learning_rate=0.01, **settings)
    policy, value = networks("categorical")
    engine, rollout = make_engine(policy, value, "rmsprop"), steps_for(policy, 0)
    x, action = rollout.observation[rollout.valid], rollout.action[rollout.valid]
    old, _ = engine.evaluate(Inputs(x), action)
    metrics = algorithm.learn(engine, rollout, learning())
    new, _ = engine.evaluate(Inputs(x), action)
    assert metrics["kl"] == pytest.approx(float(kl_estimate(new, old).mean()), rel=1e-6)
    assert metrics["largest_ratio"] == pytest.approx(float(np.exp(new - old).max()), rel=1e-5)
    assert metrics["kl"] > 0


def test_what_the_value_explains_is_the_formula_s():
    rng = np.random.default_rng(0)
    target = (1_000 + rng.standard_normal(500)).astype(np.float32)
    value = (target + 1 + 0.3 * rng.standard_normal(500)).astype(np.float32)
    error = value.astype(np.float64) - target
    metrics = value_metrics(value, target)
    assert metrics["value_loss"] == pytest.approx(0.5 * np.mean(error**2), rel=1e-9)
    assert metrics["value_bias"] == pytest.approx(np.mean(error), rel=1e-9)
    assert metrics["explained_variance"] == pytest.approx(explained(value, target), rel=1e-9)
    # in parts, as the moments carry them
    moments = np.zeros((2, 3))
    for rows in (slice(0, 1), slice(1, 300), slice(300, 500)):
        in_parts = value_metrics(value[rows], target[rows], moments, kept=1.0)
    assert in_parts["explained_variance"] == pytest.approx(metrics["explained_variance"], rel=1e-9)
    assert np.isnan(value_metrics(value[:1], target[:1])["explained_variance"])


@pytest.mark.parametrize("size", [0.0, 1e-30, 0.1, 1e9 + 0.1, 1e30])
def test_of_targets_that_are_equal_up_to_rounding_nothing_is_explained(size: float):
    value = (size * np.random.default_rng(0).standard_normal(500)).astype(np.float32)
    target = np.full(500, size, np.float32)
    for odd in (target[0], np.nextafter(target[0], np.float32(2 * size))):
        target[::7] = odd
        moments = np.zeros((2, 3))
        for rows in (slice(0, 200), slice(200, 500)):
            assert np.isnan(value_metrics(value[rows], target[rows], moments, kept=0.9)["explained_variance"])
    # what is more than rounding is explained as ever
    target[::7] *= np.float32(1.001)
    if size:
        found = value_metrics(value, target)["explained_variance"]
        assert found == pytest.approx(explained(value, target), rel=1e-9)


def explained(value: np.ndarray, target: np.ndarray) -> float:
    value, target = value.astype(np.float64), target.astype(np.float64)
    return 1 - np.var(target - value) / np.var(target)


def test_of_many_samples_evenly_spaced_ones_say_how_far_the_policy_came():
    policy, value = networks("categorical")
    engine, rollout = make_engine(policy, value, "adam"), steps_for(policy, 0)
    x, action = rollout.observation[rollout.valid], rollout.action[rollout.valid]
    batch = Batch(Inputs(x), action, {})
    new, _ = engine.evaluate(Inputs(x), action)
    old = new + np.random.default_rng(0).normal(0, 0.1, len(x)).astype(np.float32)
    # every third
    at_most = -(-len(x) // 3)
    assert len(x) > 3
    metrics = policy_change_metrics(engine, batch, old, clip=0.1, at_most=at_most)
    off = (new - old)[::3]
    assert metrics["kl"] == pytest.approx(float(kl_estimate(new[::3], old[::3]).mean()), rel=1e-6)
    assert metrics["largest_ratio"] == pytest.approx(float(np.exp(off).max()), rel=1e-6)
    assert metrics["clip_share"] == np.mean(np.abs(np.exp(off) - 1) > 0.1)

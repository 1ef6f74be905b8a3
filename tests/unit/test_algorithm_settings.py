"""Each setting of an algorithm has its documented effect on a single update."""

from __future__ import annotations

import copy
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

import policygrad as pg
from policygrad.advantages import generalized_advantages, n_step_returns, normalize, vtrace
from policygrad.algorithms import natural
from policygrad.algorithms.minibatches import shuffled
from policygrad.engines import make_engine
from policygrad.interfaces import Engine, Step, Update
from policygrad.losses import Loss, traced
from policygrad.training.update_metrics import rollout_metrics
from policygrad.types import Batch, Inputs, Rollout
from tests.helpers import (
    D,
    batch_rows,
    episodes_for,
    learner_state,
    networks,
    one_step_for,
    parameters,
    relative_error,
    rollout_of,
    steps_for,
)

PLAIN: dict[str, Any] = {"optimizer": "sgd", "max_grad_norm": None}
"""With these settings an update is minus the learning rate times the gradient."""
ONE_STEP: dict[str, Any] = {
    "a2c": pg.A2C(**PLAIN),
    "ppo": pg.PPO(epochs=1, minibatch_size=10_000, **PLAIN),
    "reinforce": pg.Reinforce(value_steps=1, **PLAIN),
    "actor-critic": pg.ActorCritic(**PLAIN),
    "actor-critic with traces": pg.ActorCritic(policy_trace=0.9, value_trace=0.7, **PLAIN),
}


def data_for(algorithm: Any, policy: pg.Policy) -> Rollout:
    if isinstance(algorithm, pg.Reinforce):
        return episodes_for(policy, 0)
    of = one_step_for if isinstance(algorithm, pg.ActorCritic) else steps_for
    return of(policy, 0)


def learned(algorithm: Any, *, head: str = "categorical", progress: float = 0.0) -> list[np.ndarray]:
    """Return how far one update moves the policy and V(s)."""
    policy, value = networks(head)
    engine = make_engine(policy, value, algorithm.optimizer, "fused")
    before, size = parameters(engine).copy(), engine.policy_parameters().size
    algorithm.learn(engine, data_for(algorithm, policy), learner_state(progress=progress))
    return np.split(parameters(engine) - before, [size])


def both_equal(found: list[np.ndarray], expected: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


KINDS: tuple[Any, ...] = (pg.Reinforce, pg.ActorCritic, pg.A2C, pg.PPO)
SCHEDULES = [
    (kind, field.name.removesuffix("_end"))
    for kind in KINDS
    for field in fields(kind)
    if field.name.endswith("_end")
]


@pytest.mark.parametrize(("kind", "setting"), SCHEDULES)
def test_a_schedule_is_linear_until_its_end_value(kind: Any, setting: str):
    start, end = 0.03, 0.01
    constant = learned(kind(**{setting: start + (end - start) * 0.25}), progress=0.25)
    going = {setting: start, f"{setting}_end": end}
    assert both_equal(learned(kind(**going), progress=0.25), constant)
    assert not both_equal(learned(kind(**{setting: start}), progress=0.25), constant)


def test_all_schedules_are_tested():
    assert len(SCHEDULES) == 3 + 1 + 2 + 3


@pytest.mark.parametrize("algorithm", ONE_STEP.values(), ids=ONE_STEP)
def test_each_network_has_its_own_learning_rate(algorithm: Any):
    of = replace(algorithm, learning_rate=0.01, value_learning_rate=0.02)
    policy, value = learned(of)
    faster = learned(replace(of, learning_rate=0.03))
    np.testing.assert_array_equal(faster[1], value)
    assert relative_error(faster[0], 3 * policy) < 1e-4
    faster = learned(replace(of, value_learning_rate=0.06))
    np.testing.assert_array_equal(faster[0], policy)
    assert relative_error(faster[1], 3 * value) < 1e-4


@pytest.mark.parametrize("algorithm", [pg.TRPO, pg.NaturalGradient])
def test_natural_algorithms_have_a_value_learning_rate(algorithm: Any):
    of = algorithm(value_epochs=1, value_minibatches=1, optimizer="sgd", value_learning_rate=0.01)
    (policy, value), faster = learned(of), learned(replace(of, value_learning_rate=0.03))
    np.testing.assert_array_equal(faster[0], policy)
    assert relative_error(faster[1], 3 * value) < 1e-4


@pytest.mark.parametrize("algorithm", [pg.TRPO, pg.NaturalGradient])
def test_natural_algorithms_fit_values_to_other_minibatches_in_each_epoch(
    algorithm: Any, monkeypatch: pytest.MonkeyPatch
):
    """Two epochs have three parts of 79, so that one of 238 samples is left out, and not always the same one."""
    policy, value = networks("categorical")
    engine, expected = (make_engine(*copy.deepcopy((policy, value)), "sgd", "fused") for _ in range(2))
    rollout, seen = steps_for(policy, 2), list[Any]()
    update = engine.update

    def spy(asked: Update) -> Any:
        seen.append((asked.batch, asked.minibatches))
        return update(asked)

    monkeypatch.setattr(engine, "update", spy)
    settings = algorithm(value_epochs=2, value_minibatches=3, optimizer="sgd", value_learning_rate=0.05)
    settings.learn(engine, rollout, learner_state())
    [(batch, (order, bounds))] = seen
    assert np.diff(bounds).tolist() == [79] * 6
    epochs = [set(order[: 3 * 79].tolist()), set(order[3 * 79 :].tolist())]
    assert [len(rows) for rows in epochs] == [237, 237]
    assert epochs[0] != epochs[1]
    for start, stop in pairwise(bounds):
        part = batch_rows(batch, order[start:stop])
        _, gradient = expected.gradient(part, traced(lambda s, k: (s.value - s.target) ** 2 / 2), {})
        none = np.zeros_like(expected.policy_parameters())
        expected.apply(none, gradient, Step(0.05, 0.05))
    size = expected.policy_parameters().size
    assert relative_error(parameters(expected)[size:], parameters(engine)[size:]) < 1e-6


@pytest.mark.parametrize("name", ["a2c", "ppo"])
def test_the_value_learning_rate_defaults_to_that_of_the_policy(name: str):
    of = replace(ONE_STEP[name], learning_rate=0.02)
    assert both_equal(learned(of), learned(replace(of, value_learning_rate=0.02)))
    more = learned(replace(of, value_coef=1.0))
    np.testing.assert_array_equal(more[0], learned(of)[0])
    assert relative_error(more[1], 2 * learned(of)[1]) < 1e-4


@pytest.mark.parametrize("head", ["categorical", "gaussian per state"])
@pytest.mark.parametrize("algorithm", ONE_STEP.values(), ids=ONE_STEP)
def test_the_entropy_bonus_adds_the_gradient_of_the_mean_entropy(algorithm: Any, head: str):
    of = replace(algorithm, learning_rate=0.1)
    moved = learned(replace(of, entropy_coef=2.0), head=head)[0] - learned(of, head=head)[0]
    policy, value = networks(head)
    rollout = data_for(of, policy)
    batch = batch_of(rollout, np.zeros(rollout.valid.shape), np.zeros(rollout.valid.shape))
    engine = make_engine(policy, value, "sgd", "fused")
    gradient, _ = engine.gradient(batch, traced(lambda s, k: s.entropy), {})
    assert relative_error(0.1 * 2.0 * gradient, moved) < 1e-3


def batch_of(rollout: Rollout, advantage: np.ndarray, target: np.ndarray) -> Batch:
    x = rollout.valid
    return Batch(
        Inputs(rollout.observation[x]),
        rollout.action[x],
        {"advantage": advantage[x].astype(np.float32), "target": target[x].astype(np.float32)},
    )


def step(engine: Engine, batch: Batch, rate: float, loss: Loss, coefficients: dict[str, float]) -> None:
    engine.apply(*engine.gradient(batch, loss, coefficients), Step(rate, rate))


@pytest.mark.parametrize(
    "settings",
    [
        {"gae_lambda": 0.7},
        {"gae_lambda": 0.7, "normalize_advantages": True},
        {"estimator": "n-step", "n": 3},
        {"estimator": "n-step", "n": 2, "normalize_advantages": True},
        {"estimator": "v-trace", "gae_lambda": 0.6},
        {"estimator": "v-trace", "gae_lambda": 0.6, "updates": 3},
    ],
    ids=str,
)
def test_a2c_uses_the_chosen_advantages(settings: dict[str, Any]):
    rate, gamma = 0.1, 0.9
    algorithm = pg.A2C(gamma=gamma, learning_rate=rate, value_coef=0.3, **PLAIN, **settings)
    policy, value = networks("categorical")
    engine, expected = (make_engine(*copy.deepcopy((policy, value)), "sgd", "fused") for _ in range(2))
    rollout = steps_for(policy, 2)
    algorithm.learn(engine, rollout, learner_state())

    inputs, action = Inputs(rollout.observation[rollout.valid]), rollout.action[rollout.valid]
    acted = expected.evaluate(inputs, action)[0].copy()
    for _ in range(algorithm.updates):
        v, next_v = expected.values_along(rollout)
        ends = (rollout.terminated, rollout.done, gamma)
        if algorithm.estimator == "n-step":
            target = n_step_returns(rollout.reward, next_v, *ends, n=settings["n"])
            advantage = target - v
        elif algorithm.estimator == "gae":
            advantage = generalized_advantages(rollout.reward, v, next_v, *ends, settings["gae_lambda"])
            target = advantage + v
        else:
            log_ratio = np.zeros(rollout.valid.shape)
            log_ratio[rollout.valid] = expected.evaluate(inputs, action)[0] - acted
            target, advantage = vtrace(log_ratio, rollout.reward, v, next_v, *ends, settings["gae_lambda"])
        if algorithm.normalize_advantages:
            advantage[rollout.valid] = normalize(advantage[rollout.valid])
        batch = batch_of(rollout, advantage, target)
        step(expected, batch, rate, pg.A2C().traced_loss, {"entropy_coef": 0.0, "value_coef": 0.3})
    assert relative_error(parameters(expected), parameters(engine)) < 1e-6
    untrained = make_engine(policy, value, "sgd", "fused")
    assert relative_error(parameters(expected), parameters(untrained)) > 1e-3


@pytest.mark.parametrize("how", ["none", "batch", "minibatch"])
def test_ppo_normalizes_advantages_as_chosen(how: Any):
    rate, parts, epochs = 0.1, 2, 2
    policy, value = networks("categorical")
    engine, expected = (make_engine(*copy.deepcopy((policy, value)), "sgd", "fused") for _ in range(2))
    rollout = steps_for(policy, 2)
    B = rollout.num_samples
    algorithm = pg.PPO(
        epochs=epochs, minibatch_size=B // parts, normalize_advantages=how, learning_rate=rate, **PLAIN
    )
    algorithm.learn(engine, rollout, learner_state())

    batch = algorithm.batch(rollout, expected)
    whole = batch.columns["advantage"].astype(np.float64)
    coefficients = {
        "clip": 0.2, "entropy_coef": 0.0, "value_coef": 0.5, "value_clip": np.inf, "kl_penalty": 0.0
    }  # fmt: skip
    order, bounds = shuffled(np.random.default_rng(0), B, parts, epochs)
    for start, stop in pairwise(bounds):
        rows = order[start:stop]
        advantage = whole[rows]
        if how == "minibatch":
            advantage = normalize(advantage)
        elif how == "batch":
            advantage = normalize(whole)[rows]
        part = batch_rows(batch, rows).with_columns(advantage=advantage.astype(np.float32))
        step(expected, part, rate, algorithm.traced_loss, coefficients)
    assert relative_error(parameters(expected), parameters(engine)) < 1e-6


@pytest.mark.parametrize("algorithm", [pg.TRPO, pg.NaturalGradient])
@pytest.mark.parametrize("normalized", [True, False])
def test_natural_steps_use_the_chosen_advantages(algorithm: Any, normalized: bool):
    policy, value = networks("categorical")
    engine, rollout = make_engine(policy, value, "adam", "fused"), steps_for(policy, 2)
    settings = algorithm(gamma=0.9, gae_lambda=0.7, normalize_advantages=normalized)
    batch, *_ = natural._prepare(settings, engine, rollout)
    v, next_v = engine.values_along(rollout)
    advantage = generalized_advantages(
        rollout.reward, v, next_v, rollout.terminated, rollout.done, gamma=0.9, lam=0.7
    )[rollout.valid]
    np.testing.assert_allclose(
        batch.columns["advantage"],
        normalize(advantage) if normalized else advantage,
        rtol=1e-5,
        atol=1e-6,
    )


def test_clipped_actions_are_counted_at_both_bounds():
    box, arm = spaces.Box(-np.inf, np.inf, (D,)), spaces.Box(np.float32(-2), np.float32(1), (1,))
    network = pg.GaussianPolicy(D, 1, (), rng=np.random.default_rng(0))
    policy = pg.Policy(network, box, arm, scale_actions=False)
    actions = np.array([-2.5, -3, -2.1, 1.5, 0, -1.9, 0.9, 1, -2, 7], np.float32).reshape(5, 2, 1)
    rollout = replace(rollout_of([[0.0] * 5] * 2, observation_size=D), action=actions)
    found = rollout_metrics(rollout, policy)
    assert found["clipped_actions"] == pytest.approx((3 + 2) / 10)


@pytest.mark.parametrize(
    ("ignored", "heeded"),
    [
        (lambda: pg.A2C(n=2), lambda: pg.A2C(n=2, estimator="n-step")),
        (lambda: pg.Network(sde_period=8), lambda: pg.Network(sde_period=8, distribution="gsde")),
        (lambda: pg.Network(policy_gain=1.0, init="uniform"), lambda: pg.Network(policy_gain=1.0)),
        (
            lambda: pg.Normalization(clip_rewards=1.0),
            lambda: pg.Normalization(clip_rewards=1.0, normalize_rewards=True),
        ),
        (
            lambda: pg.Normalization(clip_observations=1.0, normalize_rewards=True),
            lambda: pg.Normalization(clip_observations=1.0, normalize_observations=True),
        ),
    ],
)
def test_a_setting_that_would_be_ignored_is_refused(ignored: Any, heeded: Any):
    with pytest.raises(ValueError, match=r"would be ignored: it only has an effect with .*\. Leave it out"):
        ignored()
    heeded()

"""Optimizer steps of both engines: rates, minibatches, the KL limit, cores, and numbers that are not finite."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

import policygrad as pg
from policygrad._support.threads import Workers
from policygrad.algorithms import Reinforce
from policygrad.algorithms.minibatches import shuffled
from policygrad.engines import make_engine
from policygrad.errors import NonFiniteError
from policygrad.interfaces import Engine, Step, Update
from policygrad.losses import traced
from policygrad.policies import GaussianPolicy, Policy, flat_parameters
from policygrad.types import Batch, Inputs, Minibatches, Rollout
from tests.helpers import (
    BOX,
    FULL_LOSS,
    HEADS,
    B,
    D,
    batch_for,
    batch_rows,
    both_engines,
    engine_on_copies,
    full_coefficients,
    learner_state,
    networks,
    parameters,
    relative_error,
    rollout_of,
)

PPO_LOSS = pg.PPO().traced_loss
PPO_COEFFICIENTS = pg.PPO().coefficient_values(0.0)


@pytest.mark.parametrize("engine_name", ["autograd", "fused"])
def test_separate_learning_rates_are_honored(engine_name: str):
    """A value learning rate that is accepted but ignored would show here."""
    policy, value = networks("categorical")
    engine = make_engine(policy, value, "sgd", engine_name)
    batch = batch_for(policy)
    g_policy, g_value = engine.gradient(batch, FULL_LOSS, full_coefficients())
    before = flat_parameters(policy).clone(), flat_parameters(value).clone()
    engine.update(Update(batch, FULL_LOSS, full_coefficients(), Step(0.5, 0.125)))
    steps = [b - flat_parameters(m) for b, m in zip(before, (policy, value), strict=True)]
    np.testing.assert_allclose(steps[0], 0.5 * g_policy, atol=1e-6)
    np.testing.assert_allclose(steps[1], 0.125 * g_value, atol=1e-6)


@pytest.mark.parametrize("engine_name", ["autograd", "fused"])
def test_each_loss_moves_its_own_network_only(engine_name: str):
    """The policy's loss must not reach V(s) through the advantages, nor V(s)'s loss anything through its targets."""
    policy, value = networks("gaussian")
    engine = make_engine(policy, value, "adam", engine_name)
    batch = batch_for(policy)
    before = flat_parameters(policy).clone(), flat_parameters(value).clone()
    engine.update(Update(batch, FULL_LOSS, full_coefficients(), Step(0.1, None)))
    assert not torch.equal(flat_parameters(policy), before[0])
    assert torch.equal(flat_parameters(value), before[1])
    after = flat_parameters(policy).clone()
    engine.update(Update(batch, FULL_LOSS, full_coefficients(), Step(None, 0.1)))
    assert torch.equal(flat_parameters(policy), after)
    assert not torch.equal(flat_parameters(value), before[1])


@pytest.mark.parametrize("engine_name", ["autograd", "fused"])
@pytest.mark.parametrize(
    ("spoil", "named"),
    [("advantage", "policy parameter"), ("target", "value parameter"), ("observation", "log π")],
)
def test_a_nan_is_reported_before_any_parameter_changes(engine_name: str, spoil: str, named: str):
    policy, value = networks("categorical")
    engine = make_engine(policy, value, "adam", engine_name)
    batch = batch_for(policy)
    (batch.inputs.observation if spoil == "observation" else batch.columns[spoil])[3] = np.nan
    before = flat_parameters(policy).clone(), flat_parameters(value).clone()
    with pytest.raises(NonFiniteError, match=named):
        engine.update(Update(batch, FULL_LOSS, full_coefficients(), Step(0.1, 0.1, 0.5)))
    assert torch.equal(flat_parameters(policy), before[0])
    assert torch.equal(flat_parameters(value), before[1])


@pytest.mark.parametrize("engine_name", ["autograd", "fused"])
def test_a_batch_of_one_sample_stays_finite(engine_name: str):
    """A standard deviation over one sample must not become a division by zero."""
    policy, value = networks("gaussian")
    engine = make_engine(policy, value, "adam", engine_name)
    metrics = Reinforce().learn(engine, rollout_for_one(), learner_state())
    assert np.isfinite([v for k, v in metrics.items() if k != "explained_variance"]).all()
    assert torch.isfinite(flat_parameters(policy)).all()


def rollout_for_one() -> Rollout:
    rollout = rollout_of([[2.0]], observation_size=D)
    parts = {f: getattr(rollout, f) for f in Rollout.__dataclass_fields__}
    return Rollout(**parts | {"action": np.zeros((1, 1, 2), np.float32)})


@pytest.mark.parametrize("engine_name", ["autograd", "fused"])
def test_log_std_stays_within_its_bounds_and_can_return(engine_name: str):
    bounded = GaussianPolicy(D, 2, 8, log_std_bounds=(-0.2, 0.2), rng=np.random.default_rng(0))
    policy = Policy(bounded, BOX, spaces.Box(-1, 1, (2,)))
    engine = make_engine(policy, None, "sgd", engine_name)
    batch = batch_for(policy)
    network: Any = policy.network
    bonus = traced(lambda s, k: -k.entropy_coef * s.entropy)
    for sign, bound in ((1.0, 0.2), (-1.0, -0.2)):
        for _ in range(3):
            engine.update(Update(batch, bonus, {"entropy_coef": sign * B}, Step(0.01, None)))
        np.testing.assert_allclose(network.log_std.detach(), bound, rtol=1e-6)


def test_a_minibatch_may_have_more_rows_than_the_batch():
    """Rows drawn with replacement, as in a bootstrap."""
    order = np.random.default_rng(0).integers(0, 10, 300)
    ends = []
    for engine_name in ("fused", "autograd"):
        policy, value = networks("categorical")
        engine = make_engine(policy, value, "adam", engine_name)  # type: ignore[arg-type]
        engine.update(
            Update(
                batch_for(policy, 10),
                FULL_LOSS,
                full_coefficients(0.01),
                Step(0.01, 0.02, 0.5),
                Minibatches(order, np.array([0, 300])),
            )
        )
        ends.append(parameters(engine))
    assert relative_error(*ends) < 1e-5


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
def test_an_update_over_minibatches_equals_single_steps(optimizer: str):
    """One call with uneven minibatches equals one call per minibatch, and the last, uneven one stays finite."""
    order = np.random.default_rng(0).permutation(37)
    minibatches = Minibatches(np.concatenate([order, order[:1]]), np.array([0, 16, 32, 37, 38]))
    step = Step(0.01, 0.02, 0.5)
    ends = []
    for engine_name in ("fused", "autograd"):
        for at_once in (True, False):
            policy, value = networks("categorical")
            engine = make_engine(policy, value, optimizer, engine_name)  # type: ignore[arg-type]
            batch = batch_for(policy, 37)
            if at_once:
                outputs = engine.update(Update(batch, FULL_LOSS, full_coefficients(0.01), step, minibatches))
                assert np.isfinite(outputs.log_prob).all()
                assert (outputs.log_prob < 0).all()
            else:
                for i in range(4):
                    rows = minibatches.order[minibatches.bounds[i] : minibatches.bounds[i + 1]]
                    engine.update(Update(batch_rows(batch, rows), FULL_LOSS, full_coefficients(0.01), step))
            ends.append(torch.cat([flat_parameters(policy), flat_parameters(value)]).clone())
    assert torch.equal(ends[0], ends[1])
    assert torch.equal(ends[2], ends[3])
    torch.testing.assert_close(ends[0], ends[2], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("engine_name", ["fused", "autograd"])
@pytest.mark.parametrize(
    ("order", "bounds", "message"),
    [
        ([0, 1, 2, 3], [0, 4, 4], "bounds must be strictly increasing from 0 to 4"),
        ([0, 1, 2, 3], [0, 2], "bounds must be strictly increasing from 0 to 4"),
        ([0, 1, 2, 37], [0, 4], "each from 0 to 36"),
        ([0, -1], [0, 2], "each from 0 to 36"),
        ([], [0], "at least one segment"),
    ],
)
def test_invalid_minibatches_are_refused(engine_name: Any, order: list[int], bounds: list[int], message: str):
    policy, value = networks("categorical")
    engine = make_engine(policy, value, "adam", engine_name)
    minibatches = Minibatches(np.array(order, np.int64), np.array(bounds))
    with pytest.raises(ValueError, match=message):
        engine.update(
            Update(batch_for(policy, 37), FULL_LOSS, full_coefficients(1.0), Step(0.1, 0.1), minibatches)
        )


def test_a_batch_split_between_cores_gives_the_same_step():
    """The step equals that of one core up to rounding, and is bit-identical when two cores repeat it."""
    ends = []
    for cores in (1, 2, 2):
        policy, value = networks("gaussian")
        engine = make_engine(policy, value, "adam", "fused", workers=Workers(cores))
        batch = batch_for(policy, 3000)
        for _ in range(3):
            outputs = engine.update(Update(batch, FULL_LOSS, full_coefficients(0.01), Step(0.01, 0.01, 0.5)))
        ends.append((flat_parameters(policy).clone(), flat_parameters(value).clone(), outputs))
    for a, b in zip(ends[1][:2], ends[2][:2], strict=True):
        assert torch.equal(a, b)
    for a, b in zip(ends[0][:2], ends[1][:2], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(ends[0][2].log_prob, ends[1][2].log_prob, rtol=1e-4, atol=1e-5)
    assert ends[0][2].policy_grad_norm == pytest.approx(ends[1][2].policy_grad_norm, rel=1e-4)


@pytest.mark.parametrize("head", HEADS)
def test_outputs_of_a_row_do_not_depend_on_its_neighbors(head: str):
    """Outputs are bit-identical at every position of a batch; otherwise the first ratio of PPO would not be 1."""
    policy, value = networks(head)
    engine = make_engine(policy, value, "sgd", "fused")
    batch = batch_for(policy, 1000)

    def outputs(rows: slice) -> np.ndarray:
        part = batch_rows(batch, rows)
        found = engine.update(Update(part, FULL_LOSS, full_coefficients(), Step(0.0, 0.0)))
        np.testing.assert_array_equal(engine.values(part.inputs), found.value)
        return np.stack([found.log_prob, found.entropy, found.value])

    together = outputs(slice(0, 1000))
    for n in (1, 2, 3, 5, 7, 64, 129):
        for first in (0, 1, 62, 257, 1000 - n):
            rows = slice(first, first + n)
            np.testing.assert_array_equal(outputs(rows), together[:, rows])


@pytest.mark.parametrize("head", HEADS)
def test_log_prob_of_a_sample_is_the_same_in_any_minibatch(head: str):
    """log π is bit-identical in any minibatch, so that the importance ratio is exactly 1 before the first step."""
    policy, value = networks(head)
    engine, batch = make_engine(policy, value, "adam", "fused"), batch_for(policy)
    old, _ = engine.evaluate(batch.inputs, batch.action)
    for size in (1, 5, 6, 7, 64, 257, B):
        rows = np.random.default_rng(size).permutation(B)[:size]
        again, _ = engine.evaluate(batch.inputs.rows(rows), batch.action[rows])
        np.testing.assert_array_equal(again, old[rows])


@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_the_kl_is_checked_before_the_step(engine: Any):
    """The KL is checked before a step, so a step that would go too far is neither taken nor counted."""
    policy, value = networks("categorical")
    stopping = make_engine(policy, value, "sgd", engine)
    batch = with_old_columns(stopping, batch_for(policy))
    halves = Minibatches(np.arange(B), np.array([0, B // 3, 2 * B // 3, B]))
    update = Update(batch, PPO_LOSS, PPO_COEFFICIENTS, Step(5.0, 0.01), halves)
    once, _ = engine_on_copies(policy, value, engine)
    first = Minibatches(halves.order[: B // 3], halves.bounds[:2])
    once.update(replace(update, minibatches=first))
    outputs = stopping.update(replace(update, max_kl=1e-3))
    # in the first minibatch the KL is 0, in the second it is over the limit; V(s) keeps learning
    assert outputs.policy_steps == 1
    np.testing.assert_array_equal(
        parameters(stopping)[: n_policy(policy)], parameters(once)[: n_policy(policy)]
    )
    assert not np.array_equal(parameters(stopping)[n_policy(policy) :], parameters(once)[n_policy(policy) :])


def with_old_columns(engine: Engine, batch: Batch) -> Batch:
    """Return the batch with log π and V(s) of the networks as they are now."""
    log_prob, _ = engine.evaluate(batch.inputs, batch.action)
    return batch.with_columns(old_log_prob=log_prob, old_value=engine.values(batch.inputs))


def n_policy(policy: pg.Policy) -> int:
    return len(flat_parameters(policy))


def test_max_kl_without_old_log_prob_is_refused():
    policy, value = networks("categorical")
    for engine in both_engines(policy, value):
        # FULL_LOSS does not read old_log_prob, and PPO_LOSS does
        batch = batch_for(policy)
        update = Update(batch, FULL_LOSS, full_coefficients(), Step(0.1, None), max_kl=0.1)
        with pytest.raises(ValueError, match="the batch has no column old_log_prob, which the update needs"):
            engine.update(update)
        batch = batch.with_columns(old_value=engine.values(batch.inputs))
        with pytest.raises(ValueError, match="the batch has no column old_log_prob, which the update needs"):
            engine.update(Update(batch, PPO_LOSS, PPO_COEFFICIENTS, Step(0.1, None), max_kl=0.1))


@pytest.mark.parametrize("batch_size", [64, 512])
def test_stepping_the_two_networks_on_two_cores_is_bit_identical(batch_size: int):
    policy, value = networks("gaussian")
    batch = batch_for(policy)
    assert PPO_LOSS.separates
    found = []
    for cores in (1, 2):
        engine, _ = engine_on_copies(policy, value, "fused")
        assert engine.name == "fused"
        own_policy, own_value = engine.policy, engine.value  # pyright: ignore
        workers = Workers(cores)
        engine = make_engine(own_policy, own_value, "adam", "fused", workers=workers)
        minibatches = Minibatches(*shuffled(np.random.default_rng(0), B, B // batch_size or 1, 3))
        step = Step(0.01, 0.01, 0.5)
        outputs = engine.update(
            Update(
                with_old_columns(engine, batch), PPO_LOSS, PPO_COEFFICIENTS, step, minibatches, max_kl=10.0
            )
        )
        workers.close()
        found.append((parameters(engine), outputs.log_prob, outputs.value, outputs.policy_steps))
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)


def test_gradients_that_are_not_finite_are_named_and_not_applied():
    policy, value = networks("categorical")
    for engine in both_engines(policy, value):
        before = parameters(engine).copy()
        wrong = np.full(len(flat_parameters(policy)), np.nan, np.float32)
        with pytest.raises(NonFiniteError, match="gradient of policy parameter"):
            engine.apply(wrong, np.zeros(len(flat_parameters(value)), np.float32), Step(0.1, 0.1))
        np.testing.assert_array_equal(parameters(engine), before)


@pytest.mark.parametrize("engine_name", ["fused", "autograd"])
@pytest.mark.parametrize("minibatched", [False, True])
def test_segments_do_not_change_the_step_of_networks_without_memory(engine_name: Any, minibatched: bool):
    """Segments of length 1 and of length 8 hold the same samples and lead to the same steps."""
    rng, B = np.random.default_rng(1), 8 * 150
    space = gym.spaces.Box(-np.inf, np.inf, (3,))
    x, action = rng.normal(size=(B, 3)).astype(np.float32), rng.integers(0, 2, B)
    weight = rng.integers(0, 2, B).astype(np.float32)
    algorithm = pg.A2C(entropy_coef=0.1)
    columns = {name: rng.normal(size=B).astype(np.float32) for name in ("advantage", "target")}
    found = []
    for length in (1, 8):
        make = np.random.default_rng(2)
        policy = pg.Policy(pg.DiscretePolicy(3, 2, (8,), rng=make), space, gym.spaces.Discrete(2))
        value = pg.ValueNetwork(3, (8,), rng=make)
        engine = make_engine(policy, value, "adam", engine_name)
        batch = Batch(Inputs(x), action, columns, length, weight)
        minibatches = None
        if minibatched:
            segments = np.random.default_rng(3).permutation(B // 8)
            rows = segments if length == 8 else (segments[:, None] * 8 + np.arange(8)).ravel()
            minibatches = Minibatches(rows, np.array([0, 40, 90, 150]) * (1 if length == 8 else 8))
        step, k = Step(0.01, 0.01, 0.5), algorithm.coefficient_values(0.0)
        outputs = engine.update(Update(batch, algorithm.traced_loss, k, step, minibatches))
        found.append((outputs, policy.state_dict(), value.state_dict()))
    assert found[0][0].matrix == pytest.approx(found[1][0].matrix, abs=1e-6)
    for i in (1, 2):
        for key, weights in found[0][i].items():
            torch.testing.assert_close(weights, found[1][i][key], rtol=1e-5, atol=1e-6)

"""The natural gradient and TRPO: closed forms, the trust region, and agreement of the engines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

import policygrad as pg
from policygrad.advantages import generalized_advantages
from policygrad.algorithms.natural import natural_step, surrogate_loss
from policygrad.algorithms.steps import flatten_valid
from policygrad.engines import make_engine
from policygrad.engines.common import values_along
from policygrad.errors import NonFiniteError
from policygrad.interfaces import Engine
from policygrad.losses import traced
from policygrad.metrics import METRICS
from policygrad.policies import (
    DiscretePolicy,
    GaussianPolicy,
    Policy,
    flat_parameters,
    make_policy,
    make_value,
)
from policygrad.types import Batch, Inputs, Rollout
from tests.helpers import (
    HEADS,
    SHAPES,
    CustomNetwork,
    D,
    batch_for,
    both_engines,
    dense_fisher,
    distribution_of,
    learner_state,
    networks,
    random_states,
    relative_error,
    shaken_policy,
    with_observations,
)

pytestmark = pytest.mark.usefixtures("one_thread")
ENGINES = ("autograd", "fused")
ALGORITHMS = (pg.NaturalGradient, pg.TRPO)
# the variance of gSDE is a sum over features, which is not invariant to a change of coordinates
COORDINATES = [head for head in HEADS if head != "gsde"]
SURROGATE = traced(surrogate_loss)
T, N = 64, 8


def with_start(engine: Engine, batch: Batch) -> Batch:
    """Return the batch with log π of the current policy."""
    return batch.with_columns(old_log_prob=engine.policy_outputs(batch.inputs, batch.action).log_prob)


def steps_for(policy: Policy, seed: int, scale: float = 1.0) -> Rollout:
    """Return T × N steps with terminations, truncations and reset rows, in which rewards depend on actions."""
    rng = np.random.default_rng(seed)
    observation = rng.standard_normal((T + 1, N, D)).astype(np.float32)
    encoded = observation[:-1].reshape(T * N, D)
    action = policy.choose(Inputs(encoded), policy.draw_noise(rng, T * N))
    action = action.reshape(T, N, *action.shape[1:])
    how = rng.random((T, N))
    terminated, truncated = how < 0.05, (how >= 0.05) & (how < 0.08)
    valid = np.ones((T, N), bool)
    # in half of the environments the row after an end is a reset
    valid[1:, ::2] = ~(terminated | truncated)[:-1, ::2]
    terminated &= valid
    truncated &= valid
    reward = scale * (rng.standard_normal((T, N)) + (action if action.ndim == 2 else action.sum(-1)))
    return Rollout.from_pairs(
        observation[:-1], action, reward, reward, observation[1:], terminated, truncated, valid
    )


@pytest.mark.parametrize("engine_name", ENGINES)
@pytest.mark.parametrize("head", HEADS)
def test_the_natural_gradient_solves_the_dense_system(head: str, engine_name: Any):
    policy = shaken_policy(head)
    engine = make_engine(policy, None, "sgd", engine_name)
    batch = with_start(engine, batch_for(policy, 200))
    exact = dense_fisher(policy, batch.inputs.observation)
    settings = pg.TRPO(cg_iterations=200, cg_tolerance=1e-6, damping=0.1, max_kl=0.02)
    step = natural_step(settings, engine, batch, {})
    g = -engine.gradient(batch, SURROGATE, {})[0].astype(np.float64)
    damped = exact + 0.1 * np.eye(len(g))
    x = np.linalg.solve(damped, g)
    assert relative_error(np.sqrt(2 * 0.02 / (x @ damped @ x)) * x, step.whole) < 1e-4
    assert step.residual <= 1e-6
    assert step.gradient_norm == pytest.approx(np.linalg.norm(g))
    # the step is as long as the quadratic model with damping allows
    assert 0.5 * step.whole @ damped @ step.whole == pytest.approx(0.02, rel=1e-4)


@pytest.mark.parametrize("engine_name", ENGINES)
def test_the_natural_gradient_of_a_softmax_bandit(engine_name: Any):
    """For J = Σ π_k r_k it is r minus its mean: the shortest x with (diag(π) − ππᵀ) x = π (r − πᵀr)."""
    probabilities, r = np.array([0.5, 0.25, 0.125, 0.125]), np.array([1.0, -2.0, 0.5, 1.5])
    network = DiscretePolicy(1, 4, (), rng=np.random.default_rng(0))
    policy = Policy(network, spaces.Box(-1, 1, (1,)), spaces.Discrete(4))
    flat = flat_parameters(policy)
    flat[:4], flat[4:] = 0.0, torch.from_numpy(np.log(probabilities))
    engine = make_engine(policy, None, "sgd", engine_name)
    # each action occurs as often as the policy takes it; the state is 0, so that only the biases matter
    action = np.repeat(np.arange(4), (8 * probabilities).astype(int))
    advantage = (r - probabilities @ r)[action].astype(np.float32)
    batch = Batch(Inputs(np.zeros((8, 1), np.float32)), action, {"advantage": advantage})
    batch = with_start(engine, batch)
    settings = pg.NaturalGradient(damping=0.0, cg_tolerance=1e-6, max_kl=0.001)
    step = natural_step(settings, engine, batch, {})
    variance = probabilities @ (r - probabilities @ r) ** 2
    expected = np.sqrt(2 * 0.001 / variance) * (r - r.mean())
    np.testing.assert_allclose(step.whole[4:], expected, rtol=1e-4)
    assert not step.whole[:4].any()
    # the ordinary gradient hardly changes improbable actions
    plain = probabilities * (r - probabilities @ r)
    assert np.argmax(plain) != np.argmax(step.whole[4:])


@pytest.mark.parametrize("engine_name", ENGINES)
@pytest.mark.parametrize("head", COORDINATES)
def test_the_natural_gradient_does_not_depend_on_coordinates(head: str, engine_name: Any):
    """The policy is the same in other coordinates of parameters and observations: W s = (W A⁻¹)(A s)."""
    rng = np.random.default_rng(0)
    A = np.eye(D) + 0.5 * rng.standard_normal((D, D))
    assert 2 < np.linalg.cond(A) < 20
    first, second = shaken_policy(head, depth=0), shaken_policy(head, depth=0)
    network: Any = second.network
    weights = network.network[0].weight.detach().numpy()
    weights[:] = weights @ np.linalg.inv(A)
    batch = batch_for(first, 500)
    turned = replace(batch, inputs=Inputs((batch.inputs.observation @ A.T).astype(np.float32)))
    settings = pg.NaturalGradient(damping=0.0, cg_iterations=100, cg_tolerance=1e-5, max_kl=0.05)
    natural, plain = [], []
    for policy, its in ((first, batch), (second, turned)):
        engine = make_engine(policy, None, "sgd", engine_name)
        its = with_start(engine, its)
        before = engine.policy_parameters()
        g = -engine.gradient(its, SURROGATE, {})[0]
        for step, policies in ((natural_step(settings, engine, its, {}).whole, natural), (g, plain)):
            engine.set_policy_parameters((before + step).astype(np.float32))
            policies.append(engine.policy_outputs(its.inputs, its.action).log_prob)
    assert np.abs(plain[0] - plain[1]).max() > 0.02
    np.testing.assert_allclose(natural[0], natural[1], atol=2e-4)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_step_does_not_depend_on_the_scale_of_the_rewards(algorithm: Any):
    ends = []
    for scale in (1.0, 64.0):
        policy, value = networks("gaussian")
        with torch.no_grad():
            flat_parameters(value).zero_()
        engine = make_engine(policy, value, "adam", "fused")
        algorithm().learn(engine, steps_for(policy, 0, scale), learner_state())
        ends.append(engine.policy_parameters())
    assert relative_error(*ends) < 1e-6


@pytest.mark.parametrize("engine_name", ENGINES)
@pytest.mark.parametrize("head", HEADS)
def test_every_step_of_trpo_respects_its_bound_and_improves(head: str, engine_name: Any):
    """The KL is torch's own in float64, and steps on random batches are large enough to need shortening."""
    algorithm = pg.TRPO(max_kl=0.1, damping=0.01)
    fractions = []
    for seed in range(40):
        policy, _ = networks(head, seed=seed)
        engine = make_engine(policy, None, "sgd", engine_name)
        batch = with_start(engine, batch_for(policy, 100, seed=seed))
        old = distribution_of(policy, batch.inputs.observation)
        start = engine.policy_outputs(batch.inputs, batch.action)
        taken = algorithm.line_search(
            engine, batch, {}, start, natural_step(algorithm, engine, batch, {}).whole
        )
        new = distribution_of(policy, batch.inputs.observation)
        kl = torch.distributions.kl_divergence(old, new).mean().item()
        action = torch.from_numpy(batch.action)
        ratio = (new.log_prob(action) - old.log_prob(action)).exp().numpy()
        assert kl <= 0.1 * (1 + 1e-4)
        assert kl == pytest.approx(taken["kl"], rel=1e-3)
        assert ((ratio - 1) * batch.columns["advantage"]).mean() == pytest.approx(
            taken["surrogate_improvement"], rel=1e-3
        )
        assert taken["surrogate_improvement"] > 0
        fractions.append(taken["step_fraction"])
    assert min(fractions) < 1
    assert max(fractions) == 1


@pytest.mark.parametrize("engine_name", ENGINES)
def test_the_line_search_shortens_a_step_that_is_too_long(engine_name: Any):
    policy, _ = networks("gaussian")
    engine = make_engine(policy, None, "sgd", engine_name)
    batch = with_start(engine, batch_for(policy))
    algorithm = pg.TRPO(backtrack=0.5)
    start = engine.policy_outputs(batch.inputs, batch.action)
    step, before = natural_step(algorithm, engine, batch, {}).whole, engine.policy_parameters()
    taken = algorithm.line_search(engine, batch, {}, start, 5 * step)
    assert taken["step_fraction"] in (1 / 4, 1 / 8)
    assert 0 < taken["kl"] <= 0.01
    expected = before + taken["step_fraction"] * 5 * step
    np.testing.assert_array_equal(engine.policy_parameters(), expected.astype(np.float32))
    # a step of twice this length violates the bound
    engine.set_policy_parameters((before + 2 * taken["step_fraction"] * 5 * step).astype(np.float32))
    assert engine.policy_outputs(batch.inputs, batch.action, start).kl.mean() > 0.01


@pytest.mark.parametrize("engine_name", ENGINES)
@pytest.mark.parametrize("why", ["downhill", "too long", "nan", "nothing"])
def test_the_policy_is_bit_identical_if_no_step_is_accepted(why: str, engine_name: Any):
    policy, _ = networks("categorical")
    engine = make_engine(policy, None, "sgd", engine_name)
    batch = with_start(engine, batch_for(policy))
    algorithm = pg.TRPO()
    start = engine.policy_outputs(batch.inputs, batch.action)
    step = natural_step(algorithm, engine, batch, {}).whole
    factor = {"downhill": -1.0, "too long": 1e6, "nan": np.nan, "nothing": 0.0}[why]
    before = engine.policy_parameters()
    taken = algorithm.line_search(engine, batch, {}, start, factor * step)
    assert taken == {"kl": 0.0, "surrogate_improvement": 0.0, "largest_ratio": 1.0, "step_fraction": 0.0}
    np.testing.assert_array_equal(engine.policy_parameters().view(np.int32), before.view(np.int32))


@pytest.mark.parametrize("engine_name", ENGINES)
def test_a_small_natural_step_reaches_its_kl(engine_name: Any):
    policy, value = networks("gaussian")
    engine = make_engine(policy, value, "adam", engine_name)
    algorithm = pg.NaturalGradient(max_kl=1e-5, damping=0.0)
    metrics = algorithm.learn(engine, steps_for(policy, 0), learner_state())
    assert metrics["kl"] == pytest.approx(1e-5, rel=0.05)
    assert metrics["surrogate_improvement"] > 0
    assert 0 < metrics["cg_residual"] < 0.5


TO_ITS_END: dict[str, Any] = {"cg_iterations": 100, "cg_tolerance": 1e-6}
"""With these the conjugate gradient solves the damped system, whose solution is the same in both engines. Before that,
for instance after 10 iterations, its iterates differ by far more than the rounding of the products, especially if the
eigenvalues of F are far apart, and the next update starts from there."""


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(("head", "activation", "depth"), [shape for shape in SHAPES if shape[2] > 0])
def test_parameters_agree_after_20_updates(head: str, activation: str, depth: int, algorithm: Any):
    # V(s) takes small steps because of the kinks of ReLU: see test_engines
    settings = algorithm(**TO_ITS_END, value_epochs=4, value_minibatches=1, value_learning_rate=0.001)
    policy, value = networks(head, activation, depth)
    engines = both_engines(policy, value)
    for i in range(20):
        rollout = steps_for(policy, seed=i)
        for engine in engines:
            settings.learn(engine, rollout, learner_state(i))
    a, b = (engine.policy_parameters() for engine in engines)
    assert relative_error(a, b) < 1e-4
    assert relative_error(a, flat_parameters(policy).numpy()) > 0.04


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("head", HEADS)
def test_values_and_metrics_agree_after_20_updates(head: str, algorithm: Any):
    policy, value = networks(head)
    engines, settings = both_engines(policy, value), algorithm(**TO_ITS_END)
    for i in range(20):
        rollout = steps_for(policy, seed=i)
        found = [settings.learn(engine, rollout, learner_state(i)) for engine in engines]
    values = [flat_parameters(engine.value).numpy() for engine in engines]  # type: ignore[attr-defined]
    assert relative_error(*values) < 1e-4
    assert set(found[0]) <= set(METRICS)
    for name in found[0]:
        assert found[0][name] == pytest.approx(found[1][name], rel=1e-2, abs=1e-5), name


@pytest.mark.parametrize("engine_name", ENGINES)
@pytest.mark.parametrize("head", HEADS)
def test_the_policy_learns_which_actions_pay(head: str, engine_name: Any):
    """Rewards are noise plus the number of the action, and larger actions are preferred after 20 steps."""
    policy, value = networks(head)
    engine = make_engine(policy, value, "adam", engine_name)
    for seed in range(20):
        metrics = pg.TRPO(gamma=0.5).learn(engine, steps_for(policy, seed), learner_state(seed))
        assert 0 < metrics["kl"] <= 0.01
    observation = random_states(500)
    noise = policy.draw_noise(np.random.default_rng(0), 500)
    untrained, _ = networks(head)
    taken = [engine.act(Inputs(observation), noise), untrained.choose(Inputs(observation), noise)]
    after, before = (policy.distribution.in_units(action).astype(float) for action in taken)
    assert (after - before).mean() > 0.4


def test_advantages_across_ends_and_resets_follow_their_definition():
    """Each advantage is the sum of its definition, with V(s') of the true successor, or 0 after a termination."""
    policy, _ = networks("categorical")
    rollout, gamma, lam = steps_for(policy, 3), 0.9, 0.8
    assert not rollout.valid.all()
    # rows that are not samples are ignored
    observation, following = rollout.observation.copy(), rollout.next_observation.copy()
    observation[~rollout.valid] = following[~rollout.valid] = 1e9
    rollout.reward[~rollout.valid] = 1e9
    # the successor of a step that does not end its episode is in the next row
    goes_on = ~rollout.done[:-1] & rollout.valid[:-1] & rollout.valid[1:]
    following[:-1][goes_on] = observation[1:][goes_on]
    rollout = with_observations(rollout, observation, following)
    value, next_value = values_along(lambda inputs: inputs.observation[:, 0], rollout)
    valid = rollout.valid
    advantage = flatten_valid(
        rollout,
        generalized_advantages(
            rollout.reward, value, next_value, rollout.terminated, rollout.done, gamma, lam
        ),
    )
    np.testing.assert_array_equal(flatten_valid(rollout, value), rollout.observation[valid][:, 0])
    expected = np.zeros((T, N))
    for t in reversed(range(T)):
        for n in np.flatnonzero(valid[t]):
            following = 0.0 if rollout.terminated[t, n] else float(rollout.next_observation[t, n, 0])
            expected[t, n] = rollout.reward[t, n] + gamma * following - rollout.observation[t, n, 0]
            if t + 1 < T and not rollout.done[t, n]:
                expected[t, n] += gamma * lam * expected[t + 1, n]
    np.testing.assert_allclose(advantage, expected[valid], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("engine_name", ENGINES)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_update_with_advantages_of_0_changes_nothing(algorithm: Any, engine_name: Any):
    policy, value = networks("categorical")
    engine = make_engine(policy, value, "adam", engine_name)
    rollout = steps_for(policy, 0)
    ones = replace(rollout, terminated=rollout.valid, truncated=~rollout.valid & False)
    ones.reward[:] = 1.0
    with torch.no_grad():
        flat_parameters(value).zero_()
    before = engine.policy_parameters()
    metrics = algorithm().learn(engine, ones, learner_state())
    np.testing.assert_array_equal(engine.policy_parameters(), before)
    assert metrics["kl"] == metrics["policy_grad_norm"] == metrics["cg_residual"] == 0
    # no step improves on the current policy
    assert metrics.get("step_fraction", 0.0) == 0


@pytest.mark.parametrize("engine_name", ENGINES)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    ("spoil", "message"),
    [("reward", "is not finite, from rewards"), ("observation", "not finite"), ("parameters", "not finite")],
)
def test_a_nan_is_reported_before_any_parameter_changes(
    spoil: str, message: str, algorithm: Any, engine_name: Any
):
    policy, value = networks("gaussian")
    engine = make_engine(policy, value, "adam", engine_name)
    rollout = steps_for(policy, 0)
    if spoil == "parameters":
        engine.set_policy_parameters(np.full_like(engine.policy_parameters(), np.nan))
    else:
        getattr(rollout, spoil)[rollout.valid] = np.nan
    before = engine.policy_parameters(), flat_parameters(value).numpy().copy()
    with pytest.raises(NonFiniteError, match=message):
        algorithm().learn(engine, rollout, learner_state())
    np.testing.assert_array_equal(engine.policy_parameters(), before[0])
    np.testing.assert_array_equal(flat_parameters(value).numpy(), before[1])


@pytest.mark.parametrize("spoil", ["gradient", "fisher_vector_product"])
def test_a_natural_gradient_that_is_not_finite_is_named(spoil: str, monkeypatch: pytest.MonkeyPatch):
    policy, value = networks("gaussian")
    engine: Any = make_engine(policy, value, "adam", "fused")
    nothing = np.full_like(engine.policy_parameters(), np.nan)
    fakes: dict[str, Any] = {
        "gradient": lambda *_: (nothing, nothing),
        "fisher_vector_product": lambda _: lambda v: nothing,
    }
    monkeypatch.setattr(engine, spoil, fakes[spoil])
    before = engine.policy_parameters()
    with pytest.raises(NonFiniteError, match="natural gradient is not finite"):
        pg.TRPO().learn(engine, steps_for(policy, 0), learner_state())
    np.testing.assert_array_equal(engine.policy_parameters(), before)


def test_a_natural_step_that_overflows_is_taken_back():
    policy, value = networks("gaussian")
    engine = make_engine(policy, value, "adam", "fused")
    before = engine.policy_parameters()
    with pytest.raises(NonFiniteError, match="lower max_kl or raise damping"):
        pg.NaturalGradient(max_kl=1e75).learn(engine, steps_for(policy, 0), learner_state())
    np.testing.assert_array_equal(engine.policy_parameters(), before)


@pytest.mark.draws_globally
def test_a_custom_network_learns():
    policy = Policy(CustomNetwork(), spaces.Box(-np.inf, np.inf, (D,)), spaces.Discrete(3))
    _, value = networks("categorical")
    engine = make_engine(policy, value, "adam", "autograd")
    for seed in range(5):
        metrics = pg.TRPO().learn(engine, steps_for(policy, seed), learner_state(seed))
    assert 0 < metrics["kl"] <= 0.01


@pytest.mark.parametrize("engine_name", ENGINES)
def test_log_std_stays_within_its_bounds(engine_name: Any):
    network = GaussianPolicy(D, 2, 8, log_std_bounds=(-0.01, 0.01), rng=np.random.default_rng(0))
    policy = Policy(network, spaces.Box(-np.inf, np.inf, (D,)), spaces.Box(-1, 1, (2,)))
    _, value = networks("gaussian")
    engine = make_engine(policy, value, "adam", engine_name)
    for seed in range(5):
        pg.TRPO(max_kl=0.1).learn(engine, steps_for(policy, seed), learner_state(seed))
    assert network.log_std.detach().abs().max() <= 0.01


def test_an_agent_learns_from_finished_episodes():
    agent = pg.Agent(spaces.Discrete(2), spaces.Discrete(2), "trpo", seed=0)
    rng = np.random.default_rng(0)
    for _ in range(3):
        for length in (1, 5, 2):
            for t in range(length):
                agent.observe(float(agent.act(int(rng.integers(2)))), 0, terminated=t == length - 1)
        metrics = agent.update()
    assert 0 < metrics["kl"] <= 0.01


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("gamma", 1.5, r"gamma must be in \[0, 1\]"),
        ("gae_lambda", float("nan"), r"gae_lambda must be in \[0, 1\]"),
        ("horizon", 0, "horizon must be 1 or more"),
        ("max_kl", 0.0, "max_kl must be positive"),
        ("max_kl", float("inf"), "max_kl must be positive and finite"),
        ("damping", -1.0, "damping must be 0 or more"),
        ("cg_iterations", 0, "cg_iterations must be 1 or more"),
        ("cg_tolerance", -1.0, "cg_tolerance must be 0 or more"),
        ("value_learning_rate", float("nan"), "value_learning_rate must be positive"),
        ("value_epochs", 0, "value_epochs must be 1 or more"),
        ("value_minibatches", 0, "value_minibatches must be 1 or more"),
        ("optimizer", "adamw", "optimizer must be one of"),
    ],
)
def test_invalid_settings_are_named(algorithm: Any, field: str, value: object, message: str):
    with pytest.raises(ValueError, match=message):
        algorithm(**{field: value})


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("backtrack", 1.0, "backtrack must be below 1"),
        ("backtrack", 0.0, "backtrack must be positive"),
        ("backtrack", "half", "backtrack must be positive"),
        ("line_search_steps", 0, "line_search_steps must be 1 or more"),
    ],
)
def test_invalid_line_search_settings_are_named(field: str, value: object, message: str):
    with pytest.raises(ValueError, match=message):
        pg.TRPO(**{field: value})


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_policy_step_does_not_depend_on_the_value_loss(algorithm: Any):
    """This holds even if both share their hidden layers: the policy step does not depend on the targets of V(s)."""
    network, rng = pg.Network((16,), shared=True), np.random.default_rng(0)
    policy = make_policy(spaces.Box(-np.inf, np.inf, (D,)), spaces.Discrete(3), network, rng)
    value = make_value(policy, network, rng, given=None, wanted=True)
    engine, batch = make_engine(policy, value, "sgd"), batch_for(policy)
    old, _ = engine.evaluate(batch.inputs, batch.action)
    batch = batch.with_columns(old_log_prob=old)
    steps = [
        natural_step(algorithm(), engine, batch.with_columns(target=batch.columns["target"] + off), {}).whole
        for off in (np.float32(0), np.float32(50))
    ]
    np.testing.assert_allclose(steps[0], steps[1], rtol=1e-5, atol=1e-7)

"""The natural gradient and TRPO: against closed forms, against their promises, and engine against engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

import policygrad as pg
from policygrad._support.threads import single_thread
from policygrad.advantages import generalized_advantages
from policygrad.algorithms.conjugate_gradient import conjugate_gradient
from policygrad.algorithms.natural import natural_step, surrogate_loss
from policygrad.algorithms.steps import SQUARED_ERROR, flatten_valid
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
from policygrad.types import Batch, Inputs, LearnerState, Rollout
from tests.conftest import with_observations
from tests.unit.test_engines import HEADS, Custom, D, batch_for, both, networks, relative
from tests.unit.test_fisher import SHAPES, dense_fisher, distribution_of, shaken_policy, states
from tests.unit.test_losses_by_hand import check_against_torch, derivatives_of_mean

ENGINES = ("autograd", "fused")
ALGORITHMS = (pg.NaturalGradient, pg.TRPO)
# gSDE's variance is a sum over features, one by one: in other coordinates it is another
COORDINATES = [head for head in HEADS if head != "gsde"]
SURROGATE = traced(surrogate_loss)
T, N = 64, 8


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with single_thread():
        yield


def learning(seed: int = 0) -> LearnerState:
    return LearnerState(np.random.default_rng(seed))


def with_start(engine: Engine, batch: Batch) -> Batch:
    """The batch with log π of the policy as it is."""
    return batch.with_columns(old_log_prob=engine.policy_outputs(batch.inputs, batch.action).log_prob)


def steps_for(policy: Policy, seed: int, scale: float = 1.0) -> Rollout:
    """T steps of N environments, with terminations, truncations and rows of resets; rewards depend on actions."""
    rng = np.random.default_rng(seed)
    observation = rng.standard_normal((T + 1, N, D)).astype(np.float32)
    encoded = observation[:-1].reshape(T * N, D)
    action = policy.choose(Inputs(encoded), policy.draw_noise(rng, T * N))
    action = action.reshape(T, N, *action.shape[1:])
    how = rng.random((T, N))
    terminated, truncated = how < 0.05, (how >= 0.05) & (how < 0.08)
    valid = np.ones((T, N), bool)
    # half of the environments need a row to reset themselves after an end
    valid[1:, ::2] = ~(terminated | truncated)[:-1, ::2]
    terminated &= valid
    truncated &= valid
    reward = scale * (rng.standard_normal((T, N)) + (action if action.ndim == 2 else action.sum(-1)))
    return Rollout.from_pairs(
        observation[:-1], action, reward, reward, observation[1:], terminated, truncated, valid
    )


# --- the conjugate gradient


@pytest.mark.parametrize("P", [1, 2, 7, 40])
def test_the_conjugate_gradient_solves_a_positive_definite_system(P: int):
    rng = np.random.default_rng(P)
    root = rng.standard_normal((P, P))
    A, b = root @ root.T + 0.5 * np.eye(P), rng.standard_normal(P)
    products = 0

    def product(v: np.ndarray) -> np.ndarray:
        nonlocal products
        products += 1
        return A @ v

    solution = conjugate_gradient(product, b, iterations=3 * P, tolerance=1e-10)
    np.testing.assert_allclose(solution.x, np.linalg.solve(A, b), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(solution.residual, b - A @ solution.x, atol=1e-9)
    assert np.linalg.norm(solution.residual) <= 1e-10 * np.linalg.norm(b)
    assert products <= 2 * P


def test_the_conjugate_gradient_stops_where_it_is_told_to():
    A, b = np.diag(np.arange(1.0, 51)), np.ones(50)
    few = conjugate_gradient(lambda v: A @ v, b, iterations=3)
    enough = conjugate_gradient(lambda v: A @ v, b, iterations=50, tolerance=0.1)
    assert np.linalg.norm(few.residual) > 0.1 * np.linalg.norm(b)
    assert 1e-3 * np.linalg.norm(b) < np.linalg.norm(enough.residual) <= 0.1 * np.linalg.norm(b)
    # the minimum over a growing space: never further from the solution in A's own norm
    errors = [
        (e := conjugate_gradient(lambda v: A @ v, b, iterations=k).x - 1 / np.arange(1.0, 51)) @ A @ e
        for k in range(10)
    ]
    assert (np.diff(errors) < 0).all()
    nothing = conjugate_gradient(lambda v: A @ v, np.zeros(50), iterations=10)
    assert not nothing.x.any()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("head", HEADS)
def test_the_natural_gradient_solves_the_dense_system(head: str, engine: Any):
    policy = shaken_policy(head)
    engine = make_engine(policy, None, "sgd", engine)
    batch = with_start(engine, batch_for(policy, 200))
    exact = dense_fisher(policy, batch.inputs.observation)
    settings = pg.TRPO(cg_iterations=200, cg_tolerance=1e-6, damping=0.1, max_kl=0.02)
    step = natural_step(settings, engine, batch, {})
    g = -engine.gradient(batch, SURROGATE, {})[0].astype(np.float64)
    damped = exact + 0.1 * np.eye(len(g))
    x = np.linalg.solve(damped, g)
    assert relative(np.sqrt(2 * 0.02 / (x @ damped @ x)) * x, step.whole) < 1e-4
    assert step.residual <= 1e-6
    assert step.gradient_norm == pytest.approx(np.linalg.norm(g))
    # as long as the quadratic model, damping included, allows
    assert 0.5 * step.whole @ damped @ step.whole == pytest.approx(0.02, rel=1e-4)


# --- closed forms


@pytest.mark.parametrize("engine", ENGINES)
def test_the_natural_gradient_of_a_softmax_bandit(engine: Any):
    """Of J = Σ π_k r_k it is r less its mean: (diag(π) − ππᵀ) x = π (r − πᵀr), the shortest x."""
    probabilities, r = np.array([0.5, 0.25, 0.125, 0.125]), np.array([1.0, -2.0, 0.5, 1.5])
    network = DiscretePolicy(1, 4, (), rng=np.random.default_rng(0))
    policy = Policy(network, spaces.Box(-1, 1, (1,)), spaces.Discrete(4))
    flat = flat_parameters(policy)
    flat[:4], flat[4:] = 0.0, torch.from_numpy(np.log(probabilities))
    engine = make_engine(policy, None, "sgd", engine)
    # every action as often as the policy takes it, in the one state 0, where the weights do nothing
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
    # whereas the gradient itself hardly moves what is improbable
    plain = probabilities * (r - probabilities @ r)
    assert np.argmax(plain) != np.argmax(step.whole[4:])


@pytest.mark.parametrize("engine_name", ENGINES)
@pytest.mark.parametrize("head", COORDINATES)
def test_the_natural_gradient_does_not_depend_on_coordinates(head: str, engine_name: Any):
    """The same policies with parameters and observations in other coordinates: W s = (W A⁻¹)(A s)."""
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
def test_a_step_does_not_depend_on_the_scale_of_rewards(algorithm: Any):
    ends = []
    for scale in (1.0, 64.0):
        policy, value = networks("gaussian")
        with torch.no_grad():
            flat_parameters(value).zero_()
        engine = make_engine(policy, value, "adam", "fused")
        algorithm().learn(engine, steps_for(policy, 0, scale), learning())
        ends.append(engine.policy_parameters())
    assert relative(*ends) < 1e-6


# --- what TRPO promises


@pytest.mark.parametrize("engine_name", ENGINES)
@pytest.mark.parametrize("head", HEADS)
def test_every_step_of_trpo_keeps_its_bound_and_improves(head: str, engine_name: Any):
    """On many random batches, by torch's own KL in float64; steps are large enough to need shortening."""
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


@pytest.mark.parametrize("engine", ENGINES)
def test_the_line_search_goes_back_along_a_step_too_long(engine: Any):
    policy, _ = networks("gaussian")
    engine = make_engine(policy, None, "sgd", engine)
    batch = with_start(engine, batch_for(policy))
    algorithm = pg.TRPO(backtrack=0.5)
    start = engine.policy_outputs(batch.inputs, batch.action)
    step, before = natural_step(algorithm, engine, batch, {}).whole, engine.policy_parameters()
    taken = algorithm.line_search(engine, batch, {}, start, 5 * step)
    assert taken["step_fraction"] in (1 / 4, 1 / 8)
    assert 0 < taken["kl"] <= 0.01
    expected = before + taken["step_fraction"] * 5 * step
    np.testing.assert_array_equal(engine.policy_parameters(), expected.astype(np.float32))
    # twice as far the bound did not hold
    engine.set_policy_parameters((before + 2 * taken["step_fraction"] * 5 * step).astype(np.float32))
    assert engine.policy_outputs(batch.inputs, batch.action, start).kl.mean() > 0.01


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("why", ["downhill", "too long", "nan", "nothing"])
def test_where_no_step_will_do_the_policy_stays_to_the_bit(why: str, engine: Any):
    policy, _ = networks("categorical")
    engine = make_engine(policy, None, "sgd", engine)
    batch = with_start(engine, batch_for(policy))
    algorithm = pg.TRPO()
    start = engine.policy_outputs(batch.inputs, batch.action)
    step = natural_step(algorithm, engine, batch, {}).whole
    factor = {"downhill": -1.0, "too long": 1e6, "nan": np.nan, "nothing": 0.0}[why]
    before = engine.policy_parameters()
    taken = algorithm.line_search(engine, batch, {}, start, factor * step)
    assert taken == {"kl": 0.0, "surrogate_improvement": 0.0, "largest_ratio": 1.0, "step_fraction": 0.0}
    np.testing.assert_array_equal(engine.policy_parameters().view(np.int32), before.view(np.int32))


@pytest.mark.parametrize("engine", ENGINES)
def test_the_natural_step_reaches_its_kl_where_the_model_holds(engine: Any):
    policy, value = networks("gaussian")
    engine = make_engine(policy, value, "adam", engine)
    algorithm = pg.NaturalGradient(max_kl=1e-5, damping=0.0)
    metrics = algorithm.learn(engine, steps_for(policy, 0), learning())
    assert metrics["kl"] == pytest.approx(1e-5, rel=0.05)
    assert metrics["surrogate_improvement"] > 0
    assert 0 < metrics["cg_residual"] < 0.5


# --- an update

TO_ITS_END: dict[str, Any] = {"cg_iterations": 100, "cg_tolerance": 1e-6}
"""So that the conjugate gradient ends where the damped system is solved: both engines then find the one solution.
Where it stands before that, after 10 steps say, differs by many times the rounding of the products, the more so the
further apart F's eigenvalues are; a next update begins there."""


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(("head", "activation", "depth"), [shape for shape in SHAPES if shape[2] > 0])
def test_parameters_agree_after_20_updates(head: str, activation: str, depth: int, algorithm: Any):
    # V(s) takes small steps for what test_engines says of ReLU's kinks
    settings = algorithm(**TO_ITS_END, value_epochs=4, value_minibatches=1, value_learning_rate=0.001)
    policy, value = networks(head, activation, depth)
    engines = both(policy, value)
    for i in range(20):
        rollout = steps_for(policy, seed=i)
        for engine in engines:
            settings.learn(engine, rollout, learning(i))
    a, b = (engine.policy_parameters() for engine in engines)
    assert relative(a, b) < 1e-4
    assert relative(a, flat_parameters(policy).numpy()) > 0.04


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("head", HEADS)
def test_so_do_v_and_all_that_is_logged(head: str, algorithm: Any):
    policy, value = networks(head)
    engines, settings = both(policy, value), algorithm(**TO_ITS_END)
    for i in range(20):
        rollout = steps_for(policy, seed=i)
        found = [settings.learn(engine, rollout, learning(i)) for engine in engines]
    values = [flat_parameters(engine.value).numpy() for engine in engines]  # type: ignore[attr-defined]
    assert relative(*values) < 1e-4
    assert set(found[0]) <= set(METRICS)
    for name in found[0]:
        assert found[0][name] == pytest.approx(found[1][name], rel=1e-2, abs=1e-5), name


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("head", HEADS)
def test_the_policy_learns_what_pays(head: str, engine: Any):
    """Rewards are noise plus the action's number: the surrogate knows, and so does the policy after 20 steps."""
    policy, value = networks(head)
    engine = make_engine(policy, value, "adam", engine)
    for seed in range(20):
        metrics = pg.TRPO(gamma=0.5).learn(engine, steps_for(policy, seed), learning(seed))
        assert 0 < metrics["kl"] <= 0.01
    observation = states(500)
    noise = policy.draw_noise(np.random.default_rng(0), 500)
    untrained, _ = networks(head)
    taken = [engine.act(Inputs(observation), noise), untrained.choose(Inputs(observation), noise)]
    after, before = (policy.distribution.in_units(action).astype(float) for action in taken)
    assert (after - before).mean() > 0.4


@pytest.mark.parametrize("compile_it", [False, True])
def test_the_derivatives_are_those_of_the_surrogate(compile_it: bool):
    rng = np.random.default_rng(0)
    B = 64
    log_prob, entropy, value, advantage, target, old = (
        rng.standard_normal(B).astype(np.float32) for _ in range(6)
    )
    unread = np.full(B, np.nan, np.float32)
    columns = {"advantage": advantage, "target": unread, "old_log_prob": old, "old_value": unread}
    outputs = np.stack([log_prob, entropy, unread])
    of_policy = derivatives_of_mean(pg.TRPO().traced_loss, outputs, columns, {}, compile_it)
    outputs = np.stack([unread, unread, value])
    of_value = derivatives_of_mean(SQUARED_ERROR, outputs, {"target": target}, {}, compile_it)

    lp, h, v = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (log_prob, entropy, value))
    A, G, lp_old = (torch.from_numpy(x).double() for x in (advantage, target, old))
    loss = -((lp - lp_old).exp() * A).mean() + 0.5 * ((v - G) ** 2).mean() + 0 * h.sum()
    loss.backward()
    check_against_torch(np.stack([*of_policy[:2], of_value[2]]), [lp, h, v], rtol=2e-6, atol=1e-6)
    assert not of_policy[2].any()
    assert not of_value[:2].any()


def test_advantages_of_samples_among_ends_and_resets():
    """Against the definition, a sample at a time: V(s') of true successors, 0 after a termination."""
    policy, _ = networks("categorical")
    rollout, gamma, lam = steps_for(policy, 3), 0.9, 0.8
    assert not rollout.valid.all()
    # what stands in rows that are no samples is nobody's business
    observation, following = rollout.observation.copy(), rollout.next_observation.copy()
    observation[~rollout.valid] = following[~rollout.valid] = 1e9
    rollout.reward[~rollout.valid] = 1e9
    # an episode that goes on has its successor in the next row
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


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_update_without_any_advantage_changes_nothing(algorithm: Any, engine: Any):
    policy, value = networks("categorical")
    engine = make_engine(policy, value, "adam", engine)
    rollout = steps_for(policy, 0)
    ones = replace(rollout, terminated=rollout.valid, truncated=~rollout.valid & False)
    ones.reward[:] = 1.0
    with torch.no_grad():
        flat_parameters(value).zero_()
    before = engine.policy_parameters()
    metrics = algorithm().learn(engine, ones, learning())
    np.testing.assert_array_equal(engine.policy_parameters(), before)
    assert metrics["kl"] == metrics["policy_grad_norm"] == metrics["cg_residual"] == 0
    # nothing improves on what there is
    assert metrics.get("step_fraction", 0.0) == 0


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    ("spoil", "message"),
    [("reward", "is not finite, from rewards"), ("observation", "not finite"), ("parameters", "not finite")],
)
def test_a_nan_stops_before_any_parameter_changes(spoil: str, message: str, algorithm: Any, engine: Any):
    policy, value = networks("gaussian")
    engine = make_engine(policy, value, "adam", engine)
    rollout = steps_for(policy, 0)
    if spoil == "parameters":
        engine.set_policy_parameters(np.full_like(engine.policy_parameters(), np.nan))
    else:
        getattr(rollout, spoil)[rollout.valid] = np.nan
    before = engine.policy_parameters(), flat_parameters(value).numpy().copy()
    with pytest.raises(NonFiniteError, match=message):
        algorithm().learn(engine, rollout, learning())
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
        pg.TRPO().learn(engine, steps_for(policy, 0), learning())
    np.testing.assert_array_equal(engine.policy_parameters(), before)


def test_a_natural_step_into_nowhere_is_taken_back():
    policy, value = networks("gaussian")
    engine = make_engine(policy, value, "adam", "fused")
    before = engine.policy_parameters()
    with pytest.raises(NonFiniteError, match="lower max_kl or raise damping"):
        pg.NaturalGradient(max_kl=1e75).learn(engine, steps_for(policy, 0), learning())
    np.testing.assert_array_equal(engine.policy_parameters(), before)


@pytest.mark.draws_globally
def test_a_network_of_ones_own():
    policy = Policy(Custom(), spaces.Box(-np.inf, np.inf, (D,)), spaces.Discrete(3))
    _, value = networks("categorical")
    engine = make_engine(policy, value, "adam", "autograd")
    for seed in range(5):
        metrics = pg.TRPO().learn(engine, steps_for(policy, seed), learning(seed))
    assert 0 < metrics["kl"] <= 0.01


@pytest.mark.parametrize("engine", ENGINES)
def test_log_std_stays_within_its_bounds(engine: Any):
    network = GaussianPolicy(D, 2, 8, log_std_bounds=(-0.01, 0.01), rng=np.random.default_rng(0))
    policy = Policy(network, spaces.Box(-np.inf, np.inf, (D,)), spaces.Box(-1, 1, (2,)))
    _, value = networks("gaussian")
    engine = make_engine(policy, value, "adam", engine)
    for seed in range(5):
        pg.TRPO(max_kl=0.1).learn(engine, steps_for(policy, seed), learning(seed))
    assert network.log_std.detach().abs().max() <= 0.01


def test_an_agent_learns_from_the_episodes_that_ended():
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
def test_wrong_settings_are_named(algorithm: Any, field: str, value: object, message: str):
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
def test_wrong_line_searches_are_named(field: str, value: object, message: str):
    with pytest.raises(ValueError, match=message):
        pg.TRPO(**{field: value})


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_step_of_the_policy_does_not_follow_the_value_s_loss(algorithm: Any):
    """Not even where both share their hidden layers: the targets of V(s) are nothing to it."""
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

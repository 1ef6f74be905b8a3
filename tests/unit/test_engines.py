"""Both engines do the same; each does what automatic differentiation says."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from numba import types
from scipy import special
from torch import nn

from policygrad._support.compiling import compiled
from policygrad._support.threads import Workers
from policygrad.algorithms import A2C, Reinforce
from policygrad.engines import make_engine
from policygrad.engines.fused.heads.functions import exp, gammas, log, log1p_of_unit, log_slope, tanh
from policygrad.engines.fused.matmul import (
    ACTIVATE,
    ADD,
    IDENTITY,
    OVERWRITE,
    PULL_BACK,
    RELU,
    TANH,
    multiply,
    multiply_transposed,
    product_address,
)
from policygrad.engines.fused.mlp import flat
from policygrad.engines.signatures import MATRIX, VECTOR
from policygrad.errors import NonFiniteError
from policygrad.interfaces import Engine, Step, Update
from policygrad.losses import traced, where
from policygrad.policies import (
    BetaPolicy,
    DiscretePolicy,
    GaussianPolicy,
    GSDEPolicy,
    Policy,
    ValueNetwork,
    flat_parameters,
)
from policygrad.types import Batch, Inputs, LearnerState, Minibatches, Rollout
from tests.conftest import rollout_of

D, WIDTH, B = 5, 24, 600  # B is no multiple of the rows that the fused engine takes at once
BOX = spaces.Box(-np.inf, np.inf, (D,))
WIDE = spaces.Box(np.array([-1, -3], np.float32), np.array([1, 5], np.float32))
HEADS = (
    "categorical", "gaussian", "choices", "gaussian per state", "squashed", "squashed per state", "beta", "gsde",
)  # fmt: skip
FULL = A2C().traced_loss
"""−A log π − β H + ν/2 (V − G)², with a term for everything that networks put out."""


def weights(entropy_coef: float = 0.0) -> dict[str, float]:
    """The coefficients of FULL, with V(s)'s error in full."""
    return {"entropy_coef": entropy_coef, "value_coef": 1.0}


def networks(
    head: str, activation: str = "tanh", depth: int = 2, seed: int = 0, width: int = WIDTH
) -> tuple[Policy, ValueNetwork]:
    shape: dict[str, Any] = {"depth": depth, "activation": activation, "rng": np.random.default_rng(seed)}
    if head == "categorical":
        policy = Policy(DiscretePolicy(D, 3, width, **shape), BOX, spaces.Discrete(3))
    elif head == "choices":
        policy = Policy(DiscretePolicy(D, 9, width, **shape), BOX, spaces.MultiDiscrete([2, 4, 3]))
    elif head == "beta":
        policy = Policy(BetaPolicy(D, 2, width, **shape), BOX, WIDE)
    elif head == "gsde":
        # each σ_jk is 1/√L: with larger ones a small step of the features moves the KL by more than its curvature says
        features = width if depth else D
        log_std = 0.5 * float(np.log(min(D, features) / features))
        policy = Policy(GSDEPolicy(D, 2, width, log_std=log_std, **shape), BOX, WIDE)
    else:
        network = GaussianPolicy(D, 2, width, state_dependent_std="per state" in head, **shape)
        policy = Policy(network, BOX, WIDE, distribution="squashed" if "squashed" in head else "gaussian")
    return policy, ValueNetwork(D, width, **shape)


def both(policy: Policy, value: nn.Module | None, optimizer: str = "adam") -> list[Engine]:
    """An autograd and a fused engine, each on its own copy of the networks, which share what they share."""
    copies = [copy.deepcopy((policy, value)) for _ in range(2)]
    names = ("autograd", "fused")
    return [make_engine(p, v, optimizer, name) for (p, v), name in zip(copies, names, strict=True)]


def learned_by_both(
    policy: Policy, value: nn.Module | None, algorithm: Any, collect: Any, optimizer: str = "adam"
) -> tuple[list[Engine], list[LearnerState]]:
    """Both engines, and what goes on from one update to the next, after 20 updates from collect(policy, seed)."""
    engines = both(policy, value, optimizer)
    learning = [LearnerState(np.random.default_rng(0)) for _ in engines]
    for i in range(20):
        rollout = collect(policy, seed=i)
        for engine, own in zip(engines, learning, strict=True):
            own.progress = i / 20
            algorithm.learn(engine, rollout, own)
    return engines, learning


def batch_for(policy: Policy, n: int = B, seed: int = 1) -> Batch:
    rng = np.random.default_rng(seed)
    observation = rng.standard_normal((n, D)).astype(np.float32)
    action = policy.choose(Inputs(observation), policy.draw_noise(rng, n))
    advantage, target = rng.standard_normal((2, n)).astype(np.float32)
    return Batch(Inputs(observation), action, {"advantage": advantage, "target": target})


def rows_of_batch(batch: Batch, rows: Any) -> Batch:
    """A part of a batch as a batch of its own."""
    columns = {name: column[rows] for name, column in batch.columns.items()}
    return Batch(batch.inputs.rows(rows), batch.action[rows], columns)


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(a))


def parameters(engine: Any) -> np.ndarray:
    parts = [flat_parameters(m).numpy() for m in (engine.policy, engine.value) if m is not None]
    return np.concatenate(parts)


def rollout_for(policy: Policy, seed: int) -> Rollout:
    """Six whole episodes of 10 to 35 steps, the same for every engine."""
    rng = np.random.default_rng(seed)
    rollout = rollout_of([list(rng.standard_normal(n)) for n in rng.integers(10, 35, 6)], D=D, seed=seed)
    T, N = rollout.valid.shape
    encoded = rollout.observation.reshape(T * N, D)
    action = policy.choose(Inputs(encoded), policy.draw_noise(rng, T * N))
    parts = {f: getattr(rollout, f) for f in Rollout.__dataclass_fields__}
    return Rollout(**parts | {"action": action.reshape(T, N, *action.shape[1:])})


BASELINES = ("none", "mean", "leave-one-out", "time", "optimal", "value")
# the perceptron below is the same for all heads; with tanh, for it has no kinks: see the test
UPDATES = [*itertools.product(HEADS[:2], BASELINES, ("tanh", "relu"), (1, 2, 3))]
UPDATES += [*itertools.product(HEADS[2:], ("none", "optimal", "value"), ("tanh",), (0, 2))]


@pytest.mark.parametrize(("head", "baseline", "activation", "depth"), UPDATES)
def test_parameters_agree_after_20_updates(head: str, baseline: str, activation: str, depth: int):
    # where a sample falls on a ReLU's kink, to the last bit, its gradient is either of two and both are right;
    # a rate of 0.001 keeps one such sample of some hundred from counting for more than the tolerance
    policy, value = networks(head, activation, depth)
    algorithm = Reinforce(
        baseline=baseline, entropy_coef=0.01, learning_rate=0.001, value_learning_rate=0.001
    )
    engines, _ = learned_by_both(policy, value if algorithm.uses_value else None, algorithm, rollout_for)
    assert relative(parameters(engines[0]), parameters(engines[1])) < 1e-4
    untrained = [flat_parameters(m).numpy() for m in (policy, value)][: 1 + algorithm.uses_value]
    assert relative(parameters(engines[0]), np.concatenate(untrained)) > 3e-3


@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_advantages_come_from_v_as_it_was_before_its_steps(engine: Any):
    """The first of them says what V(s) was, bit for bit what asking for it first gives; a cut episode among them."""
    algorithm = Reinforce(gamma=0.9, value_steps=3, learning_rate=0.01, value_learning_rate=0.02)
    engines = []
    for _ in range(2):
        policy, value = networks("categorical")
        engines.append(make_engine(policy, value, "adam", engine))
    whole = rollout_for(engines[0].policy, seed=0)
    truncated = whole.terminated.copy()
    truncated[:, 3:] = False
    rollout = replace(whole, terminated=whole.terminated & ~truncated, truncated=truncated)
    algorithm.learn(engines[0], rollout, LearnerState(np.random.default_rng(0)))
    batch = algorithm.batch(rollout, engines[1])
    coefficients = algorithm.loss_coefficients(len(batch), rollout.valid.shape[1], 0.0)
    policy_step = algorithm.traced_loss, Step(0.01, None, algorithm.max_grad_norm)
    value_step = algorithm.value_loss, Step(None, 0.02, algorithm.max_grad_norm)
    for loss, step in policy_step, value_step, value_step, value_step:
        engines[1].update(Update(batch, loss, coefficients, step))
    np.testing.assert_array_equal(parameters(engines[0]), parameters(engines[1]))


def hearing_good_news_only(s: Any, _k: Any) -> Any:
    return -s.advantage * s.log_prob + where(s.advantage > 0, (s.value - s.target) ** 2 / 2, 0.0)


def test_a_loss_of_ones_own_sees_the_advantages_in_every_step_of_v():
    """Also where V(s) is what the advantages come from: then that has to be asked for first."""
    algorithm = Reinforce(
        loss=hearing_good_news_only, gamma=0.9, value_steps=1, learning_rate=0.01, value_learning_rate=0.02
    )
    ends = []
    for engine in ("fused", "autograd"):
        policy, value = networks("categorical")
        engine = make_engine(policy, value, "adam", engine)  # type: ignore[arg-type]
        rollout = rollout_for(policy, seed=0)
        batch = algorithm.batch(rollout, engine)
        _, slope = engine.gradient(batch, algorithm.traced_loss, {})
        metrics = algorithm.learn(engine, rollout, LearnerState(np.random.default_rng(0)))
        assert metrics["value_grad_norm"] == pytest.approx(np.linalg.norm(slope), rel=1e-4)
        ends.append(parameters(engine))
    assert relative(*ends) < 1e-4


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
@pytest.mark.parametrize("head", HEADS)
def test_optimizers_agree(head: str, optimizer: str):
    policy, value = networks(head)
    engines = both(policy, value, optimizer)
    batch = batch_for(policy)
    rate = 0.05 if optimizer == "sgd" else 0.003
    for _ in range(20):
        for engine in engines:
            engine.update(Update(batch, FULL, weights(0.01), Step(rate, rate, 0.1)))
    assert relative(parameters(engines[0]), parameters(engines[1])) < 1e-4


@pytest.mark.parametrize("engine", ["autograd", "fused"])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("head", HEADS)
def test_gradient_is_that_of_the_textbook_loss(head: str, activation: str, engine: str):
    policy, value = networks(head, activation)
    batch = batch_for(policy)
    loss = textbook_loss(policy, value, batch, entropy_coef=0.05)
    expected = [torch.autograd.grad(loss, list(m.parameters()), retain_graph=True) for m in (policy, value)]
    found = make_engine(policy, value, "sgd", engine).gradient(batch, FULL, weights(0.05))
    for ours, theirs in zip(found, expected, strict=True):
        flat = torch.cat([g.reshape(-1) for g in theirs]).numpy()
        assert relative(flat, ours) < 1e-5


def textbook_loss(policy: Policy, value: ValueNetwork, batch: Batch, entropy_coef: float) -> torch.Tensor:
    """The loss with torch's own distributions."""
    log_prob, entropy = textbook_log_prob_and_entropy(policy, batch)
    observation = torch.from_numpy(batch.inputs.observation)
    A, G = (torch.from_numpy(batch.columns[name]) for name in ("advantage", "target"))
    return (
        -(A * log_prob).mean()
        - entropy_coef * entropy.mean()
        + 0.5 * (value(observation) - G).square().mean()
    )


def textbook_log_prob_and_entropy(policy: Policy, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """By torch's own distributions, of the environment's action; the squashed entropy by a dense integral."""
    observation, action = torch.from_numpy(batch.inputs.observation), torch.from_numpy(batch.action)
    network, td = policy.network, torch.distributions
    low, high = torch.from_numpy(WIDE.low), torch.from_numpy(WIDE.high)
    if isinstance(network, DiscretePolicy):
        sizes = [3] if isinstance(policy.action_space, spaces.Discrete) else [2, 4, 3]
        each = [td.Categorical(logits=z) for z in network.logits(observation).split(sizes, -1)]
        chosen = action.reshape(len(action), -1).T
        log_prob = sum(d.log_prob(a) for d, a in zip(each, chosen, strict=True))
        return log_prob, sum(d.entropy() for d in each)  # type: ignore[return-value]
    if isinstance(network, BetaPolicy):
        scale = td.AffineTransform(low, high - low)
        base = td.Beta(*network(observation))
        distribution: Any = td.Independent(td.TransformedDistribution(base, [scale]), 1)
        return distribution.log_prob(scale(action)), (base.entropy() + (high - low).log()).sum(-1)
    if isinstance(network, GSDEPolicy):
        mean, features, std = network(observation)
        covariance = torch.diag_embed((features[:, :, None] * std).square().sum(1) + 1e-6)
        distribution = td.MultivariateNormal(mean, covariance)
        return distribution.log_prob(action), distribution.entropy()
    normal = td.Normal(*network(observation))
    if policy.distribution.name == "gaussian":
        distribution = td.Independent(normal, 1)
        return distribution.log_prob(action), distribution.entropy()
    squash = td.ComposeTransform(
        [td.TanhTransform(cache_size=1), td.AffineTransform((low + high) / 2, (high - low) / 2)], cache_size=1
    )
    distribution = td.Independent(td.TransformedDistribution(normal, [squash]), 1)
    z = torch.linspace(-8, 8, 2001, dtype=torch.float64)
    density = torch.exp(-0.5 * z.square()) / np.sqrt(2 * np.pi)
    u = normal.mean.double()[..., None] + normal.stddev.double()[..., None] * z
    slope = 2 * (np.log(2) - u - torch.nn.functional.softplus(-2 * u))
    mean_slope = torch.trapezoid(density * slope, z, dim=-1)
    entropy = normal.entropy() + mean_slope.float() + ((high - low) / 2).log()
    return distribution.log_prob(squash(action)), entropy.sum(-1)


@pytest.mark.parametrize("head", HEADS)
def test_outputs_are_those_of_the_textbook(head: str):
    policy, value = networks(head)
    batch = batch_for(policy)
    expected = [t.detach().numpy() for t in textbook_log_prob_and_entropy(policy, batch)]
    for engine in both(policy, value):
        found = engine.update(Update(batch, FULL, weights(), Step(0.0, None)))
        # torch's tanh transform loses digits where an action is close to an edge
        np.testing.assert_allclose(
            found.log_prob, expected[0], rtol=1e-4, atol=2e-3 if "sq" in head else 2e-5
        )
        np.testing.assert_allclose(found.entropy, expected[1], rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("engine", ["autograd", "fused"])
def test_separate_learning_rates_are_honoured(engine: str):  # bug 21
    policy, value = networks("categorical")
    engine = make_engine(policy, value, "sgd", engine)
    batch = batch_for(policy)
    g_policy, g_value = engine.gradient(batch, FULL, weights())
    before = flat_parameters(policy).clone(), flat_parameters(value).clone()
    engine.update(Update(batch, FULL, weights(), Step(0.5, 0.125)))
    steps = [b - flat_parameters(m) for b, m in zip(before, (policy, value), strict=True)]
    np.testing.assert_allclose(steps[0], 0.5 * g_policy, atol=1e-6)
    np.testing.assert_allclose(steps[1], 0.125 * g_value, atol=1e-6)


@pytest.mark.parametrize("engine", ["autograd", "fused"])
def test_each_loss_moves_its_own_network_only(engine: str):  # bug 10
    policy, value = networks("gaussian")
    engine = make_engine(policy, value, "adam", engine)
    batch = batch_for(policy)
    before = flat_parameters(policy).clone(), flat_parameters(value).clone()
    engine.update(Update(batch, FULL, weights(), Step(0.1, None)))
    assert not torch.equal(flat_parameters(policy), before[0])
    assert torch.equal(flat_parameters(value), before[1])
    after = flat_parameters(policy).clone()
    engine.update(Update(batch, FULL, weights(), Step(None, 0.1)))
    assert torch.equal(flat_parameters(policy), after)
    assert not torch.equal(flat_parameters(value), before[1])


@pytest.mark.parametrize("head", HEADS)
def test_actions_from_the_same_noise_are_the_same(head: str):
    policy, _ = networks(head)
    observation = np.random.default_rng(3).standard_normal((1000, D)).astype(np.float32)
    noise = policy.draw_noise(np.random.default_rng(4), 1000)
    a, b = (engine.act(Inputs(observation), noise) for engine in both(policy, None))
    assert a.dtype == b.dtype
    np.testing.assert_allclose(a, b, atol=1e-6)
    np.testing.assert_allclose(policy.choose(Inputs(observation), noise), a, atol=1e-6)


def test_sampled_actions_follow_the_probabilities():
    policy, _ = networks("categorical")
    state = np.zeros((1, D), np.float32)
    probabilities = policy.network(torch.from_numpy(state)).detach().numpy()[0]
    n = 100_000
    noise = np.random.default_rng(0).random(n)
    for engine in both(policy, None):
        counts = np.bincount(engine.act(Inputs(np.repeat(state, n, 0)), noise), minlength=3)
        # five standard deviations of a binomial
        assert (np.abs(counts / n - probabilities) < 5 * np.sqrt(probabilities / n)).all()


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_squared_scores_are_those_of_single_samples(head: str, activation: str):
    policy, _ = networks(head, activation)
    batch = batch_for(policy, 300)
    outputs = policy(Inputs(torch.from_numpy(batch.inputs.observation)))
    log_prob = policy.distribution.log_prob(outputs, torch.from_numpy(batch.action))
    expected = [
        sum(
            float(g.square().sum())
            for g in torch.autograd.grad(lp, list(policy.parameters()), retain_graph=True)
        )
        for lp in log_prob[:20]
    ]
    for engine in both(policy, None):
        found = engine.squared_scores(batch.inputs, batch.action)
        assert found.shape == (300,)
        np.testing.assert_allclose(found[:20], expected, rtol=1e-4)


@pytest.mark.parametrize("engine", ["autograd", "fused"])
def test_values(engine: str):
    policy, value = networks("categorical")
    inputs = batch_for(policy).inputs
    expected = value(torch.from_numpy(inputs.observation)).detach().numpy()
    np.testing.assert_allclose(make_engine(policy, value, "adam", engine).values(inputs), expected, atol=1e-5)


@pytest.mark.parametrize("engine", ["autograd", "fused"])
@pytest.mark.parametrize(
    ("spoil", "named"),
    [("advantage", "policy parameter"), ("target", "value parameter"), ("observation", "log π")],
)
def test_a_nan_stops_before_any_parameter_changes(engine: str, spoil: str, named: str):
    policy, value = networks("categorical")
    engine = make_engine(policy, value, "adam", engine)
    batch = batch_for(policy)
    (batch.inputs.observation if spoil == "observation" else batch.columns[spoil])[3] = np.nan
    before = flat_parameters(policy).clone(), flat_parameters(value).clone()
    with pytest.raises(NonFiniteError, match=named):
        engine.update(Update(batch, FULL, weights(), Step(0.1, 0.1, 0.5)))
    assert torch.equal(flat_parameters(policy), before[0])
    assert torch.equal(flat_parameters(value), before[1])


@pytest.mark.parametrize("engine", ["autograd", "fused"])
def test_a_batch_of_one_sample_stays_finite(engine: str):  # bug 8
    policy, value = networks("gaussian")
    engine = make_engine(policy, value, "adam", engine)
    metrics = Reinforce().learn(engine, rollout_for_one(), LearnerState(np.random.default_rng(0)))
    assert np.isfinite([v for k, v in metrics.items() if k != "explained_variance"]).all()
    assert torch.isfinite(flat_parameters(policy)).all()


def rollout_for_one() -> Rollout:
    rollout = rollout_of([[2.0]], D=D)
    parts = {f: getattr(rollout, f) for f in Rollout.__dataclass_fields__}
    return Rollout(**parts | {"action": np.zeros((1, 1, 2), np.float32)})


@pytest.mark.parametrize("engine", ["autograd", "fused"])
def test_log_std_stays_within_its_bounds_and_can_return(engine: str):
    bounded = GaussianPolicy(D, 2, 8, log_std_bounds=(-0.2, 0.2), rng=np.random.default_rng(0))
    policy = Policy(bounded, BOX, spaces.Box(-1, 1, (2,)))
    engine = make_engine(policy, None, "sgd", engine)
    batch = batch_for(policy)
    network: Any = policy.network
    bonus = traced(lambda s, k: -k.entropy_coef * s.entropy)
    for sign, bound in ((1.0, 0.2), (-1.0, -0.2)):
        for _ in range(3):
            engine.update(Update(batch, bonus, {"entropy_coef": sign * B}, Step(0.01, None)))
        np.testing.assert_allclose(network.log_std.detach(), bound, rtol=1e-6)


def test_fused_follows_parameters_that_torch_writes():
    policy, _ = networks("categorical")
    fused = make_engine(policy, None, "adam", "fused")
    batch = batch_for(policy)
    other, _ = networks("categorical", seed=9)
    policy.load_state_dict(other.state_dict())
    expected = make_engine(other, None, "adam", "autograd").gradient(batch, FULL, weights())
    found = fused.gradient(batch, FULL, weights())
    assert relative(expected[0], found[0]) < 1e-5


class Custom(nn.Module):
    """A user's own network: logits by a layer norm and a convolution of sorts."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.LayerNorm(D), nn.Linear(D, 16), nn.GELU(), nn.Linear(16, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


@pytest.mark.draws_globally
def test_a_network_of_ones_own_trains_in_autograd_and_is_refused_by_fused():
    said: list[str] = []
    policy = Policy(Custom(), BOX, spaces.Discrete(3))
    engine = make_engine(policy, None, "adam", "auto", said.append)
    assert engine.name == "autograd"
    assert "Custom" in said[0]
    with pytest.raises(ValueError, match="use engine='autograd'"):
        make_engine(policy, None, "adam", "fused")
    batch = batch_for(policy)

    def surrogate() -> float:
        log_prob = policy.distribution.log_prob(
            policy(Inputs(torch.from_numpy(batch.inputs.observation))), torch.from_numpy(batch.action)
        )
        return float((log_prob.detach() * torch.from_numpy(batch.columns["advantage"])).mean())

    before = surrogate()
    for _ in range(20):
        engine.update(Update(batch, FULL, weights(), Step(0.01, None)))
    assert surrogate() > before + 0.01


class Doubled(DiscretePolicy):
    def logits(self, state: torch.Tensor) -> torch.Tensor:
        return 2 * super().logits(state)


def test_changed_networks_are_not_for_the_fused_engine():
    shape: dict[str, Any] = {"rng": np.random.default_rng(0)}
    longer = DiscretePolicy(D, 3, 8, **shape)
    longer.network.append(nn.Tanh())
    for network in (Doubled(D, 3, 8, **shape), longer):
        assert make_engine(Policy(network, BOX, spaces.Discrete(3)), None, "adam").name == "autograd"
    policy, _ = networks("categorical")
    other = nn.Sequential(ValueNetwork(D, 8, **shape))
    assert make_engine(policy, other, "adam").name == "autograd"


def test_an_unknown_engine_is_refused():
    policy, _ = networks("categorical")
    with pytest.raises(ValueError, match="engine must be"):
        make_engine(policy, None, "adam", "warp")  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_an_unknown_optimizer_is_refused(engine: Any):
    policy, _ = networks("categorical")
    with pytest.raises(ValueError, match=r"optimizer must be one of .*did you mean 'adam'"):
        make_engine(policy, None, "adamw", engine)


def test_a_minibatch_may_have_more_rows_than_the_batch():
    """Drawn with replacement, as a bootstrap does."""
    order = np.random.default_rng(0).integers(0, 10, 300)
    ends = []
    for engine in ("fused", "autograd"):
        policy, value = networks("categorical")
        engine = make_engine(policy, value, "adam", engine)  # type: ignore[arg-type]
        engine.update(
            Update(
                batch_for(policy, 10),
                FULL,
                weights(0.01),
                Step(0.01, 0.02, 0.5),
                Minibatches(order, np.array([0, 300])),
            )
        )
        ends.append(parameters(engine))
    assert relative(*ends) < 1e-5


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
def test_minibatches_are_so_many_single_steps(optimizer: str):
    """One call with three uneven minibatches against three calls, in both engines: bug 8's uneven last one too."""
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
                outputs = engine.update(Update(batch, FULL, weights(0.01), step, minibatches))
                assert np.isfinite(outputs.log_prob).all()
                assert (outputs.log_prob < 0).all()
            else:
                for i in range(4):
                    rows = minibatches.order[minibatches.bounds[i] : minibatches.bounds[i + 1]]
                    engine.update(Update(rows_of_batch(batch, rows), FULL, weights(0.01), step))
            ends.append(torch.cat([flat_parameters(policy), flat_parameters(value)]).clone())
    assert torch.equal(ends[0], ends[1])
    assert torch.equal(ends[2], ends[3])
    torch.testing.assert_close(ends[0], ends[2], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("engine", ["fused", "autograd"])
@pytest.mark.parametrize(
    ("order", "bounds", "message"),
    [
        ([0, 1, 2, 3], [0, 4, 4], "bounds must rise from 0 to 4"),
        ([0, 1, 2, 3], [0, 2], "bounds must rise from 0 to 4"),
        ([0, 1, 2, 37], [0, 4], "must name rows 0 to 36"),
        ([0, -1], [0, 2], "must name rows 0 to 36"),
        ([], [0], "at least one"),
    ],
)
def test_minibatches_that_cannot_be_are_refused(
    engine: Any, order: list[int], bounds: list[int], message: str
):
    policy, value = networks("categorical")
    engine = make_engine(policy, value, "adam", engine)
    minibatches = Minibatches(np.array(order, np.int64), np.array(bounds))
    with pytest.raises(ValueError, match=message):
        engine.update(Update(batch_for(policy, 37), FULL, weights(1.0), Step(0.1, 0.1), minibatches))


def test_a_batch_split_between_cores_gives_the_same_step():
    """Up to rounding that of one core, and bit for bit that of two cores run again."""
    ends = []
    for cores in (1, 2, 2):
        policy, value = networks("gaussian")
        engine = make_engine(policy, value, "adam", "fused", workers=Workers(cores))
        batch = batch_for(policy, 3000)
        for _ in range(3):
            outputs = engine.update(Update(batch, FULL, weights(0.01), Step(0.01, 0.01, 0.5)))
        ends.append((flat_parameters(policy).clone(), flat_parameters(value).clone(), outputs))
    for a, b in zip(ends[1][:2], ends[2][:2], strict=True):
        assert torch.equal(a, b)
    for a, b in zip(ends[0][:2], ends[1][:2], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(ends[0][2].log_prob, ends[1][2].log_prob, rtol=1e-4, atol=1e-5)
    assert ends[0][2].policy_grad_norm == pytest.approx(ends[1][2].policy_grad_norm, rel=1e-4)


@compiled(types.void(MATRIX, MATRIX, MATRIX, types.int64, types.int64, VECTOR, types.int64))
def product(a: Any, b: Any, c: Any, what: int, f: int, vector: Any, address: int) -> None:
    rows, columns, depth = a.shape[0], b.shape[1], a.shape[1]
    multiply(address, flat(a), flat(b), flat(c), rows, columns, depth, what, f, vector)


@compiled(types.void(MATRIX, MATRIX, MATRIX, types.boolean, types.int64))
def transposed_product(a: Any, b: Any, c: Any, accumulate: bool, address: int) -> None:
    multiply_transposed(address, flat(a), flat(b), flat(c), a.shape[1], b.shape[1], a.shape[0], accumulate)


def within(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Zeros of this shape inside a longer vector of sevens, to see whether anything beyond is written."""
    room = np.full(int(np.prod(shape)) + 40, 7.0, np.float32)
    room[20:-20] = 0
    return room, room[20:-20].reshape(shape)


def test_products_of_every_shape():
    """Against float64, with rows and columns that fill tiles and that do not; nothing beyond C is written."""
    rng = np.random.default_rng(0)
    activations = (
        (IDENTITY, lambda x: x, np.ones_like),
        (RELU, lambda x: np.maximum(x, 0), lambda y: y > 0),
        (TANH, np.tanh, lambda y: 1 - y * y),
    )
    for _ in range(300):
        M, K, N = rng.integers(1, 70, 3)
        a, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((M, K), (K, N)))
        exact = a.astype(np.float64) @ b
        (room, c), (more_room, vector) = within((M, N)), within((N,))
        product(a, b, c, OVERWRITE, IDENTITY, vector, product_address())
        np.testing.assert_allclose(c, exact, rtol=1e-4, atol=1e-4)
        product(a, b, c, ADD, IDENTITY, vector, product_address())
        np.testing.assert_allclose(c, 2 * exact, rtol=1e-4, atol=2e-4)
        turned = np.ascontiguousarray(a.T)
        for accumulate, times in ((False, 1), (True, 2)):
            transposed_product(turned, b, c, accumulate, product_address())
            np.testing.assert_allclose(c, times * exact, rtol=1e-4, atol=2e-4)
        vector[:] = rng.standard_normal(N)
        for code, f, derivative in activations:
            product(a, b, c, ACTIVATE, code, vector, product_address())
            np.testing.assert_allclose(c, f(exact + vector), rtol=1e-4, atol=1e-4)
            if code == IDENTITY:
                continue
            slopes, before = derivative(c.astype(np.float64)), vector.astype(np.float64)
            product(a, b, c, PULL_BACK, code, vector, product_address())
            np.testing.assert_allclose(c, exact * slopes, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(vector, before + (exact * slopes).sum(0), rtol=1e-4, atol=2e-3)
        for around in (room, more_room):
            assert (around[:20] == 7).all()
            assert (around[-20:] == 7).all()


def test_the_hyperbolic_tangent_is_accurate_and_passes_nan_on():
    x = np.concatenate([np.linspace(-12, 12, 200_001), [np.nan, -np.inf, np.inf, 1e30]]).astype(np.float32)
    y, ones, none = np.empty((1, x.size), np.float32), np.zeros((1, 1), np.float32), np.zeros(x.size, "f4")
    product(ones, x[None], y, ACTIVATE, TANH, x, product_address())
    exact = np.tanh(x[:-4].astype(np.float64))
    assert np.abs(y[0, :-4] - exact).max() < 1e-6
    off_zero = exact != 0
    assert np.abs(y[0, :-4][off_zero] / exact[off_zero] - 1).max() < 1e-6
    # a derivative 1 − h² is never negative
    assert np.abs(y[0, :-4]).max() <= 1
    assert np.isnan(y[0, -4])
    product(ones, none[None], y, ACTIVATE, TANH, x, product_address())
    np.testing.assert_allclose(y[0, -3:], [-1, 1, 1], atol=1e-6)


@pytest.mark.parametrize("head", HEADS)
def test_a_row_s_outputs_do_not_depend_on_its_neighbours(head: str):
    """Bit for bit, alone and in every place of a batch: or the first ratio of PPO would not be 1."""
    policy, value = networks(head)
    engine = make_engine(policy, value, "sgd", "fused")
    batch = batch_for(policy, 1000)

    def outputs(rows: slice) -> np.ndarray:
        part = rows_of_batch(batch, rows)
        found = engine.update(Update(part, FULL, weights(), Step(0.0, 0.0)))
        np.testing.assert_array_equal(engine.values(part.inputs), found.value)
        return np.stack([found.log_prob, found.entropy, found.value])

    together = outputs(slice(0, 1000))
    for n in (1, 2, 3, 5, 7, 64, 129):
        for first in (0, 1, 62, 257, 1000 - n):
            rows = slice(first, first + n)
            np.testing.assert_array_equal(outputs(rows), together[:, rows])


@compiled(types.void(VECTOR, types.float32[:, ::1]))
def of_heads(x: Any, y: Any) -> None:
    for i in range(x.size):
        y[0, i] = exp(x[i])
        y[1, i] = log(x[i])
        y[2, i] = tanh(x[i])
        y[3, i] = log1p_of_unit(x[i])
        y[4, i] = log_slope(x[i])


EXP, LOG, TANH_OF_HEADS, LOG1P, LOG_SLOPE = range(5)


def of_heads_at(function: int, x: np.ndarray) -> np.ndarray:
    y = np.empty((5, x.size), np.float32)
    of_heads(x, y)
    return y[function].astype(np.float64)


def floats(low: float, high: float, every: int = 97) -> np.ndarray:
    """Each 97th float32 between two positive ones, both included: as many near 0 as there are."""
    first, last = (int(np.float32(end).view(np.int32)) for end in (low, high))
    return np.append(np.arange(first, last, every, dtype=np.int32), np.int32(last)).view(np.float32)


def on_both_sides(x: np.ndarray) -> np.ndarray:
    return np.concatenate([-x, x])


def test_the_exponential_is_as_accurate_as_it_says():
    for low, high, bound in ((1e-10, 2, 4e-7), (2, 87, 5e-6)):
        x = on_both_sides(floats(low, high))
        assert np.abs(of_heads_at(EXP, x) / np.exp(x.astype(np.float64)) - 1).max() < bound
    outside = np.array([-1e30, -200, -87, 0, 88, 200, 1e30, np.nan], np.float32)
    found = of_heads_at(EXP, outside)
    np.testing.assert_array_equal(found[[0, 1, 3, 5, 6]], found[[2, 2, 3, 4, 4]])
    np.testing.assert_allclose(found[[2, 3, 4]], np.exp([-87.0, 0.0, 88.0]), rtol=5e-6)
    assert np.isnan(found[-1])


def test_the_logarithm_is_as_accurate_as_it_says():
    x = np.concatenate([floats(1.2e-38, 3.4e38, 997), floats(0.5, 2), 1 + 2.0 ** -np.arange(24, dtype="f4")])
    exact = np.log(x.astype(np.float64))
    assert (np.abs(of_heads_at(LOG, x) - exact) / np.maximum(1, np.abs(exact))).max() < 2e-7


def test_the_heads_hyperbolic_tangent_is_as_accurate_as_it_says():
    x = on_both_sides(floats(1e-10, 100))
    assert np.abs(of_heads_at(TANH_OF_HEADS, x) - np.tanh(x.astype(np.float64))).max() < 1e-6


def test_the_logarithm_of_one_to_two_is_as_accurate_as_it_says():
    # the largest errors are near 1
    x = np.concatenate([[np.float32(0)], floats(1e-30, 0.9, 997), floats(0.9, 1, 3)])
    error = np.abs(of_heads_at(LOG1P, x) - np.log1p(x.astype(np.float64)))
    assert error.max() < 2e-7
    assert error[0] == 0


def test_the_slope_of_tanh_is_as_accurate_as_it_says():
    """Against the form that has all of float64's digits, and that one against the plain form where it has them."""
    x = on_both_sides(floats(1e-10, 100))
    size = np.abs(x).astype(np.float64)
    exact = 2 * (np.log(2) - size - np.log1p(np.exp(-2 * size)))
    near = size < 8
    np.testing.assert_allclose(exact[near], np.log1p(-np.square(np.tanh(size[near]))), rtol=1e-8, atol=1e-8)
    assert (np.abs(of_heads_at(LOG_SLOPE, x) - exact) / np.maximum(1, np.abs(exact))).max() < 6e-7


@compiled(types.void(types.float64[::1], types.float64[:, ::1]))
def gammas_of(x: Any, y: Any) -> None:
    for i in range(x.size):
        y[0, i], y[1, i], y[2, i] = gammas(x[i])


def test_the_gamma_functions_are_as_accurate_as_they_say():
    x = np.concatenate(
        [
            np.linspace(1, 30, 50_001),
            1 + 10.0 ** -np.arange(1, 16),
            [np.nextafter(8, 0)],
            10.0 ** np.arange(2, 9),
        ]
    )
    y = np.empty((3, len(x)))
    gammas_of(x, y)
    for found, exact in zip(
        y, (special.gammaln(x), special.digamma(x), special.polygamma(1, x)), strict=True
    ):
        assert (np.abs(found - exact) <= 1e-11 * np.maximum(1, np.abs(exact))).all()

"""An nn.Sequential in the fused engine: both engines agree on every kind of layer, and the rest is refused in words."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

import policygrad as pg
from policygrad._support.threads import Workers
from policygrad.engines import make_engine
from policygrad.engines.fused.net import FORWARD
from policygrad.errors import NonFiniteError
from policygrad.interfaces import Step, Update
from policygrad.policies import MLP, DiscretePolicy, Policy, SharedValueNetwork, ValueNetwork, flat_parameters
from policygrad.policies.mlp import Activation
from policygrad.types import Inputs
from tests.helpers import (
    BOX,
    FULL_LOSS,
    HEADS,
    D,
    batch_for,
    batch_rows,
    both_engines,
    dense_fisher,
    episodes_for,
    full_coefficients,
    learned_by_both,
    networks,
    parameters,
    random_states,
    relative_error,
    shaken_policy,
    steps_for,
)

pytestmark = pytest.mark.usefixtures("one_thread")
Make = Callable[[int], list[nn.Module]]
"""Returns the layers of a network with this number of outputs."""


def linear(fan_in: int, fan_out: int, *, bias: bool = True) -> nn.Linear:
    return nn.utils.skip_init(nn.Linear, fan_in, fan_out, bias=bias)


def around(activation: Callable[[], nn.Module]) -> Make:
    return lambda n: [linear(D, 24), activation(), linear(24, 17), activation(), linear(17, n)]


def normalized(**options: Any) -> Make:
    return lambda n: [linear(D, 24), nn.LayerNorm(24, **options), nn.Tanh(), linear(24, n)]


LAYERS: dict[str, Make] = {
    "no hidden layer": lambda n: [linear(D, n)],
    "no hidden layer, no bias": lambda n: [linear(D, n, bias=False)],
    "tanh": around(nn.Tanh),
    "relu": around(nn.ReLU),
    "silu": around(nn.SiLU),
    "gelu": around(nn.GELU),
    "gelu by tanh": around(lambda: nn.GELU("tanh")),
    "elu": around(lambda: nn.ELU(0.7)),
    "leaky relu": around(lambda: nn.LeakyReLU(0.2)),
    "norm": normalized(),
    "norm without bias": normalized(bias=False),
    "norm without parameters": normalized(elementwise_affine=False, eps=0.1),
    # the normalization of a single number is 0
    "norm first and last": lambda n: [nn.LayerNorm(D), linear(D, n), *[nn.LayerNorm(n)] * (n > 1)],
    "activation first and last": lambda n: [nn.SiLU(), linear(D, 20), nn.ReLU(), linear(20, n), nn.Tanh()],
    "two linear layers in a row": lambda n: [linear(D, 2), linear(2, 33, bias=False), nn.SiLU(), linear(33, n)],
    "no biases": lambda n: [
        *(linear(D, 20, bias=False), nn.Tanh(), linear(20, 3, bias=False), nn.ReLU(), linear(3, n, bias=False))
    ],
    "nested": lambda n: [
        nn.Sequential(nn.Flatten(), linear(D, 24), nn.LayerNorm(24), nn.Sequential(nn.ELU(), nn.Identity())),
        nn.Sequential(linear(24, 40), nn.Tanh(), linear(40, 24), nn.LayerNorm(24), nn.GELU()),
        linear(24, n),
    ],
}  # fmt: skip


def sequential(kind: str, outputs: int, seed: int = 0) -> nn.Sequential:
    """Return a network whose parameters are all random, those of its normalizations included."""
    return initialized(nn.Sequential(*LAYERS[kind](outputs)), seed)


def initialized(network: nn.Sequential, seed: int = 0) -> nn.Sequential:
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for layer in network.modules():
            for p in layer.parameters(recurse=False):
                is_gain = isinstance(layer, nn.LayerNorm) and p is layer.weight
                p.copy_(torch.from_numpy(rng.normal(float(is_gain), 1 / np.sqrt(p.shape[-1]), p.shape)))
    return network


def policy_of(network: nn.Module) -> Policy:
    return Policy(network, BOX, spaces.Discrete(3))


@pytest.mark.parametrize("kind", LAYERS)
def test_parameters_agree_after_20_updates(kind: str):
    policy, value = policy_of(sequential(kind, 3)), sequential(kind, 1, seed=1)
    before = np.concatenate([flat_parameters(m).numpy().copy() for m in (policy, value)])
    algorithm = pg.A2C(learning_rate=0.001, entropy_coef=0.01)
    engines, _ = learned_by_both(policy, value, algorithm, steps_for, algorithm.optimizer)
    assert relative_error(parameters(engines[0]), parameters(engines[1])) < 1e-4
    assert relative_error(parameters(engines[0]), before) > 3e-3


@pytest.mark.parametrize("which", ["policy", "value"])
@pytest.mark.parametrize("baseline", ["none", "optimal", "value"])
def test_a_sequential_can_be_combined_with_a_network_of_this_library(which: str, baseline: Any):
    policy, value = networks("categorical", "gelu")
    if which == "policy":
        policy = policy_of(sequential("nested", 3))
    else:
        value = sequential("nested", 1)
    algorithm = pg.Reinforce(baseline=baseline, learning_rate=0.001, value_learning_rate=0.001)
    engines, _ = learned_by_both(policy, value if algorithm.uses_value else None, algorithm, episodes_for)
    assert relative_error(parameters(engines[0]), parameters(engines[1])) < 1e-4


@pytest.mark.parametrize("kind", LAYERS)
def test_gradients_equal_those_of_float64(kind: str):
    policy, value = policy_of(sequential(kind, 3)), sequential(kind, 1)
    batch = batch_for(policy)
    exact, exact_value = copy.deepcopy(policy).double(), copy.deepcopy(value).double()
    observation: Any = torch.from_numpy(batch.inputs.observation).double()
    parameters_of_policy = exact(Inputs(observation))
    A, G = (torch.from_numpy(batch.columns[name]).double() for name in ("advantage", "target"))
    log_prob = exact.distribution.log_prob(parameters_of_policy, torch.from_numpy(batch.action))
    entropy = exact.distribution.entropy(parameters_of_policy)
    loss = (-A * log_prob - 0.05 * entropy + 0.5 * (exact_value(observation)[:, 0] - G).square()).mean()
    expected = [
        torch.autograd.grad(loss, list(m.parameters()), retain_graph=True) for m in (exact, exact_value)
    ]
    engine = make_engine(policy, value, "sgd", "fused")
    for found, exact_gradient in zip(
        engine.gradient(batch, FULL_LOSS, full_coefficients(0.05)), expected, strict=True
    ):
        assert relative_error(torch.cat([g.reshape(-1) for g in exact_gradient]).numpy(), found) < 1e-5


@pytest.mark.parametrize("kind", LAYERS)
def test_both_engines_act_evaluate_and_score_alike(kind: str):
    policy, value = policy_of(sequential(kind, 3)), sequential(kind, 1)
    batch, noise = batch_for(policy), policy.draw_noise(np.random.default_rng(4), 600)
    a, b = both_engines(policy, value)
    np.testing.assert_array_equal(a.act(batch.inputs, noise), b.act(batch.inputs, noise))
    np.testing.assert_allclose(a.values(batch.inputs), b.values(batch.inputs), rtol=1e-5, atol=1e-5)
    for one, two in zip(*(e.evaluate(batch.inputs, batch.action) for e in (a, b)), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-5)
    scores = [e.squared_scores(batch.inputs, batch.action) for e in (a, b)]
    np.testing.assert_allclose(*scores, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", LAYERS)
def test_fisher_products_equal_those_of_the_dense_matrix(kind: str):
    policy, observation = policy_of(sequential(kind, 3)), random_states(20)
    exact = dense_fisher(policy, observation)
    product = make_engine(policy, None, "sgd", "fused").fisher_vector_product(Inputs(observation))
    directions = np.random.default_rng(0).standard_normal((8, len(exact))).astype(np.float32)
    found = np.stack([product(direction) for direction in directions])
    assert relative_error(directions.astype(np.float64) @ exact, found) < 3e-6


@pytest.mark.parametrize("activation", get_args(Activation))
@pytest.mark.parametrize("head", HEADS)
def test_networks_of_this_library_have_every_activation(head: str, activation: Activation):
    policy, value = networks(head, activation)
    batch = batch_for(policy)
    a, b = both_engines(policy, value)
    for expected, found in zip(
        *(e.gradient(batch, FULL_LOSS, full_coefficients(0.05)) for e in (a, b)), strict=True
    ):
        assert relative_error(expected, found) < 1e-5
    shaken = shaken_policy(head, activation)
    v = np.random.default_rng(3).standard_normal(len(flat_parameters(shaken))).astype(np.float32)
    products = [e.fisher_vector_product(batch.inputs)(v) for e in both_engines(shaken, None)]
    assert relative_error(*products) < 1e-5


@pytest.mark.parametrize("activation", get_args(Activation))
def test_a_shared_trunk_may_have_every_activation(activation: Activation):
    policy, _ = networks("categorical", activation)
    network: Any = policy.network
    value = SharedValueNetwork(network.network, "orthogonal", np.random.default_rng(1))
    algorithm = pg.A2C(learning_rate=0.001)
    engines, _ = learned_by_both(policy, value, algorithm, steps_for, algorithm.optimizer)
    assert relative_error(parameters(engines[0]), parameters(engines[1])) < 1e-4


@pytest.mark.parametrize("kind", [kind for kind in LAYERS if kind not in ("tanh", "relu")])
def test_outputs_of_a_row_do_not_depend_on_its_neighbors(kind: str):
    """Outputs are bit-identical at every position of a batch, those that do not fill a vector included."""
    policy, value = policy_of(sequential(kind, 3)), sequential(kind, 1)
    engine, batch = make_engine(policy, value, "sgd", "fused"), batch_for(policy, 400)
    together, values = engine.evaluate(batch.inputs, batch.action)[0], engine.values(batch.inputs)
    for n in (1, 2, 3, 5, 7, 64, 129):
        for first in (0, 1, 62, 257):
            rows = slice(first, first + n)
            part = batch_rows(batch, rows)
            np.testing.assert_array_equal(engine.evaluate(part.inputs, part.action)[0], together[rows])
            np.testing.assert_array_equal(engine.values(part.inputs), values[rows])


@pytest.mark.parametrize("kind", ["silu", "nested"])
def test_a_batch_split_between_cores_gives_the_same_step(kind: str):
    found = []
    for cores in (1, 2):
        policy, value = policy_of(sequential(kind, 3)), sequential(kind, 1)
        engine = make_engine(policy, value, "adam", "fused", workers=Workers(cores))
        for _ in range(3):
            engine.update(
                Update(batch_for(policy, 3000), FULL_LOSS, full_coefficients(0.01), Step(0.01, 0.01))
            )
        found.append(parameters(engine))
    assert relative_error(*found) < 1e-5


ACTIVATIONS: list[nn.Module] = [
    *(nn.Tanh(), nn.ReLU(), nn.SiLU(), nn.GELU(), nn.GELU("tanh"), nn.ELU(1.5), nn.LeakyReLU(0.1)),
]  # fmt: skip


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
def test_activations_are_accurate_everywhere(activation: nn.Module):
    """V(s) of a network that only applies the activation: its value, and its derivative from the first layer's bias."""
    small = np.linspace(-8, 8, 40_001)
    x = np.concatenate([small, np.linspace(-300, 300, 5_001), [-1e30, 1e30]]).astype(np.float32)
    network = nn.Sequential(activation, linear(1, 1))
    nn.init.ones_(network[1].weight)
    nn.init.zeros_(network[1].bias)
    policy = Policy(
        DiscretePolicy(1, 2, 4, rng=np.random.default_rng(0)), spaces.Box(-1, 1, (1,)), spaces.Discrete(2)
    )
    found = make_engine(policy, network, "sgd", "fused").values(Inputs(x[:, None]))
    exact = activation(torch.from_numpy(x).double()).numpy()
    np.testing.assert_allclose(found, exact, rtol=2e-6, atol=1e-6)
    assert not ((found != 0) & (np.abs(found) < np.finfo(np.float32).tiny)).any()


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
def test_derivatives_of_extreme_inputs_are_finite_and_not_subnormal(activation: nn.Module):
    policy, value = (
        networks("categorical")[0],
        initialized(nn.Sequential(linear(D, 16), activation, linear(16, 1))),
    )
    batch = batch_for(policy, 250)
    batch.inputs.observation[:] *= np.logspace(-3, 5, 250).astype(np.float32)[:, None]
    engine: Any = make_engine(policy, value, "sgd", "fused")
    _, gradient = engine.gradient(batch, FULL_LOSS, full_coefficients())
    assert np.isfinite(gradient).all()
    delta = engine._critic.net.work[: 250 * 16]
    assert np.abs(delta).max() > 1e-3
    assert not ((delta != 0) & (np.abs(delta) < 1e-12)).any()


@pytest.mark.parametrize("kind", LAYERS)
def test_a_nan_is_propagated(kind: str):
    policy, value = policy_of(sequential(kind, 3)), sequential(kind, 1)
    engine, batch = make_engine(policy, value, "adam", "fused"), batch_for(policy)
    batch.inputs.observation[3] = np.nan
    assert np.isnan(engine.values(batch.inputs)).tolist() == [i == 3 for i in range(len(batch))]
    with pytest.raises(NonFiniteError, match="log π"):
        engine.update(Update(batch, FULL_LOSS, full_coefficients(), Step(0.1, 0.1)))


def test_a_network_with_tanh_needs_no_other_code():
    for activation, needed in (("tanh", False), ("silu", True)):
        engine: Any = make_engine(*networks("categorical", activation), "adam", "fused")  # type: ignore[arg-type]
        assert engine._actor.net.layers[:, FORWARD].any() == needed


class Reversed(nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return -super().forward(x)


class Wider(nn.Linear):
    """A layer that may compute anything."""


class Named(nn.Sequential):
    """A class that only says which layers a network has."""

    def __init__(self, state_dim: int, action_dim: int) -> None:
        super().__init__(nn.Linear(state_dim, 16), nn.LayerNorm(16), nn.SiLU(), nn.Linear(16, action_dim))


def value_network(state_dim: int) -> nn.Sequential:
    return Named(state_dim, 1)


def with_hook(network: nn.Sequential, register: str) -> nn.Sequential:
    getattr(network[0], register)(lambda *_: None)
    return network


def with_own_forward(network: nn.Sequential) -> nn.Sequential:
    network[0].forward = lambda x: x[:, :3]  # type: ignore[method-assign]
    return network


def with_frozen_layer(network: nn.Sequential) -> nn.Sequential:
    network[0].requires_grad_(False)
    return network


def tied() -> nn.Sequential:
    square = linear(D, D)
    return nn.Sequential(square, nn.Tanh(), square, nn.Tanh(), linear(D, 3))


def tied_weights() -> nn.Sequential:
    network = nn.Sequential(linear(D, D), nn.Tanh(), linear(D, D), linear(D, 3))
    network[2].weight = network[0].weight
    return network


def with_parameter() -> nn.Sequential:
    network = plain()
    network.register_parameter("temperature", nn.Parameter(torch.zeros(1)))
    return network


def with_hooked_parameter() -> nn.Sequential:
    network = plain()
    network[0].weight.register_hook(lambda gradient: 2 * gradient)
    return network


def plain() -> nn.Sequential:
    return nn.Sequential(linear(D, 8), nn.Tanh(), linear(8, 3))


def normalized_weights() -> nn.Sequential:
    network = plain()
    nn.utils.parametrizations.weight_norm(network[0])
    return network


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "a forward of its own": (lambda: Reversed(linear(D, 3)), "has a Reversed with a forward of its own"),
    "a subclass of a layer": (lambda: nn.Sequential(Wider(D, 3)), "has a layer Wider, which has no machine code"),
    "dropout": (lambda: nn.Sequential(linear(D, 3), nn.Dropout()), "has a layer Dropout, which"),
    "softmax": (lambda: nn.Sequential(linear(D, 3), nn.Softmax(-1)), "has a layer Softmax, which"),
    "forward hook": (lambda: with_hook(plain(), "register_forward_hook"), "has a Linear with hooks"),
    "pre-hook": (lambda: with_hook(plain(), "register_forward_pre_hook"), "has a Linear with hooks"),
    "backward hook": (lambda: with_hook(plain(), "register_full_backward_hook"), "has a Linear with hooks"),
    "a replaced forward": (lambda: with_own_forward(plain()), "with hooks or with a forward of its own"),
    "a hook of a parameter": (with_hooked_parameter, "has parameters with hooks"),
    "parametrization": (normalized_weights, "ParametrizedLinear"),
    "a layer used twice": (tied, "has layers that share parameters"),
    "a weight used twice": (tied_weights, "has layers that share parameters"),
    "another parameter": (with_parameter, "parameters that belong to no layer"),
    "frozen": (lambda: with_frozen_layer(plain()), "has frozen parameters"),
    "norm over two axes": (lambda: nn.Sequential(nn.LayerNorm((1, D)), linear(D, 3)), "a LayerNorm over 2 axes"),
    "flatten everything": (lambda: nn.Sequential(linear(D, 3), nn.Flatten(0)), "has a layer Flatten"),
    "no linear layer": (lambda: nn.Sequential(nn.LayerNorm(D), nn.Tanh()), "has no Linear layer"),
    "widths do not fit": (
        lambda: nn.Sequential(linear(D, 8), linear(7, 3)),
        "has a Linear of 7 numbers after a layer that returns 8",
    ),
    "inputs do not fit": (lambda: nn.Sequential(linear(D + 1, 3)), "has 6 inputs, but needs 5"),
    "outputs do not fit": (lambda: nn.Sequential(linear(D, 4)), "has 4 outputs, but needs 3"),
}  # fmt: skip


@pytest.mark.draws_globally
@pytest.mark.parametrize("what", REFUSED)
def test_other_networks_are_refused_in_words(what: str):
    make, reason = REFUSED[what]
    policy, messages = policy_of(make()), list[str]()
    assert make_engine(policy, None, "adam", "auto", messages.append).name == "autograd"
    assert reason in messages[0]
    with pytest.raises(ValueError, match="the fused engine does not support this: the policy network"):
        make_engine(policy, None, "adam", "fused")
    if "do not fit" not in what and what != "no linear layer":
        value = nn.Sequential(make(), linear(3, 1))
        make_engine(networks("categorical")[0], value, "adam", "auto", messages.append)
        assert "the value network Sequential" in messages[1]


def test_networks_that_share_a_layer_are_refused():
    trunk = linear(D, 8)
    policy, value = nn.Sequential(trunk, nn.Tanh(), linear(8, 3)), nn.Sequential(trunk, linear(8, 1))
    with pytest.raises(ValueError, match=r"the policy and V\(s\) share parameters"):
        make_engine(policy_of(policy), value, "adam", "fused")


def test_a_value_network_of_another_dtype_is_refused():
    with pytest.raises(
        ValueError, match=r"the value network Sequential has parameters of dtype torch.float64"
    ):
        make_engine(networks("categorical")[0], sequential("tanh", 1).double(), "adam", "fused")


def test_actions_in_a_box_need_two_tensors():
    policy = Policy(sequential("tanh", 2), BOX, spaces.Box(-1, 1, (2,)))
    with pytest.raises(
        ValueError, match="a network of your own for the distribution gaussian returns several"
    ):
        make_engine(policy, None, "adam", "fused")


def test_activations_may_be_shared_and_subclasses_only_need_the_same_forward():
    act = nn.SiLU()
    shared = initialized(nn.Sequential(linear(D, 8), act, linear(8, 8), act, linear(8, 3)))
    made_here = MLP((D, 8, 3), "gelu", rng=np.random.default_rng(0))
    for network in (shared, made_here):
        assert make_engine(policy_of(network), None, "adam").name == "fused"


def test_a_sequential_is_trained_evaluated_saved_and_loaded(tmp_path: Path):
    """The compiled environment, evaluations and the run folder work as with a network of this library."""
    settings: dict[str, Any] = {"steps": 6_000, "progress": False, "num_envs": 8, "eval_every": 3_000}
    run = pg.train(
        "CartPole-v1", pg.PPO(epochs=3), policy=Named, value=value_network, out=tmp_path / "run", **settings
    )
    assert run.engine == "fused"
    assert isinstance(run.policy.network, Named)
    loaded = pg.load(tmp_path / "run", network=Named)
    assert loaded.act(np.zeros(4), greedy=True) == run.policy.act(np.zeros(4), greedy=True)
    assert pg.evaluate(loaded, "CartPole-v1", episodes=3, seed=0).mean > 5
    again = pg.train("CartPole-v1", pg.PPO(epochs=3), policy=Named, value=value_network, **settings)
    torch.testing.assert_close(
        *(flat_parameters(r.last_policy.network) for r in (run, again)), rtol=0, atol=0
    )
    for seed in pg.train(
        "CartPole-v1", pg.PPO(epochs=3), policy=Named, value=value_network, seeds=2, **settings
    ):
        assert seed.engine == "fused"


def test_an_agent_and_a_critic_of_actions_use_it():
    policy = initialized(nn.Sequential(linear(4, 8), nn.SiLU(), linear(8, 2)))
    value = initialized(nn.Sequential(linear(6, 8), nn.SiLU(), linear(8, 1)))
    run = pg.train(
        "CartPole-v1", pg.ActorCritic(critic="q"), policy=policy, value=value, steps=300, progress=False
    )
    assert run.engine == "fused"


def test_a_value_network_for_other_observations_is_refused():
    value = nn.Sequential(linear(5, 1))
    with pytest.raises(ValueError, match=r"the value network does not accept observations of shape \[B, 4\]"):
        pg.train("CartPole-v1", pg.A2C(), value=value, steps=100, progress=False)


def test_an_unmodified_network_has_the_settings_of_its_activation():
    network = DiscretePolicy(D, 3, 8, activation="elu", rng=np.random.default_rng(0))
    assert (
        make_engine(
            policy_of(network), ValueNetwork(D, 8, activation="silu", rng=np.random.default_rng(0)), "adam"
        ).name
        == "fused"
    )
    network.network[1] = nn.ELU(2.0)
    assert make_engine(policy_of(network), None, "adam").name == "autograd"

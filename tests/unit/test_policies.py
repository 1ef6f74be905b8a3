"""Policies and networks: parameters, settings, acting, and what does not fit together."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

import policygrad as pg
from policygrad.engines import make_engine
from policygrad.errors import NonFiniteError
from policygrad.policies import (
    MLP,
    BetaPolicy,
    DiscretePolicy,
    GaussianPolicy,
    GSDEPolicy,
    Network,
    Policy,
    ValueNetwork,
    evaluation_mode,
    flat_parameters,
    make_policy,
)
from policygrad.types import Inputs

BOX = spaces.Box(-1, 1, (3,))
ACTED = spaces.Box(-1, 1, (2,))


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: DiscretePolicy(3, 2, rng=rng()),
        lambda: GaussianPolicy(3, 2, rng=rng()),
        lambda: GaussianPolicy(3, 2, state_dependent_std=True, rng=rng()),
        lambda: BetaPolicy(3, 2, rng=rng()),
        lambda: GSDEPolicy(3, 2, rng=rng()),
        lambda: ValueNetwork(3, rng=rng()),
        lambda: nn.Sequential(MLP((3, 4), rng=rng()), MLP((4, 2), rng=rng())),
    ],
)
def test_one_flat_buffer_holds_all_parameters(make: Any):
    module: nn.Module = make()
    values = torch.cat([p.detach().reshape(-1) for p in module.parameters()]).clone()
    flat = flat_parameters(module)
    assert torch.equal(flat, values)
    assert flat.data_ptr() == next(module.parameters()).data_ptr()
    flat.zero_()
    assert all((p == 0).all() for p in module.parameters())
    with torch.no_grad():
        next(module.parameters()).fill_(3.0)
    assert flat[0] == 3
    # a second call returns the same memory, and a copy has its own
    assert flat_parameters(module).data_ptr() == flat.data_ptr()
    other = copy.deepcopy(module)
    flat_parameters(other).fill_(7.0)
    assert flat[0] == 3
    assert all((p == 7).all() for p in other.parameters())


def test_parameters_of_another_dtype_are_refused():
    with pytest.raises(TypeError, match="expected float32 parameters"):
        flat_parameters(ValueNetwork(3, rng=rng()).double())


def test_the_softmax_policy_returns_probabilities():
    policy = DiscretePolicy(3, 4, rng=rng())
    probabilities = policy(torch.randn(5, 3, generator=torch.Generator().manual_seed(0)))
    assert probabilities.shape == (5, 4)
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(5))


@pytest.mark.draws_globally
def test_get_action_keeps_the_graph_of_the_log_probability():
    torch.manual_seed(0)
    state = torch.ones(1, 3)
    discrete, gaussian = DiscretePolicy(3, 4), GaussianPolicy(3, 2)
    action, log_prob = discrete.get_action(state)
    assert isinstance(action, int)
    torch.testing.assert_close(log_prob, discrete(state)[:, action].log())
    action, log_prob = gaussian.get_action(state)
    assert action.shape == (1, 2)
    assert log_prob.shape == (1,)
    log_prob.backward()
    assert gaussian.log_std.grad is not None


@pytest.mark.draws_globally
def test_weights_follow_the_seed_of_torch_unless_a_generator_is_given():
    torch.manual_seed(3)
    a = flat_parameters(DiscretePolicy(3, 2)).clone()
    torch.manual_seed(3)
    b = flat_parameters(DiscretePolicy(3, 2)).clone()
    c = flat_parameters(DiscretePolicy(3, 2)).clone()
    assert torch.equal(a, b)
    assert not torch.equal(b, c)


@pytest.mark.parametrize(("fan_in", "fan_out"), [(8, 20), (20, 8), (16, 16)])
def test_orthogonal_weights_are_orthogonal(fan_in: int, fan_out: int):
    weight: Any = MLP((fan_in, fan_out), init="orthogonal", gain=0.5, rng=rng())[0].weight
    gram = weight @ weight.T if fan_out <= fan_in else weight.T @ weight
    torch.testing.assert_close(gram, 0.25 * torch.eye(min(fan_in, fan_out)), atol=1e-6, rtol=0)


def test_depth_and_widths_set_the_sizes_of_layers():
    assert DiscretePolicy(3, 2, 16, depth=3, rng=rng()).network.sizes == (3, 16, 16, 16, 2)
    assert DiscretePolicy(3, 2, (32, 8), rng=rng()).network.sizes == (3, 32, 8, 2)
    assert DiscretePolicy(3, 2, (), rng=rng()).network.sizes == (3, 2)
    assert DiscretePolicy(3, 2, rng=rng()).network.sizes == (3, 128, 128, 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": (0,)}, "a width in hidden must be 1 or more"),
        ({"hidden": 64}, r"hidden must list the width of each layer, as in \(64, 64\); got 64"),
        ({"shared": "no"}, "shared must be True or False; got 'no'"),
        ({"policy_gain": "small"}, "policy_gain must be positive and finite; got 'small'"),
        ({"log_std": float("nan")}, "log_std must be a finite number"),
        ({"log_std_bounds": (2.0, -5.0)}, r"must be \(lowest, highest\)"),
        ({"log_std_bounds": (-5.0, float("inf"))}, "must be two finite numbers"),
        ({"log_std_bounds": 2.0}, r"must be two finite numbers, \(lowest, highest\)"),
        ({"activation": "selu"}, "activation must be"),
        ({"init": "zeros"}, "init must be"),
        ({"log_std": 3.0}, "outside its bounds"),
        ({"log_std": 2.0, "state_dependent_std": True}, "must start between them"),
        ({"distribution": "cauchy"}, "distribution must be one of"),
        (
            {"distribution": "beta", "state_dependent_std": True},
            "only has an effect with distribution='gaussian' or 'squashed'",
        ),
        (
            {"distribution": "gsde", "state_dependent_std": True},
            "only has an effect with distribution='gaussian' or 'squashed'",
        ),
        ({"sde_period": 0}, "sde_period must be 1 or more"),
    ],
)
def test_invalid_network_settings_are_named(settings: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        Network(**settings)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MLP((3, 2), activation="rleu"), "activation must be one of .*'rleu': did you mean 'relu'"),
        (lambda: MLP((3, 2), init="orthogonl"), "init must be one of .*did you mean 'orthogonal'"),
        (lambda: DiscretePolicy(3, 2, activation="Tanh"), "did you mean 'tanh'"),
        (
            lambda: GaussianPolicy(3, 2, init="xavier"),
            r"init must be one of \(.*\); got 'xavier'$",
        ),
        (lambda: GSDEPolicy(3, 2, init=None), "init must be one of .*got None$"),
        (lambda: BetaPolicy(3, 2, activation=nn.ReLU), "activation must be one of"),
        (lambda: ValueNetwork(3, init=["uniform"]), "init must be one of"),
        (
            lambda: Policy(MLP((3, 4), rng=rng()), BOX, ACTED, distribution="gausian"),
            "distribution must be .*mean 'gaussian'",
        ),
        (
            lambda: Policy(MLP((3, 4), rng=rng()), BOX, ACTED, distribution=np.zeros(2)),
            "distribution must be one of",
        ),
        (
            lambda: Policy(MLP((3, 2), rng=rng()), BOX, spaces.Discrete(2), distribution="sofmax"),
            "distribution must be one of",
        ),
        (lambda: Network(activation="rlu"), "did you mean 'relu'"),
        (lambda: Network(init=np.array(["uniform"])), "init must be one of"),
        (lambda: pg.Reinforce(baseline="vlaue"), "did you mean 'value'"),
    ],
)
def test_unknown_choices_are_refused_with_the_nearest_one(make: Any, message: str):
    """A misspelled choice must not silently select another one."""
    with pytest.raises(ValueError, match=message):
        make()


def test_widths_may_be_given_as_a_list():
    """Files contain lists; the settings can still be compared and hashed."""
    assert Network(hidden=[16, 8]) == Network(hidden=(16, 8))  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"a width in hidden must be a whole number; got 1\.5"):
        Network(hidden=(1.5,))  # pyright: ignore[reportArgumentType]


def test_the_wrong_kind_of_policy_is_named():
    with pytest.raises(
        ValueError, match=r"CartPole-v1 has discrete actions; GaussianPolicy needs a Box\. Use Disc"
    ):
        Policy(GaussianPolicy(3, 2, rng=rng()), BOX, spaces.Discrete(2), environment_name="CartPole-v1")
    with pytest.raises(ValueError, match="has continuous actions; DiscretePolicy needs discrete ones"):
        Policy(DiscretePolicy(3, 2, rng=rng()), BOX, spaces.Box(-1, 1, (2,)))


@pytest.mark.parametrize(
    ("network", "action_space", "message"),
    [
        (pg.DiscretePolicy(3, 5, rng=rng()), spaces.Discrete(2), "action_dim 5.*needs 3 and 2"),
        (pg.DiscretePolicy(4, 2, rng=rng()), spaces.Discrete(2), "state_dim 4.*needs 3 and 2"),
        (pg.GaussianPolicy(3, 1, rng=rng()), spaces.Box(-1, 1, (2,)), "action_dim 1.*needs 3 and 2"),
    ],
)
def test_networks_of_other_sizes_are_refused(network: Any, action_space: Any, message: str):
    with pytest.raises(ValueError, match=message):
        Policy(network, BOX, action_space)


HALF_LINE = spaces.Box(np.array([0, -1], np.float32), np.array([np.inf, 1], np.float32))


@pytest.mark.parametrize(
    ("network", "action_space", "message"),
    [
        (Network(distribution="squashed"), HALF_LINE, "'squashed' needs a Box with finite bounds"),
        (Network(distribution="beta"), HALF_LINE, "'beta' needs a Box with finite bounds"),
        (Network(distribution="beta"), spaces.Box(0, 0, (1,)), "finite bounds and low < high"),
        (
            Network(distribution="beta"),
            spaces.Discrete(2),
            "discrete actions.*'beta' needs a Box. Leave it out",
        ),
        (Network(distribution="gaussian"), spaces.MultiBinary(2), "discrete actions.*Leave it out"),
        (Network(state_dependent_std=True), spaces.Discrete(2), "Leave state_dependent_std out"),
    ],
)
def test_distributions_that_do_not_fit_the_actions_are_named(
    network: Network, action_space: Any, message: str
):
    with pytest.raises(ValueError, match=message):
        make_policy(BOX, action_space, network, rng())


@pytest.mark.parametrize(
    ("network", "distribution", "message"),
    [
        (GaussianPolicy(3, 1, rng=rng()), "beta", "'beta' does not fit a GaussianPolicy"),
        (BetaPolicy(3, 1, rng=rng()), "squashed", "'squashed' does not fit a BetaPolicy"),
        (GSDEPolicy(3, 1, rng=rng()), "gaussian", "'gaussian' does not fit a GSDEPolicy"),
        (MLP((3, 1), rng=rng()), "gsde", "needs a GSDEPolicy; got MLP"),
    ],
)
def test_networks_that_do_not_fit_the_distribution_are_named(network: Any, distribution: Any, message: str):
    with pytest.raises(ValueError, match=message):
        Policy(network, BOX, spaces.Box(-1, 1, (1,)), distribution=distribution)


def test_an_initial_log_std_out_of_bounds_is_refused():
    with pytest.raises(ValueError, match="outside its bounds"):
        GaussianPolicy(3, 1, log_std=4.0, rng=rng())


@pytest.mark.parametrize("space", [spaces.Text(3), spaces.Box(0, 9, (2,), np.int64)])
def test_unsupported_actions_are_named(space: Any):
    with pytest.raises(ValueError, match="not supported"):
        Policy(DiscretePolicy(3, 2, rng=rng()), BOX, space)


def test_acting_on_one_observation_and_on_a_batch():
    policy = Policy(DiscretePolicy(3, 4, rng=rng()), BOX, spaces.Discrete(4, start=10))
    observations = np.random.default_rng(1).uniform(-1, 1, (6, 3))
    many = policy.act(observations, greedy=True)
    one = policy.act(observations[0], greedy=True)
    assert isinstance(one, int)
    assert one == many[0]
    assert set(policy.act(np.zeros((500, 3)), rng=rng()).tolist()) == {10, 11, 12, 13}
    first = policy.act(observations, rng=np.random.default_rng(5))
    np.testing.assert_array_equal(first, policy.act(observations, rng=np.random.default_rng(5)))


def test_continuous_actions_are_clipped_and_have_the_shape_and_dtype_of_the_space():
    space = spaces.Box(-0.01, 0.01, (2, 1), np.float64)
    policy = Policy(GaussianPolicy(3, 2, rng=rng()), BOX, space)
    action = policy.act(np.ones(3), rng=rng())
    assert space.contains(action)


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        (np.zeros(4), r"observation has shape \(4,\); expected \(3,\)"),
        (np.zeros((2, 2, 3)), "observation has shape"),
        (np.array([0, np.nan, 0]), "NaN"),
    ],
)
def test_invalid_observations_are_named(observation: np.ndarray, message: str):
    policy = Policy(DiscretePolicy(3, 2, rng=rng()), BOX, spaces.Discrete(2))
    with pytest.raises((ValueError, NonFiniteError), match=message):
        policy.act(observation)


def test_finite_bounds_are_scaled_to_unit_and_infinite_ones_are_not():
    space = spaces.Box(np.array([0, -np.inf, -2], np.float32), np.array([10, np.inf, 4], np.float32))
    policy = Policy(DiscretePolicy(3, 2, rng=rng()), space, spaces.Discrete(2), scale_observations=True)
    encoded = policy.encode(np.array([[0, 5, -2], [10, 5, 4], [5, 5, 1]], np.float32))
    np.testing.assert_allclose(encoded, [[-1, 5, -1], [1, 5, 1], [0, 5, 0]])


@pytest.mark.parametrize("columns", [1, 3])
def test_a_network_of_the_wrong_width_is_named(columns: int):
    """Outputs of the wrong width must raise instead of broadcasting."""
    linear = nn.utils.skip_init(nn.Linear, 3, columns)
    policy = Policy(linear, BOX, spaces.Discrete(2))
    with pytest.raises(ValueError, match=rf"returned \(1, {columns}\); expected logits of shape \(1, 2\)"):
        policy.act(np.zeros(3))


def test_evaluation_mode_restores_every_submodule():
    """A mode that differs between modules must be restored for each of them."""
    module = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout(), nn.Dropout()))
    module[1][0].eval()
    before = [m.training for m in module.modules()]
    with evaluation_mode(module):
        assert not any(m.training for m in module.modules())
    assert [m.training for m in module.modules()] == before


class Wrapped(nn.Module):
    """A custom network around a built-in one, which returns logits, probabilities or their logarithm."""

    def __init__(self, returned: str, action_dim: int = 3) -> None:
        super().__init__()
        self.inner = DiscretePolicy(3, action_dim, 8, rng=rng())
        self.returned = returned

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.returned == "probabilities":
            return self.inner(x)
        if self.returned == "one softmax per choice":
            return torch.cat([part.softmax(-1) for part in self.inner.logits(x).split([3, 2], -1)], -1)
        return self.inner(x).log() if self.returned == "their logarithm" else self.inner.logits(x)


@pytest.mark.parametrize(
    ("returned", "space"),
    [
        ("probabilities", spaces.Discrete(3)),
        ("probabilities", spaces.MultiDiscrete([3, 2])),
        ("one softmax per choice", spaces.MultiDiscrete([3, 2])),
    ],
)
def test_probabilities_instead_of_logits_cause_one_warning(returned: str, space: Any):
    policy = Policy(Wrapped(returned, pg.spaces.action_size(space)), BOX, space)
    x = np.random.default_rng(1).uniform(-1, 1, (10, 5, 3))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for observations in x:
            policy.act(observations, rng=rng())
    assert len(caught) == 1
    message = str(caught[0].message)
    assert "a Wrapped, returns rows that are not negative and sum to 1" in message
    assert "logarithm of the probabilities" in message


@pytest.mark.parametrize("returned", ["logits", "their logarithm"])
def test_logits_cause_no_warning(returned: str):
    """Nor does a network warn that once happens to return what could be probabilities. Warnings are errors here."""
    policy = Policy(Wrapped(returned), BOX, spaces.Discrete(3))
    policy.act(np.zeros((5, 3)), rng=rng())
    policy.network.returned = "probabilities"
    for _ in range(10):
        policy.act(np.zeros((5, 3)), rng=rng())
    mine = Policy(DiscretePolicy(3, 3, rng=rng()), BOX, spaces.Discrete(3))
    for _ in range(10):
        mine.act(np.zeros((5, 3)), rng=rng())


def test_training_warns_about_probabilities():
    """This includes gradients of single samples, in which the values of tensors cannot be inspected."""
    network = Wrapped("probabilities")
    env = gym.make("Acrobot-v1", max_episode_steps=20)
    network.inner = DiscretePolicy(6, 3, 8, rng=rng())
    with pytest.warns(UserWarning, match="look like probabilities"):
        pg.train(env, pg.Reinforce(baseline="optimal"), policy=network, steps=40, progress=False)
    engine = make_engine(Policy(Wrapped("probabilities"), BOX, spaces.Discrete(3)), None, "sgd", "autograd")
    inputs = Inputs(np.zeros((2, 3), np.float32))
    assert (engine.squared_scores(inputs, np.zeros(2, np.int64)) > 0).all()

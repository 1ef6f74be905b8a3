"""`Policy.act` for one observation: machine code takes the actions that torch would take."""

from __future__ import annotations

import copy
import gc
import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

import policygrad as pg
from policygrad.engines.fused import FusedEngine
from policygrad.errors import NonFiniteError
from policygrad.interfaces import Step, Update
from policygrad.losses import traced
from policygrad.policies import Network, Policy, acting, make_policy
from policygrad.types import Batch, Inputs
from tests.helpers import D, networks

BOX = spaces.Box(-2.0, 3.0, (3,))
ACTIONS: dict[str, tuple[spaces.Space[Any], dict[str, Any]]] = {
    "choice": (spaces.Discrete(5, start=2), {}),
    "choices": (spaces.MultiDiscrete([3, 2]), {}),
    "gaussian": (BOX, {}),
    "state-dependent std": (BOX, {"state_dependent_std": True}),
    "squashed": (BOX, {"distribution": "squashed"}),
    "beta": (BOX, {"distribution": "beta"}),
    "gsde": (BOX, {"distribution": "gsde"}),
}
SEEN = spaces.Box(-5.0, 5.0, (4,))


def policy_for(kind: str = "gaussian", seen: spaces.Space[Any] = SEEN, **settings: Any) -> Policy:
    taken, more = ACTIONS[kind]
    arguments: dict[str, Any] = {"hidden": (16, 16), **more, **settings}
    policy = make_policy(seen, taken, Network(**arguments), np.random.default_rng(0))
    with torch.no_grad():
        for parameter in policy.network.parameters():
            # with zeros as biases, or a last layer that is nearly 0, errors would not be seen
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    policy.project()
    return policy


def with_torch(policy: Policy, observation: Any, noise: np.ndarray | None) -> Any:
    """Return the action that torch computes."""
    encoded, _ = policy.encode_checked(observation)
    action = policy.environment_actions(policy.choose(Inputs(encoded), noise))[0]
    return int(action) if isinstance(policy.action_space, spaces.Discrete) else action


def assert_acts_like_torch(
    policy: Policy, monkeypatch: pytest.MonkeyPatch | None = None, n: int = 20
) -> None:
    """Compare greedy and sampled actions for n observations; with monkeypatch, torch must not compute them."""
    policy.observation_space.seed(2)
    seen = [policy.observation_space.sample() for _ in range(n)]
    expected: list[Any] = []
    for i, observation in enumerate(seen):
        noise = policy.draw_noise(np.random.default_rng(i), 1)
        expected.append([with_torch(policy, observation, None), with_torch(policy, observation, noise)])
    if monkeypatch is not None:
        monkeypatch.setattr(Policy, "choose", None)
    for i, (observation, both) in enumerate(zip(seen, expected, strict=True)):
        sampled = policy.act(observation, greedy=False, rng=np.random.default_rng(i))
        for action, other in zip([policy.act(observation, greedy=True), sampled], both, strict=True):
            assert type(action) is type(other)
            if isinstance(action, np.ndarray):
                assert (action.dtype, action.shape) == (other.dtype, other.shape)
            np.testing.assert_allclose(action, other, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("kind", ACTIONS)
@pytest.mark.parametrize("hidden", [(), (16, 16), (8, 70, 3)])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_machine_code_acts_like_torch(
    kind: str, hidden: tuple[int, ...], activation: str, monkeypatch: pytest.MonkeyPatch
):
    assert_acts_like_torch(policy_for(kind, hidden=hidden, activation=activation), monkeypatch)


@pytest.mark.parametrize(
    "seen",
    [
        spaces.Discrete(6, start=1),
        spaces.MultiDiscrete([3, 4]),
        spaces.MultiBinary(3),
        spaces.Dict(place=spaces.Box(-1.0, 1.0, (2,)), room=spaces.Discrete(3)),
    ],
    ids=str,
)
def test_observations_of_other_spaces(seen: spaces.Space[Any], monkeypatch: pytest.MonkeyPatch):
    assert_acts_like_torch(policy_for("choice", seen), monkeypatch)


def test_normalized_observations(monkeypatch: pytest.MonkeyPatch):
    policy = make_policy(
        SEEN,
        BOX,
        Network(),
        np.random.default_rng(0),
        normalization=pg.Normalization(normalize_observations=True),
    )
    policy.set_normalizer(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.1, 1.0, 10.0, 100.0]))
    assert_acts_like_torch(policy, monkeypatch)


def first_layer(policy: Policy) -> Any:
    return next(m for m in policy.modules() if isinstance(m, nn.Linear))


def change_in_place(policy: Policy) -> None:
    with torch.no_grad():
        first_layer(policy).weight.neg_()


def change_outside_of_torch(policy: Policy) -> None:
    first_layer(policy).weight.detach().numpy()[:] *= -1


def train_with_torch(policy: Policy) -> None:
    optimizer = torch.optim.SGD(policy.parameters(), lr=0.5)
    inputs = Inputs(torch.ones(1, 4))  # type: ignore[arg-type]
    policy.distribution.log_prob(policy(inputs), torch.ones(1, 3)).sum().backward()
    optimizer.step()


def load(policy: Policy) -> None:
    policy.load_state_dict({name: -tensor for name, tensor in policy.state_dict().items()})


def replace_a_parameter(policy: Policy) -> None:
    layer = first_layer(policy)
    layer.weight = nn.Parameter(-layer.weight.detach())


def replace_the_memory_of_a_parameter(policy: Policy) -> None:
    weight = first_layer(policy).weight
    weight.data = -weight.data


def replace_a_layer(policy: Policy) -> None:
    layer = copy.deepcopy(first_layer(policy))
    policy.network.network[0] = layer  # type: ignore[operator]
    layer.bias.detach().neg_()


def replace_the_network(policy: Policy) -> None:
    policy.network = policy_for(activation="relu").network


def replace_an_activation(policy: Policy) -> None:
    policy.network.network[1] = nn.Softsign()  # type: ignore[operator]


def exceed_the_bounds_of_the_std(policy: Policy) -> None:
    with torch.no_grad():
        policy.network.log_std.add_(torch.tensor([30.0, -30.0, 0.0]))  # type: ignore[operator]


@pytest.mark.parametrize(
    "change",
    [
        change_in_place,
        change_outside_of_torch,
        train_with_torch,
        load,
        replace_a_parameter,
        replace_the_memory_of_a_parameter,
        replace_a_layer,
        replace_the_network,
        replace_an_activation,
        exceed_the_bounds_of_the_std,
    ],
)
def test_changes_count_at_once(change: Any):
    policy = policy_for()
    observation = np.full(4, 0.5, np.float32)
    before = policy.act(observation, greedy=False, rng=np.random.default_rng(0))
    change(policy)
    assert not np.allclose(policy.act(observation, greedy=False, rng=np.random.default_rng(0)), before)
    assert_acts_like_torch(policy)


def log_prob_loss(s: Any, k: Any) -> Any:
    return -s.log_prob * s.advantage


def test_a_policy_acts_while_it_learns_in_machine_code():
    policy = policy_for("choice")
    engine = FusedEngine(policy, None, "sgd")
    observation = np.ones((1, 4), np.float32)
    before = policy.choose(Inputs(observation), None)
    assert policy.act(observation[0], greedy=True) == policy.environment_actions(before)[0]
    batch = Batch(Inputs(observation), before, {"advantage": -np.ones(1, np.float32)})
    for _ in range(100):
        engine.update(Update(batch, traced(log_prob_loss), {}, Step(1.0, None)))
    assert policy.choose(Inputs(observation), None) != before
    assert_acts_like_torch(policy)


def test_copies_and_files_act_for_themselves(tmp_path: Any):
    policy = policy_for()
    observation = np.full(4, 0.5, np.float32)
    action = policy.act(observation, greedy=True)
    file = io.BytesIO()
    torch.save(policy, file)
    file.seek(0)
    pg.save(policy, tmp_path / "policy")
    copies = [copy.deepcopy(policy), torch.load(file, weights_only=False), pg.load(tmp_path / "policy")]
    change_in_place(policy)
    for other in copies:
        np.testing.assert_allclose(other.act(observation, greedy=True), action, rtol=1e-6)
    assert not np.allclose(policy.act(observation, greedy=True), action)


def test_other_policies_act_with_torch():
    class Own(Policy):
        def choose(self, inputs: Inputs, noise: Any) -> Any:
            return np.full(len(inputs), 3)

    policy = policy_for("choice")
    assert Own(policy.network, SEEN, policy.action_space).act(np.zeros(4)) == 5
    network = nn.Sequential(first_layer(policy_for("choice", hidden=())), nn.Dropout(0.9))
    policy = Policy(network, SEEN, spaces.Discrete(5))
    assert policy.training
    assert len({policy.act(np.ones(4), greedy=True) for _ in range(20)}) == 1
    assert policy.training


def test_forward_hooks_run():
    policy = policy_for()
    policy.act(np.zeros(4))
    calls: list[int] = []
    hook = first_layer(policy).register_forward_hook(lambda *_: calls.append(1))
    policy.act(np.zeros(4))
    assert calls == [1]
    hook.remove()
    policy.act(np.zeros(4))
    assert calls == [1]


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_the_callers_torch_modes_do_not_matter(context: Any):
    policy = policy_for()
    with context():
        action = policy.act(np.ones(4), greedy=True)
        policy.act(np.ones(4), greedy=True)
    np.testing.assert_allclose(action, with_torch(policy, np.ones(4), None), rtol=1e-5)
    assert all(p.requires_grad and not p.is_inference() for p in policy.parameters())


def test_wrong_input_and_wrong_networks_are_reported():
    policy = policy_for("choice")
    for _ in range(2):
        with pytest.raises(ValueError, match=r"observation has shape \(3,\); expected \(4,\)"):
            policy.act(np.zeros(3))
        with pytest.raises(NonFiniteError, match="the observation has a NaN or an infinity"):
            policy.act([0.0, np.nan, 0.0, 0.0])
        policy.act(np.zeros(4))
    with torch.no_grad():
        for parameter in policy.network.parameters():
            parameter[:] = torch.nan
    copied = copy.deepcopy(policy)
    for one, greedy in [(policy, True), (policy, False), (copied, True), (copied, False)]:
        with pytest.raises(NonFiniteError, match="a logit of NaN"):
            one.act(np.zeros(4), greedy=greedy)
    other = policy_for("gaussian")
    other.act(np.zeros(4))
    first_layer(other).bias.detach()[:] = torch.nan
    with pytest.raises(NonFiniteError, match="actions are not finite"):
        other.act(np.zeros(4), greedy=False)
    with pytest.raises(RuntimeError, match="dtype"):
        policy_for().double().act(np.zeros(4))


def test_several_threads_may_act():
    policy = policy_for(hidden=(64, 64))
    observations = np.random.default_rng(0).normal(size=(200, 4)).clip(-5, 5)
    expected = policy.act(observations, greedy=True)
    with ThreadPoolExecutor(4) as pool:
        actions = list(pool.map(lambda x: policy.act(x, greedy=True), [*observations] * 5))
    np.testing.assert_allclose(actions, np.tile(expected, (5, 1)), rtol=1e-4, atol=1e-5)


def test_the_code_of_a_policy_is_freed_with_it():
    gc.collect()
    before = len(acting._prepared)  # pyright: ignore[reportPrivateUsage]
    policy = policy_for()
    policy.act(np.zeros(4))
    assert len(acting._prepared) == before + 1  # pyright: ignore[reportPrivateUsage]
    del policy
    gc.collect()
    assert len(acting._prepared) == before  # pyright: ignore[reportPrivateUsage]


def test_probabilities_are_those_of_the_samples():
    policy, _ = networks("categorical")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, D)).astype(np.float32)
    found = policy.probabilities(x)
    assert found.shape == (3, 3)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(policy.probabilities(x[0]), found[0], rtol=1e-6)
    actions = np.bincount([policy.act(x[0], rng=rng) for _ in range(4_000)], minlength=3) / 4_000
    np.testing.assert_allclose(actions, found[0], atol=0.03)
    with pytest.raises(ValueError, match=r"only Discrete actions have probabilities; these are Box"):
        networks("gaussian")[0].probabilities(x)
    with torch.no_grad():
        next(policy.network.parameters()).fill_(np.nan)
    with pytest.raises(NonFiniteError):
        policy.probabilities(x)

"""The machine code of the autograd engine's minibatch agrees with torch: the loss, log π and H, and the optimizers."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from policygrad.algorithms.algorithm import ALGORITHMS
from policygrad.engines import make_engine
from policygrad.engines.autograd.compiled_optimizer import CompiledOptimizer
from policygrad.engines.autograd.loss_derivatives import by_machine_code, by_torch
from policygrad.engines.autograd.policy_heads import evaluated
from policygrad.engines.autograd.torch_optimizers import TorchOptimizer
from policygrad.errors import CheckpointError
from policygrad.interfaces import Step, Update
from policygrad.losses import OUTPUTS
from policygrad.policies import Policy
from policygrad.types import Inputs
from tests.helpers import BOX, FULL_LOSS, CustomNetwork, D, batch_for, full_coefficients, networks

CPU = torch.device("cpu")
ROWS = 40
OPTIMIZERS = ("adam", "rmsprop", "sgd")


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_machine_code_and_torch_give_the_same_derivatives_of_a_mean_loss(name: str, padded: bool):
    algorithm: Any = ALGORITHMS[name]()
    loss, rng = algorithm.traced_loss, np.random.default_rng(0)
    coefficients = algorithm.coefficient_values(0.0, policy_scale=3.0)
    outputs, columns = (
        rng.standard_normal((n, ROWS)).astype(np.float32) for n in (len(OUTPUTS), len(loss.columns))
    )
    weight = rng.uniform(0.5, 2, ROWS).astype(np.float32) if padded else None
    if weight is not None:
        weight[-10:] = 0
    found, expected = (
        form(CPU, loss, coefficients)(outputs, columns, weight).numpy()
        for form in (by_machine_code, by_torch)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    assert np.abs(found[:, :30]).max() > 0.005
    assert not padded or not found[:, -10:].any()


def choosing(sizes: list[int], masked: bool) -> tuple[Policy, torch.Tensor]:
    """Return a policy whose logits are parameters [ROWS, Σ sizes], and these parameters."""

    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            logits = 3 * torch.randn(ROWS, sum(sizes), generator=torch.Generator().manual_seed(0))
            if masked:
                # the first alternative of every second row; it is never chosen below
                logits[::2, 0] = -torch.inf
            self.logits = nn.Parameter(logits)

        def forward(self, state: torch.Tensor) -> torch.Tensor:
            # policies are tried out with fewer rows
            return self.logits[: len(state)]

    space = spaces.Discrete(sizes[0]) if len(sizes) == 1 else spaces.MultiDiscrete(sizes)
    policy = Policy(Table(), BOX, space)
    return policy, next(policy.parameters())


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("sizes", [[3], [2, 4, 3]])
def test_log_prob_entropy_and_their_derivatives_are_those_of_the_distribution(sizes: list[int], masked: bool):
    policy, logits = choosing(sizes, masked)
    rng = np.random.default_rng(1)
    inputs = Inputs(np.zeros((ROWS, D), np.float32))
    action = rng.integers(1, sizes, (ROWS, len(sizes)))
    if len(sizes) == 1:
        action = action[:, 0]
    slopes = torch.from_numpy(rng.standard_normal((2, ROWS)).astype(np.float32))
    found = evaluated(policy, inputs, action, CPU)
    [(root, slope)] = found.pull_back(slopes, OUTPUTS)
    root.backward(slope)
    gradient = logits.grad
    assert gradient is not None
    exact = logits.detach().double().requires_grad_()
    parameters = policy.distribution.normalized(exact)  # type: ignore[attr-defined]
    outputs = (
        policy.distribution.log_prob(parameters, torch.from_numpy(action)),
        policy.distribution.entropy(parameters),
    )
    torch.autograd.backward(outputs, tuple(slopes.double()))
    assert exact.grad is not None
    np.testing.assert_allclose(found.log_prob, outputs[0].detach(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.entropy, outputs[1].detach(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, exact.grad, rtol=1e-5, atol=1e-6)
    assert not masked or not gradient[::2, 0].any()


@pytest.mark.parametrize("bad", [-1, 3])
def test_an_action_that_is_not_an_alternative_is_named(bad: int):
    policy, value = networks("categorical")
    batch = batch_for(policy)
    batch.action[7] = bad
    engine = make_engine(policy, value, "adam", "autograd")
    with pytest.raises(ValueError, match=rf"the action of sample 7 is {bad}; .* among \[3\] alternatives"):
        engine.update(Update(batch, FULL_LOSS, full_coefficients(), Step(0.1, 0.1)))


def optimized(kind: type[Any], name: str, steps: int, state: Any = None) -> tuple[np.ndarray, Any]:
    """Return parameters after some steps, and the optimizer's state; the second parameter has few gradients."""
    rng = np.random.default_rng(0)
    parameters = [
        nn.Parameter(torch.from_numpy(rng.standard_normal(shape).astype(np.float32)))
        for shape in ((4, 3), (5,), ())
    ]
    optimizer = kind(name, parameters)
    if state is not None:
        optimizer.restore(state)
    for i in range(steps):
        for p in parameters:
            p.grad = torch.from_numpy(np.asarray(rng.standard_normal(p.shape), np.float32))
        if i % 3:
            parameters[1].grad = None
        optimizer.norm()
        optimizer.step(0.01, 0.5)
    return np.concatenate([p.detach().numpy().ravel() for p in parameters]), optimizer.state()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_compiled_optimizer_takes_the_steps_of_torch(name: str):
    ends, states = zip(
        *(optimized(kind, name, 20) for kind in (CompiledOptimizer, TorchOptimizer)), strict=True
    )
    np.testing.assert_allclose(*ends, rtol=1e-5, atol=1e-6)
    assert states[0].keys() == states[1].keys()
    for i, entries in states[0].items():
        assert entries.keys() == states[1][i].keys()
        for key, array in entries.items():
            np.testing.assert_allclose(array, states[1][i][key], rtol=1e-5, atol=1e-7)
    # either continues from the state of the other
    continued = [
        optimized(kind, name, 7, state)[0]
        for kind, state in zip((CompiledOptimizer, TorchOptimizer), states[::-1], strict=True)
    ]
    np.testing.assert_allclose(*continued, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda state: state.update({"3": state["0"]}), "expected 3 parameters"),
        (lambda state: state["0"].pop("exp_avg"), "'exp_avg'"),
        (lambda state: state["0"].update(exp_avg=np.zeros(3, np.float32)), "exp_avg of parameter 0"),
    ],
)
def test_the_state_of_another_optimizer_is_refused(spoil: Any, message: str):
    _, state = optimized(CompiledOptimizer, "adam", 1)
    spoil(state)
    with pytest.raises(CheckpointError, match=message):
        optimized(CompiledOptimizer, "adam", 0, state)


def test_the_norm_is_that_of_all_gradients():
    parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(1))]
    parameters[0].grad, parameters[2].grad = torch.tensor([2.0, 3.0]), torch.tensor([6.0])
    assert [kind("sgd", parameters).norm() for kind in (CompiledOptimizer, TorchOptimizer)] == [7.0, 7.0]


def updated(policy: Policy, value: nn.Module, rate: float = 0.1) -> np.ndarray:
    """Return the parameters of the value network after a step of SGD with a gradient that is clipped."""
    engine = make_engine(policy, value, "sgd", "autograd")
    engine.update(Update(batch_for(policy), FULL_LOSS, full_coefficients(), Step(rate, rate, 0.1)))
    return np.concatenate([p.detach().numpy().ravel() for p in value.parameters()])


@pytest.mark.draws_globally
def test_parameters_in_another_layout_are_optimized_by_torch():
    policy, value = Policy(CustomNetwork(), BOX, spaces.Discrete(3)), nn.Linear(D, 1)
    value.weight.data = torch.arange(2.0 * D).reshape(D, 2)[:, :1].T
    assert not value.weight.is_contiguous()
    plain = copy.deepcopy(value)
    plain.weight.data = plain.weight.data.contiguous()
    before = np.concatenate([p.detach().numpy().ravel() for p in value.parameters()])
    found = updated(copy.deepcopy(policy), value)
    np.testing.assert_allclose(found, updated(policy, plain), rtol=1e-6)
    assert np.abs(found - before).max() > 1e-3


@pytest.mark.draws_globally
def test_a_network_may_replace_the_memory_of_a_parameter_while_it_learns():
    class Normalized(nn.Linear):
        def forward(self, state: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
            self.weight.data = self.weight.data / self.weight.data.norm()
            return super().forward(state)

    policy, value = Policy(CustomNetwork(), BOX, spaces.Discrete(3)), Normalized(D, 1)
    engine = make_engine(policy, value, "sgd", "autograd")
    update = Update(batch_for(policy), FULL_LOSS, full_coefficients(), Step(None, 0.1))
    engine.update(update)
    before = value.weight.detach().clone()
    engine.update(update)
    assert (value.weight - before / before.norm()).abs().max() > 1e-3


@pytest.mark.parametrize("change", [lambda data: data.double(), lambda data: data.T])
def test_a_parameter_that_changes_its_type_or_layout_is_refused(change: Any):
    parameter = nn.Parameter(torch.zeros(2, 3))
    optimizer = CompiledOptimizer("sgd", [parameter])
    parameter.data = change(parameter.data)
    with pytest.raises(TypeError, match="contiguous float32 memory of the CPU"):
        optimizer.norm()


@pytest.mark.draws_globally
def test_a_layer_of_both_networks_takes_a_step_at_each_of_their_rates():
    """The gradient of such a layer is that of the whole loss, for both optimizers."""
    network = CustomNetwork()
    policy = Policy(network, BOX, spaces.Discrete(3))
    layer = network.layers[1]
    value = nn.Sequential(network.layers[0], layer, nn.Tanh(), nn.Linear(16, 1))
    engine = make_engine(policy, value, "sgd", "autograd")
    batch, before = batch_for(policy), layer.weight.detach().clone()
    _, gradient = engine.gradient(batch, FULL_LOSS, full_coefficients())
    of_weight = gradient[2 * D :][: layer.weight.numel()].reshape(layer.weight.shape)
    engine.update(Update(batch, FULL_LOSS, full_coefficients(), Step(0.25, 0.5)))
    np.testing.assert_allclose(before - layer.weight.detach(), 0.75 * of_weight, atol=1e-6)
    assert np.abs(of_weight).max() > 1e-3


@pytest.mark.draws_globally
def test_a_network_without_learnable_parameters_is_refused():
    policy, value = networks("categorical")
    frozen = nn.Sequential(value).requires_grad_(False)
    with pytest.raises(ValueError, match="the value network has no parameter that requires gradients"):
        make_engine(policy, frozen, "adam", "autograd")

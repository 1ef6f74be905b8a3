"""Prepares torch networks for compiled code, which uses their parameters in place and needs workspaces."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from policygrad.engines.fused import matmul, mlp, update_loop
from policygrad.engines.fused.net import Net, Placed
from policygrad.policies import (
    MLP,
    PerceptronPolicy,
    SharedValueNetwork,
    ValueNetwork,
    flat_parameters,
)
from policygrad.types import F32

ACTIVATIONS = {"relu": matmul.RELU, "tanh": matmul.TANH}


def make_nets(policy: Any, value: nn.Module | None) -> tuple[Placed, Placed]:
    """Return the (policy, value network) for compiled code. Without V(s), the second is a placeholder."""
    actor = make_net(policy, policy.network)
    if isinstance(value, SharedValueNetwork):
        return actor, _on_trunk_of(actor, make_net(value, value.head))
    critic = make_net(value, value.network) if isinstance(value, ValueNetwork) else make_net(None, None)
    return actor, critic


def own_workspaces(actor: Placed, critic: Placed) -> tuple[Placed, Placed]:
    """Return `own_workspace` of each network; if they share hidden layers, the results share them with each other."""
    other_actor, other_critic = own_workspace(actor), own_workspace(critic)
    if critic.net.trunk:
        other_critic = _on_trunk_of(other_actor, other_critic)
    return other_actor, other_critic


def _on_trunk_of(actor: Placed, critic: Placed) -> Placed:
    return Placed(critic.net._replace(trunk=actor.address))


def make_net(module: nn.Module | None, perceptron: MLP | None) -> Placed:
    """Return a network for compiled code that shares the memory of the torch parameters; for None, a placeholder."""
    sizes = perceptron.sizes if perceptron is not None else (1, 1)
    parameters: F32 = (
        flat_parameters(module).numpy()
        if module is not None
        else np.zeros(mlp.parameter_count(sizes), np.float32)
    )
    bounds = module.limits if isinstance(module, PerceptronPolicy) else (0.0, 0.0)
    product, ahead_pass, back_pass = mlp.addresses()
    net = Net(
        parameters=parameters,
        ahead=len(parameters) - mlp.parameter_count(sizes),
        sizes=np.array(sizes, np.int64),
        activation=ACTIVATIONS[perceptron.activation] if perceptron is not None else matmul.TANH,
        transposed=np.empty(mlp.parameter_count(sizes), np.float32),
        work=np.empty(mlp.workspace_size(sizes, update_loop.ROWS), np.float32),
        gradient=np.zeros_like(parameters),
        first=np.zeros_like(parameters),
        second=np.zeros_like(parameters),
        count=np.zeros(1, np.int64),
        lowest=bounds[0],
        highest=bounds[1],
        product=product,
        ahead_pass=ahead_pass,
        back_pass=back_pass,
        trunk=0,
    )
    return Placed(net)


def own_workspace(placed: Placed) -> Placed:
    """Return the same network and optimizer state with a separate gradient and workspace, for another thread."""
    separate = {name: np.empty_like(getattr(placed.net, name)) for name in ("transposed", "work", "gradient")}
    return Placed(placed.net._replace(**separate))


def with_other_parameters(placed: Placed) -> Placed:
    """Return a network of the same form with separate memory; its parameters are not yet written."""
    net = own_workspace(placed).net
    return Placed(net._replace(parameters=np.empty_like(net.parameters)))

"""Prepares torch networks for compiled code, which uses their parameters in place and needs workspaces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from policygrad.engines import sequential
from policygrad.engines.fused import layers, matmul, mlp, update_loop
from policygrad.engines.fused.net import ACTIVATION, COLUMNS, COPY, LINEAR, NORM, START, Net, Placed
from policygrad.engines.fusible import sequential_of
from policygrad.engines.gradient_noise import GradientNoise, measure
from policygrad.engines.sequential import Layer, layers_of
from policygrad.policies import PerceptronPolicy, SharedValueNetwork, flat_parameters
from policygrad.types import F32, I64

KINDS = {sequential.LINEAR: LINEAR, sequential.NORM: NORM, "copy": COPY}
FUSED = {"relu": matmul.RELU, "tanh": matmul.TANH}
PLACEHOLDER = [Layer(sequential.LINEAR, 1, 1, 2, has_bias=True)]


def make_nets(
    policy: nn.Module, value: nn.Module | None, noise: GradientNoise | None = None
) -> tuple[Placed, Placed]:
    """Return the (policy, value network) for compiled code. Without V(s), the second is a placeholder."""
    actor, critic = make_net(policy, noise), make_net(value)
    return actor, _on_trunk_of(actor, critic) if isinstance(value, SharedValueNetwork) else critic


def own_workspaces(actor: Placed, critic: Placed) -> tuple[Placed, Placed]:
    """Return `own_workspace` of each network; if they share hidden layers, the results share them with each other."""
    other_actor, other_critic = own_workspace(actor), own_workspace(critic)
    if critic.net.trunk:
        other_critic = _on_trunk_of(other_actor, other_critic)
    return other_actor, other_critic


def _on_trunk_of(actor: Placed, critic: Placed) -> Placed:
    return Placed(critic.net._replace(trunk=actor.address))


def make_net(module: nn.Module | None, noise: GradientNoise | None = None) -> Placed:
    """Return a network for compiled code that shares the memory of the torch parameters; for None, a placeholder."""
    described = PLACEHOLDER if module is None else layers_of(sequential_of(module))
    parameters: F32 = np.zeros(2, np.float32) if module is None else flat_parameters(module).numpy()
    bounds = module.limits if isinstance(module, PerceptronPolicy) else (0.0, 0.0)
    product, ahead_pass, back_pass = mlp.addresses()
    ahead = len(parameters) - sum(layer.parameters for layer in described)
    described, table, stored = _table(described, ahead)
    sizes = [described[0].fan_in, *(layer.fan_out for layer in described)]
    noise = GradientNoise(0) if noise is None else noise
    net = Net(
        parameters=parameters,
        ahead=ahead,
        sizes=np.array(sizes, np.int64),
        layers=table,
        constants=np.array([layer.constant for layer in described], np.float32),
        stored=np.empty(stored, np.float32),
        work=np.empty(mlp.workspace_size(sizes, int(table[-1, START]), update_loop.ROWS), np.float32),
        gradient=np.zeros_like(parameters),
        first=np.zeros_like(parameters),
        second=np.zeros_like(parameters),
        count=np.zeros(1, np.int64),
        lowest=float(bounds[0]),
        highest=float(bounds[1]),
        product=product,
        ahead_pass=ahead_pass,
        back_pass=back_pass,
        previous=noise.previous,
        noise=noise.numbers,
        measure=measure.address,
        trunk=0,
    )
    return Placed(net)


def _table(described: Sequence[Layer], ahead: int) -> tuple[list[Layer], I64, int]:
    """Return the layers that compiled code runs, `Net.layers` for them, and the size of `Net.stored`.

    A linear layer applies the activation after it itself if it can, which is so if the next layer is linear as well:
    its backward pass then computes f′ from the value of f.
    """
    if described[0].kind != sequential.LINEAR:
        described = [Layer("copy", described[0].fan_in, described[0].fan_in), *described]
    kept, rows = list[Layer](), list[Any]()
    start, first, stored, i = 0, ahead, 0, 0
    while i < len(described):
        layer, kind = described[i], KINDS.get(described[i].kind, ACTIVATION)
        following = [other.kind for other in described[i + 1 : i + 3]]
        fused = matmul.IDENTITY
        if kind == LINEAR and following[1:] == [sequential.LINEAR]:
            fused = FUSED.get(following[0], matmul.IDENTITY)
        passes = layers.addresses(layer.kind) if kind in (ACTIVATION, NORM) else (0, 0)
        rows.append((kind, fused, start, first, layer.parameters, layer.has_bias, stored, *passes))
        kept.append(layer)
        start, first = start + layer.fan_out + (kind == NORM), first + layer.parameters
        stored += {LINEAR: (layer.fan_in + 1) * layer.fan_out, NORM: 2 * layer.fan_out}.get(kind, 0)
        i += 1 if fused == matmul.IDENTITY else 2
    rows.append((0, 0, start, *[0] * (COLUMNS - 3)))
    return kept, np.array(rows, np.int64), stored


def own_workspace(placed: Placed) -> Placed:
    """Return the same network and optimizer state with a separate gradient and workspace, for another thread."""
    separate = {name: np.empty_like(getattr(placed.net, name)) for name in ("stored", "work", "gradient")}
    return Placed(placed.net._replace(**separate))


def with_other_parameters(placed: Placed) -> Placed:
    """Return a network of the same form with separate memory; its parameters are not yet written."""
    net = own_workspace(placed).net
    return Placed(net._replace(parameters=np.empty_like(net.parameters)))

"""torch's networks put in place for compiled code, with all that computing them needs beside their parameters."""

from __future__ import annotations

import numpy as np
from torch import nn

from policygrad.engines.fused import loop, matmul, mlp
from policygrad.engines.fused.net import Net, Placed
from policygrad.policies import MLP, GaussianPolicy, GSDEPolicy, flat_parameters
from policygrad.types import F32

ACTIVATIONS = {"relu": matmul.RELU, "tanh": matmul.TANH}


def make_net(module: nn.Module | None, perceptron: MLP | None) -> Placed:
    """A network's parameters in place, with all that an engine needs beside them; of None a stand-in."""
    sizes = perceptron.sizes if perceptron is not None else (1, 1)
    parameters: F32 = (
        flat_parameters(module).numpy()
        if module is not None
        else np.zeros(mlp.parameter_count(sizes), np.float32)
    )
    bounds = module.limits if isinstance(module, GaussianPolicy | GSDEPolicy) else (0.0, 0.0)
    product, ahead_pass, back_pass = mlp.addresses()
    net = Net(
        parameters=parameters,
        ahead=len(parameters) - mlp.parameter_count(sizes),
        sizes=np.array(sizes, np.int64),
        activation=ACTIVATIONS[perceptron.activation] if perceptron is not None else matmul.TANH,
        transposed=np.empty(mlp.parameter_count(sizes), np.float32),
        work=np.empty(mlp.workspace_size(sizes, loop.ROWS), np.float32),
        gradient=np.zeros_like(parameters),
        first=np.zeros_like(parameters),
        second=np.zeros_like(parameters),
        count=np.zeros(1, np.int64),
        lowest=bounds[0],
        highest=bounds[1],
        product=product,
        ahead_pass=ahead_pass,
        back_pass=back_pass,
    )
    return Placed(net)


def own_room(placed: Placed) -> Placed:
    """The same network and optimiser state, with a gradient and a workspace apart: for another thread."""
    apart = {name: np.empty_like(getattr(placed.net, name)) for name in ("transposed", "work", "gradient")}
    return Placed(placed.net._replace(**apart))


def with_other_parameters(placed: Placed) -> Placed:
    """A network of the same form in a room of its own, its parameters still to be written."""
    net = own_room(placed).net
    return Placed(net._replace(parameters=np.empty_like(net.parameters)))

"""The multilayer perceptron that all networks of this package use, and its initialization."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import nn

from policygrad._support.checks import check_choice
from policygrad._support.isolation import in_ordinary_torch
from policygrad.policies.flat import flat_parameters

Activation = Literal["relu", "tanh", "silu", "gelu", "elu", "leaky_relu"]
Initialization = Literal["uniform", "orthogonal"]

ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
}
"""The activations of an `MLP`, with the settings that they have in torch by default."""
_SETTINGS = {kind: kind().extra_repr() for kind in ACTIVATIONS.values()}
"""These settings in words, such as the α of an ELU."""


class MLP(nn.Sequential):
    """Linear layers with an activation between them: [..., input_size] -> [..., output_size].

    Args:
        sizes: the sizes of the input, of each hidden layer, and of the output.
        activation: the activation between the layers.
        init: see `Network.init`.
        gain: factor on the weights of the last layer with `orthogonal` initialization.
        rng: generator for the weights. If it is None, torch's global generator provides a seed, as for torch's own
            layers.

    Raises:
        ValueError: there is no such activation or initialization.
    """

    @in_ordinary_torch
    def __init__(
        self,
        sizes: Sequence[int],
        activation: Activation = "relu",
        init: Initialization = "uniform",
        gain: float = 1.0,
        rng: np.random.Generator | None = None,
    ) -> None:
        check_choice("activation", activation, Activation)
        check_choice("init", init, Initialization)
        rng = rng if rng is not None else _generator_from_torch()
        layers: list[nn.Module] = []
        for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            last = i == len(sizes) - 2
            weight, bias = _initial(init, fan_in, fan_out, gain if last else math.sqrt(2), rng)
            layers.append(_linear(weight, bias))
            if not last:
                layers.append(ACTIVATIONS[activation]())
        super().__init__(*layers)
        self.sizes = tuple(int(size) for size in sizes)
        self.activation: Activation = activation
        flat_parameters(self)


def is_plain(module: object) -> bool:
    """Return True for an `MLP` as its constructor makes it: not a subclass, and with no layer added or replaced."""
    if type(module) is not MLP:
        return False
    activation = ACTIVATIONS[module.activation]
    expected = [nn.Linear, activation] * (len(module.sizes) - 1)
    shapes = [tuple(m.weight.shape[::-1]) for m in module if isinstance(m, nn.Linear)]
    settings = {m.extra_repr() for m in module if type(m) is activation}
    return (
        [type(m) for m in module] == expected[:-1]
        and shapes == list(pairwise(module.sizes))
        and settings <= {_SETTINGS[activation]}
    )


def _generator_from_torch() -> np.random.Generator:
    return np.random.default_rng(int(torch.randint(2**62, (), dtype=torch.int64, device="cpu").item()))


def _linear(weight: np.ndarray, bias: np.ndarray) -> nn.Linear:
    """Return a layer with these weights; the constructor of torch would draw from its global generator."""
    linear = nn.Linear.__new__(nn.Linear)
    nn.Module.__init__(linear)
    linear.out_features, linear.in_features = weight.shape
    linear.weight = nn.Parameter(torch.from_numpy(weight).float())
    linear.bias = nn.Parameter(torch.from_numpy(bias).float())
    return linear


def _initial(
    init: Initialization, fan_in: int, fan_out: int, gain: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the weight [fan_out, fan_in] and the bias [fan_out] of one layer.

    For `orthogonal` see Saxe et al. 2014, https://arxiv.org/abs/1312.6120. The signs of the QR factors are fixed so
    that the matrix is uniformly distributed over the orthogonal ones.
    """
    if init == "uniform":
        bound = 1 / math.sqrt(fan_in)
        return rng.uniform(-bound, bound, (fan_out, fan_in)), rng.uniform(-bound, bound, fan_out)
    tall = rng.standard_normal((max(fan_in, fan_out), min(fan_in, fan_out)))
    q, r = np.linalg.qr(tall)
    q = q * np.sign(np.diag(r))
    return gain * (q if fan_out >= fan_in else q.T), np.zeros(fan_out)

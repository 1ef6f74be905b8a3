"""The perceptron under every network here, and how its weights begin."""

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

Activation = Literal["relu", "tanh"]
Initialisation = Literal["uniform", "orthogonal"]


class MLP(nn.Sequential):
    """Linear layers with an activation between them: [..., input_size] -> [..., output_size].

    Args:
        sizes: input, hidden widths, output.
        activation: between the layers.
        init: see `Network.init`.
        gain: factor on the last layer's weights under `orthogonal`.
        rng: where the weights come from; None draws a seed from torch's global generator, as torch's own
            layers do.

    Raises:
        ValueError: there is no such activation or initialization.
    """

    @in_ordinary_torch
    def __init__(
        self,
        sizes: Sequence[int],
        activation: Activation = "relu",
        init: Initialisation = "uniform",
        gain: float = 1.0,
        rng: np.random.Generator | None = None,
    ) -> None:
        check_choice("activation", activation, Activation)
        check_choice("init", init, Initialisation)
        rng = rng if rng is not None else _generator_from_torch()
        layers: list[nn.Module] = []
        for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            last = i == len(sizes) - 2
            weight, bias = _initial(init, fan_in, fan_out, gain if last else math.sqrt(2), rng)
            layers.append(_linear(weight, bias))
            if not last:
                layers.append(nn.ReLU() if activation == "relu" else nn.Tanh())
        super().__init__(*layers)
        self.sizes = tuple(int(size) for size in sizes)
        self.activation: Activation = activation
        flat_parameters(self)


def is_plain(module: object) -> bool:
    """Whether it is an `MLP` and as one is made: a subclass may compute anything, and layers may have been added."""
    if type(module) is not MLP:
        return False
    activation = nn.ReLU if module.activation == "relu" else nn.Tanh
    expected = [nn.Linear, activation] * (len(module.sizes) - 1)
    shapes = [tuple(m.weight.shape[::-1]) for m in module if isinstance(m, nn.Linear)]
    return [type(m) for m in module] == expected[:-1] and shapes == list(pairwise(module.sizes))


def _generator_from_torch() -> np.random.Generator:
    return np.random.default_rng(int(torch.randint(2**62, (), dtype=torch.int64, device="cpu").item()))


def _linear(weight: np.ndarray, bias: np.ndarray) -> nn.Linear:
    """A layer of these weights; torch's own constructor would draw from its global generator."""
    linear = nn.Linear.__new__(nn.Linear)
    nn.Module.__init__(linear)
    linear.out_features, linear.in_features = weight.shape
    linear.weight = nn.Parameter(torch.from_numpy(weight).float())
    linear.bias = nn.Parameter(torch.from_numpy(bias).float())
    return linear


def _initial(
    init: Initialisation, fan_in: int, fan_out: int, gain: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Weight [fan_out, fan_in] and bias [fan_out] of one layer.

    Orthogonal: Saxe et al. 2014, https://arxiv.org/abs/1312.6120; the QR factors' signs are fixed so that the
    matrix is uniform over the orthogonal ones.
    """
    if init == "uniform":
        bound = 1 / math.sqrt(fan_in)
        return rng.uniform(-bound, bound, (fan_out, fan_in)), rng.uniform(-bound, bound, fan_out)
    tall = rng.standard_normal((max(fan_in, fan_out), min(fan_in, fan_out)))
    q, r = np.linalg.qr(tall)
    q = q * np.sign(np.diag(r))
    return gain * (q if fan_out >= fan_in else q.T), np.zeros(fan_out)

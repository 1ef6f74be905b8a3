"""The layers of an `nn.Sequential` that the fused engine supports, as data, and why others are not supported."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import nn

LINEAR, NORM = "linear", "layer norm"
ACTIVATIONS: dict[type[nn.Module], str] = {
    nn.ReLU: "relu",
    nn.Tanh: "tanh",
    nn.SiLU: "silu",
    nn.GELU: "gelu",
    nn.ELU: "elu",
    nn.LeakyReLU: "leaky_relu",
}
"""The supported activations, by their names in `Network`; a GELU's approximation by tanh is `gelu_tanh`."""


class Layer(NamedTuple):
    """A layer that maps [B, fan_in] to [B, fan_out]."""

    kind: str
    """`LINEAR`, `NORM`, or the name of an activation."""
    fan_in: int
    fan_out: int
    parameters: int = 0
    """Number of parameters: the weight, then the bias, if the layer has them."""
    has_bias: bool = False
    constant: float = 0.0
    """α of an ELU, the negative slope of a LeakyReLU, or ε of a layer normalization."""


class UnsupportedNetworkError(ValueError):
    """The fused engine does not support a network. The message is a predicate, such as "has frozen parameters"."""


def layers_of(network: nn.Sequential) -> list[Layer]:
    """Return the layers of a network, without those that change nothing.

    Raises:
        UnsupportedNetworkError: a layer is not supported, the network was modified by hooks or in other ways, or its
            parameters are frozen, shared between layers, not float32 or not on the CPU.
    """
    modules = list(_flattened(network))
    sized = [m for m in modules if isinstance(m, nn.Linear | nn.LayerNorm)]
    if not any(isinstance(m, nn.Linear) for m in sized):
        raise UnsupportedNetworkError("has no Linear layer")
    width = sized[0].in_features if isinstance(sized[0], nn.Linear) else sized[0].normalized_shape[-1]
    layers = list[Layer]()
    for module in modules:
        layer = _layer(module, width)
        if layer.fan_in != width:
            raise UnsupportedNetworkError(
                f"has a {type(module).__name__} of {layer.fan_in} numbers after a layer that returns {width}"
            )
        width = layer.fan_out
        layers.append(layer)
    expected = [p for m in sized for p in (m.weight, m.bias) if p is not None]  # pyright: ignore[reportUnnecessaryComparison]
    if [id(p) for p in network.parameters()] != [id(p) for p in expected]:
        raise UnsupportedNetworkError(
            "has layers that share parameters, or parameters that belong to no layer"
        )
    return layers


def check_unmodified(network: nn.Module) -> None:
    """Raise UnsupportedNetworkError for hooks, and for parameters that are frozen, not float32 or not on the CPU."""
    for module in network.modules():
        own = vars(module)
        if any(own.get(name) for name in _HOOKS) or "forward" in own:
            raise UnsupportedNetworkError(
                f"has a {type(module).__name__} with hooks or with a forward of its own"
            )
    for parameter in network.parameters():
        if parameter.device.type != "cpu":
            raise UnsupportedNetworkError(f"has parameters on {parameter.device}, not on the CPU")
        if not parameter.requires_grad:
            raise UnsupportedNetworkError("has frozen parameters")
        if parameter.dtype != torch.float32:
            raise UnsupportedNetworkError(f"has parameters of dtype {parameter.dtype}, not torch.float32")
        if any(getattr(parameter, name, None) for name in _TENSOR_HOOKS):
            raise UnsupportedNetworkError("has parameters with hooks")


_FORWARD = ("__call__", "forward", "__iter__")
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_TENSOR_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")


def _flattened(network: nn.Sequential) -> Iterator[nn.Module]:
    """Yield the modules that compute something, in order, those of nested Sequentials included."""
    kind = type(network)
    if any(getattr(kind, name) is not getattr(nn.Sequential, name) for name in _FORWARD):
        raise UnsupportedNetworkError(f"has a {kind.__name__} with a forward of its own")
    for module in network:
        if isinstance(module, nn.Sequential):
            yield from _flattened(module)
        elif not (type(module) is nn.Identity or _keeps_rows(module)):
            yield module


def _keeps_rows(module: nn.Module) -> bool:
    """Return True for a Flatten that leaves [B, D] as it is."""
    return type(module) is nn.Flatten and module.start_dim == 1 and module.end_dim in (1, -1)


def _layer(module: nn.Module, width: int) -> Layer:
    """Describe a layer; an activation has as many outputs as the layer before it, which is `width`."""
    if type(module) is nn.Linear:
        fan_in, fan_out, has_bias = module.in_features, module.out_features, module.bias is not None  # pyright: ignore[reportUnnecessaryComparison]
        return Layer(LINEAR, fan_in, fan_out, (fan_in + has_bias) * fan_out, has_bias)
    if type(module) is nn.LayerNorm:
        if len(module.normalized_shape) != 1:
            raise UnsupportedNetworkError(
                f"has a LayerNorm over {len(module.normalized_shape)} axes, not one"
            )
        if module.weight is None and module.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
            raise UnsupportedNetworkError("has a LayerNorm with a bias but without a weight")
        size, has_bias = module.normalized_shape[0], module.bias is not None  # pyright: ignore[reportUnnecessaryComparison]
        has_gain = module.weight is not None  # pyright: ignore[reportUnnecessaryComparison]
        return Layer(NORM, size, size, (has_gain + has_bias) * size, has_bias, module.eps)
    name = ACTIVATIONS.get(type(module))
    if name is None:
        raise UnsupportedNetworkError(f"has a layer {type(module).__name__}, which has no machine code")
    if isinstance(module, nn.GELU) and module.approximate == "tanh":
        name = "gelu_tanh"
    constant = getattr(module, "alpha", getattr(module, "negative_slope", 0.0))
    return Layer(name, width, width, constant=float(constant))

"""The parts of a network's arrays that belong to one of its layers."""

# pyright: basic
# compiled code: `net` is a `Net`, and all results are float32 vectors

from __future__ import annotations

from policygrad._support.compiling import inlined
from policygrad._support.views import as_vector
from policygrad.engines.fused.net import COUNT, FIRST, HAS_BIAS, KIND, LINEAR, START, STORED


@inlined
def flat(x):
    """Return a contiguous matrix [B, D] as a vector [B · D]."""
    return as_vector(x, x.size)


@inlined
def weights_of(net, layer):
    """Return the number of weights of a layer that is linear or a normalization."""
    return net.sizes[layer + 1] * (net.sizes[layer] if net.layers[layer, KIND] == LINEAR else 1)


@inlined
def stored_of(net, layer):
    """Return the part of `net.stored` that begins with the weight of a layer; its bias follows."""
    return net.stored[net.layers[layer, STORED] :]


@inlined
def parameters_of(net, layer, vector):
    """Return the part of a vector [P], such as the gradient, that belongs to the parameters of a layer."""
    first = net.layers[layer, FIRST]
    return vector[first : first + net.layers[layer, COUNT]]


@inlined
def gain_gradient(net, layer):
    """Return the gradient of a normalization's γ; if there is none, a part of the workspace that is not read."""
    width = net.sizes[layer + 1]
    if net.layers[layer, COUNT] > 0:
        return parameters_of(net, layer, net.gradient)[:width]
    return net.work[net.work.size - width :]


@inlined
def bias_gradient(net, layer):
    """Return the gradient of a layer's bias; if there is none, a part of the workspace that is not read."""
    width = net.sizes[layer + 1]
    if net.layers[layer, HAS_BIAS]:
        stop = net.layers[layer, FIRST] + net.layers[layer, COUNT]
        return net.gradient[stop - width : stop]
    return net.work[net.work.size - width :]


@inlined
def inputs_of(x, net, layer, rows):
    """Return the inputs of a layer, [rows · fan_in], which are x for the first layer."""
    return flat(x) if layer == 0 else outputs_of(net, layer - 1, rows)


@inlined
def outputs_of(net, layer, rows):
    """Return the outputs of a layer in the workspace, [rows · fan_out]."""
    start = rows * net.layers[layer, START]
    return net.work[start : start + rows * net.sizes[layer + 1]]


@inlined
def scales_of(net, layer, rows):
    """Return the scale of each sample [rows], which the normalization of a layer has left in the workspace."""
    start = rows * (net.layers[layer, START] + net.sizes[layer + 1])
    return net.work[start : start + rows]


@inlined
def scratch_of(net, rows):
    """Return the part of the workspace after the layers' outputs."""
    return net.work[rows * net.layers[net.sizes.size - 1, START] :]

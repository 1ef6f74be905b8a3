"""The engine for any torch module on any device, in which torch computes the gradients of the networks."""

from policygrad.engines.autograd.engine import AutogradEngine

__all__ = ["AutogradEngine"]

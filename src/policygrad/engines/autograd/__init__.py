"""The engine for any torch module on any device, in which torch differentiates the loss."""

from policygrad.engines.autograd.engine import AutogradEngine

__all__ = ["AutogradEngine"]

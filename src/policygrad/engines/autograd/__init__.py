"""The engine for any torch module on any device: torch differentiates the loss itself."""

from policygrad.engines.autograd.engine import AutogradEngine

__all__ = ["AutogradEngine"]

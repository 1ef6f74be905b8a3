"""MLPs, action distributions and optimizers as machine code. Importing compiles it, or loads it from the cache."""

from policygrad.engines.fused.engine import FusedEngine

__all__ = ["FusedEngine"]

"""MLPs, their heads and their optimisers as machine code; importing it compiles it, or reads the cache."""

from policygrad.engines.fused.engine import FusedEngine

__all__ = ["FusedEngine"]

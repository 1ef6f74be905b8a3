"""Policy-gradient reinforcement learning: correct, fast, and a pleasure to read.

>>> import policygrad as pg
>>> run = pg.train("CartPole-v1", "reinforce", seed=0, steps=2_000)
>>> pg.evaluate(run.policy, "CartPole-v1", episodes=10).mean > 0
True
"""

from typing import Any

import lazy_loader

from policygrad._support.garbage_pause import collection_paused
from policygrad._support.providers import provide

__version__ = "0.1.0"

# __init__.pyi lists the names; a name and its dependencies, such as PyTorch and Numba, are imported on first use
_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

provide(chooser_of="policygrad.engines.fused.chooser:chooser_of")


def __getattr__(name: str) -> Any:
    with collection_paused():
        return _load(name)

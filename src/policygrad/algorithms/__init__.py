"""The algorithms: each a typed configuration, what it takes from a rollout, and its three numbers a sample."""

import difflib
from typing import TypeAlias

from policygrad.algorithms.reinforce import Reinforce

Algorithm: TypeAlias = Reinforce
"""Any of the algorithms' configurations."""

ALGORITHMS: dict[str, type[Algorithm]] = {"reinforce": Reinforce}
"""By the name that `train` and the command line take."""


def algorithm_class(name: str) -> type[Algorithm]:
    """The configuration class of a name; ValueError with the nearest names if there is none."""
    if name in ALGORITHMS:
        return ALGORITHMS[name]
    near = difflib.get_close_matches(name.lower(), ALGORITHMS, n=3, cutoff=0.4) or list(ALGORITHMS)
    raise ValueError(f"unknown algorithm {name!r}: did you mean {' or '.join(near)}?")


__all__ = ["ALGORITHMS", "Algorithm", "Reinforce", "algorithm_class"]

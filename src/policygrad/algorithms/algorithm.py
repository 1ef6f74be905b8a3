"""The interface of algorithms, and the registry of their names."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

from policygrad.interfaces import Collector, Engine
from policygrad.types import LearnerState, Rollout

Optimizer = Literal["adam", "rmsprop", "sgd"]


@runtime_checkable
class Algorithm(Protocol):
    """A configuration, usually a frozen dataclass, that collects data for an update and learns from it."""

    @property
    def gamma(self) -> float:
        """Discount factor γ, in [0, 1]."""
        ...

    @property
    def optimizer(self) -> str:
        """Name of the optimizer: `adam`, `rmsprop` or `sgd`."""
        ...

    @property
    def uses_value(self) -> bool:
        """True if a value network is learned."""
        ...

    def collect(self, collector: Collector) -> Rollout:
        """Collect the data of one update: whole episodes, or a number of steps."""
        ...

    def learn(self, engine: Engine, rollout: Rollout, learner: LearnerState) -> dict[str, float]:
        """Perform one update and return its metrics."""
        ...


ALGORITHMS: dict[str, type[Algorithm]] = {}
"""Algorithm classes by the name that `train` and the command line accept."""

A = TypeVar("A", bound="type[Any]")


def register(name: str) -> Callable[[A], A]:
    """Return a class decorator that makes an algorithm available to `train` and the command line by `name`.

    Raises:
        ValueError: another algorithm is registered under this name.
    """

    def add(algorithm: A) -> A:
        known = ALGORITHMS.get(name)
        # running a module again, for example in a notebook, replaces its algorithm
        if known is None or _qualified_name(known) == _qualified_name(algorithm):
            ALGORITHMS[name] = algorithm
        elif _source(known) != _source(algorithm):
            raise ValueError(
                f"the name {name!r} is taken by the algorithm {_qualified_name(known)}: choose another name"
            )
        # otherwise the same file was imported twice, as a script and as a module: keep the first algorithm
        return algorithm

    return add


def _qualified_name(kind: type[Any]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _source(kind: type[Any]) -> tuple[str | None, str]:
    return getattr(sys.modules.get(kind.__module__), "__file__", None), kind.__qualname__


def algorithm_class(name: str) -> type[Algorithm]:
    """Return the configuration class of a name; raise ValueError with the closest names if there is none."""
    if name in ALGORITHMS:
        return ALGORITHMS[name]
    near = difflib.get_close_matches(name.lower(), ALGORITHMS, n=3, cutoff=0.4) or list(ALGORITHMS)
    raise ValueError(f"unknown algorithm {name!r}: did you mean {' or '.join(near)}?")


def critic_sees_action(algorithm: Algorithm) -> bool:
    """Return True if the value network is Q(s, a), whose input is the observation followed by the action."""
    return bool(getattr(algorithm, "critic_sees_action", False))


def engine_for(algorithm: Algorithm) -> Any:
    """Return the engine protocol that an algorithm needs, which is `Engine` by default."""
    return getattr(algorithm, "engine_protocol", Engine)


def name_of(algorithm: Algorithm) -> str:
    """Return the name that an algorithm is registered under, or else the name of its class."""
    names = {kind: name for name, kind in ALGORITHMS.items()}
    return names.get(type(algorithm), type(algorithm).__qualname__)

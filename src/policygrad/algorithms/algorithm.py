"""What an algorithm is to the rest of the library, and the names that algorithms are known by."""

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
    """A configuration, usually a frozen dataclass, that knows what data it wants and how to learn from it."""

    @property
    def gamma(self) -> float:
        """Discount γ, in [0, 1]."""
        ...

    @property
    def optimizer(self) -> str:
        """`adam`, `rmsprop` or `sgd`."""
        ...

    @property
    def uses_value(self) -> bool:
        """Whether a value network is learned."""
        ...

    def collect(self, collector: Collector) -> Rollout:
        """The data of one update: whole episodes, or a number of steps."""
        ...

    def learn(self, engine: Engine, rollout: Rollout, learner: LearnerState) -> dict[str, float]:
        """One update; returns its metrics."""
        ...


ALGORITHMS: dict[str, type[Algorithm]] = {}
"""By the name that `train` and the command line take."""

A = TypeVar("A", bound="type[Any]")


def register(name: str) -> Callable[[A], A]:
    """A class decorator: `train` and the command line know this algorithm by `name` from now on.

    Raises:
        ValueError: another algorithm has the name.
    """

    def add(algorithm: A) -> A:
        known = ALGORITHMS.get(name)
        # a module that is run again, in a notebook say, may bring its own algorithm again
        if known is None or _place(known) == _place(algorithm):
            ALGORITHMS[name] = algorithm
        elif _source(known) != _source(algorithm):
            raise ValueError(f"there is an algorithm named {name!r} already: {_place(known)}")
        # else it is the same file under another name, as a script and as a module: the first one stays
        return algorithm

    return add


def _place(kind: type[Any]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _source(kind: type[Any]) -> tuple[str | None, str]:
    return getattr(sys.modules.get(kind.__module__), "__file__", None), kind.__qualname__


def algorithm_class(name: str) -> type[Algorithm]:
    """The configuration class of a name; ValueError with the nearest names if there is none."""
    if name in ALGORITHMS:
        return ALGORITHMS[name]
    near = difflib.get_close_matches(name.lower(), ALGORITHMS, n=3, cutoff=0.4) or list(ALGORITHMS)
    raise ValueError(f"unknown algorithm {name!r}: did you mean {' or '.join(near)}?")


def critic_sees_action(algorithm: Algorithm) -> bool:
    """Whether its value network is a Q(s, a), which sees the observation with the action beside it; few are."""
    return bool(getattr(algorithm, "critic_sees_action", False))


def engine_for(algorithm: Algorithm) -> Any:
    """The protocol of the engine that it asks for; most ask for an `Engine`."""
    return getattr(algorithm, "engine_protocol", Engine)


def name_of(algorithm: Algorithm) -> str:
    """The name it is registered by, or its class's."""
    names = {kind: name for name, kind in ALGORITHMS.items()}
    return names.get(type(algorithm), type(algorithm).__qualname__)

"""How environments are opened: one object that training, evaluation and the command line share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import gymnasium as gym

from policygrad._support.checks import Count, check_fields
from policygrad._support.lookup import named

Backend = Literal["auto", "compiled", "envpool", "gymnasium"]
Vectorize = Literal["auto", "sync", "processes"]
Wrapper: TypeAlias = str | Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]]
"""A function that wraps an environment, or its name as `module:name`."""


@dataclass(frozen=True, kw_only=True)
class EnvOptions:
    """How environments are opened.

    Raises:
        ValueError, TypeError: an option is wrong; the message says what was expected.
    """

    backend: Backend = "auto"
    """Who runs an id's environments: `compiled` (this library), `envpool`, `gymnasium`, or `auto`, which takes
    the first of these that has the id."""
    env_kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Keyword arguments for the environment: for `gymnasium.make`, or for a factory."""
    wrap: tuple[Wrapper, ...] = ()
    """Wrappers around each environment, the first one innermost: `module:Wrapper`, or functions in Python."""
    vectorize: Vectorize = "auto"
    """Where Python environments run: `sync` steps them one after another in this process, `processes` gives each
    a process of its own, and `auto` measures which is faster. The choice changes no result."""
    max_episode_steps: Count | None = None
    """Truncate episodes after this many steps. By default the environment's own limit holds, and episodes of
    environments without a limit end after 10,000 steps in tests and evaluations."""

    def __post_init__(self) -> None:
        check_fields(self)
        if not isinstance(self.env_kwargs, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"env_kwargs must be a dict of keyword arguments; got {self.env_kwargs!r}")
        if not all(isinstance(key, str) for key in self.env_kwargs):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"the keys of env_kwargs must be names; got {list(self.env_kwargs)}")
        wrap: Any = self.wrap
        if isinstance(wrap, str) or callable(wrap):
            wrap = (wrap,)
        if not isinstance(wrap, Sequence):
            raise TypeError(f"wrap must be functions or 'module:name'; got {wrap!r}")
        wrap = tuple(wrap)
        for wrapper in wrap:
            if not (isinstance(wrapper, str) or callable(wrapper)):
                raise TypeError(f"wrap must be functions or 'module:name'; got {wrapper!r}")
        object.__setattr__(self, "wrap", wrap)

    def wrappers(self) -> list[Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]]]:
        """Return the wrappers themselves, named ones imported; ValueError where a name leads nowhere."""
        found = [named("wrap", w) if isinstance(w, str) else w for w in self.wrap]
        for wrapper, given in zip(found, self.wrap, strict=True):
            if not callable(wrapper):
                raise ValueError(
                    f"wrap {given}: it is {wrapper!r}; expected a function or a class that wraps"
                )
        return found

    @property
    def needs_python(self) -> bool:
        """True if environments must be made one by one in Python, as arguments or wrappers are given."""
        return bool(self.env_kwargs or self.wrap)

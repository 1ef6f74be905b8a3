"""Options for opening environments, shared by training, evaluation and the command line."""

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
    """Options for opening environments.

    Raises:
        ValueError, TypeError: an option is invalid; the message says what was expected.
    """

    backend: Backend = "auto"
    """Implementation that runs an environment id: `compiled` (this library's), `envpool`, `gymnasium`, or `auto`,
    which uses the first of these that has the id."""
    env_kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Keyword arguments for the environment, passed to `gymnasium.make` or to the factory."""
    wrap: tuple[Wrapper, ...] = ()
    """Wrappers around each environment, innermost first: names as `module:Wrapper`, or functions in Python."""
    vectorize: Vectorize = "auto"
    """How Python environments run: `sync` steps them one after another in this process, `processes` runs each in
    its own process, and `auto` measures which is faster. The choice does not change the results."""
    max_episode_steps: Count | None = None
    """Truncate episodes after this many steps. The default is the environment's own limit. If it has none, episodes
    end after 10,000 steps in evaluations."""

    def __post_init__(self) -> None:
        check_fields(self)
        if not isinstance(self.env_kwargs, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"env_kwargs must be a dict of keyword arguments; got {self.env_kwargs!r}")
        if not all(isinstance(key, str) for key in self.env_kwargs):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"the keys of env_kwargs must be strings; got {list(self.env_kwargs)}")
        wrap: Any = self.wrap
        if isinstance(wrap, str) or callable(wrap):
            wrap = (wrap,)
        if not isinstance(wrap, Sequence):
            raise TypeError(f"wrap must contain functions or 'module:name' strings; got {wrap!r}")
        wrap = tuple(wrap)
        for wrapper in wrap:
            if not (isinstance(wrapper, str) or callable(wrapper)):
                raise TypeError(f"wrap must contain functions or 'module:name' strings; got {wrapper!r}")
        object.__setattr__(self, "wrap", wrap)

    def wrappers(self) -> list[Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]]]:
        """Return the wrappers, importing those given by name; raise ValueError if a name cannot be found."""
        wrappers = [named("wrap", w) if isinstance(w, str) else w for w in self.wrap]
        for wrapper, given in zip(wrappers, self.wrap, strict=True):
            if not callable(wrapper):
                raise ValueError(
                    f"wrap {given} is {wrapper!r}; expected a function or a class that wraps an environment"
                )
        return wrappers

    @property
    def needs_python(self) -> bool:
        """True if environments must be created one by one in Python, because arguments or wrappers are given."""
        return bool(self.env_kwargs or self.wrap)

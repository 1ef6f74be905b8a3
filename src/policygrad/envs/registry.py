"""Environments by name: compiled ones, objects given as `module:name`, and ids registered with Gymnasium."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeAlias

import gymnasium as gym
from gymnasium.vector import VectorEnv

from policygrad._support.lookup import working_directory_importable
from policygrad.envs.classic import CLASSIC
from policygrad.envs.kernel import Kernel
from policygrad.envs.textbook import TEXTBOOK

EnvLike: TypeAlias = (
    "str | Kernel | gym.Env[Any, Any] | VectorEnv[Any, Any, Any] | Callable[..., gym.Env[Any, Any]]"
)
"""An id, a compiled environment, a factory that creates one environment, an environment, or a vector environment."""


KERNELS: dict[str, Kernel] = CLASSIC | TEXTBOOK
"""Compiled environments by id."""


def without_module(name: str) -> str:
    """Return an id without its module: `Env-v0` for `module:Env-v0`."""
    return name.rpartition(":")[2]


def find(name: str) -> Any:
    """Return the object that `module:name` names, or the plain id if the module registers it as one.

    A name without a module is returned unchanged.

    Raises:
        ValueError: the module cannot be imported, or it contains no such environment.
    """
    module, colon, rest = name.partition(":")
    if not module or not colon:
        return name
    with working_directory_importable():
        try:
            imported = import_module(module)
        except ImportError as error:
            raise ValueError(
                f"{name}: the module {module} cannot be imported ({error}). Install the package that contains it, or "
                "run policygrad in the folder of the module"
            ) from error
    if rest in gym.registry:
        return rest
    found: Any = getattr(imported, rest, None)
    if found is None:
        near = difflib.get_close_matches(rest, [*gym.registry, *vars(imported)], n=3, cutoff=0.6)
        hint = f". Did you mean {' or '.join(f'{module}:{one}' for one in near)}?" if near else ""
        raise ValueError(
            f"{name}: the module {module} neither registers the id {rest} nor contains a function or a Kernel of "
            f"this name{hint}"
        )
    if isinstance(found, gym.Env | VectorEnv):
        raise ValueError(f"{name} is an environment object; name a function that creates one, or a Kernel")
    return found


def spec_of(env_id: str) -> Any:
    """Return Gymnasium's specification of an id; raise ValueError with the nearest ids if there is none."""
    try:
        return gym.spec(env_id)
    except (gym.error.Error, ImportError) as error:
        near = difflib.get_close_matches(env_id, [*KERNELS, *gym.registry], n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(dict.fromkeys(near))}?" if near else "."
        raise ValueError(
            f"unknown environment {env_id!r}{hint} If another package provides it, put the package's module in front "
            f"of the id: 'module:{env_id}', as in 'minigrid:MiniGrid-Empty-5x5-v0'. gymnasium.registry lists the "
            "registered ids"
        ) from error

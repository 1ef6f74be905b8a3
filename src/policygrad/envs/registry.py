"""Environments by name: the compiled ones, `module:name`, and ids that are registered with Gymnasium."""

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
"""An id, a compiled environment, a factory that makes one environment, an environment, or a vector environment."""


KERNELS: dict[str, Kernel] = CLASSIC | TEXTBOOK
"""The compiled environments by id."""


def without_module(name: str) -> str:
    """Return an id without the module that brings it: `Env-v0` of `module:Env-v0`."""
    return name.rpartition(":")[2]


def find(name: str) -> Any:
    """Return what `module:name` stands for, or the id alone where the module has registered it; an id as it is."""
    module, colon, rest = name.partition(":")
    if not module or not colon:
        return name
    with working_directory_importable():
        try:
            imported = import_module(module)
        except ImportError as error:
            raise ValueError(
                f"{name}: the module {module} cannot be imported ({error}). Install the package that brings it, or "
                "run where the module lies"
            ) from error
    if rest in gym.registry:
        return rest
    found: Any = getattr(imported, rest, None)
    if found is None:
        near = difflib.get_close_matches(rest, [*gym.registry, *vars(imported)], n=3, cutoff=0.6)
        hint = f"did you mean {' or '.join(f'{module}:{one}' for one in near)}?" if near else ""
        raise ValueError(
            f"{name}: {module} has registered no such id, and has no function or Kernel of this name. {hint}".rstrip()
        )
    if isinstance(found, gym.Env | VectorEnv):
        raise ValueError(f"{name} is an environment object; name a function that makes one, or a Kernel")
    return found


def spec_of(env_id: str) -> Any:
    """Return the specification that Gymnasium has for an id; ValueError with the nearest ids if there is none."""
    try:
        return gym.spec(env_id)
    except (gym.error.Error, ImportError) as error:
        near = difflib.get_close_matches(env_id, [*KERNELS, *gym.registry], n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(dict.fromkeys(near))}? " if near else ""
        raise ValueError(
            f"unknown environment {env_id!r}: {hint}A package that brings environments has to be imported: name its "
            f"module in front, 'module:{env_id}', as in 'minigrid:MiniGrid-Empty-5x5-v0'. gymnasium.registry lists "
            "those there are"
        ) from error

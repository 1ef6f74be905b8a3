"""From an id, a factory or an environment object to `Environments`."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, get_args

import gymnasium as gym
from gymnasium.vector import SyncVectorEnv, VectorEnv

from policygrad.envs.classic import CLASSIC
from policygrad.envs.compiled import KernelVectorEnv
from policygrad.envs.kernel import Kernel
from policygrad.envs.pool import EnvPoolVectorEnv, pool_ids, same_limit
from policygrad.envs.textbook import TEXTBOOK
from policygrad.envs.vector import Environments

EnvLike: TypeAlias = (
    "str | Kernel | gym.Env[Any, Any] | VectorEnv[Any, Any, Any] | Callable[[], gym.Env[Any, Any]]"
)
"""An id, a compiled environment, a factory that makes one environment, an environment, or a vector environment."""

Backend = Literal["auto", "compiled", "envpool", "gymnasium"]

KERNELS: dict[str, Kernel] = CLASSIC | TEXTBOOK
"""The compiled environments by id."""


def make(
    env: EnvLike,
    num_envs: int | None = None,
    *,
    backend: Backend = "auto",
    threads: int | None = None,
    say: Callable[[str], None] = lambda message: None,
) -> Environments:
    """Open `num_envs` environments.

    Args:
        env: an id, a `Kernel`, a factory, or an object. An object is used as it is, and stays the caller's to
            close.
        num_envs: how many; 1 where left out. An object is one environment, or as many as it holds.
        backend: of an id: `compiled` (ours), `envpool`, `gymnasium` (the environment's own vectorised form
            where Gymnasium registers one), or `auto`: the first of these that has it.
        threads: EnvPool's own; one a core where left out. They change no result.
        say: hears which it was.

    Raises:
        ValueError: the id is unknown, to all or to the backend asked for, or an object is not `num_envs`
            environments.
        TypeError: `env` is none of these, or a kernel does not compile.
    """
    if num_envs is not None and num_envs < 1:
        raise ValueError(f"num_envs must be 1 or more; got {num_envs}")
    if backend not in get_args(Backend):
        raise ValueError(f"backend must be one of {get_args(Backend)}; got {backend!r}")
    if isinstance(env, str):
        vector, whose = _from_id(env, num_envs or 1, backend, threads)
        environments = Environments(vector, env, owned=True)
        say(f"environment: {env}, {whose}")
        return environments
    if backend != "auto":
        raise ValueError(f"backend={backend!r} is for ids; an environment of your own is what it is")
    if isinstance(env, Kernel):
        return Environments(KernelVectorEnv(env, num_envs or 1), env.name, owned=True)
    if isinstance(env, VectorEnv):
        if num_envs not in (None, env.num_envs):
            raise ValueError(f"the vector environment given holds {env.num_envs}; num_envs={num_envs}")
        return Environments(env, _environment_name(env), owned=False)
    if isinstance(env, gym.Env):
        if num_envs not in (None, 1):
            raise ValueError(
                f"an environment object is one environment; num_envs={num_envs} needs a factory: "
                "pass the function that makes it"
            )
        return Environments(SyncVectorEnv([lambda: env]), _environment_name(env), owned=False)
    if not callable(env):
        raise TypeError(f"expected an id, a Kernel, an environment or a factory; got {type(env).__name__}")
    first: Any = env()
    if not isinstance(first, gym.Env):
        raise TypeError(f"the factory made a {type(first).__name__}; expected a gymnasium.Env")
    vector = SyncVectorEnv([lambda: first, *[env] * ((num_envs or 1) - 1)])
    if len({id(made.unwrapped) for made in vector.envs}) < vector.num_envs:
        raise ValueError(
            "the factory gave the same object twice; it must make a new environment at each call"
        )
    return Environments(vector, _environment_name(vector.envs[0]), owned=True)


def _environment_name(env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any]) -> str:
    """An id where there is one, else the name of the class."""
    if isinstance(env, KernelVectorEnv):
        return env.kernel.name
    spec: Any = getattr(env, "spec", None)
    if spec is not None:
        return spec.id
    return type(env.unwrapped).__name__


def _from_id(
    name: str, num_envs: int, backend: Backend, threads: int | None
) -> tuple[VectorEnv[Any, Any, Any], str]:
    """The environments, and whose they are."""
    if name in KERNELS and backend in ("auto", "compiled"):
        return KernelVectorEnv(KERNELS[name], num_envs), "compiled"
    if backend == "compiled":
        raise ValueError(f"{name} has no compiled form; there are {', '.join(KERNELS)}")
    if name in pool_ids() and (backend == "envpool" or (backend == "auto" and same_limit(name))):
        return EnvPoolVectorEnv(name, num_envs, threads), "by EnvPool"
    if backend == "envpool":
        known = "does not know it" if pool_ids() else "is not installed: pip install 'policygrad[envpool]'"
        raise ValueError(f"{name}: EnvPool {known}")
    return _gymnasium(name, num_envs), "by Gymnasium"


def _gymnasium(name: str, num_envs: int) -> VectorEnv[Any, Any, Any]:
    try:
        spec = gym.spec(name)
    except (gym.error.Error, ImportError) as error:
        near = difflib.get_close_matches(name, [*KERNELS, *gym.registry], n=3, cutoff=0.5)
        hint = (
            f"did you mean {' or '.join(dict.fromkeys(near))}?"
            if near
            else "gymnasium.registry lists those there are"
        )
        raise ValueError(f"unknown environment {name!r}: {hint}") from error
    try:
        if spec.vector_entry_point is not None:
            return gym.make_vec(spec, num_envs, vectorization_mode="vector_entry_point")
        return SyncVectorEnv([lambda: gym.make(spec, disable_env_checker=True)] * num_envs)
    except (gym.error.DependencyNotInstalled, ImportError) as error:
        raise ValueError(f"{name} needs a package that is not installed: {error}") from error

"""Opens environments from an id, a factory or an environment object."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium as gym
from gymnasium.vector import SyncVectorEnv, VectorEnv
from gymnasium.wrappers import TimeLimit

from policygrad._support.lookup import name_of_object
from policygrad.envs.contract import Checked, exits_are_faults
from policygrad.envs.kernel import Kernel
from policygrad.envs.kernel_env import KernelEnv
from policygrad.envs.kernel_vector import KernelVectorEnv
from policygrad.envs.options import EnvOptions
from policygrad.envs.pool import EnvPoolVectorEnv, pool_ids, same_limit
from policygrad.envs.processes import ProcessVectorEnv, processes_pay
from policygrad.envs.registry import KERNELS, EnvLike, find, spec_of
from policygrad.envs.vector import Environments

DEFAULT = EnvOptions()


def make(
    env: EnvLike,
    num_envs: int | None = None,
    options: EnvOptions = DEFAULT,
    *,
    otherwise: int = 1,
    threads: int | None = None,
    say: Callable[[str], None] = lambda message: None,
    **more: Any,
) -> Environments:
    """Open `num_envs` environments.

    Args:
        env: an id, such as `Env-v0` or `module:Env-v0`; a `Kernel`; a factory, or the name of a factory or a
            `Kernel` as `module:name`; or an environment object, which is used as it is and which the caller closes.
        num_envs: number of environments. An object or a factory of vector environments already determines it.
        options: how to open the environments.
        otherwise: number of environments if `num_envs` is None and the environment does not determine it.
        threads: number of EnvPool's threads; one per core by default. It does not change the results.
        say: called with messages that say what runs the environments and which observation entries are ignored.
        more: fields of `EnvOptions` that override those of `options`.

    Raises:
        ValueError: the id is unknown to all backends or to the requested one, an object does not contain
            `num_envs` environments, or an option cannot be used with this environment.
        TypeError: `env` is none of these, or a kernel does not compile.
        EnvironmentFault: the environment violates Gymnasium's API.
    """
    options = replace(options, **more)
    if num_envs is not None and num_envs < 1:
        raise ValueError(f"num_envs must be 1 or more; got {num_envs}")
    if isinstance(env, str):
        name, env = env, find(env)
        if isinstance(env, str):
            return _from_id(name, env, num_envs or otherwise, options, threads, say)
    if options.backend != "auto":
        raise ValueError(
            f"backend={options.backend!r} is only for ids. Leave it out for your own environment"
        )
    if isinstance(env, Kernel):
        _refuse(options, "a compiled environment", "env_kwargs", "wrap")
        _refuse_processes(options, env.name)
        return Environments(
            KernelVectorEnv(env.limited_to(options.max_episode_steps), num_envs or otherwise),
            env.name,
            owned=True,
        )
    if isinstance(env, VectorEnv):
        _refuse(options, "a vector environment", "env_kwargs", "wrap", "max_episode_steps")
        _refuse_processes(options, _environment_name(env))
        return _from_vector(env, num_envs, say, owned=False)
    if isinstance(env, gym.Env):
        if num_envs not in (None, 1):
            raise ValueError(
                f"num_envs={num_envs} needs a factory, because an environment object is a single environment. "
                "Pass the function that creates it"
            )
        _refuse(options, "an environment object", "env_kwargs")
        name = _environment_name(env)
        _refuse_processes(options, name)
        return _from_factory(lambda: env, name, 1, options, say, owned=False)
    if not callable(env):
        raise TypeError(f"expected an id, a Kernel, an environment or a factory; got {type(env).__name__}")
    factory = env
    first: Any = _made(factory, options)
    if isinstance(first, VectorEnv):
        _refuse(options, "a vector environment", "wrap", "max_episode_steps")
        _refuse_processes(options, _environment_name(first))
        return _from_vector(first, num_envs, say, owned=True)
    if not isinstance(first, gym.Env):
        raise TypeError(f"the factory returned type {type(first).__name__}; expected an Env or a VectorEnv")
    return _from_factory(
        lambda: factory(**options.env_kwargs), _environment_name(first), num_envs or otherwise, options, say,
        first=first,
    )  # fmt: skip


def _made(factory: Callable[..., Any], options: EnvOptions) -> Any:
    """Call a factory with `env_kwargs`; raise ValueError if it does not accept them."""
    name = name_of_object(factory)
    try:
        inspect.signature(factory).bind(**options.env_kwargs)
    except TypeError as error:
        given = f"env_kwargs {dict(options.env_kwargs)}" if options.env_kwargs else "no arguments"
        raise ValueError(
            f"the factory {name} cannot be called with {given}: {error}. Pass its arguments as env_kwargs "
            "(--env-kwargs key=value)"
        ) from error
    except ValueError:
        # some callables have no signature
        pass
    with exits_are_faults(f"the factory {name}"):
        return factory(**options.env_kwargs)


def make_one(env: EnvLike, options: EnvOptions = DEFAULT) -> Checked:
    """Open a single checked environment in this process; see `make` for the options and errors."""
    found = find(env) if isinstance(env, str) else env
    if isinstance(found, str) and found in KERNELS and not options.needs_python:
        found = KERNELS[found]
    if isinstance(found, Kernel):
        kernel = found
        return Checked(KernelEnv(kernel.limited_to(options.max_episode_steps)), kernel.name)
    vector = make(
        env, 1, replace(options, vectorize="sync", backend="auto" if callable(found) else "gymnasium")
    ).vector
    if not (isinstance(vector, SyncVectorEnv) and isinstance(vector.envs[0], Checked)):
        raise ValueError(f"{env} exists only as a vector environment; check-env needs a single environment")
    return vector.envs[0]


def _refuse(options: EnvOptions, what: str, *names: str) -> None:
    """Raise ValueError if one of these options is set, because it would be ignored."""
    for name in names:
        if getattr(options, name) != getattr(DEFAULT, name):
            raise ValueError(
                f"{name} cannot be used with {what}. Leave it out, or pass a function that creates a single environment"
            )


def _refuse_processes(options: EnvOptions, name: str) -> None:
    """Raise ValueError if processes are requested for environments that cannot run in them."""
    if options.vectorize == "processes":
        raise ValueError(
            f"vectorize='processes' applies only to Python environments that are created one by one; {name} is not "
            "one of these. Leave it out, set backend='gymnasium' for an id, or pass a function that creates one "
            "environment"
        )


def _from_vector(
    vector: VectorEnv[Any, Any, Any], num_envs: int | None, say: Callable[[str], None], *, owned: bool
) -> Environments:
    if num_envs not in (None, vector.num_envs):
        raise ValueError(f"the vector environment has num_envs={vector.num_envs}; got num_envs={num_envs}")
    return Environments(vector, _environment_name(vector), owned=owned, say=say)


def _environment_name(env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any]) -> str:
    """Return the id of an environment if it has one, otherwise the name of its class."""
    if isinstance(env, KernelVectorEnv):
        return env.kernel.name
    spec: Any = getattr(env, "spec", None)
    if spec is not None:
        return spec.id
    return type(env.unwrapped).__name__


def _from_id(
    name: str,
    env_id: str,
    num_envs: int,
    options: EnvOptions,
    threads: int | None,
    say: Callable[[str], None],
) -> Environments:
    backend, from_module = options.backend, name != env_id
    only_python = options.needs_python or from_module
    if backend in ("compiled", "envpool") and only_python:
        what = "an id that names its module" if from_module else "env_kwargs or wrap"
        raise ValueError(f"backend={backend!r} cannot be used with {what}. Use backend='gymnasium'")
    if env_id in KERNELS and backend in ("auto", "compiled") and not only_python:
        _refuse_processes(options, name)
        say(f"environment: {name} (compiled)")
        return Environments(
            KernelVectorEnv(KERNELS[env_id].limited_to(options.max_episode_steps), num_envs), name, owned=True
        )
    if backend == "compiled":
        raise ValueError(f"{name} has no compiled form. The compiled environments are {', '.join(KERNELS)}")
    limit = options.max_episode_steps
    if env_id in pool_ids() and not only_python and backend != "gymnasium":
        same = limit is not None or same_limit(env_id)
        if backend == "envpool" or same:
            if env_id not in gym.registry:
                warnings.warn(
                    f"{env_id} is not registered with Gymnasium, but EnvPool has an environment of this name, which "
                    "is used. It may not be the one that you mean. If another package provides yours, put the "
                    f"package's module in front of the id: 'module:{env_id}'",
                    stacklevel=2,
                )
            _refuse_processes(options, name)
            say(f"environment: {name} (EnvPool)")
            return Environments(EnvPoolVectorEnv(env_id, num_envs, threads, limit), name, owned=True, say=say)
    if backend == "envpool":
        known = "has no such id" if pool_ids() else "is not installed. Run pip install 'policygrad[envpool]'"
        raise ValueError(f"{name}: EnvPool {known}")
    spec = spec_of(env_id)
    try:
        own_vector = spec.vector_entry_point is not None and options.vectorize != "processes"
        if own_vector and not options.needs_python and limit is None:
            vector = gym.make_vec(spec, num_envs, vectorization_mode="vector_entry_point")
            say(f"environment: {name} (Gymnasium)")
            return Environments(vector, name, owned=True, say=say)
        settings: dict[str, Any] = {**options.env_kwargs, "disable_env_checker": True}
        if limit is not None:
            settings["max_episode_steps"] = limit
        return _from_factory(
            lambda: _made_by_gymnasium(spec, settings, options),
            name,
            num_envs,
            replace(options, max_episode_steps=None),
            say,
        )
    except (gym.error.DependencyNotInstalled, ImportError) as error:
        raise ValueError(f"{name} needs a package that is not installed: {error}") from error


def _made_by_gymnasium(spec: Any, settings: dict[str, Any], options: EnvOptions) -> gym.Env[Any, Any]:
    try:
        return gym.make(spec, **settings)
    except TypeError as error:
        if not options.env_kwargs or "argument" not in str(error):
            raise
        raise ValueError(f"{spec.id} does not take env_kwargs {dict(options.env_kwargs)}: {error}") from error


def _from_factory(
    factory: Callable[[], gym.Env[Any, Any]],
    name: str,
    num_envs: int,
    options: EnvOptions,
    say: Callable[[str], None],
    *,
    first: gym.Env[Any, Any] | None = None,
    owned: bool = True,
) -> Environments:
    """Open Python environments, each wrapped and checked, in this process or in one process each."""
    wrappers = options.wrappers()

    def finish(env: gym.Env[Any, Any]) -> Checked:
        for wrapper in wrappers:
            try:
                env = wrapper(env)
            except TypeError as error:
                raise ValueError(
                    f"wrap: {name_of_object(wrapper)} cannot be called with an environment alone ({error}). Pass a "
                    "function of the environment that supplies the other arguments"
                ) from error
            if not isinstance(env, gym.Env):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError(f"a wrapper returned type {type(env).__name__}; expected a gymnasium.Env")
        if options.max_episode_steps is not None:
            env = TimeLimit(env, options.max_episode_steps)
        return Checked(env, name)

    def one() -> Checked:
        with exits_are_faults(f"{name}: the code that creates the environment"):
            return finish(factory())

    opened = None if first is None else finish(first)
    in_processes = owned and (
        options.vectorize == "processes" or (options.vectorize == "auto" and processes_pay(one, num_envs))
    )
    if in_processes:
        sample = opened or one()
        vector: VectorEnv[Any, Any, Any] = ProcessVectorEnv([one] * num_envs, name)
        say(f"environment: {name} (Gymnasium, {num_envs} processes)")
    else:
        ready = [one() if opened is None or i else opened for i in range(num_envs)]
        if len({id(made.unwrapped) for made in ready}) < num_envs:
            raise ValueError(
                "the factory returned the same object twice; it must create a new environment at each call"
            )
        vector, sample = SyncVectorEnv([lambda made=made: made for made in ready]), ready[0]
        say(f"environment: {name} (Gymnasium)")
    environments = Environments(vector, name, owned=owned, shown=sample.shown_space, say=say, like=sample)
    if sample.left_out:
        say(f"{name}: networks ignore these entries of the observation: {', '.join(sample.left_out)}")
    if in_processes:
        sample.close()
    return environments

"""`train`: from an environment and an algorithm to a run."""

from __future__ import annotations

import operator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from torch import nn

from policygrad.algorithms import ALGORITHMS, Algorithm, algorithm_class
from policygrad.engines import EngineName, make_engine
from policygrad.envs import EnvLike, PotentialShaping, Shaping, make
from policygrad.policies import Network, make_policy, make_value
from policygrad.presets import Preset, preset_for
from policygrad.progress import make_progress
from policygrad.run import Recorder, Run
from policygrad.run_folder import RunFolder, check_free
from policygrad.seeding import stream
from policygrad.threads import single_thread
from policygrad.training import iterations


def train(
    env: EnvLike,
    algorithm: str | Algorithm = "reinforce",
    *,
    steps: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    num_envs: int | None = None,
    engine: EngineName = "auto",
    stop_at: float | None = None,
    network: Network | None = None,
    policy: nn.Module | None = None,
    value: nn.Module | None = None,
    shaping: Shaping | Literal["preset"] | None = "preset",
    device: str = "cpu",
    overwrite: bool = False,
    progress: bool | None = None,
) -> Run:
    """Train a policy.

    Given an id and an algorithm's name, all that is left out comes from the environment's preset, or the
    defaults where it has none; given a configuration, a factory or an object, from the defaults.

    Args:
        env: a Gymnasium id, a factory, an environment or a vector environment.
        algorithm: a name, or a configuration such as `Reinforce(gamma=0.9)`.
        steps: the budget, in environment steps; the episodes that it falls into are finished.
        seed: of everything random. The same seed on the same machine gives the same bits.
        out: a folder for the run; None saves nothing.
        num_envs: how many environments side by side.
        engine: `fused`, `autograd`, or `auto` for fused where it can be.
        stop_at: end when the mean of the last 100 returns reaches this.
        network: the shape of the policy and of V(s).
        policy: instead of one made from `network`: a torch module (see `Policy`), or a `Policy` to go on
            with. It is trained in place.
        value: likewise for V(s): a module [B, D] -> [B] or [B, 1].
        shaping: what is learned from instead of the reward; None for the reward itself. Returns are
            always of the environment's own reward.
        device: where torch computes, in the autograd engine.
        overwrite: replace an earlier run at `out`.
        progress: show how far it is; None does so on a terminal.

    Returns:
        The run. Ctrl-C ends it early and returns it as well, with `ended="interrupted"`.

    Raises:
        ValueError, TypeError: a setting is wrong; the message says which and what to do.
        FileExistsError: there is something at `out` already.
        NonFiniteError: a NaN or an infinity appeared (a `run.StoppedError`, whose `run` is what was learned
            until then). Whatever is raised while training, what was learned is saved at `out`.
    """
    settings = _resolve(env, algorithm, steps=steps, num_envs=num_envs, network=network, shaping=shaping)
    seed = _whole("seed", seed, at_least=0)
    if stop_at is not None and not np.isfinite(stop_at):
        raise ValueError(f"stop_at must be finite; got {stop_at}")
    if out is not None:
        check_free(Path(out), overwrite)
    rng = stream(seed, "init")
    environments = make(env, settings.num_envs if _is_recipe(env) else num_envs)
    try:
        acting = make_policy(
            environments.observation_space,
            environments.action_space,
            settings.network,
            rng,
            given=policy,
            environment_name=environments.name,
        ).to(device)
        critic = make_value(acting, settings.network, rng, given=value, wanted=settings.algorithm.uses_value)
        display = make_progress(settings.steps, progress)
        motor = make_engine(acting, critic, settings.algorithm.optimizer, engine, display.say)
        threshold = float(stop_at) if stop_at is not None else environments.reward_threshold
        run = Run(acting, acting, threshold, motor.name, environments.name)
        folder = None
        if out is not None:
            run.out = Path(out)
            settings = replace(settings, num_envs=environments.num_envs)
            facts = {
                "engine": motor.name,
                "environments": type(environments.vector.unwrapped).__name__,
                "autoreset_mode": environments.autoreset_mode.value,
            }
            config = {
                "environment": environments.name,
                "environment_id": env if isinstance(env, str) else None,
                **_config(settings, seed, engine, threshold if stop_at is not None else None),
                "policy": None if policy is None else _name(type(policy)),
                "value": None if value is None else _name(type(value)),
                "device": device,
            }
            folder = RunFolder(out, config, facts | {"seed": seed}, overwrite=overwrite)
        loop = iterations(
            environments,
            acting,
            motor,
            settings.algorithm,
            steps=settings.steps,
            seed=seed,
            shaping=settings.shaping,
            threshold=threshold,
        )
        with single_thread():
            return Recorder(run, folder, display, stop=stop_at is not None).record(loop)
    finally:
        environments.close()


def _resolve(
    env: EnvLike,
    algorithm: str | Algorithm,
    *,
    steps: int | None = None,
    num_envs: int | None = None,
    network: Network | None = None,
    shaping: Shaping | Literal["preset"] | None = "preset",
) -> Preset:
    """All settings of a run: what is given, and for the rest the preset's or the defaults, as `train` says.

    Raises:
        ValueError, TypeError: as `train`.
    """
    if isinstance(algorithm, str):
        # a factory or an object may be anything, whatever it calls itself
        settings = (
            preset_for(env, algorithm) if isinstance(env, str) else Preset(algorithm_class(algorithm)())
        )
    elif isinstance(algorithm, tuple(ALGORITHMS.values())):  # pyright: ignore[reportUnnecessaryIsInstance]
        settings = Preset(algorithm)
    else:
        hint = "; call it to make one" if isinstance(algorithm, type) else ""
        raise TypeError(f"algorithm must be a name or a configuration; got {algorithm!r}{hint}")
    given = {"steps": steps, "num_envs": num_envs, "network": network}
    settings = replace(settings, **{name: value for name, value in given.items() if value is not None})
    if shaping != "preset":
        if not (shaping is None or callable(shaping)):
            raise TypeError(f"shaping must be a function, None or 'preset'; got {shaping!r}")
        settings = replace(settings, shaping=shaping)
    if isinstance(settings.shaping, PotentialShaping):
        settings = replace(settings, shaping=settings.shaping.with_gamma(settings.algorithm.gamma))
    return replace(
        settings,
        steps=_whole("steps", settings.steps, at_least=1),
        num_envs=_whole("num_envs", settings.num_envs, at_least=1),
    )


def _whole(name: str, value: Any, *, at_least: int) -> int:
    """A Python int of any whole number, NumPy's too."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number; got {value!r}") from None
    if number < at_least:
        raise ValueError(f"{name} must be {at_least} or more; got {number}")
    return number


def _is_recipe(env: EnvLike) -> bool:
    """An id or a factory, of which any number can be made; an object is as many as it is."""
    return not isinstance(env, gym.Env | VectorEnv)


def _config(settings: Preset, seed: int, engine: str, stop_at: float | None) -> dict[str, Any]:
    """What was asked, presets and defaults filled in."""
    algorithms = {kind: label for label, kind in ALGORITHMS.items()}
    shaping = settings.shaping
    return {
        "algorithm": {"name": algorithms[type(settings.algorithm)], **asdict(settings.algorithm)},
        "network": asdict(settings.network),
        "num_envs": settings.num_envs,
        "steps": settings.steps,
        "seed": seed,
        "engine": engine,
        "stop_at": stop_at,
        "shaping": None if shaping is None else _name(shaping),
    }


def _name(function: Any) -> str:
    if isinstance(function, PotentialShaping):
        return f"potential {_name(function.potential)}, gamma {function.gamma}"
    return f"{function.__module__}.{getattr(function, '__qualname__', type(function).__name__)}"

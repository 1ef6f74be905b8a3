"""`train`: from an environment and an algorithm to a run."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
from gymnasium.vector import VectorEnv
from torch import nn

from policygrad.algorithms import ALGORITHMS, Algorithm
from policygrad.engines import EngineName, make_engine
from policygrad.envs import EnvLike, PotentialShaping, Shaping, environment_name, make
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

    Given an algorithm's name, all that is left out comes from the environment's preset, or the defaults
    where it has none; given a configuration, from the defaults.

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
    settings = resolve(env, algorithm, steps=steps, num_envs=num_envs, network=network, shaping=shaping)
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
        threshold = stop_at if stop_at is not None else environments.reward_threshold
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
            config = _config(environments.name, settings, seed, engine, stop_at)
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


def resolve(
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
        settings = preset_for(environment_name(env), algorithm)
    elif isinstance(algorithm, tuple(ALGORITHMS.values())):  # pyright: ignore[reportUnnecessaryIsInstance]
        settings = Preset(algorithm)
    else:
        raise TypeError(f"algorithm must be a name or a configuration; got {type(algorithm).__name__}")
    given = {"steps": steps, "num_envs": num_envs, "network": network}
    settings = replace(settings, **{name: value for name, value in given.items() if value is not None})
    if shaping != "preset":
        settings = replace(settings, shaping=shaping)
    if isinstance(settings.shaping, PotentialShaping):
        settings = replace(settings, shaping=settings.shaping.with_gamma(settings.algorithm.gamma))
    if settings.steps < 1:
        raise ValueError(f"steps must be 1 or more, the budget in environment steps; got {settings.steps}")
    return settings


def _is_recipe(env: EnvLike) -> bool:
    """An id or a factory, of which any number can be made; an object is as many as it is."""
    return not isinstance(env, gym.Env | VectorEnv)


def _config(name: str, settings: Preset, seed: int, engine: str, stop_at: float | None) -> dict[str, Any]:
    """`config.json`: what was asked, presets and defaults filled in."""
    algorithms = {kind: label for label, kind in ALGORITHMS.items()}
    shaping = settings.shaping
    return {
        "environment": name,
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

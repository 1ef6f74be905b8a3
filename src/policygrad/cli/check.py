"""`policygrad check-env`: find what is wrong with an environment, and how fast it is, before training on it."""

from __future__ import annotations

import time
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import tyro

from policygrad._support.checks import whole
from policygrad._support.console import console, stdout
from policygrad.cli.keywords import keywords
from policygrad.cli.parse import parse
from policygrad.cli.text_table import Table
from policygrad.envs import EnvOptions, KernelEnv, make_one
from policygrad.envs.contract import Checked
from policygrad.envs.processes import costs
from policygrad.errors import EnvironmentFault
from policygrad.spaces import action_size, observation_size


@dataclass(frozen=True)
class CheckEnv:
    """Check an environment before training on it.

    This runs the checks of policygrad and of Gymnasium, measures the time per step, and tells you whether it is worth
    running the environments in separate processes.
    """

    env: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ENV")]
    """Gymnasium id, module:Env-v0 for an id that a module registers, or module:name of a Kernel or a factory."""
    env_kwargs: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE ...")] = ()
    """Keyword arguments for the environment, each as key=value."""
    wrap: Annotated[tuple[str, ...], tyro.conf.arg(metavar="MODULE:WRAPPER ...")] = ()
    """Wrappers to apply to the environment; the first one is innermost."""
    max_episode_steps: int | None = None
    """Truncate episodes after this many steps."""
    steps: int = 1000
    """Number of random steps to take."""
    num_envs: int = 8
    """Number of parallel environments that the comparison of processes assumes."""


def check_command(arguments: list[str]) -> int:
    """Run `policygrad check-env` and return its exit status, which is 1 if the environment must be fixed."""
    args = parse(CheckEnv, arguments, "policygrad check-env")
    whole("steps", args.steps, at_least=1)
    whole("num_envs", args.num_envs, at_least=1)
    options = EnvOptions(
        env_kwargs=keywords("--env-kwargs", args.env_kwargs),
        wrap=args.wrap,
        max_episode_steps=args.max_episode_steps,
    )
    env = make_one(args.env, options)
    table = Table(args.env)
    try:
        breaches = _walk(env, args.steps, table)
        advice = _gymnasium_warnings(env)
    finally:
        env.close()
    if isinstance(env.env, KernelEnv):
        table.add_row("speed", "compiled into the training loop: processes are not needed")
    elif not breaches:
        _speed(args.env, options, args.num_envs, table)
    table.show()
    out = console(stdout)
    for breach in breaches:
        out.print(f"must be fixed: {breach}")
    for line in advice:
        out.print(f"Gymnasium's checker: {line}")
    if not breaches:
        out.print("you can train on it" + (", but see the warnings above" if advice else ""))
    return int(bool(breaches))


def _walk(env: Checked, steps: int, table: Table) -> list[str]:
    """Take random steps, add what they show to the table, and return the violations of Gymnasium's API."""
    table.add_row("observations", f"{env.env.observation_space}")
    table.add_row("inputs of the networks", f"{observation_size(env.shown_space):,}")
    if env.left_out:
        table.add_row("ignored observations", ", ".join(env.left_out))
    table.add_row("actions", f"{env.action_space}")
    table.add_row("outputs of the policy network", f"{action_size(env.action_space):,}")
    ends, returns, outside, total = {"terminated": 0, "truncated": 0}, list[float](), 0, 0.0
    env.action_space.seed(0)
    try:
        observation, _ = env.reset(seed=0)
        again, _ = env.reset(seed=0)
        if not np.array_equal(observation, again, equal_nan=True):
            table.add_row("same seed", "different first observations: the seed does not determine them")
        for step in range(steps):
            observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            if not (np.isfinite(reward) and np.isfinite(np.asarray(observation, np.float64)).all()):
                return [
                    f"step {step + 1} returned a NaN or an infinity: reward {reward}, observation {observation}"
                ]
            outside += not _inside(env, observation)
            total += reward
            if terminated or truncated:
                ends["terminated" if terminated else "truncated"] += 1
                returns.append(total)
                total = 0.0
                env.reset()
    except EnvironmentFault as fault:
        return [str(fault)]
    except Exception as error:
        trace = traceback.extract_tb(error.__traceback__)[-1]
        return [f"{env.name} raised {type(error).__name__}: {error} ({trace.filename}, line {trace.lineno})"]
    table.add_row(
        "episodes of random actions", f"{ends['terminated']} terminated, {ends['truncated']} truncated"
    )
    if not returns:
        table.add_row("", f"no episode ended in {steps:,} steps; you may need a limit (--max-episode-steps)")
    else:
        table.add_row("their returns", f"{min(returns):.4g} to {max(returns):.4g}")
    if outside:
        table.add_row("observations outside of the space", f"{outside:,} of {steps:,}")
    return []


def _inside(env: Checked, observation: Any) -> bool:
    space = env.observation_space
    if not isinstance(space, gym.spaces.Box):
        return True
    return bool(((observation >= space.low) & (observation <= space.high)).all())


def _gymnasium_warnings(env: Checked) -> Sequence[str]:
    """Return the errors and warnings of Gymnasium's own checker."""
    from gymnasium.utils.env_checker import check_env

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            check_env(env.env.unwrapped, skip_render_check=True, skip_close_check=True)
        except Exception as error:
            return [f"{type(error).__name__}: {error}", *map(_text, caught)]
    return list(dict.fromkeys(map(_text, caught)))


def _text(warning: warnings.WarningMessage) -> str:
    return str(warning.message).replace("\x1b[33m", "").replace("\x1b[0m", "").removeprefix("WARN: ")


def _speed(name: str, options: EnvOptions, num_envs: int, table: Table) -> None:
    began = time.perf_counter()
    measured = costs(lambda: make_one(name, options), num_envs)
    table.add_row(
        "time per step", f"{measured.wall * 1e3:.3g} ms, of which {measured.cpu * 1e3:.3g} ms computing"
    )
    in_turn, in_processes = 1 / measured.wall, num_envs / measured.apart
    verdict = "worth using" if measured.pay else "not worth using"
    table.add_row(
        f"{num_envs} environments in this process", f"{in_turn:,.0f} steps/s, learning not included"
    )
    table.add_row(
        f"{num_envs} processes",
        f"about {in_processes:,.0f} steps/s: {verdict}",
    )
    table.add_row("time of this measurement", f"{time.perf_counter() - began:.1f} s")

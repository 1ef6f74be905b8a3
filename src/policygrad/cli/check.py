"""`policygrad check-env`: what is wrong with an environment, and how fast it is, before anything is trained."""

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
    """Check an environment before training: Gymnasium's checker, ours, the time per step, and what pays."""

    env: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ENV")]
    """A Gymnasium id, also as module:Env-v0, or module:name of a Kernel or a factory."""
    env_kwargs: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE ...")] = ()
    """Arguments for the environment, each as key=value."""
    wrap: Annotated[tuple[str, ...], tyro.conf.arg(metavar="MODULE:WRAPPER ...")] = ()
    """Wrappers around the environment, the first one innermost."""
    max_episode_steps: int | None = None
    """Truncate episodes after this many steps."""
    steps: int = 1000
    """Number of random steps that are looked at."""
    num_envs: int = 8
    """Environments side by side that the advice is for."""


def check_command(arguments: list[str]) -> int:
    """Check as the arguments say; returns the exit status, 1 where something has to be mended."""
    asked = parse(CheckEnv, arguments, "policygrad check-env")
    whole("steps", asked.steps, at_least=1)
    whole("num_envs", asked.num_envs, at_least=1)
    options = EnvOptions(
        env_kwargs=keywords("--env-kwargs", asked.env_kwargs),
        wrap=asked.wrap,
        max_episode_steps=asked.max_episode_steps,
    )
    env = make_one(asked.env, options)
    table = Table(asked.env)
    try:
        breaches = _walk(env, asked.steps, table)
        advice = _gymnasium_s(env)
    finally:
        env.close()
    if isinstance(env.env, KernelEnv):
        table.add_row("runs", "compiled, within the training loop: processes are not needed")
    elif not breaches:
        _speed(asked.env, options, asked.num_envs, table)
    table.show()
    out = console(stdout)
    for breach in breaches:
        out.print(f"to be mended: {breach}")
    for line in advice:
        out.print(f"Gymnasium's checker: {line}")
    if not breaches:
        out.print("it can be trained on" + (", but see above" if advice else ""))
    return int(bool(breaches))


def _walk(env: Checked, steps: int, table: Table) -> list[str]:
    """Random steps through the checked environment; what breaks the contract."""
    table.add_row("observations", f"{env.env.observation_space}")
    table.add_row("numbers that networks see", f"{observation_size(env.shown_space):,}")
    if env.left_out:
        table.add_row("not seen", ", ".join(env.left_out))
    table.add_row("actions", f"{env.action_space}")
    table.add_row("numbers that networks put out", f"{action_size(env.action_space):,}")
    ends, returns, outside, total = {"terminated": 0, "truncated": 0}, list[float](), 0, 0.0
    env.action_space.seed(0)
    try:
        observation, _ = env.reset(seed=0)
        again, _ = env.reset(seed=0)
        if not np.array_equal(observation, again, equal_nan=True):
            table.add_row("same seed", "another first observation: the seed does not fix it")
        for step in range(steps):
            observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            if not (np.isfinite(reward) and np.isfinite(np.asarray(observation, np.float64)).all()):
                return [
                    f"step {step + 1} gave a NaN or an infinity: reward {reward}, observation {observation}"
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
        "episodes in random play", f"{ends['terminated']} terminated, {ends['truncated']} truncated"
    )
    if not returns:
        table.add_row("", f"no episode ended in {steps:,} steps: a limit may be needed (--max-episode-steps)")
    else:
        table.add_row("their returns", f"{min(returns):.4g} to {max(returns):.4g}")
    if outside:
        table.add_row("observations outside their space", f"{outside:,} of {steps:,}")
    return []


def _inside(env: Checked, observation: Any) -> bool:
    space = env.observation_space
    if not isinstance(space, gym.spaces.Box):
        return True
    return bool(((observation >= space.low) & (observation <= space.high)).all())


def _gymnasium_s(env: Checked) -> Sequence[str]:
    """What Gymnasium's own checker says of the environment."""
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
    one, apart = 1 / measured.wall, num_envs / measured.apart
    verdict = "they pay" if measured.pay else "they do not pay"
    table.add_row(f"{num_envs} environments in this process", f"{one:,.0f} steps/s, learning not included")
    table.add_row(
        f"{num_envs} processes",
        f"about {apart:,.0f} steps/s: {verdict}",
    )
    table.add_row("measured in", f"{time.perf_counter() - began:.1f} s")

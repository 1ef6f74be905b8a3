"""`train`: from an environment and an algorithm to a run, or to one for each of many seeds."""

from __future__ import annotations

import inspect
import os
import textwrap
from dataclasses import fields
from typing import Any, overload

import gymnasium as gym
from gymnasium.vector import VectorEnv

from policygrad.algorithms import Algorithm
from policygrad.envs import EnvLike, EnvOptions
from policygrad.runs.experiment import Experiment
from policygrad.runs.interruption import Interruption
from policygrad.runs.many_seeds import run_seeds
from policygrad.runs.progress import make_progress
from policygrad.runs.run import Run
from policygrad.runs.settings import Settings, described, settings_from


@overload
def train(
    env: EnvLike, algorithm: str | Algorithm = "reinforce", *, seeds: None = None, **settings: Any
) -> Run: ...
@overload
def train(
    env: EnvLike, algorithm: str | Algorithm = "reinforce", *, seeds: int, **settings: Any
) -> list[Run]: ...
def train(
    env: EnvLike, algorithm: str | Algorithm = "reinforce", *, seeds: int | None = None, **settings: Any
) -> Run | list[Run]:
    """Train a policy, or several with different seeds.

    Args:
            env: a Gymnasium id, also as `module:Env-v0`; a `Kernel`; a function that makes an environment; an
                environment, or a vector environment.
            algorithm: a name, or a configuration such as `Reinforce(gamma=0.9)`.
            seeds: see below.
            settings: the fields of `Settings`:
            {settings}

    Returns:
            The run, or with `seeds` the list of them. Ctrl-C ends a training after its current update; what was
            learned is saved and returned, with `ended="interrupted"`.

    Raises:
            ValueError, TypeError: a setting is wrong; the message says which and what to do.
            FileExistsError: there is something at `out` already.
            FileNotFoundError: there is a run to resume at `out`, but no checkpoint.
            CheckpointError: the checkpoint is damaged, or belongs to another training.
            NonFiniteError: a NaN or an infinity appeared (a `run.StoppedError`).
            EnvironmentFault: the environment broke Gymnasium's contract, or its process ended.
            KeyboardInterrupt: Ctrl-C was pressed before the training began.
            SystemExit: SIGTERM (status 143) or SIGHUP (status 129) ended it, as Ctrl-C does. In threads other than the
                main one, and where the program handles these signals itself, they are left alone.

            Whatever is raised while training, what was learned is saved at `out`, and the exception's `run` is the
            run until then.
    """
    asked = settings_from({**settings, "seeds": seeds})
    if asked.eval_every is not None and isinstance(env, gym.Env | VectorEnv):
        raise ValueError(
            "eval_every needs environments beside the one given: give an id, a Kernel or a factory"
        )
    one = Experiment(env, *asked.resolved(env, algorithm))
    display = make_progress(one.steps * (asked.seeds or 1), asked.progress)
    with Interruption(display.say) as interruption:
        if asked.seeds is not None:
            at_a_time = (os.cpu_count() or 1) if asked.cores is None else asked.cores
            seeds_of_runs = range(asked.seed, asked.seed + asked.seeds)
            result = run_seeds(one, seeds_of_runs, display, at_a_time, interruption)
        else:
            with display:
                result = one.run(asked.seed, display, interruption, out=asked.out)
            if interruption.signaled:
                # the signal may have come when the last update was over
                result.ended = "interrupted"
    if interruption.status is not None:
        end = SystemExit(interruption.status)
        end.run = result  # pyright: ignore[reportAttributeAccessIssue]
        raise end
    return result


def _documented() -> str:
    """The fields of `Settings` as a docstring's list of arguments."""
    texts = described(EnvOptions, Settings)
    entries = (f"{field.name}: {' '.join(texts[field.name].split())}" for field in fields(Settings))
    return "\n".join(
        textwrap.fill(entry, 110, initial_indent=" " * 12, subsequent_indent=" " * 16) for entry in entries
    )


if train.__doc__ is not None:
    train.__doc__ = train.__doc__.replace("            {settings}", _documented())
train.__signature__ = inspect.Signature(  # pyright: ignore[reportFunctionMemberAccess]
    [
        *list(inspect.signature(train).parameters.values())[:2],
        *(p for p in inspect.signature(Settings).parameters.values()),
    ],
    return_annotation="Run | list[Run]",
)

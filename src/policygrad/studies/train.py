"""The function `train`, which trains one run, or one run per seed."""

from __future__ import annotations

import inspect
import textwrap
from dataclasses import fields
from typing import Any, overload

import gymnasium as gym
from gymnasium.vector import VectorEnv

from policygrad._support.field_docs import field_docs
from policygrad.algorithms import Algorithm
from policygrad.envs import EnvLike, EnvOptions
from policygrad.runs.experiment import Experiment
from policygrad.runs.interruption import Interruption
from policygrad.runs.progress import make_progress
from policygrad.runs.run import Run
from policygrad.runs.running import run_experiment
from policygrad.runs.settings import Settings, settings_from
from policygrad.scheduling import actors_for
from policygrad.studies.seeds import run_seeds


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
            env: a Gymnasium id, optionally with a module to import, as `module:Env-v0`; a `Kernel`; a function that
                makes an environment; an environment; or a vector environment.
            algorithm: a name, or a configuration such as `Reinforce(gamma=0.9)`.
            seeds: see below.
            settings: the fields of `Settings`:
            {settings}

    Returns:
            The run, or with `seeds` a list of runs. Ctrl-C ends training after the current update; what was learned
            is saved and returned, with `ended="interrupted"`.

    Raises:
            ValueError, TypeError: a setting is wrong; the message says which one and what to do.
            FileExistsError: there is already something at `out`.
            FileNotFoundError: there is a run to resume at `out`, but it has no checkpoint.
            CheckpointError: the checkpoint is damaged, or belongs to a different training run.
            NonFiniteError: a NaN or an infinity appeared (raised as a `StoppedError`).
            ConnectionError: the cluster that `on` names cannot be used.
            EnvironmentFault: the environment violated Gymnasium's API, or its process ended.
            KeyboardInterrupt: Ctrl-C was pressed before training began.
            SystemExit: SIGTERM (status 143) or SIGHUP (status 129) ended the training in the same way as Ctrl-C. These
                signals are not handled in threads other than the main one, or if the program has its own handlers.

    If an exception is raised during training, what was learned is saved at `out`, and the exception's attribute `run`
    is the run up to that point.
    """
    requested = settings_from({**settings, "seeds": seeds})
    if requested.eval_every is not None and isinstance(env, gym.Env | VectorEnv):
        raise ValueError(
            "eval_every needs environments in addition to the object that was given. Give an id, a Kernel or a factory."
        )
    experiment = Experiment(env, *requested.resolved(env, algorithm))
    display = make_progress(experiment.steps * (requested.seeds or 1), requested.progress)
    with Interruption(display.say) as interruption:
        if requested.seeds is not None:
            seeds_of_runs = range(requested.seed, requested.seed + requested.seeds)
            result = run_seeds(experiment, seeds_of_runs, display, interruption)
        else:
            with actors_for(experiment.settings, display.say) as start_actors, display:
                result = run_experiment(
                    experiment,
                    requested.seed,
                    display,
                    interruption,
                    out=requested.out,
                    start_actors=start_actors,
                )
            if interruption.signaled:
                # the signal may have arrived after the last update
                result.ended = "interrupted"
    if interruption.status is not None:
        end = SystemExit(interruption.status)
        end.run = result  # pyright: ignore[reportAttributeAccessIssue]
        raise end
    return result


def _documented() -> str:
    """Return the fields of `Settings` as the list of arguments of a docstring."""
    texts = field_docs(EnvOptions, Settings)
    entries = (f"{field.name}: {texts[field.name]}" for field in fields(Settings))
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

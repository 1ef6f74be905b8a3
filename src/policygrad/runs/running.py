"""Running an experiment with one seed: from its parts to a run with its files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, cast

from policygrad._support.isolation import in_ordinary_torch
from policygrad._support.state import unpack
from policygrad._support.threads import Workers, single_thread
from policygrad.algorithms import WithLoss, engine_for
from policygrad.engines import make_engine
from policygrad.envs import Environments, Shaping, make
from policygrad.evaluation.periodic import PeriodicEvaluation
from policygrad.interfaces import Engine, TrustRegionEngine
from policygrad.parallel import Actors, LocalActors, ParallelEngine, Share, Team
from policygrad.policies import Policy
from policygrad.presets import DEFAULT_ENVS
from policygrad.runs.checkpoint import FILE_NAME, reporting_damage
from policygrad.runs.experiment import Experiment
from policygrad.runs.folder import RunFolder
from policygrad.runs.interruption import Interruption
from policygrad.runs.locked_folder import LockedFolder
from policygrad.runs.progress import Progress
from policygrad.runs.recorder import Recorder
from policygrad.runs.resume import Resumed, checkpoint_to_resume
from policygrad.runs.run import Run
from policygrad.runs.selecting import select_best
from policygrad.runs.sharing import check_networks, losses_of
from policygrad.training import Iteration, Training
from policygrad.types import State

ORPHANS_SAVE = 30.0
"""Seconds to wait for the folder of one seed of many, where a process that has lost its parent may still be saving."""

StartActors: TypeAlias = Callable[[Experiment, int], Actors]
"""Starts the actors of a run, given its experiment and its seed."""


@in_ordinary_torch
def run_experiment(
    experiment: Experiment,
    seed: int,
    display: Progress,
    interruption: Interruption,
    *,
    out: str | Path | None = None,
    alone: bool = True,
    start_actors: StartActors | None = None,
) -> Run:
    """Train with one seed, `alone` or as one of many runs, with actors elsewhere or in this process.

    The errors are those of `train`.
    """
    with ExitStack() as open_until_the_end:
        folder = None
        if out is not None:
            # with many runs, only their common folder may be replaced
            overwrite = experiment.settings.overwrite and alone
            folder = open_until_the_end.enter_context(
                LockedFolder(
                    out,
                    overwrite=overwrite,
                    resume=experiment.settings.resume,
                    patience=0.0 if alone else ORPHANS_SAVE,
                )
            )
        parts = _built(experiment, seed, display, open_until_the_end, start_actors)
        if alone:
            _say_if_an_update_exceeds_the_budget(experiment, parts.environments, display)
        config = parts.run.config = experiment.config(seed, parts.environments)
        saved = (
            checkpoint_to_resume(folder.path, config) if folder is not None and folder.can_resume else None
        )
        recorder = Recorder(
            parts.run,
            display,
            interruption,
            stop=experiment.settings.stop_at is not None,
            select=_selecting(experiment, parts.environments) if experiment.settings.select else None,
            candidates=parts.training.candidates,
            on_update=experiment.settings.on_update,
            state=parts.state,
            alone=alone,
        )
        if saved is not None and not _resumed(recorder, parts, saved):
            display.say("the episodes that were in progress cannot be resumed, so new ones begin")
        if folder is not None:
            parts.run.out = folder.path
            with interruption.saving:
                run_folder = RunFolder(
                    folder,
                    config,
                    parts.facts() | {"seed": seed},
                    resumed=saved,
                    steps=parts.training.used,
                    alone=alone,
                    save_episodes=experiment.settings.save_episodes,
                    wandb=experiment.settings.wandb,
                )
                recorder.folder = open_until_the_end.enter_context(run_folder)
        if saved is not None and alone:
            display.say(f"resuming the run at {out} after {parts.training.used:,} steps")
        loop = parts.loop()
        if experiment.settings.stop_at is not None and parts.training.solved:
            # the run had already ended before it was resumed
            loop, parts.run.ended = iter(()), "stop_at"
        with single_thread():
            recorded = recorder.record(loop)
        interruption.closing()
        return recorded


def _built(
    experiment: Experiment,
    seed: int,
    display: Progress,
    open_until_the_end: ExitStack,
    start_actors: StartActors | None,
) -> _Parts:
    """Make the environments, the networks, the engine and the training loop of one run."""
    settings, algorithm = experiment.settings, experiment.algorithm
    if isinstance(algorithm, WithLoss):
        algorithm.check_unchanged()
    experiment.check_actors()
    workers = Workers(experiment.cores)
    open_until_the_end.callback(workers.close)
    environments = make(
        experiment.env,
        # actors have environments of their own
        settings.num_envs if settings.actors is None else 1,
        settings if settings.actors is None else replace(settings, vectorize="sync"),
        otherwise=DEFAULT_ENVS,
        threads=experiment.env_threads,
        say=display.say,
    )
    open_until_the_end.callback(environments.close)
    if settings.log_info:
        environments.log_info(settings.log_info)
    policy, value = experiment.networks(environments, seed)
    engine = make_engine(
        policy, value, algorithm.optimizer, settings.engine, display.say, workers, needs=engine_for(algorithm)
    )  # fmt: skip
    team = None
    if settings.actors is not None:
        check_networks(policy, value)
        actors = (start_actors or partial(_local_actors, workers))(experiment, seed)
        open_until_the_end.callback(actors.close)
        team = Team(actors, policy, value, experiment.num_envs())
        engine = ParallelEngine(cast(TrustRegionEngine, engine), team, losses_of(algorithm))
    threshold = environments.reward_threshold if settings.stop_at is None else settings.stop_at
    training = Training(
        environments,
        policy,
        engine,
        algorithm,
        steps=experiment.steps,
        seed=seed,
        shaping=cast("Shaping | None", settings.shaping),
        threshold=threshold,
        stop=settings.stop_at is not None,
        workers=workers,
        loop=settings.loop,
        row_by_row=settings.on_update is not None,
        team=team,
        say=display.say,
    )
    evaluations = None
    if settings.eval_every is not None:
        evaluations = PeriodicEvaluation(
            experiment.env,
            settings,
            settings.eval_every,
            settings.eval_episodes,
            seed,
            experiment.env_threads,
        )
        open_until_the_end.callback(evaluations.close)
    run = Run(policy, policy, threshold, engine.name, environments.name, seed=seed)
    return _Parts(environments, policy, engine, training, evaluations, run)


def _say_if_an_update_exceeds_the_budget(
    experiment: Experiment, environments: Environments, display: Progress
) -> None:
    """Tell the user if one update, in which all parallel environments take part, exceeds the budget."""
    N = experiment.num_envs(environments)
    samples = N * getattr(experiment.algorithm, "horizon", 1)
    what, limit = f"{samples:,} steps", environments.max_episode_steps
    if episodes := getattr(experiment.algorithm, "episodes_per_env", 0):
        samples = N * episodes
        what = f"{samples:,} whole episodes"
        what += f" of up to {limit:,} steps" if limit is not None else ""
    if samples > experiment.steps:
        display.say(
            f"an update takes {what}, which is more than the budget of {experiment.steps:,} steps, so the budget "
            "will be exceeded. Use fewer environments (--num-envs) for smaller updates."
        )


def _local_actors(workers: Workers, experiment: Experiment, seed: int) -> Actors:
    with ExitStack() as opened:
        shares = list[Share]()
        for actor in range(cast(int, experiment.settings.actors)):
            shares.append(experiment.share(seed, actor))
            opened.callback(shares[-1].close)
        # from now on, the actors close them
        opened.pop_all()
    return LocalActors(shares, workers)


def _selecting(experiment: Experiment, environments: Environments) -> Any:
    """Return the function that chooses the best of several policies."""
    return partial(
        select_best, env=experiment.env, options=experiment.settings, opened=environments,
        num_envs=experiment.num_envs(environments), can_repeat=experiment.can_repeat, threads=experiment.env_threads,
    )  # fmt: skip


@dataclass(frozen=True)
class _Parts:
    """The components of one run."""

    environments: Environments
    policy: Policy
    engine: Engine
    training: Training
    evaluations: PeriodicEvaluation | None
    run: Run

    def loop(self) -> Iterator[Iteration]:
        """Return the iterations of training, with the evaluations between them."""
        return (
            iter(self.training)
            if self.evaluations is None
            else self.evaluations.watch(self.training, self.policy)
        )

    def state(self) -> State:
        """Return the serializable state of training and of its evaluations."""
        return {
            "training": self.training.state(),
            "tests": None if self.evaluations is None else self.evaluations.state(),
        }

    def facts(self) -> dict[str, Any]:
        """Return what the manifest says about how the run was computed."""
        return {
            "engine": self.engine.name,
            "environments": type(self.environments.vector.unwrapped).__name__,
            "autoreset_mode": self.environments.autoreset_mode.value,
        }


def _resumed(recorder: Recorder, parts: _Parts, saved: Resumed) -> bool:
    """Restore a run from its checkpoint. Return whether the episodes that were in progress continue."""
    with reporting_damage(saved.path / FILE_NAME):
        of_training, of_evaluations = unpack(recorder.restore(saved.run), "training", "tests")
        within_episodes = parts.training.restore(of_training)
        if parts.evaluations is not None and of_evaluations is not None:
            parts.evaluations.restore(of_evaluations)
        recorder.restore_rows(saved.rows())
    return within_episodes

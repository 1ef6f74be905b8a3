"""An experiment, which is everything about a training run except its seed, and running it with a seed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import gymnasium as gym
from gymnasium.vector import VectorEnv
from torch import nn

from policygrad._support.isolation import in_ordinary_torch
from policygrad._support.seeding import stream
from policygrad._support.state import unpack
from policygrad._support.threads import Workers, single_thread
from policygrad.algorithms import Algorithm, WithLoss, critic_sees_action, described, engine_for
from policygrad.engines import make_engine
from policygrad.envs import Environments, EnvLike, KernelVectorEnv, Shaping, make
from policygrad.evaluation.periodic import PeriodicEvaluation
from policygrad.evaluation.selection import ROUND, Selection, allowance, select, typical_length
from policygrad.interfaces import Engine
from policygrad.policies import Network, Normalization, Policy, Snapshot, make_policy, make_value
from policygrad.presets import DEFAULT_ENVS
from policygrad.runs.checkpoint import FILE_NAME, reporting_damage
from policygrad.runs.folder import RunFolder
from policygrad.runs.interruption import Interruption
from policygrad.runs.locked_folder import LockedFolder
from policygrad.runs.progress import Progress
from policygrad.runs.recorder import Recorder
from policygrad.runs.resume import Resumed, checkpoint_to_resume
from policygrad.runs.run import Run
from policygrad.runs.settings import Settings
from policygrad.training import Iteration, Training
from policygrad.types import State

ORPHANS_SAVE = 30.0
"""Seconds to wait for the folder of one seed of many, where a process that has lost its parent may still be saving."""


@dataclass(frozen=True)
class Experiment:
    """Everything about a training run except its seed and its folder."""

    env: EnvLike
    algorithm: Algorithm
    settings: Settings
    """Settings as `Settings.resolved` returns them, with presets and defaults filled in."""

    @property
    def steps(self) -> int:
        """Budget in environment steps."""
        return cast(int, self.settings.steps)

    @property
    def can_repeat(self) -> bool:
        """True if `env` is an id, a kernel or a factory, which can make any number of environments."""
        return not isinstance(self.env, gym.Env | VectorEnv)

    @property
    def cores(self) -> int:
        """Number of cores per run."""
        many = self.settings.seeds is not None
        return 1 if many or self.settings.cores is None else self.settings.cores

    @property
    def env_threads(self) -> int | None:
        """Number of EnvPool's threads; None means one per core."""
        return 1 if self.settings.seeds is not None else self.settings.cores

    @in_ordinary_torch
    def run(
        self,
        seed: int,
        display: Progress,
        interruption: Interruption,
        *,
        out: str | Path | None = None,
        alone: bool = True,
    ) -> Run:
        """Train with one seed, `alone` or as one of many runs. The errors are those of `train`."""
        with ExitStack() as open_until_the_end:
            folder = None
            if out is not None:
                # with many runs, only their common folder may be replaced
                overwrite = self.settings.overwrite and alone
                folder = open_until_the_end.enter_context(
                    LockedFolder(
                        out,
                        overwrite=overwrite,
                        resume=self.settings.resume,
                        patience=0.0 if alone else ORPHANS_SAVE,
                    )
                )
            parts = self._built(seed, display, open_until_the_end)
            if alone:
                self._say_if_an_update_exceeds_the_budget(parts.environments, display)
            config = parts.run.config = self.config(seed, parts.environments)
            saved = (
                checkpoint_to_resume(folder.path, config)
                if folder is not None and folder.can_resume
                else None
            )
            recorder = Recorder(
                parts.run,
                display,
                interruption,
                stop=self.settings.stop_at is not None,
                select=partial(self._select, parts.environments) if self.settings.select else None,
                candidates=parts.training.candidates,
                on_update=self.settings.on_update,
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
                        save_episodes=self.settings.save_episodes,
                        wandb=self.settings.wandb,
                    )
                    recorder.folder = open_until_the_end.enter_context(run_folder)
            if saved is not None and alone:
                display.say(f"resuming the run at {out} after {parts.training.used:,} steps")
            loop = parts.loop()
            if self.settings.stop_at is not None and parts.training.solved:
                # the run had already ended before it was resumed
                loop, parts.run.ended = iter(()), "stop_at"
            with single_thread():
                recorded = recorder.record(loop)
            interruption.closing()
            return recorded

    def _built(self, seed: int, display: Progress, open_until_the_end: ExitStack) -> _Parts:
        """Make the environments, the networks, the engine and the training loop of one run."""
        settings, algorithm = self.settings, self.algorithm
        if isinstance(algorithm, WithLoss):
            algorithm.check_unchanged()
        workers = Workers(self.cores)
        open_until_the_end.callback(workers.close)
        environments = make(
            self.env,
            settings.num_envs,
            settings,
            otherwise=DEFAULT_ENVS,
            threads=self.env_threads,
            say=display.say,
        )
        open_until_the_end.callback(environments.close)
        if settings.log_info:
            environments.log_info(settings.log_info)
        policy, value = self.networks(environments, seed)
        engine = make_engine(
            policy, value, algorithm.optimizer, settings.engine, display.say, workers, needs=engine_for(algorithm)
        )  # fmt: skip
        threshold = environments.reward_threshold if settings.stop_at is None else settings.stop_at
        training = Training(
            environments,
            policy,
            engine,
            algorithm,
            steps=self.steps,
            seed=seed,
            shaping=cast("Shaping | None", settings.shaping),
            threshold=threshold,
            stop=settings.stop_at is not None,
            workers=workers,
            loop=settings.loop,
            row_by_row=settings.on_update is not None,
            say=display.say,
        )
        evaluations = None
        if settings.eval_every is not None:
            evaluations = PeriodicEvaluation(
                self.env, settings, settings.eval_every, settings.eval_episodes, seed, self.env_threads
            )
            open_until_the_end.callback(evaluations.close)
        run = Run(policy, policy, threshold, engine.name, environments.name, seed=seed)
        return _Parts(environments, policy, engine, training, evaluations, run)

    def networks(self, environments: Environments, seed: int) -> tuple[Policy, nn.Module | None]:
        """Make the policy and the value network of one run, or take the given ones."""
        settings, architecture, rng = (
            self.settings,
            cast(Network, self.settings.network),
            stream(seed, "init"),
        )
        policy = make_policy(
            environments.observation_space, environments.action_space, architecture, rng,
            normalization=cast(Normalization, settings.normalization),
            given=cast("nn.Module | None", settings.policy), environment_name=environments.name,
        ).to(settings.device)  # fmt: skip
        # a given policy may have acted greedily, which says nothing about the policy that it becomes
        policy.greedy = False
        given = cast("nn.Module | None", settings.value)
        wanted, sees_action = self.algorithm.uses_value, critic_sees_action(self.algorithm)
        return policy, make_value(
            policy, architecture, rng, given=given, wanted=wanted, sees_action=sees_action
        )

    def _say_if_an_update_exceeds_the_budget(self, environments: Environments, display: Progress) -> None:
        """Tell the user if one update, in which all parallel environments take part, exceeds the budget."""
        samples = environments.num_envs * getattr(self.algorithm, "horizon", 1)
        what, limit = f"{samples:,} steps", environments.max_episode_steps
        if episodes := getattr(self.algorithm, "episodes_per_env", 0):
            samples = environments.num_envs * episodes
            what = f"{samples:,} whole episodes"
            what += f" of up to {limit:,} steps" if limit is not None else ""
        if samples > self.steps:
            display.say(
                f"an update takes {what}, which is more than the budget of {self.steps:,} steps, so the budget will be "
                "exceeded. Use fewer environments (--num-envs) for smaller updates."
            )

    def _select(self, environments: Environments, run: Run, snapshots: list[Snapshot]) -> Selection | None:
        """Score a run's candidates in new environments, or in the given environment object, which is free by now."""
        length = typical_length(run.history["steps"], run.history["episodes"])
        budget = allowance(environments, run.last_policy, run.steps)
        if length is None or budget < 2 * ROUND * length:
            return None  # the budget is too small to be worth opening environments
        scored = environments
        if self.can_repeat:
            compiled = isinstance(environments.vector, KernelVectorEnv)
            most = ROUND if compiled else environments.num_envs
            count = max(n for n in range(1, ROUND + 1) if ROUND % n == 0 and n <= most)
            scored = make(self.env, None, self.settings, otherwise=count, threads=self.env_threads)
        try:
            return select(run.last_policy, snapshots, scored, budget=budget, length=length, seed=run.seed)
        finally:
            if scored is not environments:
                scored.close()

    def config(self, seed: int, environments: Environments) -> dict[str, Any]:
        """Return the requested settings, with presets and defaults filled in."""
        return {
            "environment": environments.name,
            "environment_id": self.env if isinstance(self.env, str) else None,
            "algorithm": described(self.algorithm),
            **self.settings.config(),
            "num_envs": environments.num_envs,
            "seed": seed,
            "cores": self.cores,
        }


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

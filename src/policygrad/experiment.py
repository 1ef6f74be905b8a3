"""All of a training but its seed, and running it with one."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import gymnasium as gym
from gymnasium.vector import VectorEnv
from torch import nn

from policygrad.algorithms import Algorithm, critic_sees_action, name_of
from policygrad.checkpoint import FILE_NAME, fields, naming_damage
from policygrad.engines import make_engine
from policygrad.envs import Environments, EnvLike, KernelVectorEnv, Shaping, make
from policygrad.evaluation import PeriodicEvaluation
from policygrad.interfaces import Engine
from policygrad.interruption import Interruption
from policygrad.policies import Network, Normalization, Snapshot, make_policy, make_value
from policygrad.presets import DEFAULT_ENVS
from policygrad.progress import Progress
from policygrad.run import Recorder, Run
from policygrad.run_folder import Place, RunFolder, to_go_on_from
from policygrad.seeding import stream
from policygrad.selection import ROUND, Selection, allowance, select, typical_length
from policygrad.settings import Settings
from policygrad.surroundings import in_ordinary_torch
from policygrad.threads import Workers, single_thread
from policygrad.training import Training
from policygrad.types import State


@dataclass(frozen=True)
class Experiment:
    """All of a training but its seed and where it is saved."""

    env: EnvLike
    algorithm: Algorithm
    settings: Settings
    """As `Settings.resolved` returns them: presets and defaults are filled in."""

    @property
    def steps(self) -> int:
        """Budget in environment steps."""
        return cast(int, self.settings.steps)

    @property
    def can_repeat(self) -> bool:
        """True if `env` is an id, a kernel or a factory, of which any number can be made."""
        return not isinstance(self.env, gym.Env | VectorEnv)

    @property
    def cores(self) -> int:
        """Number of cores for one run."""
        many = self.settings.seeds is not None
        return 1 if many or self.settings.cores is None else self.settings.cores

    @property
    def env_threads(self) -> int | None:
        """EnvPool's threads; None is one per core."""
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
        """Train with one seed, `alone` or as one of many; raises as `train`."""
        settings, algorithm, rng = self.settings, self.algorithm, stream(seed, "init")
        with ExitStack() as open_until_the_end:
            place = None
            if out is not None:
                # of many runs it is their common folder that may be replaced
                overwrite = settings.overwrite and alone
                place = open_until_the_end.enter_context(
                    Place(out, overwrite=overwrite, resume=settings.resume)
                )
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
            acting = make_policy(
                environments.observation_space,
                environments.action_space,
                cast(Network, settings.network),
                rng,
                normalization=cast(Normalization, settings.normalization),
                given=cast("nn.Module | None", settings.policy),
                environment_name=environments.name,
            ).to(settings.device)
            # how a policy acted that is trained on says nothing of what it becomes
            acting.greedy = False
            critic = make_value(
                acting,
                cast(Network, settings.network),
                rng,
                given=cast("nn.Module | None", settings.value),
                wanted=algorithm.uses_value,
                sees_action=critic_sees_action(algorithm),
            )
            engine = make_engine(acting, critic, algorithm.optimizer, settings.engine, display.say, workers)
            stop_at = settings.stop_at
            threshold = stop_at if stop_at is not None else environments.reward_threshold
            run = Run(acting, acting, threshold, engine.name, environments.name, seed=seed)
            training = Training(
                environments,
                acting,
                engine,
                algorithm,
                steps=self.steps,
                seed=seed,
                shaping=cast("Shaping | None", settings.shaping),
                threshold=threshold,
                workers=workers,
            )
            tests = None
            if settings.test_every is not None:
                tests = PeriodicEvaluation(
                    self.env, settings, settings.test_every, settings.test_episodes, seed, self.env_threads
                )
                open_until_the_end.callback(tests.close)

            def state() -> State:
                return {"training": training.state(), "tests": None if tests is None else tests.state()}

            if alone:
                self._say_if_an_update_exceeds_the_budget(environments, display)
            config = self.config(seed, environments)
            saved = to_go_on_from(place.path, config) if place is not None and place.may_go_on else None
            recorder = Recorder(
                run,
                display,
                interruption,
                stop=stop_at is not None,
                select=partial(self._select, environments) if settings.select else None,
                state=state,
            )
            if saved is not None:
                with naming_damage(saved.path / FILE_NAME):
                    of_training, of_tests = fields(recorder.restore(saved.run), "training", "tests")
                    goes_on = training.restore(of_training)
                    if tests is not None and of_tests is not None:
                        tests.restore(of_tests)
                    recorder.restore_rows(saved.rows())
                if not goes_on:
                    display.say("the episodes that were under way cannot be resumed: new ones begin")
            if place is not None:
                run.out = place.path
                facts = _facts(engine, environments) | {"seed": seed}
                with interruption.saving:
                    folder = RunFolder(
                        place,
                        config,
                        facts,
                        resumed=saved,
                        steps=training.used,
                        alone=alone,
                        save_episodes=settings.save_episodes,
                    )
                    recorder.folder = open_until_the_end.enter_context(folder)
            if saved is not None and alone:
                display.say(f"resuming at {out} after {training.used:,} steps")
            loop = iter(training) if tests is None else tests.watch(training, acting)
            if stop_at is not None and training.solved:
                # it had come to its end before
                loop, run.ended = iter(()), "stop_at"
            with single_thread():
                recorded = recorder.record(loop)
            interruption.closing()
            return recorded

    def _say_if_an_update_exceeds_the_budget(self, environments: Environments, display: Progress) -> None:
        """Environments side by side all take part in each update, so that many of them need many steps."""
        samples = environments.num_envs * getattr(self.algorithm, "horizon", 1)
        what, limit = f"{samples:,} steps", environments.max_episode_steps
        if episodes := getattr(self.algorithm, "episodes_per_env", 0):
            samples = environments.num_envs * episodes
            what = f"{samples:,} whole episodes"
            what += f" of up to {limit:,} steps" if limit is not None else ""
        if samples > self.steps:
            display.say(
                f"an update takes {what}, more than the {self.steps:,} steps that were asked for, so more will be "
                "taken. Fewer environments (--num-envs) make smaller updates"
            )

    def _select(self, environments: Environments, run: Run, snapshots: list[Snapshot]) -> Selection | None:
        """Score a run's candidates in fresh environments, or in the object that was given, which is free now."""
        length = typical_length(run.history["steps"], run.history["episodes"])
        budget = allowance(environments, run.last_policy, run.steps)
        if length is None or budget < 2 * ROUND * length:
            # not worth opening environments for
            return None
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
        """What was asked, presets and defaults filled in."""
        algorithm = self.algorithm
        return {
            "environment": environments.name,
            "environment_id": self.env if isinstance(self.env, str) else None,
            "algorithm": {
                "name": name_of(algorithm),
                **(asdict(algorithm) if is_dataclass(algorithm) else {}),
            },
            **self.settings.config(),
            "num_envs": environments.num_envs,
            "seed": seed,
            "cores": self.cores,
        }


def _facts(engine: Engine, environments: Environments) -> dict[str, Any]:
    return {
        "engine": engine.name,
        "environments": type(environments.vector.unwrapped).__name__,
        "autoreset_mode": environments.autoreset_mode.value,
    }

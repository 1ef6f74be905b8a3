"""All of a training but its seed, and running it with one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.vector import VectorEnv
from torch import nn

from policygrad.algorithms import critic_sees_action, name_of
from policygrad.checkpoint import fields
from policygrad.engines import EngineName, make_engine
from policygrad.envs import Backend, Environments, EnvLike, PotentialShaping, make
from policygrad.evaluation import PeriodicEvaluation
from policygrad.interfaces import Engine
from policygrad.policies import make_policy, make_value
from policygrad.presets import Preset
from policygrad.progress import Progress
from policygrad.run import Recorder, Run
from policygrad.run_folder import Place, RunFolder, first_rows, to_go_on_from
from policygrad.seeding import stream
from policygrad.surroundings import in_ordinary_torch
from policygrad.threads import Workers, single_thread
from policygrad.training import Training
from policygrad.types import State


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """All of a training but its seed and where it is saved. Fields as the arguments of `train`."""

    env: EnvLike = field(kw_only=False)
    settings: Preset = field(kw_only=False)
    num_envs: int | None
    backend: Backend
    engine: EngineName
    cores: int
    env_threads: int | None
    """EnvPool's own; one a core where it is None."""
    stop_at: float | None
    test_every: int | None = None
    test_episodes: int = 10
    policy: nn.Module | None = None
    value: nn.Module | None = None
    device: str = "cpu"

    @property
    def can_repeat(self) -> bool:
        """Whether `env` is an id, a kernel or a factory, of which any number can be made."""
        return not isinstance(self.env, gym.Env | VectorEnv)

    @in_ordinary_torch
    def run(
        self,
        seed: int,
        display: Progress,
        *,
        out: str | Path | None = None,
        overwrite: bool = False,
        resume: bool = False,
        alone: bool = True,
        asked_to_end: Callable[[], bool] = lambda: False,
    ) -> Run:
        """Train with one seed, `alone` or as one of many; raises as `train`."""
        settings, rng = self.settings, stream(seed, "init")
        with ExitStack() as open_until_the_end:
            place = None
            if out is not None:
                place = open_until_the_end.enter_context(Place(out, overwrite=overwrite, resume=resume))
            workers = Workers(self.cores)
            open_until_the_end.callback(workers.close)
            environments = make(
                self.env, self.num_envs, backend=self.backend, threads=self.env_threads, say=display.say
            )
            open_until_the_end.callback(environments.close)
            acting = make_policy(
                environments.observation_space,
                environments.action_space,
                settings.network,
                rng,
                normalization=settings.normalization,
                given=self.policy,
                environment_name=environments.name,
            ).to(self.device)
            critic = make_value(
                acting,
                settings.network,
                rng,
                given=self.value,
                wanted=settings.algorithm.uses_value,
                sees_action=critic_sees_action(settings.algorithm),
            )
            motor = make_engine(
                acting, critic, settings.algorithm.optimizer, self.engine, display.say, workers
            )
            threshold = self.stop_at if self.stop_at is not None else environments.reward_threshold
            run = Run(acting, acting, threshold, motor.name, environments.name, seed=seed)
            training = Training(
                environments,
                acting,
                motor,
                settings.algorithm,
                steps=settings.steps,
                seed=seed,
                shaping=settings.shaping,
                threshold=threshold,
                workers=workers,
            )
            tests = None
            if self.test_every is not None:
                tests = PeriodicEvaluation(
                    self.env, self.backend, self.test_every, self.test_episodes, seed, self.env_threads
                )
                open_until_the_end.callback(tests.close)

            def state() -> State:
                return {"training": training.state(), "tests": None if tests is None else tests.state()}

            config = self.config(seed, environments)
            saved = to_go_on_from(place.path, config) if place is not None and place.may_go_on else None
            rows = None
            recorder = Recorder(
                run, display, stop=self.stop_at is not None, asked_to_end=asked_to_end, state=state
            )
            if saved is not None:
                assert place is not None
                rows = first_rows(place.path, saved["rows"])
                of_training, of_tests = fields(recorder.restore(saved), "training", "tests")
                if not training.restore(of_training):
                    display.say("the episodes that were under way cannot be gone on with: new ones begin")
                if tests is not None and of_tests is not None:
                    tests.restore(of_tests)
                recorder.restore_rows(rows)
            if place is not None:
                run.out = place.path
                facts = _facts(motor, environments) | {"seed": seed}
                folder = RunFolder(place, config, facts, go_on_after=rows, alone=alone)
                recorder.folder = open_until_the_end.enter_context(folder)
            if saved is not None and alone:
                display.say(f"going on at {out} after {training.used:,} steps")
            loop = iter(training) if tests is None else tests.watch(training, acting)
            if self.stop_at is not None and training.solved:
                # it had come to its end before
                loop, run.ended = iter(()), "stop_at"
            with single_thread():
                return recorder.record(loop)

    def config(self, seed: int, environments: Environments) -> dict[str, Any]:
        """What was asked, presets and defaults filled in."""
        settings = self.settings
        shaping, algorithm = settings.shaping, settings.algorithm
        return {
            "environment": environments.name,
            "environment_id": self.env if isinstance(self.env, str) else None,
            "backend": self.backend,
            "algorithm": {
                "name": name_of(algorithm),
                **(asdict(algorithm) if is_dataclass(algorithm) else {}),
            },
            "network": asdict(settings.network),
            "normalization": asdict(settings.normalization),
            "num_envs": environments.num_envs,
            "steps": settings.steps,
            "seed": seed,
            "engine": self.engine,
            "cores": self.cores,
            "stop_at": self.stop_at,
            "test_every": self.test_every,
            "test_episodes": self.test_episodes,
            "shaping": None if shaping is None else _name(shaping),
            "policy": None if self.policy is None else _name(type(self.policy)),
            "value": None if self.value is None else _name(type(self.value)),
            "device": self.device,
        }


def _facts(engine: Engine, environments: Environments) -> dict[str, Any]:
    return {
        "engine": engine.name,
        "environments": type(environments.vector.unwrapped).__name__,
        "autoreset_mode": environments.autoreset_mode.value,
    }


def _name(function: Any) -> str:
    if isinstance(function, PotentialShaping):
        return f"potential {_name(function.potential)}, gamma {function.gamma}"
    return f"{function.__module__}.{getattr(function, '__qualname__', type(function).__name__)}"

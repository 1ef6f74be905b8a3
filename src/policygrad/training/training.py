"""The training loop: a generator of iterations."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from policygrad._support.checks import whole
from policygrad._support.isolation import default_numpy_errors
from policygrad._support.seeding import stream
from policygrad._support.state import module_state, restore_module, restore_rng, rng_state, unpack
from policygrad._support.threads import Workers
from policygrad.algorithms import Algorithm
from policygrad.algorithms.diagnostics import mean
from policygrad.algorithms.with_recipe import has_traces
from policygrad.envs import Environments, Shaping
from policygrad.interfaces import Collector, Engine
from policygrad.parallel import ParallelCollector, Team
from policygrad.policies import Policy, Snapshot
from policygrad.rollout import EpisodeReturns, RewardScaling
from policygrad.training.candidates import Candidates
from policygrad.training.collecting import collector_of
from policygrad.training.iteration import SMALLEST_ROW, Iteration
from policygrad.training.reason import reason_for_python
from policygrad.training.recent_returns import WINDOW, RecentReturns
from policygrad.training.recovery import Recovery
from policygrad.training.update_metrics import Means, rollout_metrics
from policygrad.types import F64, LearnerState, State

if TYPE_CHECKING:
    from policygrad.training.compiled_training import CompiledTraining

LoopName = Literal["auto", "compiled", "python"]
_NO_EPISODES: F64 = np.zeros(0)
HOT = 5.0
"""Seconds that a process may spend in the loop in Python before it compiles the one in machine code. Short runs on a
new machine thus need not wait for it."""


class _Python:
    """The time that this process has spent in the loop in Python where machine code could take its place."""

    seconds = 0.0


class Training:
    """Collects samples and learns from them until `steps` have been used. The last episodes are finished, never cut.

    Iterating over it runs the training. Between two iterations, its `state` is all that the next ones depend on.

    Args:
        environments, policy, engine, algorithm: the components to train with.
        steps: budget in environment steps.
        seed: seed of the random streams of the environments, the actions and the learner.
        shaping: replaces the reward that is learned from.
        threshold: mean return at which `Iteration.solved` becomes True; with None it never does.
        stop: iterations should end as soon as the threshold is reached.
        workers: cores on which samples are collected.
        loop: `compiled` performs many updates per call in machine code, `python` performs them one by one, and `auto`
            is `compiled` where possible.
        row_by_row: iterations have a single row each, in machine code too.
        team: the actors that collect and compute, if the run has any; the engine must be that of these actors.
        say: called with messages, such as which of the two loops it is.
    """

    def __init__(
        self,
        environments: Environments,
        policy: Policy,
        engine: Engine,
        algorithm: Algorithm,
        *,
        steps: int,
        seed: int,
        shaping: Shaping | None = None,
        threshold: float | None = None,
        stop: bool = False,
        workers: Workers | None = None,
        loop: LoopName = "auto",
        row_by_row: bool = False,
        team: Team | None = None,
        say: Callable[[str], None] = lambda message: None,
    ) -> None:
        self._policy, self._engine, self._algorithm = policy, engine, algorithm
        self._resets_by_seed = environments.resets_by_seed
        self._steps, self._shaping, self._threshold = steps, shaping, threshold
        self._ended_info = environments.ended_info
        self._collector: Collector
        if team is None:
            self._collector = collector_of(
                environments, policy, engine, seed=seed, steps=steps, shaping=shaping, workers=workers
            )
        else:
            self._collector = ParallelCollector(team, policy, self._ended_info)
        self._recovery: Recovery | None = None
        if team is not None and team.actors.may_be_lost:
            self._recovery = Recovery(team, self._collector, self._whole_state, self._restore_whole, say)
        self._noise = None if has_traces(algorithm) else getattr(engine, "gradient_noise", None)
        self._learner = LearnerState(stream(seed, "shuffle"))
        self._scaled = RewardScaling(policy, algorithm.gamma)
        N = environments.num_envs if team is None else team.num_envs
        self._ended, self._ended_shaped = EpisodeReturns(N), EpisodeReturns(N)
        self._recent = RecentReturns()
        self.candidates = Candidates(policy.snapshot())
        """The policies that may be the best of the run."""
        self.used = 0
        """Number of samples learned from."""
        self._row_by_row = row_by_row
        self.pause_at = math.inf
        """Number of samples after which an iteration should end, because something else is due then."""
        self._episodes = 0
        self._seconds = 0.0
        cores = 1 if workers is None else workers.cores
        reason = "actors compute the updates"
        if team is None:
            reason = reason_for_python(environments, policy, engine, algorithm, shaping, cores)
        if loop == "compiled" and reason is not None:
            raise ValueError(f"loop='compiled' is not possible here: {reason}. Use loop='auto'.")
        if reason is None and loop == "python":
            reason = "requested"
        self._stop_at = math.inf if threshold is None or not stop else threshold
        self._compiled: CompiledTraining | None = None
        self._compiles_when_hot = self._warm = False
        if reason is None:
            from policygrad.training.compiled_training import is_cached

            self._compiles_when_hot = not (loop == "compiled" or is_cached())
            if self._compiles_when_hot:
                reason = f"machine code takes its place after {HOT:g} s, once it is worth compiling"
            else:
                self._compiled = self._compile()
        say(f"loop: {'machine code' if reason is None else f'Python ({reason})'}")

    def __iter__(self) -> Iterator[Iteration]:
        """Yield the remaining iterations."""
        snapshot = self._policy.snapshots()
        while self.used < self._steps:
            if self._compiles_when_hot and _Python.seconds >= HOT:
                self._compiles_when_hot, self._compiled = False, self._compile()
            if self._compiled is not None:
                yield self._iteration_of(self._compiled)
                continue
            acted = snapshot()
            if self._recovery is None:
                yield self._iteration(acted)
            else:
                yield self._recovery.updated(partial(self._iteration, acted))

    def _compile(self) -> CompiledTraining:
        from policygrad.training.compiled_training import CompiledTraining

        return CompiledTraining(
            self._algorithm, self._policy, self._engine, self._collector, self._learner, self._recent,
            self.candidates, self._ended, self._ended_shaped, self._scaled,
            shaping=self._shaping, steps=self._steps, stop_at=self._stop_at,
        )  # fmt: skip

    def _iteration_of(self, compiled: CompiledTraining) -> Iteration:
        """Return the next rows from machine code."""
        iteration = compiled.run(
            self.used, self._episodes, self._seconds, 0 if self._row_by_row else self.pause_at
        )
        last = iteration.last
        self.used, self._episodes, self._seconds = int(last["steps"]), int(last["episodes"]), last["seconds"]
        return replace(iteration, solved=self.solved)

    def _iteration(self, acted: Snapshot) -> Iteration:
        began = time.perf_counter()
        updates, rows, samples = Means(), 0, 0
        returns, lengths = _NO_EPISODES, _NO_EPISODES
        while self.used < self._steps and samples < SMALLEST_ROW and not len(returns):
            collected = self._algorithm.collect(self._collector)
            self._learner.progress = self.used / self._steps
            if not collected.num_samples:
                # every environment was only reset
                continue
            if self._noise is not None:
                self._noise.begin_update(collected.num_samples)
            with default_numpy_errors():
                learned = self._algorithm.learn(self._engine, self._scaled(collected), self._learner)
            self._policy.refresh_normalizer()
            more_returns, more_lengths = self._ended.of(collected, collected.original_reward)
            update = rollout_metrics(collected, self._policy) | learned
            if self._shaping is not None:
                shaped_returns, _ = self._ended_shaped.of(collected, collected.reward)
                update["shaped_return"] = mean(shaped_returns) if len(shaped_returns) else math.nan
            updates.add(update)
            returns, lengths = np.append(returns, more_returns), np.append(lengths, more_lengths)
            rows += collected.valid.size
            samples += collected.num_samples
            self.used += collected.num_samples
        full = self._episodes >= WINDOW
        self._recent.extend(returns)
        self._episodes += len(returns)
        recent = self._recent.mean
        new_best = self.candidates.consider(acted, recent, self._episodes, full=full, ended=len(returns) > 0)
        took = time.perf_counter() - began
        self._seconds += took
        if self._compiles_when_hot and self._warm:
            # the first iteration may have waited for other functions to be compiled
            _Python.seconds += took
        self._warm = True
        metrics = {
            "steps": self.used,
            "episodes": self._episodes,
            "seconds": self._seconds,
            "return": mean(returns) if len(returns) else math.nan,
            "return_100": recent,
            "episode_length": mean(lengths) if len(returns) else math.nan,
            "idle_share": 1 - samples / rows,
            **({} if self._noise is None else self._noise.metrics()),
            **updates.means(),
            **({} if self._ended_info is None else self._ended_info.means()),
        }
        table = np.array([list(metrics.values())], np.float64)
        return Iteration(
            tuple(metrics), table, returns, np.array([len(returns)]), acted, new_best, self.solved
        )

    @property
    def solved(self) -> bool:
        """True if the mean of the last `WINDOW` returns reaches the threshold; False until there are that many."""
        return (
            self._threshold is not None and self._episodes >= WINDOW and self._recent.mean >= self._threshold
        )

    def state(self) -> State:
        """Return everything that the next iterations depend on, except the settings and the candidates."""
        collector = self._collector.state() if self._recovery is None else self._recovery.collector_state()
        return self._state(collector)

    def _whole_state(self, collector: State) -> State:
        return {"training": self._state(collector), "candidates": self.candidates.state()}

    def _state(self, collector: State) -> State:
        learner = self._learner
        return {
            "policy": module_state(self._policy),
            "engine": self._engine.state(),
            "collector": collector,
            "learning": {
                "rng": rng_state(learner.rng),
                "adapted": dict(learner.adaptive_coefficients),
                "traces": {name: trace.copy() for name, trace in learner.traces.items()},
            },
            "under way": {
                "scaled": self._scaled.so_far.copy(),
                "ended": self._ended.so_far.copy(),
                "ended shaped": self._ended_shaped.so_far.copy(),
            },
            "recent": self._recent.to_list(),
            "counts": {"used": self.used, "episodes": self._episodes, "seconds": self._seconds},
        }

    def restore(self, state: State) -> bool:
        """Continue from that state.

        Returns:
            True if training continues as if it had never been interrupted. Otherwise the episodes that were in
            progress are lost, because the state of the environments cannot be saved, and new ones begin.

        Raises:
            CheckpointError: the state is from different settings or from another version.
        """
        if self._recovery is None:
            return self._restore(state)
        return self._recovery.restored(partial(self._restore, state))

    def _restore_whole(self, state: State) -> bool:
        self.candidates.restore(state["candidates"])
        return self._restore(state["training"])

    def _restore(self, state: State) -> bool:
        policy, engine, collector, learner, under_way, recent, counts = unpack(
            state, "policy", "engine", "collector", "learning", "under way", "recent", "counts"
        )
        restore_module(self._policy, policy, "policy")
        self._engine.restore(engine)
        rng, adaptive_coefficients, traces = unpack(learner, "rng", "adapted", "traces")
        restore_rng(self._learner.rng, rng)
        self._learner.adaptive_coefficients = adaptive_coefficients
        self._recent.restore(recent)
        used, episodes, seconds = unpack(counts, "used", "episodes", "seconds")
        self.used, self._episodes = whole("used", used, at_least=0), whole("episodes", episodes, at_least=0)
        self._seconds = float(seconds)
        sums = unpack(under_way, "scaled", "ended", "ended shaped")
        continues = self._collector.restore(collector)
        self._learner.traces = traces if continues else {}
        parts = (self._scaled, self._ended, self._ended_shaped)
        for part, saved in zip(parts, sums, strict=True):
            part.so_far = saved if continues else np.zeros_like(saved)
        # if all sums are 0, all episodes were at their beginnings, which seeded resets may reproduce
        return continues or (self._resets_by_seed and not any(saved.any() for saved in sums))

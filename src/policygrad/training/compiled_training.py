"""Runs the compiled loop for a training run, on the arrays that its other parts use as well."""

from __future__ import annotations

import time

import numpy as np

from policygrad._support.random_bits import bits_of
from policygrad._support.references import Placed
from policygrad.algorithms import Algorithm, WithRecipe
from policygrad.algorithms.steps import not_finite
from policygrad.engines.fused import FusedEngine
from policygrad.engines.fused.traces import new_traces
from policygrad.engines.gradient_noise import NOISE_METRICS
from policygrad.envs import Shaping
from policygrad.envs.kernel_vector import named_faults
from policygrad.envs.shaping import compiled_potential
from policygrad.errors import NonFiniteError
from policygrad.interfaces import Collector, Engine
from policygrad.policies import Policy, Snapshot
from policygrad.rollout import EpisodeReturns, RewardScaling
from policygrad.rollout.compiled_collector import CompiledCollector
from policygrad.rollout.host_collector import shaped_reward
from policygrad.training import compiled_loop as loop
from policygrad.training import memory as code
from policygrad.training.candidates import Candidates
from policygrad.training.iteration import Iteration
from policygrad.training.memory import MEMORY, Carried, Memory, Statistics, World
from policygrad.training.plan import MOST_ROWS, logged_metrics, make_plan, make_results, make_work
from policygrad.training.policy_statistics import PolicyStatistics
from policygrad.training.recent_returns import RecentReturns
from policygrad.types import Inputs, LearnerState

PAUSE = 0.1
"""Seconds after which a call should end, so that training can be displayed, saved and interrupted."""


def is_cached() -> bool:
    """Return True if the loop need not be compiled before its first call."""
    return loop.run_updates.is_cached


FIRST_CALL = 2_048
"""Number of samples of the first call, before the speed is known."""


class CompiledTraining:
    """Runs many updates per call in machine code, in place of the loop of `Training`.

    All state is that of the objects it is given, so that it can be saved and restored between two calls as usual.

    Args:
        algorithm: an algorithm that `reason.reason_for_python` has nothing against.
        policy, engine, collector, learner, recent, candidates, ended: the parts of a training run.
        steps: budget in environment steps.
        stop_at: mean of the recent returns at which a call ends; infinite if it does not matter.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        policy: Policy,
        engine: Engine,
        collector: Collector,
        learner: LearnerState,
        recent: RecentReturns,
        candidates: Candidates,
        ended: EpisodeReturns,
        ended_shaped: EpisodeReturns,
        scaled: RewardScaling,
        *,
        shaping: Shaping | None,
        steps: int,
        stop_at: float,
    ) -> None:
        assert isinstance(algorithm, WithRecipe)
        assert isinstance(engine, FusedEngine)
        assert isinstance(collector, CompiledCollector)
        recipe = algorithm.recipe
        assert recipe is not None
        loop.run_updates.compile()
        self._recipe, self._policy, self._engine, self._collector = recipe, policy, engine, collector
        self._learner, self._recent, self._candidates, self._ended = learner, recent, candidates, ended
        self._ended_shaped, self._scaled, self._shaping = ended_shaped, scaled, shaping
        self._steps, self._stop_at = steps, stop_at
        N = collector.vector.num_envs
        algorithm.check_update(recipe.horizon or collector.vector.kernel.max_steps, N)
        self._penalty = recipe.penalty
        potential = compiled_potential(shaping)
        self._plan = make_plan(algorithm, recipe, engine, algorithm.optimizer, potential)
        logged = logged_metrics(algorithm, recipe, policy, shaped=potential is not None)
        own = [
            k for k, name in enumerate(loop.OWN_METRICS) if not (recipe.has_traces and name in NOISE_METRICS)
        ]
        self._names = (*(loop.OWN_METRICS[k] for k in own), *(code.METRICS[k] for k in logged))
        self._logged = [*own, *(len(loop.OWN_METRICS) + k for k in logged)]
        self._work = make_work(collector, recipe, engine)
        self._statistics = PolicyStatistics(policy)
        columns, statistics = len(loop.OWN_METRICS) + len(code.METRICS), self._statistics.all.size
        self._results = make_results(policy, candidates, columns, statistics, self._work.valid.size)
        self._counts = np.zeros(loop.COUNTS, np.int64)
        self._sums, self._defined = np.zeros(len(code.METRICS)), np.zeros(len(code.METRICS), np.int64)
        self._fault: Exception | None = None
        self._samples = float(FIRST_CALL)
        self._memory: Placed | None = None
        self.rows_per_call = MOST_ROWS
        """Largest number of rows that a call returns."""

    def run(self, used: int, episodes: int, seconds: float, pause_at: float) -> Iteration:
        """Return the next rows, at least one, and raise the error that ended the call before.

        Args:
            used, episodes, seconds: samples, episodes and seconds of the run so far.
            pause_at: number of samples after which the call ends.

        Raises:
            NonFiniteError, EnvironmentFault, ValueError: as by the loop in Python.
        """
        if self._fault is not None:
            raise self._fault
        counts, results = self._counts, self._results
        counts[[loop.WRITTEN, loop.RETURNS, loop.ROW_BEGAN, loop.NEW_BEST]] = 0
        counts[[loop.USED, loop.ALL_EPISODES]] = used, episodes
        results.changed[:] = 0
        began = time.perf_counter()
        pause = min(pause_at, used + self._samples, 2.0**62)
        try:
            self._call(int(pause))
        except Exception as error:
            if counts[loop.WRITTEN] == 0:
                raise
            # what was learned before counts; the error is raised by the next call
            self._fault = error
        took = time.perf_counter() - began
        rows = int(counts[loop.WRITTEN])
        table = results.table[:rows, self._logged]
        done = table[:, 0] - used
        table[:, 2] = seconds + took * done / done[-1]
        self._samples = min(done[-1] * PAUSE / max(took, 1e-9), 4 * max(self._samples, done[-1]))
        for place in np.flatnonzero(results.changed).tolist():
            buffers = self._statistics.buffers(results.candidate_statistics[place])
            self._candidates.put(place, Snapshot(results.candidates[place].copy(), buffers))
        turn = 1 - counts[loop.TURN]
        return Iteration(
            self._names,
            table,
            results.returns[: counts[loop.ROW_BEGAN]].copy(),
            results.episodes[:rows].copy(),
            Snapshot(results.acted[turn].copy(), self._statistics.buffers(results.acted_statistics[turn])),
            bool(counts[loop.NEW_BEST]),
            False,
        )

    def _call(self, pause_at: int) -> None:
        """Run the compiled loop until a row is complete and it pauses; raise the error of a fault."""
        collector, counts, plan, work = self._collector, self._counts, self._plan, self._work
        vector, N = collector.vector, collector.vector.num_envs
        self._statistics.load()
        carried = self._carried()
        world = self._world(carried.statistics)
        if self._memory is None:
            self._memory = Placed(Memory(world, plan, work, carried, self._results), MEMORY)
        else:
            # the rest stays in place, because there may be a call per update
            self._memory.set(("world",), world)
            self._memory.set(("carried",), carried)
        memory = self._memory
        if self._penalty is not None:
            plan.penalty[0] = self._penalty.weight(self._learner)
        ending = loop.NEEDS_NOISE
        try:
            while ending == loop.NEEDS_NOISE:
                noise = collector.noise.peek(2**62)
                memory.set(("world", "noise"), noise.reshape(len(noise), N, -1))
                counts[loop.NOISE] = 0
                with named_faults(vector.kernel.name, world.where):
                    ending = loop.run_updates(
                        memory.address, self._steps, self._stop_at, pause_at, self.rows_per_call
                    )
                collector.noise.advance(int(counts[loop.NOISE]))
        finally:
            collector.seeds.restore({"next": int(world.seeds[0]), "stride": int(world.seeds[1])})
            self._statistics.store()
            vector.over[:] = plan.horizon == 0
            collector.environments.current = vector.shown()
            if self._penalty is not None:
                self._learner.adaptive_coefficients[self._penalty.coefficient] = float(plan.penalty[0])
        fault, status = divmod(ending, 10)
        if fault == loop.ENVIRONMENT:
            collector.raise_fault(status, work.steps, int(counts[loop.STOPPED_AT]), world.where)
        if fault == loop.LEARNING:
            self._raise(status)

    def _world(self, statistics: Statistics) -> World:
        collector = self._collector
        vector, seeds = collector.vector, collector.seeds.state()
        if self._recipe.horizon is not None and collector.environments.current is None:
            collector.environments.reset(collector.seeds)
            seeds = collector.seeds.state()
        actor, critic = (placed.address for placed in self._engine.nets)
        return World(
            vector.addresses, vector.states, vector.rngs, vector.elapsed, vector.observations, vector.kernel.max_steps,
            alive=np.ones(vector.num_envs, np.bool_),
            where=np.full(3, -1, np.int64),
            seeds=np.array([seeds["next"], seeds["stride"]]),
            head=collector.head,
            actor=actor,
            critic=critic,
            spaces=collector.spaces._replace(shift=statistics.shift, scale=statistics.scale),
            noise=np.zeros((0, 0, 0)),
            bits=bits_of(self._learner.rng),
        )  # fmt: skip

    def _carried(self) -> Carried:
        collector, traces = self._collector, self._learner.traces
        N = collector.vector.num_envs
        weight, moments = np.ones(N), np.zeros((2, 3))
        if self._recipe.discount_weighting and self._recipe.horizon is not None:
            weight = traces.setdefault("importance", weight)
        if self._recipe.remembered is not None:
            moments = traces.setdefault("moments", moments)
        returns = np.zeros(0) if self._policy.reward_scale is None else self._scaled.of(N)
        trace = np.zeros((0, 0), np.float32)
        if any(one.traces is not None for one in self._recipe.passes):
            for name, new in new_traces(self._engine.nets, N).items():
                traces.setdefault(name, new)
        return Carried(
            self._counts, self._ended.so_far, weight, moments, self._recent.ring, self._recent.count,
            self._sums, self._defined, traces.get("policy", trace), traces.get("value", trace),
            self._ended_shaped.so_far,
            self._statistics.views(collector.spaces.shift, collector.spaces.scale, returns),
            self._engine.gradient_noise.numbers,
        )  # fmt: skip

    def _raise(self, status: int) -> None:
        """Raise the error of an update that was not finished."""
        T, work, policy = int(self._counts[loop.ROWS]), self._work, self._policy
        valid, steps = work.valid[:T], work.steps
        shaped, scaled = (x[: valid.size].reshape(valid.shape) for x in (work.shaped, work.scaled))
        reward = shaped if self._shaping is not None else steps.reward[:T]
        if status == code.BAD_SHAPED and self._shaping is not None:
            raw, raw_next = (self._collector.vector.in_own_form(x[:T]) for x in (steps.raw, steps.raw_next))
            ends = steps.terminated[:T], steps.truncated[:T]
            shaped_reward(self._shaping, steps.reward[:T], raw, raw_next, *ends, valid)
        if policy.reward_scale is not None:
            if status == code.BAD_RETURN:
                policy.reward_scale.moments.add(scaled[valid][:, None])
            reward = scaled
        names = {
            code.BAD_VALUE: "V(s)",
            code.BAD_ADVANTAGE: "advantage",
            code.BAD_TARGET: self._recipe.name_of_targets,
        }
        if status in names:
            raise NonFiniteError(not_finite(names[status], reward))
        observation = steps.observation[:T][valid]
        outputs = work.outputs[: 3 * len(observation)].reshape(3, len(observation))
        self._engine.check_finite(
            outputs, Inputs(observation), policy=True, value=self._engine.value is not None
        )

"""Collects from compiled environments with the fused engine; no Python runs between steps."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from gymnasium import spaces

from policygrad._support.seeding import EnvShare, EpisodeSeeds
from policygrad._support.threads import Workers
from policygrad.engines.fused import FusedEngine
from policygrad.envs import Environments, Shaping
from policygrad.envs.kernel_vector import KernelVectorEnv, named_faults
from policygrad.errors import NonFiniteError
from policygrad.policies import Policy, actions_not_finite
from policygrad.rollout.collector_state import restore, state_of
from policygrad.rollout.compiled_steps import (
    BAD_ACTION,
    BAD_INDEX,
    TRANSFORMS,
    Spaces,
    Steps,
    run_steps,
    walk,
)
from policygrad.rollout.host_collector import shaped_reward
from policygrad.rollout.noise import ActionNoise
from policygrad.spaces import choices_of, is_choice
from policygrad.types import F32, F64, I64, Array, Bool, Rollout, State

CACHE_LINE = 8
"""Number of 8-byte values in a cache line, which no two cores should write at the same time."""
INITIAL_ROWS = 1024
"""Initial number of rows: few time limits are longer, and many episodes are shorter than their time limit."""


class CompiledCollector:
    """Collects like `HostCollector`, for environments of a `Kernel` and policies of the fused engine.

    It takes the same actions from the same noise. Each core steps a fixed share of the environments, so the data
    depend neither on the number of cores nor on their speed.

    Args:
        environments: environments whose vector is a `KernelVectorEnv`.
        policy, engine: the policy that acts, and the engine that computes it.
        seeds, action_rng, shaping, watch: see `HostCollector`.
        workers: threads, one per core.
        greedy: take the most probable actions.
        share: see `HostCollector`.
    """

    def __init__(
        self,
        environments: Environments,
        policy: Policy,
        engine: FusedEngine,
        *,
        seeds: EpisodeSeeds,
        action_rng: np.random.Generator,
        shaping: Shaping | None = None,
        watch: Callable[[Array], None] | None = None,
        workers: Workers,
        greedy: bool = False,
        share: EnvShare | None = None,
    ) -> None:
        assert isinstance(environments.vector, KernelVectorEnv)
        self.environments = environments
        self.vector = environments.vector
        self._policy = policy
        self.seeds = seeds
        self.noise = ActionNoise(policy, action_rng, environments.num_envs, share)
        self._shaping = shaping
        self._watch = watch
        self.spaces = _spaces(policy)
        self.head = engine.head._replace(greedy=greedy)
        self._workers = workers
        self._parts = workers.parts(environments.num_envs)
        self._nets = [engine.actor_for_reading() for _ in self._parts]

    def episodes(self, per_env: int = 1) -> Rollout:
        """See `HostCollector.episodes`."""
        return Rollout.side_by_side([self._round() for _ in range(per_env)])

    def steps(self, horizon: int) -> Rollout:
        """See `HostCollector.steps`; every row is valid."""
        if self.environments.current is None:
            self.environments.reset(self.seeds)
        alive = np.ones(self.vector.num_envs, np.bool_)
        rollout = self._run(horizon, alive, horizon, restart=True)
        self.vector.over[:] = False
        return rollout

    def state(self) -> State:
        """See `Collector.state`."""
        return state_of(self.environments, self.seeds, self.noise)

    def restore(self, state: State) -> bool:
        """See `Collector.restore`."""
        return restore(state, self.environments, self.seeds, self.noise)

    def _round(self) -> Rollout:
        self.environments.reset(self.seeds)
        horizon = self.vector.kernel.max_steps
        alive = np.ones(self.vector.num_envs, np.bool_)
        rollout = self._run(min(horizon, INITIAL_ROWS), alive, horizon, restart=False)
        self.vector.over[:] = True
        return rollout

    def buffers(self, T: int, *, restart: bool) -> Steps:
        """Return buffers for T steps; with `restart`, also for the final observations of episodes."""
        N, D, kernel = self.vector.num_envs, self._policy.observation_size, self.vector.kernel
        rows, raw_rows = T if restart else 0, T if self._shaping or self._watch else 0
        columns = math.prod(self._policy.distribution.stored_shape)
        return Steps(
            observation=np.zeros((T + 1, N, D), np.float32),
            # np.empty takes no memory for pages that are never written
            final=np.empty((rows * N, D), np.float32),
            final_index=np.empty(rows * N, np.int64),
            final_count=np.zeros(N, np.int64),
            raw=np.zeros((raw_rows, N, kernel.observation_numbers), np.float32),
            raw_next=np.zeros((raw_rows, N, kernel.observation_numbers), np.float32),
            action=np.zeros((T, N, columns), np.float32),
            reward=np.zeros((T, N)),
            terminated=np.zeros((T, N), np.bool_),
            truncated=np.zeros((T, N), np.bool_),
        )

    def _larger(self, steps: Steps, horizon: int) -> Steps:
        """Return a copy of the buffers with twice the rows, but no more than the horizon."""
        larger = self.buffers(min(2 * len(steps.reward), horizon), restart=False)
        for old, new in zip(steps, larger, strict=True):
            new[: len(old)] = old
        return larger

    def _run(self, rows: int, alive: Bool, horizon: int, *, restart: bool) -> Rollout:
        """Step until `horizon`, or until no environment is alive; the buffers have `rows` rows at first."""
        if self._watch:
            # the policy's normalization of observations may have changed
            self.spaces = _spaces(self._policy)
        vector, spaces = self.vector, self.spaces
        steps = self.buffers(rows, restart=restart)
        # each step writes the observations of the next row, so only the first row is missing
        steps.observation[0] = self._policy.encode(vector.shown())
        # at least one cache line per part, because they are written at every step
        places: I64 = np.full((len(self._parts), 2 * CACHE_LINE), -1, np.int64)
        t = 0
        while t < horizon and alive.any():
            if t == len(steps.reward):
                steps = self._larger(steps, horizon)
            noise = self.noise.peek(len(steps.reward) - t)
            noise = noise.reshape(len(noise), vector.num_envs, -1)

            def run(part: int, t: int = t, noise: F64 = noise, steps: Steps = steps) -> int:
                first, last = self._parts[part]
                where = places[part, :3]
                with named_faults(vector.kernel.name, where):
                    ending, stop = run_steps(
                        walk.address, vector.addresses, vector.states, vector.rngs, vector.elapsed, vector.observations,
                        vector.kernel.max_steps, alive, first, last, restart,
                        self.head, self._nets[part].address, spaces, noise, t, steps, where,
                    )  # fmt: skip
                self.raise_fault(ending, steps, stop, where)
                return stop

            stop = max(self._workers.map(run, len(self._parts)))
            self.noise.advance(stop - t)
            t = stop
        return self._rollout(steps, t, whole=not restart)

    def raise_fault(self, ending: int, steps: Steps, stop: int, where: I64) -> None:
        """Raise the error that a status of `run_steps` stands for; return if it is FINE."""
        vector = self.vector
        if ending == BAD_ACTION:
            seen = steps.observation[stop, where[1]][None]
            raise NonFiniteError(actions_not_finite(self._policy, seen))
        if ending == BAD_INDEX:
            raise ValueError(
                f"{vector.kernel.name}: observe of environment {where[1]} at step {where[2]} wrote "
                f"{vector.observations[where[1], 0]:g}, which is not in {self._policy.observation_space}"
            )
        vector.check(ending, where)

    def _rollout(self, steps: Steps, T: int, *, whole: bool) -> Rollout:
        terminated, truncated = steps.terminated[:T], steps.truncated[:T]
        valid = np.ones(terminated.shape, np.bool_)
        if whole:
            # one episode per column, from its start to its end
            valid = np.arange(T)[:, None] < self.vector.elapsed
        final_observation, final_index = self._finals(steps)
        original = reward = steps.reward[:T]
        if self._watch:
            self._watch(steps.raw[:T][valid])
        if self._shaping:
            raw, raw_next = (self.vector.in_own_form(raw[:T]) for raw in (steps.raw, steps.raw_next))
            reward = shaped_reward(self._shaping, original, raw, raw_next, terminated, truncated, valid)
        stored = self._policy.distribution
        action = steps.action[:T].reshape(T, -1, *stored.stored_shape)
        return Rollout(
            rows=steps.observation[: T + 1],
            action=action.astype(stored.stored_dtype, copy=False),
            reward=reward,
            original_reward=original,
            final_observation=final_observation,
            final_index=final_index,
            terminated=terminated,
            truncated=truncated,
            valid=valid,
        )

    def _finals(self, steps: Steps) -> tuple[F32, I64]:
        """Return the final observations [F, D] and their indices [F], gathered from the parts in order of time."""
        T, spans = len(steps.reward), list[slice]()
        for first, _ in self._parts:
            if count := int(steps.final_count[first]):
                spans.append(slice(first * T, first * T + count))
        if len(spans) < 2:
            span = spans[0] if spans else slice(0)
            return steps.final[span], steps.final_index[span]
        index = np.concatenate([steps.final_index[span] for span in spans])
        order = np.argsort(index)
        return np.concatenate([steps.final[span] for span in spans])[order], index[order]


def _spaces(policy: Policy) -> Spaces:
    seen, taken = policy.observation_space, policy.action_space
    low = high = np.zeros(0, np.float32)
    middle = half = np.zeros(0)
    if isinstance(taken, spaces.Box):
        low, high = taken.low.reshape(-1), taken.high.reshape(-1)
    if (units := policy.distribution.units) is not None:
        middle, half = units.middle, units.half
    return Spaces(
        one_hot=isinstance(seen, spaces.Discrete),
        observation_start=int(seen.start) if isinstance(seen, spaces.Discrete) else 0,
        shift=policy.observation_shift.numpy().copy(),
        scale=policy.observation_scale.numpy().copy(),
        limit=policy.observation_limit,
        transform=TRANSFORMS[policy.distribution.transform],
        starts=choices_of(taken)[1] if is_choice(taken) else np.zeros(0, np.int64),
        low=low,
        high=high,
        middle=middle,
        half=half,
    )

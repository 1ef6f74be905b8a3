"""Collecting from compiled environments with the fused engine: no Python between one step and the next."""

# pyright: basic
# compiled functions: the types of arguments are the Numba signatures above them

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from numba import types

from policygrad.compiled import compiled, inlined
from policygrad.engines.fused import FusedEngine
from policygrad.engines.fused.heads import HEAD, sample
from policygrad.engines.fused.loop import ROWS
from policygrad.engines.fused.mlp import forward, last_hidden, transpose
from policygrad.engines.fused.net import NET, parameters_ahead
from policygrad.envs import Environments, Shaping
from policygrad.envs.compiled import FINE, KERNEL, WHERE, KernelVectorEnv, advance, begin, named_faults
from policygrad.errors import NonFiniteError
from policygrad.policies import Policy
from policygrad.policies.distributions import Transform
from policygrad.rollout.host import actions_not_finite, shaped_reward
from policygrad.rollout.noise import ActionNoise
from policygrad.seeding import EpisodeSeeds
from policygrad.spaces import choices_of, is_choice
from policygrad.threads import Workers
from policygrad.types import F32, F64, I64, Array, Bool, Rollout

BAD_ACTION, BAD_INDEX = 3, 4
"""Beside `envs.compiled`'s endings: an action is NaN or infinite; an observed index is not in its space."""


ADD_START, CLIP, SQUASH, SCALE = 0, 1, 2, 3
TRANSFORMS: dict[Transform, int] = {
    "add start": ADD_START,
    "clip to the box": CLIP,
    "tanh into the box": SQUASH,
    "scale to the box": SCALE,
}

FIRST_ROOM = 1024
"""Rows for which there is room at first: few time limits are longer, and many episodes are shorter than theirs."""


class Spaces(NamedTuple):
    """From what an environment shows to what the networks see, and from stored actions to its own."""

    one_hot: bool
    """The observation is an index, counted from `observation_start`."""
    observation_start: int
    shift: F32
    """[D]: a Box is seen as (x − shift) · scale, clipped to plus and minus the limit."""
    scale: F32
    limit: float
    transform: int
    """How a stored action becomes the environment's: see `TRANSFORMS`."""
    starts: I64
    """[K]: where the environment counts each choice from."""
    low: F32
    """[K]: the Box of actions."""
    high: F32


class Steps(NamedTuple):
    """T steps of N environments as they are written; padding stays 0."""

    observation: F32
    """[T + 1, N, D]: as the networks see it."""
    next_observation: F32
    """[T, N, D], or [0, ...] where the next row of `observation` is it."""
    raw: F32
    """[T, N, numbers]: as `observe` wrote it; [0, ...] where nobody asks."""
    raw_next: F32
    action: F32
    """[T, N, K]."""
    reward: F64
    """[T, N], like the rest."""
    terminated: Bool
    truncated: Bool
    valid: Bool


_F1: Any = types.float32[::1]
_F3: Any = types.float32[:, :, ::1]
_B2: Any = types.boolean[:, ::1]
SPACES: Any = types.NamedTuple(
    [types.boolean, types.int64, _F1, _F1, types.float64, types.int64, types.int64[::1], _F1, _F1], Spaces
)
STEPS: Any = types.NamedTuple([_F3, _F3, _F3, _F3, _F3, types.float64[:, ::1], _B2, _B2, _B2], Steps)


@inlined
def copy(source, target):
    """One row into another: Numba's own way of it takes longer, and a second more to compile."""
    for k in range(target.size):
        target[k] = source[k]


@inlined
def encode(spaces, shown, x):
    """What the networks see of what an environment shows; False where that is an index of nothing."""
    if spaces.one_hot:
        index = int(shown[0]) - spaces.observation_start
        if index < 0 or index >= x.size:
            return False
        for d in range(x.size):
            x[d] = np.float32(0)
        x[index] = np.float32(1)
    else:
        for d in range(x.size):
            x[d] = (shown[d] - spaces.shift[d]) * spaces.scale[d]
            if spaces.limit < np.inf:
                x[d] = min(max(x[d], -spaces.limit), spaces.limit)
    return True


@inlined
def own_action(spaces, stored, own):
    """What the environment gets of a stored action; False where that is NaN or infinite."""
    total = np.float32(0)
    for k in range(stored.size):
        total += stored[k] * np.float32(0)
        if spaces.transform == ADD_START:
            own[k] = stored[k] + spaces.starts[k]
        else:
            x = stored[k]
            if spaces.transform != CLIP:
                # in float64 and then rounded to what the environment's Box holds, as `Policy` does it
                low, high = np.float64(spaces.low[k]), np.float64(spaces.high[k])
                share = np.float64(x)
                if spaces.transform == SQUASH:
                    share = (math.tanh(share) + 1) / 2
                x = np.float32(low + (high - low) * share)
            own[k] = min(max(x, spaces.low[k]), spaces.high[k])
    return total == np.float32(0)


@compiled(
    types.Tuple((types.int64, types.int64))(
        KERNEL, types.float64[:, ::1], types.uint64[:, ::1], types.int64[::1], types.float32[:, ::1],
        types.int64, types.boolean[::1], types.int64, types.int64, types.boolean,
        HEAD, NET, SPACES, types.float64[:, :, ::1], types.int64, STEPS, WHERE,
    )
)  # fmt: skip
def _run(
    kernel, states, rngs, elapsed, shown, max_steps, alive, first, last, restart,
    head, actor, spaces, noise, begun, steps, where,
):  # fmt: skip
    """Steps from row `begun` on, of the environments from `first` to before `last`, for as long as there is noise.

    With `restart` an environment whose episode ends begins the next; without, it is no longer `alive`, and
    when none is the loop ends. Returns (what became of it, the row after the last).
    """
    transpose(actor)
    numbers = steps.observation.shape[2]
    width = steps.action.shape[2]
    x = np.empty((ROWS, numbers), np.float32)
    drawn = np.empty((ROWS, noise.shape[2]), np.float64)
    chosen = np.empty((ROWS, width), np.float32)
    own = np.empty(width, np.float64)
    who = np.empty(last - first, np.int64)
    for t in range(begun, begun + len(noise)):
        running = 0
        for n in range(first, last):
            if alive[n]:
                who[running] = n
                running += 1
        if running == 0:
            return FINE, t
        for start in range(0, running, ROWS):
            rows = min(ROWS, running - start)
            for i in range(rows):
                n = who[start + i]
                copy(steps.observation[t, n], x[i])
                copy(noise[t - begun, n], drawn[i])
            outputs = forward(x[:rows], actor)
            hidden = last_hidden(x[:rows], actor)
            sample(head, outputs, hidden, parameters_ahead(actor), drawn[:rows], chosen[:rows])
            for i in range(rows):
                n = who[start + i]
                steps.valid[t, n] = True
                copy(chosen[i], steps.action[t, n])
                if steps.raw.size:
                    copy(shown[n], steps.raw[t, n])
                if not own_action(spaces, chosen[i], own):
                    where[1], where[2] = n, elapsed[n]
                    return BAD_ACTION, t
                elapsed[n] += 1
                ending, reward, terminated = advance(
                    kernel, states[n], own, rngs[n], shown[n], where, n, elapsed[n]
                )
                if ending != FINE:
                    return ending, t
                steps.reward[t, n] = reward
                steps.terminated[t, n] = terminated
                steps.truncated[t, n] = elapsed[n] >= max_steps and not terminated
                if not encode(spaces, shown[n], steps.observation[t + 1, n]):
                    return BAD_INDEX, t
                if steps.raw.size:
                    copy(shown[n], steps.raw_next[t, n])
                if restart:
                    copy(steps.observation[t + 1, n], steps.next_observation[t, n])
                if terminated or elapsed[n] >= max_steps:
                    if restart:
                        ending = begin(kernel, states[n], rngs[n], shown[n], where, n)
                        elapsed[n] = 0
                        if ending != FINE:
                            return ending, t
                        if not encode(spaces, shown[n], steps.observation[t + 1, n]):
                            return BAD_INDEX, t
                    else:
                        alive[n] = False
    return FINE, begun + len(noise)


class CompiledCollector:
    """As `HostCollector`, for environments of a `Kernel` and policies of the fused engine.

    Takes the same actions from the same noise. With several cores each has a fixed share of the environments,
    so that what is collected does not depend on their number, nor on who is quicker.

    Args:
        environments: whose vector is a `KernelVectorEnv`.
        policy, engine: who acts.
        seeds, action_rng, shaping, watch: see `HostCollector`.
        workers: the cores.
        greedy: take the most probable actions.
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
    ) -> None:
        assert isinstance(environments.vector, KernelVectorEnv)
        self._environments = environments
        self._vector = environments.vector
        self._policy = policy
        self._seeds = seeds
        self._noise = ActionNoise(policy, action_rng, environments.num_envs)
        self._shaping = shaping
        self._watch = watch
        self._spaces = _spaces(policy)
        self._head = engine.head._replace(greedy=greedy)
        self._workers = workers
        self._parts = workers.parts(environments.num_envs)
        self._nets = [engine.actor_for_reading() for _ in self._parts]

    def episodes(self, per_env: int = 1) -> Rollout:
        """See `HostCollector.episodes`."""
        return Rollout.side_by_side([self._round() for _ in range(per_env)])

    def steps(self, horizon: int) -> Rollout:
        """See `HostCollector.steps`; every row is valid."""
        if self._environments.current is None:
            self._environments.reset(self._seeds)
        alive = np.ones(self._vector.num_envs, np.bool_)
        rollout = self._run(horizon, alive, horizon, restart=True)
        self._vector.over[:] = False
        return rollout

    def _round(self) -> Rollout:
        self._environments.reset(self._seeds)
        horizon = self._vector.kernel.max_steps
        alive = np.ones(self._vector.num_envs, np.bool_)
        rollout = self._run(min(horizon, FIRST_ROOM), alive, horizon, restart=False)
        self._vector.over[:] = True
        return rollout

    def _room(self, T: int, *, restart: bool) -> Steps:
        N, D, kernel = self._vector.num_envs, self._policy.observation_size, self._vector.kernel
        rows, raw_rows = T if restart else 0, T if self._shaping or self._watch else 0
        columns = math.prod(self._policy.distribution.stored_shape)
        return Steps(
            observation=np.zeros((T + 1, N, D), np.float32),
            next_observation=np.zeros((rows, N, D), np.float32),
            raw=np.zeros((raw_rows, N, kernel.observation_numbers), np.float32),
            raw_next=np.zeros((raw_rows, N, kernel.observation_numbers), np.float32),
            action=np.zeros((T, N, columns), np.float32),
            reward=np.zeros((T, N)),
            terminated=np.zeros((T, N), np.bool_),
            truncated=np.zeros((T, N), np.bool_),
            valid=np.zeros((T, N), np.bool_),
        )

    def _larger(self, steps: Steps, horizon: int) -> Steps:
        """The same with room for twice the rows, up to the horizon."""
        room = self._room(min(2 * len(steps.reward), horizon), restart=False)
        for old, new in zip(steps, room, strict=True):
            new[: len(old)] = old
        return room

    def _run(self, room: int, alive: Bool, horizon: int, *, restart: bool) -> Rollout:
        """Step until `horizon`, or until none is alive; `room` rows are made at first."""
        if self._watch:
            # the policy may see them otherwise by now
            self._spaces = _spaces(self._policy)
        vector, spaces = self._vector, self._spaces
        steps = self._room(room, restart=restart)
        # each row's observations are written by the step before it; the first ones stand already
        steps.observation[0] = self._policy.encode(vector.shown())
        t = 0
        while t < horizon and alive.any():
            if t == len(steps.reward):
                steps = self._larger(steps, horizon)
            noise = self._noise.peek(len(steps.reward) - t)
            noise = noise.reshape(len(noise), vector.num_envs, -1)

            def run(part: int, t: int = t, noise: F64 = noise, steps: Steps = steps) -> int:
                first, last = self._parts[part]
                where: I64 = np.full(3, -1, np.int64)
                with named_faults(vector.kernel.name, where):
                    ending, stop = _run(
                        vector.addresses, vector.states, vector.rngs, vector.elapsed, vector.observations,
                        vector.kernel.max_steps, alive, first, last, restart,
                        self._head, self._nets[part].address, spaces, noise, t, steps, where,
                    )  # fmt: skip
                if ending == BAD_ACTION:
                    raise NonFiniteError(actions_not_finite(self._policy))
                if ending == BAD_INDEX:
                    raise ValueError(
                        f"{vector.kernel.name}: observe of environment {where[1]} at step {where[2]} wrote "
                        f"{vector.observations[where[1], 0]:g}, which is not in {self._policy.observation_space}"
                    )
                vector.check(ending, where)
                return stop

            stop = max(self._workers.map(run, len(self._parts)))
            self._noise.advance(stop - t)
            t = stop
        return self._rollout(steps, t)

    def _rollout(self, steps: Steps, T: int) -> Rollout:
        terminated, truncated, valid = steps.terminated[:T], steps.truncated[:T], steps.valid[:T]
        following = steps.next_observation if len(steps.next_observation) else steps.observation[1:]
        original = reward = steps.reward[:T]
        if self._watch:
            self._watch(steps.raw[:T][valid])
        if self._shaping:
            raw, raw_next = (self._vector.in_own_form(raw[:T]) for raw in (steps.raw, steps.raw_next))
            reward = shaped_reward(self._shaping, original, raw, raw_next, terminated, truncated, valid)
        stored = self._policy.distribution
        action = steps.action[:T].reshape(T, -1, *stored.stored_shape)
        return Rollout(
            observation=steps.observation[:T],
            action=action.astype(stored.stored_dtype, copy=False),
            reward=reward,
            original_reward=original,
            next_observation=following[:T],
            terminated=terminated,
            truncated=truncated,
            valid=valid,
        )


def _spaces(policy: Policy) -> Spaces:
    seen, taken = policy.observation_space, policy.action_space
    low = high = np.zeros(0, np.float32)
    if isinstance(taken, spaces.Box):
        low, high = taken.low.reshape(-1), taken.high.reshape(-1)
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
    )

"""Compiled loop over the policy's actions and the environments' steps; see `rollout.compiled_collector`."""

# pyright: basic
# the arguments of compiled functions are typed by the Numba signatures above them

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import types

from policygrad._support.compiling import compiled, inlined
from policygrad._support.function_pointers import ADDRESS, addressable, function_at
from policygrad.engines.fused.heads import HEAD, sample
from policygrad.engines.fused.mlp import forward, last_hidden, transpose
from policygrad.engines.fused.net import NET, parameters_ahead
from policygrad.engines.fused.update_loop import ROWS
from policygrad.envs.kernel_vector import FINE, KERNEL, WHERE, advance, begin
from policygrad.policies.distributions import Transform
from policygrad.types import F32, F64, I64, Bool

BAD_ACTION, BAD_INDEX = 3, 4
"""Error codes in addition to those of `envs.kernel_vector`: an action is NaN, infinite or could not be chosen; an
observed index is not in its space."""


ADD_START, CLIP, SQUASH, SCALE = 0, 1, 2, 3
TRANSFORMS: dict[Transform, int] = {
    "add start": ADD_START,
    "clip to the box": CLIP,
    "tanh into the box": SQUASH,
    "scale to the box": SCALE,
}


class Spaces(NamedTuple):
    """Parameters that convert observations to network inputs, and stored actions to the environment's actions."""

    one_hot: bool
    """True if the observation is an index, counted from `observation_start`."""
    observation_start: int
    shift: F64
    """[D]: networks see a Box as (x − shift) · scale, computed in float64 and clipped to ± `limit`."""
    scale: F64
    limit: float
    transform: int
    """How a stored action becomes the environment's action; see `TRANSFORMS`."""
    starts: I64
    """[K]: the first value of each choice in the environment's numbering."""
    low: F32
    """[K]: lower bounds of a Box of actions; `high` contains the upper ones."""
    high: F32
    middle: F64
    """[K]: with the transform that clips, a stored action means middle + half · action."""
    half: F64


class Steps(NamedTuple):
    """Buffers for T steps of N environments; padding stays 0."""

    observation: F32
    """[T + 1, N, D]: observations as the networks see them."""
    final: F32
    """[N · T, D], uninitialized: the last observations of episodes that are followed by others. The part of the
    environments that starts at `first` writes from row first · T on. [0, ...] if no other episodes follow."""
    final_index: I64
    """[N · T]: index t · N + n of the step that led to each final observation."""
    final_count: I64
    """[N]: number of final observations of the part that starts with environment n."""
    raw: F32
    """[T, N, numbers]: observations as `observe` wrote them; [0, ...] if they are not needed."""
    raw_next: F32
    action: F32
    """[T, N, K]."""
    reward: F64
    """[T, N], like the fields below."""
    terminated: Bool
    """False on entry, like `truncated`. Only ends are written, as cores that write to one row slow each other down."""
    truncated: Bool


_F1: Any = types.float32[::1]
_D1: Any = types.float64[::1]
_F3: Any = types.float32[:, :, ::1]
_B2: Any = types.boolean[:, ::1]
SPACES: Any = types.NamedTuple(
    [types.boolean, types.int64, _D1, _D1, types.float64, types.int64, types.int64[::1], _F1, _F1, _D1, _D1],
    Spaces,
)
STEPS: Any = types.NamedTuple(
    [
        _F3,
        types.float32[:, ::1],
        types.int64[::1],
        types.int64[::1],
        _F3,
        _F3,
        _F3,
        types.float64[:, ::1],
        _B2,
        _B2,
    ],
    Steps,
)


@inlined
def copy(source, target):
    """Copy a row into another. Numba's own array assignment is slower and takes a second longer to compile."""
    for k in range(target.size):
        target[k] = source[k]


@inlined
def encode(spaces, shown, x):
    """Write the networks' input for an observation to `x`; return False if the observed index is out of range."""
    if spaces.one_hot:
        index = int(shown[0]) - spaces.observation_start
        if index < 0 or index >= x.size:
            return False
        for d in range(x.size):
            x[d] = np.float32(0)
        x[index] = np.float32(1)
    else:
        for d in range(x.size):
            x[d] = np.float32((shown[d] - spaces.shift[d]) * spaces.scale[d])
            if spaces.limit < np.inf:
                x[d] = min(max(x[d], -spaces.limit), spaces.limit)
    return True


@inlined
def own_action(spaces, stored, own):
    """Write the environment's form of a stored action to `own`; return False if it is NaN, infinite or choice −1."""
    total = np.float32(0)
    for k in range(stored.size):
        total += stored[k] * np.float32(0)
        if spaces.transform == ADD_START:
            if stored[k] < np.float32(0):
                return False
            own[k] = stored[k] + spaces.starts[k]
        else:
            # computed in float64 and then rounded to the float32 of the Box, as `Policy` does
            x = np.float64(stored[k])
            if spaces.transform == CLIP:
                x = spaces.middle[k] + spaces.half[k] * x
            else:
                low, high = np.float64(spaces.low[k]), np.float64(spaces.high[k])
                share = (math.tanh(x) + 1) / 2 if spaces.transform == SQUASH else x
                x = low + (high - low) * share
            own[k] = min(max(np.float32(x), spaces.low[k]), spaces.high[k])
    return total == np.float32(0)


class StepWorkspace(NamedTuple):
    """Temporary arrays of one step, for one share of the environments."""

    observation: F32
    """[ROWS, D]: one row per running environment, as in `noise` and `action`."""
    noise: F64
    action: F32
    own_action: F64
    """[K]: action of one environment, in the environment's form."""
    running: I64
    """[environments of the share]: indices of the running environments."""


_F2: Any = types.float32[:, ::1]
STEP_WORKSPACE: Any = types.NamedTuple(
    [_F2, types.float64[:, ::1], _F2, _D1, types.int64[::1]], StepWorkspace
)


@inlined
def act(t, row, start, rows, head, actor, noise, steps, work, all_run, first):
    """Sample actions of the running environments, from `start` on, into row t of `steps.action`.

    If all environments run, their rows are used in place; otherwise the rows of the running ones are gathered first.
    """
    x, drawn, action = work.observation[:rows], work.noise[:rows], work.action[:rows]
    if all_run:
        a = first + start
        x, drawn = steps.observation[t, a : a + rows], noise[row, a : a + rows]
        action = steps.action[t, a : a + rows]
    else:
        for i in range(rows):
            n = work.running[start + i]
            copy(steps.observation[t, n], x[i])
            copy(noise[row, n], drawn[i])
    outputs = forward(x, actor)
    sample(head, outputs, last_hidden(x, actor), parameters_ahead(actor), drawn, action)
    if not all_run:
        for i in range(rows):
            copy(action[i], steps.action[t, work.running[start + i]])


_ENVIRONMENTS: Any = (
    KERNEL, types.float64[:, ::1], types.uint64[:, ::1], types.int64[::1], types.float32[:, ::1],
    types.int64, types.boolean[::1], types.int64, types.int64, types.boolean,
)  # fmt: skip
_REST: Any = (HEAD, NET, SPACES, types.float64[:, :, ::1], types.int64, STEPS, WHERE)
_STATUS: Any = types.Tuple((types.int64, types.int64))
WALK: Any = _STATUS(*_ENVIRONMENTS, *_REST, STEP_WORKSPACE)
_walk_at = function_at(WALK)


@addressable(WALK)
def walk(
    kernel, states, rngs, elapsed, shown, max_steps, alive, first, last, restart,
    head, actor, spaces, noise, begun, steps, where, work,
):  # fmt: skip
    """See `run_steps`."""
    own = work.own_action
    for t in range(begun, begun + len(noise)):
        running = 0
        for n in range(first, last):
            if alive[n]:
                work.running[running] = n
                running += 1
        if running == 0:
            return FINE, t
        for start in range(0, running, ROWS):
            rows = min(ROWS, running - start)
            act(t, t - begun, start, rows, head, actor, noise, steps, work, running == last - first, first)
            for i in range(rows):
                n = work.running[start + i]
                if steps.raw.size:
                    copy(shown[n], steps.raw[t, n])
                if not own_action(spaces, steps.action[t, n], own):
                    where[1], where[2] = n, elapsed[n]
                    return BAD_ACTION, t
                elapsed[n] += 1
                ending, reward, terminated = advance(
                    kernel, states[n], own, rngs[n], shown[n], where, n, elapsed[n]
                )
                if ending != FINE:
                    return ending, t
                steps.reward[t, n] = reward
                if not encode(spaces, shown[n], steps.observation[t + 1, n]):
                    return BAD_INDEX, t
                if steps.raw.size:
                    copy(shown[n], steps.raw_next[t, n])
                if terminated or elapsed[n] >= max_steps:
                    if terminated:
                        steps.terminated[t, n] = True
                    else:
                        steps.truncated[t, n] = True
                    if restart:
                        k = first * steps.reward.shape[0] + steps.final_count[first]
                        copy(steps.observation[t + 1, n], steps.final[k])
                        steps.final_index[k] = t * steps.reward.shape[1] + n
                        steps.final_count[first] += 1
                        ending = begin(kernel, states[n], rngs[n], shown[n], where, n)
                        elapsed[n] = 0
                        if ending != FINE:
                            return ending, t
                        if not encode(spaces, shown[n], steps.observation[t + 1, n]):
                            return BAD_INDEX, t
                    else:
                        alive[n] = False
    return FINE, begun + len(noise)


RUN_STEPS: Any = _STATUS(ADDRESS, *_ENVIRONMENTS, *_REST)


@compiled(RUN_STEPS, makes_arrays=True, at_first_call=True)
def run_steps(
    walk, kernel, states, rngs, elapsed, shown, max_steps, alive, first, last, restart,
    head, actor, spaces, noise, begun, steps, where,
):  # fmt: skip
    """Step the environments from `first` to before `last`, from row `begun` on, for as many rows as there is noise.

    With `restart`, an environment whose episode ends begins the next one. Without it, the environment is no longer
    `alive`, and the loop ends when none is. Returns (status, the row after the last). `walk` is the address of the
    function of this name, which counts no references and is not compiled a second time as a part of this one.
    """
    transpose(actor)
    work = StepWorkspace(
        np.empty((ROWS, steps.observation.shape[2]), np.float32),
        np.empty((ROWS, noise.shape[2]), np.float64),
        np.empty((ROWS, steps.action.shape[2]), np.float32),
        np.empty(steps.action.shape[2], np.float64),
        np.empty(last - first, np.int64),
    )
    return _walk_at(walk)(
        kernel, states, rngs, elapsed, shown, max_steps, alive, first, last, restart,
        head, actor, spaces, noise, begun, steps, where, work,
    )  # fmt: skip

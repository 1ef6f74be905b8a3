"""The steps of compiled environments and the policy's actions, in machine code: see `rollout.compiled`."""

# pyright: basic
# compiled functions: the types of arguments are the Numba signatures above them

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import types

from policygrad._support.compiling import compiled, inlined, inner
from policygrad.engines.fused.heads import HEAD, sample
from policygrad.engines.fused.mlp import forward, last_hidden, transpose
from policygrad.engines.fused.net import NET, parameters_ahead
from policygrad.engines.fused.update_loop import ROWS
from policygrad.envs.kernel_vector import FINE, KERNEL, WHERE, advance, begin
from policygrad.policies.distributions import Transform
from policygrad.types import F32, F64, I64, Bool

BAD_ACTION, BAD_INDEX = 3, 4
"""Beside `envs.compiled`'s endings: an action is NaN, infinite or could not be chosen; an observed index is
not in its space."""


ADD_START, CLIP, SQUASH, SCALE = 0, 1, 2, 3
TRANSFORMS: dict[Transform, int] = {
    "add start": ADD_START,
    "clip to the box": CLIP,
    "tanh into the box": SQUASH,
    "scale to the box": SCALE,
}


class Spaces(NamedTuple):
    """From what an environment shows to what the networks see, and from stored actions to its own."""

    one_hot: bool
    """The observation is an index, counted from `observation_start`."""
    observation_start: int
    shift: F64
    """[D]: a Box is seen as (x − shift) · scale, in float64, then clipped to plus and minus the limit."""
    scale: F64
    limit: float
    transform: int
    """How a stored action becomes the environment's: see `TRANSFORMS`."""
    starts: I64
    """[K]: where the environment counts each choice from."""
    low: F32
    """[K]: the Box of actions."""
    high: F32
    middle: F64
    """[K]: a stored action that is clipped stands for middle + half · action."""
    half: F64


class Steps(NamedTuple):
    """T steps of N environments as they are written; padding stays 0."""

    observation: F32
    """[T + 1, N, D]: as the networks see it."""
    final: F32
    """[N · T, D], unwritten at first: the last observations of episodes after which others begin; the part of the
    environments from `first` on writes from row first · T on. [0, ...] where none begins."""
    final_index: I64
    """[N · T]: t · N + n of the step that led to each of them."""
    final_count: I64
    """[N]: how many there are of the part that starts with environment n."""
    raw: F32
    """[T, N, numbers]: as `observe` wrote it; [0, ...] where nobody asks."""
    raw_next: F32
    action: F32
    """[T, N, K]."""
    reward: F64
    """[T, N], like the rest."""
    terminated: Bool
    """Zeros on entry, as is the next: only ends are written, for cores that share a row get in each other's way."""
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
            x[d] = np.float32((shown[d] - spaces.shift[d]) * spaces.scale[d])
            if spaces.limit < np.inf:
                x[d] = min(max(x[d], -spaces.limit), spaces.limit)
    return True


@inlined
def own_action(spaces, stored, own):
    """What the environment gets of a stored action; False where that is NaN, infinite or a choice of −1."""
    total = np.float32(0)
    for k in range(stored.size):
        total += stored[k] * np.float32(0)
        if spaces.transform == ADD_START:
            if stored[k] < np.float32(0):
                return False
            own[k] = stored[k] + spaces.starts[k]
        else:
            # in float64 and then rounded to what the environment's Box holds, as `Policy` does it
            x = np.float64(stored[k])
            if spaces.transform == CLIP:
                x = spaces.middle[k] + spaces.half[k] * x
            else:
                low, high = np.float64(spaces.low[k]), np.float64(spaces.high[k])
                share = (math.tanh(x) + 1) / 2 if spaces.transform == SQUASH else x
                x = low + (high - low) * share
            own[k] = min(max(np.float32(x), spaces.low[k]), spaces.high[k])
    return total == np.float32(0)


class Room(NamedTuple):
    """What the loop works with between one step and the next, for one share of the environments."""

    observation: F32
    """[ROWS, D]: of those that run, as are the next two."""
    noise: F64
    action: F32
    own_action: F64
    """[K]: one environment's action, as it takes it."""
    running: I64
    """[environments of the share]: which of them run."""


@inner
def act(t, row, start, rows, head, actor, noise, steps, room, everyone, first):
    """Sampled actions of the running environments from `start` on into `steps.action`, row t.

    Where everyone runs, the rows are used where they lie; otherwise those of the running are brought together.
    """
    x, drawn, action = room.observation[:rows], room.noise[:rows], room.action[:rows]
    if everyone:
        a = first + start
        x, drawn = steps.observation[t, a : a + rows], noise[row, a : a + rows]
        action = steps.action[t, a : a + rows]
    else:
        for i in range(rows):
            n = room.running[start + i]
            copy(steps.observation[t, n], x[i])
            copy(noise[row, n], drawn[i])
    outputs = forward(x, actor)
    sample(head, outputs, last_hidden(x, actor), parameters_ahead(actor), drawn, action)
    if not everyone:
        for i in range(rows):
            copy(action[i], steps.action[t, room.running[start + i]])


@inner
def walk(
    kernel, states, rngs, elapsed, shown, max_steps, alive, first, last, restart,
    head, actor, spaces, noise, begun, steps, where, room,
):  # fmt: skip
    """See `run_steps`."""
    own = room.own_action
    for t in range(begun, begun + len(noise)):
        running = 0
        for n in range(first, last):
            if alive[n]:
                room.running[running] = n
                running += 1
        if running == 0:
            return FINE, t
        for start in range(0, running, ROWS):
            rows = min(ROWS, running - start)
            act(t, t - begun, start, rows, head, actor, noise, steps, room, running == last - first, first)
            for i in range(rows):
                n = room.running[start + i]
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


@compiled(
    types.Tuple((types.int64, types.int64))(
        KERNEL, types.float64[:, ::1], types.uint64[:, ::1], types.int64[::1], types.float32[:, ::1],
        types.int64, types.boolean[::1], types.int64, types.int64, types.boolean,
        HEAD, NET, SPACES, types.float64[:, :, ::1], types.int64, STEPS, WHERE,
    ),
    makes_arrays=True,
)  # fmt: skip
def run_steps(
    kernel, states, rngs, elapsed, shown, max_steps, alive, first, last, restart,
    head, actor, spaces, noise, begun, steps, where,
):  # fmt: skip
    """Steps from row `begun` on, of the environments from `first` to before `last`, for as long as there is noise.

    With `restart` an environment whose episode ends begins the next; without, it is no longer `alive`, and
    when none is the loop ends. Returns (what became of it, the row after the last).
    """
    transpose(actor)
    room = Room(
        np.empty((ROWS, steps.observation.shape[2]), np.float32),
        np.empty((ROWS, noise.shape[2]), np.float64),
        np.empty((ROWS, steps.action.shape[2]), np.float32),
        np.empty(steps.action.shape[2], np.float64),
        np.empty(last - first, np.int64),
    )
    return walk(
        kernel, states, rngs, elapsed, shown, max_steps, alive, first, last, restart,
        head, actor, spaces, noise, begun, steps, where, room,
    )  # fmt: skip

"""What the compiled loop works on, as named tuples of arrays and numbers. Nothing is allocated while it runs."""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import types

from policygrad._support.random_bits import BITS
from policygrad.engines.fused.gathering import MINIBATCH_WORKSPACE, MinibatchWorkspace
from policygrad.engines.fused.heads import HEAD, Head
from policygrad.engines.fused.net import NET
from policygrad.envs.kernel_vector import KERNEL
from policygrad.rollout.compiled_steps import SPACES, STEP_WORKSPACE, STEPS, Spaces, Steps, StepWorkspace
from policygrad.training.compiled_plan import PLAN, Plan
from policygrad.types import F32, F64, I64, Array, Bool

_I1, _F1, _D1 = types.int64[::1], types.float32[::1], types.float64[::1]
_I2, _F2, _D2 = types.int64[:, ::1], types.float32[:, ::1], types.float64[:, ::1]
_B1, _B2, _D3 = types.boolean[::1], types.boolean[:, ::1], types.float64[:, :, ::1]


ADVANTAGE, TARGET, OLD_POLICY, OLD_VALUE, EPISODE_LENGTH = range(5)
"""Rows of `Work.columns`."""
LEARNING_RATE, ENTROPY, POLICY_NORM, VALUE_NORM, LOSS_MEAN, KL, LARGEST_RATIO, CLIP_SHARE = range(8)
VALUE_LOSS, VALUE_BIAS, EXPLAINED, POLICY_STEPS, PENALTY, CLIPPED_ACTIONS, STD, SHAPED_RETURN = range(8, 16)
METRICS = (
    "learning_rate", "entropy", "policy_grad_norm", "value_grad_norm", "loss", "kl", "largest_ratio", "clip_share",
    "value_loss", "value_bias", "explained_variance", "policy_steps", "kl_penalty", "clipped_actions",
    "std", "shaped_return",
)  # fmt: skip
"""The metrics of an update, in the order of these constants."""

KNOWN, STOPPED, TAKEN = range(3)
"""Entries of `Work.marks`: log π(a|s) of the policy that acted is known; the KL has stopped the policy; the number of
steps that the policy has taken."""
FINE, BAD_TARGET, BAD_VALUE, BAD_ADVANTAGE, BAD_UPDATE, BAD_SHAPED, BAD_RETURN = range(7)
"""Status of an update. BAD_UPDATE is a step of the engine that was not taken, BAD_SHAPED a shaped reward that is not
finite, and BAD_RETURN a return whose variance would not be finite."""


class World(NamedTuple):
    """The environments, the networks that act in them, and the random numbers that they use."""

    kernel: tuple[int, int, int]
    """Addresses of reset, step and observe."""
    states: F64
    rngs: Array
    elapsed: I64
    shown: F32
    """[N, numbers]: current observations; the fields above are those of `KernelVectorEnv`."""
    max_steps: int
    alive: Bool
    """[N]: workspace."""
    where: I64
    """[3]: what an environment was doing; see `kernel_vector.WHERE`."""
    seeds: I64
    """[2]: the next seed of an episode, and the stride to the one after it; see `EpisodeSeeds`."""
    head: Head
    actor: int
    critic: int
    """Addresses of the networks; see `engines.fused.net`."""
    spaces: Spaces
    noise: F64
    """[rows, N, K]: random numbers for the next steps."""
    bits: tuple[int, int]
    """The learner's random generator; see `random_bits.bits_of`."""


WORLD: Any = types.NamedTuple(
    [
        KERNEL, _D2, types.uint64[:, ::1], _I1, _F2, types.int64, _B1, _I1, _I1, HEAD, NET, NET, SPACES, _D3, BITS,
    ],
    World,
)  # fmt: skip


class Work(NamedTuple):
    """Arrays of one update. Flat ones have room for the largest update, and begin with the current one."""

    steps: Steps
    """What was collected; see `rollout.compiled_steps`."""
    walk: StepWorkspace
    """Workspace of one step."""
    minibatch: MinibatchWorkspace
    """Workspace of one minibatch."""
    valid: Bool
    done: Bool
    """[T, N]."""
    reals: F64
    """[6, T · N]: value, next_value, extra, advantage, target and discount weights."""
    x: F32
    action: F32
    """[B · D] and [B · K]: the samples, if they are not all steps."""
    all_values: F32
    """[(T + 1) · N + T · N]: V(s) of all rows, then of the final observations."""
    outputs: F32
    """[3 · B]: log π, H and V(s)."""
    columns: F32
    """[5, B]: advantage, target, old_log_prob, old_value and episode_length."""
    matrix: F32
    """[6 · B]: the columns that a pass reads."""
    flat: F64
    """[3, B]: advantages, normalized advantages, and workspace."""
    order: I64
    bounds: I64
    """[B] and [B + 1]: minibatches."""
    metrics: F64
    """[metrics]: of the update; see `METRICS`."""
    marks: I64
    """[3]: see `KNOWN`, `STOPPED` and `TAKEN`."""
    size: F64
    """[1]: magnitude of the largest target."""
    part_x: F32
    part_action: F32
    part_outputs: F32
    """[B · D], [B · K] and [3 · B]: samples whose outputs are evaluated."""
    over: Bool
    """[B]: True for samples with which an episode ended."""
    policy_direction: F32
    value_direction: F32
    trace_derivatives: F32
    """Workspace of `engines.fused.traces`."""
    shaped: F64
    scaled: F64
    """[T · N] each: shaped rewards, and rewards in units of the deviation of returns."""
    numbers: F64
    """[observation's numbers]: one observation, for a potential."""
    sums: F64
    """[2, D]: workspace of `normalization.add_rows`."""


WORK: Any = types.NamedTuple(
    [
        STEPS, STEP_WORKSPACE, MINIBATCH_WORKSPACE, _B2, _B2, _D2, _F1, _F1, _F1, _F1, _F2, _F1, _D2, _I1, _I1, _D1,
        _I1, _D1, _F1, _F1, _F1, _B1, _F1, _F1, _F2, _D1, _D1, _D1, _D2,
    ],
    Work,
)  # fmt: skip


class Statistics(NamedTuple):
    """The policy's running statistics. All but the last are views of `all`."""

    all: F64
    """[Q]: the float64 buffers of the policy, which every candidate has its own copy of; [0] without normalization."""
    shift: F64
    scale: F64
    """[D]: the policy's normalizer, which is that of `World.spaces`."""
    samples: F64
    mean: F64
    squares: F64
    """[1], [D] and [D]: `Moments` of observations."""
    reward_samples: F64
    reward_mean: F64
    reward_squares: F64
    """[1] each: `Moments` of returns."""
    returns: F64
    """[N]: running returns of the episodes in progress; see `RewardScaling`."""


STATISTICS: Any = types.NamedTuple([_D1] * 10, Statistics)


class Carried(NamedTuple):
    """What continues from one update to the next."""

    counts: I64
    """Integers: see the constants of `compiled_loop`."""
    so_far: F64
    """[2, N]: return and length so far of the episodes in progress."""
    weight: F64
    """[N]: discount weight of each environment's next step."""
    moments: F64
    """[2, 3]: running moments of the explained variance."""
    ring: F64
    ring_count: I64
    """The recent returns; see `recent_returns.RecentReturns`."""
    sums: F64
    defined: I64
    """[metrics]: sums over the updates of the current row, and the numbers of updates that have each."""
    policy_traces: F32
    value_traces: F32
    """[N, P]: eligibility traces; [0, 0] without them."""
    shaped_so_far: F64
    """[2, N]: like `so_far`, for shaped rewards."""
    statistics: Statistics
    noise: F64
    """[6]: `GradientNoise.numbers`."""


CARRIED: Any = types.NamedTuple(
    [_I1, _D2, _D1, _D2, _D1, _I1, _D1, _I1, _F2, _F2, _D2, STATISTICS, _D1], Carried
)


class Results(NamedTuple):
    """What a call of the compiled loop returns."""

    table: F64
    """[R, M]: rows of the history."""
    episodes: I64
    """[R]: number of episodes that ended in each row."""
    returns: F64
    lengths: F64
    """[E]: of the episodes that ended."""
    acted: F32
    """[2, P]: parameters of the policy as it was at the start of the current row and of the one before, in turns."""
    acted_statistics: F64
    """[2, Q]: its `Statistics.all`."""
    means: F64
    candidate_episodes: I64
    candidate_count: I64
    """The candidates; see `candidates.Candidates`."""
    changed: I64
    """[candidates]: 1 for candidates that are new."""
    candidates: F32
    """[candidates, P]: like `acted`."""
    candidate_statistics: F64
    """[candidates, Q]."""
    norms: F64
    """[3]: report of the last update of the engine."""


RESULTS: Any = types.NamedTuple([_D2, _I1, _D1, _D1, _F2, _D2, _D1, _I1, _I1, _I1, _F2, _D2, _D1], Results)


class Memory(NamedTuple):
    """Everything that the compiled loop works on."""

    world: World
    plan: Plan
    work: Work
    carried: Carried
    results: Results


MEMORY: Any = types.NamedTuple([WORLD, PLAN, WORK, CARRIED, RESULTS], Memory)

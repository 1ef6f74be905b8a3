"""What the compiled loop works on, as named tuples of arrays and numbers. Nothing is allocated while it runs."""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import types

from policygrad._support.function_pointers import ADDRESS
from policygrad._support.random_bits import BITS
from policygrad.engines.fused.gathering import MINIBATCH_WORKSPACE, MinibatchWorkspace
from policygrad.engines.fused.heads import HEAD, Head
from policygrad.engines.fused.net import NET
from policygrad.envs.kernel_vector import KERNEL
from policygrad.rollout.compiled_steps import SPACES, STEP_WORKSPACE, STEPS, Spaces, Steps, StepWorkspace
from policygrad.types import F32, F64, I64, Array, Bool

_I1, _F1, _D1 = types.int64[::1], types.float32[::1], types.float64[::1]
_I2, _F2, _D2 = types.int64[:, ::1], types.float32[:, ::1], types.float64[:, ::1]
_B1, _B2, _D3 = types.boolean[::1], types.boolean[:, ::1], types.float64[:, :, ::1]


NEVER, AT_TRUNCATIONS, EVERYWHERE = range(3)
POLICY, VALUE_ONLY, BOTH = range(3)
NO_NORMALIZATION, BATCH, MINIBATCH, EPISODES = range(4)
(
    NETWORKS,
    EPOCHS,
    SIZE,
    NORMALIZE,
    AGAIN,
    LOSS,
    COLUMNS,
    COEFFICIENTS,
    TOGETHER,
    OLD_LOG_PROB,
    MAIN,
    TRACES,
) = range(12)
"""Columns of `Plan.passes`. COLUMNS and COEFFICIENTS are numbers of columns and coefficients of the loss, TOGETHER says
that each network's derivatives depend on the other one, MAIN is 1 for the algorithm's loss, and TRACES is 1 for a step
along eligibility traces."""
SCHEDULED, PER_EPISODE, ADAPTED = range(3)
"""How a coefficient is computed."""
ADVANTAGE, TARGET, OLD_POLICY, OLD_VALUE, EPISODE_LENGTH = range(5)
"""Rows of `Work.columns`."""
LEARNING_RATE, ENTROPY, POLICY_NORM, VALUE_NORM, LOSS_MEAN, KL, LARGEST_RATIO, CLIP_SHARE = range(8)
VALUE_LOSS, VALUE_BIAS, EXPLAINED, POLICY_STEPS, PENALTY, CLIPPED_ACTIONS, STD = range(8, 15)
METRICS = (
    "learning_rate", "entropy", "policy_grad_norm", "value_grad_norm", "loss", "kl", "largest_ratio", "clip_share",
    "value_loss", "value_bias", "explained_variance", "policy_steps", "kl_penalty", "clipped_actions",
    "std",
)  # fmt: skip
"""The metrics of an update, in the order of these constants."""

KNOWN, STOPPED, TAKEN = range(3)
"""Entries of `Work.marks`: log π(a|s) of the policy that acted is known; the KL has stopped the policy; the number of
steps that the policy has taken."""
FINE, BAD_TARGET, BAD_VALUE, BAD_ADVANTAGE, BAD_UPDATE = range(5)
"""Status of an update. BAD_UPDATE is a step of the engine that was not taken."""


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


class Plan(NamedTuple):
    """A recipe as numbers. See `recipe.Recipe` for fields of the same name."""

    horizon: int
    """0 collects one whole episode of each environment."""
    estimator: int
    """Address of the estimator."""
    parameters: F64
    bootstrap: int
    """`NEVER`, `AT_TRUNCATIONS` or `EVERYWHERE`."""
    reads_value: bool
    reads_log_ratio: bool
    relative_rounding: float
    """Relative difference below which advantages count as equal."""
    early_pass: int
    """−1 for none."""
    evaluates_policy_first: bool
    discount_weighting: bool
    per_episode: bool
    gamma: float
    passes: I64
    """[passes, fields]: see `plan.PASS_FIELDS`."""
    max_kl: F64
    """[passes]."""
    columns: I64
    """[passes, columns]: the columns that a pass reads, as rows of `Work.columns`."""
    coefficients: F64
    """[passes, 3, coefficients]: start, end and current value of each coefficient."""
    computed: I64
    """[passes, coefficients]: 0, or `EPISODES` or `PENALTY` for a coefficient that is computed."""
    rates: F64
    """[2, 2]: start and end of the learning rates of the policy and of V(s)."""
    optimizer: int
    max_grad_norm: float
    loss_value: int
    """Address of the machine code of the loss itself; 0 if it has none."""
    clip: F64
    """[2]: start and end of the clip range; infinite if it is not measured."""
    kl_samples: int
    penalty: F64
    """[3]: current weight, initial weight, and target of the KL, which is 0 for a constant weight."""
    remembered: float
    """0 for the explained variance of single updates."""
    values: int
    evaluations: int
    take_steps: int
    """Addresses of the functions of `engines.fused.forward_loop` and of `update_loop`."""
    walk: int
    """Address of the function of `rollout.compiled_steps`."""
    step_along_traces: int
    """Address of the function of `engines.fused.traces`; 0 without traces."""
    decays: F64
    """[2]: γλ of the policy's and of the value network's traces."""
    limits: F64
    """[2, K]: stored actions below the first or above the second are clipped; [2, 0] if they never are."""
    logs_std: bool
    """True if the parameters ahead of the policy's layers are log σ, whose mean σ is logged."""


PLAN: Any = types.NamedTuple(
    [
        types.int64, ADDRESS, _D1, types.int64, types.boolean, types.boolean, types.float64, types.int64, types.boolean,
        types.boolean, types.boolean, types.float64, _I2, _D1, _I2, _D3, _I2, _D2, types.int64, types.float64, ADDRESS,
        _D1, types.int64, _D1, types.float64, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, _D1, _D2,
        types.boolean,
    ],
    Plan,
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


WORK: Any = types.NamedTuple(
    [
        STEPS, STEP_WORKSPACE, MINIBATCH_WORKSPACE, _B2, _B2, _D2, _F1, _F1, _F1, _F1, _F2, _F1, _D2, _I1, _I1, _D1,
        _I1, _D1, _F1, _F1, _F1, _B1, _F1, _F1, _F2,
    ],
    Work,
)  # fmt: skip


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


CARRIED: Any = types.NamedTuple([_I1, _D2, _D1, _D2, _D1, _I1, _D1, _I1, _F2, _F2], Carried)


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
    means: F64
    candidate_episodes: I64
    candidate_count: I64
    """The candidates; see `candidates.Candidates`."""
    changed: I64
    """[candidates]: 1 for candidates that are new."""
    candidates: F32
    """[candidates, P]: like `acted`."""
    norms: F64
    """[3]: report of the last update of the engine."""


RESULTS: Any = types.NamedTuple([_D2, _I1, _D1, _D1, _F2, _D1, _I1, _I1, _I1, _F2, _D1], Results)


class Memory(NamedTuple):
    """Everything that the compiled loop works on."""

    world: World
    plan: Plan
    work: Work
    carried: Carried
    results: Results


MEMORY: Any = types.NamedTuple([WORLD, PLAN, WORK, CARRIED, RESULTS], Memory)

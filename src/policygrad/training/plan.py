"""From a recipe to the numbers that the compiled loop executes, and to the arrays that it works on."""

from __future__ import annotations

import math

import numpy as np

from policygrad._support.function_pointers import address_in
from policygrad.algorithms import WithRecipe
from policygrad.algorithms.recipe import Pass, Recipe
from policygrad.algorithms.schedule import linear
from policygrad.engines.common import OPTIMIZERS, names_of_columns
from policygrad.engines.fused import FusedEngine, forward_loop, update_loop
from policygrad.engines.fused import traces as fused_traces
from policygrad.engines.fused.gathering import MinibatchWorkspace
from policygrad.engines.fused.update_loop import ROWS
from policygrad.envs import CompiledPotential
from policygrad.policies import GaussianPolicy, GSDEPolicy, Policy
from policygrad.rollout import compiled_steps
from policygrad.rollout.compiled_collector import CompiledCollector
from policygrad.rollout.compiled_steps import StepWorkspace
from policygrad.training import compiled_plan as numbers
from policygrad.training import memory as code
from policygrad.training.candidates import CANDIDATES, Candidates
from policygrad.training.compiled_plan import Plan
from policygrad.training.memory import Results, Work
from policygrad.types import F32, F64

BOOTSTRAPS = {
    "never": numbers.NEVER,
    "at truncations": numbers.AT_TRUNCATIONS,
    "everywhere": numbers.EVERYWHERE,
}
NETWORKS = {"policy": numbers.POLICY, "value": numbers.VALUE_ONLY, "both": numbers.BOTH}
NORMALIZATIONS = {
    "none": numbers.NO_NORMALIZATION,
    "batch": numbers.BATCH,
    "minibatch": numbers.MINIBATCH,
    "episodes": numbers.EPISODES,
}
COLUMNS = ("advantage", "target", "old_log_prob", "old_value", "episode_length")
"""Columns that the compiled loop supplies, in the order of the constants of `memory`."""
MOST_ROWS, MOST_RETURNS = 4096, 65536
"""Largest numbers of rows and of episodes that one call returns."""


def make_plan(
    algorithm: WithRecipe,
    recipe: Recipe,
    engine: FusedEngine,
    optimizer: str,
    potential: CompiledPotential | None,
) -> Plan:
    """Return the plan of an algorithm's recipe, with the optimizer of this name and a potential that shapes rewards."""
    passes, main = recipe.passes, algorithm.traced_loss
    most = max(len(one.loss.coefficients) for one in passes)
    coefficients = np.zeros((len(passes), 3, most))
    computed = np.zeros((len(passes), most), np.int64)
    for p, one in enumerate(passes):
        for k, name in enumerate(one.loss.coefficients):
            if name == "policy_scale" and name in algorithm.computed_coefficients:
                computed[p, k] = numbers.PER_EPISODE
            elif recipe.penalty is not None and name == recipe.penalty.coefficient:
                computed[p, k] = numbers.ADAPTED
            else:
                coefficients[p, :2, k] = algorithm.schedule(name)
    columns = np.zeros((len(passes), len(COLUMNS)), np.int64)
    for p, one in enumerate(passes):
        for k, name in enumerate(names_of_columns(one.loss, one.max_kl)[0]):
            columns[p, k] = COLUMNS.index(name)
    early = recipe.early_pass if engine.networks_are_separate else None
    traces = next((one.traces for one in passes if one.traces is not None), None)
    target = 0.0 if recipe.penalty is None else recipe.penalty.target or 0.0
    return Plan(
        horizon=recipe.horizon or 0,
        estimator=recipe.estimator.address,
        parameters=np.array(recipe.estimator.parameters),
        bootstrap=BOOTSTRAPS[recipe.estimator.bootstrap],
        reads_value=recipe.estimator.reads_value,
        reads_log_ratio=recipe.estimator.extra == "log ratio",
        relative_rounding=recipe.relative_rounding,
        early_pass=-1 if early is None else early,
        evaluates_policy_first=recipe.evaluates_policy_first(main),
        discount_weighting=recipe.discount_weighting,
        per_episode=recipe.per_episode,
        gamma=recipe.gamma,
        passes=np.array([_numbers(one, main is one.loss, engine) for one in passes], np.int64),
        max_kl=np.array([math.inf if one.max_kl is None else one.max_kl for one in passes]),
        columns=columns,
        coefficients=coefficients,
        computed=computed,
        rates=np.array([_ends(recipe.policy_rate), _ends(recipe.value_rate)]),
        optimizer=OPTIMIZERS[optimizer],
        max_grad_norm=math.inf if recipe.max_grad_norm is None else recipe.max_grad_norm,
        loss_value=main.value_address if _logs_loss(algorithm, recipe) else 0,
        clip=np.array((math.inf, math.inf) if recipe.clip is None else _ends(recipe.clip)),
        kl_samples=2**62 if recipe.kl_samples is None else recipe.kl_samples,
        penalty=np.array([0.0, 0.0 if recipe.penalty is None else recipe.penalty.initial, target]),
        remembered=float(recipe.remembered or 0),
        values=address_in(forward_loop.values, forward_loop.VALUES),
        evaluations=address_in(forward_loop.evaluations, forward_loop.EVALUATIONS),
        take_steps=update_loop.take_steps.address,
        walk=compiled_steps.walk.address,
        step_along_traces=0
        if traces is None
        else address_in(fused_traces.step_along_traces, fused_traces.STEP_ALONG_TRACES),
        decays=np.zeros(2) if traces is None else recipe.gamma * np.array([traces.policy, traces.value]),
        limits=_limits(engine.policy),
        std=factor_of_std(engine.policy),
        potential=0 if potential is None else potential.address,
        normalizes_observations=engine.policy.observation_moments is not None,
        normalizes_rewards=engine.policy.reward_scale is not None,
        reward_limit=engine.policy.normalization.clip_rewards,
    )


def make_work(collector: CompiledCollector, recipe: Recipe, engine: FusedEngine) -> Work:
    """Return memory for the largest update."""
    vector = collector.vector
    N, T = vector.num_envs, recipe.horizon or vector.kernel.max_steps
    steps = collector.buffers(T, restart=recipe.horizon is not None)
    D, K, B = steps.observation.shape[2], steps.action.shape[2], T * N

    # a minibatch has about the number of samples that the recipe says
    largest = max(2 * (one.minibatch_size or 0) + 2 for one in recipe.passes)
    # a few kilobytes, which only traces use
    policy_direction, value_direction, derivatives = fused_traces.workspace(engine.nets)

    def f32(*shape: int) -> F32:
        # memory that is never written takes no space
        return np.empty(shape, np.float32)

    return Work(
        steps,
        StepWorkspace(
            f32(ROWS, D),
            np.empty((ROWS, collector.noise.numbers)),
            f32(ROWS, K),
            np.empty(K),
            np.empty(N, np.int64),
        ),
        MinibatchWorkspace(
            f32(largest, D),
            f32(largest, 0),
            f32(largest, K),
            np.zeros((3, largest), np.float32),
            f32(len(COLUMNS), largest),
            f32(0),
            f32(3, ROWS),
        ),
        valid=np.zeros((T, N), np.bool_),
        done=np.zeros((T, N), np.bool_),
        reals=np.empty((6, B)),
        x=f32(B * D),
        action=f32(B * K),
        all_values=f32((T + 1) * N + B),
        outputs=f32(3 * B),
        columns=f32(len(COLUMNS), B),
        matrix=f32(6 * B),
        flat=np.empty((3, B)),
        order=np.empty(B, np.int64),
        bounds=np.empty(B + 1, np.int64),
        metrics=np.zeros(len(code.METRICS)),
        marks=np.zeros(3, np.int64),
        size=np.zeros(1),
        part_x=f32(B * D),
        part_action=f32(B * K),
        part_outputs=f32(3 * B),
        over=np.zeros(B, np.bool_),
        policy_direction=policy_direction,
        value_direction=value_direction,
        trace_derivatives=derivatives,
        shaped=np.empty(B),
        scaled=np.empty(B),
        numbers=np.empty(vector.kernel.observation_numbers),
        sums=np.empty((2, max(D, 1))),
    )


def make_results(
    policy: Policy, candidates: Candidates, columns: int, statistics: int, largest: int
) -> Results:
    """Return memory for the results.

    Args:
        policy, candidates: the policy that learns, and its candidates.
        columns: number of metrics of a row.
        statistics: size of `Statistics.all`.
        largest: largest number of samples of an update, which is the largest number of episodes that may end in it.
    """
    P = len(policy.snapshot().parameters)
    return Results(
        table=np.empty((MOST_ROWS, columns)),
        episodes=np.zeros(MOST_ROWS, np.int64),
        returns=np.empty(MOST_RETURNS + 2 * largest),
        lengths=np.empty(MOST_RETURNS + 2 * largest),
        acted=np.empty((2, P), np.float32),
        acted_statistics=np.empty((2, statistics)),
        means=candidates.means,
        candidate_episodes=candidates.episodes,
        candidate_count=candidates.count,
        changed=np.zeros(CANDIDATES, np.int64),
        candidates=np.empty((CANDIDATES, P), np.float32),
        candidate_statistics=np.empty((CANDIDATES, statistics)),
        norms=np.zeros(3),
    )


def factor_of_std(policy: Policy) -> float:
    """Return what the mean of σ is multiplied by in the metric `std`; 0 if σ is not a parameter of the policy."""
    network = policy.network
    if isinstance(network, GSDEPolicy):
        return network.typical_norm
    return float(isinstance(network, GaussianPolicy) and not network.state_dependent_std)


def logged_metrics(algorithm: WithRecipe, recipe: Recipe, policy: Policy, *, shaped: bool) -> list[int]:
    """Return the indices of the metrics that this recipe logs, in `memory.METRICS`."""
    left_out = set[str]()
    if not recipe.uses_value:
        left_out |= {"value_grad_norm", "value_loss", "value_bias", "explained_variance"}
    if not _logs_loss(algorithm, recipe):
        left_out.add("loss")
    if recipe.clip is None:
        left_out.add("clip_share")
    if not recipe.counts_steps:
        left_out.add("policy_steps")
    if recipe.penalty is None:
        left_out.add("kl_penalty")
    if not _limits(policy).size:
        left_out.add("clipped_actions")
    if not factor_of_std(policy):
        left_out.add("std")
    if not shaped:
        left_out.add("shaped_return")
    return [k for k, name in enumerate(code.METRICS) if name not in left_out]


def _logs_loss(algorithm: WithRecipe, recipe: Recipe) -> bool:
    """Return True if a pass minimizes the algorithm's loss, and there is machine code for the loss itself."""
    main = algorithm.traced_loss
    return main.root is not None and any(one.loss is main for one in recipe.passes)


def _limits(policy: Policy) -> F64:
    """Return the stored actions beyond which actions are clipped, [2, K]; [2, 0] if none are."""
    distribution = policy.distribution
    clips = distribution.transform == "clip to the box"
    return np.array(distribution.units.limits) if clips else np.zeros((2, 0))


def _ends(schedule: linear) -> tuple[float, float]:
    return schedule.start, schedule.end


def _numbers(one: Pass, is_main: bool, engine: FusedEngine) -> list[int]:
    """Return a row of `Plan.passes`."""
    names, old_log_prob = names_of_columns(one.loss, one.max_kl)
    return [
        NETWORKS[one.networks],
        one.epochs,
        one.minibatch_size or 0,
        NORMALIZATIONS[one.normalize],
        int(one.estimate_again),
        one.loss.address,
        len(names),
        len(one.loss.coefficients),
        int(not one.loss.separates and engine.value is not None),
        old_log_prob,
        int(is_main),
        int(one.traces is not None),
    ]

"""Scoring the candidates of a run in environments of its own, to choose its best policy."""

from __future__ import annotations

from policygrad.envs import Environments, EnvLike, EnvOptions, KernelVectorEnv, make
from policygrad.evaluation.selection import ROUND, Selection, allowance, select, typical_length
from policygrad.policies import Snapshot
from policygrad.runs.run import Run


def select_best(
    run: Run,
    snapshots: list[Snapshot],
    *,
    env: EnvLike,
    options: EnvOptions,
    opened: Environments,
    num_envs: int,
    can_repeat: bool,
    threads: int | None,
) -> Selection | None:
    """Score a run's candidates in new environments, or in the given environment object, which is free by now.

    Args:
        run: the run, which has ended.
        snapshots: its candidates.
        env, options: what the run was trained on.
        opened: environments that the run has opened.
        num_envs: number of environments that the run was trained on.
        can_repeat: new environments can be made.
        threads: number of EnvPool's threads.

    Returns:
        The choice; None if the budget is too small to be worth opening environments.
    """
    length = typical_length(run.history["steps"], run.history["episodes"])
    budget = allowance(opened, run.last_policy, run.steps)
    if length is None or budget < 2 * ROUND * length:
        return None
    scored = opened
    if can_repeat:
        compiled = isinstance(opened.vector, KernelVectorEnv)
        most = ROUND if compiled else num_envs
        count = max(n for n in range(1, ROUND + 1) if ROUND % n == 0 and n <= most)
        scored = make(env, None, options, otherwise=count, threads=threads)
    try:
        return select(run.last_policy, snapshots, scored, budget=budget, length=length, seed=run.seed)
    finally:
        if scored is not opened:
            scored.close()

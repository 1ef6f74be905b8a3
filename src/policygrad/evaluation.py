"""How good a policy is: returns of fresh episodes, with an interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import betaincinv, stdtrit

from policygrad.checkpoint import fields, restore_rng, rng_state
from policygrad.checks import check_names, whole
from policygrad.compiled import announce_compilation
from policygrad.engines.fusible import why_not
from policygrad.envs import Environments, EnvLike, EnvOptions, KernelVectorEnv, make
from policygrad.policies import Policy, evaluation_mode
from policygrad.progress import show_episodes
from policygrad.rollout import HostCollector
from policygrad.seeding import EpisodeSeeds, stream
from policygrad.threads import Workers, single_thread
from policygrad.training import Iteration
from policygrad.types import F64, Array, Inputs, State

STEP_LIMIT = 10_000
"""Steps after which an episode is truncated where the environment has no limit of its own."""
SIDE_BY_SIDE = 16
"""Environments that are run side by side, at most, where it is not said how many."""


@dataclass(frozen=True)
class Evaluation:
    """Returns of independent episodes, undiscounted, of the environment's own reward."""

    returns: F64
    """[episodes] float64."""
    lengths: Array
    """[episodes] int64, steps."""
    greedy: bool
    cut: int = 0
    """Number of episodes that a step limit ended, because the environment has none of its own."""
    threshold: float | None = None
    """Return that counts as solved, as the environment's authors say; None if they do not."""

    @property
    def mean(self) -> float:
        """The mean return."""
        return float(self.returns.mean())

    @property
    def failures(self) -> int | None:
        """Number of episodes whose return is below the threshold; None if there is no threshold."""
        return None if self.threshold is None else int((self.returns < self.threshold).sum())

    @property
    def failure_interval(self) -> tuple[float, float] | None:
        """95 % interval of the share of episodes below the threshold; None if there is no threshold.

        Clopper & Pearson 1934: it covers the share in at least 95 % of evaluations, however small it is. Where no
        episode failed it begins at 0, and its end is the one-sided bound, about 3/n (the rule of three).
        """
        return None if self.failures is None else share_interval(self.failures, len(self.returns))

    @property
    def low(self) -> float:
        """Lower end of the mean's 95 % interval (Student's t); NaN for a single episode.

        It covers the mean less often than that where few episodes are far from the others, as failures are, and where
        all returns are equal it has no width: look at `failure_interval` too.
        """
        return self.mean - self._half_width()

    @property
    def high(self) -> float:
        """Upper end of the same."""
        return self.mean + self._half_width()

    def _half_width(self) -> float:
        n = len(self.returns)
        if n < 2:
            return math.nan
        return float(stdtrit(n - 1, 0.975)) * float(self.returns.std(ddof=1)) / math.sqrt(n)

    def __str__(self) -> str:
        how = "greedy" if self.greedy else "sampled"
        cut = f", {self.cut} cut after {int(self.lengths.max()):,} steps" if self.cut else ""
        failed = f", {self.failures_in_words}" if self.failures_in_words else ""
        return f"{self.mean_in_words} ({how}, {len(self.returns)} episodes{cut}{failed})"

    @property
    def mean_in_words(self) -> str:
        """The mean with its interval; of equal returns, how many others there may be."""
        n = len(self.returns)
        if n > 1 and (self.returns == self.returns[0]).all():
            return f"{self.mean:.1f}, all equal: at most {percent(share_interval(0, n)[1])} of episodes differ (95 %)"
        return f"{self.mean:.1f}" if n < 2 else f"{self.mean:.1f}  95 % [{self.low:.1f}, {self.high:.1f}]"

    @property
    def failures_in_words(self) -> str:
        """The share of episodes below the threshold with its interval; empty without a threshold."""
        failures, interval, n = self.failures, self.failure_interval, len(self.returns)
        if failures is None or interval is None:
            return ""
        if failures == 0:
            return f"none of {n} below {self.threshold:g}: at most {percent(interval[1])} of all (95 %)"
        low, high = map(percent, interval)
        return f"{failures} of {n} below {self.threshold:g}: {percent(failures / n)}  95 % [{low}, {high}]"


def percent(share: float) -> str:
    """Return a share as text.

    >>> percent(0.0295), percent(1.0)
    ('2.9 %', '100 %')
    """
    return f"{100 * share:.2g} %" if share < 0.995 else "100 %"


def share_interval(count: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of Clopper & Pearson 1934 for a share, of which `count` of `n` were seen.

    Where none or all were seen the interval has one end, and is the one-sided one.

    >>> "{:.4f} {:.4f}".format(*share_interval(2, 100))
    '0.0024 0.0704'
    >>> "{:.4f} {:.4f}".format(*share_interval(0, 100))
    '0.0000 0.0295'
    """
    one_sided = 0.05 ** (1 / n)
    if count == 0:
        return 0.0, 1 - one_sided
    if count == n:
        return one_sided, 1.0
    return float(betaincinv(count, n - count + 1, 0.025)), float(betaincinv(count + 1, n - count, 0.975))


def evaluate(
    policy: Policy,
    env: EnvLike,
    episodes: int = 100,
    greedy: bool = True,
    seed: int = 0,
    num_envs: int | None = None,
    progress: bool | None = None,
    **options: Any,
) -> Evaluation:
    """Run whole episodes and report their returns; the policy is left exactly as it was.

    Each environment runs a number of episodes that is fixed beforehand, so that short episodes are not
    over-represented. No shaping is applied.

    Args:
        policy: a `Policy`, as from a run or from `load`.
        env: as in `train`, with the spaces that the policy was made for.
        episodes: how many, 1 or more.
        greedy: the most probable action rather than a sampled one.
        seed: of the environments and the actions; streams apart from every training's.
        num_envs: how many run side by side; up to 16 by default.
        progress: show how many episodes have ended; by default only on a terminal.
        options: how the environments are opened, as in `train`: `backend`, `env_kwargs`, `wrap`, `vectorize`,
            `max_episode_steps`. Episodes of an environment without a limit are truncated after 10,000 steps, which
            the result's `cut` counts.

    Raises:
        ValueError: the spaces are not the policy's, or `episodes` is below 1.
        EnvironmentFault: the environment breaks Gymnasium's contract.
    """
    if not isinstance(policy, Policy):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"expected a policygrad.Policy; got {type(policy).__name__}. "
            "Policy(network, observation_space, action_space) makes one of a torch module"
        )
    episodes = whole("episodes", episodes, at_least=1)
    check_names("evaluate", EnvOptions, options)
    environments = make(env, num_envs, EnvOptions(**options), otherwise=min(episodes, SIDE_BY_SIDE))
    try:
        policy.check_spaces(environments.observation_space, environments.action_space, environments.name)
        with single_thread(), evaluation_mode(policy), show_episodes(episodes, progress) as tick:
            return run_episodes(policy, environments, episodes, greedy, seed, tick)
    finally:
        environments.close()


class PeriodicEvaluation:
    """Evaluates a policy again and again while it is trained, greedily, in environments of its own.

    Args:
        env, options: as in `train`; an id, a kernel or a factory.
        every: steps of training between two tests.
        episodes: number of episodes per test; each test has fresh ones.
        seed: of the training.
        threads: EnvPool's.
    """

    def __init__(
        self,
        env: EnvLike,
        options: EnvOptions,
        every: int,
        episodes: int,
        seed: int,
        threads: int | None = None,
    ) -> None:
        self._environments = make(env, None, options, otherwise=min(episodes, SIDE_BY_SIDE), threads=threads)
        self._every = self._due = every
        self._episodes = episodes
        self._seeds = stream(seed, "evaluation")

    def state(self) -> State:
        """When the next test is due, and which episodes it takes."""
        return {"due": self._due, "every": self._every, "seeds": rng_state(self._seeds)}

    def restore(self, state: State) -> None:
        """Go on from there; where tests are `every` so many other steps now, the next is due as of a run from 0."""
        due, every, seeds = fields(state, "due", "every", "seeds")
        self._due = due if every == self._every else self._every
        restore_rng(self._seeds, seeds)

    def watch(self, loop: Iterable[Iteration], policy: Policy) -> Iterator[Iteration]:
        """The iterations as they come, those after which a test was due with its `test_return`."""
        for iteration in loop:
            if iteration.metrics["steps"] >= self._due:
                self._due += self._every * (1 + int(iteration.metrics["steps"] - self._due) // self._every)
                seed = int(self._seeds.integers(2**31))
                with evaluation_mode(policy):
                    result = run_episodes(policy, self._environments, self._episodes, True, seed)
                iteration.metrics["test_return"] = result.mean
                if result.cut:
                    iteration.metrics["test_cut"] = result.cut
            yield iteration

    def close(self) -> None:
        """Close the environments."""
        self._environments.close()


def run_episodes(
    policy: Policy,
    environments: Environments,
    episodes: int,
    greedy: bool,
    seed: int,
    tick: Callable[[int, int], None] = lambda episodes, steps: None,
    max_steps: int | None = None,
) -> Evaluation:
    """Run whole episodes in environments that are open already: see `evaluate`.

    Args:
        policy: in evaluation mode.
        environments: with the policy's spaces.
        episodes, greedy, seed: as in `evaluate`.
        tick: called now and then with the number of episodes that have ended, and of the steps that were taken.
        max_steps: cut episodes in Python environments after this many steps, if that comes before the limit.
    """
    env_rng, action_rng = stream(seed, "evaluation").spawn(2)
    before = [0, 0]

    def count(ended: int, steps: int) -> None:
        tick(min(before[0] + ended, episodes), before[1] + steps)

    rngs: Any = {"seeds": EpisodeSeeds(env_rng), "action_rng": action_rng}
    if isinstance(environments.vector, KernelVectorEnv) and why_not(policy, None) is None:
        with announce_compilation():
            from policygrad.engines.fused import FusedEngine
            from policygrad.rollout.compiled import CompiledCollector
        engine = FusedEngine(policy, None, "sgd")
        collector = CompiledCollector(environments, policy, engine, **rngs, workers=Workers(), greedy=greedy)
    else:

        def act(inputs: Inputs, noise: F64) -> Array:
            return policy.choose(inputs, None if greedy else noise)

        limit = min(environments.max_episode_steps or STEP_LIMIT, max_steps or STEP_LIMIT)
        collector = HostCollector(environments, policy, act, **rngs, max_steps=limit, cut=True, tick=count)
    returns, lengths = list[F64](), list[Array]()
    # which of a last, partly needed round count was settled before it ran: the first ones
    for _ in range(math.ceil(episodes / environments.num_envs)):
        rollout = collector.episodes()
        returns.append(rollout.original_reward.sum(0))
        lengths.append(rollout.valid.sum(0))
        before[0] += environments.num_envs
        before[1] += rollout.num_samples
        count(0, 0)
    cut = collector.cut_episodes if isinstance(collector, HostCollector) else 0
    return Evaluation(
        np.concatenate(returns)[:episodes],
        np.concatenate(lengths)[:episodes].astype(np.int64),
        greedy,
        cut,
        environments.reward_threshold,
    )

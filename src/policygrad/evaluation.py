"""How good a policy is: returns of fresh episodes, with an interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

from policygrad.checkpoint import fields, restore_rng, rng_state
from policygrad.checks import whole
from policygrad.compiled import announce_compilation
from policygrad.engines.fusible import why_not
from policygrad.envs import Backend, Environments, EnvLike, Kernel, KernelVectorEnv, make
from policygrad.policies import Policy, evaluation_mode
from policygrad.rollout import HostCollector
from policygrad.seeding import EpisodeSeeds, stream
from policygrad.threads import Workers, single_thread
from policygrad.training import LONGEST_EPISODE, Iteration
from policygrad.types import F32, F64, Array, State


@dataclass(frozen=True)
class Evaluation:
    """Returns of independent episodes, undiscounted, of the environment's own reward."""

    returns: F64
    """[episodes] float64."""
    lengths: Array
    """[episodes] int64, steps."""
    greedy: bool

    @property
    def mean(self) -> float:
        """The mean return."""
        return float(self.returns.mean())

    @property
    def low(self) -> float:
        """Lower end of the mean's 95 % interval (Student's t); NaN for a single episode."""
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
        return f"{self.mean:.1f} [{self.low:.1f}, {self.high:.1f}] ({how}, {len(self.returns)} episodes)"


def evaluate(
    policy: Policy,
    env: EnvLike,
    episodes: int = 100,
    greedy: bool = True,
    seed: int = 0,
    num_envs: int | None = None,
    backend: Backend = "auto",
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
        num_envs: how many run side by side; up to 16 where left out.
        backend: who runs an id's environments: see `envs.make`.

    Raises:
        ValueError: the spaces are not the policy's, `episodes` is below 1, or an episode does not end.
    """
    if not isinstance(policy, Policy):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"expected a policygrad.Policy; got {type(policy).__name__}. "
            "Policy(network, observation_space, action_space) makes one of a torch module"
        )
    episodes = whole("episodes", episodes, at_least=1)
    if num_envs is None and (isinstance(env, str | Kernel) or not hasattr(env, "step")):
        num_envs = min(episodes, 16)
    environments = make(env, num_envs, backend=backend)
    try:
        policy.check_spaces(environments.observation_space, environments.action_space, environments.name)
        with single_thread(), evaluation_mode(policy):
            return _run(policy, environments, episodes, greedy, seed)
    finally:
        environments.close()


class PeriodicEvaluation:
    """Evaluates a policy again and again while it is trained, greedily, in environments of its own.

    Args:
        env, backend: as in `train`; an id, a kernel or a factory.
        threads: EnvPool's.
        every: steps of training between two tests.
        episodes: of each test; each has fresh ones.
        seed: of the training.
    """

    def __init__(
        self, env: EnvLike, backend: Backend, every: int, episodes: int, seed: int, threads: int | None = None
    ) -> None:
        self._environments = make(env, min(episodes, 16), backend=backend, threads=threads)
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
                    result = _run(policy, self._environments, self._episodes, True, seed)
                iteration.metrics["test_return"] = result.mean
            yield iteration

    def close(self) -> None:
        """Close the environments."""
        self._environments.close()


def _run(policy: Policy, environments: Environments, episodes: int, greedy: bool, seed: int) -> Evaluation:
    env_rng, action_rng = stream(seed, "evaluation").spawn(2)

    rngs: Any = {"seeds": EpisodeSeeds(env_rng), "action_rng": action_rng}
    if isinstance(environments.vector, KernelVectorEnv) and why_not(policy, None) is None:
        with announce_compilation():
            from policygrad.engines.fused import FusedEngine
            from policygrad.rollout.compiled import CompiledCollector
        engine = FusedEngine(policy, None, "sgd")
        collector = CompiledCollector(environments, policy, engine, **rngs, workers=Workers(), greedy=greedy)
    else:

        def act(encoded: F32, noise: F64) -> Array:
            return policy.choose(encoded, None if greedy else noise)

        collector = HostCollector(environments, policy, act, **rngs, max_steps=LONGEST_EPISODE)
    rollout = collector.episodes(math.ceil(episodes / environments.num_envs))
    # which of a last, partly needed round count was settled before it ran: the first ones
    returns: F64 = rollout.original_reward.sum(0)[:episodes]
    return Evaluation(returns, rollout.valid.sum(0)[:episodes].astype(np.int64), greedy)

"""Evaluation of a policy at intervals during training."""

from __future__ import annotations

from collections.abc import Iterator

from policygrad._support.seeding import stream
from policygrad._support.state import restore_rng, rng_state, unpack
from policygrad.envs import EnvLike, EnvOptions, make
from policygrad.evaluation.episodes import SIDE_BY_SIDE, run_episodes
from policygrad.policies import Policy, evaluation_mode
from policygrad.training import Iteration, Training
from policygrad.types import State


class PeriodicEvaluation:
    """Evaluates the greedy policy at intervals during training, in separate environments.

    Args:
        env, options: as in `train`; `env` must be an id, a kernel or a factory.
        every: number of training steps between two evaluations.
        episodes: number of episodes per evaluation; each evaluation has fresh ones.
        seed: seed of the training run.
        threads: number of EnvPool's threads.
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
        """Return the state: when the next evaluation is due, and the generator of its seeds."""
        return {"due": self._due, "every": self._every, "seeds": rng_state(self._seeds)}

    def restore(self, state: State) -> None:
        """Continue from that state. If `every` has changed, the schedule starts again at step 0."""
        due, every, seeds = unpack(state, "due", "every", "seeds")
        self._due = due if every == self._every else self._every
        restore_rng(self._seeds, seeds)

    def watch(self, training: Training, policy: Policy) -> Iterator[Iteration]:
        """Yield the iterations, with `eval_return` in those after which an evaluation was due."""
        training.pause_at = self._due
        for iteration in training:
            steps = iteration.last["steps"]
            if steps >= self._due:
                self._due += self._every * (1 + int(steps - self._due) // self._every)
                seed = int(self._seeds.integers(2**31))
                with evaluation_mode(policy):
                    result = run_episodes(policy, self._environments, self._episodes, True, seed)
                found = {"eval_return": result.mean} | ({"eval_cut": result.cut} if result.cut else {})
                iteration = iteration.with_metrics(found)
                training.pause_at = self._due
            yield iteration

    def close(self) -> None:
        """Close the environments."""
        self._environments.close()

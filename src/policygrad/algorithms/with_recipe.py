"""The base class of algorithms that are stated as a recipe."""

from __future__ import annotations

from dataclasses import dataclass

from policygrad.algorithms import learning
from policygrad.algorithms.algorithm import Algorithm
from policygrad.algorithms.own_loss import replaced_method
from policygrad.algorithms.recipe import Recipe
from policygrad.algorithms.with_loss import WithLoss
from policygrad.interfaces import Collector, Engine
from policygrad.types import Batch, LearnerState, Rollout


@dataclass(frozen=True, kw_only=True)
class WithRecipe(WithLoss):
    """Base class of algorithms with a `recipe`, which is a property that returns a `Recipe`."""

    @property
    def recipe(self) -> Recipe | None:
        """What an update does; None if these settings need an update of their own."""
        raise NotImplementedError

    @property
    def own_method(self) -> str | None:
        """Name of the method that a subclass has replaced, so that the recipe alone does not describe it."""
        return replaced_method(type(self))

    def check_update(self, steps: int, columns: int) -> None:
        """Raise ValueError if an update of T steps in N columns is too small for these settings."""

    def collect(self, collector: Collector) -> Rollout:
        """Collect the data of one update: whole episodes, or a number of steps."""
        recipe = self.recipe
        assert recipe is not None, "an algorithm without a recipe collects by itself"
        if recipe.horizon is None:
            return collector.episodes(recipe.episodes_per_env or 1)
        return collector.steps(recipe.horizon)

    def learn(self, engine: Engine, rollout: Rollout, learner: LearnerState) -> dict[str, float]:
        """Perform one update and return its metrics."""
        return learning.learn(self, self._checked(rollout), engine, rollout, learner)

    def batch(self, rollout: Rollout, engine: Engine) -> Batch:
        """Return the samples with the columns of the first step of the policy, without learning anything.

        Advantages that are normalized over each minibatch are not normalized yet.

        Raises:
            ValueError: the rollout does not have the form that the algorithm needs.
            NonFiniteError: an advantage or a target is NaN or infinite.
        """
        return learning.batch(self, self._checked(rollout), engine, rollout)

    def _checked(self, rollout: Rollout) -> Recipe:
        """Return the recipe; raise ValueError if the rollout is too small for it."""
        recipe = self.recipe
        assert recipe is not None, f"these settings of {type(self).__name__} have no recipe"
        self.check_update(*rollout.valid.shape)
        return recipe


def has_traces(algorithm: Algorithm) -> bool:
    """Return True if gradients are along traces, whose noise is not that of a mean over samples."""
    return isinstance(algorithm, WithRecipe) and algorithm.recipe is not None and algorithm.recipe.has_traces

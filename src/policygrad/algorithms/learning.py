"""One update of a recipe, in Python, with either engine.

The machine code that executes recipes for compiled environments takes the same steps in the same order, and calls the
same compiled functions.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from policygrad.advantages import (
    check_whole_episodes,
    continue_discount_weights,
    normalize_in_place,
)
from policygrad.advantages.scaling import normalize_each, normalize_episodes
from policygrad.algorithms.along_traces import step_along_traces
from policygrad.algorithms.diagnostics import mean, policy_change_metrics, value_metrics
from policygrad.algorithms.minibatches import number_of_parts, shuffled
from policygrad.algorithms.penalty import adapted
from policygrad.algorithms.recipe import FLOAT64_ROUNDING, Pass, Recipe, Traces
from policygrad.algorithms.steps import flatten_valid, to_finite_float32
from policygrad.algorithms.with_loss import WithLoss
from policygrad.interfaces import AlongTraces, Engine, ScoringEngine, Step, Update
from policygrad.types import F32, F64, Batch, Inputs, LearnerState, Minibatches, Rollout


def learn(
    algorithm: WithLoss, recipe: Recipe, engine: Engine, rollout: Rollout, learner: LearnerState
) -> dict[str, float]:
    """Perform one update of an algorithm's recipe and return its metrics."""
    update = _Learning(algorithm, recipe, engine, rollout, learner)
    update.estimate_first()
    for i, one in enumerate(update.recipe.passes):
        for epoch in range(update.begun.get(i, 0), one.epochs):
            if one.estimate_again and epoch > 0:
                update.estimate_again()
            update.take_steps(one)
    return update.metrics()


def batch(algorithm: WithLoss, recipe: Recipe, engine: Engine, rollout: Rollout) -> Batch:
    """See `WithRecipe.batch`."""
    update = _Learning(algorithm, recipe, engine, rollout, LearnerState(np.random.default_rng(0)))
    update.estimate_first(may_learn=False)
    first = next(one for one in update.recipe.passes if one.steps_policy)
    if first.normalize == "minibatch":
        return update.batch_with(update.advantage.astype(np.float32))
    return update.batch_with(update.normalized(first, None))


class _Learning:
    """One update: its samples, and what is computed for them."""

    def __init__(
        self, algorithm: WithLoss, recipe: Recipe, engine: Engine, rollout: Rollout, learner: LearnerState
    ) -> None:
        self.algorithm, self.recipe, self.engine, self.rollout = algorithm, recipe, engine, rollout
        self.learner, self.loss = learner, algorithm.traced_loss
        if recipe.horizon is None:
            check_whole_episodes(rollout)
        inputs = Inputs(flatten_valid(rollout, rollout.observation))
        self.batch = Batch(inputs, flatten_valid(rollout, rollout.action), {})
        self.outputs: F32 = np.zeros((3, len(inputs)), np.float32)
        """log π, H and V(s) of each sample, as last computed."""
        self.acted: F32 | None = None
        """[B]: log π(a|s) of the policy that acted, once it is known."""
        self.entropy = np.nan
        self.value: F32 | None = None
        """[B]: V(s) before the update."""
        self.first_target: F32 = np.zeros(0, np.float32)
        self.advantage: F64 = np.zeros(0)
        """[B]: advantages before they are normalized."""
        self.begun: dict[int, int] = {}
        """Epochs of a pass that were taken before all others, by its index."""
        self.policy_steps = 0
        self.policy_stopped = False
        self.norms = {"policy_grad_norm": np.nan, "value_grad_norm": np.nan}
        self.last_columns: F32 | None = None
        self.penalty = 0.0 if recipe.penalty is None else recipe.penalty.weight(learner)
        progress = learner.progress
        self.step = Step(
            recipe.policy_rate.at(progress), recipe.value_rate.at(progress), recipe.max_grad_norm
        )
        self.coefficients = algorithm.coefficient_values(progress, **self._computed_coefficients())
        self.weights = self._discount_weights() if recipe.discount_weighting else None

    def _computed_coefficients(self) -> dict[str, float]:
        computed = dict[str, float]()
        if "policy_scale" in self.algorithm.computed_coefficients:
            episodes = self.rollout.valid.shape[1]
            computed["policy_scale"] = len(self.batch) / episodes if self.recipe.per_episode else 1.0
        if self.recipe.penalty is not None:
            computed[self.recipe.penalty.coefficient] = self.penalty
        return computed

    def _discount_weights(self) -> F64:
        rollout, N = self.rollout, self.rollout.valid.shape[1]
        weight = np.ones(N)
        if self.recipe.horizon is not None:
            weight = self.learner.traces.setdefault("importance", weight)
        weights = np.empty(rollout.valid.shape)
        continue_discount_weights(rollout.done, rollout.valid, self.recipe.gamma, weight, weights)
        return flatten_valid(rollout, weights)

    def estimate_first(self, *, may_learn: bool = True) -> None:
        """Evaluate what is needed of both networks as they were when they acted, and estimate advantages."""
        estimator, engine, rollout = self.recipe.estimator, self.engine, self.rollout
        if estimator.bootstrap == "everywhere":
            along, next_value = engine.values_along(rollout)
            self.value = to_finite_float32(rollout, "V(s)", flatten_valid(rollout, along))
            self._estimate(along, next_value)
        else:
            self._estimate_returns(may_learn)
        if self.value is not None:
            self.outputs[2] = self.value
        self.first_target = self.batch.columns["target"]
        if self.recipe.evaluates_policy_first(self.loss) or engine.has_modes:
            self._evaluate_policy()

    def _estimate_returns(self, may_learn: bool) -> None:
        """Estimate with targets that do not depend on V(s), except where an episode was truncated."""
        estimator, engine, rollout = self.recipe.estimator, self.engine, self.rollout
        next_value = np.zeros(rollout.valid.shape)
        if estimator.bootstrap == "at truncations" and rollout.truncated.any():
            final = engine.values(Inputs(rollout.successors(rollout.truncated)))
            next_value[rollout.truncated] = final
        early = self.recipe.early_pass if may_learn and engine.networks_are_separate else None
        if not estimator.reads_value:
            self._estimate(None, next_value)
            return
        if early is None:
            self.value = engine.values(self.batch.inputs)
        else:
            # a step of V(s) returns V(s) as it was before it
            self._estimate(None, next_value)
            self.take_steps(self.recipe.passes[early])
            self.begun[early] = 1
            self.value = self.outputs[2].copy()
        value = np.zeros(rollout.valid.shape)
        value[rollout.valid] = self.value
        self._estimate(value, next_value)

    def _evaluate_policy(self) -> None:
        log_prob, entropy = self.engine.evaluate(self.batch.inputs, self.batch.action)
        self.outputs[:2] = log_prob, entropy
        self.acted, self.entropy = log_prob, mean(entropy)

    def estimate_again(self) -> None:
        """Estimate advantages and targets with V(s) and, if the estimator reads it, log π(a|s) as they are now."""
        extra = None
        if self.recipe.estimator.extra == "log ratio":
            assert self.acted is not None
            log_prob, _ = self.engine.evaluate(self.batch.inputs, self.batch.action)
            extra = np.zeros(self.rollout.valid.shape)
            extra[self.rollout.valid] = log_prob.astype(np.float64) - self.acted
        self._estimate(*self.engine.values_along(self.rollout), extra)

    def _estimate(self, value: F64 | None, next_value: F64, extra: F64 | None = None) -> None:
        rollout, estimator = self.rollout, self.recipe.estimator
        if estimator.extra == "squared scores":
            inputs, action = self.batch.inputs, self.batch.action
            extra = np.zeros(rollout.valid.shape)
            extra[rollout.valid] = cast(ScoringEngine, self.engine).squared_scores(inputs, action)
        advantage, target = estimator(
            rollout.reward, value, next_value, rollout.terminated, rollout.done, rollout.valid, extra
        )
        self.advantage, flat = flatten_valid(rollout, advantage), flatten_valid(rollout, target)
        self.size_of_targets = float(max(-flat.min(), flat.max()))
        target = to_finite_float32(rollout, self.recipe.name_of_targets, flat)
        self.batch = self.batch.with_columns(target=target)

    def normalized(self, one: Pass, minibatches: Minibatches | None) -> F32:
        """Return the advantages [B] that a pass learns from; without minibatches, all samples are one."""
        x = self.advantage.copy()
        relative = self.recipe.relative_rounding
        # advantages are differences of targets, whose rounding errors they have
        negligible = FLOAT64_ROUNDING * self.size_of_targets
        if one.normalize == "episodes":
            normalize_episodes(
                x, self.rollout.valid, np.empty(self.rollout.valid.shape[1]), relative, negligible
            )
        elif one.normalize == "minibatch" and minibatches is not None:
            parts = x[minibatches.order]
            normalize_each(parts, minibatches.bounds, relative, negligible)
            x[minibatches.order] = parts
        elif one.normalize != "none" and len(x) > 1:
            normalize_in_place(x, relative, negligible)
        if self.weights is not None:
            x *= self.weights
        return to_finite_float32(self.rollout, "advantage", x)

    def batch_with(self, advantage: F32) -> Batch:
        """Return the samples with these advantages and the columns that the loss reads."""
        batch = self.batch.with_columns(advantage=advantage)
        if "episode_length" in self.loss.columns:
            length = self.rollout.valid.sum(0, dtype=np.float32)
            column = flatten_valid(self.rollout, np.broadcast_to(length, self.rollout.valid.shape))
            batch = batch.with_columns(episode_length=column)
        return self.algorithm.with_read_columns(
            self.engine, batch, old_log_prob=self.acted, old_value=self.value
        )

    def take_steps(self, one: Pass) -> None:
        """Take the steps of one epoch of a pass."""
        policy = one.steps_policy and not self.policy_stopped
        if not (policy or one.steps_value):
            return
        if one.traces is not None:
            self._step_along_traces(one.traces)
            return
        samples = len(self.batch)
        parts = number_of_parts(samples, one.minibatch_size or 0, one.least_samples)
        shuffles = Minibatches(*shuffled(self.learner.rng, samples, parts))
        minibatches = shuffles if parts > 1 else None
        batch = self.batch
        if set(one.loss.columns) - {"target"}:
            batch = self.batch_with(self.normalized(one, minibatches))
        step = self.step._replace(
            policy_rate=self.step.policy_rate if policy else None,
            value_rate=self.step.value_rate if one.steps_value else None,
        )
        done = self.engine.update(
            Update(
                batch, one.loss, self.coefficients, step, minibatches, outputs=self.outputs, max_kl=one.max_kl
            )
        )
        if one.loss is self.loss:
            self.last_columns = done.columns
        if done.policy_steps > 0:
            self.norms["policy_grad_norm"] = done.policy_grad_norm
            self._remember_policy()
        if one.steps_value:
            self.norms["value_grad_norm"] = done.value_grad_norm
        self.policy_steps += done.policy_steps
        self.policy_stopped |= policy and done.policy_steps < parts

    def _step_along_traces(self, traces: Traces) -> None:
        rollout, gamma, N = self.rollout, self.recipe.gamma, self.rollout.valid.shape[1]
        along = AlongTraces(
            self.batch,
            env=np.flatnonzero(rollout.valid[0]),
            over=rollout.done[rollout.valid],
            error=self.advantage,
            importance=np.ones(len(self.batch)) if self.weights is None else self.weights,
            decays=(gamma * traces.policy, gamma * traces.value),
            entropy_coef=self.coefficients["entropy_coef"],
            num_envs=N,
            traces=self.learner.traces,
            step=self.step,
            outputs=self.outputs,
        )
        self.norms["policy_grad_norm"], self.norms["value_grad_norm"] = step_along_traces(self.engine, along)
        self.policy_steps += 1
        self._remember_policy()

    def _remember_policy(self) -> None:
        """Remember log π and H of the policy that acted, which its first step has returned as they were before it."""
        if self.acted is None:
            self.acted, self.entropy = self.outputs[0].copy(), mean(self.outputs[1])

    def metrics(self) -> dict[str, float]:
        """Return the metrics of the update, and adapt the coefficient that changes after it."""
        recipe, progress = self.recipe, self.learner.progress
        assert self.acted is not None
        metrics = {
            "learning_rate": recipe.policy_rate.at(progress),
            "entropy": self.entropy,
            "policy_grad_norm": self.norms["policy_grad_norm"],
        }
        if recipe.uses_value:
            metrics["value_grad_norm"] = self.norms["value_grad_norm"]
        if self.loss.root is not None and self.last_columns is not None:
            metrics["loss"] = self.loss.mean(self.outputs, self.last_columns, self.coefficients)
        clip = None if recipe.clip is None else recipe.clip.at(progress)
        metrics |= policy_change_metrics(
            self.engine, self.batch, self.acted, clip=clip, at_most=recipe.kl_samples
        )
        if self.value is not None:
            metrics |= self._value_metrics(self.value)
        if recipe.counts_steps:
            metrics["policy_steps"] = self.policy_steps
        if recipe.penalty is not None:
            name, target = recipe.penalty.coefficient, recipe.penalty.target
            metrics[name] = self.penalty
            weight = self.penalty
            if target is not None:
                weight = adapted(self.penalty, metrics["kl"], target, recipe.penalty.initial)
            self.learner.adaptive_coefficients[name] = weight
        return metrics

    def _value_metrics(self, value: F32) -> dict[str, float]:
        remembered = self.recipe.remembered
        if remembered is None:
            return value_metrics(value, self.first_target)
        moments = self.learner.traces.setdefault("moments", np.zeros((2, 3)))
        return value_metrics(value, self.first_target, moments, remembered)

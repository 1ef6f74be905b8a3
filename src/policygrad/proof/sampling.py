"""Estimates of a gradient, made by the updates of a real algorithm, with the collector and the engine of training."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import nn

from policygrad._support.seeding import EpisodeSeeds, stream
from policygrad._support.threads import single_thread
from policygrad.algorithms import Algorithm, critic_sees_action, engine_for
from policygrad.algorithms.actor_critic import evaluate_all_actions
from policygrad.engines import EngineName, make_engine
from policygrad.envs import Environments, continuous_mdp, finite, make
from policygrad.envs.continuous_mdp import ContinuousMDP, finite_part
from policygrad.envs.finite import FiniteMDP
from policygrad.interfaces import Engine, Update
from policygrad.policies import Network, ValueNetwork, flat_parameters, make_policy, make_value
from policygrad.proof.solution import Solution, TimeLimit, going_on, solve
from policygrad.rollout import make_collector
from policygrad.types import F32, F64, Inputs, LearnerState

A = TypeVar("A", bound=Algorithm)
ValueKind = Literal["untrained", "trained", "exact", "wrong"]
"""V(s) of the estimates: as it is initialized, after `TRAINING` updates, the exact one, or the exact one plus a large
error. In terminal states, where V(s) must not be read, the last two are not 0."""
TRAINING, VALUE_RATE = 100, 0.1
"""Number of updates and learning rate that train V(s)."""
LARGE = 2**30
LINEAR = Network(hidden=(), init="uniform")
"""A policy without hidden layers."""
PLAIN: dict[str, Any] = {
    "optimizer": "sgd",
    "learning_rate": 1.0,
    "learning_rate_end": None,
    "max_grad_norm": None,
    "average": "episodes",
    "epochs": 1,
    "updates": 1,
    "value_steps": 1,
    "minibatch_size": LARGE,
    "target_kl": None,
}
"""Settings with which a step of the policy is the gradient itself."""


def plain(algorithm: A) -> A:
    """Return an algorithm whose update is one step along its estimate of the gradient, with a learning rate of 1.

    The optimizer is gradient descent, and advantages are not normalized.

    Raises:
        TypeError: the algorithm is not a dataclass, or has no setting for its optimizer.
    """
    if not is_dataclass(algorithm) or isinstance(algorithm, type) or not hasattr(algorithm, "optimizer"):
        raise TypeError(
            f"prove needs an algorithm with settings, as a dataclass with an `optimizer`; got {algorithm!r}"
        )
    names = {field.name for field in fields(algorithm)}
    changes = {name: setting for name, setting in PLAIN.items() if name in names}
    loss = getattr(algorithm, "traced_loss", None)
    if loss is not None and "policy_scale" not in loss.coefficients:
        # the loss is a mean over steps
        changes.pop("average", None)
    normalized = getattr(algorithm, "normalize_advantages", None)
    if normalized is not None:
        changes["normalize_advantages"] = False if isinstance(normalized, bool) else "none"
    return replace(algorithm, **changes)


@dataclass(frozen=True)
class Estimates:
    """R estimates of the gradient of P parameters."""

    gradients: F64
    """[R, P]."""
    samples: float
    """Mean number of samples of an estimate."""
    seconds: float
    """Mean number of seconds that an estimate took."""


class Sampler:
    """Makes independent estimates of the gradient of an algorithm on a finite MDP.

    Args:
        algorithm: as returned by `plain`.
        mdp: the decision process.
        network: architecture of the policy, and its distribution.
        value: see `ValueKind`.
        num_envs: number of environments.
        updates: number of updates whose steps are added up, from the beginning of the environments' first episodes on.
        moved: length of a step that the policy takes after it has collected, before it learns, as in the later epochs
            of PPO. Its direction is random, and the same in each estimate.
        engine: as in `train`.
        seed: seed of all random numbers.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        mdp: FiniteMDP | ContinuousMDP,
        *,
        network: Network = LINEAR,
        value: ValueKind = "untrained",
        num_envs: int = 16,
        updates: int = 1,
        moved: float = 0.0,
        engine: EngineName = "auto",
        seed: int = 0,
    ) -> None:
        self.algorithm, self.mdp, self.updates = algorithm, mdp, updates
        compiled = (finite if isinstance(mdp, FiniteMDP) else continuous_mdp).kernel
        self._environments: Environments = make(compiled(mdp, "the decision process"), num_envs)  # pyright: ignore[reportArgumentType]
        rng = stream(seed, "init")
        self.policy = make_policy(mdp.observation_space, mdp.action_space, network, rng)
        with torch.no_grad():
            for parameter in self.policy.network.parameters():
                # the initial probabilities are almost equal, which would hide errors; rare actions would need more
                # estimates for a mean that is normally distributed
                parameter += 0.5 * torch.from_numpy(rng.standard_normal(tuple(parameter.shape))).float()
        self._value = self._made_value(value, rng)
        self.engine = make_engine(
            self.policy, self._value, algorithm.optimizer, engine, needs=engine_for(algorithm)
        )
        self._collector = make_collector(
            self._environments,
            self.policy,
            self.engine,
            seeds=EpisodeSeeds(stream(seed, "env")),
            action_rng=stream(seed, "action"),
        )
        self._learner_rng = stream(seed, "shuffle")
        self._networks = [flat_parameters(self.policy.network)]
        step = rng.standard_normal(self._networks[0].numel())
        self.shift: F32 = (moved / np.linalg.norm(step) * step).astype(np.float32)
        """[P]: the step that the policy takes after it has collected."""
        moves: Any = _MovesFirst(self.engine, self._networks[0], self.shift)
        self._learning_engine: Engine = moves if moved else self.engine
        if self._value is not None:
            self._networks.append(flat_parameters(self._value))
        if value == "trained":
            self._train_value()
        self.value = self._values()
        """V(s) of the estimates, [S] float64, or Q(s, a), [S, A]; zeros if there is none."""

    def _made_value(self, kind: ValueKind, rng: np.random.Generator) -> nn.Module | None:
        algorithm, mdp = self.algorithm, self.mdp
        if not algorithm.uses_value:
            return None
        if critic_sees_action(algorithm):
            return make_value(
                self.policy, Network(hidden=(8,)), rng, given=None, wanted=True, sees_action=True
            )
        value = ValueNetwork(int(mdp.observation_space.n), (), rng=rng)
        if kind in ("exact", "wrong"):
            if finite_part(mdp).looks is not None:
                raise ValueError(f"value={kind!r} needs an MDP whose states can be told apart")
            exact = solve(mdp, self.policy, algorithm.gamma).value
            # V of a terminal state must not be read
            exact = np.where(going_on(finite_part(mdp)), np.nan_to_num(exact), 3.0)
            wrong = 2 * rng.standard_normal(len(exact)) if kind == "wrong" else 0.0
            with torch.no_grad():
                weight, bias = value.parameters()
                weight[0] = torch.from_numpy(exact + wrong).float()
                bias.zero_()
        return value

    def _train_value(self) -> None:
        """Let V(s) learn for a number of updates in which the policy stays as it is."""
        before = self._networks[0].clone()
        learner, algorithm = LearnerState(self._learner_rng), self.algorithm
        if hasattr(algorithm, "value_learning_rate"):
            algorithm = replace(algorithm, value_learning_rate=VALUE_RATE)  # type: ignore[type-var]
        with single_thread():
            for _ in range(TRAINING):
                algorithm.learn(self.engine, algorithm.collect(self._collector), learner)
                self._networks[0].copy_(before)

    def _values(self) -> F64:
        mdp = finite_part(self.mdp)
        if self._value is None:
            return np.zeros(len(mdp.start))
        observed = self.policy.encode(np.array(mdp.observations))
        if critic_sees_action(self.algorithm):
            choices = mdp.transition.shape[1]
            return evaluate_all_actions(self.engine, observed[None], choices)[1]
        return self.engine.values(Inputs(observed)).astype(np.float64)

    def estimates(self, repeats: int) -> Estimates:
        """Return independent estimates."""
        before = [parameters.clone() for parameters in self._networks]
        found, samples = np.empty((repeats, before[0].numel())), 0
        began = time.perf_counter()
        with single_thread():
            for i in range(repeats):
                found[i], count = self._estimate(before)
                samples += count
        return Estimates(found, samples / repeats, (time.perf_counter() - began) / repeats)

    def _estimate(self, before: list[torch.Tensor]) -> tuple[F64, int]:
        """Return the sum of the steps that `updates` updates take, all from the same parameters; and their samples."""
        # every estimate begins with new episodes, so that it depends on no other
        self._environments.current = None
        learner, total, samples = LearnerState(self._learner_rng), np.zeros(before[0].numel()), 0
        for _ in range(self.updates):
            rollout = self.algorithm.collect(self._collector)
            samples += int(rollout.valid.sum())
            self.algorithm.learn(self._learning_engine, rollout, learner)
            total += (self._networks[0].double() - before[0].double()).numpy() - self.shift
            for parameters, kept in zip(self._networks, before, strict=True):
                parameters.copy_(kept)
        return total, samples

    def solution(self, time_limit: TimeLimit, *, moved: bool = False) -> Solution:
        """Return the exact solution for the policy that collects, or for the one that has moved."""
        parameters = self._networks[0]
        kept = parameters.clone()
        if moved:
            parameters += torch.from_numpy(self.shift)
        found = solve(self.mdp, self.policy, self.algorithm.gamma, time_limit=time_limit)
        parameters.copy_(kept)
        return found

    def close(self) -> None:
        """Close the environments."""
        self._environments.close()


class _MovesFirst:
    """An engine whose policy takes a fixed step just before an update."""

    def __init__(self, engine: Engine, parameters: torch.Tensor, shift: F32) -> None:
        self._engine, self._parameters, self._shift = engine, parameters, torch.from_numpy(shift)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def update(self, update: Update) -> Any:
        """Take the fixed step, and then those of the update."""
        self._parameters += self._shift
        return self._engine.update(update)

"""Estimates of a gradient, made by the updates of a real algorithm, with the collector and the engine of training."""

from __future__ import annotations

import time
from dataclasses import fields, is_dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import nn

from policygrad._support.seeding import EpisodeSeeds, stream
from policygrad._support.threads import single_thread
from policygrad.algorithms import Algorithm, critic_sees_action, engine_for
from policygrad.algorithms.actor_critic import evaluate_all_actions
from policygrad.engines import EngineName, make_engine
from policygrad.envs import Environments, make
from policygrad.envs.finite import FiniteMDP, kernel
from policygrad.policies import DiscretePolicy, Policy, ValueNetwork, flat_parameters, make_value
from policygrad.policies import Network as Architecture
from policygrad.proof.solution import going_on, solve
from policygrad.rollout import make_collector
from policygrad.types import F64, Inputs, LearnerState

A = TypeVar("A", bound=Algorithm)
ValueKind = Literal["untrained", "exact", "wrong"]
"""V(s) of the estimates: as it is initialized, the exact one, or the exact one plus a large error. In terminal states,
where V(s) must not be read, the last two are not 0."""
LARGE = 2**30
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


class Sampler:
    """Makes independent estimates of the gradient of an algorithm on a finite MDP.

    Args:
        algorithm: as returned by `plain`.
        mdp: the decision process.
        hidden: widths of the policy's hidden layers.
        value: see `ValueKind`.
        num_envs: number of environments.
        updates: number of updates whose steps are added up, from the beginning of the environments' first episodes on.
        engine: as in `train`.
        seed: seed of all random numbers.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        mdp: FiniteMDP,
        *,
        hidden: tuple[int, ...] = (),
        value: ValueKind = "untrained",
        num_envs: int = 16,
        updates: int = 1,
        engine: EngineName = "auto",
        seed: int = 0,
    ) -> None:
        self.algorithm, self.mdp, self.updates = algorithm, mdp, updates
        self._environments: Environments = make(kernel(mdp, "the decision process"), num_envs)
        inputs, actions = int(mdp.observation_space.n), int(mdp.action_space.n)
        rng = stream(seed, "init")
        network = DiscretePolicy(inputs, actions, hidden, activation="tanh", rng=rng)
        with torch.no_grad():
            for parameter in network.parameters():
                # the initial probabilities are almost equal, which would hide errors; rare actions would need more
                # estimates for a mean that is normally distributed
                parameter += 0.5 * torch.from_numpy(rng.standard_normal(tuple(parameter.shape))).float()
        self.policy = Policy(network, mdp.observation_space, mdp.action_space)
        self._value = self._made_value(value, rng)
        self._engine = make_engine(
            self.policy, self._value, algorithm.optimizer, engine, needs=engine_for(algorithm)
        )
        self._collector = make_collector(
            self._environments,
            self.policy,
            self._engine,
            seeds=EpisodeSeeds(stream(seed, "env")),
            action_rng=stream(seed, "action"),
        )
        self._learner_rng = stream(seed, "shuffle")
        self._networks = [flat_parameters(network)]
        if self._value is not None:
            self._networks.append(flat_parameters(self._value))
        self.value = self._values()
        """V(s) of the estimates, [S] float64, or Q(s, a), [S, A]; zeros if there is none."""

    def _made_value(self, kind: ValueKind, rng: np.random.Generator) -> nn.Module | None:
        algorithm, mdp = self.algorithm, self.mdp
        if not algorithm.uses_value:
            return None
        if critic_sees_action(algorithm):
            return make_value(
                self.policy, Architecture(hidden=(8,)), rng, given=None, wanted=True, sees_action=True
            )
        value = ValueNetwork(int(mdp.observation_space.n), (), rng=rng)
        if kind != "untrained":
            if mdp.looks is not None:
                raise ValueError(f"value={kind!r} needs an MDP whose states can be told apart")
            exact = solve(mdp, self.policy, algorithm.gamma).value
            # V of a terminal state must not be read
            exact = np.where(going_on(mdp), np.nan_to_num(exact), 3.0)
            wrong = 2 * rng.standard_normal(len(exact)) if kind == "wrong" else 0.0
            with torch.no_grad():
                weight, bias = value.parameters()
                weight[0] = torch.from_numpy(exact + wrong).float()
                bias.zero_()
        return value

    def _values(self) -> F64:
        if self._value is None:
            return np.zeros(len(self.mdp.start))
        observed = self.policy.encode(np.array(self.mdp.observations))
        if critic_sees_action(self.algorithm):
            choices = int(self.mdp.action_space.n)
            return evaluate_all_actions(self._engine, observed[None], choices)[1]
        return self._engine.values(Inputs(observed)).astype(np.float64)

    def estimates(self, repeats: int) -> tuple[F64, float]:
        """Return (estimates [repeats, P] float64, seconds per estimate)."""
        before = [parameters.clone() for parameters in self._networks]
        found = np.empty((repeats, before[0].numel()))
        began = time.perf_counter()
        with single_thread():
            for i in range(repeats):
                found[i] = self._estimate(before)
        return found, (time.perf_counter() - began) / repeats

    def _estimate(self, before: list[torch.Tensor]) -> F64:
        """Return the sum of the steps that `updates` updates take, all from the same parameters."""
        # every estimate begins with new episodes, so that it depends on no other
        self._environments.current = None
        learner, total = LearnerState(self._learner_rng), np.zeros(before[0].numel())
        for _ in range(self.updates):
            self.algorithm.learn(self._engine, self.algorithm.collect(self._collector), learner)
            total += (self._networks[0].double() - before[0].double()).numpy()
            for parameters, kept in zip(self._networks, before, strict=True):
                parameters.copy_(kept)
        return total

    def close(self) -> None:
        """Close the environments."""
        self._environments.close()

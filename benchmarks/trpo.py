"""Time an update of TRPO in both engines and in plain torch, in turns: `python benchmarks/trpo.py`.

An update uses 1,024 samples (8 environments × 128 steps), 64-64 tanh networks and one thread. It consists of V(s) and
GAE, the gradient of the surrogate, ten steps of conjugate gradient, the line search, and 40 steps of V(s) with 256
samples. The sizes are those of CartPole-v1 and HalfCheetah-v5. The samples are random, and the same for all.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import nn

import policygrad as pg
from policygrad._support.threads import single_thread
from policygrad.advantages import generalized_advantages, normalize
from policygrad.engines import make_engine
from policygrad.policies import Network, make_policy, make_value
from policygrad.types import Inputs, LearnerState, Rollout

T, N, ROUNDS = 128, 8, 40
SIZES: dict[str, tuple[int, Any]] = {
    "CartPole-v1": (4, spaces.Discrete(2)),
    "HalfCheetah-v5": (17, spaces.Box(-1, 1, (6,))),
}
TRPO = pg.TRPO(cg_tolerance=0.0)  # all ten steps, in every implementation


def random_rollout(policy: pg.Policy, seed: int) -> Rollout:
    rng = np.random.default_rng(seed)
    D = policy.observation_size
    observation = rng.standard_normal((T + 1, N, D)).astype(np.float32)
    encoded = observation[:-1].reshape(T * N, D)
    action = policy.choose(Inputs(encoded), policy.draw_noise(rng, T * N))
    reward, ends, no = rng.standard_normal((T, N)), rng.random((T, N)) < 0.01, np.zeros((T, N), bool)
    action = action.reshape(T, N, *action.shape[1:])
    return Rollout.from_pairs(observation[:-1], action, reward, reward, observation[1:], ends, no, ~no)


class PlainTRPO:
    """TRPO in the usual way with automatic differentiation. It uses only GAE from this library."""

    def __init__(self, policy: nn.Module, value: nn.Module) -> None:
        self.policy, self.value = policy, value
        self.optimizer = torch.optim.Adam(value.parameters(), lr=TRPO.value_learning_rate)

    def distribution(self, observation: torch.Tensor) -> Any:
        if isinstance(self.policy, pg.DiscretePolicy):
            return torch.distributions.Categorical(logits=self.policy.logits(observation))
        return torch.distributions.Independent(torch.distributions.Normal(*self.policy(observation)), 1)

    def learn(self, rollout: Rollout, rng: np.random.Generator) -> float:
        observation = torch.from_numpy(rollout.observation.reshape(T * N, -1))
        action = torch.from_numpy(rollout.action.reshape(T * N, *rollout.action.shape[2:]))
        with torch.no_grad():
            value = self.value(observation).numpy().reshape(T, N).astype(float)
            last = self.value(torch.from_numpy(rollout.next_observation[-1])).numpy()
        following = np.concatenate([value[1:], last[None]])
        A = generalized_advantages(
            rollout.reward, value, following, rollout.terminated, rollout.done, TRPO.gamma, TRPO.gae_lambda
        )
        target = torch.from_numpy((A + value).reshape(-1).astype(np.float32))
        advantage = torch.from_numpy(normalize(A.reshape(-1)).astype(np.float32))
        kl = self.policy_step(observation, action, advantage)
        for _ in range(TRPO.value_epochs):
            for rows in np.split(rng.permutation(T * N), TRPO.value_minibatches):
                loss = 0.5 * (self.value(observation[rows]) - target[rows]).square().mean()
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
        return kl

    def policy_step(self, observation: torch.Tensor, action: torch.Tensor, advantage: torch.Tensor) -> float:
        parameters = list(self.policy.parameters())
        now = self.distribution(observation)
        log_prob = now.log_prob(action)
        old_log_prob = log_prob.detach()
        with torch.no_grad():
            old = self.distribution(observation)
        surrogate = (torch.exp(log_prob - old_log_prob) * advantage).mean()
        g = flat(torch.autograd.grad(surrogate, parameters, retain_graph=True))
        kl = torch.distributions.kl_divergence(old, now).mean()
        slope = flat(torch.autograd.grad(kl, parameters, create_graph=True))

        def product(v: torch.Tensor) -> torch.Tensor:
            return flat(torch.autograd.grad(slope @ v, parameters, retain_graph=True)) + TRPO.damping * v

        x, r, p = torch.zeros_like(g), g.clone(), g.clone()
        squared = r @ r
        for _ in range(TRPO.cg_iterations):
            along = product(p)
            alpha = squared / (p @ along)
            x += alpha * p
            r -= alpha * along
            before, squared = squared, r @ r
            p = r + squared / before * p
        step = torch.sqrt(2 * TRPO.max_kl / (x @ (g - r))) * x
        start = nn.utils.parameters_to_vector(parameters).detach()
        with torch.no_grad():
            for i in range(TRPO.line_search_steps):
                nn.utils.vector_to_parameters(start + TRPO.backtrack**i * step, parameters)
                new = self.distribution(observation)
                reached = torch.distributions.kl_divergence(old, new).mean().item()
                ratio = torch.exp(new.log_prob(action) - old_log_prob)
                if reached <= TRPO.max_kl and ((ratio - 1) * advantage).mean() > 0:
                    return reached
            nn.utils.vector_to_parameters(start, parameters)
        return 0.0


def flat(parts: tuple[torch.Tensor, ...]) -> torch.Tensor:
    return torch.cat([part.reshape(-1) for part in parts])


def contenders(D: int, action_space: Any) -> tuple[pg.Policy, dict[str, Callable[[Rollout], float]]]:
    """Return the policy, and functions that learn from a rollout and return the KL of the step.

    Each function has its own copy of the same initial weights.
    """
    box, rng = spaces.Box(-np.inf, np.inf, (D,)), np.random.default_rng(0)
    policy = make_policy(box, action_space, Network(), rng)
    value = make_value(policy, Network(), rng, given=None, wanted=True)
    assert value is not None
    found: dict[str, Callable[[Rollout], float]] = {}
    for name in ("fused", "autograd"):
        engine = make_engine(copy.deepcopy(policy), copy.deepcopy(value), "adam", name)
        learner = LearnerState(np.random.default_rng(0))
        found[name] = lambda rollout, engine=engine, learner=learner: TRPO.learn(engine, rollout, learner)[
            "kl"
        ]
    plain, order = PlainTRPO(copy.deepcopy(policy.network), copy.deepcopy(value)), np.random.default_rng(0)
    found["plain torch"] = lambda rollout: plain.learn(rollout, order)
    return policy, found


def main() -> None:
    print("| sizes | " + " | ".join(["fused, ms", "autograd, ms", "plain torch, ms", "torch / fused"]) + " |")
    print("|-|-|-|-|-|")
    for name, (D, action_space) in SIZES.items():
        policy, found = contenders(D, action_space)
        took: dict[str, list[float]] = {who: [] for who in found}
        with single_thread():
            for i in range(ROUNDS + 2):
                rollout = random_rollout(policy, seed=i)
                kls = []
                for who, learn in found.items():
                    began = time.perf_counter()
                    kls.append(learn(rollout))
                    took[who].append(1000 * (time.perf_counter() - began))
                if i < 2:  # the weights are still nearly the same, so the steps must agree
                    np.testing.assert_allclose(kls, kls[0], rtol=1e-2)
        times = [statistics.median(took[who][2:]) for who in found]
        print(f"| {name} | " + " | ".join(f"{t:.1f}" for t in times) + f" | {times[2] / times[0]:.1f} |")


if __name__ == "__main__":
    main()

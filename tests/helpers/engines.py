"""Both engines side by side, and a loss with a term for everything that networks compute."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from torch import nn

from policygrad.algorithms import A2C
from policygrad.engines import make_engine
from policygrad.interfaces import Engine
from policygrad.policies import Policy, flat_parameters
from policygrad.types import LearnerState
from tests.helpers.networks import networks

FULL_LOSS = A2C().traced_loss
"""−A log π − β H + ν/2 (V − G)²: it depends on log π, on the entropy and on V(s)."""


def full_coefficients(entropy_coef: float = 0.0) -> dict[str, float]:
    """Return the coefficients of FULL_LOSS, with a weight of 1 for the error of V(s)."""
    return {"entropy_coef": entropy_coef, "value_coef": 1.0}


def learner_state(seed: int = 0, progress: float = 0.0) -> LearnerState:
    """Return what an algorithm carries from one update to the next, as it is before the first."""
    return LearnerState(np.random.default_rng(seed), progress)


def both_engines(policy: Policy, value: nn.Module | None, optimizer: str = "adam") -> list[Engine]:
    """Return an autograd and a fused engine, each on its own copy of the networks; shared layers stay shared."""
    copies = [copy.deepcopy((policy, value)) for _ in range(2)]
    names = ("autograd", "fused")
    return [make_engine(p, v, optimizer, name) for (p, v), name in zip(copies, names, strict=True)]


def engine_on_copies(policy: Policy, value: Any, engine: Any) -> tuple[Engine, Any]:
    """Return an engine that steps copies of the networks by SGD, and its value network."""
    policy, value = copy.deepcopy(policy), copy.deepcopy(value)
    return make_engine(policy, value, "sgd", engine), value


def learned_by_both(
    policy: Policy, value: nn.Module | None, algorithm: Any, collect: Any, optimizer: str = "adam"
) -> tuple[list[Engine], list[LearnerState]]:
    """Return both engines after 20 updates from collect(policy, seed), and what each carried between updates."""
    engines = both_engines(policy, value, optimizer)
    states = [learner_state() for _ in engines]
    for i in range(20):
        rollout = collect(policy, seed=i)
        for engine, state in zip(engines, states, strict=True):
            state.progress = i / 20
            algorithm.learn(engine, rollout, state)
    return engines, states


def check_that_engines_agree(algorithm: Any, head: str, collect: Any, *, moved: float) -> None:
    """Check that both engines have nearly the same parameters after 20 updates, and that these moved by a share.

    Args:
        algorithm: learns from collect(policy, seed).
        head: see `networks`.
        collect: returns a rollout.
        moved: least relative change of the parameters.
    """
    policy, value = networks(head)
    before = np.concatenate([flat_parameters(m).numpy().copy() for m in (policy, value)])
    engines, carried = learned_by_both(policy, value, algorithm, collect, algorithm.optimizer)
    assert relative_error(parameters(engines[0]), parameters(engines[1])) < 1e-4
    assert relative_error(parameters(engines[0]), before) > moved
    assert carried[0].adaptive_coefficients == carried[1].adaptive_coefficients


def parameters(engine: Any) -> np.ndarray:
    """Return the parameters of the policy and of V(s), one after the other."""
    parts = [flat_parameters(m).numpy() for m in (engine.policy, engine.value) if m is not None]
    return np.concatenate(parts)


def relative_error(expected: np.ndarray, found: np.ndarray) -> float:
    """Return ‖expected − found‖ / ‖expected‖."""
    return float(np.linalg.norm(expected - found) / np.linalg.norm(expected))

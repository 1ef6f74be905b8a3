"""Choosing actions outside of rollouts: what `Policy.act` does, with machine code for one observation at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
from gymnasium import spaces
from torch import nn

from policygrad._support.garbage_pause import collection_paused
from policygrad._support.providers import provided
from policygrad.policies.faults import check_actions
from policygrad.policies.modes import evaluation_mode
from policygrad.policies.tensors import as_tensors
from policygrad.types import F32, F64, Array, Inputs

# `Policy` calls these functions, so its module cannot be imported here: `policy` is one

Chooser: TypeAlias = Callable[[F32, F64 | None], Array]
"""Does what `Policy.choose` does for one row: it takes (observation [1, D], noise or None) and returns an action [1] or
[1, K]. It reads the parameters at each call, and may be called by several threads."""


def act(policy: Any, observation: Any, greedy: bool, rng: np.random.Generator) -> Any:
    """Return the action for one observation, or the actions for several: see `Policy.act`."""
    encoded, single = policy.encode_checked(observation)
    noise = None if greedy else policy.draw_noise(rng, len(encoded))
    choose = _chooser_of(policy) if single else None
    if choose is not None:
        chosen = choose(encoded, noise)
    else:
        # dropout and the like must be off while acting, even if the module is in training mode
        with evaluation_mode(policy):
            chosen = policy.choose(Inputs(encoded), noise)
    check_actions(policy, encoded, chosen)
    actions = policy.environment_actions(chosen)
    if not single:
        return actions
    return int(actions[0]) if isinstance(policy.action_space, spaces.Discrete) else actions[0]


class _Prepared:
    """The chooser of a policy, and the modules and tensors that it was made for.

    Parameters that change in place are no reason for a new chooser, but parameters and layers that are replaced are.
    Forward hooks run only if torch computes the network.
    """

    def __init__(self, policy: Any) -> None:
        with collection_paused():
            self.chooser: Chooser | None = provided("chooser_of")(policy)
        modules: list[Any] = list(policy.modules())
        self._distribution = policy.distribution
        self._children = [(m._modules, list(m._modules.values())) for m in modules]
        self._hooks = [hooks for m in modules for hooks in (m._forward_hooks, m._forward_pre_hooks)]
        self._parameters = [
            (m._parameters, name, p, p.data_ptr())
            for m in policy.network.modules()
            for name, p in m._parameters.items()
            if p is not None
        ]

    def is_for(self, policy: Any) -> bool:
        """Return True if the policy still consists of the same modules and tensors."""
        if policy.distribution is not self._distribution:
            return False
        for children, kept in self._children:
            if list(children.values()) != kept:
                return False
        for parameters, name, kept, place in self._parameters:
            if parameters.get(name) is not kept or kept.data_ptr() != place:
                return False
        return True

    def has_hooks(self) -> bool:
        """Return True if a forward hook is registered."""
        return any(self._hooks)


_prepared: WeakKeyDictionary[nn.Module, _Prepared] = WeakKeyDictionary()


def _chooser_of(policy: Any) -> Chooser | None:
    """Return the machine code that acts for a policy, or None if there is none."""
    prepared = _prepared.get(policy)
    if prepared is None or not prepared.is_for(policy):
        prepared = _prepared[policy] = _Prepared(policy)
    return None if prepared.has_hooks() else prepared.chooser


def probabilities(policy: Any, observation: Any) -> F32:
    """Return π(a|s) for one observation, or for several: see `Policy.probabilities`."""
    if policy.num_choices is None:
        raise ValueError(f"only Discrete actions have probabilities; these are {policy.action_space}")
    encoded, single = policy.encode_checked(observation)
    with evaluation_mode(policy):
        found = policy(as_tensors(Inputs(encoded), policy.device)).exp().numpy(force=True)
    if not np.isfinite(found).all():
        # it names what is not finite, as for an action that cannot be chosen
        check_actions(policy, encoded, np.full(len(found), -1))
    return found[0] if single else found

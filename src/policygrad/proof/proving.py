"""Proves an estimator of the policy gradient numerically: its mean against the exact expectation on a finite MDP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from policygrad._support.isolation import in_ordinary_torch
from policygrad.advantages import Estimator
from policygrad.algorithms import A2C, Algorithm
from policygrad.engines import EngineName
from policygrad.envs.finite import FiniteMDP
from policygrad.envs.textbook import random_mdp
from policygrad.proof.cases import CASES, GAMMA, Case
from policygrad.proof.joint_test import joint_test
from policygrad.proof.proof_result import Proof, Row
from policygrad.proof.sampling import Sampler, plain
from policygrad.proof.solution import solve
from policygrad.proof.theory import theory_of

FALSE_ALARMS = 0.01
"""Probability that a table contradicts theory although everything is right."""


@in_ordinary_torch
def prove(
    what: Algorithm | Estimator | Sequence[Case] = CASES,
    *,
    mdp: FiniteMDP | None = None,
    estimates: int = 2_000,
    num_envs: int = 32,
    false_alarms: float = FALSE_ALARMS,
    engine: EngineName = "auto",
    seed: int = 0,
    tick: Callable[[int, int, str], None] = lambda i, count, name: None,
    **settings: Any,
) -> Proof:
    """Compare the mean of an algorithm's estimates of the gradient with theory.

    Each estimate is an update of the real algorithm, with the collector and the engine of training, one step of
    gradient descent and no clipping or normalization. An algorithm of yours, with your loss or your recipe, is compared
    with an unbiased estimator, as is an estimator.

    Args:
        what: an algorithm, an `Estimator` (which `A2C` then uses), or `Case`s. The default is the library's own.
        mdp: the decision process; by default a random one with five states and three actions.
        estimates: number of estimates R.
        num_envs: number of environments that each estimate uses.
        false_alarms: accepted probability of a contradiction although everything is right, for all rows together.
        engine: as in `train`.
        seed: seed of all random numbers.
        tick: called before each case with its number, the number of cases, and its name.
        settings: further settings of the `Case` of an algorithm or an estimator: `value`, `hidden` and `updates`; and
            `gamma`, the discount for an estimator, which is its first number if it is left out.

    Raises:
        TypeError: what is to be proved is neither.
        ValueError: there is no theory for an algorithm of this kind, or too few estimates.
    """
    mdp = random_mdp() if mdp is None else mdp
    rows = list[Row]()
    cases = _cases_of(what, settings)
    for i, (case, claim) in enumerate(cases):
        tick(i + 1, len(cases), case.name)
        algorithm = replace(plain(case.algorithm), **case.settings)  # type: ignore[type-var]
        sampler = Sampler(
            algorithm,
            mdp,
            hidden=case.hidden,
            value=case.value,
            num_envs=num_envs,
            updates=case.updates,
            engine=engine,
            seed=seed,
        )
        found, seconds = sampler.estimates(estimates)
        sampler.close()
        theory = theory_of(
            algorithm, solve(mdp, sampler.policy, algorithm.gamma), sampler.value, case.updates, claim=claim
        )
        test = None if theory.expected is None else joint_test(found, theory.expected)
        rows.append(Row(case, theory, found, seconds, test))
    return Proof(tuple(rows), false_alarms)


def _cases_of(what: Any, settings: dict[str, Any]) -> list[tuple[Case, bool]]:
    """Return the cases, and whether each is compared with an unbiased estimator whatever it computes."""
    if isinstance(what, Estimator):
        # the first number of the library's estimators is γ
        given, gamma = what, settings.pop("gamma", what.parameters[0] if what.parameters else GAMMA)

        class WithEstimator(A2C):
            @property
            def recipe(self) -> Any:
                return replace(super().recipe, estimator=given)

        case = Case(what.function.__name__, WithEstimator(gamma=gamma, horizon=8), "exact")
        return [(replace(case, **settings), True)]
    if isinstance(what, Algorithm):
        return [(replace(Case(type(what).__name__, what), **settings), _is_own(what))]
    if isinstance(what, Sequence) and all(isinstance(case, Case) for case in what):
        if settings:
            raise ValueError(f"{sorted(settings)} belong to each Case: write Case(name, algorithm, ...)")
        return [(case, _is_own(case.algorithm)) for case in what]
    raise TypeError(f"prove needs an algorithm, an Estimator or a sequence of Cases; got {what!r}")


def _is_own(algorithm: Algorithm) -> bool:
    """Return True if an algorithm or its loss is not the library's."""
    library = type(algorithm).__module__.startswith("policygrad.")
    return not library or bool(getattr(algorithm, "has_own_loss", False))

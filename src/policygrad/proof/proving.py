"""Proves an estimator of the policy gradient numerically: its mean against the exact expectation on a finite MDP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from policygrad._support.checks import check_choice, whole
from policygrad._support.isolation import in_ordinary_torch
from policygrad.advantages import Estimator
from policygrad.algorithms import A2C, Algorithm, Reinforce
from policygrad.engines import EngineName
from policygrad.envs.continuous_mdp import ContinuousMDP, finite_part
from policygrad.envs.finite import FiniteMDP
from policygrad.envs.textbook import random_mdp
from policygrad.proof.cases import CASES, GAMMA, Case
from policygrad.proof.joint_test import joint_test
from policygrad.proof.proof_result import Proof, Row
from policygrad.proof.sampling import PLAIN, Sampler, ValueKind, plain
from policygrad.proof.theory import theory_of, time_limit_of

SMALLEST = 1e-4
"""Smallest length of a gradient that steps of float32 parameters can show."""
TAKEN = 1e-12
"""Probability above which an action counts as one that is taken."""
FALSE_ALARMS = 0.01
"""Probability that a table contradicts theory although everything is right."""


@in_ordinary_torch
def prove(
    what: Algorithm | Estimator | Sequence[Case] = CASES,
    *,
    mdp: FiniteMDP | ContinuousMDP | None = None,
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
    gradient descent and no clipping or normalization. With a loss of yours, an algorithm of the library should have
    the same expectation as with its own loss. An estimator, and an algorithm that is a class of yours, are compared
    with an unbiased one, with the exact V(s).

    Args:
        what: an algorithm, an `Estimator` (which `A2C` then uses, or `Reinforce` if it bootstraps at truncations or
            never), or `Case`s. The default is the library's own.
        mdp: the decision process; by default a random one with five states and three actions.
        estimates: number of estimates R.
        num_envs: number of environments that each estimate uses.
        false_alarms: accepted probability of a contradiction although everything is right, for all rows together.
        engine: as in `train`.
        seed: seed of all random numbers.
        tick: called before each case with its number, the number of cases, and its name.
        settings: further settings of the `Case` of an algorithm or an estimator: `value`, `network`, `updates` and
            `moved`; and `gamma`, the discount for an estimator, which is its first number if it is left out.

    Raises:
        TypeError: what is to be proved is neither.
        ValueError: there is no theory for an algorithm of this kind, or nothing to test, or too few estimates for a
            mean that is normally distributed.
    """
    mdp = random_mdp() if mdp is None else mdp
    whole("estimates", estimates, at_least=2)
    whole("num_envs", num_envs, at_least=1)
    if not 0 < false_alarms < 1:
        raise ValueError(f"false_alarms must be between 0 and 1; got {false_alarms}")
    finite = finite_part(mdp)
    if finite.start[list(finite.terminal)].any():
        raise ValueError(
            "an episode may begin in a terminal state, where no action is taken: set start to 0 there"
        )
    cases, rows = _cases_of(what, settings), list[Row]()
    for i, (case, claim) in enumerate(cases):
        tick(i + 1, len(cases), case.name)
        rows.append(_row(case, claim, mdp, estimates, num_envs, engine, seed))
    if all(row.test is None for row in rows):
        raise ValueError(
            "nothing was tested, because there is no formula for the expectation of "
            f"{', '.join(row.case.name for row in rows)}. There are formulas for gradients that are averaged over "
            "episodes or over a number of steps, with the baselines none, value and leave-one-out."
        )
    return Proof(tuple(rows), false_alarms)


def _row(
    case: Case,
    claim: bool,
    mdp: FiniteMDP | ContinuousMDP,
    estimates: int,
    num_envs: int,
    engine: EngineName,
    seed: int,
) -> Row:
    algorithm, mdp = _prepared(case), mdp if case.mdp is None else case.mdp
    sampler = Sampler(
        algorithm, mdp, network=case.network, value=case.value, num_envs=num_envs, updates=case.updates,
        moved=case.moved, engine=engine, seed=seed,
    )  # fmt: skip
    limit = time_limit_of(algorithm)
    exact, moved = sampler.solution(limit), sampler.solution(limit, moved=True) if case.moved else None
    theory = theory_of(algorithm, exact, sampler.value, case.updates, claim=claim, moved=moved)
    size = float(np.linalg.norm(theory.reference))
    if not size > SMALLEST:
        raise ValueError(
            f"{case.name}: the exact gradient has the length {size:.1e}, which is too small to be measured in float32. "
            "Choose other rewards or another MDP."
        )
    found = sampler.estimates(estimates)
    sampler.close()
    taken = exact.scores[(exact.visits[:, None] > 0) & (exact.probabilities > TAKEN)]
    test = None if theory.expected is None else joint_test(found.gradients, theory.expected, taken)
    return Row(case, theory, found, test)


def _prepared(case: Case) -> Algorithm:
    """Return the algorithm of a case with plain settings and its own, after checking them."""
    check_choice("value", case.value, ValueKind)
    whole("updates", case.updates, at_least=1)
    kept = set(case.settings) & (set(PLAIN) - {"average"})
    if kept:
        raise ValueError(f"prove needs its own {sorted(kept)}: an update must be one step along the gradient")
    return replace(plain(case.algorithm), **case.settings)  # type: ignore[type-var]


def _cases_of(what: Any, settings: dict[str, Any]) -> list[tuple[Case, bool]]:
    """Return the cases, and whether each is compared with an unbiased estimator, because its recipe is the user's."""
    if not isinstance(what, Sequence) or isinstance(what, str):
        settings = dict(settings)
        case = _case_of(what, settings)
        unknown = set(settings) - {"value", "network", "updates", "moved", "settings"}
        if unknown:
            raise TypeError(
                f"prove has no setting {sorted(unknown)}; a Case has value, network, updates, moved and settings"
            )
        return [(replace(case, **settings), isinstance(what, Estimator) or _is_own(case.algorithm))]
    if not what or not all(isinstance(case, Case) for case in what):
        raise TypeError(f"prove needs an algorithm, an Estimator or a sequence of Cases; got {what!r}")
    if settings:
        raise ValueError(f"{sorted(settings)} belong to each Case: write Case(name, algorithm, ...)")
    return [(case, _is_own(case.algorithm)) for case in what]


def _is_own(algorithm: Algorithm) -> bool:
    return not type(algorithm).__module__.startswith("policygrad.")


def _case_of(what: Any, settings: dict[str, Any]) -> Case:
    """Return the case of an algorithm or an estimator, and remove from the settings what it has used."""
    if isinstance(what, Estimator):
        given = what
        # the first number of the library's estimators is γ
        gamma = settings.pop("gamma", what.parameters[0] if what.parameters else GAMMA)

        class OnSteps(A2C):
            @property
            def recipe(self) -> Any:
                return replace(super().recipe, estimator=given)

        class OnEpisodes(Reinforce):
            @property
            def recipe(self) -> Any:
                return replace(super().recipe, estimator=given)

        if what.bootstrap == "everywhere":
            algorithm: Algorithm = OnSteps(gamma=gamma, horizon=8)
        else:
            algorithm = OnEpisodes(gamma=gamma, baseline="value" if what.reads_value else "none")
        return Case(what.function.__name__.strip("_"), algorithm, "exact")
    if not isinstance(what, Algorithm):
        raise TypeError(f"prove needs an algorithm, an Estimator or a sequence of Cases; got {what!r}")
    return Case(type(what).__name__, what, "exact" if _is_own(what) else "untrained")

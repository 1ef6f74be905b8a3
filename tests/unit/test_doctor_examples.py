"""Each ailment has an example: the doctor names it there, and its remedy cures it.

The thresholds (`stop_at`) were fixed beforehand, between what the untreated run gets and what the best policy of each
task gets. The values of the latter are 20 for `matching` and `sign` without other arguments, about 16 for `aim`, and 1
for the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

import policygrad as pg
from policygrad.doctor import AILMENTS
from tests.helpers import ailing
from tests.helpers.ailing import SMALL_PPO, names_of, trained, treated


@dataclass(frozen=True)
class Example:
    """A training run that has an ailment."""

    name: str
    env: Callable[[], Any]
    algorithm: Any = SMALL_PPO
    settings: dict[str, Any] = field(default_factory=dict)
    repaired: Callable[[], Any] | None = None
    """The repaired environment, if a setting cannot cure the ailment."""
    reached: float | None = None
    """The threshold after the treatment, if it differs because episodes then have another length."""


def short(steps: int, stop_at: float, **more: Any) -> dict[str, Any]:
    return {"steps": steps, "stop_at": stop_at, **more}


# its actions are never clipped
BETA = pg.Network(distribution="beta")

EXAMPLES = [
    Example(
        "reward never seen",
        lambda: ailing.corridor(16, 18),
        pg.Reinforce(baseline="mean", learning_rate=0.03),
        short(60_000, 0.9),
    ),
    Example("constant rewards", ailing.constant, settings=short(10_000, 18.5), repaired=ailing.matching),
    Example(
        "reward scale",
        lambda: ailing.matching(pays=0.001),
        pg.A2C(entropy_coef=0.01, learning_rate=0.003),
        short(20_000, 0.018),
    ),
    Example(
        "reward scale",
        lambda: ailing.matching(offset=3000),
        replace(SMALL_PPO, gamma=0.9, gae_lambda=0.9, learning_rate=0.0005),
        short(20_000, 60_018),
    ),
    Example(
        "discount too short",
        lambda: ailing.delayed(30),
        replace(SMALL_PPO, gamma=0.8),
        short(20_000, 0.9),
    ),
    Example("observation scale", lambda: ailing.sign(scale=0.001), settings=short(20_000, 18.5)),
    Example("observation scale", lambda: ailing.sign(offset=1000), settings=short(20_000, 18.5)),
    Example(
        "observations never change",
        lambda: ailing.Blind,
        settings=short(10_000, 18.5, vectorize="sync"),
        repaired=lambda: lambda: ailing.Blind(repaired=True),
    ),
    Example(
        "observations lack the past", lambda: ailing.Recall, settings=short(10_000, 0.9, vectorize="sync")
    ),
    Example("episodes never end", lambda: ailing.pit(steps=10**6), settings=short(20_000, 50)),
    Example(
        "time limit reported as termination", ailing.cut_short, settings=short(15_000, 21.8), reached=20.7
    ),
    Example(
        "seed ignored",
        lambda: ailing.Unseeded,
        settings=short(10_000, 18.5, vectorize="sync"),
        repaired=lambda: lambda: ailing.Unseeded(repaired=True),
    ),
    Example(
        "no gradient",
        ailing.matching,
        settings=short(20_000, 18.5, network=pg.Network(policy_gain=1000.0)),
    ),
    Example(
        "entropy collapsed",
        ailing.matching,
        replace(SMALL_PPO, learning_rate=1.0),
        short(20_000, 18.5),
    ),
    Example(
        "entropy never falls",
        ailing.matching,
        replace(SMALL_PPO, entropy_coef=10.0),
        short(20_000, 18.5),
    ),
    Example("entropy never falls", ailing.aim, replace(SMALL_PPO, entropy_coef=0.3), short(20_000, 13)),
    Example(
        "standard deviation at its bound",
        lambda: ailing.aim(width=0.1),
        settings=short(30_000, 12, network=pg.Network(log_std_bounds=(-0.5, 2.0))),
    ),
    Example(
        "standard deviation at its bound",
        ailing.aim,
        replace(SMALL_PPO, entropy_coef=1.0),
        short(30_000, 14),
    ),
    Example(
        "clipped actions",
        lambda: ailing.aim(box=0.01),
        settings=short(30_000, 14, network=pg.Network(scale_actions=False)),
    ),
    Example(
        "dead ReLU units",
        ailing.aim,
        replace(SMALL_PPO, learning_rate=0.3),
        short(20_000, 12, network=pg.Network(activation="relu", hidden=(8, 8), distribution="squashed")),
    ),
    Example(
        "V(s) is biased",
        lambda: ailing.matching(offset=25),
        pg.A2C(gamma=0.0, value_learning_rate=1e-6, learning_rate=0.0007),
        short(8_000, 517),
    ),
    Example(
        "V(s) explains nothing",
        lambda: ailing.matching(swing=20),
        pg.A2C(gamma=0.0, value_learning_rate=1e-6, learning_rate=0.0005),
        short(6_000, 17),
    ),
    Example("steps too large", ailing.aim, pg.NaturalGradient(horizon=16, max_kl=5.0), short(20_000, 12)),
    Example(
        "the policy hardly changes",
        ailing.matching,
        replace(SMALL_PPO, learning_rate=1e-6),
        short(20_000, 18.5),
    ),
    Example("too few updates", ailing.matching, replace(SMALL_PPO, horizon=1024), short(15_000, 18.5)),
    Example(
        "batch too small",
        lambda: ailing.aim(noise=6),
        pg.A2C(gamma=0.0, horizon=4, learning_rate=0.01, optimizer="adam"),
        short(60_000, 8, num_envs=2, network=BETA),
    ),
    Example(
        "learning rate too high",
        ailing.aim,
        replace(SMALL_PPO, learning_rate=0.05, epochs=20),
        short(20_000, 13, network=pg.Network(distribution="squashed")),
    ),
    Example(
        "learning rate too low",
        ailing.matching,
        replace(SMALL_PPO, learning_rate=2e-5),
        short(40_000, 18.5),
    ),
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name.replace(" ", "-"))
def test_the_ailment_is_named_and_its_remedy_cures_it(example: Example):
    env, algorithm, settings = example.env(), example.algorithm, example.settings
    ill = trained(env, algorithm, **settings)
    named = next(finding for finding in pg.diagnose(ill, env) if finding.name == example.name)
    if example.repaired is None:
        assert named.remedy
        algorithm, settings = treated(named.remedy, algorithm, **settings)
    else:
        # only the environment can be at fault, so that nothing can be set
        assert not named.remedy
        env = example.repaired()
    if example.reached is not None:
        settings = {**settings, "stop_at": example.reached}
    cured = trained(env, algorithm, seed=1, **settings)
    assert cured.solved_at is not None
    assert example.name not in names_of(pg.diagnose(cured, env))
    # an environment that ignores its seed can be learned, but not in the same way twice
    assert ill.solved_at is None or example.name == "seed ignored"


def test_a_policy_that_needs_randomness_is_evaluated_with_samples():
    env = "ShortCorridor-v0"
    run = trained(env, steps=20_000)
    finding = next(f for f in pg.diagnose(run, env) if f.name == "greedy and sampled returns differ")
    assert "--policy sampled" in finding.advice
    # the best policy gets -11.66, and no greedy one reaches the goal
    assert pg.evaluate(run.last_policy, env, 200, greedy=False).mean > -14
    assert pg.evaluate(run.last_policy, env, 10, greedy=True).mean == -1000


def test_a_missing_speed_is_named_and_four_observations_show_it():
    settings = short(20_000, 90, vectorize="sync")
    ill = trained(ailing.NoSpeeds, **settings)
    finding = next(f for f in pg.diagnose(ill, ailing.NoSpeeds) if f.name == "observations lack the past")
    algorithm, settings = treated(finding.remedy, **settings)
    cured = trained(ailing.NoSpeeds, algorithm, **settings)
    assert ill.solved_at is None
    assert cured.solved_at is not None
    assert "observations lack the past" not in names_of(pg.diagnose(cured, ailing.NoSpeeds))


def test_every_ailment_has_an_example():
    shown = {example.name for example in EXAMPLES} | {"greedy and sampled returns differ"}
    assert shown == {ailment.name for ailment in AILMENTS}

"""`prove`: its table of the library's algorithms, its rate of false alarms, and what it says and saves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import policygrad as pg
from policygrad.cli import main
from policygrad.envs.finite import FiniteMDP
from policygrad.envs.textbook import random_mdp, short_corridor, three_states
from policygrad.proof import CASES, Case, Proof, draw, prove, solve
from policygrad.proof.joint_test import joint_test
from policygrad.proof.sampling import Sampler, plain
from tests.proof.test_solution import policy_for

WITHOUT_FORMULA = {
    "baseline: mean", "baseline: means of steps", "baseline: optimal", "divided by steps", "natural gradient", "TRPO",
}  # fmt: skip
CONTINUOUS = ("Gaussian", "Gaussian, σ of the state", "squashed Gaussian", "Beta", "gSDE")


@pytest.fixture(scope="module")
def proof() -> Proof:
    return prove(estimates=1_000)


@pytest.mark.long
def test_no_algorithm_of_the_library_contradicts_theory(proof: Proof):
    assert proof, str(proof)
    assert {row.case.name for row in proof.rows if row.test is None} == WITHOUT_FORMULA
    # gradients on this MDP span (S − 1)(A − 1) dimensions, and all of them are tested
    tested = {row.case.name: row.test.coordinates.shape[1] for row in proof.rows if row.test is not None}
    assert {size for name, size in tested.items() if name not in (*CONTINUOUS, "two choices at once")} == {8}
    # a mean for each of the four states, and one standard deviation, or two numbers for each state
    assert [tested[name] for name in CONTINUOUS] == [5, 8, 5, 8, 8]
    assert tested["two choices at once"] == 8


@pytest.mark.long
def test_false_alarms_are_as_rare_as_stated(proof: Proof):
    """Tables whose means are right by construction: 2,000 of them have 20 ± 4.5 alarms at a rate of 1 %."""
    assert proof.simulated_false_alarms(2_000) <= 0.01 + 3 * 0.0022


@pytest.mark.long
def test_theory_says_which_of_them_are_biased(proof: Proof):
    words = {row.case.name: row.theory.words for row in proof.rows}
    for name, said in words.items():
        exact = "exact" in name or name.startswith(("REINFORCE", "whole", "leave", "episode", "hidden"))
        if name in WITHOUT_FORMULA:
            assert said == "biased, no formula"
        elif exact or name.startswith(
            ("V(s)", "entropy", "PPO, entropy", "PPO, later step, penalty", "two", *CONTINUOUS)
        ):
            assert said == "unbiased", name
        else:
            assert said == "biased, known", name
    rows = {row.case.name: row for row in proof.rows}
    # a wrong V(s) does harm where it is bootstrapped from, the less the larger λ is
    harm = [rows[f"A2C, GAE({lam}), V wrong"].distance for lam in ("0", "0.9")]
    assert harm[0] > 2 * harm[1] > 0.1
    assert rows["whole-episode returns"].variance > 1.5 * rows["REINFORCE"].variance
    assert rows["V(s) wrong"].variance > rows["V(s) exact"].variance
    cosines = rows["REINFORCE"].cosines()
    assert list(cosines) == [1, 4, 16, 64]
    assert (np.diff(list(cosines.values())) > 0).all()


@pytest.mark.long
def test_the_table_fits_a_terminal_and_everything_is_saved(proof: Proof, tmp_path: Path):
    text = str(proof)
    assert max(map(len, text.splitlines())) <= 80
    assert all(row.case.name in text for row in proof.rows)
    assert "Nothing contradicts theory: 38 tests" in text
    proof.save(tmp_path / "p.json")
    saved = json.loads((tmp_path / "p.json").read_text())
    assert [row["name"] for row in saved["rows"]] == [case.name for case in CASES]
    assert saved["contradicts"] == []
    draw(proof, tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_both_engines_are_proven(engine: Any):
    cases = [
        case for case in CASES if case.name in ("hidden layer", "traces, V exact", "A2C, V-trace, V wrong")
    ]
    assert prove(cases, estimates=200, num_envs=8, engine=engine)


def test_an_estimate_is_a_step_of_the_algorithm_and_changes_nothing():
    mdp = random_mdp()
    algorithm = plain(pg.A2C(horizon=8, normalize_advantages=True, max_grad_norm=0.1, updates=1))
    assert (algorithm.optimizer, algorithm.learning_rate, algorithm.max_grad_norm) == ("sgd", 1.0, None)
    assert not algorithm.normalize_advantages
    sampler = Sampler(algorithm, mdp, value="exact")
    before = solve(mdp, sampler.policy, algorithm.gamma)
    found = sampler.estimates(50)
    assert np.ptp(found.gradients, axis=0).max() > 0.01
    assert found.seconds > 0
    assert found.samples == 8 * 16
    np.testing.assert_array_equal(
        solve(mdp, sampler.policy, algorithm.gamma).probabilities, before.probabilities
    )
    np.testing.assert_allclose(sampler.value[:-1], before.value[:-1], atol=1e-5)
    sampler.close()


def test_the_joint_test_sees_what_no_single_parameter_shows():
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((2, 30))
    samples = rng.standard_normal((2_000, 2)) @ directions
    assert joint_test(samples, np.zeros(30), directions).coordinates.shape == (2_000, 2)
    uniform = [
        joint_test(rng.standard_normal((200, 2)) @ directions, np.zeros(30), directions).p_value
        for _ in range(300)
    ]
    assert abs(np.mean(uniform) - 0.5) < 0.06
    assert joint_test(samples + 0.2 * directions[0], np.zeros(30), directions).p_value < 1e-3
    # a mean outside of the span is never right, however small its part
    outside = np.linalg.qr(np.vstack([directions, rng.standard_normal(30)]).T)[0][:, 2]
    assert joint_test(samples + 0.01 * outside, np.zeros(30), directions).p_value == 0
    with pytest.raises(ValueError, match=r"do not vary in all of the 2 directions.*Use more estimates"):
        joint_test(samples * [[0.0]], np.zeros(30), directions)
    with pytest.raises(ValueError, match=r"effective number is \d of 20, and a test needs 30"):
        joint_test(samples[:20], np.zeros(30), directions)
    with pytest.raises(ValueError, match="not finite"):
        joint_test(samples * np.nan, np.zeros(30), directions)


def test_an_mdp_of_ones_own():
    algorithm = pg.Reinforce(gamma=1.0, baseline="leave-one-out", discount_weighting=True)
    proof = prove(algorithm, mdp=replace(short_corridor(), horizon=30), estimates=300)
    assert proof.rows[0].theory.words == "unbiased"
    assert proof
    assert proof.rows[0].test is not None
    assert proof.rows[0].test.coordinates.shape[1] == 1


def test_what_cannot_be_proven_is_refused_with_what_can():
    with pytest.raises(ValueError, match=r"nothing was tested.*expectation of TRPO"):
        prove(pg.TRPO(horizon=8), estimates=100)
    with pytest.raises(ValueError, match="moved needs PPO with gae_lambda=0"):
        prove(pg.PPO(horizon=8), moved=0.1, estimates=100)
    with pytest.raises(
        TypeError, match=r"prove needs an algorithm, an Estimator or a sequence of Cases; got 3"
    ):
        prove(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"\['value'\] belong to each Case"):
        prove([Case("a", pg.A2C())], value="exact")
    with pytest.raises(ValueError, match="whose states can be told apart"):
        prove(pg.A2C(), mdp=short_corridor(), value="exact", estimates=100)


def test_the_command_returns_1_if_something_contradicts_theory(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    def wrong(s: Any, k: Any) -> Any:
        return k.policy_scale * s.advantage * s.log_prob

    cases = (CASES[0], Case("the sign", pg.Reinforce(loss=wrong, baseline="none")))
    monkeypatch.setattr("policygrad.proof.cases.CASES", cases)
    picture = tmp_path / "p.png"
    assert main(["prove", "--quick", "--picture", str(picture)]) == 1
    shown = capsys.readouterr()
    assert "contradict theory (p <" in shown.out
    assert shown.out.count("the sign") == 2
    assert "estimating 2/2: the sign" in shown.err
    assert picture.exists()
    monkeypatch.setattr("policygrad.proof.cases.CASES", cases[:1])
    assert main(["proof", "--repeats", "200"]) == 0


def right(s: Any, k: Any) -> Any:
    return -k.policy_scale * s.advantage * s.log_prob


def right_with_value(s: Any, k: Any) -> Any:
    return -s.advantage * s.log_prob + (s.value - s.target) ** 2


def test_the_right_loss_of_a_user_is_not_blamed_for_the_bias_of_the_algorithm():
    """V(s) is untrained here, and the library's formula for it holds for any right loss."""
    assert prove(pg.Reinforce(loss=right), estimates=500).rows[0].theory.words == "biased, known"
    assert prove(pg.A2C(loss=right_with_value, gamma=0.9, horizon=8), estimates=500)
    assert prove(pg.Reinforce(loss=right, baseline="none"), updates=3, estimates=500)
    estimators = pg.advantages.estimators
    assert prove(estimators.monte_carlo(0.9, "none"), estimates=500)
    assert prove(estimators.gae(0.9, 0.8), estimates=500)


def test_what_cannot_be_tested_is_never_called_proven():
    # from state 3, where no episode begins, none ends, so its value does not exist with gamma 1
    mdp = three_states(20)
    transition, reward = np.zeros((4, 2, 4)), np.zeros((4, 2, 4))
    transition[:3, :, :3], reward[:3, :, :3], transition[3, :, 3] = mdp.transition, mdp.reward, 1
    trap = FiniteMDP(transition, reward, np.append(mdp.start, 0), mdp.terminal, 20)
    assert np.isnan(solve(trap, policy_for(trap), 1.0).action_value).any(1).tolist() == [False] * 3 + [True]

    def wrong(s: Any, k: Any) -> Any:
        return s.advantage * s.log_prob + (s.value - s.target) ** 2

    assert not prove(pg.A2C(loss=wrong, gamma=1.0, horizon=8), mdp=trap, value="exact", estimates=300)
    assert prove(pg.A2C(gamma=1.0, horizon=8), mdp=trap, value="exact", estimates=300)
    # rewards that are almost never seen: the mean of the estimates is not normal
    rare = random_mdp()
    reward = np.zeros_like(rare.reward)
    reward[0, 0, 4] = 1
    with pytest.raises(ValueError, match=r"Use more estimates, or more environments"):
        prove(pg.Reinforce(baseline="none"), mdp=replace(rare, reward=reward), num_envs=2, estimates=300)
    with pytest.raises(ValueError, match=r"the exact gradient has the length 0"):
        prove(pg.Reinforce(baseline="none"), mdp=replace(rare, reward=0 * reward), estimates=100)
    for algorithm in (
        pg.Reinforce(baseline="mean"),
        pg.Reinforce(loss=lambda s, k: -s.advantage * s.log_prob, baseline="none"),
    ):
        with pytest.raises(ValueError, match=r"nothing was tested.*averaged over episodes"):
            prove(algorithm, estimates=100)
    with pytest.raises(ValueError, match="may begin in a terminal state"):
        prove(pg.A2C(), mdp=replace(rare, start=np.full(5, 0.2)))
    with pytest.raises(ValueError, match=r"terminal is \(9,\); expected states from 0 to 4"):
        replace(rare, terminal=(9,))


def test_arguments_are_checked_before_anything_is_estimated():
    for settings, error in (
        ({"value": "wrongg"}, "value"),
        ({"updates": 0}, "updates"),
        ({"false_alarms": 5}, "false_alarms must be between 0 and 1"),
        ({"estimates": 0}, "estimates"),
        ({"settings": {"optimizer": "adam"}}, r"prove needs its own \['optimizer'\]"),
    ):
        with pytest.raises(ValueError, match=error):
            prove(pg.A2C(), **settings)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"prove has no setting \['horizon'\]"):
        prove(pg.A2C(), horizon=4)
    with pytest.raises(TypeError, match="a sequence of Cases"):
        prove([])


@pytest.mark.long
def test_right_algorithms_are_rarely_objected_to_on_fresh_seeds():
    """At a rate of 1 %, 4 or more alarms in 60 have a probability of 0.3 %."""
    alarms = 0
    for seed in range(30):
        for algorithm in (pg.Reinforce(gamma=0.9, baseline="none"), pg.A2C(gamma=0.9, horizon=8)):
            alarms += not prove(algorithm, estimates=500, num_envs=16, seed=seed)
    assert alarms < 4

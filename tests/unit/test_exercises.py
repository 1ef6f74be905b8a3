"""Exercises: right solutions pass, the usual mistakes are named, and unusable files get a clear error."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from policygrad import exercises, proof
from policygrad.advantages import generalized_advantages
from policygrad.cli import main
from policygrad.exercises import comparison, truncation_grader
from policygrad.exercises.tiny_problem import TinyProblem, to_go

SOLUTIONS = {
    "score": """
def log_prob_gradient(logits, action):
    weight = np.exp(logits - logits.max())
    return np.eye(len(logits))[action] - weight / weight.sum()

def gaussian_log_prob_gradient(action, mu, log_sigma):
    z = (action - mu) / np.exp(log_sigma)
    return z / np.exp(log_sigma), z**2 - 1
""",
    "returns": """
def rewards_to_go(rewards, done, gamma):
    found, following = np.zeros_like(rewards), 0.0
    for t in reversed(range(len(rewards))):
        following = rewards[t] + gamma * following * ~done[t]
        found[t] = following
    return found

def gradient_estimate(scores, rewards, done, gamma):
    returns = rewards_to_go(rewards, done, gamma)
    step, total = np.zeros(rewards.shape[1]), 0.0
    for t in range(len(rewards)):
        total = total + ((gamma**step * returns[t])[:, None] * scores[t]).sum(0)
        step = np.where(done[t], 0, step + 1)
    return total / done.sum()
""",
    "hunt-baseline": """
def baseline(returns, active):
    others = active.sum(axis=1, keepdims=True) - 1
    total = (returns * active).sum(axis=1, keepdims=True)
    return np.where(others > 0, total - returns, 0) / np.maximum(others, 1)
""",
    "hunt-truncation": """
def advantages(rewards, values, next_values, terminated, truncated, gamma, lam):
    found, following = np.zeros_like(rewards), 0.0
    for t in reversed(range(len(rewards))):
        error = rewards[t] + gamma * ~terminated[t] * next_values[t] - values[t]
        following = error + gamma * lam * ~(terminated[t] | truncated[t]) * following
        found[t] = following
    return found
""",
}


def written(folder: Path, name: str, code: str) -> Path:
    """A student's file: the template with other functions in place of its own."""
    path = exercises.get(name, folder, overwrite=True)
    text = path.read_text().split("\nif __name__")[0]
    path.write_text(f"{text}\n{code}")
    return path


def checked(folder: Path, name: str, code: str) -> exercises.Verdict:
    return exercises.check(written(folder, name, code))


def words(verdict: exercises.Verdict) -> str:
    return " ".join(str(verdict).split())


@pytest.mark.parametrize("name", exercises.EXERCISES)
def test_a_template_as_handed_out_is_not_solved(name: str, tmp_path: Path):
    verdict = exercises.check(exercises.get(name, tmp_path))
    assert not verdict
    assert ("Its symptom" if name.startswith("hunt") else "not written yet") in words(verdict)
    assert "none of the mistakes" not in words(verdict)


@pytest.mark.parametrize("name", exercises.EXERCISES)
def test_a_right_solution_passes(name: str, tmp_path: Path):
    verdict = checked(tmp_path, name, SOLUTIONS[name])
    assert verdict, str(verdict)
    assert all(finding.right for finding in verdict.findings)
    assert f"Exercise {name}: solved" in str(verdict)


SCORE = "np.eye(len(logits))[action] - weight / weight.sum()"
LEFT_OUT = "np.where(others > 0, total - returns, 0) / np.maximum(others, 1)"
CHANGED = [
    ("score", SCORE, "weight / weight.sum()", "none of the mistakes"),
    ("score", "[action] - weight / weight.sum()", "[action]", "its mean over the actions"),
    ("score", "np.eye(len(logits))[action] - weight", "-weight", "only the derivative of the denominator"),
    ("score", SCORE, "weight / weight.sum() - np.eye(len(logits))[action]",
     "the sign is reversed"),
    ("score", SCORE,
     "(weight / weight.sum())[action] * (np.eye(len(logits))[action] - weight / weight.sum())",
     "of π(a), not of log π(a)"),
    ("score", SCORE,
     "np.eye(len(logits))[action] * (1 - weight / weight.sum())", "only the entry of the chosen action"),
    ("score", SCORE,
     "np.eye(len(logits))[action] * weight.sum() / weight", "with respect to the probability"),
    ("score", " - logits.max()", "", "exp(1000) is infinite"),
    ("score", "z / np.exp(log_sigma)", "z", "divided by σ instead of σ²"),
    ("score", "z / np.exp(log_sigma), ", "action - mu, ", "lacks the division by σ²"),
    ("score", "z**2 - 1", "z**2", "lacks the −1"),
    ("score", "z**2 - 1", "(z**2 - 1) / np.exp(log_sigma)", "with respect to σ, not to log σ"),
    ("score", "z**2 - 1", "(z**2 - 1) / 2", "logarithm of the variance"),
    ("score", "np.exp(log_sigma)", "log_sigma", "log σ is used as if it were σ"),
    ("score", "z / np.exp(log_sigma), z**2 - 1", "z**2 - 1, z / np.exp(log_sigma)", "in the wrong order"),
    ("returns", " * ~done[t]", "", "does not stop where `done` is true"),
    ("returns", "gamma * following", "following", "gamma has no effect"),
    ("returns", "* following * ~done[t]\n        found[t] = following",
     "* following\n        found[t] = following\n        following = following * ~done[t]", "one row away"),
    ("returns", "found[t] = following", "found[t] = following - rewards[t]", "reward of the step itself is missing"),
    ("returns", "gamma**step * ", "", "lacks the factor γ^t"),
    ("returns", "/ done.sum()", "/ len(rewards)", "by the number of steps"),
    ("returns", "gamma**step * returns[t]", "gamma**step * rewards[t]", "the reward r_t of the step alone"),
    ("returns", "total / done.sum()", "scores.mean((0, 1)) * returns.sum()", "credit of all rewards"),
    ("returns", "gamma**step * returns[t]", "returns.sum() + 0 * step", "credit of all rewards"),
    ("returns", "gamma**step * returns[t]", "gamma**step * (returns[t] - returns.mean())", "not a valid baseline"),
    ("returns", "total / done.sum()", "-total / done.sum()", "sign is reversed"),
    ("returns", "total / done.sum()", "total", "the sum over episodes"),
    ("returns", "total / done.sum()", "total / rewards.shape[1]", "divided by the number of columns"),
    ("returns", "np.where(done[t], 0, step + 1)", "step + 1", "must start at 0 in each episode"),
    ("returns", "rewards_to_go(rewards, done, gamma)\n", "rewards_to_go(rewards, 0 * done > 0, gamma)\n",
     "must stop where `done` is true"),
    ("hunt-baseline", "np.where(others > 0, total - returns, 0)", "np.where(others > 0, total, 0)",
     "none of the mistakes"),
    ("hunt-baseline", LEFT_OUT, "total / np.maximum(others + 1, 1)",
     "from a batch of one episode the estimate is 0"),
    ("hunt-baseline", LEFT_OUT,
     "((returns * active).sum(0) / active.sum(0)) + 0 * returns", "the steps of each episode sums to 0"),
    ("hunt-baseline", LEFT_OUT,
     "np.where(active, returns, -np.inf).max(1, keepdims=True, initial=-1e9) + 0 * returns",
     "no credit is ever positive"),
    ("hunt-baseline", LEFT_OUT, "0 * returns",
     "no bias any more, but also no baseline"),
    ("hunt-truncation", "~terminated[t] * next", "~(terminated[t] | truncated[t]) * next",
     "depends on the time limit"),
    ("hunt-truncation", "~terminated[t] * next", "next", "still seems to have a future"),
    ("hunt-truncation", "~terminated[t] * next", "~truncated[t] * next", "treated the wrong way round"),
    ("hunt-truncation", " * ~(terminated[t] | truncated[t])", "", "the last steps of every episode"),
    ("hunt-truncation", "(terminated[t] | truncated[t])", "terminated[t]", "the last steps of a truncated episode"),
    ("hunt-truncation", "(terminated[t] | truncated[t])", "truncated[t]", "the last steps of a terminated episode"),
    ("hunt-truncation", "next_values[t] -", "(values[t + 1] if t + 1 < len(values) else next_values[t]) -",
     "next row"),
    ("hunt-truncation", "gamma * lam", "lam", "λ per step instead of γλ"),
    ("hunt-truncation", "gamma * lam", "0", "td errors δ_t alone"),
    ("hunt-truncation", "return found", "return found + values", "targets of v(s)"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "right", "wrong", "explanation"), CHANGED)
def test_usual_mistakes_are_named_and_others_are_measured(
    name: str, right: str, wrong: str, explanation: str, tmp_path: Path
):
    assert right in SOLUTIONS[name]
    verdict = checked(tmp_path, name, SOLUTIONS[name].replace(right, wrong))
    assert not verdict
    assert explanation in words(verdict).lower()
    if explanation == "none of the mistakes":
        assert re.search(
            r"cosine with the exact result is -?\d\.\d+, and it is [\d.]+ times as long", words(verdict)
        )


def test_two_faults_at_once_are_both_named(tmp_path: Path):
    code = SOLUTIONS["returns"].replace("gamma**step * ", "").replace("/ done.sum()", "/ len(rewards)")
    text = words(checked(tmp_path, "returns", code))
    assert "lacks the factor γ^t" in text
    assert "by the number of steps" in text


def test_the_effect_on_the_values_is_shown(tmp_path: Path):
    code = SOLUTIONS["hunt-truncation"].replace(
        "~terminated[t] * next", "~(terminated[t] | truncated[t]) * next"
    )
    assert re.search(
        r"Yours moves V\(0\) = 2.37 by -0.\d\d", words(checked(tmp_path, "hunt-truncation", code))
    )
    code = SOLUTIONS["hunt-truncation"].replace(" * ~(terminated[t] | truncated[t])", "")
    assert "right on average if V(s) is exact" in words(checked(tmp_path, "hunt-truncation", code))


def test_credit_for_the_whole_return_is_unbiased_but_noisier(tmp_path: Path):
    code = SOLUTIONS["returns"].replace(
        "returns = rewards_to_go(rewards, done, gamma)\n",
        "returns = rewards_to_go(rewards, done, gamma)\n    start = np.vstack([np.ones_like(done[:1]), done[:-1]])\n"
        "    for t in range(1, len(done)):\n        returns[t] = np.where(start[t], returns[t], returns[t - 1])\n",
    )
    verdict = checked(tmp_path, "returns", code.replace("gamma**step * ", ""))
    assert verdict
    variances = re.search(
        r"is ([\d.]+)\. With rewards-to-go as in the formula it would be ([\d.]+)\.", words(verdict)
    )
    assert variances is not None
    assert float(variances[1]) > float(variances[2])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("pass", "It returned None; expected a float64 array of shape (3,) (one number per action)"),
        ("return logits[:-1]", "It returned an array of shape (2,); expected a float64 array of shape (3,)"),
        ("return logits * np.nan", "It returned NaN in 3 of 3 places"),
        ("return logits / 0", "It returned infinity in 3 of 3 places"),
        ("return logits.astype(np.float32)", "It returned numbers of type float32"),
        ("return logits > 0", "It returned numbers of type bool"),
        ("return ['a', 'b', 'c']", "It returned numbers of type <U1"),
        ("return [[1.0], [1.0, 2.0]]", "It returned list, which is not an array"),
        ("logits -= logits.max()\n    return logits", "It changes argument number 1 in place"),
        ("oops = 1\n    return oops[0]", "It raised TypeError: 'int' object is not subscriptable (line"),
        ("return logits[7]", "It raised IndexError"),
        ("raise SystemExit(3)", "It raised SystemExit: 3 (line"),
        ("raise NotImplementedError", "It is not written yet"),
    ],
)
def test_results_that_cannot_be_compared_are_explained(body: str, message: str, tmp_path: Path):
    code = SOLUTIONS["score"] + f"\ndef log_prob_gradient(logits, action):\n    {body}\n"
    verdict = checked(tmp_path, "score", code)
    assert not verdict
    assert message in words(verdict)
    # the other function is still graded
    assert verdict.findings[1].right


def test_a_line_of_the_student_is_quoted(tmp_path: Path):
    path = written(
        tmp_path, "score", "def log_prob_gradient(logits, action):\n    return logits + undefined\n"
    )
    number = path.read_text().splitlines().index("    return logits + undefined") + 1
    assert f"(line {number}: return logits + undefined)" in words(exercises.check(path))
    path = written(tmp_path, "score", "def log_prob_gradient(logits):\n    return logits\n")
    assert "takes 1 positional argument but 2 were given" in words(exercises.check(path))
    path = written(
        tmp_path, "score", "def gaussian_log_prob_gradient(action, mu, log_sigma):\n    return mu\n"
    )
    assert "expected a tuple of two arrays" in words(exercises.check(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def (", "is not valid Python: invalid syntax (line 1)"),
        ("x = 1 / 0", "could not be imported: ZeroDivisionError: division by zero (line 1: x = 1 / 0)"),
        ("raise SystemExit", "could not be imported: SystemExit"),
        ("EXERCISE = 'score'", "has no function log_prob_gradient"),
        ("EXERCISE = 'scores'", "there is no exercise 'scores': did you mean score?"),
        ("x = 1", "does not say which exercise it is for: there is no exercise 'mine'"),
        ("\0", "mine.py is not"),
    ],
)
def test_files_that_cannot_be_graded_are_reported_in_one_line(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "mine.py"
    path.write_text(text)
    assert main(["exercise", "check", str(path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    with pytest.raises(ValueError, match=re.escape(message)):
        exercises.check(path)
    assert "mine" not in "".join(sys.modules)


def test_the_command_from_the_list_to_the_solution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    assert main(["exercise"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {exercise.name} " in shown for exercise in exercises.EXERCISES.values())
    assert main(["exercise", "get", "score"]) == 0
    assert main(["exercise", "check", "score.py"]) == 1
    assert "not written yet" in capsys.readouterr().out
    written(tmp_path, "score", SOLUTIONS["score"]).rename("renamed.py")
    assert main(["exercise", "check", "renamed.py"]) == 0
    assert "Exercise score: solved" in capsys.readouterr().out
    assert not list(tmp_path.glob("__pycache__"))


def test_a_file_is_replaced_only_if_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "returns.py"
    path.write_text("my work")
    get = ["exercise", "get", "returns", "--folder", str(tmp_path)]
    assert main(get) == 2
    assert "already exists and may contain your work" in capsys.readouterr().err
    assert path.read_text() == "my work"
    with pytest.raises(FileExistsError):
        exercises.get("returns", tmp_path)
    assert main([*get, "--overwrite"]) == 0
    assert path.read_text() == exercises.EXERCISES["returns"].template.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["get", "scor"], "there is no exercise 'scor': did you mean score?"),
        (["get", "hunt_baseline"], "did you mean hunt-baseline?"),
        (["get", "zzz"], "the exercises are score, returns, hunt-baseline, hunt-truncation"),
        (["get", "score", "--folder", "nowhere"], "the folder nowhere does not exist"),
        (["get", "score", "--overwrit"], "did you mean --overwrite?"),
        (["chek", "score.py"], "did you mean exercise check?"),
        (["score"], "did you mean exercise get score?"),
        (["zzz"], "expected get NAME or check FILE"),
        (["check", "nowhere.py"], "there is no file nowhere.py"),
        (["check", "."], "is a folder"),
    ],
)
def test_wrong_arguments_are_reported_in_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    assert main(["exercise", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", ["hunt-baseline", "hunt-truncation"])
def test_the_programs_to_mend_run_and_learn_something(name: str, tmp_path: Path):
    path = exercises.get(name, tmp_path)
    done = subprocess.run(
        [sys.executable, path.name], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 6
    first, last = (float(lines[i].split()[-1]) for i in (0, -1))
    assert last > first


def test_the_references_of_the_checkers_are_those_of_the_library():
    problem = TinyProblem(3)
    solution = problem.solution("termination")
    e = problem.episodes
    assert e.probability.sum() == pytest.approx(1)
    weight = 0.8 ** np.arange(3) * to_go(e.rewards, 0.8)
    np.testing.assert_allclose(problem.expected_gradient(weight), problem.gradient, atol=1e-13)
    np.testing.assert_allclose(problem.scores, solution.scores, atol=1e-13)
    total = proof.objective(problem.mdp, solution.log_prob.exp(), 0.8)
    assert float(total.detach()) == pytest.approx(solution.objective)
    g = truncation_grader
    arrays = (g.REWARDS, g.VALUES, g.NEXT_VALUES, g.TERMINATED, g.TERMINATED | g.TRUNCATED)
    expected = generalized_advantages(*arrays, 0.8, 0.7)
    error = g.REWARDS + 0.8 * np.where(g.TERMINATED, 0, g.NEXT_VALUES) - g.VALUES
    np.testing.assert_allclose(g.gae(error, ~arrays[-1], 0.8 * 0.7), expected, atol=1e-14)


def test_the_exact_variances_of_the_baselines_are_shown(tmp_path: Path):
    text = words(checked(tmp_path, "hunt-baseline", SOLUTIONS["hunt-baseline"]))
    found = re.search(
        r"variance is ([\d.]+), and without a baseline it would be ([\d.]+)\..* would be ([\d.]+)\.", text
    )
    assert found is not None
    mine, plain, ideal = map(float, found.groups())
    assert ideal < plain < mine


def test_nan_is_never_right():
    nan = np.full(3, np.nan)
    assert not comparison.same(nan, np.zeros(3))
    assert not comparison.same(nan, nan)

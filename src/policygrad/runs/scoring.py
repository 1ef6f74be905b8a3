"""Scores of a finished run: its best policy on fresh episodes, with greedy and with sampled actions."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from policygrad._support.files import write_atomically
from policygrad.envs import EnvOptions
from policygrad.evaluation import Evaluation, evaluate
from policygrad.runs.experiment import Experiment
from policygrad.runs.folder import SCORES
from policygrad.runs.locked_folder import as_json
from policygrad.runs.run import Run


def score(experiment: Experiment, run: Run, episodes: int) -> dict[str, Evaluation]:
    """Evaluate the best policy of a run, and save the scores in its folder if it has one.

    The episodes depend on the run's seed only. They are not those by which the best policy was chosen.

    Args:
        experiment: the experiment of the run.
        run: a run with its best policy.
        episodes: number of episodes per way of acting.

    Returns:
        The evaluations by name: `greedy` and `sampled`.
    """
    opening: dict[str, Any] = {
        option.name: getattr(experiment.settings, option.name) for option in fields(EnvOptions)
    }
    evaluations = {
        way: evaluate(
            run.policy, experiment.env, episodes, way == "greedy", run.seed, progress=False, **opening
        )
        for way in ("greedy", "sampled")
    }
    if run.out is not None:
        write_atomically(run.out / SCORES, as_json({way: _summary(e) for way, e in evaluations.items()}))
    return evaluations


def _summary(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "mean": evaluation.mean,
        "std": float(evaluation.returns.std()),
        "episodes": len(evaluation.returns),
        "cut": evaluation.cut,
        "failures": evaluation.failures,
    }

"""Evaluation of policies: on fresh episodes, at intervals during training, and to choose the best policy of a run."""

from policygrad.evaluation.episodes import check_policy, evaluate, run_episodes
from policygrad.evaluation.periodic import PeriodicEvaluation
from policygrad.evaluation.result import Evaluation, percent, share_interval
from policygrad.evaluation.selection import (
    Selection,
    allowance,
    select,
    typical_length,
)

__all__ = [
    "Evaluation",
    "PeriodicEvaluation",
    "Selection",
    "allowance",
    "check_policy",
    "evaluate",
    "percent",
    "run_episodes",
    "select",
    "share_interval",
    "typical_length",
]

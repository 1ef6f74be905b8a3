"""Scheduling of runs: many jobs on this machine or on the nodes of a cluster, behind one small interface."""

from policygrad.scheduling.choice import actors_for, scheduler_for
from policygrad.scheduling.job import Job, Outcome
from policygrad.scheduling.local import LocalScheduler
from policygrad.scheduling.progress import CombinedProgress, StudyProgress
from policygrad.scheduling.scheduler import Scheduler

__all__ = [
    "CombinedProgress",
    "Job",
    "LocalScheduler",
    "Outcome",
    "Scheduler",
    "StudyProgress",
    "actors_for",
    "scheduler_for",
]

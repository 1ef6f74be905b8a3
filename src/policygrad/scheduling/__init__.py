"""Scheduling of runs: many jobs on the cores of this machine, in threads or processes, behind one small interface."""

from policygrad.scheduling.job import Job, Outcome
from policygrad.scheduling.local import LocalScheduler
from policygrad.scheduling.progress import CombinedProgress, StudyProgress
from policygrad.scheduling.scheduler import Scheduler

__all__ = ["CombinedProgress", "Job", "LocalScheduler", "Outcome", "Scheduler", "StudyProgress"]

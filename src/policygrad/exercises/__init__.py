"""Exercises: files that a student completes or mends, and checkers that explain what is wrong.

>>> import tempfile
>>> from policygrad import exercises
>>> with tempfile.TemporaryDirectory() as folder:
...     bool(exercises.check(exercises.get("score", folder)))
False
"""

from policygrad.exercises.catalogue import EXERCISES, Exercise
from policygrad.exercises.grading import check
from policygrad.exercises.handout import get
from policygrad.exercises.verdict import Finding, Verdict

__all__ = ["EXERCISES", "Exercise", "Finding", "Verdict", "check", "get"]

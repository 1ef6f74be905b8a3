"""Training: iterations of collecting and learning, which know nothing about displays and files."""

from policygrad.training.candidates import BLOCK, CANDIDATES, Candidate, Candidates
from policygrad.training.collecting import collector_of
from policygrad.training.iteration import Iteration
from policygrad.training.recent_returns import WINDOW
from policygrad.training.training import LoopName, Training

__all__ = [
    "BLOCK",
    "CANDIDATES",
    "WINDOW",
    "Candidate",
    "Candidates",
    "Iteration",
    "LoopName",
    "Training",
    "collector_of",
]

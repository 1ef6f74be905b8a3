"""The doctor: it names why nothing is learned, with evidence and a remedy.

`diagnose` looks for `AILMENTS` in `Evidence`, which consists of a run's metrics and settings and, optionally, of what
`probe` observes when it plays with the policy.
"""

from policygrad.doctor.diagnosis import AILMENTS, diagnose
from policygrad.doctor.evidence import Evidence
from policygrad.doctor.finding import Ailment, Finding
from policygrad.doctor.probe import Played, Probe
from policygrad.doctor.probing import probe

__all__ = ["AILMENTS", "Ailment", "Evidence", "Finding", "Played", "Probe", "diagnose", "probe"]

"""Reports: one HTML page that shows a study or a run, and opens from disk without a network."""

from policygrad.reports.report import report

__all__ = ["report"]

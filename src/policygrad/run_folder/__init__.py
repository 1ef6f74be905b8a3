"""A run on disk: where it stands, what is written while it goes on, and how it is gone on with."""

from policygrad.run_folder.folder import SUMMARY, RunFolder
from policygrad.run_folder.going_on import Resumed, has_begun, to_go_on_from
from policygrad.run_folder.place import Place, read_json

__all__ = [
    "SUMMARY",
    "Place",
    "Resumed",
    "RunFolder",
    "has_begun",
    "read_json",
    "to_go_on_from",
]

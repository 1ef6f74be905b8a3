"""Watching policies at play: as a film in an array, in a window, or in a file."""

from policygrad.watching.film import Film, film

__all__ = ["Film", "film"]

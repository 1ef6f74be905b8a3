"""Watching policies at play: as a film in an array, in a window, or in a file."""

from policygrad.watching.film import Film, film
from policygrad.watching.video import check_video, record_video
from policygrad.watching.window import has_display, watch

__all__ = ["Film", "check_video", "film", "has_display", "record_video", "watch"]

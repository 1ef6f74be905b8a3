"""Studies: many seeds, environments and configurations, trained side by side and read from disk."""

"""Utilities that the other packages build on: checks of settings, compilation, files, threads and seeds."""

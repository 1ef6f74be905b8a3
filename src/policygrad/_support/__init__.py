"""What all other packages build on and that is not about learning: checks, compiling, files, threads, seeds."""

"""Training runs: their settings, training, recording, folders, checkpoints and resumption."""

"""A run: its settings, how it is trained and recorded, its folder and checkpoints, and how it is resumed."""

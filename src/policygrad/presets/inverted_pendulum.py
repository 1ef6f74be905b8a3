"""InvertedPendulum-v5: balance a pole on a cart. The largest possible return is 1,000."""

from policygrad.presets import mujoco

PRESETS = {**mujoco.PRESETS}

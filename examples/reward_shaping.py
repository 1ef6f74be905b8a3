"""Reward shaping by a potential: it finds what the reward alone never shows, and keeps the best policy what it was."""

import numpy as np

import policygrad as pg


def energy(observation: np.ndarray) -> np.ndarray:
    """The potential Φ: height and kinetic energy of the car, [..., 2] -> [...]."""
    position, speed = observation[..., 0], observation[..., 1]
    return 10 * (np.sin(3 * position) + 600 * speed**2)


if __name__ == "__main__":
    algorithm = pg.Reinforce(gamma=0.999, learning_rate=0.01)
    network = pg.Network(scale_observations=True)
    for name, shaping in (("plain", None), ("with the potential", pg.PotentialShaping(energy))):
        run = pg.train("MountainCarContinuous-v0", algorithm, network=network, steps=60_000, shaping=shaping)
        # what was learned in the end; run.policy may be an earlier one that scored better by luck
        result = pg.evaluate(run.last_policy, "MountainCarContinuous-v0")
        print(f"{name}: {result}")  # about 90 has reached the flag; about 0 has learned to do nothing
        assert (result.mean > 80) == (shaping is not None)

"""Shape the reward with a potential: it rewards progress towards a rare reward and leaves the best policy unchanged."""

import numpy as np

import policygrad as pg


@pg.CompiledPotential
def energy(observation: np.ndarray) -> float:
    """Return the potential Φ, the height and kinetic energy of the car: [2] -> float."""
    position, speed = observation[0], observation[1]
    return 10 * (np.sin(3 * position) + 600 * speed**2)


if __name__ == "__main__":
    algorithm = pg.Reinforce(gamma=0.999, learning_rate=0.005)
    network = pg.Network(scale_observations=True, log_std=-0.7)
    env, seeds, reached = "MountainCarContinuous-v0", range(10), {}
    for name, shaping in (("plain", None), ("with the potential", pg.PotentialShaping(energy))):
        means = []
        for seed in seeds:
            run = pg.train(
                env, algorithm, network=network, steps=100_000, shaping=shaping, seed=seed, progress=False
            )
            # judge the policy at the end of training: run.policy may be an earlier one that scored better by luck
            means.append(pg.evaluate(run.last_policy, env, episodes=20).mean)
        # a return of about 90 means that it reaches the flag, about 0 that it has learned to do nothing
        reached[name] = sum(mean > 80 for mean in means)
        print(
            f"{name}: {reached[name]} of {len(seeds)} seeds reach the flag; returns {np.sort(means).round()}"
        )
    assert reached["with the potential"] > reached["plain"]

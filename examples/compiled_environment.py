"""Compile your own environment to machine code: keep a boat near its buoy while the wind pushes it away.

On the command line: `cd examples; policygrad train compiled_environment:BOAT`.
"""

import numpy as np
from gymnasium import spaces

import policygrad as pg
from policygrad.envs.kernel import normal, uniform


def reset(state, rng):
    state[0] = uniform(rng, -1.0, 1.0)  # position relative to the buoy
    state[1] = 0.0  # wind


def step(state, action, rng):
    state[1] = 0.9 * state[1] + 0.05 * normal(rng)
    state[0] += state[1] + 0.1 * (action[0] - 1)  # actions: row left, rest, row right
    lost = abs(state[0]) > 3.0
    return 1.0 - abs(state[0]) - (10.0 if lost else 0.0), lost


def observe(state, observation):
    observation[0] = state[0]
    observation[1] = 10 * state[1]


BOAT = pg.Kernel(
    name="Boat",
    observation_space=spaces.Box(-np.inf, np.inf, (2,), np.float32),
    action_space=spaces.Discrete(3),
    state=np.zeros(2),
    max_steps=100,
    reset=reset,
    step=step,
    observe=observe,
)

if __name__ == "__main__":
    run = pg.train(BOAT, pg.Reinforce(learning_rate=0.003), steps=100_000, num_envs=16, seed=0)
    print(f"{run.steps / run.seconds:,.0f} steps/s, learning included, with the {run.engine} engine")
    print("mean return:", pg.evaluate(run.policy, BOAT))

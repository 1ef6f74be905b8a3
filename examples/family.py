"""Compare REINFORCE, actor-critic, A2C and PPO on CartPole with the same networks and the same number of steps.

On the command line: `policygrad train CartPole-v1 --algo ppo --steps 30000`.
"""

import policygrad as pg

STEPS = 30_000

if __name__ == "__main__":
    for algorithm in (
        pg.Reinforce(),
        pg.ActorCritic(policy_trace=0.8, value_trace=0.8),
        pg.A2C(learning_rate=0.002),
        pg.PPO(horizon=64, epochs=4, learning_rate=0.002),
    ):
        run = pg.train("CartPole-v1", algorithm, steps=STEPS, num_envs=8, seed=0, progress=False)
        name = type(algorithm).__name__
        print(f"{name:12} best mean return {run.best_mean:5.0f}, {run.steps / run.seconds:10,.0f} steps/s")

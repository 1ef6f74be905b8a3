"""Follow a run with your own function: evaluate the policy now and then, and end the run when it is good enough."""

import policygrad as pg

EVERY, ENOUGH = 5_000, 490.0


class Examiner:
    """Evaluates the policy every EVERY steps, and asks to end the run once a mean return is ENOUGH."""

    def __init__(self):
        self.due, self.means = EVERY, []

    def __call__(self, update):
        if update.steps < self.due:
            return None
        self.due += EVERY
        # update.policy is the policy that is being trained; evaluating it does not change it
        result = pg.evaluate(update.policy, "CartPole-v1", episodes=20, progress=False)
        self.means.append(result.mean)
        print(
            f"{update.steps:6,} steps: training {update.metrics['return_100']:5.1f}, greedy {result.mean:5.1f}"
        )
        return result.mean >= ENOUGH


if __name__ == "__main__":
    examiner = Examiner()
    run = pg.train("CartPole-v1", "ppo", steps=100_000, seed=0, on_update=examiner)
    print(f"ended by {run.ended} after {run.steps:,} steps")
    assert run.ended == "callback"
    assert run.steps < 100_000
    shown = pg.record_video(run.policy, "CartPole-v1", "cartpole.gif", episodes=1, width=240)
    print(f"cartpole.gif shows an episode with a return of {shown.mean:g}")
    assert shown.mean > 400

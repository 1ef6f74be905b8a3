"""Show what the line search is for: steps that are too large for the natural gradient, with and without it."""

import policygrad as pg

for max_kl in (0.01, 0.1, 1.0):
    for algorithm in (pg.NaturalGradient(max_kl=max_kl), pg.TRPO(max_kl=max_kl)):
        run = pg.train("CartPole-v1", algorithm, seed=0, steps=40_000, progress=False)
        name = type(algorithm).__name__
        print(
            f"{name:15} max_kl {max_kl:<4}  largest KL {run.history['kl'].max():.3f}, "
            f"surrogate worse in {(run.history['surrogate_improvement'] < 0).mean():.0%} of updates, "
            f"last 100 returns {run.updates.latest['return_100']:.0f}"
        )
        if isinstance(algorithm, pg.TRPO):
            assert run.history["kl"].max() <= max_kl

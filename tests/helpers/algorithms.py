"""Algorithms with settings that reach most of their code, by the name that a test shows."""

from __future__ import annotations

from typing import Any

import policygrad as pg

PPO_VARIANTS: dict[str, Any] = {
    "ppo": pg.PPO(epochs=2, learning_rate=0.001),
    "ppo, everything": pg.PPO(
        epochs=3, minibatch_size=50, normalize_advantages="batch", recompute_advantages=True, value_clip=0.2,
        kl_penalty=0.5, kl_penalty_target=0.01, entropy_coef=0.01, target_kl=0.05, learning_rate=0.001,
    ),
}  # fmt: skip
A2C_VARIANTS: dict[str, Any] = {
    "a2c": pg.A2C(),
    "a2c, n-step, Adam": pg.A2C(estimator="n-step", n=3, optimizer="adam", normalize_advantages=True),
    "a2c, v-trace": pg.A2C(estimator="v-trace", updates=3, gae_lambda=0.9, learning_rate=0.001),
}
ACTOR_CRITIC_VARIANTS: dict[str, Any] = {
    "one-step": pg.ActorCritic(entropy_coef=0.01),
    "traces": pg.ActorCritic(policy_trace=0.9, value_trace=0.7, entropy_coef=0.01, discount_weighting=True),
    "traces, sgd": pg.ActorCritic(policy_trace=0.5, optimizer="sgd", learning_rate=0.01),
}

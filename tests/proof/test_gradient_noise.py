"""The gradient noise that runs log, against its exact value on a finite MDP."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import policygrad as pg
from policygrad.engines.gradient_noise import (
    BETWEEN,
    MEMORY,
    NOISE,
    PAIRS,
    SAMPLES,
    SIGNAL,
    SINCE,
    GradientNoise,
)
from policygrad.envs.textbook import random_mdp
from policygrad.proof import Solution
from policygrad.proof.sampling import Sampler, plain
from policygrad.proof.solution import going_on


def exact_signal_and_noise(exact: Solution, value: np.ndarray) -> tuple[float, float]:
    """Return (‖G‖², tr Σ) of the gradient δ ∇log π of a single sample at the start of an episode."""
    mdp = exact.mdp
    probability = mdp.start[:, None, None] * exact.probabilities[:, :, None] * mdp.transition
    error = mdp.reward + exact.gamma * value * going_on(mdp) - value[:, None, None]
    mean = np.einsum("sat,sat,sai->i", probability, error, exact.scores)
    square = np.einsum("sat,sat,sai->", probability, error**2, exact.scores**2)
    return float(mean @ mean), float(square - mean @ mean)


@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_signal_and_noise_are_those_of_the_exact_gradient(engine: Any):
    # each episode has one step, so that samples are independent
    mdp, N = random_mdp(horizon=1), 32
    algorithm = plain(pg.A2C(gamma=0.9, gae_lambda=0.0, horizon=1, normalize_advantages=False))
    sampler = Sampler(algorithm, mdp, value="exact", num_envs=N, engine=engine)
    noise: GradientNoise = sampler.engine.gradient_noise
    signals, noises = list[float](), list[float]()
    for _ in range(30):
        noise.numbers[:] = 0
        for _ in range(2 * MEMORY):
            noise.numbers[SINCE] = BETWEEN
            noise.begin_update(64)
            sampler.estimates(1)
        assert noise.numbers[PAIRS] == MEMORY
        assert noise.numbers[SAMPLES] == N
        signals.append(noise.numbers[SIGNAL])
        noises.append(noise.numbers[NOISE])
    signal, variance = exact_signal_and_noise(sampler.solution("truncation"), sampler.value)
    sampler.close()
    # 3,000 pairs; the standard errors of both are below 2 %
    np.testing.assert_allclose(np.mean(signals), signal, rtol=0.08)
    np.testing.assert_allclose(np.mean(noises), variance / N, rtol=0.08)
    noise.numbers[[SIGNAL, NOISE]] = signal, variance / N
    assert noise.metrics() == pytest.approx(
        {"gradient_snr": signal * N / variance, "noise_scale": variance / signal}
    )


def test_a_gradient_that_is_lost_in_noise_has_no_noise_scale():
    noise = GradientNoise(2)
    assert np.isnan(list(noise.metrics().values())).all()
    for gradient in ([1.0, 0.0], [-1.0, 0.0]):
        noise.begin_update(64)
        noise.add(lambda gradient=gradient: np.array(gradient, np.float32), 64)
    # g₁ · g₂ = −1 and ½ ‖g₁ − g₂‖² = 2
    found = noise.metrics()
    assert found["gradient_snr"] == -0.5
    assert np.isnan(found["noise_scale"])
    for gradient in ([2.0, 1.0], [2.0, 0.0]):
        noise.numbers[SINCE] = BETWEEN
        noise.begin_update(64)
        noise.add(lambda gradient=gradient: np.array(gradient, np.float32), 64)
    # means of (−1, 4) and of (2, ½)
    assert noise.metrics() == {"gradient_snr": 1.5 / 1.25, "noise_scale": 64 * 1.25 / 1.5}


def test_pairs_are_from_the_first_minibatches_of_an_update_or_from_two_updates():
    for updates, pairs in ((1, 1), (2, 2)):
        # 2 epochs of 16 minibatches
        noise = noise_of(pg.PPO(horizon=128, epochs=2, minibatch_size=64), updates * 1_024)
        assert noise.numbers[PAIRS] == pairs
    # an update is one step over 256 samples, so that a pair takes two of them, and the next begins after 1,024 samples
    for updates, pairs in ((1, 0), (2, 1), (4, 1), (6, 2)):
        noise = noise_of(pg.A2C(horizon=32), updates * 256)
        assert noise.numbers[PAIRS] == pairs, updates


def noise_of(algorithm: Any, steps: int) -> GradientNoise:
    """Return the noise that a run in Python has measured."""
    from policygrad._support.seeding import stream
    from policygrad.engines import make_engine
    from policygrad.envs import make
    from policygrad.policies import make_policy, make_value
    from policygrad.training.training import Training

    environments = make("CartPole-v1", 8)
    rng = stream(0, "init")
    policy = make_policy(environments.observation_space, environments.action_space, pg.Network(), rng)
    value = make_value(policy, pg.Network(), rng, given=None, wanted=True)
    engine = make_engine(policy, value, algorithm.optimizer, "fused")
    for _ in Training(environments, policy, engine, algorithm, steps=steps, seed=0, loop="python"):
        pass
    return engine.gradient_noise


@pytest.mark.parametrize("algorithm", [pg.PPO(), pg.A2C(), pg.Reinforce(), pg.TRPO(), pg.ActorCritic()])
def test_runs_log_the_noise_with_either_engine(algorithm: Any):
    for engine in ("fused", "autograd"):
        run = pg.train("CartPole-v1", algorithm, steps=8_192, engine=engine, num_envs=8, seed=0)
        ratio, scale = run.history["gradient_snr"], run.history["noise_scale"]
        assert np.isfinite(ratio).any()
        # a row may be the mean of several updates, of which some have no noise scale
        assert np.isfinite(scale[ratio > 0]).all()
        assert np.nanmin(scale) > 0


def test_traces_log_no_noise():
    run = pg.train("CartPole-v1", pg.ActorCritic(policy_trace=0.5), steps=2_000, seed=0)
    assert "gradient_snr" not in run.history
    assert "noise_scale" not in run.history


def test_both_loops_log_the_same_noise():
    compiled, python = (
        pg.train("CartPole-v1", pg.A2C(), steps=20_000, seed=0, loop=loop).history["noise_scale"]
        for loop in ("compiled", "python")
    )
    np.testing.assert_array_equal(compiled, python)
    assert np.isfinite(compiled).any()


def test_later_epochs_do_not_count():
    """The gradient of an epoch on the same samples shrinks, although the noise scale of fresh samples does not."""
    for epochs in (1, 10):
        algorithm = replace(pg.PPO(), epochs=epochs)
        assert noise_of(algorithm, 4_096).numbers[PAIRS] == 2

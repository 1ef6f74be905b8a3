"""The compiled loop gives the same bits as the loop in Python, wherever its calls end and wherever one takes over."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

import policygrad as pg
from policygrad.engines import make_engine
from policygrad.envs import make
from policygrad.losses import exp
from policygrad.policies import flat_parameters, make_policy, make_value
from policygrad.training import Iteration, LoopName, Training

NETWORK = pg.Network(hidden=(16,))


def trust(s: Any, k: Any) -> Any:
    """A loss that reads every column that the loop supplies."""
    ratio = exp(s.log_prob - s.old_log_prob)
    value_loss = (s.value - s.target) ** 2 / 2 + 0.01 * (s.value - s.old_value) ** 2
    return -ratio * s.advantage - k.entropy_coef * s.entropy + value_loss + k.slack * 0.0


def per_episode(s: Any, k: Any) -> Any:
    return -k.policy_scale * s.advantage * s.log_prob / s.episode_length


ALGORITHMS: dict[str, tuple[str, Any, int]] = {
    "reinforce": ("CartPole-v1", pg.Reinforce(learning_rate_end=0.001, entropy_coef=0.1, entropy_coef_end=0.0), 8),
    "reinforce, one environment": ("CartPole-v1", pg.Reinforce(optimizer="rmsprop", value_steps=1), 1),
    "no baseline": ("ShortCorridor-v0", pg.Reinforce(baseline="none", normalize_advantages=False, optimizer="sgd"), 1),
    "mean of episodes": ("CartPole-v1", pg.Reinforce(baseline="mean", average="episodes", max_grad_norm=None), 4),
    "leave-one-out": ("CartPole-v1", pg.Reinforce(baseline="leave-one-out", discount_weighting=True), 4),
    "time, whole returns": ("CartPole-v1", pg.Reinforce(baseline="time", returns="episode"), 4),
    "V(s), whole returns": ("CartPole-v1", pg.Reinforce(returns="episode", bootstrap_truncated=False), 4),
    "own loss": ("CartPole-v1", pg.Reinforce(loss=per_episode, baseline="mean", average="episodes"), 4),
    "a2c": ("CartPole-v1", pg.A2C(entropy_coef=0.01, value_learning_rate=0.01), 8),
    "n-step": ("CartPole-v1", pg.A2C(estimator="n-step", n=3, normalize_advantages=True, optimizer="adam"), 4),
    "v-trace": ("CartPole-v1", pg.A2C(estimator="v-trace", updates=3, gae_lambda=0.9), 4),
    "a2c, own loss": ("CartPole-v1", pg.A2C(loss=trust, coefficients={"slack": pg.linear(1.0, 0.0)}, updates=1), 4),
    "ppo": ("CartPole-v1", pg.PPO(horizon=64, epochs=3, minibatch_size=48, clip_end=0.0, learning_rate=0.002), 4),
    "ppo, everything": (
        "CartPole-v1",
        pg.PPO(
            horizon=40, epochs=4, minibatch_size=50, normalize_advantages="batch", recompute_advantages=True,
            value_clip=0.2, kl_penalty=0.5, kl_penalty_target=0.01, entropy_coef=0.01, target_kl=0.005,
            learning_rate=0.01,
        ),
        4,
    ),
    "ppo, one minibatch": ("CartPole-v1", pg.PPO(horizon=16, epochs=3, minibatch_size=64, target_kl=1e-4), 4),
    "actor-critic": ("CartPole-v1", pg.ActorCritic(entropy_coef=0.01), 4),
    "actor-critic, weighted": ("CartPole-v1", pg.ActorCritic(discount_weighting=True), 1),
    "traces": ("CartPole-v1", pg.ActorCritic(policy_trace=0.8, value_trace=0.9, entropy_coef=0.01), 4),
    "traces, weighted": (
        "CartPole-v1", pg.ActorCritic(value_trace=0.9, discount_weighting=True, optimizer="sgd"), 1
    ),
    "normalized": ("CartPole-v1", pg.A2C(horizon=8), 4),
    "normalized episodes": ("CartPole-v1", pg.Reinforce(), 4),
    "shaped": ("MountainCarContinuous-v0", pg.A2C(horizon=64, gamma=0.999), 3),
    "shaped episodes": ("MountainCar-v0", pg.Reinforce(baseline="mean"), 4),
    "shaped and normalized": ("MountainCarContinuous-v0", pg.PPO(horizon=64, epochs=2), 3),
    "observed index": ("SlipperyGrid-v0", pg.A2C(horizon=8), 4),
}  # fmt: skip


BOTH = pg.Normalization(normalize_observations=True, normalize_rewards=True, clip_rewards=1.0)


@pg.CompiledPotential
def energy(observation: Any) -> float:
    return 10 * (np.sin(3 * observation[0]) + 600 * observation[1] ** 2)


@pg.CompiledPotential
def hole(observation: Any) -> float:
    return 0.0 if observation[0] < 200 else np.inf


MORE: dict[str, dict[str, Any]] = {
    "normalized": {"normalization": BOTH},
    "normalized episodes": {"normalization": BOTH},
    "shaped": {"shaping": pg.PotentialShaping(energy, 0.999)},
    "shaped episodes": {"shaping": pg.PotentialShaping(energy, 0.99)},
    "shaped and normalized": {"shaping": pg.PotentialShaping(energy, 0.99), "normalization": BOTH},
}
"""Further arguments of `training` for some of the algorithms."""


def training(
    env: Any,
    algorithm: Any,
    num_envs: int,
    loop: LoopName,
    network: pg.Network = NETWORK,
    steps: int = 4_000,
    threshold: float | None = None,
    stop: bool = False,
    normalization: pg.Normalization = pg.Normalization(),  # noqa: B008
    **more: Any,
) -> Training:
    """Return a training with the same start for each loop."""
    environments = make(env, num_envs)
    rng = np.random.default_rng(7)
    policy = make_policy(
        environments.observation_space, environments.action_space, network, rng, normalization=normalization
    )
    value = make_value(policy, network, rng, given=None, wanted=algorithm.uses_value)
    engine = make_engine(policy, value, algorithm.optimizer)
    return Training(
        environments, policy, engine, algorithm,
        steps=steps, seed=3, loop=loop, threshold=threshold, stop=stop, **more,
    )  # fmt: skip


def rows(iterations: Iterable[Iteration]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the columns of all rows except the times, and the returns."""
    taken = list(iterations)
    names = [name for name in taken[0].names if name != "seconds"]
    assert all(set(one.names) == set(taken[0].names) for one in taken)
    columns = {name: np.concatenate([one.column(name) for one in taken]) for name in names}
    assert sum(one.episodes.sum() for one in taken) == sum(len(one.returns) for one in taken)
    return columns, np.concatenate([one.returns for one in taken])


def check_same(
    a: tuple[dict[str, np.ndarray], np.ndarray], b: tuple[dict[str, np.ndarray], np.ndarray]
) -> None:
    assert a[0].keys() == b[0].keys()
    for name, column in a[0].items():
        np.testing.assert_array_equal(column, b[0][name], err_msg=name)
    np.testing.assert_array_equal(a[1], b[1])


def check_same_state(a: Training, b: Training) -> None:
    """Check that nothing that the next iterations depend on differs, nor any candidate."""

    def compare(x: Any, y: Any, where: str) -> None:
        if isinstance(x, dict):
            assert x.keys() == y.keys(), where
            for name in x:
                if name != "seconds":
                    compare(x[name], y[name], f"{where}.{name}")
        elif isinstance(x, np.ndarray):
            np.testing.assert_array_equal(x, y, err_msg=where)
        else:
            assert x == y, where

    compare(a.state(), b.state(), "state")
    compare(a.candidates.state(), b.candidates.state(), "candidates")


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_compiled_loop_gives_the_same_bits_as_python(name: str):
    env, algorithm, num_envs = ALGORITHMS[name]
    more = MORE.get(name, {})
    python, compiled = (training(env, algorithm, num_envs, loop, **more) for loop in ("python", "compiled"))
    expected, found = rows(python), rows(compiled)
    assert len(expected[0]["steps"]) > 4
    check_same(expected, found)
    check_same_state(python, compiled)
    moved = flat_parameters(training(env, algorithm, num_envs, "python")._policy).numpy()
    assert np.abs(flat_parameters(compiled._policy).numpy() - moved).max() > 1e-4


@pytest.mark.parametrize(
    ("distribution", "state_dependent"),
    [
        ("gaussian", False),
        ("gaussian", True),
        ("squashed", False),
        ("squashed", True),
        ("beta", False),
        ("gsde", False),
    ],
)
def test_continuous_actions_give_the_same_bits(distribution: Any, state_dependent: bool):
    network = replace(NETWORK, distribution=distribution, state_dependent_std=state_dependent, log_std=0.5)
    algorithm = pg.PPO(horizon=32, epochs=2)
    python, compiled = (
        training("Pendulum-v1", algorithm, 4, loop, network) for loop in ("python", "compiled")
    )
    expected, found = rows(python), rows(compiled)
    assert ("clipped_actions" in found[0]) == (distribution in ("gaussian", "gsde"))
    assert ("std" in found[0]) == (distribution != "beta" and not state_dependent)
    check_same(expected, found)
    check_same_state(python, compiled)


@pytest.mark.parametrize(
    "network", [pg.Network(hidden=()), pg.Network(hidden=(8, 8), activation="relu", shared=True)]
)
@pytest.mark.parametrize(
    "algorithm",
    [pg.Reinforce(), pg.A2C(), pg.PPO(horizon=32, epochs=2), pg.ActorCritic(policy_trace=0.5)],
    ids=lambda a: type(a).__name__,
)
def test_linear_and_shared_networks_give_the_same_bits(algorithm: Any, network: pg.Network):
    python, compiled = (
        training("CartPole-v1", algorithm, 4, loop, network) for loop in ("python", "compiled")
    )
    check_same(rows(python), rows(compiled))
    check_same_state(python, compiled)


@pytest.mark.parametrize(
    "name", ["reinforce", "a2c", "ppo", "actor-critic", "traces", "shaped and normalized", "no baseline"]
)
def test_where_a_call_ends_changes_nothing(name: str):
    env, algorithm, num_envs = ALGORITHMS[name]
    results = []
    for per_call in (1, 7, 1_000):
        one = training(env, algorithm, num_envs, "compiled", **MORE.get(name, {}))
        assert one._compiled is not None
        one._compiled.rows_per_call = per_call
        iterations = list(one)
        assert max(len(each.table) for each in iterations) <= per_call
        results.append((rows(iterations), one))
    for found, one in results[1:]:
        check_same(results[0][0], found)
        check_same_state(results[0][1], one)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_either_loop_continues_what_the_other_began(name: str):
    env, algorithm, num_envs = ALGORITHMS[name]
    more = MORE.get(name, {})
    whole = training(env, algorithm, num_envs, "python", **more)
    expected = rows(whole)
    orders: list[tuple[LoopName, LoopName]] = [("python", "compiled"), ("compiled", "python")]
    for first_loop, second_loop in orders:
        first, second = (
            training(env, algorithm, num_envs, loop, **more) for loop in (first_loop, second_loop)
        )
        if first._compiled is not None:
            first._compiled.rows_per_call = 3
        begun = list(islice(first, 3 if first_loop == "python" else 1))
        assert second.restore(first.state())
        second.candidates.restore(first.candidates.state())
        check_same(expected, rows([*begun, *second]))
        check_same_state(whole, second)


def test_a_call_ends_when_the_threshold_is_reached_and_when_something_is_due():
    algorithm = pg.Reinforce()
    one = training("CartPole-v1", algorithm, 8, "compiled", steps=200_000, threshold=100.0, stop=True)
    for iteration in one:
        if iteration.solved:
            break
    means = iteration.column("return_100")
    assert means[-1] >= 100 > means[:-1].max(initial=0)
    other = training("CartPole-v1", algorithm, 8, "compiled", steps=50_000)
    other.pause_at = 10_000
    steps = next(iter(other)).column("steps")
    while steps[-1] < 10_000:
        steps = next(iter(other)).column("steps")
    assert steps[-1] >= 10_000 > steps[:-1].max(initial=0)


def test_seconds_increase_with_the_steps_of_a_call():
    one = training("CartPole-v1", pg.A2C(), 8, "compiled", steps=20_000)
    iterations = list(one)
    seconds = np.concatenate([each.column("seconds") for each in iterations])
    assert max(len(each.table) for each in iterations) > 10
    assert (np.diff(seconds) > 0).all()
    assert seconds[0] > 0


@pytest.mark.parametrize("loop", ["python", "compiled"])
def test_a_learning_rate_that_diverges_names_what_is_not_finite(loop: LoopName):
    algorithm = pg.A2C(learning_rate=1e30, optimizer="sgd", max_grad_norm=None)
    one = training("CartPole-v1", algorithm, 4, loop)
    seen = []
    with pytest.raises(
        pg.NonFiniteError, match=r"(V\(s\)|log π\(a\|s\)|policy|value|advantage|target).* not finite"
    ):
        seen.extend(one)
    assert np.isfinite(flat_parameters(one._policy).numpy()).all() or loop == "compiled"


EVERYTHING_ELSE: dict[str, tuple[Any, dict[str, Any], str]] = {
    "environment": (
        pg.A2C(),
        {"env": "CartPole-v1", "backend": "gymnasium"},
        "the environments are not compiled",
    ),
    "engine": (pg.A2C(), {"engine": "autograd"}, "the engine is autograd"),
    "update": (pg.TRPO(), {}, "TRPO has an update of its own"),
    "q": (pg.ActorCritic(critic="q"), {}, "these settings of ActorCritic have no recipe"),
    "baseline": (
        pg.Reinforce(baseline="optimal"),
        {},
        "the optimal baseline needs the gradient of each sample",
    ),
    "requested": (pg.A2C(), {"loop": "python"}, "requested"),
}


@pytest.mark.parametrize("name", EVERYTHING_ELSE)
def test_a_run_says_why_it_uses_python(name: str, capsys: pytest.CaptureFixture[str]):
    algorithm, settings, reason = EVERYTHING_ELSE[name]
    settings = {"env": "CartPole-v1", "steps": 64, "num_envs": 2, "select": False} | settings
    pg.train(settings.pop("env"), algorithm, progress=True, **settings)
    assert f"loop: Python ({reason})" in capsys.readouterr().err


def test_auto_compiles_the_loop_once_it_pays(monkeypatch: pytest.MonkeyPatch):
    """On a new machine a run begins in Python, and continues in machine code with the same bits."""
    monkeypatch.setattr("policygrad.training.compiled_training.is_cached", lambda: False)
    monkeypatch.setattr("policygrad.training.training._Python.seconds", 0.0)
    monkeypatch.setattr("policygrad.training.training.HOT", 0.02)
    said = list[str]()
    one = training("CartPole-v1", pg.A2C(), 4, "auto", steps=20_000, say=said.append)
    assert said == ["loop: Python (machine code takes its place after 0.02 s, once it is worth compiling)"]
    iterations = list(one)
    assert one._compiled is not None
    sizes = [len(each.table) for each in iterations]
    assert sizes[0] == 1
    assert max(sizes) > 1
    python = training("CartPole-v1", pg.A2C(), 4, "python", steps=20_000)
    check_same(rows(python), rows(iterations))
    check_same_state(python, one)


def test_an_own_learn_is_called(capsys: pytest.CaptureFixture[str]):
    calls = []

    class Mine(pg.A2C):
        def learn(self, engine: Any, rollout: Any, learner: Any) -> dict[str, float]:
            calls.append(rollout.num_samples)
            return super().learn(engine, rollout, learner)

    pg.train("CartPole-v1", Mine(), steps=200, num_envs=4, progress=True, select=False)
    assert calls == [20] * 10
    assert "loop: Python (Mine has its own learn)" in capsys.readouterr().err


def test_a_machine_code_loop_that_cannot_be_used_is_refused_with_the_reason():
    with pytest.raises(ValueError, match=r"loop='compiled'.*TRPO has an update of its own"):
        pg.train("CartPole-v1", pg.TRPO(), loop="compiled", steps=100, progress=False)


def test_a_resumed_run_has_the_same_history(tmp_path: Any, monkeypatch: pytest.MonkeyPatch):
    """The run is interrupted in the middle, resumed in Python, and compared with one that was not."""
    from policygrad.runs.recorder import Recorder

    algorithm = pg.PPO(horizon=32, epochs=2)
    settings: dict[str, Any] = {"steps": 12_000, "num_envs": 4, "seed": 5, "progress": False, "select": False}
    whole = pg.train("CartPole-v1", algorithm, loop="compiled", **settings)
    take = Recorder._take

    def interrupted(self: Any, iteration: Iteration) -> None:
        take(self, iteration)
        if iteration.last["steps"] > 5_000:
            self._interruption.request()

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "_take", interrupted)
        begun = pg.train("CartPole-v1", algorithm, loop="compiled", out=tmp_path / "run", **settings)
    assert begun.ended == "interrupted"
    assert begun.steps < 12_000
    resumed = pg.train("CartPole-v1", algorithm, loop="python", out=tmp_path / "run", resume=True, **settings)
    for name, column in whole.history.items():
        if name != "seconds":
            np.testing.assert_array_equal(column, resumed.history[name], err_msg=name)
    np.testing.assert_array_equal(whole.episode_returns, resumed.episode_returns)
    np.testing.assert_array_equal(
        flat_parameters(whole.policy).numpy(), flat_parameters(resumed.policy).numpy()
    )


def test_an_environment_that_fails_is_named_after_what_was_learned_before():
    def observe(state: Any, observation: Any) -> None:
        observation[0] = np.float32(np.nan) if state[0] > 700 else np.float32(state[1])

    def reset(state: Any, rng: Any) -> None:
        state[1] = 0.0

    def step(state: Any, action: Any, rng: Any) -> Any:
        state[0] += 1
        state[1] += 0.1
        return action[0], state[1] > 0.5

    kernel = pg.Kernel(
        "Fails", spaces.Box(-1, 9, (1,)), spaces.Discrete(2), np.zeros(2), 10, reset, step, observe
    )
    found = []
    for loop in ("python", "compiled"):
        one, taken = training(kernel, pg.A2C(), 2, loop), list[Iteration]()
        with pytest.raises(pg.NonFiniteError) as error:
            taken.extend(one)
        found.append((str(error.value), rows(taken)))
    assert found[0][0] == found[1][0]
    assert "observe of environment 0" in found[0][0]
    check_same(found[0][1], found[1][1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"normalization": BOTH}, "running variance is not finite.*magnitude 1e\\+300"),
        ({"shaping": pg.PotentialShaping(hole, 0.99)}, r"the shaped reward is not finite for \(1.0, "),
    ],
)
def test_rewards_that_cannot_be_learned_from_are_named(settings: dict[str, Any], message: str):
    def reset(state: Any, rng: Any) -> None:
        state[1] = 0.0

    def step(state: Any, action: Any, rng: Any) -> Any:
        state[0] += 1
        state[1] += 0.1
        return 1.0 if state[0] < 300 else 1e300, state[1] > 0.5

    def observe(state: Any, observation: Any) -> None:
        observation[0] = np.float32(state[0])

    box = spaces.Box(-np.inf, np.inf, (1,))
    kernel = pg.Kernel("Explodes", box, spaces.Discrete(2), np.zeros(2), 10, reset, step, observe)
    found = []
    for loop in ("python", "compiled"):
        one, taken = training(kernel, pg.A2C(), 2, loop, **settings), list[Iteration]()
        with pytest.raises(pg.NonFiniteError, match=message) as error:
            taken.extend(one)
        found.append((str(error.value), rows(taken)))
    assert found[0][0] == found[1][0]
    check_same(found[0][1], found[1][1])


def test_replacing_the_estimator_of_a_recipe_is_enough_for_a_new_algorithm():
    from policygrad.advantages.estimators import gae

    class Shorter(pg.A2C):
        @property
        def recipe(self) -> Any:
            return replace(super().recipe, estimator=gae(self.gamma, 0.5))

    python, compiled = (training("CartPole-v1", Shorter(), 4, loop) for loop in ("python", "compiled"))
    other = training("CartPole-v1", pg.A2C(gae_lambda=0.5), 4, "python")
    expected = rows(other)
    check_same(expected, rows(python))
    check_same(expected, rows(compiled))

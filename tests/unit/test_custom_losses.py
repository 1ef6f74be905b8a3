"""A user's own loss: every algorithm and both engines learn by it, and what does not fit together is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import policygrad as pg
from policygrad.algorithms import ALGORITHMS, Reinforce, loss_of
from policygrad.engines import make_engine
from policygrad.interfaces import Step, Update
from policygrad.losses import absolute, clip, exp, log, maximum, minimum, stop_gradient, traced, where
from policygrad.types import Batch, Inputs
from tests.helpers import batch_for, episodes_for, learner_state, networks, parameters, relative_error


def hearing_good_news_only(s: Any, _k: Any) -> Any:
    return -s.advantage * s.log_prob + where(s.advantage > 0, (s.value - s.target) ** 2 / 2, 0.0)


def test_a_custom_loss_sees_the_advantages_in_every_value_step():
    """If the advantages come from V(s), V(s) has to be evaluated before its first step."""
    algorithm = Reinforce(
        loss=hearing_good_news_only, gamma=0.9, value_steps=1, learning_rate=0.01, value_learning_rate=0.02
    )
    ends = []
    for engine_name in ("fused", "autograd"):
        policy, value = networks("categorical")
        engine = make_engine(policy, value, "adam", engine_name)  # type: ignore[arg-type]
        rollout = episodes_for(policy, seed=0)
        batch = algorithm.batch(rollout, engine)
        _, slope = engine.gradient(batch, algorithm.traced_loss, {})
        metrics = algorithm.learn(engine, rollout, learner_state())
        assert metrics["value_grad_norm"] == pytest.approx(np.linalg.norm(slope), rel=1e-4)
        ends.append(parameters(engine))
    assert relative_error(*ends) < 1e-4


ENGINES = ("fused", "autograd")


def spo(s: Any, k: Any) -> Any:
    """Return the loss of simple policy optimization (Xie et al. 2024)."""
    ratio = exp(s.log_prob - s.old_log_prob)
    surrogate = ratio * s.advantage - abs(s.advantage) / (2 * k.epsilon) * (ratio - 1) ** 2
    return -surrogate + k.value_coef * (s.value - s.target) ** 2 / 2


POLICY_ONLY = {
    "reinforce": pg.Reinforce, "npg": pg.NaturalGradient, "trpo": pg.TRPO,
}  # fmt: skip


def own(s: Any, k: Any) -> Any:
    return -k.beta * s.advantage * exp(s.log_prob - s.old_log_prob) - 0.01 * s.entropy


def mixed(s: Any, k: Any) -> Any:
    return (s.value - s.target) * s.log_prob * where(s.entropy > 0.5, 1.0, 0.5) + s.value**2


def own_with_value(s: Any, k: Any) -> Any:
    return own(s, k) + absolute(s.value - s.target)


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_every_algorithm_takes_a_loss(name: str, engine: Any):
    loss = own if name in POLICY_ONLY else own_with_value
    algorithm = ALGORITHMS[name](loss=loss, coefficients={"beta": pg.linear(1.0, 0.5)})  # type: ignore[call-arg]
    options: dict[str, Any] = {"steps": 300, "num_envs": 4, "engine": engine, "select": False}
    mine, usual = (pg.train("CartPole-v1", a, **options).last_policy for a in (algorithm, ALGORITHMS[name]()))
    assert any(not torch.equal(w, usual.state_dict()[key]) for key, w in mine.state_dict().items())


@pytest.mark.parametrize("name", ["spo", "own_with_value", "mixed"])
@pytest.mark.parametrize("weighted", [False, True])
def test_both_engines_compute_the_gradient_of_the_mean_loss(name: str, weighted: bool):
    """It equals the gradient that torch computes from the function itself and the same networks."""
    function = {"spo": spo, "own_with_value": own_with_value, "mixed": mixed}[name]
    loss = traced(function)
    coefficients = {"epsilon": 0.2, "value_coef": 0.7, "beta": 0.3}
    rng, B = np.random.default_rng(0), 700
    space = gym.spaces.Box(-np.inf, np.inf, (3,))
    policy = pg.Policy(pg.DiscretePolicy(3, 2, (8,), rng=rng), space, gym.spaces.Discrete(2))
    value = pg.ValueNetwork(3, (8,), rng=rng)
    x, action = rng.normal(size=(B, 3)).astype(np.float32), rng.integers(0, 2, B)
    columns = {column: rng.normal(size=B).astype(np.float32) for column in loss.columns}
    weight = rng.uniform(0, 2, B).astype(np.float32) if weighted else None
    batch = Batch(Inputs(x), action, columns, weight=weight)
    found = [
        make_engine(policy, value, "sgd", engine).gradient(batch, loss, coefficients) for engine in ENGINES
    ]
    outputs = policy(Inputs(torch.from_numpy(x)))
    tensors = {
        "log_prob": policy.distribution.log_prob(outputs, torch.from_numpy(action)),
        "entropy": policy.distribution.entropy(outputs),
        "value": value(torch.from_numpy(x)).reshape(B),
        **{column: torch.from_numpy(numbers) for column, numbers in columns.items()},
    }
    weights = torch.ones(B) if weight is None else torch.from_numpy(weight)
    mean = (weights * loss.of_tensors(tensors, coefficients)).sum() / weights.sum()
    parameters = [list(policy.parameters()), list(value.parameters())]
    for i in range(2):
        slopes = torch.autograd.grad(mean, parameters[i], retain_graph=True)
        expected = torch.cat([slope.reshape(-1) for slope in slopes]).numpy()
        for gradient in found:
            assert gradient[i] == pytest.approx(expected, rel=1e-4, abs=1e-6)
        assert np.abs(expected).max() > 1e-3


@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_ppo_with_its_own_loss_written_again_is_bit_identical(engine: Any):
    def again(s: Any, k: Any) -> Any:
        ratio = exp(s.log_prob - s.old_log_prob)
        surrogate = minimum(ratio * s.advantage, clip(ratio, 1 - k.clip, 1 + k.clip) * s.advantage)
        near = s.old_value + clip(s.value - s.old_value, -k.value_clip, k.value_clip)
        value_loss = maximum((s.value - s.target) ** 2, (near - s.target) ** 2) / 2
        penalty = k.kl_penalty * (ratio - 1 - (s.log_prob - s.old_log_prob))
        return -surrogate + penalty - k.entropy_coef * s.entropy + k.value_coef * value_loss

    options: dict[str, Any] = {"horizon": 32, "epochs": 2, "entropy_coef": 0.01}
    runs = [
        pg.train("CartPole-v1", pg.PPO(**options, **more), steps=800, engine=engine, select=False)
        for more in ({}, {"loss": again})
    ]
    first, second = (run.last_policy.state_dict() for run in runs)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert loss_of(pg.PPO(loss=again)).digest == loss_of("ppo").digest


def test_coefficients_are_scheduled_by_their_names():
    algorithm = pg.PPO(loss=spo, coefficients={"epsilon": pg.linear(0.4, 0.2)}, value_coef=0.7)
    assert algorithm.coefficient_values(0.5) == pytest.approx({"epsilon": 0.3, "value_coef": 0.7})
    assert pg.PPO(clip=0.2, clip_end=0.0).coefficient_values(0.25)["clip"] == pytest.approx(0.15)
    assert pg.PPO(clip=None, kl_penalty=1.0).coefficient_values(0.0)["clip"] == math.inf
    assert pg.PPO().coefficient_values(0.0, kl_penalty=3.0)["kl_penalty"] == 3.0


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: pg.PPO(loss=lambda s, k: s.value), pg.LossError, r"losses.py:\d+\) does not depend on s.log_prob"),
        (lambda: pg.PPO(loss=lambda s, k: -s.log_prob), pg.LossError, r"no term for V\(s\)"),
        (lambda: pg.PPO(loss=own_with_value), pg.LossError, r"there is no k\.beta\. .*coefficients=\{'beta': 0.1\}"),
        (lambda: pg.PPO(loss=spo, coefficients={"epsilom": 1}), pg.LossError, "did you mean k.epsilom"),
        (lambda: pg.PPO(loss=lambda s, k: -s.log_prob * s.adventage), pg.LossError, "did you mean s.advantage"),
        (lambda: pg.PPO(coefficients={"beta": 1}), ValueError, "does not read the coefficient 'beta'"),
        (lambda: pg.PPO(columns={"c": len}), ValueError, "does not read the column 'c'"),
        (lambda: pg.PPO(coefficients={"_b": 0.3}), ValueError, "an identifier that does not start with _"),
        (lambda: pg.PPO(columns={"a b": len}), ValueError, "an identifier that does not start with _"),
        (lambda: pg.Reinforce(coefficients={"policy_scale": 3.0}), ValueError, "policy_scale is computed by Reinforce"),
        (
            lambda: pg.Reinforce(loss=lambda s, k: -s.log_prob * s.advantage, average="episodes"),
            ValueError,
            "average='episodes' would be ignored",
        ),
        (lambda: pg.PPO(coefficients={"clip": 0.3}), ValueError, "clip is a field of PPO: set clip=0.3"),
        (lambda: pg.PPO(columns={"advantage": len}), ValueError, "exists already"),
        (lambda: pg.PPO(coefficients={"b": "x"}), ValueError, "must be a number, or linear"),
        (lambda: pg.PPO(coefficients={"b": math.nan}), ValueError, "must be a number, or linear"),
        (lambda: pg.PPO(coefficients=3), TypeError, "coefficients must be a dict"),
        (lambda: pg.PPO(loss=spo, coefficients={"epsilon": 1}, clip=0.3), ValueError, "clip=0.3 would be ignored"),
        (lambda: pg.PPO(loss=spo, coefficients={"epsilon": 1}, clip_end=0.1), ValueError, "clip_end=0.1 would be"),
        (
            lambda: pg.Reinforce(baseline="time", loss=lambda s, k: -s.log_prob * s.old_value),
            pg.LossError,
            r"s.old_value: with baseline='time' no V\(s\) is learned",
        ),
        (lambda: pg.TRPO(loss=lambda s, k: -s.log_prob * s.value), pg.LossError, "for the policy only"),
        (lambda: pg.TRPO(derivatives=lambda s, k: (-1, 0, 0)), ValueError, "TRPO needs the value of the loss"),
        (lambda: pg.ActorCritic(loss=own_with_value, coefficients={"beta": 1}, value_trace=0.5), ValueError, "traces"),
        (lambda: pg.PPO(loss=spo, derivatives=lambda s, k: (1, 1, 1)), Exception, "pass only one of them"),
        (lambda: pg.PPO(loss="ppo"), pg.LossError, "a loss is a function"),
        (lambda: pg.linear(1.0, math.inf), ValueError, "end must be a finite number"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_the_loss_are_refused(
    make: Callable[[], Any], kind: type[Exception], message: str
):
    with pytest.raises(kind, match=message):
        make()


@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_a_loss_that_mixes_the_networks_sees_both_when_one_is_stepped(engine: Any):
    """The policy gradient depends on V(s), which is therefore evaluated even if REINFORCE steps only the policy."""

    def mixed(s: Any, k: Any) -> Any:
        return -(s.target - stop_gradient(s.value)) * s.log_prob

    def plain(s: Any, k: Any) -> Any:
        return -(s.target - s.old_value) * s.log_prob

    policy, value = networks("categorical")
    batch, made = batch_for(policy), make_engine(policy, value, "sgd", engine)
    batch = batch.with_columns(old_value=made.values(batch.inputs))
    mixed_loss, plain_loss = (pg.Reinforce(loss=loss).traced_loss for loss in (mixed, plain))
    expected, _ = made.gradient(batch, plain_loss, {})
    assert relative_error(made.gradient(batch, mixed_loss, {})[0], expected) < 1e-5
    before = made.policy_parameters()
    made.update(Update(batch, mixed_loss, {}, Step(0.1, None)))
    assert relative_error(made.policy_parameters() - before, -0.1 * expected) < 1e-4


def test_a_subclass_can_declare_a_loss_and_coefficients():
    from dataclasses import dataclass

    @dataclass(frozen=True, kw_only=True)
    class Optimist(pg.A2C):
        loss: Any = own_with_value
        beta: float = 0.5

    algorithm = Optimist()
    assert algorithm.has_own_loss
    assert "own_with_value" in algorithm.describe_loss()["loss"]
    with pytest.raises(ValueError, match=r"entropy_coef=0\.3 would be ignored"):
        Optimist(entropy_coef=0.3)
    assert algorithm.coefficient_values(0.0) == {"beta": 0.5}
    assert replace(algorithm, beta=0.25).coefficient_values(0.0) == {"beta": 0.25}


@pytest.mark.parametrize("name", ["loss", "derivatives", "columns"])
def test_a_loss_that_a_subclass_does_not_declare_as_a_field_is_refused(name: str):
    with pytest.raises(TypeError, match=rf"Sub.{name} would be ignored, because it is not a field"):
        type("Sub", (pg.A2C,), {name: lambda self, s, k: None})


SCALE = 1.0


def test_a_global_that_changes_after_the_configuration_was_made_is_detected():
    global SCALE
    algorithm = pg.Reinforce(loss=lambda s, k: -SCALE * s.advantage * s.log_prob)
    SCALE = 5.0
    try:
        with pytest.raises(pg.LossError, match="no longer computes what it did when Reinforce was created"):
            pg.train("CartPole-v1", algorithm, steps=50)
    finally:
        SCALE = 1.0


def test_the_reported_loss_is_right_if_the_kl_limit_stops_the_policy_at_once():
    settings: dict[str, Any] = {"horizon": 32, "epochs": 3, "entropy_coef": 1.0, "value_coef": 1e-12}
    run = pg.train(
        "Pendulum-v1", pg.PPO(**settings, target_kl=1e-12, learning_rate=1e-5), steps=256, select=False
    )
    latest = run.updates.latest
    assert latest["loss"] == pytest.approx(-latest["entropy"], abs=0.05)


@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_coefficients_are_numbers_like_any_other(engine: Any):
    """Conditions, clips and functions of coefficients only work in both engines."""

    def loss(s: Any, k: Any) -> Any:
        sign = where(~(k.beta > 0.5), 1.0, -1.0)
        scale = where(k.zero > 0, 1 / k.zero, 1.0) + where(k.zero > 0, log(k.zero), 0.0)
        large = exp(where(s.advantage > 0, 100.0, 0.0)) * 1e-43
        return (
            -sign * scale * clip(k.beta, 0.0, 1.0) * s.advantage * s.log_prob * (1 + large) + 0 * s.value**0
        )

    algorithm = pg.Reinforce(loss=loss, coefficients={"beta": 0.25, "zero": 0.0})
    run = pg.train("CartPole-v1", algorithm, steps=300, engine=engine, select=False)
    assert run.ended == "budget"
    assert math.isfinite(run.updates.latest["loss"])
    assert math.isfinite(run.updates.latest["policy_grad_norm"])


def test_a_run_with_a_renamed_loss_of_the_same_graph_can_be_resumed(tmp_path: Any):
    def first(s: Any, k: Any) -> Any:
        return -s.advantage * s.log_prob * 2

    def second(s: Any, k: Any) -> Any:
        return -s.advantage * s.log_prob * 2

    options: dict[str, Any] = {"out": tmp_path / "run", "select": False}
    pg.train("CartPole-v1", pg.Reinforce(loss=first), steps=300, **options)
    assert pg.train("CartPole-v1", pg.Reinforce(loss=second), steps=600, resume=True, **options).steps >= 600


def test_a_run_with_a_loss_of_another_graph_cannot_be_resumed(tmp_path: Any):
    def first(s: Any, k: Any) -> Any:
        return -s.advantage * s.log_prob

    def second(s: Any, k: Any) -> Any:
        return -1.5 * s.advantage * s.log_prob

    second.__qualname__ = first.__qualname__
    options: dict[str, Any] = {"out": tmp_path / "run", "select": False}
    pg.train("CartPole-v1", pg.Reinforce(loss=first), steps=300, **options)
    with pytest.raises(ValueError, match="the loss computed something else"):
        pg.train("CartPole-v1", pg.Reinforce(loss=second), steps=600, resume=True, **options)
    run = pg.train("CartPole-v1", pg.Reinforce(loss=first), steps=600, resume=True, **options)
    assert run.steps >= 600


@pytest.mark.long
def test_a_compiled_loss_is_kept_for_later_processes(tmp_path: Any, monkeypatch: pytest.MonkeyPatch):
    import subprocess
    import sys

    code = """
import policygrad as pg
from numba.core import event
with event.install_recorder("numba:compile") as recorder:
    pg.train("CartPole-v1", pg.A2C(loss=lambda s, k: -1.25 * s.advantage * s.log_prob + s.value * s.target), steps=100)
print(*(e.data["dispatcher"].py_func.__name__ for _, e in recorder.buffer if e.is_start))
"""
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []

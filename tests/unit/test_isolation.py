"""Settings of torch, NumPy and BLAS that the caller has made change no result, and are restored afterwards."""

from __future__ import annotations

import contextlib
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from threadpoolctl import ThreadpoolController
from torch import nn

import policygrad as pg
from policygrad._support.lookup import named
from policygrad._support.threads import single_thread
from policygrad.engines import make_engine
from policygrad.envs.textbook import three_states
from policygrad.interfaces import Step, Update
from policygrad.policies import Policy, ValueNetwork, kl_estimate
from policygrad.proof import prove, theorem_gradient
from policygrad.types import Inputs
from tests.helpers import FULL_LOSS, HEADS, batch_for, full_coefficients, networks


@contextlib.contextmanager
def setting(change: Callable[[Any], None], value: Any, before: Any) -> Iterator[None]:
    change(value)
    try:
        yield
    finally:
        change(before)


SURROUNDINGS: dict[str, Callable[[], Any]] = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "default dtype": lambda: setting(torch.set_default_dtype, torch.float64, torch.float32),
    "default device": lambda: setting(torch.set_default_device, "meta", None),
    "autocast": lambda: torch.autocast("cpu"),
    "deterministic": lambda: setting(torch.use_deterministic_algorithms, True, False),
    "numpy raises": lambda: np.errstate(all="raise"),
}
"""Settings that a caller may have made, as contexts that restore them."""

DISTRIBUTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "softmax": ("CartPole-v1", {}),
    "gaussian": ("Pendulum-v1", {}),
    "squashed per state": ("Pendulum-v1", {"distribution": "squashed", "state_dependent_std": True}),
    "beta": ("Pendulum-v1", {"distribution": "beta"}),
    "gsde": ("Pendulum-v1", {"distribution": "gsde"}),
}
ALGORITHMS: dict[str, Any] = {
    "reinforce": pg.Reinforce(baseline="optimal", episodes_per_env=2),
    "ppo": pg.PPO(horizon=64, epochs=2, minibatch_size=32),
    "trpo": pg.TRPO(horizon=64, value_epochs=1),
    "actor-critic": pg.ActorCritic(policy_trace=0.5, value_trace=0.5),
}


def learned(algorithm: Any, kind: str, engine: Any, path: Path) -> list[np.ndarray]:
    """Return the results of training, acting, evaluating and loading."""
    env, network = DISTRIBUTIONS[kind]
    # the actor-critic updates at every step, so a few steps are enough
    steps = 20 if isinstance(algorithm, pg.ActorCritic) else 64
    run = pg.train(
        env,
        algorithm,
        steps=steps,
        num_envs=1,
        engine=engine,
        network=pg.Network((8,), **network),
        progress=False,
    )
    pg.save(run.policy, path)
    loaded = pg.load(path)
    returns = pg.evaluate(loaded, env, episodes=2).returns
    observation = np.zeros(loaded.observation_size)
    actions = [
        loaded.act(observation, greedy=greedy, rng=np.random.default_rng(0)) for greedy in (True, False)
    ]
    parameters = [p.detach().numpy().copy() for p in run.last_policy.parameters()]
    assert not any(p.is_inference() for policy in (run.policy, loaded) for p in policy.parameters())
    assert all(p.dtype == torch.float32 for p in loaded.parameters())
    return [*parameters, returns, *map(np.asarray, actions)]


@pytest.mark.parametrize("engine", ["fused", "autograd"])
@pytest.mark.parametrize("kind", DISTRIBUTIONS)
def test_settings_of_the_caller_change_no_result(kind: str, engine: Any, tmp_path: Path):
    """Networks are made, trained, saved, loaded and evaluated within these settings, with bit-identical results."""
    for name in ALGORITHMS if kind in ("softmax", "gaussian") else ("reinforce", "trpo"):
        expected = learned(ALGORITHMS[name], kind, engine, tmp_path / "plain")
        for surroundings in SURROUNDINGS.values():
            with surroundings():
                found = learned(ALGORITHMS[name], kind, engine, tmp_path / "p")
            for a, b in zip(expected, found, strict=True):
                assert a.dtype == b.dtype
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("surroundings", SURROUNDINGS)
@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_settings_of_the_caller_change_no_estimate_and_no_agent(engine: Any, surroundings: str):
    def found() -> list[Any]:
        row = prove(pg.Reinforce(discount_weighting=True), estimates=200, engine=engine).rows[0]
        agent = pg.Agent(spaces.Discrete(2), spaces.Discrete(3), seed=1, engine=engine)
        for i in range(6):
            action = agent.act(i % 2)
            agent.observe(float(action == 1), i % 2, terminated=i % 3 == 2)
        metrics = agent.update()
        softmax = Policy(
            pg.DiscretePolicy(3, 2, 4, rng=np.random.default_rng(0)), spaces.Discrete(3), spaces.Discrete(2)
        )
        theorem = theorem_gradient(three_states(2), softmax, 0.9)
        return [row.estimates, row.theory.reference, theorem, agent.policy(Inputs(torch.eye(2, dtype=torch.float32,
                device="cpu"))).detach().float().numpy(), [metrics["entropy"], metrics["kl"]]]  # fmt: skip

    expected = found()
    with SURROUNDINGS[surroundings]():
        there = found()
    # autocast rounds the outputs of the agent's policy, which the test itself computes by torch
    for i, (a, b) in enumerate(zip(expected, there, strict=True)):
        np.testing.assert_allclose(b, a, rtol=1e-2 if (surroundings, i) == ("autocast", 3) else 0)


@pytest.mark.draws_globally
@pytest.mark.parametrize("surroundings", SURROUNDINGS)
def test_settings_of_the_caller_change_no_initial_weights(surroundings: str):
    """This holds for initial weights and samples from torch's global generator."""

    def drawn() -> list[float]:
        torch.manual_seed(0)
        first, second = pg.DiscretePolicy(3, 2, 4), pg.GaussianPolicy(3, 2, 4)
        action, log_prob = second.get_action(np.ones(3))
        return [first.get_action(np.ones(3))[0], log_prob.item(), *action.tolist()]

    expected = drawn()
    with SURROUNDINGS[surroundings]():
        assert drawn() == pytest.approx(expected, rel=0.05 if surroundings == "autocast" else 1e-12)


class Tied(nn.Module):
    """A custom network with a weight that is used twice, a buffer, and the statistics of BatchNorm."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.again = nn.Linear(4, 4)
        self.again.weight = self.first.weight
        self.last = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, outputs))
        self.register_buffer("scale", torch.ones(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.tanh(self.again(torch.tanh(self.first(x * self.scale)))))


@pytest.mark.draws_globally
def test_custom_networks_that_were_made_in_inference_mode_learn():
    """They learn inside and outside of inference mode as other networks do, and shared weights stay shared."""
    ends = []
    for made_inside in (False, True):
        for trained_inside in (False, True):
            torch.manual_seed(0)
            with torch.inference_mode(made_inside):
                policy, value = Tied(2), Tied(1)
            with torch.inference_mode(trained_inside):
                pg.train(
                    "CartPole-v1", pg.PPO(horizon=64), steps=128, policy=policy, value=value, progress=False
                )
            assert policy.again.weight is policy.first.weight
            assert not any(t.is_inference() for t in policy.state_dict().values())
            policy(torch.ones(2, 4)).sum().backward()
            ends.append(torch.cat([p.detach().ravel() for m in (policy, value) for p in m.parameters()]))
    for end in ends[1:]:
        assert torch.equal(end, ends[0])


@pytest.mark.parametrize("head", HEADS)
def test_gradients_are_computed_even_if_the_caller_disabled_them(head: str):
    policy, value = networks(head)
    engine = make_engine(policy, value, "adam", "autograd")
    batch = batch_for(policy, 20)
    expected = engine.gradient(batch, FULL_LOSS, full_coefficients(1.0))
    v = np.ones(len(expected[0]), np.float32)
    curved = engine.fisher_vector_product(batch.inputs)(v)
    for surroundings in (torch.no_grad, torch.inference_mode):
        with surroundings():
            found = engine.gradient(batch, FULL_LOSS, full_coefficients(1.0))
            product = engine.fisher_vector_product(batch.inputs)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)
        with surroundings():
            np.testing.assert_array_equal(product(v), curved)


def test_a_checkpoint_can_be_restored_in_inference_mode(tmp_path: Path):
    """Outside of inference mode the engine, with the moments of its optimizer, can learn further."""
    options: dict[str, Any] = {"engine": "autograd", "network": pg.Network((8,)), "progress": False}
    whole = pg.train("CartPole-v1", pg.A2C(), steps=600, **options)
    pg.train("CartPole-v1", pg.A2C(), steps=300, out=tmp_path / "run", **options)
    with torch.inference_mode():
        run = pg.train("CartPole-v1", pg.A2C(), steps=600, out=tmp_path / "run", resume=True, **options)
    for a, b in zip(run.last_policy.parameters(), whole.last_policy.parameters(), strict=True):
        assert torch.equal(a, b)
    engine = make_engine(*networks("gaussian"), "adam", "autograd")
    batch = batch_for(networks("gaussian")[0], 20)
    update = Update(batch, FULL_LOSS, full_coefficients(1.0), Step(0.01, 0.01))
    with torch.inference_mode():
        engine.update(update)
        engine.restore(engine.state())
    engine.update(update)


def test_an_infinite_ratio_raises_no_error_of_numpy():
    """A step that goes too far is taken back, even if NumPy or Python are set to raise errors."""
    log_prob, old = np.array([-1.0, 800.0], np.float32), np.array([-1.0, 0.0], np.float32)
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(kl_estimate(log_prob, old), [0, np.inf])
        one, no = np.ones((1, 1)), np.zeros((1, 1), bool)
        target, advantage = pg.advantages.vtrace(800 * one, one, 0 * one, 2 * one, no, no, gamma=0.5)
        assert target.item() == advantage.item() == 2


class Faint(gym.Env[Any, Any]):
    """Episodes of 300 steps, whose observations are too small for float32."""

    observation_space, action_space = spaces.Box(-1, 1, (2,), np.float64), spaces.Box(-1, 1, (1,))

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.t = 0
        return np.full(2, 1e-50), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        return np.full(2, 1e-50), float(self.t == 300), self.t == 300, False, {}


def test_underflow_gives_zero_even_if_numpy_is_set_to_raise():
    """Underflow occurs in the observations, and in a discount of 0.05^300."""
    algorithm = pg.Reinforce(gamma=0.05, discount_weighting=True)
    with np.errstate(all="raise"):
        run = pg.train(Faint, algorithm, steps=300, num_envs=2, progress=False)
        assert np.geterr()["under"] == "raise"
        assert Faint.action_space.contains(run.policy.act(np.full(2, 1e-50)))


def counts() -> tuple[int, ...]:
    """Return the number of threads of torch in this thread, and of each library with a thread pool."""
    return torch.get_num_threads(), *(library["num_threads"] for library in ThreadpoolController().info())


@pytest.fixture
def two_threads() -> Iterator[tuple[int, ...]]:
    before = torch.get_num_threads()
    with ThreadpoolController().limit(limits=2):
        torch.set_num_threads(2)
        yield counts()
        torch.set_num_threads(before)


def test_nested_single_thread_blocks_end_with_the_outermost(two_threads: tuple[int, ...]):
    with single_thread():
        assert set(counts()) == {1}
        with single_thread():
            assert set(counts()) == {1}
        assert set(counts()) == {1}
    assert counts() == two_threads
    with pytest.raises(KeyError), single_thread():
        raise KeyError
    assert counts() == two_threads


@pytest.mark.parametrize("first_to_end", ["the first", "the second"])
def test_overlapping_single_thread_blocks_restore_the_original_number(
    two_threads: tuple[int, ...], first_to_end: str
):
    begun, may_end = [threading.Event() for _ in range(2)], [threading.Event() for _ in range(2)]
    inside: list[tuple[int, ...]] = []
    after: dict[int, int] = {}

    def hold(i: int) -> None:
        with single_thread():
            inside.append(counts())
            begun[i].set()
            may_end[i].wait()
            inside.append(counts())
        after[i] = torch.get_num_threads()

    holders = [threading.Thread(target=hold, args=(i,)) for i in range(2)]
    for holder, event in zip(holders, begun, strict=True):
        holder.start()
        assert event.wait(10)
    order = (0, 1) if first_to_end == "the first" else (1, 0)
    for i in order:
        may_end[i].set()
        holders[i].join(10)
    assert inside == [(1,) * len(two_threads)] * 4
    assert counts() == two_threads
    assert after == {0: 2, 1: 2}
    # a new thread has the original number too
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == 2


def test_overlapping_trainings_restore_the_number_of_threads(two_threads: tuple[int, ...]):
    with ThreadPoolExecutor(2) as pool:
        runs = [
            pool.submit(pg.train, "CartPole-v1", steps=2000, seed=seed, progress=False) for seed in range(4)
        ]
        assert [run.result().ended for run in runs] == ["budget"] * 4
        assert pool.submit(torch.get_num_threads).result() == 2
    assert counts() == two_threads


def test_a_value_network_made_in_inference_mode_learns():
    with torch.inference_mode():
        value = nn.utils.skip_init(nn.Linear, 5, 1)
        for parameter in value.parameters():
            # the memory that skip_init leaves as it was may contain a NaN
            parameter.zero_()
    policy, _ = networks("categorical")
    engine = make_engine(policy, value, "sgd", "autograd")
    _, gradient = engine.gradient(batch_for(policy, 5), FULL_LOSS, full_coefficients(1.0))
    assert gradient.any()
    assert isinstance(networks("gaussian")[1], ValueNetwork)


def test_changes_of_a_named_module_to_the_search_path_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "moves_the_path.py").write_text("import sys\nsys.path.insert(0, 'elsewhere')\nthing = 3\n")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    monkeypatch.setattr(sys, "path", list(before))
    assert named("--env", "moves_the_path:thing") == 3
    assert sys.path == ["elsewhere", *before]

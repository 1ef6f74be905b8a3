"""One run on several actors: the same as without them, in this process and in others, also after one is lost."""

from __future__ import annotations

import pickle
import socket
import threading
from dataclasses import replace
from multiprocessing import AuthenticationError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

import policygrad as pg
from policygrad.errors import ActorLostError
from policygrad.parallel import Request, Server, connect, parallel_engine
from policygrad.parallel.numbering import numbers, rows_by_actor
from policygrad.policies import flat_parameters
from policygrad.runs.experiment import Experiment
from policygrad.runs.settings import settings_from
from policygrad.training.recovery import Recovery
from tests.helpers import same_parameters
from tests.helpers.actors import Processes

BOTH = pg.Normalization(normalize_observations=True, normalize_rewards=True)
SMALL: dict[str, Any] = {"network": pg.Network(hidden=(16,)), "select": False, "loop": "python"}
LIMITED = {"target_kl": 0.01, "kl_penalty": 1.0, "kl_penalty_target": 0.01, "value_clip": 0.2}


def cart_pole() -> gym.Env[Any, Any]:
    return gym.make("CartPole-v1")


UPDATES: list[tuple[Any, Any, dict[str, Any]]] = [
    ("CartPole-v1", pg.PPO(horizon=128, minibatch_size=768, epochs=2, optimizer="sgd"), {}),
    ("CartPole-v1", pg.PPO(horizon=128, minibatch_size=768, epochs=2, optimizer="sgd", **LIMITED), {}),
    (
        "CartPole-v1",
        pg.PPO(
            horizon=128, minibatch_size=768, epochs=2, normalize_advantages="batch", recompute_advantages=True
        ),
        {},
    ),
    (
        "Pendulum-v1",
        pg.PPO(horizon=128, minibatch_size=768, epochs=2, optimizer="sgd"),
        {"normalization": BOTH},
    ),
    ("CartPole-v1", pg.A2C(horizon=128), {"normalization": BOTH}),
    ("CartPole-v1", pg.A2C(horizon=128), {"network": pg.Network(hidden=(16,), shared=True)}),
    (cart_pole, pg.A2C(horizon=128), {"engine": "autograd", "vectorize": "sync"}),
    ("CartPole-v1", pg.Reinforce(), {}),
    ("CartPole-v1", pg.Reinforce(baseline="value", episodes_per_env=3), {}),
    ("CartPole-v1", pg.Reinforce(baseline="optimal"), {}),
    ("CartPole-v1", pg.TRPO(horizon=128, value_minibatches=1), {}),
    # conjugate gradients multiply rounding errors
    ("Pendulum-v1", pg.NaturalGradient(horizon=128), {"normalization": BOTH, "updates": 2}),
]
"""Environments, algorithms and settings of runs whose steps are large enough for partial gradients."""


def train(env: Any, algorithm: Any, *, updates: int = 4, **settings: Any) -> pg.Run:
    steps = updates * 12 * getattr(algorithm, "horizon", 25)
    return pg.train(env, algorithm, **{**SMALL, "num_envs": 12, "steps": steps, **settings})


@pytest.mark.parametrize(("env", "algorithm", "settings"), UPDATES)
def test_a_run_with_actors_is_the_same_as_without(env: Any, algorithm: Any, settings: Any):
    alone, shared = train(env, algorithm, **settings), train(env, algorithm, actors=3, **settings)
    a, b = (flat_parameters(run.last_policy).numpy() for run in (alone, shared))
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)
    assert len(alone.updates) == len(shared.updates) > 1
    assert alone.episode_returns.tolist() == pytest.approx(shared.episode_returns.tolist())
    assert list(alone.updates.latest) == list(shared.updates.latest)
    # what rounding decides by itself, or relative to almost nothing, is left out
    loose = ("seconds", "cg_residual", "gradient_snr", "noise_scale", "clip_share")
    for name in set(alone.updates.latest) - set(loose):
        np.testing.assert_allclose(
            alone.history[name], shared.history[name], rtol=1e-3, atol=1e-4, err_msg=name, equal_nan=True
        )


def test_partial_gradients_are_computed_where_steps_are_large(monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []
    ask = parallel_engine.ParallelEngine.ask

    def note(self: Any, method: str, arguments: Any) -> Any:
        asked.append(method)
        return ask(self, method, arguments)

    monkeypatch.setattr(parallel_engine.ParallelEngine, "ask", note)
    train("CartPole-v1", UPDATES[0][1], actors=3, updates=1)
    assert asked == ["begin_steps", "gradient", "gradient"] * 2
    asked.clear()
    train("CartPole-v1", pg.PPO(horizon=16), actors=3, updates=1)
    assert not asked


@pytest.mark.parametrize("algorithm", [pg.PPO(horizon=16), pg.A2C(horizon=5)])
def test_small_steps_are_bit_identical(algorithm: Any):
    runs = [train("Pendulum-v1", algorithm, actors=actors, updates=20) for actors in (None, 1, 5)]
    assert same_parameters(runs[0].last_policy, runs[1].last_policy)
    assert same_parameters(runs[0].last_policy, runs[2].last_policy)


def test_statistics_of_observations_are_those_of_all_actors():
    runs = [
        train("Pendulum-v1", pg.A2C(horizon=20), actors=actors, normalization=BOTH, updates=1)
        for actors in (None, 4)
    ]
    alone, shared = (run.last_policy.observation_moments for run in runs)
    assert alone is not None
    assert shared is not None
    for one, other in zip(alone.arrays(), shared.arrays(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    assert alone.count == 240


def test_actors_may_have_different_numbers_of_environments_and_use_several_cores():
    runs = [train("CartPole-v1", pg.A2C(horizon=128), num_envs=7, actors=3, cores=cores) for cores in (1, 2)]
    np.testing.assert_allclose(*(flat_parameters(run.last_policy).numpy() for run in runs), atol=1e-5)
    assert runs[0].updates.latest["steps"] == 4 * 12 * 128 - (4 * 12 * 128) % (7 * 128) + 7 * 128


@pytest.mark.parametrize(
    "algorithm", [pg.PPO(horizon=64, minibatch_size=768), pg.Reinforce(episodes_per_env=2)]
)
def test_a_run_with_actors_is_resumed_exactly(tmp_path: Path, algorithm: Any):
    whole = train("CartPole-v1", algorithm, actors=2, updates=8)
    out = tmp_path / "run"
    train("CartPole-v1", algorithm, actors=2, updates=3, out=out)
    resumed = train("CartPole-v1", algorithm, actors=2, updates=8, out=out, resume=True)
    assert same_parameters(whole.last_policy, resumed.last_policy)
    assert whole.episode_returns.tolist() == resumed.episode_returns.tolist()


def test_shaping_and_values_of_info_reach_the_leader():
    class WithInfo(gym.Wrapper[Any, Any, Any, Any]):
        def step(self, action: Any) -> Any:
            *rest, info = self.env.step(action)
            return (*rest, {**info, "twice": 2.0})

    runs = [
        train(
            lambda: WithInfo(cart_pole()),
            pg.A2C(horizon=32),
            actors=actors,
            log_info=("twice",),
            shaping=lambda reward, *_: 2 * reward,
        )
        for actors in (None, 2)
    ]
    for run in runs:
        assert run.updates.latest["info_twice"] == 2.0
        assert run.updates.latest["shaped_return"] == 2 * run.updates.latest["return"]
    assert runs[0].episode_returns.tolist() == runs[1].episode_returns.tolist()


@pytest.mark.parametrize(
    ("env", "algorithm", "settings", "message"),
    [
        ("CartPole-v1", pg.ActorCritic(), {}, "is for reinforce, a2c, ppo, trpo and npg, and not for actor-critic"),
        ("CartPole-v1", pg.PPO(), {"num_envs": 2}, "needs at least as many environments, and num_envs is 2"),
        (gym.make("CartPole-v1"), pg.A2C(), {"num_envs": 3}, "each one needs environments of its own"),
        ("CartPole-v1", pg.PPO(), {"loop": "compiled"}, "actors compute the updates"),
        ("CartPole-v1", pg.PPO(), {"actors": 0}, "actors"),
        ("CartPole-v1", pg.PPO(), {"policy": lambda d, n: nn.Sequential(nn.Linear(d, n), nn.Dropout())}, "Dropout"),
    ],
)  # fmt: skip
def test_what_actors_cannot_share_is_refused(env: Any, algorithm: Any, settings: Any, message: str):
    with pytest.raises(ValueError, match=message):
        pg.train(env, algorithm, **{"actors": 3, "num_envs": 4, "steps": 1000, **settings})


@pytest.mark.draws_globally
def test_networks_that_share_parameters_are_refused_and_other_classes_of_networks_are_not():
    shared = nn.Linear(4, 8)
    options = {"steps": 1000, "actors": 2, "num_envs": 4}
    policy, value = (nn.Sequential(shared, nn.Tanh(), nn.Linear(8, outputs)) for outputs in (2, 1))
    with pytest.raises(ValueError, match="networks that share parameters"):
        pg.train("CartPole-v1", pg.A2C(), policy=policy, value=value, **options)

    class Own(nn.Module):
        def __init__(self, state_dim: int, action_dim: int) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(state_dim, 8), nn.Linear(8, action_dim)

        def forward(self, state: Any) -> Any:
            return self.second(self.first(state).tanh())

    runs = list[pg.Run]()
    for actors in (None, 2):
        torch.manual_seed(0)
        runs.append(pg.train("CartPole-v1", pg.A2C(horizon=64), policy=Own, **options | {"actors": actors}))
    a, b = (flat_parameters(run.last_policy).numpy() for run in runs)
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


def test_threads_and_environments_are_closed():
    closed: list[int] = []

    class Closing(gym.Wrapper[Any, Any, Any, Any]):
        def close(self) -> None:
            closed.append(1)
            self.env.close()

    opened: list[int] = []

    def some() -> gym.Env[Any, Any]:
        opened.append(1)
        if len(opened) > limit:
            raise RuntimeError("no more licenses")
        return Closing(cart_pole())

    limit = 100
    options = {"actors": 2, "num_envs": 4, "vectorize": "sync", "select": False}
    pg.train(some, pg.A2C(), steps=100, cores=2, **options)
    before = threading.active_count()
    pg.train(some, pg.A2C(), steps=100, cores=2, **options)
    assert threading.active_count() == before
    assert len(closed) == len(opened) == 10
    limit = len(opened) + 4
    with pytest.raises(RuntimeError, match="no more licenses"):
        pg.train(some, pg.A2C(), steps=100, **options)
    # those of the leader and of the first actor; the second one was not complete
    assert len(closed) == 13


def test_an_algorithm_with_its_own_update_is_refused():
    class Own(pg.PPO):
        def learn(self, *arguments: Any) -> dict[str, float]:
            return super().learn(*arguments)

    with pytest.raises(ValueError, match="executes the updates of PPO, but Own has its own learn"):
        pg.train("CartPole-v1", Own(), actors=2, steps=1000)


def test_numbers_name_an_actor_and_a_row():
    some = np.concatenate([numbers(1, 5, 3), numbers(0, 0, 2), numbers(1, 0, 1)])
    (places, rows), (more, others), (none, empty) = rows_by_actor(some, 3)
    assert places.tolist() == [3, 4]
    assert rows == slice(0, 2)
    assert more.tolist() == [0, 1, 2, 5]
    assert isinstance(others, np.ndarray)
    assert others.tolist() == [5, 6, 7, 0]
    assert not len(none)
    assert empty == slice(0, 0)


@pytest.mark.long
def test_actors_in_processes_give_the_same_bits_even_if_one_is_killed():
    algorithm = pg.PPO(horizon=32, minibatch_size=768, epochs=2)
    settings = {"network": pg.Network(hidden=(16,)), "num_envs": 24, "steps": 20 * 24 * 32, "actors": 2}
    processes = Processes()

    def shrink(update: pg.Update) -> None:
        # what a user changes is part of what is repeated
        flat_parameters(update.policy).mul_(0.99)

    def shrink_and_kill(update: pg.Update) -> None:
        shrink(update)
        if len(update.run.updates) in (3, 7):
            processes.current[len(update.run.updates) % 2].process.kill()

    expected = pg.train("CartPole-v1", algorithm, select=False, on_update=shrink, **settings)
    run = processes.train("CartPole-v1", algorithm, select=False, on_update=shrink_and_kill, **settings)
    assert same_parameters(expected.last_policy, run.last_policy)
    assert expected.episode_returns.tolist() == run.episode_returns.tolist()
    lost = [message for message in processes.display.messages if "was lost" in message]
    assert len(lost) == 2
    assert "actor 2 was lost: its process ended with exit code -9" in lost[0]


@pytest.mark.long
def test_an_update_in_which_an_actor_is_lost_is_repeated_exactly():
    algorithm = pg.PPO(horizon=32, minibatch_size=768, epochs=3)
    settings = {**SMALL, "num_envs": 24, "steps": 4 * 24 * 32, "actors": 2}
    expected = pg.train("CartPole-v1", algorithm, **settings)
    processes = Processes(kill=("gradient", 5, 1))
    run = processes.train("CartPole-v1", algorithm, **settings)
    assert any("was lost" in message for message in processes.display.messages)
    assert same_parameters(expected.last_policy, run.last_policy)
    assert expected.episode_returns.tolist() == run.episode_returns.tolist()
    assert len(expected.updates) == len(run.updates)


def test_an_update_in_which_actors_are_lost_again_and_again_is_given_up():
    replaced, restored, said = list[int](), list[Any](), list[str]()
    collector: Any = SimpleNamespace(state=lambda: {"steps": [1]})
    actors = SimpleNamespace(replace_lost=lambda: replaced.append(1))
    team: Any = SimpleNamespace(actors=actors, note_change=lambda: None)

    def restore(state: Any) -> bool:
        restored.append(state)
        # as a collector does that continues in place
        state["collector"]["steps"].append(2)
        return False

    recovery = Recovery(team, collector, lambda state: {"collector": state}, restore, said.append)
    outcomes = iter([ActorLostError("first"), ActorLostError("second"), None])

    def update() -> str:
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome
        return "done"

    assert recovery.updated(update) == "done"
    assert len(replaced) == 2
    assert restored[1] == {"collector": {"steps": [1, 2]}}
    assert said[0].startswith("first. Another actor takes its place")
    assert said[1] == "the episodes that were in progress cannot be resumed, so new ones begin"
    outcomes = iter([ActorLostError("again")] * 3)
    with pytest.raises(ActorLostError, match="lost 3 times in the same update, at last because again"):
        recovery.updated(update)
    assert len(replaced) == 4


class WithLength(gym.Wrapper[Any, Any, Any, Any]):
    """Tells the length of the episode so far."""

    length = 0

    def reset(self, **options: Any) -> Any:
        self.length = 0
        return self.env.reset(**options)

    def step(self, action: Any) -> Any:
        self.length += 1
        *rest, info = self.env.step(action)
        return (*rest, {**info, "length": self.length})


def with_length() -> gym.Env[Any, Any]:
    return WithLength(cart_pole())


@pytest.mark.long
def test_without_a_state_of_the_environments_new_episodes_begin():
    processes = Processes(("values", 2, 0))
    settings = {"num_envs": 4, "actors": 2, "steps": 2_000, "vectorize": "sync", "log_info": ("length",)}
    run = processes.train(with_length, pg.A2C(horizon=32), **settings)
    assert run.steps >= 2_000
    assert any("so new ones begin" in message for message in processes.display.messages)
    # the episodes of the update that was repeated are not counted
    np.testing.assert_array_equal(run.history["info_length"], run.history["episode_length"])


@pytest.mark.long
def test_an_error_of_an_actor_has_its_whole_traceback():
    processes = Processes()
    options = {"num_envs": 2, "actors": 1, "vectorize": "sync"}
    with pytest.raises(pg.NonFiniteError, match="reward") as caught:
        processes.train(infinite_after_a_while, pg.A2C(horizon=32), steps=10_000, **options)
    error = caught.value.__cause__
    assert error is not None
    assert "in _check_rewards" in str(error.__cause__)


class Infinite(gym.RewardWrapper[Any, Any]):
    steps = 0

    def reward(self, reward: Any) -> float:
        self.steps += 1
        return np.inf if self.steps > 50 else float(reward)


def infinite_after_a_while() -> gym.Env[Any, Any]:
    return Infinite(cart_pole())


def test_a_server_turns_away_those_who_do_not_know_its_key():
    server = Server("127.0.0.1")
    share = Experiment("CartPole-v1", *settings_from({"actors": 1}).resolved("CartPole-v1", "a2c")).share(
        0, 0
    )
    thread = threading.Thread(target=server.serve, args=(share,))
    thread.start()
    with socket.create_connection((server.address.host, server.address.port)) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(AuthenticationError):
        connect(replace(server.address, key=b"guessed"))
    with connect(server.address) as leader:
        leader.send_bytes(pickle.dumps(Request("echo", (b"hello",))))
        assert pickle.loads(leader.recv_bytes()) == (True, b"hello")
    thread.join(10)
    assert not thread.is_alive()
    with pytest.raises(ConnectionError, match="cannot be reached from this machine"):
        connect(server.address)

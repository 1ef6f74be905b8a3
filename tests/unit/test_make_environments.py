"""Making environments and networks from ids, names and factories, with arguments and wrappers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv
from torch import nn

import policygrad as pg
from policygrad.cli import main
from policygrad.cli.keywords import keywords
from policygrad.envs import make
from tests.helpers import Countdown

MODULE = """
import gymnasium as gym
import numpy as np
from gymnasium import spaces
from torch import nn


class Room(gym.Env):
    observation_space = spaces.Box(-1, 1, (3,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, size=4, name="plain"):
        self.size, self.name, self.t = size, name, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(3, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.zeros(3, np.float32), float(self.size), self.t == self.size, False, {}


class Double(gym.RewardWrapper):
    def reward(self, reward):
        return 2 * reward


class Net(nn.Module):
    def __init__(self, state_dim, action_dim):
        super().__init__()
        self.layer = nn.Linear(state_dim, action_dim)

    def forward(self, state):
        return self.layer(state)


def make_value(state_dim):
    return nn.Linear(state_dim, 1)


gym.register("Room-v3", entry_point=Room)
"""


@pytest.fixture
def rooms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write a module `rooms`, which registers an id, to the working directory."""
    (tmp_path / "rooms.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    gym.registry.pop("Room-v3", None)
    import sys

    sys.modules.pop("rooms", None)


def test_an_id_with_its_module_can_be_trained_on_and_evaluated(
    rooms: Path, capsys: pytest.CaptureFixture[str]
):
    run = pg.train("rooms:Room-v3", pg.Reinforce(), steps=40, num_envs=2, env_kwargs={"size": 5})
    assert run.environment == "rooms:Room-v3"
    assert set(run.episode_returns) == {25.0}
    options = [
        "--env-kwargs",
        "size=3",
        "name=odd",
        "--wrap",
        "rooms:Double",
        "--steps",
        "40",
        "--episodes",
        "3",
    ]
    assert main(["train", "rooms:Room-v3", "--out", "run", *options]) == 0
    assert "18.0" in capsys.readouterr().out
    config = json.loads(Path("run/config.json").read_text())
    assert config["environment_id"] == "rooms:Room-v3"
    assert config["env_kwargs"] == {"size": 3, "name": "odd"}
    assert config["wrap"] == ["rooms:Double"]
    # evaluation makes the environment as training did
    assert main(["evaluate", "run", "--episodes", "3", "--policy", "greedy"]) == 0
    assert "18.0" in capsys.readouterr().out
    assert main(["evaluate", "run", "--episodes", "3", "--policy", "greedy", "--env-kwargs", "size=2"]) == 0
    assert "8.0" in capsys.readouterr().out


def test_a_factory_given_by_name_accepts_arguments(rooms: Path):
    assert (
        main(
            [
                "train",
                "rooms:Room",
                "--env-kwargs",
                "size=2",
                "--steps",
                "20",
                "--out",
                "run",
                "--episodes",
                "2",
            ]
        )
        == 0
    )
    run = pg.train("rooms:Room", pg.Reinforce(), steps=20, env_kwargs={"size": 2}, num_envs=1)
    assert set(run.episode_returns) == {4.0}
    assert pg.evaluate(pg.load("run"), "rooms:Room", 2, env_kwargs={"size": 3}).mean == 9.0


def test_wrappers_are_functions_or_names_and_the_first_is_innermost(rooms: Path):
    class Plus(gym.RewardWrapper):
        def reward(self, reward: Any) -> float:
            return float(reward) + 1

    run = pg.train("rooms:Room-v3", pg.Reinforce(), steps=20, num_envs=1, wrap=("rooms:Double", Plus))
    assert set(run.episode_returns) == {4 * (2 * 4 + 1)}
    with pytest.raises(TypeError, match=r"a wrapper returned type int; expected a gymnasium\.Env"):
        make("rooms:Room-v3", 1, wrap=(lambda env: 3,))
    with pytest.raises(ValueError, match=r"wrap rooms:Triple could not be imported: .*Triple"):
        make("rooms:Room-v3", 1, wrap=("rooms:Triple",))


@pytest.mark.parametrize(
    ("env", "options", "message"),
    [
        ("Room-v9", {}, r"unknown environment 'Room-v9'.*module in front of the id: 'module:Room-v9'"),
        ("nowhere:Room-v3", {}, "the module nowhere cannot be imported"),
        ("rooms:Roam-v3", {}, "rooms neither registers the id Roam-v3.*Did you mean rooms:Room-v3"),
        (
            "CartPole-v1",
            {"env_kwargs": {"x": 1}, "backend": "compiled"},
            "cannot be used with env_kwargs or wrap",
        ),
        (
            lambda: SyncVectorEnv([lambda: Countdown([3])]),
            {"wrap": (lambda env: env,)},
            "wrap cannot be used with a vector",
        ),
        (Countdown([3]), {"env_kwargs": {"x": 1}}, "env_kwargs cannot be used with an environment object"),
        (
            "CartPole-v1",
            {"vectorize": "processes"},
            "vectorize='processes' applies only to Python environments",
        ),
        (
            Countdown([3]),
            {"vectorize": "processes"},
            "vectorize='processes' applies only to Python environments",
        ),
    ],
)
def test_options_that_do_not_fit_the_environment_are_refused(
    rooms: Path, env: Any, options: dict[str, Any], message: str
):
    with pytest.raises(ValueError, match=message):
        make(env, None, **options)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: make("rooms:Room-v3", 1, env_kwargs={"sise": 3}),
            ValueError,
            r"Room-v3 does not take env_kwargs.*sise",
        ),
        (
            lambda: make(lambda a, b: Countdown([3]), 1),
            ValueError,
            r"cannot be called with no arguments: .*'a'",
        ),
        (
            lambda: make("rooms:Room", 1, env_kwargs={"x": 3}),
            ValueError,
            r"rooms:Room cannot be called with env_kwargs",
        ),
        (
            lambda: make("rooms:Room", 1, wrap=(gym.wrappers.TimeLimit,)),
            ValueError,
            "cannot be called with an environment",
        ),
        (lambda: pg.train("CartPole-v1", wrap=5), TypeError, "wrap must contain functions"),
        (
            lambda: pg.train("CartPole-v1", env_kwargs={1: 2}),
            TypeError,
            "the keys of env_kwargs must be strings",
        ),
        (lambda: pg.train("CartPole-v1", overwrite=True), ValueError, "Name the folder with out"),
        (
            lambda: pg.evaluate(pg.train("CartPole-v1", steps=100).policy, "CartPole-v1", envkwargs={}),
            TypeError,
            "evaluate has no setting 'envkwargs': did you mean env_kwargs",
        ),
        (
            lambda: pg.train("CartPole-v1", policy=lambda: nn.Linear(7, 2), steps=100),
            ValueError,
            r"the policy network does not accept observations of shape \[B, 4\]",
        ),
        (
            lambda: pg.train("CartPole-v1", policy=lambda a, b, c: None, steps=100),
            TypeError,
            "Give the others a default",
        ),
    ],
)
def test_factories_and_arguments_that_do_not_fit_are_named(
    rooms: Path, call: Any, error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        call()


def test_keyword_arguments_on_the_command_line_are_parsed():
    given = ["a=1", "b=1e-3", "c=True", "d=None", "e=text", "f=[1, 2]", "g=x=y", "h="]
    assert keywords("--env-kwargs", given) == {
        "a": 1, "b": 1e-3, "c": True, "d": None, "e": "text", "f": [1, 2], "g": "x=y", "h": "",
    }  # fmt: skip
    for wrong in ("a", "1=2", "=3"):
        with pytest.raises(ValueError, match=f"--env-kwargs {wrong}: expected key=value"):
            keywords("--env-kwargs", [wrong])


def test_environments_with_arguments_are_made_by_gymnasium():
    environments = make("CartPole-v1", 2, env_kwargs={"sutton_barto_reward": True}, vectorize="sync")
    assert isinstance(environments.vector, SyncVectorEnv)
    environments.close()


@pytest.mark.parametrize("env", ["CartPole-v1", "FrozenLake-v1", lambda: gym.make("CartPole-v1")])
def test_the_step_limit_can_be_set(env: Any):
    run = pg.train(env, pg.Reinforce(), steps=100, num_envs=2, max_episode_steps=7, vectorize="sync")
    assert run.history["episode_length"].max() <= 7
    longer = make("CartPole-v1", 1, backend="gymnasium", max_episode_steps=1000)
    assert longer.max_episode_steps == 1000
    longer.close()
    with pytest.raises(ValueError, match="max_episode_steps must be 1 or more"):
        make("CartPole-v1", 1, max_episode_steps=0)


def test_a_factory_may_make_a_vector_environment():
    def factory() -> Any:
        return SyncVectorEnv([lambda: Countdown([4])] * 3)

    run = pg.train(factory, pg.A2C(), steps=60)
    assert run.history["episodes"][0] > 0
    assert pg.evaluate(run.policy, factory, 6).lengths.tolist() == [4] * 6
    with pytest.raises(ValueError, match="has num_envs=3; got num_envs=2"):
        pg.train(factory, pg.A2C(), steps=60, num_envs=2)


class Net(nn.Module):
    def __init__(self, state_dim: int, action_dim: int) -> None:
        super().__init__()
        self.layer = nn.Linear(state_dim, action_dim)

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        return self.layer(state)


def test_networks_from_factories_depend_on_the_seed_of_the_run():
    """Each seed has its own networks, which are reproducible and do not use the global generator."""
    options: dict[str, Any] = {
        "policy": Net,
        "value": lambda state_dim: nn.Linear(state_dim, 1),
        "steps": 300,
    }
    torch_before = torch.get_rng_state()
    runs = pg.train("CartPole-v1", pg.Reinforce(), seeds=2, **options)
    alone = pg.train("CartPole-v1", pg.Reinforce(), seed=1, **options)
    assert torch.equal(torch.get_rng_state(), torch_before)
    for name, history in alone.history.items():
        if name != "seconds":
            np.testing.assert_array_equal(history, runs[1].history[name])
    weights = [run.policy.network.layer.weight.detach().numpy() for run in runs]  # type: ignore[union-attr]
    assert (weights[0] != weights[1]).any()
    assert runs[0].engine == "autograd"


@pytest.mark.draws_globally
def test_networks_can_be_given_by_name(rooms: Path):
    out = ["--out", "run", "--steps", "40", "--episodes", "2"]
    assert main(["train", "rooms:Room-v3", "--policy", "rooms:Net", "--value", "rooms:make_value", *out]) == 0
    config = json.loads(Path("run/config.json").read_text())
    assert (config["policy"], config["value"]) == ("rooms:Net", "rooms:make_value")
    assert main(["evaluate", "run", "--episodes", "2"]) == 0
    import rooms as module  # type: ignore[import-not-found]

    assert pg.load("run", module.Net(3, 2)).act(np.zeros(3)) in (0, 1)
    assert pg.load("run", module.Net).act(np.zeros(3)) in (0, 1)
    with pytest.raises(ValueError, match="policy rooms:Nut"):
        pg.train("rooms:Room-v3", pg.Reinforce(), policy="rooms:Nut", steps=10)
    with pytest.raises(TypeError, match=r"the result of policy must be a Module\(...\); got 3"):
        pg.train("rooms:Room-v3", pg.Reinforce(), policy=lambda: 3, steps=10)


def test_images_for_an_mlp_cause_a_warning():
    class Camera(Countdown):
        observation_space = spaces.Box(0, 255, (40, 40, 3), np.uint8)  # type: ignore[assignment]

        def _observation(self) -> np.ndarray:
            return np.zeros((40, 40, 3), np.uint8)

    with pytest.warns(
        UserWarning, match=r"images of shape \(40, 40, 3\). An MLP treats them as 4,800 unrelated numbers"
    ):
        pg.train(lambda: Camera([3]), pg.Reinforce(), steps=10, num_envs=1, select=False)


def test_an_id_that_only_envpool_knows_causes_a_warning():
    pytest.importorskip("envpool")
    from policygrad.envs.pool import pool_ids

    unknown = sorted(name for name in pool_ids() if name not in gym.registry and "Catch" in name)
    with pytest.warns(
        UserWarning, match=r"not registered with Gymnasium, but EnvPool has an environment of this name"
    ):
        make(unknown[0], 1).close()


def test_the_check_env_command_reports_problems(rooms: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["check-env", "rooms:Room-v3", "--env-kwargs", "size=3"]) == 0
    shown = capsys.readouterr().out
    assert "not worth using" in shown
    assert "9 to 9" in shown
    assert "you can train on it" in shown
    Path("broken.py").write_text(
        MODULE.replace("self.t == self.size, False, {}", "0, False, {}").replace("Room-v3", "R-v0")
    )
    try:
        assert main(["check-env", "broken:Room"]) == 1
    finally:
        gym.registry.pop("R-v0", None)
    assert (
        "must be fixed: Room: step 1 of an episode: terminated is 0, of type int" in capsys.readouterr().out
    )
    assert main(["check-env", "nowhere:Room"]) == 2
    assert "the module nowhere cannot be imported" in capsys.readouterr().err
    assert main(["check-env", "CartPole-v1"]) == 0
    assert "compiled into the training loop" in capsys.readouterr().out.replace("\n", " ")


def test_a_factory_that_returns_one_object_again_is_refused():
    one = Countdown([3])
    with pytest.raises(ValueError, match="a new environment at each call"):
        make(lambda: one, 2)


def test_a_vector_environment_without_an_autoreset_mode_is_refused():
    vector = SyncVectorEnv([lambda: Countdown([2])])
    vector.metadata = {}
    with pytest.raises(ValueError, match="autoreset_mode"):
        make(vector)


@pytest.mark.parametrize(
    ("env", "num_envs", "error", "message"),
    [
        ("CartPol-v1", 1, ValueError, "did you mean CartPole-v1"),
        ("qwertz", 1, ValueError, "gymnasium.registry lists"),
        (Countdown([2]), 3, ValueError, "needs a factory"),
        ("CartPole-v1", 0, ValueError, "num_envs must be 1 or more"),
        (3, 1, TypeError, "expected an id, a Kernel, an environment or a factory"),
        (lambda: 3, 1, TypeError, "the factory returned type int; expected an Env"),
    ],
)
def test_an_object_that_is_not_an_environment_is_refused(
    env: Any, num_envs: int, error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        make(env, num_envs)

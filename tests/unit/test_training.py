"""Training: reproducibility, the best policy, ways to give environments and networks, and invalid settings."""

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
from policygrad.policies import flat_parameters
from tests.helpers import Countdown, same_parameters

SMALL: dict[str, Any] = {"steps": 1500, "network": pg.Network(hidden=(16,))}
BOTH = pg.Normalization(normalize_observations=True, normalize_rewards=True)


@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_runs_with_the_same_seed_are_bit_identical(engine: Any):
    a, b = (pg.train("CartPole-v1", seed=3, engine=engine, **SMALL) for _ in range(2))
    c = pg.train("CartPole-v1", seed=4, engine=engine, **SMALL)
    assert same_parameters(a.last_policy, b.last_policy)
    assert a.episode_returns.tolist() == b.episode_returns.tolist()
    assert not same_parameters(a.last_policy, c.last_policy)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "MountainCarContinuous-v0"])
def test_both_engines_train_alike(env_id: str):
    settings = {**SMALL, "num_envs": 2, "steps": 1900}
    runs = [pg.train(env_id, seed=0, engine=engine, **settings) for engine in ("fused", "autograd")]
    np.testing.assert_allclose(runs[0].episode_returns, runs[1].episode_returns, rtol=1e-3)
    a, b = (flat_parameters(run.last_policy).numpy() for run in runs)
    assert np.linalg.norm(a - b) / np.linalg.norm(a) < 1e-4


class Falling(Countdown):
    """Each step of episode n pays −n, so that returns fall from the first batch on."""

    def step(self, action: int):
        observation, _, *rest = super().step(action)
        return observation, -float(self.episode), *rest


def test_the_best_policy_is_that_with_the_best_running_mean():
    """The best full window is the first one: 50 rounds of 2 episodes of 5 steps."""
    settings = {"num_envs": 2, "network": pg.Network(hidden=(16,))}
    run = pg.train(lambda: Falling([5]), pg.Reinforce(), steps=1000, **settings)
    assert run.best_mean == run.history["return_100"][49] == max(run.history["return_100"][49:])
    before = pg.train(lambda: Falling([5]), pg.Reinforce(), steps=490, **settings)
    assert same_parameters(run.policy, before.last_policy)
    assert not same_parameters(run.policy, run.last_policy)


def test_before_a_full_window_the_latest_policy_that_acted_is_the_best():
    settings = {"num_envs": 2, "network": pg.Network(hidden=(16,))}
    run = pg.train(lambda: Falling([5]), pg.Reinforce(), steps=100, **settings)
    before = pg.train(lambda: Falling([5]), pg.Reinforce(), steps=90, **settings)
    assert same_parameters(run.policy, before.last_policy)


def test_stop_at_ends_when_the_last_hundred_returns_reach_it():
    run = pg.train("CartPole-v1", stop_at=100, steps=100_000, seed=0)
    assert run.ended == "stop_at"
    assert run.solved_at == run.steps < 100_000
    assert np.mean(run.episode_returns[-100:]) >= 100
    assert np.mean(run.episode_returns[-108:-8]) < 100


def test_potential_shaping_uses_the_discount_of_the_algorithm():
    seen: list[float | None] = []

    class Spy(pg.PotentialShaping):
        def __call__(self, reward: Any, *rest: Any) -> Any:
            seen.append(self.gamma)
            return super().__call__(reward, *rest)

    pg.train("CartPole-v1", pg.Reinforce(gamma=0.77), shaping=Spy(lambda s: s[..., 0]), **SMALL)
    assert set(seen) == {0.77}


@pytest.mark.parametrize("form", ["object", "factory", "vector"])
def test_an_environment_a_factory_and_a_vector_environment_are_accepted(form: str):
    env: Any = {
        "object": lambda: gym.make("CartPole-v1"),
        "factory": lambda: lambda: gym.make("CartPole-v1"),
        "vector": lambda: SyncVectorEnv([lambda: gym.make("CartPole-v1")] * 3, autoreset_mode="Disabled"),
    }[form]()
    run = pg.train(env, pg.Reinforce(), **SMALL)
    assert run.steps >= 1500
    if form == "object":
        env.reset()  # an environment object belongs to the caller, and is not closed


class Logits(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.utils.skip_init(nn.Linear, 4, 2)
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


def test_custom_networks_are_trained():
    network = Logits()
    run = pg.train("CartPole-v1", policy=network, **SMALL)
    assert run.engine == "autograd"
    assert (network.layer.weight != 0).any()
    value = nn.Sequential(nn.utils.skip_init(nn.Linear, 4, 1))
    nn.init.zeros_(value[0].weight)
    nn.init.zeros_(value[0].bias)
    pg.train("CartPole-v1", policy=Logits(), value=value, **SMALL)
    assert (value[0].weight != 0).any()
    with pytest.raises(ValueError, match="the algorithm learns no V"):
        pg.train("CartPole-v1", pg.Reinforce(baseline="mean"), value=value, **SMALL)


def test_training_can_start_from_a_policy():
    first = pg.train("CartPole-v1", seed=0, **{**SMALL, "steps": 15_000})
    again = pg.train("CartPole-v1", seed=1, policy=first.policy, **SMALL)
    assert np.mean(again.episode_returns[:8]) > np.mean(first.episode_returns[:8])


@pytest.mark.parametrize(
    ("arguments", "settings", "error", "message"),
    [
        (("CartPole-v1", "reinforc"), {}, ValueError, "did you mean reinforce"),
        (("CartPole-v1", 3), {}, TypeError, "algorithm must be a name or a configuration"),
        (("CartPole-v1",), {"steps": 0}, ValueError, "steps must be 1 or more"),
        (("CartPole-v1",), {"seed": -1}, ValueError, "seed must be 0 or more"),
        (("CartPole-v1",), {"steps": True}, TypeError, "steps must be a whole number; got True"),
        (("CartPole-v1",), {"engine": "gpu"}, ValueError, "engine must be"),
        (("CartPole-v1",), {"device": "gpu"}, ValueError, "device 'gpu' is not available. Use 'cpu'"),
        (("CartPole-v1",), {"network": 64}, TypeError, r"network must be a Network\(...\); got 64"),
        (("CartPole-v1",), {"policy": 3}, TypeError, r"policy must be a torch module, a function.*; got 3"),
        (("CartPole-v1",), {"value": 3}, TypeError, r"value must be a torch module, a function.*; got 3"),
        (("CartPole-v1",), {"out": 5}, TypeError, "out must be the path of a folder; got 5"),
        (("CartPole-v1",), {"progress": "x"}, ValueError, "progress must be True or False, or None; got 'x'"),
        (
            ("CartPole-v1",), {"network": pg.Network(log_std=1.0)}, ValueError,
            "log_std=1.0 would be ignored: it only has an effect with",
        ),
        (("CartPole-v1",), {"stop_at": "soon"}, ValueError, "stop_at must be a finite number; got 'soon'"),
        (("CartPole-v1",), {"policy": "gaussian"}, ValueError, "GaussianPolicy needs a Box. Use DiscretePolicy"),
        (("CartPole-v1", pg.Reinforce(baseline="leave-one-out")), {"num_envs": 1}, ValueError, "two episodes"),
        (("Nowhere-v0",), {}, ValueError, "unknown environment"),
    ],
)  # fmt: skip
def test_invalid_settings_say_what_to_do(arguments: Any, settings: Any, error: type[Exception], message: str):
    if settings.get("policy") == "gaussian":
        settings = {"policy": pg.GaussianPolicy(4, 2, rng=np.random.default_rng(0))}
    with pytest.raises(error, match=message):
        pg.train(*arguments, **settings)


class Spoiled(Countdown):
    """From episode 30 on its observations are NaN."""

    def _observation(self):
        return super()._observation() * (np.nan if self.episode >= 30 else 1)


def test_what_was_learned_before_a_nan_is_kept(tmp_path: Path):
    with pytest.raises(
        pg.NonFiniteError, match=r"training stopped after .* steps: .*observation.*is saved in .*run"
    ) as caught:
        pg.train(lambda: Spoiled([5]), pg.Reinforce(), steps=10_000, num_envs=2, out=tmp_path / "run")
    run = caught.value.run
    assert run.ended == "non-finite"
    assert len(run.episode_returns) == 2 * 30
    assert torch.isfinite(flat_parameters(run.last_policy)).all()
    loaded = pg.load(tmp_path / "run")
    assert same_parameters(loaded, run.policy)
    assert json.loads((tmp_path / "run/summary.json").read_text())["ended"] == "non-finite"


@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_divergence_is_reported_and_the_last_finite_policy_is_kept(tmp_path: Path, engine: Any):
    algorithm = pg.Reinforce(
        learning_rate=3e38, optimizer="sgd", max_grad_norm=None, normalize_advantages=False
    )
    with pytest.raises(pg.NonFiniteError) as caught:
        pg.train("Pendulum-v1", algorithm, engine=engine, steps=10_000, num_envs=2, out=tmp_path / "run")
    message = str(caught.value)
    assert "network." in message or "log π" in message or "entropy" in message
    assert "environment's step" not in message
    for file in ("policy.safetensors", "last_policy.safetensors"):
        assert np.isfinite(pg.load(tmp_path / "run" / file).act(np.zeros(3))).all()


def test_numpy_numbers_are_accepted_and_other_types_are_refused(tmp_path: Path):
    out = tmp_path / "run"
    one = np.arange(3)[1]
    pg.train("CartPole-v1", seed=one, steps=500 * one, num_envs=one, stop_at=np.float32(5e3), out=out)
    assert json.loads((out / "config.json").read_text())["seed"] == 1
    for wrong in ({"steps": "1000"}, {"seed": 1.5}, {"num_envs": None, "seed": None}):
        with pytest.raises(TypeError, match="must be a whole number"):
            pg.train("CartPole-v1", **wrong)
    with pytest.raises(TypeError, match="call the class to make one"):
        pg.train("CartPole-v1", pg.Reinforce)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="shaping must be a function"):
        pg.train("CartPole-v1", shaping=3)
    with pytest.raises(ValueError, match="shaping must be preset, none or module:name; got 'prset'"):
        pg.train("CartPole-v1", shaping="prset")
    with pytest.raises(TypeError, match="train has no setting 'step': did you mean steps"):
        pg.train("CartPole-v1", step=10)


def test_the_number_of_threads_is_restored():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        pg.train("CartPole-v1", **SMALL)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_observation_space_is_checked_before_training():
    class Texts(Countdown):
        observation_space = spaces.Text(3)  # type: ignore[assignment]

    with pytest.raises(ValueError, match=r"observations of Text.*are not supported"):
        pg.train(lambda: Texts([3]), pg.Reinforce(), steps=10)


def test_evaluation_during_training_does_not_change_the_training():
    settings: dict[str, Any] = {"steps": 2_000, "progress": False, "normalization": BOTH}
    plain = pg.train("CartPole-v1", pg.PPO(horizon=25, epochs=2), **settings)
    tested = pg.train(
        "CartPole-v1", pg.PPO(horizon=25, epochs=2), eval_every=500, eval_episodes=3, **settings
    )
    assert plain.episode_returns.tolist() == tested.episode_returns.tolist()
    for name, tensor in plain.last_policy.state_dict().items():
        assert torch.equal(tensor, tested.last_policy.state_dict()[name]), name
    found = tested.history["eval_return"]
    at = tested.history["steps"][~np.isnan(found)]
    # evaluation follows the first update that reaches each multiple of 500
    assert at.tolist() == [
        next(s for s in tested.history["steps"] if s >= due) for due in (500, 1000, 1500, 2000)
    ]
    assert np.nanmin(found) >= 8
    assert "eval_return" not in plain.history


def test_evaluation_during_training_needs_separate_environments():
    with pytest.raises(ValueError, match="Give an id, a Kernel or a factory"):
        pg.train(gym.make("CartPole-v1"), pg.PPO(), steps=100, eval_every=50, progress=False)


def test_rows_in_which_no_episode_ended_do_not_become_the_best(monkeypatch: pytest.MonkeyPatch):
    """The best policy is the one whose episodes gave the best mean, not a later one without finished episodes."""
    options: dict[str, Any] = {"steps": 64 * 400, "num_envs": 64, "select": False}
    run = pg.train("Pendulum-v1", pg.PPO(horizon=20, epochs=1), **options)
    means = run.history["return_100"]
    told = np.flatnonzero(np.isfinite(run.history["return"]) & (run.history["episodes"] >= 100))
    best = told[np.flatnonzero(means[told] == means[told].max())[-1]]
    acted: list[Any] = []
    from policygrad.training import Training

    class Listening(Training):
        def __iter__(self):
            for iteration in super().__iter__():
                acted.append(iteration.acted)
                yield iteration

    monkeypatch.setattr("policygrad.runs.running.Training", Listening)
    again = pg.train("Pendulum-v1", pg.PPO(horizon=20, epochs=1), loop="python", **options)
    assert len(acted) == len(means)
    np.testing.assert_array_equal(flat_parameters(again.policy).numpy(), acted[best].parameters)


def test_a_given_policy_keeps_its_running_statistics():
    run = pg.train("CartPole-v1", pg.PPO(horizon=50, epochs=1), steps=800, normalization=BOTH, progress=False)
    count = float(run.last_policy.observation_moments.count)
    more = pg.train(
        "CartPole-v1", pg.PPO(horizon=50, epochs=1), steps=400, policy=run.last_policy, progress=False
    )
    assert float(more.last_policy.observation_moments.count) == count + more.steps
    plain = pg.train("MountainCarContinuous-v0", pg.PPO(horizon=50), steps=400, progress=False).policy
    pg.train("MountainCarContinuous-v0", "ppo", steps=400, policy=plain, progress=False)


def test_settings_that_have_another_name_now_are_named():
    with pytest.raises(TypeError, match="no setting 'test_every' any more: it is called eval_every now"):
        pg.train("CartPole-v1", steps=100, test_every=50)

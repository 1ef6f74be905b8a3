from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from torch import nn

import policygrad as pg
from policygrad._support.seeding import EpisodeSeeds
from policygrad.algorithms.algorithm import ALGORITHMS
from policygrad.metrics import METRICS
from policygrad.policies import flat_parameters
from policygrad.runs.manifest import PACKAGES
from policygrad.training import EpisodeReturns
from policygrad.types import Inputs, Rollout
from tests.conftest import Countdown, choosing, events_of, rows_of

SMALL: dict[str, Any] = {"steps": 1500, "network": pg.Network(hidden=(16,))}
BOTH = pg.Normalization(normalize_observations=True, normalize_rewards=True)


def same_bits(a: pg.Policy, b: pg.Policy) -> bool:
    return torch.equal(flat_parameters(a), flat_parameters(b))


@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_the_same_seed_gives_the_same_bits(engine: Any):
    a, b = (pg.train("CartPole-v1", seed=3, engine=engine, **SMALL) for _ in range(2))
    c = pg.train("CartPole-v1", seed=4, engine=engine, **SMALL)
    assert same_bits(a.last_policy, b.last_policy)
    assert a.episode_returns.tolist() == b.episode_returns.tolist()
    assert not same_bits(a.last_policy, c.last_policy)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "MountainCarContinuous-v0"])
def test_both_engines_train_alike(env_id: str):
    settings = {**SMALL, "num_envs": 2, "steps": 1900}
    runs = [pg.train(env_id, seed=0, engine=engine, **settings) for engine in ("fused", "autograd")]
    np.testing.assert_allclose(runs[0].episode_returns, runs[1].episode_returns, rtol=1e-3)
    a, b = (flat_parameters(run.last_policy).numpy() for run in runs)
    assert np.linalg.norm(a - b) / np.linalg.norm(a) < 1e-4


def test_history_and_budget():
    run = pg.train("CartPole-v1", "reinforce", seed=0, **SMALL)
    steps, returns = run.history["steps"], run.history["return"]
    assert len(steps) == len(returns) == len(run.updates)
    assert (np.diff(steps) > 0).all()
    assert steps[-2] < 1500 <= steps[-1] == run.steps
    # the reward of CartPole is 1 a step, so returns are lengths, and all of them were learned from
    assert sum(run.episode_returns) == run.steps
    assert run.ended == "budget"
    assert run.solved_at is None
    assert set(run.history) <= set(METRICS)


class Falling(Countdown):
    """Episode n pays −n a step: returns fall from the first batch on."""

    def step(self, action: int):
        observation, _, *rest = super().step(action)
        return observation, -float(self.episode), *rest


@pytest.mark.parametrize("distribution", ["gaussian", "gsde"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_says_how_it_goes(algorithm: str, distribution: Any):
    network = pg.Network(hidden=(8,), distribution=distribution)
    history = pg.train(
        "Pendulum-v1", algorithm, steps=4_000, num_envs=4, network=network, progress=False
    ).history
    for name in (
        "entropy", "kl", "largest_ratio", "explained_variance", "value_bias", "value_loss",
        "policy_grad_norm", "value_grad_norm", "clipped_actions", "std",
    ):  # fmt: skip
        assert np.isfinite(history[name]).all(), name
    # the policy moved, the estimator is never negative, and of clipped ratios PPO alone knows
    assert (history["kl"] >= 0).all()
    assert history["kl"].max() > 0
    assert ("clip_share" in history) == (algorithm == "ppo")
    assert history["std"][0] == pytest.approx(1, abs=0.1)


def test_the_best_policy_is_that_of_the_best_running_mean():
    """The best full window is the first there is: 50 rounds of 2 episodes of 5 steps."""
    settings = {"num_envs": 2, "network": pg.Network(hidden=(16,))}
    run = pg.train(lambda: Falling([5]), pg.Reinforce(), steps=1000, **settings)
    assert run.best_mean == run.history["return_100"][49] == max(run.history["return_100"][49:])
    before = pg.train(lambda: Falling([5]), pg.Reinforce(), steps=490, **settings)
    assert same_bits(run.policy, before.last_policy)
    assert not same_bits(run.policy, run.last_policy)


def test_before_a_full_window_the_latest_policy_that_acted_is_the_best():
    settings = {"num_envs": 2, "network": pg.Network(hidden=(16,))}
    run = pg.train(lambda: Falling([5]), pg.Reinforce(), steps=100, **settings)
    before = pg.train(lambda: Falling([5]), pg.Reinforce(), steps=90, **settings)
    assert same_bits(run.policy, before.last_policy)


def test_stop_at_ends_when_the_last_hundred_returns_reach_it():
    run = pg.train("CartPole-v1", stop_at=100, steps=100_000, seed=0)
    assert run.ended == "stop_at"
    assert run.solved_at == run.steps < 100_000
    assert np.mean(run.episode_returns[-100:]) >= 100
    assert np.mean(run.episode_returns[-108:-8]) < 100


def test_returns_are_of_the_original_reward_with_the_shaped_beside():
    shaping = lambda r, s, s2, te, tr: r * 0 + 7.0  # noqa: E731
    run = pg.train("CartPole-v1", shaping=shaping, seed=0, **SMALL)
    np.testing.assert_allclose(run.history["shaped_return"], 7 * run.history["return"])
    assert sum(run.episode_returns) == run.steps


def test_potential_shaping_takes_the_algorithm_s_discount():
    seen: list[float | None] = []

    class Spy(pg.PotentialShaping):
        def __call__(self, reward: Any, *rest: Any) -> Any:
            seen.append(self.gamma)
            return super().__call__(reward, *rest)

    pg.train("CartPole-v1", pg.Reinforce(gamma=0.77), shaping=Spy(lambda s: s[..., 0]), **SMALL)
    assert set(seen) == {0.77}


@pytest.mark.parametrize("form", ["object", "factory", "vector"])
def test_every_form_of_environment(form: str):
    env: Any = {
        "object": lambda: gym.make("CartPole-v1"),
        "factory": lambda: lambda: gym.make("CartPole-v1"),
        "vector": lambda: SyncVectorEnv([lambda: gym.make("CartPole-v1")] * 3, autoreset_mode="Disabled"),
    }[form]()
    run = pg.train(env, pg.Reinforce(), **SMALL)
    assert run.steps >= 1500
    if form == "object":
        env.reset()  # it was not closed: it is the caller's


class Logits(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.utils.skip_init(nn.Linear, 4, 2)
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


def test_networks_of_ones_own():
    network = Logits()
    run = pg.train("CartPole-v1", policy=network, **SMALL)
    assert run.engine == "autograd"
    assert (network.layer.weight != 0).any()
    value = nn.Sequential(nn.utils.skip_init(nn.Linear, 4, 1))
    nn.init.zeros_(value[0].weight)
    nn.init.zeros_(value[0].bias)
    pg.train("CartPole-v1", policy=Logits(), value=value, **SMALL)
    assert (value[0].weight != 0).any()
    with pytest.raises(ValueError, match="baseline is not 'value'"):
        pg.train("CartPole-v1", pg.Reinforce(baseline="mean"), value=value, **SMALL)


def test_training_goes_on_from_a_policy():
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
        (("CartPole-v1",), {"device": "gpu"}, ValueError, "device 'gpu' cannot be used here: take 'cpu'"),
        (("CartPole-v1",), {"network": 64}, TypeError, r"network must be a Network\(...\); got 64"),
        (("CartPole-v1",), {"policy": 3}, TypeError, r"policy must be a torch module, a function.*; got 3"),
        (("CartPole-v1",), {"value": 3}, TypeError, r"value must be a torch module, a function.*; got 3"),
        (("CartPole-v1",), {"out": 5}, TypeError, "out must be the path of a folder; got 5"),
        (("CartPole-v1",), {"progress": "x"}, ValueError, "progress must be True or False, or None; got 'x'"),
        (("CartPole-v1",), {"network": pg.Network(log_std=1.0)}, ValueError, "log_std=1.0 would be ignored: it is for"),
        (("CartPole-v1",), {"stop_at": "soon"}, ValueError, "stop_at must be a finite number; got 'soon'"),
        (("CartPole-v1",), {"policy": "gaussian"}, ValueError, "GaussianPolicy needs a Box: use DiscretePolicy"),
        (("CartPole-v1", pg.Reinforce(baseline="leave-one-out")), {"num_envs": 1}, ValueError, "two episodes"),
        (("Nowhere-v0",), {}, ValueError, "unknown environment"),
    ],
)  # fmt: skip
def test_wrong_settings_say_what_to_do(arguments: Any, settings: Any, error: type[Exception], message: str):
    if settings.get("policy") == "gaussian":
        settings = {"policy": pg.GaussianPolicy(4, 2, rng=np.random.default_rng(0))}
    with pytest.raises(error, match=message):
        pg.train(*arguments, **settings)


class Spoiled(Countdown):
    """From the 30th episode on its observations are not numbers."""

    def _observation(self):
        return super()._observation() * (np.nan if self.episode >= 30 else 1)


def test_a_nan_keeps_what_was_learned(tmp_path: Path):
    with pytest.raises(pg.NonFiniteError, match=r"after .* steps: .*observation.*is in .*run") as caught:
        pg.train(lambda: Spoiled([5]), pg.Reinforce(), steps=10_000, num_envs=2, out=tmp_path / "run")
    run = caught.value.run
    assert run.ended == "non-finite"
    assert len(run.episode_returns) == 2 * 30
    assert torch.isfinite(flat_parameters(run.last_policy)).all()
    loaded = pg.load(tmp_path / "run")
    assert same_bits(loaded, run.policy)
    assert json.loads((tmp_path / "run/summary.json").read_text())["ended"] == "non-finite"


def test_run_folder(tmp_path: Path):
    out = tmp_path / "deep" / "run"
    run = pg.train("CartPole-v1", seed=5, out=out, num_envs=4, **SMALL)
    assert run.out == out
    files = {f.name for f in out.iterdir()}
    events = [f for f in files if f.startswith("events.out.tfevents")]
    assert files - {".lock", *events} == {
        "config.json", "manifest.json", "metrics.jsonl", "curve.png", "policy.safetensors",
        "last_policy.safetensors", "summary.json", "checkpoint.safetensors",
    }  # fmt: skip
    config = json.loads((out / "config.json").read_text())
    assert (config["environment"], config["seed"], config["num_envs"]) == ("CartPole-v1", 5, 4)
    assert config["algorithm"]["name"] == "reinforce"
    assert config["network"]["hidden"] == [16]
    manifest = json.loads((out / "manifest.json").read_text())
    assert set(manifest["packages"]) == set(PACKAGES)
    assert {"git", "cores", "processor", "engine", "seed", "autoreset_mode"} <= set(manifest)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["steps"] for row in rows] == run.history["steps"].tolist()
    assert (out / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert same_bits(pg.load(out), run.policy)
    assert same_bits(pg.load(out / "last_policy.safetensors"), run.last_policy)
    tags = {value.tag for event in events_of(out / events[0]) for value in event.summary.value}
    assert {"return", "entropy", "value_loss"} <= tags


def test_a_folder_is_not_overwritten_unasked(tmp_path: Path):
    out = tmp_path / "run"
    first = pg.train("CartPole-v1", seed=0, out=out, **SMALL)
    with pytest.raises(FileExistsError, match="holds a run already"):
        pg.train("CartPole-v1", seed=1, out=out, **SMALL)
    assert same_bits(pg.load(out), first.policy)
    second = pg.train("CartPole-v1", seed=1, out=out, overwrite=True, **SMALL)
    assert same_bits(pg.load(out), second.policy)
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="is no run folder"):
        pg.train("CartPole-v1", out=mine, overwrite=True, **SMALL)
    assert (mine / "thesis.txt").read_text() == "years of work"


class Dies(Countdown):
    """Raises in its n-th episode."""

    def __init__(self, n: int, error: type[BaseException] = RuntimeError) -> None:
        super().__init__([3])
        self.last, self.error = n, error

    def step(self, action: int):
        if self.episode >= self.last:
            raise self.error("the simulator crashed")
        return super().step(action)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, TypeError])
def test_a_run_that_learned_nothing_leaves_the_one_it_was_to_replace(
    tmp_path: Path, error: type[BaseException]
):
    out = tmp_path / "run"
    first = pg.train("CartPole-v1", seed=0, out=out, **SMALL)
    attempt = partial(
        pg.train, lambda: Dies(0, error), pg.Reinforce(), out=out, overwrite=True, steps=50, num_envs=1
    )
    if error is KeyboardInterrupt:
        assert attempt().ended == "interrupted"
    else:
        with pytest.raises(error, match="the simulator crashed"):
            attempt()
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    assert same_bits(pg.load(out), first.policy)


def test_a_crash_keeps_what_was_learned_and_the_replaced_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "run"
    first = pg.train("CartPole-v1", seed=0, out=out, **SMALL)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="the simulator crashed"):
            pg.train(
                lambda: Dies(7), pg.Reinforce(), out=out, overwrite=True, steps=500, num_envs=1, progress=True
            )
        assert json.loads((out / "summary.json").read_text())["ended"] == "error"
        assert len((out / "metrics.jsonl").read_text().splitlines()) == 7
    kept = [p for p in tmp_path.iterdir() if p.name.startswith(".run.replaced")]
    assert len(kept) == 2
    assert str(kept[0]) in capsys.readouterr().err
    assert any(
        same_bits(pg.load(k), first.policy) for k in kept if (k / "config.json").read_text().count("CartPole")
    )


def test_a_folder_with_a_config_of_somebody_else_s_is_no_run(tmp_path: Path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "config.json").write_text("{}")
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="is no run folder"):
        pg.train("CartPole-v1", out=mine, overwrite=True, **SMALL)
    assert (mine / "thesis.txt").exists()


@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_a_diverging_policy_is_named_and_the_last_good_one_kept(tmp_path: Path, engine: Any):
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


def test_numpy_numbers_are_numbers(tmp_path: Path):
    out = tmp_path / "run"
    one = np.arange(3)[1]
    pg.train("CartPole-v1", seed=one, steps=500 * one, num_envs=one, stop_at=np.float32(5e3), out=out)
    assert json.loads((out / "config.json").read_text())["seed"] == 1
    for wrong in ({"steps": "1000"}, {"seed": 1.5}, {"num_envs": None, "seed": None}):
        with pytest.raises(TypeError, match="must be a whole number"):
            pg.train("CartPole-v1", **wrong)
    with pytest.raises(TypeError, match="call it to make one"):
        pg.train("CartPole-v1", pg.Reinforce)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="shaping must be a function"):
        pg.train("CartPole-v1", shaping=3)
    with pytest.raises(ValueError, match="shaping prset: expected preset, none or module:name"):
        pg.train("CartPole-v1", shaping="prset")
    with pytest.raises(TypeError, match="train has no setting 'step': did you mean steps"):
        pg.train("CartPole-v1", step=10)


def test_ctrl_c_ends_cleanly_with_the_best_policy_saved(tmp_path: Path):
    out = tmp_path / "run"
    options = ["--steps", "100000000", "--out", str(out), "--episodes", "4"]
    command = [sys.executable, "-m", "policygrad", "train", "CartPole-v1", *options]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell lets what it runs in the background ignore Ctrl-C, and that is inherited
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    metrics = out / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and metrics.read_text().count("\n") > 5):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "ended by interrupted" in output
    assert "Traceback" not in errors
    assert json.loads((out / "summary.json").read_text())["ended"] == "interrupted"
    assert pg.load(out).act(np.zeros(4, np.float32)) in (0, 1)


def test_bootstrapping_uses_the_last_state_s_value_and_only_after_a_truncation():  # bugs 3, 4
    class Constant(nn.Module):
        """V = 100 wherever the episode is not at its first step, where a reset would be."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.where(x[:, 1] == 0, -1000.0, 100.0)

    from policygrad.engines.autograd import AutogradEngine
    from policygrad.envs import make
    from policygrad.rollout import HostCollector

    class Fixed(AutogradEngine):
        def values(self, inputs: Inputs) -> Any:
            return Constant()(torch.from_numpy(inputs.observation)).numpy()

    for truncate, expected in ((True, [1 + 0.5 * (2 + 0.5 * 100), 2 + 0.5 * 100]), (False, [2.0, 2.0])):
        environments = make(lambda t=truncate: Countdown([2], truncate=t), 3)
        rng = np.random.default_rng(0)
        network = pg.DiscretePolicy(2, 2, 4, rng=rng)
        policy = pg.Policy(network, environments.observation_space, environments.action_space)
        engine = Fixed(policy, pg.ValueNetwork(2, 4, rng=rng), "adam")
        seeds = EpisodeSeeds(rng)
        rollout = HostCollector(
            environments, policy, choosing(policy), seeds=seeds, action_rng=rng
        ).episodes()
        batch = pg.Reinforce(gamma=0.5).batch(rollout, engine)
        np.testing.assert_allclose(batch.columns["target"].reshape(2, 3)[:, 0], expected)
        without = pg.Reinforce(gamma=0.5, bootstrap_truncated=False).batch(rollout, engine)
        np.testing.assert_allclose(without.columns["target"].reshape(2, 3)[:, 0], [2.0, 2.0])


def test_threads_are_restored():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        pg.train("CartPole-v1", **SMALL)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_environment_s_own_space_is_checked_first():
    class Texts(Countdown):
        observation_space = spaces.Text(3)  # type: ignore[assignment]

    with pytest.raises(ValueError, match=r"observations of Text.*are not supported"):
        pg.train(lambda: Texts([3]), pg.Reinforce(), steps=10)


def test_tests_while_training_change_nothing_in_it():
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
    # after the first update that reaches each multiple
    assert at.tolist() == [
        next(s for s in tested.history["steps"] if s >= due) for due in (500, 1000, 1500, 2000)
    ]
    assert np.nanmin(found) >= 8
    assert "eval_return" not in plain.history


def test_tests_need_environments_of_their_own():
    with pytest.raises(ValueError, match="give an id, a Kernel or a factory"):
        pg.train(gym.make("CartPole-v1"), pg.PPO(), steps=100, eval_every=50, progress=False)


def test_small_updates_are_reported_together():
    run = pg.train("Pendulum-v1", pg.A2C(horizon=2), steps=1_000, num_envs=4, progress=False)
    steps = run.history["steps"]
    # 8 samples an update; all episodes end with step 200 of each environment, of which the fourth row hears
    assert steps.tolist() == [256, 512, 768, 800, 1000]
    assert np.isfinite(run.history["policy_grad_norm"]).all()
    assert len(run.episode_returns) == 4


def test_reports_of_several_updates_are_means():
    once = pg.train("Pendulum-v1", pg.A2C(horizon=64), steps=256, num_envs=4, progress=False)
    thrice = pg.train("Pendulum-v1", pg.A2C(horizon=16), steps=256, num_envs=4, progress=False)
    assert len(once.updates) == len(thrice.updates) == 1
    assert rows_of(once)[0].keys() == rows_of(thrice)[0].keys()
    assert rows_of(thrice)[0]["entropy"] == pytest.approx(rows_of(once)[0]["entropy"], abs=0.05)


def test_an_update_in_which_no_episode_ended_leaves_no_point_and_no_warning(tmp_path: Path):
    command = [sys.executable, "-m", "policygrad", "train", "Pendulum-v1", "--algo", "ppo", "--steps", "1200"]
    options = ["--horizon", "50", "--num-envs", "4", "--episodes", "2", "--out", str(tmp_path / "run")]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    assert "NaN" not in done.stdout + done.stderr
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert rows[0]["return"] is None
    assert rows[0]["episodes"] == 0
    assert [row["return"] < 0 for row in rows if row["return"] is not None] == [True]


def test_rows_in_which_no_episode_ended_do_not_become_the_best(monkeypatch: pytest.MonkeyPatch):
    """The best policy is the one whose episodes gave the mean, not one of those that came after it unproven."""
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

    monkeypatch.setattr("policygrad.runs.experiment.Training", Listening)
    again = pg.train("Pendulum-v1", pg.PPO(horizon=20, epochs=1), **options)
    np.testing.assert_array_equal(flat_parameters(again.policy).numpy(), acted[best].parameters)


def test_returns_of_episodes_that_end_at_different_times_and_go_on():
    """Several ends in a row, in the order of the environments; sums go on over rollouts; no columns but theirs."""
    done = np.array([[False, True, True], [False, False, True], [True, False, False]])
    reward = np.arange(9.0).reshape(3, 3)
    empty = np.zeros((3, 3, 1), np.float32)
    parts = {"original_reward": reward, "truncated": np.zeros_like(done), "valid": np.ones_like(done)}
    rollout = Rollout.from_pairs(
        observation=empty, action=done.astype(int), reward=reward, next_observation=empty, terminated=done, **parts
    )  # fmt: skip
    sums = EpisodeReturns(3)
    returns, lengths = sums.of(rollout, reward)
    np.testing.assert_array_equal(returns, [1, 2, 5, 0 + 3 + 6])
    np.testing.assert_array_equal(lengths, [1, 1, 1, 3])
    returns, lengths = sums.of(rollout, reward)
    np.testing.assert_array_equal(returns, [4 + 7 + 1, 8 + 2, 5, 9])
    np.testing.assert_array_equal(lengths, [3, 2, 1, 3])
    with pytest.raises(ValueError, match="expected"):
        EpisodeReturns(2).of(rollout, reward)


@pytest.mark.parametrize("normalization", [None, BOTH], ids=["as they are", "normalised"])
@pytest.mark.parametrize("algorithm", ["a2c", "ppo", "actor-critic", "npg"])
def test_steps_in_which_all_only_reset_are_passed_over(algorithm: str, normalization: Any):
    ppo = pg.PPO(horizon=1, normalize_advantages="none")
    kinds = {"a2c": pg.A2C(horizon=1), "ppo": ppo, "actor-critic": pg.ActorCritic()}
    chosen = kinds.get(algorithm, pg.NaturalGradient(horizon=1, normalize_advantages=False))
    run = pg.train(
        "Pendulum-v1",
        chosen,
        steps=450,
        num_envs=1,
        backend="gymnasium",
        normalization=normalization,
        progress=False,
    )
    assert run.steps == 450
    assert np.isfinite(run.history["clipped_actions"]).all()


@pytest.mark.parametrize("autoreset", AutoresetMode)
@pytest.mark.parametrize(
    "algorithm", [pg.PPO(horizon=8), pg.A2C(horizon=9), pg.TRPO(horizon=17)], ids=["ppo", "a2c", "trpo"]
)
def test_returns_are_of_whole_episodes_however_they_lie_in_rollouts(algorithm: Any, autoreset: Any):
    """Each lasts 6 steps, and pays 1 + 2 + ... + 6: a rollout ends within one, and often holds one end a column."""
    vector = SyncVectorEnv([lambda: Countdown([6])] * 2, autoreset_mode=autoreset)
    run = pg.train(vector, algorithm, steps=300, progress=False)
    assert set(run.episode_returns) == {21.0}
    lengths = run.history["episode_length"]
    assert set(lengths[np.isfinite(lengths)]) == {6.0}
    assert len(run.episode_returns) >= 300 // 6 - 2 * 2


def test_shaped_returns_are_of_episodes():
    twice = partial(np.multiply, 2.0)

    def shaping(reward: Any, *_: Any) -> Any:
        return twice(reward)

    run = pg.train("CartPole-v1", pg.A2C(horizon=16), steps=2_000, shaping=shaping, progress=False)
    told = np.isfinite(run.history["return"])
    np.testing.assert_allclose(run.history["shaped_return"][told], 2 * run.history["return"][told])


def test_a_policy_given_brings_its_statistics():
    run = pg.train("CartPole-v1", pg.PPO(horizon=50, epochs=1), steps=800, normalization=BOTH, progress=False)
    count = float(run.last_policy.observation_moments.count)
    more = pg.train(
        "CartPole-v1", pg.PPO(horizon=50, epochs=1), steps=400, policy=run.last_policy, progress=False
    )
    assert float(more.last_policy.observation_moments.count) == count + more.steps
    plain = pg.train("MountainCarContinuous-v0", pg.PPO(horizon=50), steps=400, progress=False).policy
    pg.train("MountainCarContinuous-v0", "ppo", steps=400, policy=plain, progress=False)

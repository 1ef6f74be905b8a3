"""Seeds in processes: the same runs as alone, whatever is sent, with the errors and messages of a single process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

import policygrad as pg
from policygrad._support.child_processes import RemoteTraceback
from policygrad.algorithms import ALGORITHMS
from policygrad.cli import main
from policygrad.envs.registry import KERNELS
from policygrad.runs.experiment import Experiment
from policygrad.runs.settings import settings_from
from policygrad.scheduling.placement import in_python
from policygrad.scheduling.sending import packed, unpacked
from tests.helpers import Countdown, history_rows, same_parameters

pytestmark = pytest.mark.skipif(os.name == "nt", reason="processes that train are started on Linux and macOS")

ROOT = Path(__file__).parents[2]
KERNEL = KERNELS["CartPole-v1"]
SMALL: dict[str, Any] = {"steps": 1200, "num_envs": 2}


class Net(nn.Module):
    """Parameters of two kinds, whose memory `flat_parameters` joins."""

    def __init__(self, state_dim: int, action_dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(state_dim, 8), nn.SiLU(), nn.Linear(8, action_dim))

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return self.layers(observations)


def assert_same_run(run: pg.Run, other: pg.Run) -> None:
    assert [row | {"seconds": 0} for row in history_rows(run)] == [
        row | {"seconds": 0} for row in history_rows(other)
    ]
    np.testing.assert_array_equal(run.episode_returns, other.episode_returns)
    assert same_parameters(run.policy, other.policy)
    assert same_parameters(run.last_policy, other.last_policy)
    assert (run.selection, run.ended, run.seed) == (other.selection, other.ended, other.seed)
    assert (run.solved_at, run.best_mean) == (other.solved_at, other.best_mean)
    assert run.policy.greedy == other.policy.greedy


@pytest.mark.parametrize(
    ("env", "algorithm", "settings"),
    [
        ("CartPole-v1", "a2c", {"backend": "gymnasium", "normalization": pg.Normalization(True)}),
        ("CartPole-v1", pg.Reinforce(), {"policy": Net, "select": True, "steps": 4000}),
        (lambda: Countdown([3, 5]), "actor-critic", {"vectorize": "processes"}),
    ],
    ids=["gymnasium", "own module", "environment processes"],
)  # fmt: skip
def test_each_run_equals_the_run_with_its_seed_alone(env: Any, algorithm: Any, settings: dict[str, Any]):
    settings = SMALL | settings
    runs = pg.train(env, algorithm, seed=5, seeds=3, cores=2, parallel="processes", **settings)
    for run in runs:
        assert_same_run(run, pg.train(env, algorithm, seed=run.seed, **settings))
        # the policy is whole: it acts, and can be trained further
        run.policy.act(run.policy.observation_space.sample())
        pg.train(env, algorithm, **settings | {"policy": run.policy, "normalization": None, "steps": 50})


def test_folders_are_the_same_as_those_of_threads(tmp_path: Path):
    options = SMALL | {"cores": 2, "save_episodes": True}

    def files(parallel: str) -> dict[str, Any]:
        out = tmp_path / parallel
        pg.train("CartPole-v1", seeds=2, out=out, parallel=parallel, **options)
        assert json.loads((out / "manifest.json").read_text())["parallel"].startswith("seeds: 2 at a time")
        manifests = [json.loads((out / f"seed-{seed}" / "manifest.json").read_text()) for seed in range(2)]
        assert [manifest["command"] for manifest in manifests] == [sys.argv] * 2
        same = ("config.json", "episodes.csv", "policy.safetensors", "last_policy.safetensors")
        return {
            str(file.relative_to(out)): file.read_bytes() if file.name in same else None
            for file in out.rglob("*")
            if file.is_file()
        }

    of_threads, of_processes = files("threads"), files("processes")
    assert of_threads == of_processes
    # runs that threads began can be resumed in processes
    options |= {"out": tmp_path / "threads", "parallel": "processes", "resume": True}
    assert [run.seed for run in pg.train("CartPole-v1", seeds=3, **options)] == [0, 1, 2]


SCRIPT = """
    import gymnasium as gym, numpy as np, policygrad as pg, torch
    from dataclasses import dataclass
    from gymnasium import spaces
    from torch import nn

    print("this script was executed", flush=True)
    LENGTH = 5

    class Walk(gym.Env):
        observation_space = spaces.Box(-1, 1, (2,), np.float32)
        action_space = spaces.Discrete(2)
        made = 0
        def __init__(self):
            Walk.made += 1
        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.t = 0
            return self.np_random.uniform(-1, 1, 2).astype(np.float32), {}
        def step(self, action):
            self.t += 1
            return self.np_random.uniform(-1, 1, 2).astype(np.float32), float(action), self.t == LENGTH, False, {}

    class Net(nn.Linear):
        def forward(self, observations):
            return LENGTH * super().forward(observations)

    @pg.register("mine")
    @dataclass(frozen=True)
    class Mine(pg.Reinforce):
        def learn(self, engine, rollout, learner):
            return super().learn(engine, rollout, learner) | {"two": 2.0}

    pg.metrics.register("two", unit="-", formula="1 + 1", healthy="2")
    gym.register("Walk-v0", Walk)
    forward = Net.forward
    for env, options in (("Walk-v0", {"policy": Net}), (lambda: Walk(), {})):
        options = {"steps": 200, "num_envs": 2, "vectorize": "sync"} | options
        before = Walk.made
        runs = pg.train(env, Mine(), seeds=2, cores=2, **options)
        # environments were made elsewhere, and what they changed there is not changed here
        assert Walk.made == before
        for run in runs:
            alone = pg.train(env, Mine(), seed=run.seed, **options)
            pairs = zip(run.last_policy.parameters(), alone.last_policy.parameters(), strict=True)
            assert all(torch.equal(*pair) for pair in pairs)
            assert (run.history["two"] == 2).all()
            assert type(run.last_policy.network) is type(alone.last_policy.network)
    assert Net.forward is forward
"""


def run_script(text: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "script.py").write_text(textwrap.dedent(text))
    return subprocess.run(
        [sys.executable, "script.py", *arguments], cwd=folder, capture_output=True, text=True, timeout=600
    )


def test_a_script_needs_no_main_guard(tmp_path: Path):
    """Classes, functions, environments, algorithms and metrics of the script are sent, and the script is not run."""
    done = run_script(SCRIPT, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "this script was executed\n"


class BoatError(RuntimeError):
    """An exception whose constructor takes other arguments than its message."""

    def __init__(self, harbor: str, boats: int) -> None:
        super().__init__(f"{boats} boats in {harbor}")


class Sinking(Countdown):
    def __init__(self, error: Callable[[], Exception]) -> None:
        super().__init__([4])
        self.error = error

    def step(self, action: int):
        if self.episode == 5:
            raise self.error()
        return super().step(action)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (lambda: OSError(28, "no water"), pytest.raises(OSError, match="no water")),
        (lambda: BoatError("Kiel", 3), pytest.raises(RuntimeError, match="BoatError: 3 boats in Kiel")),
    ],
)
def test_an_error_has_the_traceback_of_its_process(error: Any, expected: Any, tmp_path: Path):
    options = SMALL | {"vectorize": "sync", "out": tmp_path / "runs"}
    with expected as caught:
        pg.train(lambda: Sinking(error), pg.Reinforce(), seeds=2, cores=2, parallel="processes", **options)
    cause = caught.value.__cause__
    assert isinstance(cause, RemoteTraceback)
    assert "raise self.error()" in str(cause)
    assert cause.filenames[-1] == __file__
    run = caught.value.run
    assert (run.ended, run.steps) == ("error", 40)
    assert pg.load(tmp_path / "runs" / f"seed-{run.seed}").act([0.0, 0.0]) in (0, 1)


def test_the_command_shows_the_traceback_of_an_environment_but_not_of_a_wrong_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "harbor.py").write_text(
        "from tests.unit.test_seeds_in_processes import Sinking\n"
        "def make():\n    return Sinking(lambda: ValueError('no boat'))\n"
    )
    monkeypatch.chdir(tmp_path)
    train = ["train", "--seeds", "2", "--cores", "2", "--parallel", "processes", "--steps", "1000"]
    with pytest.raises(ValueError, match="no boat"):
        main([*train, "harbor:make", "--vectorize", "sync"])
    capsys.readouterr()
    assert main([*train, "CartPole-v1", "--backend", "gymnasium", "--distribution", "beta"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("policygrad: CartPole-v1 has discrete actions")


def test_a_run_that_diverges_does_not_stop_the_others(capsys: pytest.CaptureFixture[str]):
    wild = pg.Reinforce(learning_rate=3e38, optimizer="sgd", max_grad_norm=None, normalize_advantages=False)
    runs = pg.train("Pendulum-v1", wild, seeds=2, cores=2, parallel="processes", progress=True, **SMALL)
    assert [run.ended for run in runs] == ["non-finite"] * 2
    shown = capsys.readouterr().err
    assert "seed 1: training stopped after" in shown
    # what all runs say is shown once
    assert shown.count("engine: fused") == 1


def test_libraries_use_one_thread_in_each_process_and_warnings_are_shown_by_the_parent():
    class Warns(Countdown):
        def step(self, action: int):
            from threadpoolctl import threadpool_info

            threads = {library["num_threads"] for library in threadpool_info()} | {torch.get_num_threads()}
            warnings.warn(f"{threads} and {os.environ['OMP_NUM_THREADS']}", RuntimeWarning, stacklevel=1)
            return super().step(action)

    with pytest.warns(RuntimeWarning, match=r"\{1\} and 1") as caught:
        pg.train(lambda: Warns([3]), pg.Reinforce(), seeds=2, cores=2, vectorize="sync", **SMALL)
    assert {warning.filename for warning in caught} == {__file__}


def test_what_cannot_be_sent_is_named_and_threads_are_used(capsys: pytest.CaptureFixture[str]):
    lock = threading.Lock()

    def factory() -> gym.Env[Any, Any]:
        with lock:
            return Countdown([3])

    options = SMALL | {"seeds": 2, "cores": 2, "vectorize": "sync"}
    assert len(pg.train(factory, pg.Reinforce(), progress=True, **options)) == 2
    assert "2 at a time, in threads (env cannot be sent to another process: " in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"env cannot be sent to another process: .*lock"):
        pg.train(factory, pg.Reinforce(), parallel="processes", **options)


def test_what_another_process_cannot_import_is_trained_in_threads(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """A module that was made by hand is sent by its name, which means nothing in another process."""
    module = ModuleType("handmade")
    exec("from tests.helpers import Countdown\ndef make():\n    return Countdown([3])\n", module.__dict__)
    monkeypatch.setitem(sys.modules, "handmade", module)
    make = module.make  # type: ignore[attr-defined]
    options = SMALL | {"seeds": 3, "cores": 2, "vectorize": "sync"}
    assert len(pg.train(make, pg.Reinforce(), progress=True, **options)) == 3
    expected = "could not be restored there: ModuleNotFoundError: No module named 'handmade'"
    assert expected in capsys.readouterr().err
    with pytest.raises(ValueError, match=expected):
        pg.train(make, pg.Reinforce(), parallel="processes", **options)


def experiment(env: Any = "CartPole-v1", **options: Any) -> Experiment:
    algorithm = options.pop("algorithm", "reinforce")
    return Experiment(env, *settings_from(options).resolved(env, algorithm))


def test_threads_are_used_where_everything_is_compiled():
    for env in ("CartPole-v1", "tests.unit.test_seeds_in_processes:KERNEL", KERNEL):
        assert in_python(experiment(env)) is None
    for env, options in (
        ("CartPole-v1", {"backend": "gymnasium"}),
        ("CartPole-v1", {"wrap": gym.wrappers.FlattenObservation}),
        ("gymnasium:CartPole-v1", {}),
        ("HalfCheetah-v5", {}),
        (lambda: Countdown([3]), {}),
    ):
        assert in_python(experiment(env, **options)) == "Python steps the environments"
    for options in ({"engine": "autograd"}, {"policy": Net}, {"value": lambda inputs: Net(inputs, 1)}):
        assert in_python(experiment(**options)) == "torch computes the networks"
    # the fused engine takes a Sequential, and making one to find out leaves torch's generator as it is
    before = torch.get_rng_state()
    assert in_python(experiment(policy=lambda *sizes: nn.Sequential(nn.Linear(*sizes)))) is None
    assert torch.equal(torch.get_rng_state(), before)
    shaped = experiment("MountainCar-v0", shaping=lambda reward, *_: reward)
    assert in_python(shaped) == "Python shapes the rewards"
    assert in_python(experiment("MountainCarContinuous-v0")) is None
    for algorithm in (pg.ActorCritic(critic="q"), pg.Reinforce(baseline="optimal")):
        assert in_python(experiment(algorithm=algorithm, num_envs=1)) == "Python performs small updates"
    assert in_python(experiment(algorithm=pg.TRPO(), num_envs=8)) is None
    assert in_python(experiment(algorithm=pg.ActorCritic(policy_trace=0.5), num_envs=1)) is None


def test_the_run_says_which_is_used(capsys: pytest.CaptureFixture[str]):
    for options, expected in (
        ({"cores": 2}, "seeds: 2 at a time, in threads (everything is compiled)"),
        ({"cores": 1, "backend": "gymnasium"}, "seeds: one after another"),
        ({"cores": 9, "parallel": "processes"}, "seeds: 2 at a time, each in a process (requested)"),
        ({"cores": 9, "parallel": "threads"}, "seeds: 2 at a time, in threads (requested)"),
    ):
        pg.train("CartPole-v1", seeds=2, progress=True, **SMALL, **options)
        assert capsys.readouterr().err.splitlines()[0] == expected
    with pytest.raises(ValueError, match="applies only to several runs"):
        pg.train("CartPole-v1", parallel="processes", **SMALL)


def test_what_was_registered_from_a_module_that_is_gone_is_not_sent(monkeypatch: pytest.MonkeyPatch):
    """An experiment that does not need it can be sent all the same."""

    class Gone(pg.A2C):
        pass

    Gone.__module__, Gone.__qualname__ = "module_that_is_gone", "Gone"
    experiment = Experiment("CartPole-v1", *settings_from({"steps": 100}).resolved("CartPole-v1", "a2c"))
    monkeypatch.setitem(ALGORITHMS, "gone", Gone)
    contents, _ = unpacked(packed(experiment).data)
    assert "gone" not in contents.algorithms
    assert contents.algorithms["a2c"] is pg.A2C

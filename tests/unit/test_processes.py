"""Environments in separate processes: the same results, named faults, and no process left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv

import policygrad as pg
from policygrad._support.seeding import EpisodeSeeds
from policygrad.envs import make
from policygrad.envs.processes import ProcessVectorEnv, processes_pay
from tests.helpers import Countdown


class Noisy(gym.Env):
    """Draws from a generator with a fixed seed and from that of Gymnasium."""

    observation_space = spaces.Box(-10, 10, (3,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, size: float = 1.0) -> None:
        self.rng, self.t, self.size = np.random.default_rng(3), 0, size

    def _observation(self) -> np.ndarray:
        drawn = self.rng.standard_normal(3) + self.np_random.standard_normal(3)
        return (self.size * drawn).clip(-10, 10).astype(np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        self.t = 0
        return self._observation(), {}

    def step(self, action: int):
        self.t += 1
        over = self.rng.random() < 0.1
        return (
            self._observation(),
            float(self.rng.random() + action),
            bool(over),
            self.t == 30,
            {"t": [self.t]},
        )


class Waiting(Noisy):
    def step(self, action: int):
        time.sleep(0.004)
        return super().step(action)


@pytest.mark.parametrize("algorithm", [pg.Reinforce(), pg.A2C()], ids=["reinforce", "a2c"])
def test_results_do_not_depend_on_where_environments_run(algorithm: Any):
    def trained(vectorize: str, env: Any = Noisy) -> pg.Run:
        return pg.train(
            env, algorithm, steps=600, num_envs=3, vectorize=vectorize, env_kwargs={"size": 2.0}, seed=1
        )

    runs = [trained("sync"), trained("processes"), trained("auto")]
    for run in runs[1:]:
        for name, history in runs[0].history.items():
            if name != "seconds":
                np.testing.assert_array_equal(history, run.history[name], err_msg=name)
        assert run.selection == runs[0].selection


def test_processes_are_used_if_they_are_measured_to_pay():
    assert processes_pay(Waiting, 8)
    assert not processes_pay(Noisy, 8)
    assert not processes_pay(Waiting, 1)
    environments = make(Waiting, 4)
    assert isinstance(environments.vector, ProcessVectorEnv)
    environments.close()
    environments = make(Noisy, 4)
    assert isinstance(environments.vector, SyncVectorEnv)
    environments.close()


def test_the_measurement_calls_no_factory_in_this_process():
    """A factory that makes another environment at each call makes the same ones as without the measurement."""
    made: list[int] = []

    def factory() -> gym.Env:
        made.append(len(made))
        return Noisy(size=float(len(made)))

    environments = make(factory, 3)
    assert made == [0, 1, 2]
    environments.close()


def test_an_environment_that_fails_in_the_measurement_stays_in_this_process():
    class Picky(Noisy):
        def step(self, action: int):
            assert action == 2
            return super().step(action)

    class Exits(Noisy):
        def step(self, action: int):
            os._exit(3)

    assert not processes_pay(Picky, 8)
    assert not processes_pay(Exits, 8)


def test_each_process_has_one_thread():
    class Threads(Noisy):
        def _observation(self) -> np.ndarray:
            import torch

            return np.array([torch.get_num_threads(), 0, 0], np.float32)

    environments = make(Threads, 2, vectorize="processes")
    assert environments.reset(EpisodeSeeds(np.random.default_rng(0)))[:, 0].tolist() == [1, 1]
    environments.close()


def test_evaluation_can_use_processes():
    policy = pg.train(Noisy, pg.Reinforce(), steps=60, num_envs=2, vectorize="sync").policy
    results = [pg.evaluate(policy, Noisy, 6, num_envs=3, vectorize=how) for how in ("sync", "processes")]
    np.testing.assert_array_equal(results[0].returns, results[1].returns)


class Failing(Countdown):
    def __init__(self, where: str) -> None:
        super().__init__([5])
        self.where = where
        if where == "init":
            self.fail()

    def fail(self) -> None:
        if self.where == "exit":
            sys.exit(3)
        if self.where == "killed":
            os.kill(os.getpid(), signal.SIGKILL)

        class UnpicklableError(RuntimeError):
            def __init__(self) -> None:
                super().__init__("the motor is stuck")
                self.function = lambda: 0

        raise UnpicklableError

    def step(self, action: int):
        self.fail()


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (
            "step",
            r"environment 0 raised UnpicklableError in step: the motor is stuck\n(.|\n)*test_processes.py.*in fail",
        ),
        ("exit", r"environment 0: Failing: step 1 of an episode called sys\.exit\(3\)"),
        ("killed", r"Failing: the process of environment 0 \(exit code -9, SIGKILL\).*ended unexpectedly"),
    ],
)
def test_a_fault_in_a_process_is_named(where: str, message: str, tmp_path: Path):
    environments = make(lambda: Failing(where), 2, vectorize="processes")
    processes = environments.vector.processes  # type: ignore[attr-defined]
    environments.reset(EpisodeSeeds(np.random.default_rng(0)))
    with pytest.raises(pg.EnvironmentFault, match=message):
        environments.step(np.zeros(2, np.int64))
    environments.close()
    assert not any(process.is_alive() for process in processes)


def test_a_fault_while_an_environment_is_made_is_named():
    class Later(Countdown):
        """Made in this process, while every other process fails to make one."""

    def factory(here: int = os.getpid()) -> gym.Env:
        return Failing("init") if os.getpid() != here else Later([3])

    with pytest.raises(
        pg.EnvironmentFault, match="environment 0 raised UnpicklableError while it was created"
    ):
        make(factory, 2, vectorize="processes")


def test_what_was_learned_before_a_fault_is_saved(tmp_path: Path):
    class Fragile(Countdown):
        def step(self, action: int):
            if self.episode == 4:
                raise OSError("the cable is out")
            return super().step(action)

    with pytest.raises(pg.EnvironmentFault, match="the cable is out") as caught:
        pg.train(
            lambda: Fragile([6]), pg.Reinforce(), num_envs=2, vectorize="processes", out=tmp_path / "run"
        )
    run = caught.value.run  # type: ignore[attr-defined]
    assert run.steps == 48
    assert run.ended == "error"
    assert pg.load(tmp_path / "run").act([0.0, 0.0]) in (0, 1)


SCRIPT = """
    import os, sys, time
    import numpy as np, policygrad as pg
    import gymnasium as gym
    from gymnasium import spaces

    class Waiting(gym.Env):
        observation_space = spaces.Box(-1, 1, (2,), np.float32)
        action_space = spaces.Discrete(2)
        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return np.zeros(2, np.float32), {}
        def step(self, action):
            time.sleep(0.01)
            return np.zeros(2, np.float32), 1.0, bool(self.np_random.random() < 0.1), False, {}
"""


def children_of(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed]


def test_a_script_needs_no_main_guard(tmp_path: Path):
    script = textwrap.dedent(SCRIPT) + "\nprint(pg.train(Waiting, pg.Reinforce(), steps=200).steps)\n"
    (tmp_path / "script.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 200


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_no_process_is_left_behind(tmp_path: Path, how: signal.Signals):
    # tests that run in the background ignore Ctrl-C, and children inherit that
    script = textwrap.dedent(SCRIPT) + (
        "\nimport signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)"
        "\npg.train(Waiting, pg.Reinforce(), steps=10**9, num_envs=3, vectorize='processes', out='run')\n"
    )
    (tmp_path / "script.py").write_text(script)
    process = subprocess.Popen([sys.executable, "script.py"], cwd=tmp_path, stderr=subprocess.DEVNULL)
    metrics = tmp_path / "run" / "metrics.jsonl"
    try:
        # before its first update it may still be compiling
        for _ in range(1200):
            if metrics.exists() and metrics.stat().st_size:
                break
            time.sleep(0.1)
        workers = children_of(process.pid)
        process.send_signal(how)
        process.wait(60)
    finally:
        process.kill()
        process.wait()
    for _ in range(100):
        if not any(Path(f"/proc/{worker}").exists() for worker in workers):
            break
        time.sleep(0.1)
    assert len(workers) == 3
    assert not [worker for worker in workers if Path(f"/proc/{worker}").exists()]

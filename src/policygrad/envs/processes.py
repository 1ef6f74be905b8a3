"""Environments in processes of their own, and the measurement that says when that pays."""

from __future__ import annotations

import atexit
import multiprocessing
import multiprocessing.util  # pyright: ignore[reportUnusedImport]  # its function at exit must be registered before ours
import os
import signal
import time
import traceback
import weakref
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import gymnasium as gym
import torch
from gymnasium.vector import AsyncVectorEnv
from gymnasium.vector.async_vector_env import (
    AsyncState,
    _async_worker,  # pyright: ignore[reportPrivateUsage]
)

from policygrad._support.threads import single_thread
from policygrad.envs.quiet import without_warnings
from policygrad.errors import EnvironmentFault

MEASURED_SECONDS = 0.1
"""Time that measuring an environment takes at most, but for its first steps."""
OVERHEAD = 300e-6
"""Seconds that a step of all processes costs beside the environments' own time, roughly."""
GAIN = 0.7
"""Processes are used where they are expected to take this share of the time or less."""


class ProcessVectorEnv(AsyncVectorEnv):  # pyright: ignore[reportMissingTypeArgument]  # generic from Gymnasium 1.4 on
    """Gymnasium's `AsyncVectorEnv`, whose faults say which environment it was, and why.

    The processes are forked where the system can, so that scripts need no main guard and notebooks work. They
    end with their parent, however that ends.
    """

    def __init__(self, env_fns: list[Callable[[], gym.Env[Any, Any]]], name: str) -> None:
        self._name = name
        self._broken = False
        method = "fork" if "fork" in multiprocessing.get_all_start_methods() else None
        # Python 3.12 warns of forking beside threads; the children run nothing but their environment
        _open.add(self)
        with without_warnings(), self._named_ends():
            super().__init__(env_fns, context=method, worker=_worker)

    def reset(self, **options: Any) -> Any:
        """See `AsyncVectorEnv.reset`."""
        with self._named_ends():
            return super().reset(**options)

    def step(self, actions: Any) -> Any:
        """See `AsyncVectorEnv.step`."""
        with self._named_ends():
            return super().step(actions)

    def close_extras(self, timeout: float | None = None, terminate: bool = False) -> None:
        """End the processes, by force where one of them is gone."""
        for process in self.processes:
            # they ignore what `terminate` sends
            process.terminate = process.kill
        if self._broken:
            self._state = AsyncState.DEFAULT
        super().close_extras(timeout, terminate or self._broken)

    @contextmanager
    def _named_ends(self) -> Generator[None]:
        """Say which process ended, where one did; after any fault the others are ended by force."""
        try:
            yield
        except (EOFError, ConnectionError) as error:
            self._broken = True
            ended = list[str]()
            for i, process in enumerate(self.processes):
                process.join(0.2)
                if process.exitcode is not None:
                    ended.append(
                        f"environment {i} (exit code {process.exitcode}{_of_signal(process.exitcode)})"
                    )
            raise EnvironmentFault(
                f"{self._name}: the process of {' and '.join(ended) or 'an environment'} ended, or was killed. "
                "vectorize='sync' runs the environments in this process"
            ) from error
        except BaseException:
            self._broken = True
            raise

    def _raise_if_errors(self, successes: Iterable[bool]) -> None:
        failed = [i for i, success in enumerate(successes) if not success]
        if not failed:
            return
        faults = sorted((self.error_queue.get(timeout=10) for _ in failed), key=lambda fault: fault[0])
        self._broken = True
        raise EnvironmentFault("\n".join(str(fault[2]) for fault in faults))


_open: weakref.WeakSet[ProcessVectorEnv] = weakref.WeakSet()


@atexit.register
def _end_processes() -> None:
    """Before multiprocessing waits for processes that are still open, which it asks to end by a signal they ignore."""
    for vector in list(_open):
        for process in getattr(vector, "processes", []):
            # a fork of this process must not end the processes of its parent
            with suppress(AssertionError):
                if process.is_alive():
                    process.kill()


def _of_signal(code: int) -> str:
    try:
        return f", {signal.Signals(-code).name}" if code < 0 else ""
    except ValueError:
        return ""


def _worker(*arguments: Any) -> None:
    """Run Gymnasium's worker in a process that leaves signals to its parent, and whose libraries have a thread each.

    It ends when its parent's end of the pipe is closed, which the system does however the parent ends.
    """
    _leave_signals_to_the_parent()
    index, factory, pipe, *rest = arguments
    error_queue = arguments[5]

    def make() -> gym.Env[Any, Any]:
        return _Relayed(factory(), index)

    with single_thread(), suppress(EOFError, ConnectionError):
        try:
            env = make()
        except BaseException as error:
            # the first message is answered by what went wrong
            pipe.recv()
            fault = EnvironmentFault(_relayed(error, index, "making it"))
            error_queue.put((index, EnvironmentFault, fault, ""))
            pipe.send((None, False))
            return
        _async_worker(index, lambda: env, pipe, *rest)


def _leave_signals_to_the_parent() -> None:
    """Ignore what a terminal or a scheduler sends to all processes of a group: the parent saves and ends this one."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


class _Relayed(gym.Wrapper[Any, Any, Any, Any]):
    """Turns what an environment raises into one exception that any process can read, with its traceback."""

    def __init__(self, env: gym.Env[Any, Any], index: int) -> None:
        super().__init__(env)
        self._index = index

    def reset(self, **options: Any) -> Any:
        with self._relaying("reset"):
            return self.env.reset(**options)

    def step(self, action: Any) -> Any:
        with self._relaying("step"):
            return self.env.step(action)

    @contextmanager
    def _relaying(self, function: str) -> Generator[None]:
        try:
            yield
        except BaseException as error:
            raise EnvironmentFault(_relayed(error, self._index, function)) from None


def _relayed(error: BaseException, index: int, function: str) -> str:
    if isinstance(error, EnvironmentFault):
        return f"environment {index}: {error}"
    trace = "".join(traceback.format_exception(error)).rstrip()
    return (
        f"environment {index} raised {type(error).__name__} in {function}: {error}\n{trace}\n"
        "It ran in a process of its own; vectorize='sync' runs the environments in this process"
    )


class Costs(NamedTuple):
    """What a step costs, in seconds."""

    wall: float
    """Of one environment, by the clock."""
    cpu: float
    """Of which it computes."""
    together: float
    """Of all environments, one after another in this process."""
    apart: float
    """Of all environments in processes of their own, as far as can be told."""

    @property
    def pay(self) -> bool:
        """Whether processes are expected to be faster."""
        return self.apart <= GAIN * self.together


def processes_pay(make: Callable[[], gym.Env[Any, Any]], num_envs: int) -> bool:
    """Measure an environment made for the purpose, and return whether processes would be faster.

    It is made and measured in a process of its own where the system can fork, so that this process, and the next call
    of `make`, are as if nothing had been measured. An environment that does not take random actions stays here.
    """
    # what CUDA has begun in this process, no forked one can use
    if num_envs < 2 or torch.cuda.is_initialized():
        return False
    if "fork" not in multiprocessing.get_all_start_methods():
        return _pay(make, num_envs)
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)

    def measure() -> None:
        _leave_signals_to_the_parent()
        send.send(_pay(make, num_envs))

    with without_warnings():
        process = context.Process(target=measure, daemon=True)
        process.start()
    send.close()
    try:
        return receive.recv()
    except EOFError:
        # it ended the process: whatever is wrong with it shows where it is trained on
        return False
    except BaseException:
        process.kill()
        raise
    finally:
        process.join()


def _pay(make: Callable[[], gym.Env[Any, Any]], num_envs: int) -> bool:
    try:
        return costs(make, num_envs).pay
    except Exception:
        return False


def costs(make: Callable[[], gym.Env[Any, Any]], num_envs: int) -> Costs:
    """Measure an environment made for the purpose, with random actions.

    One process per environment takes its wall-clock time, but no more cores than there are; one after the other
    they take all of it. Environments that wait gain most, those that compute gain by the cores.
    """
    env = make()
    try:
        with single_thread():
            env.action_space.seed(0)
            env.reset(seed=0)
            # the first step often makes what later ones use
            over = any(env.step(env.action_space.sample())[2:4])
            steps, wall, cpu = 0, time.perf_counter(), time.thread_time()
            while time.perf_counter() - wall < MEASURED_SECONDS and steps < 1000:
                if over:
                    env.reset()
                over = any(env.step(env.action_space.sample())[2:4])
                steps += 1
            wall, cpu = (time.perf_counter() - wall) / steps, (time.thread_time() - cpu) / steps
    finally:
        env.close()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    apart = max(wall, num_envs * cpu / min(cores, num_envs)) + OVERHEAD
    return Costs(wall, cpu, num_envs * wall, apart)

"""Runs environments in separate processes, and measures whether that is faster."""

from __future__ import annotations

import atexit
import multiprocessing
import multiprocessing.util  # pyright: ignore[reportUnusedImport]  # its exit handler must be registered before ours
import os
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

from policygrad._support.child_processes import SIGNALS, exit_in_words, leave_to_parent
from policygrad._support.threads import single_thread
from policygrad.envs.quiet import without_warnings
from policygrad.errors import EnvironmentFault

MEASURED_SECONDS = 0.1
"""Maximum time in seconds that is spent measuring an environment, not counting its first steps."""
OVERHEAD = 300e-6
"""Approximate overhead in seconds per step of all processes, in addition to the environments' own time."""
GAIN = 0.7
"""Processes are used if they are expected to take at most this fraction of the time."""


class ProcessVectorEnv(AsyncVectorEnv):  # pyright: ignore[reportMissingTypeArgument]  # generic from Gymnasium 1.4 on
    """Gymnasium's `AsyncVectorEnv` with errors that say which environment failed, and why.

    The processes are forked where the operating system supports it, so that scripts need no main guard and notebooks
    work. They end when their parent ends, even if it is killed.
    """

    def __init__(self, env_fns: list[Callable[[], gym.Env[Any, Any]]], name: str) -> None:
        self._name = name
        self._broken = False
        method = "fork" if "fork" in multiprocessing.get_all_start_methods() else None
        _open.add(self)
        # Python 3.12 warns about forking a process that has threads; here the children only run their environment
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
        """End the processes; kill them if there was an error."""
        for process in self.processes:
            # the processes ignore the signal that `terminate` sends
            process.terminate = process.kill
        if self._broken:
            self._state = AsyncState.DEFAULT
        super().close_extras(timeout, terminate or self._broken)

    @contextmanager
    def _named_ends(self) -> Generator[None]:
        """Say which process has ended, if one has; after any error, `close` kills the processes."""
        try:
            yield
        except (EOFError, ConnectionError) as error:
            self._broken = True
            ended = list[str]()
            for i, process in enumerate(self.processes):
                process.join(0.2)
                if process.exitcode is not None:
                    ended.append(f"environment {i} ({exit_in_words(process.exitcode)})")
            raise EnvironmentFault(
                f"{self._name}: the process of {' and '.join(ended) or 'an environment'} ended unexpectedly. "
                "Set vectorize='sync' to run the environments in the main process"
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
    """Kill the processes that are still open.

    Otherwise multiprocessing would wait for them forever at exit, because they ignore the signal that it sends.
    """
    for vector in list(_open):
        for process in getattr(vector, "processes", []):
            # in a fork of this process, is_alive raises AssertionError: it must not kill its parent's processes
            with suppress(AssertionError):
                if process.is_alive():
                    process.kill()


def _worker(*arguments: Any) -> None:
    """Run Gymnasium's worker in a process that ignores signals and whose libraries use one thread each.

    The worker ends when its parent's end of the pipe is closed. The system closes it even if the parent is killed.
    """
    leave_to_parent(*SIGNALS)
    index, factory, pipe, *rest = arguments
    error_queue = arguments[5]

    def make() -> gym.Env[Any, Any]:
        return _Relayed(factory(), index)

    with single_thread(), suppress(EOFError, ConnectionError):
        try:
            env = make()
        except BaseException as error:
            # the error is the answer to the first message
            pipe.recv()
            fault = EnvironmentFault(_relayed(error, index, "while it was created"))
            error_queue.put((index, EnvironmentFault, fault, ""))
            pipe.send((None, False))
            return
        _async_worker(index, lambda: env, pipe, *rest)


class _Relayed(gym.Wrapper[Any, Any, Any, Any]):
    """Turns an environment's exceptions into an EnvironmentFault with the traceback, which any process can unpickle."""

    def __init__(self, env: gym.Env[Any, Any], index: int) -> None:
        super().__init__(env)
        self._index = index

    def reset(self, **options: Any) -> Any:
        with self._relaying("in reset"):
            return self.env.reset(**options)

    def step(self, action: Any) -> Any:
        with self._relaying("in step"):
            return self.env.step(action)

    @contextmanager
    def _relaying(self, when: str) -> Generator[None]:
        try:
            yield
        except BaseException as error:
            raise EnvironmentFault(_relayed(error, self._index, when)) from None


def _relayed(error: BaseException, index: int, when: str) -> str:
    if isinstance(error, EnvironmentFault):
        return f"environment {index}: {error}"
    trace = "".join(traceback.format_exception(error)).rstrip()
    return (
        f"environment {index} raised {type(error).__name__} {when}: {error}\n{trace}\n"
        "The environment ran in a separate process. Set vectorize='sync' to run all of them in the main process"
    )


class Costs(NamedTuple):
    """Time per step, in seconds."""

    wall: float
    """Wall-clock time of one environment."""
    cpu: float
    """CPU time of one environment."""
    together: float
    """Wall-clock time of all environments, one after another in this process."""
    apart: float
    """Estimated wall-clock time of all environments in separate processes."""

    @property
    def pay(self) -> bool:
        """True if processes are expected to be faster."""
        return self.apart <= GAIN * self.together


def processes_pay(make: Callable[[], gym.Env[Any, Any]], num_envs: int) -> bool:
    """Return whether separate processes would be faster, by measuring an environment created for this purpose.

    The measurement runs in a separate process where the system can fork, so that it affects neither this process nor
    the next call of `make`. An environment that fails on random actions is not moved to processes.
    """
    # a forked process cannot use CUDA once this process has initialized it
    if num_envs < 2 or torch.cuda.is_initialized():
        return False
    if "fork" not in multiprocessing.get_all_start_methods():
        return _pay(make, num_envs)
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)

    def measure() -> None:
        leave_to_parent(*SIGNALS)
        send.send(_pay(make, num_envs))

    with without_warnings():
        process = context.Process(target=measure, daemon=True)
        process.start()
    send.close()
    try:
        return receive.recv()
    except EOFError:
        # the environment ended the measuring process; the error will be reported when training runs it
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
    """Measure the time per step of an environment created for this purpose, with random actions.

    In separate processes, a step of all environments takes as long as a step of one, or the total CPU time divided by
    the number of cores if that is longer. In one process, it takes the sum of all wall-clock times. Environments that
    wait gain the most from processes; those that compute gain in proportion to the number of cores.
    """
    env = make()
    try:
        with single_thread():
            env.action_space.seed(0)
            env.reset(seed=0)
            # not measured: the first step often sets up what later ones use
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

"""Actors in processes of this machine, which tests can kill."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

import cloudpickle

import policygrad as pg
from policygrad._support.threads import single_thread
from policygrad.parallel import Remote, RemoteActors, Request, Server, connect
from policygrad.runs.experiment import Experiment
from policygrad.runs.interruption import Interruption
from policygrad.runs.progress import Silent
from policygrad.runs.running import run_experiment
from policygrad.runs.settings import settings_from

PROCESSES = multiprocessing.get_context("spawn")


def serve(pipe: Connection, packed: bytes, seed: int, actor: int) -> None:
    """What the process of an actor does."""
    experiment: Experiment = pickle.loads(packed)
    server = Server("127.0.0.1")
    pipe.send(server.address)
    with single_thread():
        server.serve(experiment.share(seed, actor))


class ProcessActor:
    """An actor in a process; see `Remote`."""

    def __init__(self, experiment: Experiment, seed: int, actor: int) -> None:
        own, theirs = PROCESSES.Pipe()
        # functions of a test cannot be imported
        packed = cloudpickle.dumps(experiment.without_callback())
        self.process = PROCESSES.Process(target=serve, args=(theirs, packed, seed, actor))
        self.process.start()
        self.connection = connect(own.recv())

    def ended(self) -> str | None:
        code = self.process.exitcode
        return None if code is None else f"its process ended with exit code {code}"

    def close(self) -> None:
        self.connection.close()
        self.process.join(10)
        self.process.kill()


class Heard(Silent):
    """A display that remembers what it was told."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def say(self, message: str) -> None:
        self.messages.append(message)


class Processes:
    """Trains with actors in processes, all of which `current` has.

    Args:
        kill: the method at whose n-th call an actor is killed: (method, n, actor).
    """

    def __init__(self, kill: tuple[str, int, int] | None = None) -> None:
        self.current: dict[int, ProcessActor] = {}
        self.display = Heard()
        self._kill = kill
        self._asked = 0

    def note(self, method: str) -> None:
        """Kill an actor if it is time."""
        if self._kill is not None and method == self._kill[0]:
            self._asked += 1
            if self._asked == self._kill[1]:
                process = self.current[self._kill[2]].process
                process.kill()
                process.join()

    def train(self, env: Any, algorithm: Any, **settings: Any) -> pg.Run:
        """See `pg.train`."""
        experiment = Experiment(env, *settings_from(settings).resolved(env, algorithm))
        with Interruption(self.display.say) as interruption:
            return run_experiment(
                experiment, experiment.settings.seed, self.display, interruption, start_actors=self._actors
            )

    def _actors(self, experiment: Experiment, seed: int) -> RemoteActors:
        def start(actors: Sequence[int]) -> list[Remote]:
            self.current |= {actor: ProcessActor(experiment, seed, actor) for actor in actors}
            return [self.current[actor] for actor in actors]

        assert experiment.settings.actors is not None
        return Observed(start, experiment.settings.actors, self.note)


class Observed(RemoteActors):
    """Actors that tell a function what they are asked."""

    def __init__(self, start: Any, count: int, note: Callable[[str], None]) -> None:
        super().__init__(start, count)
        self._note = note

    def ask(self, requests: Sequence[Request]) -> list[Any]:
        self._note(requests[0].method)
        return super().ask(requests)

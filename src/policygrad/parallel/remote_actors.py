"""Actors in other processes, on this machine or on others: the leader's connections to them, and their side of these.

A connection is a TCP socket on which both ends have shown that they know the same key. What is sent over it is pickled,
so nobody else may know the key. It is not encrypted.
"""

from __future__ import annotations

import pickle
import secrets
import socket
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener, answer_challenge, deliver_challenge
from typing import Any, NoReturn, Protocol

import cloudpickle

from policygrad._support.child_processes import RemoteTraceback, pack_failure
from policygrad.errors import ActorLostError
from policygrad.parallel.actors import Request
from policygrad.parallel.share import Share

LONGEST_SILENCE = 10
"""Seconds that the other end of a new connection has to show that it knows the key, and after which a machine that
sends nothing is asked whether it is still there."""
PATIENCE = 1.0
"""Seconds between two checks of whether an actor that has not answered still exists."""


@dataclass(frozen=True)
class Address:
    """Where an actor listens, and the key that the leader needs."""

    host: str
    port: int
    key: bytes


class Remote(Protocol):
    """An actor in another process."""

    @property
    def connection(self) -> Connection:
        """The connection to it."""
        ...

    def ended(self) -> str | None:
        """Return why it has ended, in words; None as long as it exists."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class RemoteActors:
    """See `Actors`.

    Args:
        start: starts the actors with these indices, and returns them.
        count: number of actors.
    """

    may_be_lost = True

    def __init__(self, start: Callable[[Sequence[int]], list[Remote]], count: int) -> None:
        self.count = count
        self._start = start
        self._remotes = start(range(count))
        self._lost: dict[int, str] = {}

    def ask(self, requests: Sequence[Request]) -> list[Any]:
        """See `Actors.ask`."""
        for actor, request in enumerate(requests):
            message = pickle.dumps(request, protocol=pickle.HIGHEST_PROTOCOL)
            try:
                self._remotes[actor].connection.send_bytes(message)
            except OSError as error:
                self._lose(actor, error)
        answers, errors = list[Any](), list[bytes]()
        for actor in range(self.count):
            worked, answer = self._answer(actor)
            if worked:
                answers.append(answer)
            elif answer is not None:
                errors.append(answer)
        if self._lost:
            reasons = "; ".join(f"actor {actor + 1} was lost: {why}" for actor, why in self._lost.items())
            raise ActorLostError(reasons)
        if errors:
            raise_packed(errors[0])
        return answers

    def _answer(self, actor: int) -> tuple[bool, Any]:
        """Return whether an actor's request worked, and its answer or its error; None for one that is lost."""
        remote = self._remotes[actor]
        if actor not in self._lost:
            try:
                while not remote.connection.poll(PATIENCE):
                    if (why := remote.ended()) is not None:
                        raise EOFError(why)
                return pickle.loads(remote.connection.recv_bytes())
            except (EOFError, OSError) as error:
                self._lose(actor, error)
        return False, None

    def _lose(self, actor: int, error: Exception) -> None:
        deadline = time.monotonic() + PATIENCE
        # what ended it is known a little later than that its connection is closed
        while (why := self._remotes[actor].ended()) is None and time.monotonic() < deadline:
            time.sleep(0.01)
        self._lost[actor] = why or str(error) or "its connection was closed"

    def replace_lost(self) -> None:
        """See `Actors.replace_lost`."""
        lost = list(self._lost)
        for actor in lost:
            self._remotes[actor].close()
        for actor, remote in zip(lost, self._start(lost), strict=True):
            self._remotes[actor] = remote
        self._lost.clear()

    def close(self) -> None:
        """See `Actors.close`."""
        for remote in self._remotes:
            remote.close()


class Server:
    """An actor's side: waits for the leader, and answers what it asks. It listens from the moment it is created.

    Args:
        host: the address of this machine under which the leader reaches it.
    """

    def __init__(self, host: str) -> None:
        key = secrets.token_bytes(32)
        self._listener = Listener((host, 0))
        self.address = Address(host, int(self._listener.address[1]), key)

    def serve(self, share: Share) -> None:
        """Answer until the leader closes the connection, and close the share."""
        try:
            with self._listener, self._accepted() as connection, suppress(EOFError, OSError):
                while True:
                    request = pickle.loads(connection.recv_bytes())
                    connection.send_bytes(_answer(share, request))
        finally:
            share.close()

    def _accepted(self) -> Connection:
        """Return the connection of the leader. Others, which do not know the key, are turned away."""
        while True:
            with suppress(AuthenticationError, EOFError, OSError):
                connection = self._listener.accept()
                return _authenticated(connection, self.address.key, deliver_challenge, answer_challenge)


def connect(address: Address) -> Connection:
    """Connect to the `Server` at an address; raise ConnectionError if this machine cannot reach it."""
    try:
        connection = Client((address.host, address.port))
        return _authenticated(connection, address.key, answer_challenge, deliver_challenge)
    except (EOFError, OSError) as error:
        raise ConnectionError(
            f"the actor at {address.host}:{address.port} cannot be reached from this machine: {error}. The leader of a "
            "run connects to its actors on ports that the system chooses, which a firewall must allow"
        ) from error


def _authenticated(
    connection: Connection, key: bytes, *steps: Callable[[Connection, bytes], None]
) -> Connection:
    """Return a connection on which both ends have shown that they know the key, as `multiprocessing` does.

    Raises:
        AuthenticationError: the other end does not know it.
        OSError: it does not answer.
    """
    try:
        with _socket_of(connection) as own:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", LONGEST_SILENCE, 0))
        for step in steps:
            step(connection, key)
        with _socket_of(connection) as own:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 0))
            # without Nagle's algorithm, which would wait 40 ms for more to send
            own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # a machine that is gone without a word is noticed
            own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                own.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, LONGEST_SILENCE)
                own.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 2_000 * LONGEST_SILENCE)
    except BaseException:
        connection.close()
        raise
    return connection


def _answer(share: Share, request: Request) -> bytes:
    try:
        answer: tuple[bool, Any] = True, share.answer(*request)
    except BaseException as error:
        answer = False, pack_error(error)
    return pickle.dumps(answer, protocol=pickle.HIGHEST_PROTOCOL)


def raise_packed(error: bytes) -> NoReturn:
    """Raise the error of another process, whose traceback there is its cause."""
    own, trace = pickle.loads(error)
    raise own from RemoteTraceback(*trace)


def pack_error(error: BaseException) -> bytes:
    """Return an error and its traceback as bytes; a RuntimeError in place of one that cannot be sent."""
    return pack_failure(error, lambda *both: cloudpickle.dumps(both), pickle.loads)


def _socket_of(connection: Connection) -> socket.socket:
    """Return the socket of a connection, which can be closed without closing the connection."""
    return socket.socket(fileno=socket.dup(connection.fileno()))

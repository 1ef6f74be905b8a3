"""The token with which Ray's processes recognize each other.

A cluster that `ray start` or `ray.init` starts asks for a token since Ray 2.59, and so does ours. A process that
connects to it must be told to send one.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
"""Ray's environment variables."""

_own = secrets.token_hex(32)
"""Token of the clusters that this process starts. Nothing is written to the home directory."""


@contextmanager
def token_mode(*, starts_cluster: bool) -> Generator[None]:
    """Let Ray use tokens within the block, unless the user has decided about that.

    Args:
        starts_cluster: a cluster is started, for which there is a new token if the user has none.
    """
    added = _settings(starts_cluster=starts_cluster)
    os.environ.update(added)
    _read_again(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
        _read_again(added)


def _settings(*, starts_cluster: bool) -> dict[str, str]:
    if MODE in os.environ:
        return {}
    has_token = TOKEN in os.environ or TOKEN_PATH in os.environ
    if starts_cluster:
        return {MODE: "token"} if has_token else {MODE: "token", TOKEN: _own}
    in_home = (Path.home() / ".ray" / "auth_token").exists()
    return {MODE: "token"} if has_token or in_home else {}


def _read_again(settings: dict[str, str]) -> None:
    """Let Ray read the environment variables again, which it does only once by itself."""
    if settings:
        internals: Any = import_module("ray._raylet")
        internals.Config.initialize("")
        internals.AuthenticationTokenLoader.instance().reset_cache()

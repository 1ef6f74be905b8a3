"""The setting `on`: which cluster trains the runs."""

from __future__ import annotations

import re

LOCAL = "ray"
"""Starts a Ray cluster on this machine."""


def check_on(on: str, seeds: int | None, actors: int | None, parallel: str, on_update: object) -> None:
    """Raise ValueError unless `on` is `ray` or an address, and runs with these settings can be trained on a cluster."""
    if on != LOCAL:
        host_and_port(on)
    if seeds is None and actors is None:
        raise ValueError(
            "on (--on) applies to several runs, or to one that actors share. Set the number of runs with seeds "
            "(--seeds), or that of the actors with actors (--actors)."
        )
    if parallel != "auto":
        raise ValueError(
            "parallel (--parallel) chooses how this machine trains several runs, and on (--on) trains them on a "
            "cluster. Leave one of them out."
        )
    if on_update is not None and seeds is not None:
        raise ValueError(
            "on_update is called in this process, but on (--on) trains the runs in others. Leave one of them out."
        )


def host_and_port(address: str) -> tuple[str, int]:
    """Return the host and the port of an address.

    >>> host_and_port("10.0.0.7:6379"), host_and_port("[::1]:6379")
    (('10.0.0.7', 6379), ('::1', 6379))

    Raises:
        ValueError: the text is not an address.
    """
    found = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):(\d{1,5})", address)
    if found is None or not 0 < int(found[2]) < 65536:
        hint = (
            " Give the address of the cluster's head instead of one of Ray Client."
            if "://" in address
            else ""
        )
        raise ValueError(
            f"on (--on) must be ray, for a Ray cluster on this machine, or the address HOST:PORT of a running one, "
            f"such as 10.0.0.7:6379; got {address!r}.{hint}"
        )
    return found[1].strip("[]"), int(found[2])

"""The settings of the cells of a study: those that differ, side by side, and those that all have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from policygrad.studies.saved_cell import SavedCell
from policygrad.studies.saved_study import SavedStudy

LEFT_OUT = ("environment", "environment_id", "seed", "seeds", "algorithm.loss_graph")
"""Entries of a configuration that are shown elsewhere, or that only a program reads."""


@dataclass(frozen=True)
class SettingsTable:
    """The settings of several cells."""

    title: str
    environment: str
    """Environment of all cells; empty if they are on several."""
    headings: list[str]
    """Name of each cell."""
    different: list[tuple[str, list[str]]]
    """Name and values of each setting that all cells have and that differs between them."""
    partial: list[tuple[str, list[str | None]]]
    """Name and values of each setting that only some cells have, as those of algorithms; None where it is missing."""
    common: list[tuple[str, str]]
    """Name and value of each setting that all cells have in common."""


def settings_tables(study: SavedStudy) -> list[SettingsTable]:
    """Return the settings by environment, or in one table if there is a single configuration."""
    started = [cell for cell in study.cells if cell.config]
    if len(study.configurations) == 1:
        return (
            [_table("All environments", "", started, [cell.environment for cell in started])]
            if started
            else []
        )
    tables = list[SettingsTable]()
    for environment in study.environments:
        cells = [cell for cell in started if cell.environment == environment]
        if cells:
            names = [cell.configuration for cell in cells]
            tables.append(_table(environment, environment, cells, names))
    return tables


def _table(title: str, environment: str, cells: Sequence[SavedCell], headings: list[str]) -> SettingsTable:
    columns = [flat_settings(cell.config) for cell in cells]
    names = list(dict.fromkeys(name for column in columns for name in column))
    everywhere = [name for name in names if all(name in column for column in columns)]
    rows = [(name, [column[name] for column in columns]) for name in everywhere]
    return SettingsTable(
        title,
        environment,
        headings,
        different=[(name, values) for name, values in rows if len(set(values)) > 1],
        partial=[
            (name, [column.get(name) for column in columns]) for name in names if name not in everywhere
        ],
        common=[(name, values[0]) for name, values in rows if len(set(values)) == 1],
    )


def flat_settings(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings of a `config.json` by name, those of the algorithm first.

    >>> flat_settings({"steps": 1000, "algorithm": {"name": "ppo", "clip": 0.2}, "network": {"hidden": [8, 8]}})
    {'algorithm.name': 'ppo', 'algorithm.clip': '0.2', 'steps': '1000', 'network.hidden': '8, 8'}
    """
    found = dict[str, str]()
    for name in ("algorithm", *(name for name in config if name != "algorithm")):
        value = config.get(name)
        if isinstance(value, Mapping) and value:
            for inner, setting in cast("Mapping[str, Any]", value).items():
                found[f"{name}.{inner}"] = _shown(setting)
        elif name in config:
            found[name] = _shown(value)
    return {name: value for name, value in found.items() if name not in LEFT_OUT}


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_shown, cast("list[Any]", value))) or "none"
    if isinstance(value, Mapping):
        pairs = cast("Mapping[str, Any]", value).items()
        return ", ".join(f"{name}: {_shown(one)}" for name, one in pairs) or "none"
    return str(value)

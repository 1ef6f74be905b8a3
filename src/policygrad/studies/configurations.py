"""What a study trains: named environments and named configurations, and the experiment that each pair makes."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, TypeAlias, cast

from policygrad._support.lookup import named
from policygrad.algorithms import Algorithm, WithLoss, algorithm_class, name_of
from policygrad.envs import EnvLike, PotentialShaping, without_module
from policygrad.policies import Network, Normalization
from policygrad.runs.experiment import Experiment
from policygrad.runs.settings import Settings, settings_from

ConfigurationLike: TypeAlias = "str | Algorithm | Mapping[str, Any] | Configuration"
"""An algorithm by name (also `module:Class`) or as a configuration, or a dict with the key `algorithm` and settings."""

NOT_VARIED = (
    "seed", "seeds", "out", "overwrite", "resume", "progress", "parallel", "on", "cores", "save_episodes",
)  # fmt: skip
"""Settings of `train` that belong to a whole study and not to one of its configurations."""


@dataclass(frozen=True)
class Configuration:
    """An algorithm and settings that differ from those of its preset, under a name."""

    name: str
    algorithm: str | Algorithm = "reinforce"
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Settings by name: fields of the algorithm, of `Network`, of `Normalization`, or of `Settings`."""

    def varied(self, varied: Mapping[str, Any], shown: Iterable[str]) -> Configuration:
        """Return a copy with further settings, of which those `shown` become part of the name."""
        words = [f"{name}={_short(varied[name])}" for name in shown]
        return replace(self, name=" ".join([self.name, *words]), settings={**self.settings, **varied})

    def experiment(self, env: EnvLike, shared: Mapping[str, Any]) -> Experiment:
        """Return the experiment that this configuration makes on an environment.

        Args:
            env: the environment, as in `train`.
            shared: settings of `train` that all configurations of the study have.

        Raises:
            ValueError, TypeError: a setting does not exist or has a wrong value.
        """
        algorithm = self.algorithm
        if isinstance(algorithm, str) and ":" in algorithm:
            kind = named("algorithm", algorithm)
            algorithm = cast(Algorithm, kind() if isinstance(kind, type) else kind)
        kind = algorithm_class(algorithm) if isinstance(algorithm, str) else type(algorithm)
        of_run, of_algorithm, of_network, of_normalization = self._sorted(kind)
        requested = settings_from({**shared, **of_run})
        algorithm, settings = requested.resolved(env, algorithm)
        if of_algorithm:
            algorithm = _with(algorithm, of_algorithm)
            if isinstance(settings.shaping, PotentialShaping) and requested.shaping == "preset":
                shaping = replace(settings.shaping, gamma=algorithm.gamma)
                settings = replace(settings, shaping=shaping)
        network = replace(settings.network or Network(), **of_network)
        normalization = replace(settings.normalization or Normalization(), **of_normalization)
        return Experiment(env, algorithm, replace(settings, network=network, normalization=normalization))

    def _sorted(self, algorithm: type[Any]) -> tuple[dict[str, Any], ...]:
        """Return the settings by whom they belong to: the run, the algorithm, the network, the normalization."""
        owners = (Settings, algorithm, Network, Normalization)
        known = [{f.name for f in fields(owner)} if is_dataclass(owner) else set[str]() for owner in owners]
        found = tuple(dict[str, Any]() for _ in owners)
        for name, value in self.settings.items():
            if name in NOT_VARIED:
                raise ValueError(
                    f"{name} is a setting of the whole study, so it cannot differ between configurations"
                )
            owner = next((i for i, names in enumerate(known) if name in names), None)
            if owner is None:
                all_names = sorted(set[str]().union(*known) - set(NOT_VARIED))
                near = difflib.get_close_matches(name, all_names, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]}?" if near else f"the settings are {', '.join(all_names)}"
                raise ValueError(f"{self.name} has no setting {name!r}: {hint}")
            found[owner][name] = value
        return found


def _with(algorithm: Algorithm, settings: dict[str, Any]) -> Algorithm:
    settings = {
        name: named(name, value) if name in ("loss", "derivatives") and isinstance(value, str) else value
        for name, value in settings.items()
    }
    own = {name: value for name, value in settings.items() if name in WithLoss.without_flags}
    if own and isinstance(algorithm, WithLoss):
        # settings that only the built-in loss reads get their defaults, as with --loss
        defaults: WithLoss = type(algorithm)(**own)
        settings = {name: getattr(defaults, name) for name in defaults.unread_fields} | settings
    return replace(cast(Any, algorithm), **settings)


def environments_by_name(given: Any) -> dict[str, EnvLike]:
    """Return the environments of a study by their names, from one, several, or a dict with names.

    Raises:
        ValueError: there are none, or two have the same name.
    """
    if isinstance(given, Mapping):
        return _not_empty("environments", {str(name): env for name, env in given.items()})
    several: Sequence[EnvLike] = given if isinstance(given, list | tuple) else [given]
    return _by_name("environments", [(_name_of_env(env), env) for env in several])


def configurations_by_name(given: Any, vary: Mapping[str, Sequence[Any]]) -> dict[str, Configuration]:
    """Return the configurations of a study by their names.

    Args:
        given: one `ConfigurationLike`, several, or a dict of them with their names.
        vary: values for settings, of which all combinations are added to each configuration.

    Raises:
        ValueError: there are none, or two have the same name.
        TypeError: something is not a configuration.
    """
    if isinstance(given, Mapping) and "algorithm" not in given:
        base = [_configuration(one, str(name)) for name, one in given.items()]
    else:
        several: Sequence[Any] = given if isinstance(given, list | tuple) else [given]
        base = [_configuration(one, None) for one in several]
    for name, values in vary.items():
        if isinstance(values, str) or not isinstance(values, Sequence) or not len(values):  # pyright: ignore
            raise ValueError(f"vary: {name} needs a list of one or more values; got {values!r}")
    shown = [name for name, values in vary.items() if len(values) > 1]
    combinations = [dict(zip(vary, values, strict=True)) for values in itertools.product(*vary.values())]
    return _by_name(
        "configurations",
        [
            (c.name, c)
            for one in base
            for c in (one.varied(combination, shown) for combination in combinations)
        ],
    )


def _configuration(given: Any, name: str | None) -> Configuration:
    if isinstance(given, Configuration):
        return given if name is None else replace(given, name=name)
    settings = dict[str, Any]()
    if isinstance(given, Mapping):
        settings = {str(key): value for key, value in cast(Mapping[Any, Any], given).items()}
        given = settings.pop("algorithm", "reinforce")
    if isinstance(given, str):
        return Configuration(name or given.rpartition(":")[2], given, settings)
    if isinstance(given, type) or not isinstance(given, Algorithm):
        hint = "; call the class to make one" if isinstance(given, type) else ""
        raise TypeError(
            f"a configuration must be an algorithm's name, an algorithm or a dict; got {given!r}{hint}"
        )
    return Configuration(name or name_of(given), given, settings)


def _by_name(what: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict[str, Any]()
    for name, one in pairs:
        if name in found:
            raise ValueError(
                f"two {what} are called {name!r}. Leave one out or, in Python, give a dict with their names"
            )
        found[name] = one
    return _not_empty(what, found)


def _not_empty(what: str, found: dict[str, Any]) -> dict[str, Any]:
    if not found:
        raise ValueError(f"a study needs one or more {what}")
    return found


def _name_of_env(env: Any) -> str:
    if isinstance(env, str):
        return without_module(env)
    name = getattr(env, "name", None) or getattr(env, "__name__", None) or type(env).__name__
    return str(name)


def _short(value: Any) -> str:
    if callable(value):
        return getattr(value, "__name__", type(value).__name__)
    return str(value).replace(" ", "")

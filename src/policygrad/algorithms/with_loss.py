"""What algorithms with a per-sample loss have in common: the loss may be replaced, and says what it reads."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache, cached_property
from typing import Any, ClassVar

from policygrad._support.checks import check_fields
from policygrad._support.lookup import name_of_object
from policygrad.algorithms.columns import Column, Columns, own_column
from policygrad.algorithms.own_loss import algorithm_of, check_names, check_read, default_of, numeric_names
from policygrad.algorithms.schedule import linear, scheduled
from policygrad.errors import LossError
from policygrad.interfaces import Engine
from policygrad.losses import (
    OUTPUTS,
    DerivativesFunction,
    Loss,
    LossFunction,
    digest_of_function,
    from_derivatives,
    place_of,
    traced,
)
from policygrad.types import F32, Batch, Outputs


@dataclass(frozen=True, kw_only=True)
class WithLoss:
    """The loss of an algorithm, and what belongs to it.

    Raises:
        LossError: the loss cannot be traced, or reads what the algorithm cannot supply.
        ValueError: a coefficient, a column or a setting would have no effect.
    """

    loss: LossFunction
    """Loss of one sample, loss(s, k): see docs/losses.md."""
    derivatives: DerivativesFunction | None = None
    """Derivatives of a loss with respect to log π, H and V, written by hand, instead of `loss`."""
    coefficients: Mapping[str, float | linear] = field(
        default_factory=dict[str, "float | linear"], hash=False
    )
    """Coefficients of a loss of your own, by name: numbers, or `linear(start, end)`."""
    columns: Mapping[str, Column] = field(default_factory=dict[str, Column], hash=False)
    """Columns of a loss of your own, by name: functions of the columns of the whole batch."""

    supplied: ClassVar[tuple[str, ...]] = ("advantage", "target", "old_log_prob", "old_value")
    """Columns that the algorithm can compute."""
    computed_coefficients: ClassVar[tuple[str, ...]] = ()
    """Coefficients that it computes beside its fields."""
    without_flags: ClassVar[tuple[str, ...]] = ("loss", "derivatives", "coefficients", "columns")
    """Fields of this class, which the command line has flags of its own for: see `cli.own_loss`."""
    learns_value_by_loss: ClassVar[bool] = True
    """True if the loss is what V(s) learns by, so that it has to have a term for V(s)."""

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("coefficients", "columns"):
            given: Any = getattr(self, name)
            if not (isinstance(given, Mapping) and all(isinstance(key, str) for key in given)):  # pyright: ignore
                raise TypeError(f"{name} must be a dict by name; got {given!r}")
        self._check_own()
        loss = self.traced_loss
        if "log_prob" not in loss.outputs:
            raise LossError(
                f"{self._loss_place} does not depend on s.log_prob, so the policy would not learn: the policy gradient "
                "is −s.advantage * s.log_prob"
            )
        if self.learns_value_by_loss and "value" not in loss.outputs:
            raise LossError(
                f"{self._loss_place} has no term for V(s), which {type(self).__name__} estimates advantages with: add "
                "(s.value - s.target)**2 / 2, times k.value_coef where there is one"
            )

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        own = vars(cls)
        for gone in ("cotangents", "coefficients"):
            if gone in own and (gone == "cotangents" or callable(own[gone])):
                raise TypeError(
                    f"{cls.__qualname__} has {gone}(...), which is not called any more: give it a field "
                    "`loss: LossFunction = my_loss` instead, with my_loss(s, k) the loss of one sample. Its numeric "
                    "fields are the coefficients (see docs/losses.md)"
                )
        try:
            annotated = inspect.get_annotations(cls)
        except NameError:
            annotated = own
        for name in cls.without_flags:
            if name in own and name not in annotated:
                raise TypeError(
                    f"{cls.__qualname__}.{name} would be ignored, because it is not a field: make the class a "
                    f"dataclass, and write `{name}: Any = ...` in it"
                )

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: what was derived from them is derived again."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @property
    def has_own_loss(self) -> bool:
        """True if the loss is not that of the algorithm itself, of this library."""
        return self.derivatives is not None or self.loss is not default_of(algorithm_of(type(self)), "loss")

    @property
    def missing_columns(self) -> dict[str, str]:
        """Columns that this configuration cannot supply, each with the reason."""
        return {}

    @cached_property
    def traced_loss(self) -> Loss:
        """The loss as the engines take it."""
        return self._traced(self.loss) if self.derivatives is None else self._by_hand(self.derivatives)

    def check_unchanged(self) -> None:
        """Raise LossError if the loss computes something else than when this configuration was made.

        A global or a closure that it refers to may have changed since; one engine would see that and the other not.
        """
        if self.derivatives is None and self._traced(self.loss).digest != self.traced_loss.digest:
            raise LossError(
                f"{self._loss_place} computes something else than when {type(self).__name__} was made with it, because "
                "something that it refers to has changed. Make the configuration again, or use a coefficient"
            )

    def coefficient_values(self, progress: float, **computed: float) -> dict[str, float]:
        """Return the coefficients that the loss reads, as they are at this progress through the run.

        A field of the configuration has its own name; one with an end goes there linearly, and a bound that is None is
        infinite.

        Args:
            progress: in [0, 1].
            computed: values that the algorithm has computed, in place of its fields' or beside them.
        """
        values = dict[str, float]()
        for name in self.traced_loss.coefficients:
            own = self.coefficients.get(name)
            if name in computed:
                values[name] = computed[name]
            elif own is not None:
                values[name] = own.at(progress) if isinstance(own, linear) else float(own)
            else:
                # the learning rate of V(s) may be that of the policy
                is_policy_s = name == "value_learning_rate" and getattr(self, name) is None
                field_name = "learning_rate" if is_policy_s else name
                start, end = getattr(self, field_name), getattr(self, f"{field_name}_end", None)
                values[name] = math.inf if start is None else float(scheduled(start, end, progress))
        return values

    def with_read_columns(
        self, engine: Engine, batch: Batch, *, old_log_prob: F32 | None = None, old_value: F32 | None = None
    ) -> Batch:
        """Return the batch with the columns that the loss reads beside advantages and targets.

        Args:
            engine: evaluates the policy as it was when it acted, where that is read and not given.
            batch: the samples.
            old_log_prob: [B], log π(a|s) of the policy that acted.
            old_value: [B], V(s) when it acted.

        Raises:
            NonFiniteError: a column of one's own is NaN or infinite.
        """
        read = self.traced_loss.columns
        if not self.columns and batch.columns.keys() >= set(read):
            return batch
        added = dict[str, F32]()
        if old_log_prob is None and "old_log_prob" in read and "old_log_prob" not in batch.columns:
            old_log_prob = engine.evaluate(batch.inputs, batch.action)[0]
        for name, column in (("old_log_prob", old_log_prob), ("old_value", old_value)):
            if name in read and column is not None:
                added[name] = column
        later: dict[str, Callable[[], F32]] = {
            "old_log_prob": lambda: (
                engine.evaluate(batch.inputs, batch.action)[0] if old_log_prob is None else old_log_prob
            )
        }
        if old_value is not None:
            later["old_value"] = lambda: old_value
        known = {name: column for name, column in batch.columns.items() if name not in self.columns}
        columns = Columns({**known, **added}, later)
        for name, function in self.columns.items():
            added[name] = own_column(name, function, columns, len(batch))
        return batch.with_columns(**added) if added else batch

    def loss_metric(self, outputs: Outputs, coefficients: Mapping[str, float]) -> dict[str, float]:
        """Return the metric `loss`: its mean over the samples, with these outputs; nothing of derivatives by hand."""
        loss = self.traced_loss
        if loss.root is None:
            return {}
        return {"loss": loss.mean(outputs.matrix, outputs.columns, coefficients)}

    def describe_loss(self) -> dict[str, Any]:
        """Return what `config.json` keeps of the loss: a hash of its graph, and what belongs to one's own."""
        graph = {"loss_graph": self.traced_loss.digest}
        if not self.has_own_loss:
            return graph
        return graph | {
            "loss": self._loss_name,
            "coefficients": {
                name: [value.start, value.end] if isinstance(value, linear) else value
                for name, value in self.coefficients.items()
            },
            "columns": {
                name: f"{name_of_object(function)} {digest_of_function(function)[:16]}"
                for name, function in self.columns.items()
            },
        }

    @property
    def _loss_name(self) -> str:
        return name_of_object(self.loss if self.derivatives is None else self.derivatives)

    @property
    def _loss_place(self) -> str:
        return place_of(self.loss if self.derivatives is None else self.derivatives)

    def _names(self) -> tuple[list[str], list[str]]:
        """The names of (columns, coefficients) that a loss may read."""
        missing = self.missing_columns
        columns = [name for name in (*OUTPUTS, *self.supplied, *self.columns) if name not in missing]
        return columns, [*numeric_names(self), *self.computed_coefficients, *self.coefficients]

    def _traced(self, function: LossFunction) -> Loss:
        columns, coefficients = self._names()
        known = tuple(columns), tuple(coefficients), tuple(self.missing_columns.items())
        # the library's own never change; what a function of somebody else refers to may
        is_ours = str(getattr(function, "__module__", "")).startswith("policygrad.")
        return (_traced_before if is_ours else _trace)(function, *known)

    def _by_hand(self, function: DerivativesFunction) -> Loss:
        return from_derivatives(function, *self._names(), self.missing_columns)

    def _check_own(self) -> None:
        """Raise unless everything that goes with the loss is of the right kind, and read by it."""
        if self.derivatives is not None and self.loss is not default_of(type(self), "loss"):
            raise ValueError("derivatives by hand take the place of the loss: give one of them")
        check_names(self, (*OUTPUTS, *self.supplied), self.computed_coefficients)
        check_read(self, self._loss_name)
        if self.has_own_loss:
            for name in self.unread_fields:
                if getattr(self, name) != default_of(type(self), name):
                    raise ValueError(
                        f"{name}={getattr(self, name)!r} would be ignored: {self._loss_name} does not read k.{name}. "
                        "Leave it out"
                    )

    @property
    def unread_fields(self) -> list[str]:
        """Fields that the class's own loss reads, and this one does not; with those that say where they end."""
        own = self._traced(default_of(algorithm_of(type(self)), "loss")).coefficients
        unread = [name for name in own if name not in self.traced_loss.coefficients and hasattr(self, name)]
        return [each for name in unread for each in (name, f"{name}_end") if hasattr(self, each)]


def _trace(
    function: LossFunction,
    columns: tuple[str, ...],
    coefficients: tuple[str, ...],
    missing: tuple[tuple[str, str], ...],
) -> Loss:
    return traced(function, columns, coefficients, dict(missing))


_traced_before = cache(_trace)

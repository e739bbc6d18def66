"""An expression of polars as the function of an indicator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import InvalidIndicator
from workbench.indicators.suite import Floats

if TYPE_CHECKING:
    import polars as pl

_OF_PYTHON = ("python_udf(", "rolling_map(")
_TRIAL = 3  # rows: enough to see one that gives a single number


@dataclass(frozen=True, slots=True)
class Expression:
    """Computes `expression` over columns of these names; where it has no value, it gives NaN."""

    name: str
    expression: pl.Expr
    inputs: tuple[str, ...]

    def __call__(self, *columns: Floats) -> Floats:
        """Return one number a row. Raises `InvalidIndicator`."""
        import polars as pl

        frame = pl.DataFrame(dict(zip(self.inputs, columns, strict=True)))
        try:
            values = frame.select(self.expression.cast(pl.Float64).fill_null(np.nan).alias("value"))["value"]
        except pl.exceptions.PolarsError as error:
            reason = str(error).partition("\n")[0]
            raise InvalidIndicator(
                f"{self.name}: the expression {self.expression} cannot be computed: {reason}"
            ) from error
        return np.asarray(values.to_numpy())

    def check(self) -> None:
        """Raise `InvalidIndicator` if it cannot be computed over numbers, or gives another number of them."""
        rows = len(self(*(np.ones(_TRIAL) for _ in self.inputs)))
        if rows != _TRIAL:
            raise InvalidIndicator(
                f"{self.name}: the expression {self.expression} gives {rows} value for {_TRIAL} bars; "
                "it must give one a bar"
            )

    @property
    def identity(self) -> str | None:
        """What tells it from every other expression, by all that it holds; None where a Python function is inside."""
        import polars as pl

        if any(mark in str(self.expression) for mark in _OF_PYTHON):
            return None
        try:
            return self.expression.meta.serialize(format="json")
        except pl.exceptions.PolarsError:
            return None

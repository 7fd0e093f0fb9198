"""Sampling: the only way that rows leave a log; bounded, by hash, after the privacy rules."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import ibis
import ibis.expr.datatypes as dt

from monitor.bins import Bins
from monitor.cells import Value, kind_of, micros, text
from monitor.labelled import Labelled
from monitor.relation import EVERYTHING, Need, to_micros
from monitor.rows import Frame, Shape, compiled, filled, slot
from monitor.tables import Tables
from monitor.window import Window

if TYPE_CHECKING:
    import pandas as pd


@ibis.udf.scalar.builtin(name="md5", signature=((dt.string,), dt.string))  # type: ignore[untyped-decorator]
def md5(_text: Any) -> Any:
    """Hex digest of a text."""


SEGMENT = "_segment_"
"""What a segment's column is called in a sample where it is no input."""


class Drawn:
    """One sample: the span, what was known by when, and whether only labelled rows are wanted."""

    def __init__(self, tables: Tables, span: Window, *, known_by: datetime, labelled: bool,
                 versions: Sequence[str] | None) -> None:
        self.tables, self.span, self.labelled, self.versions = tables, span, labelled, versions
        self.bounds = {"start": to_micros(span.start), "end": to_micros(span.end),
                       "until": to_micros(known_by)}

    def frame(self, limit: int) -> pd.DataFrame:
        """The rows, oldest first."""
        import pandas as pd

        need = Need(self.bounds["start"], self.bounds["end"], self.bounds["until"])
        read = self.tables.read(need, self.span, labels=EVERYTHING)
        if read is None:
            return pd.DataFrame(columns=[*self.tables.inputs(), "_timestamp"])
        asked = self._rows(read.shape, limit)
        sql = filled(compiled(asked, read.shape.dialect), read.relations, self.bounds)
        rows = self.tables.engine.fetch(sql)
        names = list(asked.columns)
        frame = pd.DataFrame({name: _column([row[place] for row in rows], asked[name].type())
                              for place, name in enumerate(names)})
        for name in ("_timestamp", *self._instants(read.shape)):
            frame[name] = pd.to_datetime(frame[name], unit="us", utc=True)
        if "_version" in frame:
            frame["_version"] = frame["_version"].replace(self.tables.model.log.version_map)
        return frame.sort_values(["_timestamp", *(["_id"] if "_id" in frame else [])],
                                 kind="stable", ignore_index=True)

    def _rows(self, shape: Shape, limit: int) -> Frame:
        inputs = self.tables.inputs()
        named = self._outputs(shape)
        groups = {f"{SEGMENT}{name}": name for name in shape.roles.segments if name not in inputs}
        rows = Labelled(shape, Bins(())).latest([*inputs, *named.values(), *groups.values()])
        rows = rows.filter(
            rows.holdfast_ts >= slot("start"), rows.holdfast_ts < slot("end"),
            ibis.coalesce(rows.holdfast_at, rows.holdfast_ts) < slot("until"))
        if self.labelled:
            rows = rows.filter(rows.holdfast_label.notnull())
        if self.versions is not None:
            rows = rows.filter(rows.holdfast_version.isin(self._logged(self.versions)))
        columns = {name: _value(rows[name], shape) for name in inputs}
        columns |= {name: _value(rows[column], shape)
                    for name, column in (named | groups).items()}
        columns["_timestamp"] = rows.holdfast_ts
        roles = shape.roles
        if roles.version:
            columns["_version"] = rows.holdfast_version
        if roles.id:
            columns["_id"] = rows.holdfast_id
        if shape.labels or roles.label:
            columns["_label"] = _value(rows.holdfast_label, shape)
        whole = rows.select(**columns, holdfast_draw=self._draw(rows, [*inputs, *named.values()]))
        ties = [name for name in ("_timestamp", "_id", "_version") if name in columns]
        whole = whole.order_by(["holdfast_draw", *ties, *inputs]).limit(limit)
        return whole.drop("holdfast_draw")

    def _instants(self, shape: Shape) -> list[str]:
        """Inputs that are times."""
        rows = shape.rows(self.tables.inputs())
        return [name for name in self.tables.inputs()
                if kind_of(rows[name].type()) == "datetime"]

    def _outputs(self, shape: Shape) -> dict[str, str]:
        roles = shape.roles
        named = {"_prediction": roles.prediction} if roles.prediction else {}
        if len(roles.scores) == 1:
            named["_score"] = roles.scores[0][1]
        elif roles.scores:
            named |= {f"_score_{label}": column for label, column in roles.scores}
        return {name: column for name, column in named.items() if column}

    def _draw(self, rows: Frame, names: list[str]) -> Value:
        """The hash that rows are drawn by: of the id, else of everything in the row."""
        told = [text(rows.holdfast_ts)]
        told += [text(rows[name]).fill_null("") for name in names]
        everything = ibis.literal("|").join(told)
        if "holdfast_id" not in rows.columns:
            return md5(everything)
        return md5(ibis.coalesce(rows.holdfast_id, everything))

    def _logged(self, versions: Sequence[str]) -> list[str]:
        """The version texts of the log that stand for these versions of the registry."""
        mapping = self.tables.model.log.version_map
        return [logged for logged, version in mapping.items() if version in versions] + [
            version for version in versions if version not in mapping]


def _value(value: Value, shape: Shape) -> Value:
    """Integers, booleans and bytes as logged, instants in microseconds, other numbers as doubles,
    text.

    A model is served what is logged: a column of numbers that are names stays a column of numbers.
    """
    kind = kind_of(value.type())
    if value.type().is_binary():
        return value
    if kind in ("categorical", "other"):
        return text(value)
    if kind == "datetime":
        return micros(value, shape.zone, shape.dialect)
    return value.cast("float64") if kind == "numeric" and not value.type().is_integer() else value


def _column(values: list[Any], dtype: dt.DataType) -> pd.Series[Any]:
    """The values in the type that holds them: where an integer is absent, or larger than those of
    64 bits with a sign, doubles."""
    import pandas as pd

    whole = None not in values
    if dtype.is_floating() or (dtype.is_integer() and not (
            whole and max(values, default=0) < 2**63)):
        return pd.Series(values, dtype="float64")
    if dtype.is_integer():
        return pd.Series(values, dtype="int64")
    return pd.Series(values, dtype="bool" if dtype.is_boolean() and whole else "object")

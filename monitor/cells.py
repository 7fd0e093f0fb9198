"""Cells in SQL: Ibis expressions for numbers, texts, instants and the cells they fall in.

Every expression gives the same answer on every engine: floats are computed in one fixed order,
texts have one canonical form, and what an engine may refuse to cast is tested first.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import ibis
import ibis.expr.datatypes as dt

from monitor.bins import CategoryBins, NumericBins
from monitor.window import EPOCH

Value = Any
"""An Ibis value expression."""

EXACT = 2.0 ** 53
"""From this on every double is a whole number."""
_NUMBER = (r"^[+-]?([0-9]{1,60}([.][0-9]{0,60})?|[.][0-9]{1,60})([eE][+-]?[0-9]{1,2})?$"
           r"|^[+-]?([iI][nN][fF]([iI][nN][iI][tT][yY])?|[nN][aA][nN])$")
_DATE = (r"[1-9][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])"
         r"|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
         r"|([1-9][0-9](0[48]|[2468][048]|[13579][26])|([2468][048]|[13579][26])00)-02-29")
_CLOCK = r"([ T]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,6})?)?)?"
_OFFSET = r"(Z|[+-]([01][0-9])(:?[0-5][0-9])?)"
_NAIVE_TIME = f"^({_DATE}){_CLOCK}$"
_AWARE_TIME = f"^({_DATE}){_CLOCK}{_OFFSET}$"


@ibis.udf.scalar.builtin(name="epoch_us", signature=((dt.timestamp,), dt.int64))  # type: ignore[untyped-decorator]
def epoch_us(_instant: Any) -> Any:
    """Microseconds since the epoch (DuckDB)."""


@ibis.udf.scalar.builtin(name="date_part", signature=((dt.string, dt.timestamp), dt.float64))  # type: ignore[untyped-decorator]
def date_part(_part: Any, _instant: Any) -> Any:
    """A field of an instant as a double (PostgreSQL)."""


@ibis.udf.scalar.builtin(name="isfinite", signature=((dt.timestamp,), dt.boolean))  # type: ignore[untyped-decorator]
def is_finite(_instant: Any) -> Any:
    """Whether an instant is not infinity (PostgreSQL)."""


@ibis.udf.scalar.builtin(name="sha256", signature=((dt.string,), dt.string))  # type: ignore[untyped-decorator]
def sha256_text(_text: Any) -> Any:
    """Hex digest of a text (DuckDB)."""


@ibis.udf.scalar.builtin(name="sha256", signature=((dt.binary,), dt.binary))  # type: ignore[untyped-decorator]
def sha256_bytes(_octets: Any) -> Any:
    """Digest of bytes (PostgreSQL)."""


@ibis.udf.scalar.builtin(name="convert_to", signature=((dt.string, dt.string), dt.binary))  # type: ignore[untyped-decorator]
def convert_to(_text: Any, _encoding: Any) -> Any:
    """Bytes of a text (PostgreSQL)."""


@ibis.udf.scalar.builtin(name="encode", signature=((dt.binary, dt.string), dt.string))  # type: ignore[untyped-decorator]
def encode(_octets: Any, _form: Any) -> Any:
    """Text of bytes (PostgreSQL)."""


def double(value: float) -> Value:
    """``value`` as a constant that every engine reads back to the bit."""
    return ibis.literal(repr(float(value))).cast("float64")


def kind_of(dtype: dt.DataType) -> str:
    """What a logged column is: numeric, categorical, boolean, datetime or other."""
    if dtype.is_boolean():
        return "boolean"
    if dtype.is_numeric():
        return "numeric"
    if dtype.is_timestamp() or dtype.is_date():
        return "datetime"
    mixed = dtype == dt.JSON()  # of JSON lines; a document of a database is jsonb
    return "categorical" if dtype.is_string() or dtype.is_uuid() or mixed else "other"


def number(value: Value) -> Value:
    """The value as a double; null where it does not convert."""
    kind = kind_of(value.type())
    if kind == "numeric":
        return value if value.type() == dt.float64 else value.cast("float64")
    if kind == "boolean":
        return value.cast("int32").cast("float64")
    if value.type().is_string():
        text = value.strip()
        return ibis.cases((text.re_search(_NUMBER), text.cast("float64")),
                          else_=ibis.null("float64"))
    return ibis.null("float64")


def small(value: Value) -> Value:
    """The double, or 0 where it is larger than any that could be no whole number: Ibis rounds to
    64-bit integers, which hold neither 1e19 nor -3.4e38, that stands for what is absent."""
    return ibis.cases((value.abs() < EXACT, value), else_=ibis.literal(0.0, value.type()))


def text(value: Value) -> Value:
    """The canonical text: true/false, integers without a point, floats at their shortest."""
    dtype = value.type()
    if dtype.is_string():
        return value
    if dtype.is_decimal():
        value, dtype = value.cast("float64"), dt.float64
    if dtype.is_floating():
        held = small(value)
        whole = (held == held.floor()) & (value.abs() < EXACT)
        return ibis.cases((whole, held.cast("int64").cast("string")),
                          else_=value.cast("string").lower())
    if kind_of(dtype) == "other":
        return ibis.null("string")
    return value.cast("string")


def broken(value: Value) -> Value | None:
    """Whether a category is no value at all (NaN or infinite); None where none can be."""
    if not value.type().is_floating():
        return None
    return value.isnan() | value.isinf()


def hashed(value: Value, *, salt: str, dialect: str) -> Value:
    """The first 16 hex digits of the salted SHA-256 of the canonical text; null stays null."""
    salted = ibis.literal(salt) + text(value)
    if dialect == "duckdb":
        return sha256_text(salted).left(16)
    return encode(sha256_bytes(convert_to(salted, "UTF8")), "hex").left(16)


def micros(value: Value, zone: tuple[tuple[int, int], ...], dialect: str) -> Value:
    """Microseconds since the Unix epoch, UTC; null for what is no instant.

    ``zone`` is ``offsets(...)`` for instants that carry no zone. Numbers are Unix times in
    seconds, milliseconds or microseconds, told apart by size.
    """
    dtype = value.type()
    if dtype.is_timestamp():
        exact = _epoch(value, dialect)
        return exact if dtype.timezone else _local(exact, zone)
    if dtype.is_date():
        return _local(_epoch(value.cast("timestamp"), dialect), zone)
    if dtype.is_string():
        aware = _epoch(value.cast(dt.Timestamp("UTC")), dialect)
        naive = _local(_epoch(value.cast("timestamp"), dialect), zone)
        return ibis.cases((value.re_search(_AWARE_TIME), aware),
                          (value.re_search(_NAIVE_TIME), naive), else_=ibis.null("int64"))
    if dtype.is_numeric():
        size = number(value).abs()
        return ibis.cases((size < 1e11, (number(value) * 1e6).round().cast("int64")),
                          (size < 1e14, (number(value) * 1e3).round().cast("int64")),
                          (size < 1e17, number(value).round().cast("int64")),
                          else_=ibis.null("int64"))
    return ibis.null("int64")


def _epoch(instant: Value, dialect: str) -> Value:
    if dialect == "duckdb":
        return epoch_us(instant)
    seconds = date_part("epoch", instant)
    return ibis.cases((is_finite(instant), (seconds * 1e6).round().cast("int64")),
                      else_=ibis.null("int64"))


def _local(local: Value, zone: tuple[tuple[int, int], ...]) -> Value:
    """Local microseconds to UTC by the zone's offsets; a doubled hour is its first."""
    if len(zone) == 1:
        return local if zone[0][1] == 0 else local - zone[0][1]
    shifted = [(local < until, local - before) for (until, _), (_, before)
               in zip(zone[1:], zone, strict=False)]
    return ibis.cases(*shifted, else_=local - zone[-1][1])


@lru_cache(maxsize=64)
def offsets(name: str, first: int, last: int) -> tuple[tuple[int, int], ...]:
    """(local microseconds from which, offset in microseconds) for the years first … last."""
    zone = ZoneInfo(name)

    def offset(hour: int) -> timedelta:
        return (EPOCH + timedelta(hours=hour)).astimezone(zone).utcoffset() or timedelta()

    begin = int((datetime(max(first, 1900), 1, 1, tzinfo=UTC) - EPOCH).total_seconds() // 3600)
    end = int((datetime(min(last, 2100) + 1, 1, 1, tzinfo=UTC) - EPOCH).total_seconds() // 3600)
    found = [(-(2 ** 62), offset(begin) // timedelta(microseconds=1))]
    for day in range(begin, end, 24):
        if offset(day) == offset(day + 24):
            continue
        low, high = day * 60, (day + 24) * 60
        while high - low > 1:
            middle = (low + high) // 2
            same = offset_at(zone, middle) == offset_at(zone, low)
            low, high = (middle, high) if same else (low, middle)
        before, after = offset_at(zone, low), offset_at(zone, high)
        local = timedelta(minutes=high) + max(before, after)
        found.append((local // timedelta(microseconds=1), after // timedelta(microseconds=1)))
    return tuple(found)


def offset_at(zone: ZoneInfo, minute: int) -> timedelta:
    """The zone's offset from UTC at a minute since the epoch."""
    return (EPOCH + timedelta(minutes=minute)).astimezone(zone).utcoffset() or timedelta()


def position(raw: Value, value: Value, bins: NumericBins, *, place: Value, dialect: str) -> Value:
    """The cell of a number, an int16: ``raw`` as logged, ``value`` its double, and its place.

    A column store evaluates later branches only for the rows that are left, so the usual cells
    come first and nulls, NaN and infinity cost nothing where there are none. A row store pays for
    every mention of the place, so there it is mentioned once, after them.
    """
    def cell(index: int) -> Value:
        return ibis.literal(index, "int16")

    exact = [(value == double(point), cell(bins.above + 1 + index))
             for index, point in enumerate(bins.exact)]
    special = [(raw.isnull(), cell(0)), (value.isnull(), cell(3))]
    if raw.type().is_floating() or raw.type().is_string():
        special += [(value.isnan(), cell(1)), (value.isinf(), cell(2))]
    if bins.declared:  # first of all: engines call NaN larger than any number
        exact = [*special, *_impossible(value, bins, cell(bins.impossible)), *exact]
        special = []
    if not bins.cells:
        below = (value < double(bins.center), cell(bins.first - 1))
        return ibis.cases(*exact, *special, below, else_=cell(bins.above))
    if dialect == "postgres":
        kept = ibis.least(ibis.greatest(place, double(-1)), double(bins.cells))
        return ibis.cases(*special, *exact, else_=kept.floor().cast("int16") + cell(bins.first))
    inside = (place.between(double(0), double(bins.cells)),
              place.floor().cast("int16") + cell(bins.first))
    below = (place < double(0), cell(bins.first - 1))
    return ibis.cases(*exact, inside, *special, below, else_=cell(bins.above))


def _impossible(value: Value, bins: NumericBins, cell: Value) -> list[tuple[Value, Value]]:
    """The branches of values beyond those that were declared possible."""
    found = [] if bins.least is None else [(value < double(bins.least), cell)]
    return found if bins.most is None else [*found, (value > double(bins.most), cell)]


def place_of(value: Value, bins: NumericBins, dialect: str) -> Value:
    """Where the value lies on the scale of the cells: its whole part is the cell."""
    if not bins.cells:
        return double(0)
    moved = value
    if bins.transform == "asinh":
        moved = _asinh((value - double(bins.center)) / double(bins.scale), dialect)
    return (moved - double(bins.low)) * double(bins.cells / (bins.high - bins.low))


def _asinh(value: Value, dialect: str) -> Value:
    """asinh by logarithm: faster than the engines' own, and the same on all of them.

    PostgreSQL refuses squares that overflow; what is beyond 1e150 is beyond every cell anyway.
    """
    size = value.abs()
    if dialect == "postgres":
        size = ibis.least(size, double(1e150))
    return value.sign() * (size + (size * size + double(1)).sqrt()).ln()


def amount(raw: Value, bins: NumericBins, *, zone: tuple[tuple[int, int], ...],
           dialect: str) -> Value:
    """The double that is binned: seconds since the epoch for instants."""
    if bins.kind == "datetime":
        if kind_of(raw.type()) not in ("datetime", "categorical"):
            return ibis.null("float64")
        return micros(raw, zone, dialect).cast("float64") / double(1e6)
    return number(raw)


def lookup_key(raw: Value, index: int, bins: CategoryBins) -> Value:
    """Column number and canonical text as one key: ``0007=text``, ``0007`` null, ``0007!`` NaN."""
    prefix = f"{index:04d}"
    canonical = text(raw)
    if bins.kind == "boolean" and raw.type().is_string():
        canonical = canonical.lower()
    key = ibis.literal(prefix + "=") + canonical
    branches = [(raw.isnull(), ibis.literal(prefix))]
    if (wrong := broken(raw)) is not None:
        branches.append((wrong, ibis.literal(prefix + "!")))
    if kind_of(raw.type()) == "other":
        return ibis.cases(*branches, else_=ibis.literal(prefix + "!"))
    return ibis.cases(*branches, else_=key)


def lookup_entries(index: int, bins: CategoryBins) -> list[tuple[str, int]]:
    """The keys of one column whose cell is not the default one, with their cells."""
    prefix = f"{index:04d}"
    entries = [(prefix, 0), (prefix + "!", 1)]
    known = set(bins.categories)
    entries += [(f"{prefix}={name}", bins.first + place)
                for place, name in enumerate(bins.categories)]
    entries += [(f"{prefix}={name}", 3) for name in bins.known if name not in known]
    return entries


def category_cell(value: str | None, bins: CategoryBins) -> int:
    """The cell of a canonical text, as the lookup gives it."""
    if value is None:
        return 0
    if value in bins.categories:
        return bins.first + bins.categories.index(value)
    return 3 if bins.rest or value in bins.known else 2


def finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)

"""Query engines: where a log is counted. Every statement has a deadline and a memory limit."""

from __future__ import annotations

import itertools
import re
import tempfile
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import duckdb
import ibis.expr.datatypes as dt
import psycopg

from monitor.config import Limits
from monitor.deployment import ALIVE
from monitor.errors import SourceError
from monitor.folders import Folders
from monitor.mapping import Storage
from monitor.objects import Objects, is_remote
from monitor.partitions import Object, Place
from monitor.secrets import redact
from monitor.window import format_duration

Columns = dict[str, dt.DataType]
Row = tuple[Any, ...]
_serial = itertools.count()
_GUESSED = re.compile("CSV Error|JSON transform error")


class MisfitError(SourceError):
    """A value further down a text file does not fit the type that its first lines suggested."""


class Engine(Protocol):
    """One connection to where the rows are."""

    dialect: str
    serial: int
    """How many calls were begun: what was listed in an earlier one is out of date."""

    def call(self, what: str) -> Any:
        """A context whose statements share one deadline; ``SourceError`` once it has passed."""

    def fetch(self, sql: str) -> list[Row]:
        """All rows of the answer; callers ask for counts only."""

    def columns(self, relation: str) -> Columns:
        """The columns of a relation (text that may follow FROM), in order."""

    def lookup(self, entries: Sequence[tuple[str, int]]) -> str:
        """A relation with columns ``key`` and ``cell`` that holds the entries."""

    def place(self, folder: str) -> Place:
        """Where files are listed; ``SourceError`` on engines that read none."""

    def expect(self, objects: Sequence[Object], *, footers: bool = False) -> None:
        """These versions of files are read next, or their footers."""

    def close(self) -> None:
        """Hand everything back."""


def quoted(name: str) -> str:
    """``name`` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """``text`` as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def place(source: str) -> str:
    """``source`` as it may be shown: without secrets or a URL's query."""
    return redact(source.split("?")[0])


class _Timed(ABC):
    """The deadline that DuckDB and PostgreSQL share: a timer that cancels, and a clock."""

    def __init__(self, source: str, limits: Limits) -> None:
        self.source, self.limits, self.serial = source, limits, 0
        self._ends: float | None = None
        self._what = ""
        self._expired = False

    @abstractmethod
    def cancel(self) -> None:
        """End what the engine is at."""

    @contextmanager
    def call(self, what: str) -> Iterator[None]:
        if self._ends is not None:
            yield
            return
        self.serial += 1
        seconds = self.limits.deadline.total_seconds()
        self._ends, self._what, self._expired = time.monotonic() + seconds, what, False
        timer = threading.Timer(seconds, self._expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            self._ends = None

    def _expire(self) -> None:
        self._expired = True
        self.cancel()

    def left(self) -> float:
        """Seconds until the running call's deadline."""
        whole = self.limits.deadline.total_seconds()
        return whole if self._ends is None else self._ends - time.monotonic()

    def check(self) -> None:
        if self._expired or (self._ends is not None and time.monotonic() >= self._ends):
            raise self.late()

    def late(self) -> SourceError:
        return SourceError(
            f"{place(self.source)}: {self._what} took longer than limits.deadline "
            f"({format_duration(self.limits.deadline)}) and was cancelled; allow more time, "
            "judge shorter windows, or index the timestamp column")


class DuckDB(_Timed):
    """DuckDB in this process, over files or a database file opened for reading only."""

    dialect = "duckdb"

    def __init__(self, source: str, limits: Limits, storage: Storage) -> None:
        super().__init__(source, limits)
        spill = Path(tempfile.gettempdir()) / f"holdfast-spill-{id(self)}-{next(_serial)}"
        self._connection = duckdb.connect(config={
            "memory_limit": limits.memory, "threads": limits.threads,
            "temp_directory": str(spill), "preserve_insertion_order": False,
            "allow_community_extensions": False, "autoinstall_known_extensions": False})
        weakref.finalize(self, self._connection.close)  # also when the interpreter ends
        self._connection.execute("SET parquet_metadata_cache = true; SET TimeZone = 'UTC'")
        self._objects: Objects | None = None
        self._storage = storage
        self._attached: dict[str, str] = {}
        self._default = "memory"
        self._lookups: dict[tuple[tuple[str, int], ...], str] = {}

    def cancel(self) -> None:
        self._connection.interrupt()

    @contextmanager
    def call(self, what: str) -> Iterator[None]:
        """A call; database files are held open within it only, so that others can write."""
        outermost = self._ends is None
        if outermost and self._objects is not None:
            self._objects.forget()
        with super().call(what):
            try:
                if outermost:
                    for file, alias in self._attached.items():
                        self._attach(file, alias)
                    self._use(self._default)
                yield
            finally:
                if outermost and self._attached:
                    self._use("memory")
                    for alias in self._attached.values():
                        self._connection.execute(f"DETACH DATABASE IF EXISTS {alias}")

    def attach(self, file: str, *, default: bool = False) -> str:
        """The name under which a database file is readable; ``SourceError`` when it is not.

        With ``default`` its tables need no prefix.
        """
        if file not in self._attached:
            alias = f"attached_{len(self._attached)}"
            self._attach(file, alias)
            self._attached[file] = alias
        if default:
            self._default = self._attached[file]
            self._use(self._default)
        return self._attached[file]

    def _attach(self, file: str, alias: str) -> None:
        if not Path(file).exists():
            raise SourceError(f"duckdb://{file}: no such file; right would be a DuckDB file")
        self.fetch(f"ATTACH {literal(file)} AS {alias} (READ_ONLY)")

    def _use(self, alias: str) -> None:
        if self._attached:
            self._connection.execute(f"USE {alias}")

    def fetch(self, sql: str) -> list[Row]:
        self.check()
        try:
            return self._connection.execute(sql).fetchall()
        except duckdb.InterruptException as error:
            raise self.late() from error
        except (duckdb.Error, ValueError, RuntimeError, OSError) as error:
            if self._objects is not None and self._objects.trouble is not None:
                trouble, self._objects.trouble = self._objects.trouble, None
                raise trouble from error
            kind = MisfitError if _GUESSED.search(str(error)) else SourceError
            raise kind(f"{place(self.source)}: {_duckdb_words(error)}") from error

    def columns(self, relation: str) -> Columns:
        from ibis.backends.sql.datatypes import DuckDBType

        columns: Columns = {}
        for name, kind, *_ in self.fetch(f"DESCRIBE SELECT * FROM {relation}"):  # noqa: S608
            if kind in _DUCKDB:
                columns[name] = _DUCKDB[kind]
                continue
            try:
                columns[name] = DuckDBType.from_string(kind)
            except Exception:  # a type that Ibis has no name for
                columns[name] = dt.unknown
        return columns

    def lookup(self, entries: Sequence[tuple[str, int]]) -> str:
        key = tuple(entries)
        if key not in self._lookups:
            name = f"holdfast_lookup_{len(self._lookups)}"
            self._connection.execute(
                f"CREATE TEMP TABLE {name} AS SELECT unnest($1::VARCHAR[]) AS key, "
                "unnest($2::INTEGER[]) AS cell",
                [[text for text, _ in key], [cell for _, cell in key]])
            self._lookups[key] = name
        return self._lookups[key]

    def place(self, folder: str) -> Place:
        if not is_remote(folder):
            return Folders()
        if self._objects is None:
            self._objects = Objects(self._storage, self)
            self._connection.register_filesystem(self._objects)
        return self._objects.store(folder)

    def expect(self, objects: Sequence[Object], *, footers: bool = False) -> None:
        remote = [item for item in objects if is_remote(item.path)]
        if remote and self._objects is not None:
            self._objects.expect(remote, footers=footers)

    def close(self) -> None:
        self._connection.close()


class Postgres(_Timed):
    """A PostgreSQL session that may only read."""

    dialect = "postgres"

    def __init__(self, source: str, limits: Limits) -> None:
        super().__init__(source, limits)
        self._url = re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", source)
        self._session: psycopg.Connection[Row] | None = None

    def cancel(self) -> None:
        if self._session is not None:
            self._session.cancel()

    def _connected(self) -> psycopg.Connection[Row]:
        if self._session is None or self._session.closed:
            patience = max(2, min(10, int(self.limits.deadline.total_seconds())))
            try:
                self._session = psycopg.connect(
                    self._url, autocommit=True, connect_timeout=patience, prepare_threshold=None,
                    application_name="holdfast", **ALIVE)
            except psycopg.Error as error:
                raise SourceError(
                    f"{place(self.source)}: the server does not answer: {_first(str(error))}; "
                    "right would be postgresql://USER:PASSWORD@HOST:PORT/DATABASE of a server "
                    "that runs") from error
            timeout = int(self.limits.deadline.total_seconds() * 1000) + 500
            self._session.execute(
                "SET default_transaction_read_only = on; SET TimeZone = 'UTC'; "
                f"SET statement_timeout = {timeout}; SET work_mem = '{_work_mem(self.limits)}MB'; "
                f"SET max_parallel_workers_per_gather = {self.limits.threads - 1}; "
                "SET enable_sort = off; "  # cells are few: hash them, whatever the planner expects
                "SET extra_float_digits = 1; SET jit = off; SET synchronize_seqscans = off; "
                "SET DateStyle = 'ISO'; SET standard_conforming_strings = on".encode())
        return self._session

    def fetch(self, sql: str) -> list[Row]:
        self.check()
        session = self._connected()
        try:
            return session.execute(sql.encode()).fetchall()
        except psycopg.errors.QueryCanceled as error:
            raise self.late() from error
        except psycopg.Error as error:
            if session.broken:
                self._session = None
            raise SourceError(f"{place(self.source)}: {_postgres_words(error)}") from error

    def columns(self, relation: str) -> Columns:
        self.check()
        session = self._connected()
        try:
            cursor = session.execute(f"SELECT * FROM {relation} LIMIT 0".encode())  # noqa: S608
        except psycopg.Error as error:
            raise SourceError(f"{place(self.source)}: {_postgres_words(error)}") from error
        return {column.name: self._kind(column.type_code) for column in cursor.description or ()}

    def _kind(self, oid: int) -> dt.DataType:
        known = self._connected().adapters.types.get(oid)
        if known is not None and known.name in _POSTGRES:
            return _POSTGRES[known.name]
        answer = self.fetch(f"SELECT typtype FROM pg_type WHERE oid = {oid}")  # noqa: S608
        return dt.string if answer and answer[0][0] in ("e", b"e") else dt.unknown

    def lookup(self, entries: Sequence[tuple[str, int]]) -> str:
        keys = ",".join(literal(text.replace("\0", "")) for text, _ in entries)
        cells = ",".join(str(cell) for _, cell in entries)
        return (f"(SELECT * FROM unnest(ARRAY[{keys}]::text[], ARRAY[{cells}]::int[]) "  # noqa: S608
                "AS given(key, cell))")

    def place(self, folder: str) -> Place:
        raise SourceError(f"{folder}: files cannot be joined with a log in PostgreSQL; right would "
                          "be a table of the same database")

    def expect(self, objects: Sequence[Object], *, footers: bool = False) -> None:
        raise SourceError("files cannot be read by PostgreSQL")

    def close(self) -> None:
        if self._session is not None:
            self._session.close()


NANOSECONDS = dt.Timestamp("UTC", scale=9)
"""Instants as pandas and Arrow write them, which DuckDB 2.0 only keeps: see ``relation.exact``."""
_DUCKDB: dict[str, dt.DataType] = {
    '"NULL"': dt.float64,  # a Parquet column that never held a value
    "TIMESTAMPTZ_NS": NANOSECONDS}
_POSTGRES: dict[str, dt.DataType] = {
    "int2": dt.int16, "int4": dt.int32, "int8": dt.int64, "float4": dt.float32,
    "float8": dt.float64, "numeric": dt.Decimal(), "bool": dt.boolean, "text": dt.string,
    "varchar": dt.string, "bpchar": dt.string, "name": dt.string, "uuid": dt.uuid,
    "timestamp": dt.Timestamp(), "timestamptz": dt.Timestamp("UTC"), "date": dt.date,
    "json": dt.JSON(binary=True), "jsonb": dt.JSON(binary=True)}


def connect(source: str, limits: Limits, storage: Storage) -> Engine:
    """The engine that reads ``source``; nothing is opened before the first statement."""
    scheme = urlsplit(source).scheme if "://" in source else ""
    if scheme.startswith("postgres"):
        return Postgres(source, limits)
    if scheme in ("", "duckdb") or is_remote(source):
        return DuckDB(source, limits, storage)
    raise SourceError(f"{place(source)}: {scheme}:// is not a source that can be read; right would "
                      "be a glob of Parquet, CSV or JSON-lines files (also at s3://, gs://, az:// "
                      "or abfs://), duckdb://FILE or postgresql://…")


def _work_mem(limits: Limits) -> int:
    units = {"KB": 1 / 1024, "MB": 1, "GB": 1024, "TB": 1024 * 1024}
    total = float(limits.memory[:-2]) * units[limits.memory[-2:]]
    return max(4, min(256, int(total / 8)))


def _first(message: str) -> str:
    """What the engine says, without the statement below it: nobody who reads it wrote that."""
    said = re.split(r"\bLINE \d+:", message)[0]
    return redact(" ".join(said.split())[:300])


def _duckdb_words(error: Exception) -> str:
    """The engine's message where it speaks of names; a general one where it may quote values."""
    if isinstance(error, duckdb.OutOfMemoryException):
        return "the query needs more than limits.memory; allow more, or judge shorter windows"
    if isinstance(error, (duckdb.ConversionException, duckdb.OutOfRangeException,
                          duckdb.TypeMismatchException, ValueError)):
        return "a value does not fit the type of its column; write the column with one type"
    if isinstance(error, duckdb.InvalidInputException) and _GUESSED.search(str(error)):
        return "a line does not fit the columns of its file"
    if isinstance(error, duckdb.IOException) and "lock" in str(error):
        return "the database file is locked by a process that writes to it; log to Parquet files"
    return _first(str(error))


def _postgres_words(error: psycopg.Error) -> str:
    if (error.sqlstate or "").startswith("22"):
        return "a value does not fit the type of its column; write the column with one type"
    return _first(error.diag.message_primary or str(error))

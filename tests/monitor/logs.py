"""The same rows as a log on every backend."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from tests.servers.store import Bucket

BACKENDS = ("parquet", "csv", "jsonl", "duckdb", "postgres", "s3")
EXACT = ("parquet", "duckdb", "postgres", "s3")
"""Backends that tell NaN, infinity and null apart."""

_TYPES = {"int64": "bigint", "double": "double precision", "string": "text", "large_string": "text",
          "bool": "boolean", "int32": "integer", "float": "real", "date32[day]": "date"}


@dataclass
class Logs:
    """Where tables are written: a folder, and a PostgreSQL database or a bucket for those."""

    backend: str
    folder: Path
    url: str | None = None
    bucket: Bucket | None = None
    written: dict[str, int] = field(default_factory=dict)

    def add(self, rows: dict[str, Any] | pa.Table, name: str = "log") -> dict[str, str]:
        """Append rows to a table; the ``source`` (and ``table``) that reads all of it."""
        table = rows if isinstance(rows, pa.Table) else pa.table(rows)
        count = self.written[name] = self.written.get(name, 0) + 1
        if self.backend == "postgres":
            return self._postgres(table, name)
        if self.backend == "duckdb":
            file = self.folder / "logs.duckdb"
            with duckdb.connect(str(file)) as connection:
                connection.register("given", table)
                verb = f"CREATE TABLE {name} AS" if count == 1 else f"INSERT INTO {name}"
                connection.execute(f"{verb} SELECT * FROM given")
            return {"source": f"duckdb://{file}", "table": name}
        if self.bucket is not None:
            file = io.BytesIO()
            pq.write_table(table, file)
            self.bucket.put(f"{name}-{count:03d}.parquet", file.getvalue())
            return {"source": f"{self.bucket.url}/{name}-*.parquet"}
        with duckdb.connect() as connection:
            connection.register("given", table)
            connection.execute(
                f"COPY given TO '{self.folder}/{name}-{count:03d}.{self.backend}'")
        return {"source": f"{self.folder}/{name}-*.{self.backend}"}

    def _postgres(self, table: pa.Table, name: str) -> dict[str, str]:
        assert self.url is not None
        columns = ", ".join(f'"{item.name}" {_type(item.type)}' for item in table.schema)
        with psycopg.connect(self.url) as session:
            session.execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns})".encode())
            names = ", ".join(f'"{item}"' for item in table.column_names)
            with session.cursor().copy(f"COPY {name} ({names}) FROM STDIN".encode()) as copy:
                for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
                    copy.write_row(row)
        return {"source": self.url, "table": name}


def _type(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return "timestamptz" if kind.tz else "timestamp"
    return _TYPES[str(kind)]

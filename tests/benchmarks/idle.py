"""What a tick costs that finds nothing new, against the one that counted the rows.

    python -m tests.benchmarks.idle [--quick] [--json FILE]

A day of 1,000,000 rows x 17 features in hourly windows, on Parquet and in PostgreSQL, more than
half of its labels still pending. The first tick counts and judges the day. The second one, an
hour later, finds no new row and no new label. ``idle_tick_ratio`` is the CPU seconds of the second
(this process, its children and the PostgreSQL server's processes) over those of the first.
``--quick`` takes half of the rows.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NUMERIC, CATEGORICAL = 12, 5
BACKENDS = ("parquet", "postgres")


def write(folder: Path, days: dict[int, int]) -> None:
    """Rows per day as Parquet, and labels for every other row that came within hours."""
    import duckdb

    numbers = ", ".join(f"sqrt(hash(i, {kind}) % 1000000 + 1) AS x{kind}"
                        for kind in range(NUMERIC))
    names = ", ".join(f"'v' || (hash(i, 'c{kind}') % {3 ** (kind + 1)}) AS c{kind}"
                      for kind in range(CATEGORICAL))
    (folder / "log").mkdir()
    (folder / "labels").mkdir()
    with duckdb.connect() as connection:
        for day, rows in days.items():
            start = f"TIMESTAMP '{START + day * DAY:%Y-%m-%d}'"
            step = 86_400_000_000 // rows
            connection.execute(f"""CREATE OR REPLACE TABLE day AS
                SELECT {day}::BIGINT * 10000000 + i AS id,
                       {start} + to_microseconds(i * {step}) AS moment,
                       {start} + to_microseconds(i * {step} + 1000000) AS received_at,
                       '1' AS version, {numbers}, {names},
                       CASE WHEN hash(i, 'p') % 3 = 0 THEN 'yes' ELSE 'no' END AS answer
                FROM range({rows}) AS r(i)""")
            connection.execute(f"COPY day TO '{folder}/log/{day}.parquet' (FORMAT parquet)")
            connection.execute(f"""COPY (
                SELECT id, CASE WHEN hash(id) % 4 = 0 THEN 'yes' ELSE 'no' END AS truth,
                       received_at + INTERVAL 3 HOURS AS label_at
                FROM day WHERE moment < TIMESTAMP '{START + DAY:%Y-%m-%d}'
                    OR (id % 2 = 0 AND label_at < TIMESTAMP '{START + 2 * DAY:%Y-%m-%d}'))
                TO '{folder}/labels/{day}.parquet' (FORMAT parquet)""")


def load_tables(folder: Path, url: str) -> None:
    """The same rows as two tables of PostgreSQL, indexed by arrival and event time."""
    import duckdb
    import psycopg

    kinds = ", ".join([f"x{kind} double precision" for kind in range(NUMERIC)]
                      + [f"c{kind} text" for kind in range(CATEGORICAL)])
    with duckdb.connect() as files, psycopg.connect(url, autocommit=True) as session:
        session.execute(f"""CREATE TABLE log (id bigint, moment timestamp, received_at timestamp,
            version text, {kinds}, answer text)""".encode())
        session.execute("CREATE TABLE labels (id bigint, truth text, label_at timestamp)")
        for table in ("log", "labels"):
            sheet = folder / f"{table}.csv"
            files.execute(f"COPY (FROM '{folder}/{table}/*.parquet') TO '{sheet}' (HEADER false)")
            with sheet.open("rb") as rows, session.cursor().copy(
                    f"COPY {table} FROM STDIN (FORMAT csv)".encode()) as copy:
                while part := rows.read(1 << 20):
                    copy.write(part)
            sheet.unlink()
        session.execute("CREATE INDEX ON log (received_at)")
        session.execute("CREATE INDEX ON log (moment)")
        session.execute("CREATE INDEX ON labels (label_at)")
        session.execute("VACUUM ANALYZE")


def configure(folder: Path, url: str | None) -> Path:
    """The configuration of one backend; its champion is a version that somebody registered."""
    places = {"log": {"source": url, "table": "log"}, "labels": {"source": url, "table": "labels"}}
    if url is None:
        places = {name: {"source": f"{name}/*.parquet"} for name in places}
    labels = places["labels"] | {"id": "id", "value": "truth", "timestamp": "label_at"}
    log = places["log"] | {
        "timestamp": "moment", "ingested_at": "received_at", "id": "id", "model_version": "version",
        "prediction": "answer", "positive_label": "yes", "labels": labels}
    name = "parquet" if url is None else "postgres"
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({
        "store": f"sqlite:///{name}.db", "mlflow": {"tracking_uri": "sqlite:///mlflow.db"},
        "models": [{"name": "idle", "log": log, "maturity": {"ratio": 0.9, "delay": "7d"},
                    "reference": {"from": f"{START:%Y-%m-%d}", "to": f"{START + DAY:%Y-%m-%d}"},
                    "window": {"length": "1h", "lateness": "10m"}}]}))
    return path


def ticks(config: Path, server: int | None) -> dict[str, float]:
    """CPU seconds of both ticks; a tick before them adopts the champion and its baseline."""
    from monitor.config import load
    from monitor.daemon import tick
    from monitor.deps import Deps
    from monitor.registry import Registry
    from monitor.store import Store

    loaded = load(config)
    model, late = loaded.config.models[0], timedelta(minutes=10)
    with Store.open(loaded.config.store) as store:
        deps = Deps(loaded.config, str(config), store, Registry(loaded.config.mlflow), None, None)

        def measured(now: datetime) -> float:
            before = cpu(server)
            tick(model, deps, now)
            return cpu(server) - before

        measured(START + DAY + late)
        first = measured(START + 2 * DAY + late)
        judged = len(store.verdicts("idle"))
        second = measured(START + 2 * DAY + HOUR + late)
        assert judged >= 23, judged
        assert len(store.verdicts("idle")) > judged
    return {"first_cpu_seconds": first, "idle_cpu_seconds": second}


def cpu(server: int | None) -> float:
    """CPU seconds so far of this process, of its ended children, and of a server's processes."""
    own = os.times()
    told = own.user + own.system + own.children_user + own.children_system
    if server is None:
        return told
    tick = os.sysconf("SC_CLK_TCK")
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            parts = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(entry.name) == server:  # with those of its processes that ended
                told += sum(map(int, parts[11:15])) / tick
            elif int(parts[1]) == server:
                told += sum(map(int, parts[11:13])) / tick
    return told


@contextmanager
def backend(name: str, folder: Path) -> Iterator[tuple[str | None, int | None]]:
    """The database's URL and its server's process id; neither for files."""
    if name == "parquet":
        yield None, None
        return
    import psycopg

    from tests.servers.postgres import serving

    with serving() as (url, pid):
        with psycopg.connect(f"{url}/postgres", autocommit=True) as session:
            session.execute("CREATE DATABASE idle")
        load_tables(folder, f"{url}/idle")
        yield f"{url}/idle", pid


def run(quick: bool, only: tuple[str, ...] = BACKENDS) -> dict[str, Any]:
    """Both ticks on every backend, each in a process of its own, and their ratio."""
    rows = 500_000 if quick else 1_000_000
    answer: dict[str, Any] = {"rows": rows}
    ratios = {}
    with tempfile.TemporaryDirectory(prefix="holdfast-idle-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        write(folder, {0: rows // 5, 1: rows})
        _register(f"sqlite:///{folder / 'mlflow.db'}")
        for name in only:
            with backend(name, folder) as (url, pid):
                config = configure(folder, url)
                done = subprocess.run(
                    [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.idle", "--ticks",
                     str(config), str(pid or "")], check=True, capture_output=True, text=True)
            told = json.loads(done.stdout.splitlines()[-1])
            answer |= {f"{name}_{key}": value for key, value in told.items()}
            ratios[name] = told["idle_cpu_seconds"] / told["first_cpu_seconds"]
    return answer | {"idle_tick_ratio": ratios}


def _register(uri: str) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(uri, uri)
    client.create_registered_model("idle")
    client.create_model_version("idle", source="file:///nowhere")
    client.set_registered_model_alias("idle", "champion", "1")


def show(answer: dict[str, Any], put: Callable[[str], None] = print) -> None:
    for name, value in answer.items():
        put(f"{name:28} {value:,.4g}" if not isinstance(value, dict) else
            f"{name:28} " + ", ".join(f"{key} {each:.4f}" for key, each in value.items()))


def main() -> None:
    """Run, print, and write the JSON that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="half of the rows")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--only", choices=BACKENDS, help="one backend")
    parser.add_argument("--ticks", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.ticks:
        config, server = given.ticks
        print(json.dumps(ticks(Path(config), int(server) if server else None)))
        return
    answer = run(given.quick, (given.only,) if given.only else BACKENDS)
    show(answer)
    if given.json:
        given.json.write_text(json.dumps(answer, indent=2) + "\n")


if __name__ == "__main__":
    main()

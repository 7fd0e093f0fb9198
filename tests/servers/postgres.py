"""A real PostgreSQL server: one per test process, a fresh database per test."""

from __future__ import annotations

import getpass
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.servers import free_port, need

_serial = itertools.count()


def binaries() -> Path | None:
    """The folder that holds ``initdb``: from PATH, or where Debian puts it."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"),
                    key=lambda path: int(path.parts[-3]))
    return debian[-1].parent if debian else None


def _runner() -> list[str]:
    """What runs a program as somebody who is not root: the server refuses root."""
    if os.geteuid() != 0:
        return []
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = "postgres" if "postgres" in names else "nobody"
    return ["setpriv", f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--clear-groups"]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL (without a database) of a server started on a free port, stopped afterwards."""
    with serving() as (url, _):
        yield url


@dataclass
class Postgres:
    """A server that may be stopped and started again, on the same port and data."""

    command: list[str]
    environment: dict[str, str]
    url: str
    """Without a database."""
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, env=self.environment,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _wait(f"{self.url}/postgres", self.process)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """End the server: SIGINT is a fast shutdown, which cuts clients off; SIGQUIT an immediate
        one, which recovers from its log as after a crash."""
        assert self.process is not None
        self.process.send_signal(number)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def serving() -> Iterator[tuple[str, int]]:
    """URL (without a database) and process id of a server, stopped afterwards."""
    with server() as made:
        assert made.process is not None
        yield made.url, made.process.pid


@contextmanager
def server() -> Iterator[Postgres]:
    """A server, started, and stopped afterwards."""
    folder = binaries()
    need(folder, "no PostgreSQL server: initdb is neither on PATH nor in /usr/lib/postgresql")
    assert folder is not None
    runner = _runner()
    user = pwd.getpwnam(runner[1].partition("=")[2]).pw_name if runner else getpass.getuser()
    home = Path(tempfile.mkdtemp(prefix="holdfast-postgres-", dir="/tmp"))
    home.chmod(0o711)
    data = home / "data"
    data.mkdir()
    if runner:
        shutil.chown(data, user)
    environment = {"PATH": f"{folder}:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(home)}
    subprocess.run([*runner, folder / "initdb", "-D", data, "-U", "holdfast", "-A", "trust",
                    "-E", "UTF8", "--no-sync"], check=True, capture_output=True, env=environment)
    port = free_port()
    made = Postgres([*runner, str(folder / "postgres"), "-D", str(data), "-p", str(port),
                     "-h", "127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off",
                     "-c", "full_page_writes=off", "-c", "shared_buffers=64MB"],
                    environment, f"postgresql://holdfast@127.0.0.1:{port}")
    try:
        made.start()
        yield made
    finally:
        if made.process is not None:
            made.stop()
        shutil.rmtree(home, ignore_errors=True)


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            assert server.poll() is None, "PostgreSQL ended while it was starting"
            assert time.monotonic() < ends, "PostgreSQL did not answer within 30 seconds"
            time.sleep(0.05)


@pytest.fixture
def postgres(postgres_server: str) -> Iterator[str]:
    """URL of a fresh, empty database."""
    with _database(postgres_server) as url:
        yield url


@pytest.fixture(scope="module")
def postgres_module(postgres_server: str) -> Iterator[str]:
    """URL of an empty database that the tests of one module share."""
    with _database(postgres_server) as url:
        yield url


@contextmanager
def _database(server: str) -> Iterator[str]:
    """A database that is dropped afterwards, whoever is still connected."""
    name = f"holdfast_{os.getpid()}_{next(_serial)}"
    _run(server, f'CREATE DATABASE "{name}"')
    yield f"{server}/{name}"
    _run(server, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _run(server: str, statement: str) -> None:
    with psycopg.connect(f"{server}/postgres", autocommit=True) as session:
        session.execute(statement.encode())

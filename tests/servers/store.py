"""A real S3 server for tests (moto's): a free port, a bucket per test, stopped afterwards."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from monitor import objects
from tests.servers import free_port

_serial = itertools.count()
_PATIENCE = 60.0


@dataclass
class Bucket:
    """A bucket of the server, and what was asked of it."""

    address: str
    name: str
    log: Path
    client: Any
    _read: int = field(default=0)

    @property
    def url(self) -> str:
        return f"s3://{self.name}"

    @property
    def storage(self) -> dict[str, Any]:
        """What a configuration says of it."""
        return {"endpoint_url": self.address, "region": "us-east-1"}

    def put(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=data)

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)

    def requests(self) -> list[str]:
        """Lines such as ``GET /bucket?list-type=2&prefix=log`` since the last call."""
        lines = self.log.read_text(errors="replace").splitlines()
        fresh, self._read = lines[self._read:], len(lines)
        asked = [line.split('"')[1].rpartition(" HTTP")[0] for line in fresh if '"' in line]
        return [line for line in asked if f"/{self.name}" in line]


def lists(requests: list[str]) -> int:
    return sum("list-type=2" in line for line in requests)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a server that lives as long as this test process, and its log."""
    log = tmp_path_factory.mktemp("s3-server") / "server.log"
    address = f"http://127.0.0.1:{free_port()}"
    with start_s3(address, log):
        yield address, log


def start_s3(address: str, log: Path, **environment: str) -> _Ended:
    """A server that answers; its process is ended on leaving."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p",
             address.rpartition(":")[2]],
            env=os.environ | {"PYTHONWARNINGS": "ignore"} | environment, stdout=file, stderr=file)
    ends = time.monotonic() + _PATIENCE
    while not _answers(address):
        if process.poll() is not None or time.monotonic() > ends:
            process.kill()
            pytest.fail(f"the S3 server did not start:\n{log.read_text()}")
        time.sleep(0.05)
    return _Ended(process)


@dataclass
class _Ended:
    process: subprocess.Popen[bytes]

    def __enter__(self) -> subprocess.Popen[bytes]:
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/moto-api/data.json", timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def client(address: str) -> Any:
    """A client of the store's own kind, for tests to write with."""
    import botocore.session

    return botocore.session.get_session().create_client(
        "s3", endpoint_url=address, region_name="us-east-1", aws_access_key_id="tests",
        aws_secret_access_key="tests-secret")


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Credentials as a deployment has them: in the environment, and nowhere else."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-aws-credentials"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tests-secret")
    objects.forget_systems()
    yield
    objects.forget_systems()


@pytest.fixture
def bucket(s3_server: tuple[str, Path], credentials: None, monkeypatch: pytest.MonkeyPatch
           ) -> Bucket:
    """An empty bucket of the store that the environment names."""
    address, log = s3_server
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    made = Bucket(address, f"bucket-{os.getpid()}-{next(_serial)}", log, client(address))
    made.client.create_bucket(Bucket=made.name)
    made.requests()
    return made

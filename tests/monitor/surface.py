"""A guarded surface for tests: its secrets as files, its site at a real port."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from monitor import credentials
from monitor.credentials import hashed
from monitor.exporter import Snapshot
from monitor.server import Server
from monitor.store import Store
from monitor.web import create_app, serve
from tests.monitor.stored import NAMES, configuration

TOKENS = {scope: f"the-token-of-scope-{scope}" for scope in ("metrics", "read", "act", "hooks")}
PASSWORD = "correct horse battery"
USERS = {"reader": "read", "anna": "act"}


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes that cost next to nothing."""
    monkeypatch.setattr(credentials, "COST", (2**10, 8, 1))


def guarded(folder: Path, **more: Any) -> dict[str, Any]:
    """`http` with a token of each scope and two users; only health is public unless told."""
    for scope, token in TOKENS.items():
        (folder / f"token-{scope}").write_text(token)
    (folder / "hash").write_text(hashed(PASSWORD))
    return {"public": [],
            "tokens": [{"name": f"{scope}-program", "scope": scope,
                        "token_file": str(folder / f"token-{scope}")} for scope in TOKENS],
            "users": [{"name": name, "scope": scope, "hash_file": str(folder / "hash")}
                      for name, scope in USERS.items()], **more}


@contextmanager
def site(store: Store, folder: Path, http: dict[str, Any], **more: Any) -> Iterator[Server]:
    """The running surface."""
    config = configuration(folder, http=http, **more)
    server = serve(create_app(store, config, Snapshot(store, config)), "127.0.0.1", 0,
                   http=config.http)
    try:
        yield server
    finally:
        server.stop()


def trained(*alerts: str) -> list[dict[str, Any]]:
    """The models of ``stored``, which train; named alerts may ask them to."""
    return [{"name": name, "training": {"kind": "sklearn"},
             "policy": {"retrain": {"alerts": list(alerts)}},
             "log": {"source": f"{name}/*.parquet", "timestamp": "at", "prediction": "answer",
                     "label": "truth"}} for name in NAMES]


def bearer(scope: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS[scope]}"}


def basic(name: str, password: str = PASSWORD) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def client(server: Server, **more: Any) -> httpx.Client:
    return httpx.Client(base_url=server.url, trust_env=False, **more)


Opened = Callable[..., Server]


@pytest.fixture
def opened(store: Store, tmp_path: Path) -> Iterator[Opened]:
    """A function that opens a guarded surface with further settings of `http`."""
    with ExitStack() as stack:
        yield lambda **more: stack.enter_context(site(
            store, tmp_path, guarded(tmp_path, **more), models=trained()))


@pytest.fixture
def server(opened: Opened) -> Server:
    return opened()

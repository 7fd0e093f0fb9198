"""Every command that a document shows is typed in, in order; ``place`` says how each is run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from monitor.config import load
from monitor.exporter import Snapshot
from monitor.store import Store
from monitor.web import create_app, serve
from tests.data import ROOT
from tests.docs.cluster import Cluster, Refused
from tests.docs.fenced import PAGES, Line, blocks, lines
from tests.docs.place import Place
from tests.monitor.command import holdfast
from tests.servers import need

TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the README's log, configuration and champion, after one tick; no reports are
    made, of ten seconds each."""
    folder, before = tmp_path_factory.mktemp("prepared"), Path.cwd()
    shown = {item.file: item.text for item in blocks("README.md") if item.file}
    (folder / "holdfast.yaml").write_text(shown["holdfast.yaml"] + "reports: false\n")
    os.chdir(folder)
    try:
        for block in blocks("README.md"):
            if block.language == "python":
                exec(compile(block.text, "README.md", "exec"), {})
        assert holdfast("once", "holdfast.yaml", "--now", "2026-03-01").code == 0
    finally:
        os.chdir(before)
    for name in ("helm", "dashboards", "Dockerfile"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture(scope="module")
def database(postgres_server: str) -> Iterator[dict[str, str]]:
    """A store in PostgreSQL called holdfast, and what leads its programs there."""
    where = urlsplit(postgres_server)
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as session:
        session.execute("CREATE DATABASE holdfast")
        Store.open(f"{postgres_server.replace('://', '+psycopg://')}/holdfast").close()
        yield {"PGHOST": str(where.hostname), "PGPORT": str(where.port),
               "PGUSER": str(where.username)}
        session.execute("DROP DATABASE holdfast WITH (FORCE)")


@pytest.fixture
def place(prepared: Path, tmp_path: Path, database: dict[str, str],
          monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A copy of the folder, and a daemon that serves its store."""
    folder = shutil.copytree(prepared, tmp_path / "place", symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DEPLOYS_TOKEN", TOKEN)
    extra = "\nhttp: {tokens: [{name: deploys, scope: act, token_env: DEPLOYS_TOKEN}]}\n"
    (folder / "served.yaml").write_text((folder / "holdfast.yaml").read_text() + extra)
    config = load(folder / "served.yaml").config
    with Store.open(config.store) as store:
        server = serve(create_app(store, config, Snapshot(store, config)), "127.0.0.1", 0)
        yield Place(folder, server.url, database | {"TOKEN": TOKEN}, Cluster(folder))
        server.stop()


@pytest.mark.parametrize("page", PAGES)
def test_every_command_does_what_it_says(page: str, place: Place) -> None:
    shown = blocks(page)
    for block in shown:
        if block.file and block.file != "holdfast.yaml":
            (place.folder / block.file).write_text(block.text)
    typed = [line for block in shown if block.language == "sh" for line in lines(block)]
    for line in typed:
        place.type(line)
    need(not place.absent, f"not on PATH: {', '.join(sorted(place.absent))}")


@pytest.mark.parametrize("words", [
    "ls -l", "holdfast chek holdfast.yaml", "holdfast status none.yaml", "make nonsense",
    "holdfast demo --colour red", "pip install 'holdfast[none]'", "pip install evidently",
    "docker build --target none -t a:1 .", "docker push a:1", "kubectl get deployment/holdfast",
    "kubectl delete namespace default", "helm install holdfast ./helm", "helm test holdfast",
    "helm lint ./nothing", "curl -sf http://127.0.0.1:8700/nothing", "cat log.parquet | jq ."])
def test_a_command_that_does_not_work_is_found(words: str, place: Place) -> None:
    with pytest.raises(AssertionError, match="here:1"):
        place.type(Line("here:1", words))


def test_a_cluster_refuses_what_is_not_there(place: Place) -> None:
    cluster = place.cluster
    with pytest.raises(Refused, match="a namespace is needed"):
        cluster.kubectl(["-n", "away", "get", "pods"])
    (place.folder / "values.yaml").write_text(
        "store: {kind: postgresql, postgresql: {existingSecret: none}}\n"
        "config: {models: [{name: m, log: {source: l, timestamp: at, prediction: p}}]}\n")
    cluster.pushed.add("holdfast:0.1.0")
    with pytest.raises(Refused, match="a key of Secret none"):
        cluster.helm(["install", "r", "./helm", "-f", "values.yaml"])

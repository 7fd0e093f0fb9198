"""Secrets: from the environment or files, and never anywhere else."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import yaml

from monitor.config import load
from monitor.exporter import Snapshot
from monitor.secrets import clean, redact, redacted, resolve
from monitor.store import Store
from monitor.web import create_app, serve
from tests.monitor.command import holdfast
from tests.monitor.logs import Logs
from tests.story.deployment import deploy

PASSWORD, SALT = "corr3ct-horse%40battery", "gr4in-of-salt"
FORMS = (PASSWORD, "corr3ct-horse@battery", SALT)


def test_placeholders_are_replaced_and_what_is_missing_is_named(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_TEST", "from-the-environment")
    (tmp_path / "secret").write_text("from-a-file\n")
    mistakes: list[str] = []
    values = {"a": ["x ${env:HOLDFAST_TEST} y", "${file:secret}"], "b": {"c": "${file:none}"},
              "d": 1}
    assert resolve(values, tmp_path, mistakes) == {
        "a": ["x from-the-environment y", "from-a-file"], "b": {"c": ""}, "d": 1}
    assert mistakes == ["b.c: ${file:none}: the file cannot be read"]


def test_known_secrets_and_passwords_in_addresses_are_masked(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_TEST", 'quo"te\\d%40')
    resolve("${env:HOLDFAST_TEST}", tmp_path, [])
    assert redact('it is quo"te\\d%40, or quo"te\\d@') == "it is ***, or ***"
    assert redact("postgresql://me:secret@host/db http://u:p@h") == (
        "postgresql://me:***@host/db http://u:***@h")
    assert redact("http://host:8700/path") == "http://host:8700/path"
    assert redact("at postgresql://me:se/cr@t@db/x: 'mysql://me:se/cret@db', by me@here") == (
        "at postgresql://me:***@db/x: 'mysql://me:***@db', by me@here")
    assert json.dumps(redacted({"a": ['quo"te\\d%40', 1]})) == '{"a": ["***", 1]}'
    assert not clean(json.dumps({"a": ['quo"te\\d%40', 1]}))
    assert not clean(json.dumps({"postgresql://me:hidden@db": 1}))
    assert clean(json.dumps({"a": ["nothing", 1]}))


def test_a_models_name_stays_though_a_secret_reads_the_same(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links and forms go by it; all else that holds the secret is masked, be it part of a word."""
    monkeypatch.setenv("HOLDFAST_TEST", "fraud")
    file = tmp_path / "holdfast.yaml"
    file.write_text(yaml.safe_dump({"models": [{
        "name": "fraud-eu", "task": "binary", "log": {
            "source": "postgresql://holdfast@db/${env:HOLDFAST_TEST}", "table": "log",
            "timestamp": "at", "prediction": "answer", "label": "truth"}}]}))
    load(file)
    assert redact("/models/fraud-eu of fraud, fraudulent, fraud-us") == (
        "/models/fraud-eu of ***, ***ulent, ***-us")
    assert redacted({"model": "fraud-eu"}) == {"model": "fraud-eu"}
    monkeypatch.setattr("monitor.secrets._known", {"my-fraud-eu-password"})
    assert redact("my-fraud-eu-password") == "***", "a name within a secret does not show it"


def test_no_secret_leaves_a_whole_deployment(
        tmp_path: Path, mlflow_uri: str, postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOLDFAST_TEST", PASSWORD)
    away = tmp_path.with_name(f"{tmp_path.name}-secret")
    away.write_text(SALT)
    address = postgres.replace("//holdfast@", "//holdfast:${env:HOLDFAST_TEST}@")
    file = _deployment(tmp_path, mlflow_uri, postgres, address, salt=f"${{file:{away}}}")
    words = [holdfast("--verbose", *command) for command in (
        ("check", file, "--json"), ("baseline", file),
        ("once", file, "--now", "2026-02-08T02:00", "--json"),
        ("retrain", file, "--model", "fresh", "--bootstrap", "--now", "2026-02-08"),
        ("replay", file, "--from", "2026-02-06", "--to", "2026-02-08", "--json"), ("status", file))]
    assert words[3].out.startswith("registered: "), words[3]
    said = "\n".join(said.out + said.err for said in words)
    assert "postgresql://holdfast:***@127.0.0.1" in said
    assert '"verdict": "drifted"' in said
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    names = {path.name for path in kept}
    assert {"mlflow.db", "request.json", "log.txt", "baseline.json", "card.md"} <= names
    assert any(name.endswith(".html") for name in names), "a report was made"
    pages = _pages(file)
    assert "holdfast_drift_statistic" in pages
    for secret in FORMS:
        assert secret not in said
        assert [path for path, content in kept.items() if secret.encode() in content] == []
        assert secret not in pages
    with Store.open(load(file).config.store) as store:
        everything = json.dumps([row.line for row in store.verdicts("deliveries")])
        everything += str(store.troubles()) + str(store.requests("deliveries"))
        everything += str(store.baseline("deliveries", "1"))
    assert not any(secret in everything for secret in FORMS)


def _deployment(folder: Path, mlflow_uri: str, postgres: str, address: str, *, salt: str) -> Path:
    """Log, labels and store on PostgreSQL; a column is hashed, and a second model has no table."""
    deployment = deploy(folder, mlflow_uri, reports=True, privacy={"hash": ["zone"], "salt": salt},
                        training={"kind": "torch", "epochs": 2, "widths": [8], "prune": [0.5]})
    logs = Logs("postgres", folder, postgres)
    for table in ("log", "labels"):
        frame = pd.concat([pd.read_parquet(part) for part in (folder / table).glob("*.parquet")])
        logs.add(pa.Table.from_pandas(frame, preserve_index=False), table)
    settings: dict[str, Any] = yaml.safe_load(deployment.loaded.path.read_text())
    model = settings["models"][0]
    model["log"] |= {"source": address, "table": "log"}
    model["log"]["labels"] |= {"source": address, "table": "labels"}
    broken = model | {"name": "broken", "registered_model": "deliveries",
                      "log": model["log"] | {"source": f"{address}x"}}
    settings |= {"store": address.replace("postgresql:", "postgresql+psycopg:"),
                 "models": [model, broken, model | {"name": "fresh"}]}
    deployment.loaded.path.write_text(yaml.safe_dump(settings))
    return deployment.loaded.path


def _pages(file: Path) -> str:
    """Every page and the metrics, as one text."""
    config = load(file).config
    with Store.open(config.store) as store:
        server = serve(create_app(store, config, Snapshot(store, config)), "127.0.0.1", 0)
        try:
            return "\n".join(_page(f"http://127.0.0.1:{server.port}/{path}") for path in (
                "", "metrics", "healthz", "readyz", "api/status", "models/deliveries",
                "models/broken"))
        finally:
            server.stop()


def _page(address: str) -> str:
    try:
        with urllib.request.urlopen(address, timeout=30) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return error.read().decode()

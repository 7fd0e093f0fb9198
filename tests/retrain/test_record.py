"""What a run keeps of a request: words without secrets, and what is read back as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monitor import secrets
from monitor.config import load
from monitor.registry import FOLDER, Registry
from retrain.record import Record
from tests.retrain.shop import request, shop


@pytest.fixture
def record(tmp_path: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> Record:
    """Of a deployment whose port and database's name come from the environment."""
    path = shop(tmp_path, mlflow_uri)
    monkeypatch.setattr(secrets, "_known", {"5432", "late", "window"})
    return Record.open(Registry(load(path).config.mlflow), request(path, "train", champion="1"))


def _kept(record: Record, name: str) -> str:
    found = record.registry.artifact(record.run_id, f"{FOLDER}/{name}")
    assert found is not None
    return found


def test_a_secret_that_numbers_and_names_hold_leaves_an_outcome_readable(record: Record) -> None:
    told = {"value": 0.15432, "window": ["2026-02-01", "2026-03-01"], "why": "password 5432"}
    record.conclude("refused", "the port 5432 is closed", result=told)
    found = record.registry.outcome(record.request.request_id)
    assert found is not None
    assert found.result == told | {"why": "password ***"}
    assert found.reason == "the port *** is closed"
    assert json.loads(_kept(record, "request.json"))["model"] == "shop"


def test_what_is_read_back_is_written_as_it_is(record: Record) -> None:
    """A mask in a baseline would be no number, or the name of another column."""
    record.exact("baseline.json", '{"late": 0.15432}')
    record.json("contract.json", {"inputs": {"late": "string"}}, exact=True)
    record.text("card.md", "late by 5432")
    assert _kept(record, "baseline.json") == '{"late": 0.15432}'
    assert json.loads(_kept(record, "contract.json")) == {"inputs": {"late": "string"}}
    assert _kept(record, "card.md") == "*** by ***"

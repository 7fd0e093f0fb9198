"""Golden sets from the gate to the audit, against an embedded MLflow, in processes of their own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from monitor import audit
from monitor.act import act
from monitor.assembly import opened
from monitor.byhand import look
from monitor.config import load
from monitor.daemon import tick
from monitor.deps import Deps
from monitor.errors import ConfigError
from monitor.exporter import samples
from monitor.page import cards
from monitor.registry import Version
from monitor.state import Decision
from monitor.status import overview, words
from tests.monitor.command import holdfast
from tests.retrain.shop import KNOWN_AT, request, shop, work

LATER = KNOWN_AT + timedelta(days=1)


class Audited:
    """A shop with a golden set, a champion and a candidate that was held against it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = shop(folder, f"sqlite:///{folder / 'mlflow.db'}", renew=False)
        log = pd.read_parquet(folder / "log.parquet")
        golden = log[log["timestamp"].dt.day % 10 == 3]
        golden.drop(columns=["answer", "version"]).to_parquet(folder / "golden.parquet")
        self.rows = len(golden)
        self.configure(floor=0.3, epochs=1)  # a first champion that has learnt little
        self.first = work(request(self.path, "bootstrap", options={"report": False}), folder)
        self.configure(floor=0.3)
        self.second = work(request(self.path, "train", champion="1", options={"report": False}),
                           folder)

    def configure(self, *, floor: float, epochs: int = 15) -> None:
        config = yaml.safe_load(self.path.read_text())
        config["models"][0] |= {"audit": {"every": "7d"}, "benchmarks": [
            {"name": "hard", "source": "golden.parquet", "floor": floor, "budget": 0.2}],
            "policy": {"compression": {"rows": 0}}}
        config["models"][0]["training"]["epochs"] = epochs
        self.path.write_text(yaml.safe_dump(config))

    @contextmanager
    def deps(self) -> Iterator[Deps]:
        with opened(load(self.path)) as found:
            yield found

    def version(self, deps: Deps, number: str) -> Version:
        found = deps.registry.version("shop", number)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Audited:
    return Audited(tmp_path_factory.mktemp("audited"))


@pytest.fixture(scope="module")
def told(audited: Audited) -> dict[str, Any]:
    with audited.deps() as deps:
        return look(deps.config.models[0], deps, now=LATER, wait=True)


def of(result: dict[str, Any], role: str) -> list[dict[str, Any]]:
    return [row for row in result["gate"] if row["role"] == role]


def test_the_gate_holds_the_candidate_against_the_golden_set(audited: Audited) -> None:
    assert audited.second.status == "registered", audited.second.reason
    result = audited.second.result
    assert [(row["where"], row["against"], row["n"]) for row in of(result, "benchmark")] == [
        ("hard", "the declared floor", audited.rows), ("hard", "version 1", audited.rows)]
    assert "2 checks on benchmarks" in audited.second.reason
    with audited.deps() as deps:
        made = deps.registry.client.get_model_version("shop", "2")
        text = deps.registry.artifact(made.run_id, "holdfast/card.md") or ""
    assert "## What the gate asked" in text
    assert "| benchmark hard | version 1 | accuracy |" in text


def test_none_of_its_rows_was_trained_on(audited: Audited) -> None:
    log = pd.read_parquet(audited.folder / "log.parquet")
    inside = log[(log["timestamp"] >= "2026-01-18") & (log["timestamp"] < "2026-02-15")]
    golden = inside["timestamp"].dt.day % 10 == 3
    rows = audited.second.result["rows"]
    kept = len(inside) - golden.sum()
    assert 0.9 * kept < sum(rows.values()) <= kept, "less what the embargo leaves out"


def test_an_audit_measures_both_on_the_whole_set(audited: Audited, told: dict[str, Any]) -> None:
    assert told["status"] == "done"
    result = told["result"]
    decided = {row["role"]: row for row in audit.deciding(result)}
    assert {role: row["version"] for role, row in decided.items()} == {"champion": "1",
                                                                       "challenger": "2"}
    assert all(row["n"] == audited.rows and not row["under"] for row in decided.values())
    [gain] = result["gains"]
    assert gain["gain"] == pytest.approx(decided["challenger"]["value"]
                                         - decided["champion"]["value"])
    assert gain["low"] <= gain["gain"] <= gain["high"]
    for row in of(audited.second.result, "benchmark")[1:]:
        assert row["value"] == pytest.approx(decided["challenger"]["value"]), "as the gate saw it"


def test_mlflow_holds_metrics_a_table_and_tags(audited: Audited, told: dict[str, Any]) -> None:
    with audited.deps() as deps:
        run = deps.registry.client.get_run(told["run_id"])
        value = run.data.metrics["hard/challenger/accuracy"]
        table = json.loads(deps.registry.artifact(told["run_id"], "holdfast/audit.json") or "")
        assert deps.registry.artifact(told["run_id"], "holdfast/audit.md")
        tag = audited.version(deps, "2").tags["holdfast.benchmark.hard"]
    assert table["columns"][:5] == ["benchmark", "role", "version", "metric", "value"]
    assert ["hard", "challenger", "2", "accuracy", value] in [row[:5] for row in table["data"]]
    assert tag.startswith(f"accuracy {value:.3f} (")
    assert tag.endswith("2026-02-17T01:00:00Z")


def test_it_is_shown_and_kept(audited: Audited, told: dict[str, Any]) -> None:
    with audited.deps() as deps:
        tick(deps.config.models[0], deps, LATER)
        found = samples(deps.store, deps.config)
        [card] = cards(deps.store, deps.config)
        said = words(overview(deps.config, deps.store))
        kept = audit.history(deps.store, "shop")
        started = deps.store.open_request("shop")  # the tick scores the waiting challenger
        assert deps.launcher is not None
        while started and deps.launcher.running(started.request.request_id):
            time.sleep(0.2)
    row = next(row for row in told["result"]["scores"] if row["role"] == "champion")
    assert found["holdfast_benchmark_score"]["shop", "hard", "1", "champion", "accuracy"] == (
        pytest.approx(row["value"]))
    assert "golden set  hard: accuracy champion 0." in said
    assert [line["role"] for line in card.audits] == ["champion", "challenger"]
    assert kept[0]["at"] == "2026-02-17T01:00:00Z"


def test_the_same_request_is_not_worked_on_twice(audited: Audited, told: dict[str, Any]) -> None:
    with audited.deps() as deps:
        [row] = deps.store.scorings("shop", "audit", newest=5)
        again = work(row.request, audited.folder)
        assert again.run_id == told["run_id"]
        assert again.result == told["result"]


def ended(deps: Deps) -> None:
    row = deps.store.open_request("shop")
    assert row is not None
    assert deps.launcher is not None
    deadline = time.monotonic() + 120
    while deps.launcher.running(row.request.request_id):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_schedule_asks_again_when_it_is_due_and_the_state_stays(
        audited: Audited, told: dict[str, Any]) -> None:
    with audited.deps() as deps:
        [model] = deps.config.models
        tick(model, deps, LATER + timedelta(days=2))
        assert len(deps.store.scorings("shop", "audit", newest=5)) == 1, "not due yet"
        at = LATER + timedelta(days=7)
        tick(model, deps, at)
        row = deps.store.open_request("shop")
        assert row is not None
        assert row.request.reason == "the golden sets are looked at every 7d"
        state = deps.store.recorded("shop").state
        assert state.request is None
        deps.store.advance("shop", deps.store.recorded("shop").number, state, at=at, cause="test",
                           decision=Decision("retrain", "the test asks"))
        act(model, deps, at)
        assert deps.store.pending("shop") is not None, "a retrain waits, and is not lost"
        ended(deps)
        waiting = deps.store.pending("shop")
        assert waiting is not None
        deps.store.settle(waiting.id, "refused", "the test is over")
        tick(model, deps, at + timedelta(hours=1))
        assert deps.store.open_request("shop") is None
        assert len(audit.history(deps.store, "shop")) == 2
        assert deps.store.recorded("shop").state.cooldown_until is None


def test_the_command_says_what_it_found(audited: Audited, told: dict[str, Any]) -> None:
    audited.configure(floor=0.99)
    said = holdfast("audit", str(audited.path), "--now", "2026-04-01", "--json")
    audited.configure(floor=0.3)
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert found["status"] == "done"
    assert "under its floor" in found["reason"]


def test_without_golden_sets_it_is_refused_in_words(tmp_path: Path) -> None:
    path = shop(tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}")
    said = holdfast("audit", str(path))
    assert said.code == 2
    assert "no model has golden sets" in said.err
    with opened(load(path)) as deps, pytest.raises(ConfigError, match="at least one golden set"):
        look(deps.config.models[0], deps, now=LATER, wait=True)

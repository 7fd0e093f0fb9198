"""Alertmanager's webhook: alerts ask for retrains where the policy lets them."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from monitor.server import Server
from monitor.store import Store
from tests.monitor.surface import bearer, cheap, client, guarded, site, trained
from tests.servers.alertmanager import Alertmanager, alertmanager

__all__ = ["alertmanager", "cheap"]
pytestmark = pytest.mark.usefixtures("cheap")


@pytest.fixture
def server(store: Store, tmp_path: Path) -> Iterator[Server]:
    with site(store, tmp_path, guarded(tmp_path), models=trained("HoldfastDegraded")) as opened:
        yield opened


def alert(name: str = "HoldfastDegraded", model: str | None = "quiet", **more: Any
          ) -> dict[str, Any]:
    labels = {"alertname": name, "severity": "critical"} | ({"model": model} if model else {})
    return {"status": "firing", "labels": labels, "annotations": {"reason": "accuracy fell"},
            "startsAt": "2026-03-10T12:00:00.123Z", "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus/graph", "fingerprint": "abc123", **more}


def send(server: Server, *alerts: dict[str, Any], scope: str = "hooks") -> tuple[int, list[Any]]:
    with client(server) as site:
        answer = site.post("/hooks/alertmanager", headers=bearer(scope), json={
            "version": "4", "groupKey": "{}", "receiver": "holdfast", "status": "firing",
            "truncatedAlerts": 0, "alerts": list(alerts)})
        told = [(item["status"], item["words"]) for item in answer.json()["alerts"]]
        return answer.status_code, told


def test_an_episode_of_an_alert_asks_once(server: Server, store: Store) -> None:
    assert send(server, alert()) == (200, [(202, "asked")])
    assert send(server, alert(), alert(), scope="act") == (200, [(202, "asked")] * 2)
    [order] = store.orders("quiet")
    assert (order.action, order.by, order.arguments) == ("retrain", "alertmanager", {
        "alert": "HoldfastDegraded", "reason": "accuracy fell", "bootstrap": False})
    store.settle_order(order.id, "refused", "no retrain: the cooldown of 7d lasts")
    assert send(server, alert()) == (200, [(200, "refused: no retrain: the cooldown of 7d lasts")])
    later = alert(startsAt="2026-03-11T12:00:00Z")
    assert send(server, later) == (200, [(202, "asked")])
    assert len(store.orders("quiet")) == 2


def test_what_does_not_count_does_nothing_and_stops_nothing(server: Server, store: Store) -> None:
    code, told = send(server, alert("HoldfastDrift"), alert(status="resolved"),
                      alert(model="nobody"), alert(model=None), alert(model="deliveries"))
    assert code == 200
    assert [status for status, _ in told] == [200, 200, 404, 404, 202]
    assert "policy.retrain.alerts does not name it" in told[0][1]
    assert told[2][1] == "no model of that name is configured"
    assert store.ordered() == {"deliveries"}
    assert send(server, alert(model="nobody"))[0] == 404


def test_words_that_no_store_or_page_takes_are_taken_without_what_they_lack(
        server: Server, store: Store) -> None:
    """PostgreSQL takes no NUL, and neither takes half of a character: ticks would end there."""
    with client(server) as site:
        for place, words in enumerate(("no \\u0000 store", "half \\ud83d of it")):
            firing = json.dumps({"version": "4", "alerts": [alert(
                startsAt=f"2026-03-1{place}T12:00:00Z")]}).replace("accuracy fell", words)
            kind = {"Content-Type": "application/json"}
            answer = site.post("/hooks/alertmanager", headers=bearer("hooks") | kind,
                               content=firing)
            assert answer.status_code == 200
            [order] = [item for item in store.orders("quiet") if item.status == "asked"]
            assert order.arguments["reason"] in {"no  store", "half ? of it"}
            store.settle_order(order.id, "done", "")
        answer = site.post("/api/models/quiet/retrain", headers=bearer("act") | kind,
                           content='{"reason": "no \\u0000 store"}')
        assert answer.json()["arguments"]["reason"] == "no  store"
        assert site.get("/api/models/quiet/orders", headers=bearer("read")).status_code == 200
        unnamed = json.dumps({"version": "4", "alerts": [alert("X")]}).replace("X", "\\ud83d")
        assert site.post("/hooks/alertmanager", headers=bearer("hooks") | kind,
                         content=unnamed).status_code == 200


@pytest.mark.parametrize("scope", ["read", "metrics"])
def test_only_its_scopes_open_it(server: Server, store: Store, scope: str) -> None:
    with client(server) as site:
        body = {"version": "4", "alerts": [alert()]}
        assert site.post("/hooks/alertmanager", json=body).status_code == 401
        assert site.post("/hooks/alertmanager", json=body, headers=bearer(scope)
                         ).status_code == 403
        for junk in ({"version": "3", "alerts": []}, {"version": "4"}, {"alerts": [1]}, []):
            assert site.post("/hooks/alertmanager", json=junk, headers=bearer("hooks")
                             ).status_code == 422
    assert store.ordered() == set()


def test_a_real_alertmanager_asks(server: Server, store: Store, tmp_path: Path,
                                  alertmanager: Callable[..., Alertmanager]) -> None:
    running = alertmanager({"url": f"{server.url}/hooks/alertmanager", "http_config": {
        "authorization": {"credentials_file": str(tmp_path / "token-hooks")}}})
    labels = {"alertname": "HoldfastDegraded", "model": "quiet"}
    body = [{"labels": labels, "annotations": {"reason": "accuracy fell"},
             "startsAt": datetime.now(UTC).isoformat()}]
    for _ in range(2):
        urllib.request.urlopen(urllib.request.Request(
            f"{running.address}/api/v2/alerts", json.dumps(body).encode(),
            {"Content-Type": "application/json"}), timeout=10).close()
    deadline = time.monotonic() + 30
    while not store.ordered():
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.1)
    [order] = store.orders("quiet")
    assert order.arguments["alert"] == "HoldfastDegraded"

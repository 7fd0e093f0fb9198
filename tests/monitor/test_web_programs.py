"""What programs get of the web surface, and what nobody does."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from xml.etree import ElementTree

import httpx
import pytest

from monitor import secrets
from monitor.badge import badge
from monitor.errors import HoldfastError
from monitor.exporter import Snapshot
from monitor.secrets import resolve
from monitor.state import Decision, ModelState
from monitor.store import Store
from monitor.web import create_app, serve
from tests.monitor.stored import at, configuration, fill, verdict
from tests.monitor.visited import site, store

__all__ = ["site", "store"]


def test_secrets_are_masked_everywhere(
        store: Store, site: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_SECRET", "open-sesame")
    assert resolve("${env:WEB_SECRET}", tmp_path, []) == "open-sesame"
    store.advance("quiet", 0, ModelState(champion="3"), at=at(1), cause="open-sesame", verdicts=[
        (verdict("quiet", 0, reason="the word is open-sesame"), "stable", None,
         Decision("hold", "open-sesame"))])
    store.trouble("quiet", at(1), "SourceError", "postgresql://me:hunter2@db/x open-sesame")
    for path in ("/", "/models/quiet", "/api/status", "/metrics", "/models/open-sesame"):
        body = site.get(path).text
        assert "open-sesame" not in body
        assert "hunter2" not in body


def test_a_secret_that_is_a_common_word_breaks_no_page(
        store: Store, site: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a flag comes from the environment: tags stay as they are, texts are masked."""
    fill(store)
    before = {path: site.get(path).text for path in ("/", "/models/electricity")}
    monkeypatch.setattr(secrets, "_known", {"true", "stands", "drifted"})
    for path, plain in before.items():
        masked = site.get(path).text
        assert plain.count('aria-hidden="true"') > 0
        assert masked.count('aria-hidden="true"') == plain.count('aria-hidden="true"')
        assert masked.count("***") > 0
        assert masked.count("<") == plain.count("<")


def test_what_is_not_there_is_said_in_words(site: httpx.Client) -> None:
    for path in ("/reports/7", "/models/none", "/nothing", "/docs", "/openapi.json"):
        assert site.get(path).status_code == 404
    assert site.get("/reports/..%2f..%2fetc%2fpasswd").status_code == 404
    assert site.get("/reports/x").status_code in {404, 422}


def test_a_badge_says_the_phase(store: Store, site: httpx.Client) -> None:
    fill(store)
    for name, words in (("quiet", "quiet: stable"), ("air-quality", "air-quality: faulty data"),
                        ("new-model", "new-model: unknown")):
        answer = site.get(f"/badge/{name}.svg")
        assert answer.headers["content-type"] == "image/svg+xml"
        assert answer.headers["cache-control"] == "public, max-age=60"
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
        assert f"<title>{words}</title>" in answer.text
        ElementTree.fromstring(answer.text)
    assert site.get("/badge/none.svg").status_code == 404
    odd = badge("<b>&" + "x" * 60, "stable", "good")
    assert ElementTree.fromstring(odd).attrib["aria-label"] == "<b>&" + "x" * 60 + ": stable"
    assert "…" in odd


def test_nothing_can_be_changed(site: httpx.Client) -> None:
    for path in ("/", "/models/quiet", "/api/status", "/metrics"):
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert site.request(method, path).status_code == 405


def test_who_asks_for_the_head_alone_gets_it(site: httpx.Client) -> None:
    """As balancers and watchers of uptime do."""
    for path in ("/", "/models/quiet", "/api/status", "/badge/quiet.svg", "/healthz", "/readyz"):
        whole, head = site.get(path), site.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == whole.headers["content-type"]
    assert site.head("/models/nope").status_code == 404


def test_health_and_readiness(store: Store, site: httpx.Client, tmp_path: Path) -> None:
    assert site.get("/healthz").status_code == 200
    assert site.get("/readyz").status_code == 200
    store.close()
    (tmp_path / "store.db").rename(tmp_path / "away.db")
    assert site.get("/healthz").status_code == 200
    assert site.get("/readyz").status_code == 503
    assert site.get("/").status_code == 503
    assert site.get("/api/status").json()["error"]
    assert site.get("/metrics").status_code == 200


def test_the_status_is_json_too(store: Store, site: httpx.Client) -> None:
    fill(store)
    told = {model["model"]: model for model in site.get("/api/status").json()["models"]}
    assert told["electricity"]["phase"] == "awaiting_promotion"
    assert json.dumps(told).count("NaN") == 0


def test_metrics_are_served_in_the_format_that_is_asked_for(
        store: Store, site: httpx.Client) -> None:
    fill(store)
    for _ in range(60):  # the snapshot follows within a second or so
        plain = site.get("/metrics")
        if 'holdfast_phase{model="quiet",phase="stable"} 1.0' in plain.text:
            break
        time.sleep(0.1)
    else:
        pytest.fail("the metrics did not follow the store within six seconds")
    assert plain.headers["content-type"].startswith("text/plain; version=")
    asked = {"accept": "application/openmetrics-text; version=1.0.0"}
    assert site.get("/metrics", headers=asked).text.endswith("# EOF\n")


def test_a_port_that_is_taken_is_said_in_words(store: Store, tmp_path: Path) -> None:
    config = configuration(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(HoldfastError, match=r"another http\.host or http\.port"):
            serve(create_app(store, config, Snapshot(store, config)), "127.0.0.1",
                  taken.getsockname()[1])

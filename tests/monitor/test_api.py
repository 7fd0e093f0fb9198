"""The JSON API: what it tells, how it refuses, and that it does what its OpenAPI says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings

from monitor.exporter import Snapshot
from monitor.store import Store
from monitor.web import create_app, serve
from tests.monitor.declaration import declaration
from tests.monitor.stored import NAMES, configuration, fill


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("api")
    with Store.open(f"sqlite:///{folder / 'store.db'}") as store:
        fill(store)
        yield store


@pytest.fixture(scope="module")
def address(filled: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    config = configuration(tmp_path_factory.mktemp("configuration"))
    server = serve(create_app(filled, config, Snapshot(filled, config)), "127.0.0.1", 0)
    yield server.url
    server.stop()


@pytest.fixture
def api(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{address}/api", trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def declared(address: str) -> Any:
    return declaration(address, NAMES)


def test_the_fleet_is_told_in_the_order_of_need(api: httpx.Client) -> None:
    told = api.get("/models").json()
    assert [item["name"] for item in told["items"]][:2] == ["electricity", "air-quality"]
    assert told["items"][0]["needs"] == {"level": "now", "words": "decide on version 4"}
    assert told["items"][0]["performance"]["value"] == 0.771
    assert told["items"][1]["trouble"].startswith("postgresql://air:***@db/air")
    assert (told["total"], told["found"], told["next"]) == (5, 5, None)


@pytest.mark.parametrize(("asked", "names"), [
    ({"phase": "probation"}, ["deliveries"]), ({"needs": "busy"}, ["deliveries"]),
    ({"text": "AIR null"}, ["air-quality"]), ({"text": "no such words"}, []),
    ({"limit": 1, "offset": 1}, ["air-quality"]), ({"offset": 9999}, [])])
def test_the_fleet_can_be_filtered_and_paged(api: httpx.Client, asked: dict[str, Any],
                                             names: list[str]) -> None:
    told = api.get("/models", params=asked).json()
    assert [item["name"] for item in told["items"]] == names
    assert told["next"] == (2 if asked.get("limit") else None)


def test_a_model_is_told_whole(api: httpx.Client) -> None:
    told = api.get("/models/electricity").json()
    assert told["phase"] == "awaiting_promotion"
    assert told["newest"]["features"][0]["importance"] == 0.34
    versions = api.get("/models/electricity/versions").json()
    assert versions["shadow"]["gain"]["difference"] == 0.07
    assert next(row["start"] for row in versions["windows"]) == "2026-03-14T00:00:00Z"
    ranked = api.get("/models/electricity/features").json()["items"]
    assert ranked[0]["name"] == "price"
    assert ranked[0]["rank"] == pytest.approx(0.63 / 0.112 * 0.34)
    assert api.get("/models/new-model").json()["newest"] is None


def test_the_past_is_paged_and_stays_as_it_is(api: httpx.Client) -> None:
    where = "/models/electricity/verdicts"
    pages = [api.get(where, params={"limit": 6, "offset": skip}).json() for skip in (0, 6, 12)]
    assert [page["next"] for page in pages] == [6, 12, None]
    starts = [row["start"] for page in pages for row in page["items"]]
    assert starts == sorted(starts, reverse=True)
    assert len(starts) == 14
    until = api.get(where, params={"known_until": "2026-03-05T01:00:00Z"}).json()["items"]
    assert [row["start"][:10] for row in until] == [f"2026-03-0{day}" for day in (4, 3, 2, 1)]
    (monday,) = api.get(where, params={"segment": "weekday=0"}).json()["items"]
    assert monday["n"] == 702


@pytest.mark.parametrize("what", ["episodes", "decisions", "transitions", "requests", "reports",
                                  "troubles", "acknowledgements"])
def test_what_happened_is_listed(api: httpx.Client, what: str) -> None:
    told = api.get(f"/models/electricity/{what}", params={"limit": 1}).json()
    assert len(told["items"]) == (what not in {"troubles", "acknowledgements"})
    assert told["next"] == (1 if what in {"transitions", "requests"} else None)


def test_fixed_words_and_times_are_told_though_secrets_read_the_same(
        api: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = ["/models", *(f"/models/electricity{part}" for part in (
        "", "/verdicts", "/decisions", "/transitions", "/requests", "/episodes"))]
    open_ = [api.get(path).json() for path in paths]
    words = {"awaiting_promotion", "stable", "degraded", "retrain", "train", "now", "2026"}
    monkeypatch.setattr("monitor.secrets._known", words)
    masked = [api.get(path) for path in paths]
    assert [answer.status_code for answer in masked] == [200] * len(paths)
    fleet, model, verdicts, *_ = (answer.json() for answer in masked)
    assert fleet["items"][0]["phase"] == model["phase"] == "awaiting_promotion"
    assert {row["start"] for row in verdicts["items"]} == {
        row["start"] for row in open_[2]["items"]}
    reasons = [row["reason"] for row in (*verdicts["items"], *masked[4].json()["items"])
               if "reason" in row]
    assert reasons
    assert not any(word in reason for word in words for reason in reasons)


@pytest.mark.parametrize(("path", "status", "words"), [
    ("/models/none", 404, "No model called none"), ("/models/a%2Fb", 404, ""),
    ("/models/%C3%A4%20b/verdicts", 404, "No model called ä b"), ("/nothing", 404, "Not Found"),
    ("/models?limit=0", 422, "limit: "), ("/models?offset=-1", 422, "offset: "),
    ("/models?limit=1e9", 422, "limit: "), ("/models?phase=fine", 422, "phase: "),
    ("/models/quiet/verdicts?offset=99999999999999999999", 422, "offset: "),
    ("/models/quiet/verdicts?known_until=1772326800", 422, "2026-01-31T06:00:00Z"),
    ("/models/quiet/verdicts?segment=%00", 422, "segment: ")])
def test_mistakes_are_told_as_json(api: httpx.Client, path: str, status: int, words: str) -> None:
    answer = api.get(path)
    assert answer.status_code == status
    assert words in answer.json()["error"]


def test_a_store_that_is_gone_is_told_as_json(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as store:
        server = serve(create_app(store, config, Snapshot(store, config)), "127.0.0.1", 0)
        store.close()
        (tmp_path / "store.db").rename(tmp_path / "away.db")
        answer = httpx.get(f"{server.url}/api/models", trust_env=False)
        server.stop()
    assert answer.status_code == 503
    assert "no such table" in answer.json()["error"]


def test_every_route_does_what_it_declares(declared: Any) -> None:
    operations = [found.ok() for found in declared.get_all_operations()]
    assert {operation.path for operation in operations} >= {"/api/status", "/api/models",
                                                            "/api/models/{name}/verdicts"}
    for operation in operations:
        modes = list(schemathesis.GenerationMode)[: 1 + bool(len(operation.query))]
        for mode in modes:

            @seed(1)
            @settings(max_examples=15, deadline=None, database=None, phases=[Phase.generate],
                      suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy(generation_mode=mode))
            def conforms(case: schemathesis.Case) -> None:
                case.call_and_validate()

            conforms()

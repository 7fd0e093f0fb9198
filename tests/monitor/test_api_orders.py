"""Orders by the API, fuzzed: they do what the OpenAPI says, whoever asks, and once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.specs.openapi import checks

from monitor.server import Server
from monitor.store import Store
from tests.monitor.declaration import declaration
from tests.monitor.stored import NAMES, fill
from tests.monitor.surface import bearer, cheap, guarded, site, trained

__all__ = ["cheap"]
SHORT_OF_WORDS = checks.positive_data_acceptance
"""What a schema cannot say: how long 40d is, and whether a window was judged."""
WHOEVER: dict[str, tuple[dict[str, str], set[int]]] = {
    "act": (bearer("act"), {200, 202, 400, 404, 409, 413, 422}),
    "read": (bearer("read"), {403, 413}),
    "nobody": ({}, {401, 413}),
    "wrong": ({"Authorization": "Bearer of-no-token-at-all"}, {401, 413})}
"""Who asks, and how any order of theirs may end."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path_factory.mktemp('orders') / 'store.db'}") as opened:
        fill(opened)
        yield opened


@pytest.fixture(scope="module")
def server(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("site")
    plenty = {"requests": 100_000, "failures": 100_000}
    with site(store, folder, guarded(folder, public=["read"], limits=plenty),
              models=trained()) as made:
        yield made


@pytest.fixture(scope="module")
def declared(server: Server) -> Any:
    return declaration(server.url, NAMES)


@pytest.mark.parametrize("who", WHOEVER)
def test_every_order_ends_as_declared_and_is_taken_once(declared: Any, store: Store, who: str
                                                        ) -> None:
    headers, ends = WHOEVER[who]
    before = {name: len(store.orders(name, 10_000)) for name in NAMES}
    operations = [found.ok() for found in declared.get_all_operations()]
    operations = [operation for operation in operations if operation.method == "post"]
    assert {operation.path.rpartition("/")[2] for operation in operations} == {
        "retrain", "snooze", "acknowledge", "alertmanager"}
    seen: Counter[int] = Counter()
    taken: dict[tuple[str, str, str], int] = {}
    for operation in operations:
        for mode in schemathesis.GenerationMode:

            @seed(2)
            @settings(max_examples=25 if who == "act" else 5, deadline=None, database=None,
                      phases=[Phase.generate], suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy(generation_mode=mode))
            def conforms(case: schemathesis.Case) -> None:
                answer = case.call_and_validate(headers=headers, excluded_checks=[SHORT_OF_WORDS])
                seen[answer.status_code] += 1
                if answer.status_code not in {200, 202}:
                    return
                told, key = answer.json(), (answer.request.headers or {}).get("Idempotency-Key")
                if key is None or "order" not in told:
                    return
                again = case.call(headers=headers).json()
                assert again["order"] == told["order"]
                same = told["model"], told["action"], key
                assert taken.setdefault(same, told["order"]) == told["order"]

            conforms()
    assert set(seen) <= ends, seen
    rows = {name: len(store.orders(name, 10_000)) for name in NAMES}
    assert (rows != before) == (who == "act")


def test_the_same_key_is_the_same_order_and_another_wish_is_refused(server: Server, store: Store
                                                                    ) -> None:
    headers = bearer("act") | {"Idempotency-Key": "once"}
    with httpx.Client(base_url=server.url, headers=headers, trust_env=False) as client:
        where = "/api/models/electricity/snooze"
        told = [client.post(where, json={"for": "4h"}) for _ in range(3)]
        assert {(answer.status_code, answer.json()["order"]) for answer in told} == {
            (200, told[0].json()["order"])}
        assert client.post(where, json={"for": "5h"}).status_code == 409
        listed = client.get("/api/models/electricity/orders").json()
    assert sum(order["order"] == told[0].json()["order"] for order in listed) == 1


def test_a_body_that_is_too_large_is_refused_as_declared(server: Server, declared: Any) -> None:
    where = "/hooks/alertmanager"
    answer = httpx.post(server.url + where, headers=bearer("act"), trust_env=False,
                        json={"version": "4", "alerts": [{"status": "firing"}] * 20_000})
    assert answer.status_code == 413
    assert "http.limits.body" in answer.json()["error"]
    declared[where]["POST"].validate_response(answer)


@pytest.mark.parametrize("window", [
    "9999-12-31", "0001-01-01T00:00:00+23:00", "2026-01-01/9999", "0001-01-01/2026-01-01",
    "2026-01-01/9999-12-31T23:59:59"])
def test_a_window_beyond_the_calendar_is_refused_in_words(server: Server, window: str) -> None:
    """Before it is an order: one that cannot be done would end each tick of its model."""
    answer = httpx.post(f"{server.url}/api/models/quiet/acknowledge", headers=bearer("act"),
                        json={"window": window, "as": "fault"}, trust_env=False)
    assert answer.status_code == 409
    assert answer.json()["error"].startswith("window: ")

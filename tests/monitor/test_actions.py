"""What programs may do, by every way in and with every credential."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.routing import Route

from monitor.access import area
from monitor.exporter import Snapshot
from monitor.server import Server
from monitor.store import Store
from monitor.web import create_app
from tests.monitor.stored import configuration
from tests.monitor.surface import (
    TOKENS,
    basic,
    bearer,
    cheap,
    client,
    guarded,
    opened,
    server,
    site,
)

__all__ = ["cheap", "opened", "server"]
pytestmark = pytest.mark.usefixtures("cheap")

AREAS = {
    ("GET", "/healthz"): "open", ("GET", "/readyz"): "open", ("GET", "/login"): "open",
    ("POST", "/login"): "open", ("POST", "/logout"): "open", ("GET", "/metrics"): "metrics",
    ("GET", "/"): "read", ("GET", "/models/{name}"): "read",
    ("GET", "/reports/{report_id}"): "read", ("GET", "/reports/{report_id}/whole"): "read",
    ("GET", "/api/status"): "read",
    ("GET", "/badge/{name}.svg"): "read", ("GET", "/runbooks"): "read",
    ("GET", "/runbooks/{alert}"): "read",
    ("GET", "/api/models/{name}/orders"): "read",
    ("GET", "/api/openapi.json"): "read", ("GET", "/api/models"): "read",
    ("GET", "/api/models/{name}"): "read",
    **{("GET", f"/api/models/{{name}}/{part}"): "read" for part in (
        "versions", "features", "verdicts", "episodes", "decisions", "transitions", "requests",
        "reports", "acknowledgements", "troubles")},
    ("GET", "/actions/{name}/{action}"): "act", ("POST", "/actions/{name}/{action}"): "act",
    ("POST", "/api/models/{name}/retrain"): "act", ("POST", "/api/models/{name}/snooze"): "act",
    ("POST", "/api/models/{name}/acknowledge"): "act",
    ("POST", "/hooks/alertmanager"): "hooks",
}
"""What every route asks for. A new one is decided here, or the test below fails."""
OPENS = {"": set(), "metrics": {"metrics"}, "read": {"metrics", "read"},
         "act": {"metrics", "read", "act", "hooks"}, "hooks": {"hooks"}}


def routes(held: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Every method and path, of routers too."""
    for route in held:
        if isinstance(route, Route):
            methods = (route.methods or set()) - {"HEAD"}
            yield from ((method, route.path) for method in methods)
        else:
            yield from routes(route.original_router.routes)


def test_what_every_route_asks_for_is_decided(store: Store, tmp_path: Path) -> None:
    config = configuration(tmp_path, http=guarded(tmp_path))
    app = create_app(store, config, Snapshot(store, config))
    assert set(routes(app.routes)) == set(AREAS)
    for (method, path), asked in AREAS.items():
        where = path.format(name="m", action="retrain", report_id=1, alert="A")
        assert area(method, where) == asked


def test_every_route_with_every_credential(server: Server) -> None:
    credentials: dict[str, dict[str, str]] = {
        "": {}, **{scope: bearer(scope) for scope in TOKENS}}
    people = {"read": basic("reader"), "act": basic("anna")}
    with client(server) as site:
        for (method, path), asked in AREAS.items():
            where = path.format(name="quiet", action="retrain", report_id=1,
                                alert="HoldfastDrift")
            for scope, headers in [*credentials.items(), *people.items()]:
                code = site.request(method, where, headers=headers).status_code
                if asked == "open":
                    assert code not in {401}, (method, where, scope)
                elif asked in OPENS[scope]:
                    # a person's name and password alone may not act: a form's token is missing
                    forged = headers in people.values() and method == "POST"
                    assert (code == 403) == forged, (method, where, scope, code)
                    assert code != 401
                else:
                    assert code == (403 if scope else 401), (method, where, scope, code)


def test_nothing_acts_where_nobody_may(store: Store, tmp_path: Path) -> None:
    http = guarded(tmp_path, public=["metrics", "read"])
    http["tokens"] = [one for one in http["tokens"] if one["scope"] in {"read", "metrics"}]
    http["users"] = http["users"][:1]
    with site(store, tmp_path, http) as server, client(server) as web:
        for headers in ({}, bearer("read"), basic("reader")):
            answer = web.post("/api/models/quiet/retrain", headers=headers)
            assert answer.status_code == 403
            assert "Acting is off" in answer.json()["error"]
        assert "What you can do" not in web.get("/models/quiet").text
    assert store.orders("quiet") == []


def post(site: httpx.Client, path: str, body: Any = None, **headers: str) -> httpx.Response:
    return site.post(f"/api/models/{path}", headers=bearer("act") | headers,
                     **({} if body is None else {"json": body}))


def test_a_program_orders_a_retrain_once(server: Server, store: Store) -> None:
    with client(server) as site:
        first = post(site, "quiet/retrain", {"reason": "a new tariff"},
                     **{"Idempotency-Key": "deploy-7"})
        assert first.status_code == 202
        told = first.json()
        assert (told["status"], told["by"], told["arguments"]) == (
            "asked", "act-program (token)", {"reason": "a new tariff", "bootstrap": False})
        again = post(site, "quiet/retrain", {"reason": "a new tariff"},
                     **{"Idempotency-Key": "deploy-7"})
        assert again.json()["order"] == told["order"]
        assert post(site, "quiet/retrain").json()["order"] == told["order"]  # one waits at a time
        other = post(site, "quiet/retrain", {"reason": "x"}, **{"Idempotency-Key": "deploy-7"})
        assert other.status_code == 409
        assert "stands for another order" in other.json()["error"]
        listed = site.get("/api/models/quiet/orders", headers=bearer("read")).json()
        assert [(item["order"] == told["order"], item["status"]) for item in listed] == [
            (False, "joined"), (True, "asked")]


def test_a_key_that_joined_a_waiting_retrain_stands_for_it(server: Server, store: Store) -> None:
    mine, later = {"Idempotency-Key": "mine"}, {"reason": "a later wish"}
    with client(server) as site:
        first = post(site, "quiet/retrain").json()["order"]
        joined = post(site, "quiet/retrain", {"reason": "a new tariff"}, **mine)
        store.settle_order(first, "done", "retrain r-1 is on its way")
        again = post(site, "quiet/retrain", {"reason": "a new tariff"}, **mine)
        assert (joined.status_code, again.status_code) == (202, 200)
        assert joined.json()["order"] == again.json()["order"] == first
        assert again.json()["note"] == "retrain r-1 is on its way"
        assert post(site, "quiet/retrain", later, **mine).status_code == 409
        assert post(site, "quiet/retrain", later).json()["order"] != first


def test_a_program_snoozes_the_open_episode(server: Server, store: Store) -> None:
    with client(server) as site:
        told = post(site, "electricity/snooze", {"for": "4h"}).json()
        assert told["status"] == "done"
        assert told["note"].startswith("quiet until 20")
        episode = store.recorded("electricity").state.episode
        assert store.snoozes()["electricity"].episode == episode
        nothing = post(site, "quiet/snooze", {"for": "4h"})
        assert nothing.status_code == 409
        assert nothing.json()["error"] == (
            "quiet: no episode is open, so there is nothing to keep quiet")
        for wrong in ({"for": "31d"}, {"for": "soon"}, {}, {"for": "1h", "episode": "x"}):
            assert post(site, "electricity/snooze", wrong).status_code == 422
        assert post(site, "electricity/snooze", {"for": "0s"}).json()["note"] == "quiet no more"


def test_a_program_acknowledges(server: Server, store: Store) -> None:
    with client(server) as site:
        told = post(site, "quiet/acknowledge", {
            "window": "2026-03-03", "as": "fault", "note": "a broken sensor"}).json()
        assert told["status"] == "done"
        assert "its rows leave training" in told["note"]
        [said] = store.in_force("quiet")
        assert (said.said, said.note) == ("fault", "a broken sensor")
        again = post(site, "quiet/acknowledge", {
            "window": "2026-03-03", "as": "fault", "note": "a broken sensor"}).json()
        assert "(said before)" in again["note"]
        for wrong, words in (
                ({"window": "someday", "as": "fault"}, "window: 'someday' is not a time"),
                ({"window": "2026-01-01", "as": "undone"}, "nothing is acknowledged of"),
                ({"window": "2026-03-03", "as": "fault", "rebaseline": True}, "rebaseline: ")):
            answer = post(site, "quiet/acknowledge", wrong)
            assert answer.status_code == 409
            assert words in (answer.json().get("error") or answer.json()["note"])
        assert post(site, "nope/acknowledge", {"window": "2026-03-03", "as": "fault"}
                    ).status_code == 404

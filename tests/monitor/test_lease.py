"""Leader election against an API server that keeps to conflicts, and can hang."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from monitor.cluster import Cluster
from monitor.deployment import Leader
from monitor.errors import ConfigError, ConflictError, HoldfastError
from monitor.lease import Elector
from monitor.request import Request
from monitor.state import Decision, ModelState
from monitor.store import Store
from tests.servers.authority import Authority
from tests.servers.cluster import Door, StandIn

DURATION = 4.0
LEADER = Leader(lease="holdfast", duration=timedelta(seconds=DURATION))
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass
class Clock:
    """Seconds that pass when they are told to."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = f"sqlite:///{tmp_path / 'store.db'}" if request.param == "sqlite" else str(
        request.getfixturevalue("postgres")).replace("://", "+psycopg://")
    with Store.open(url) as opened:
        yield opened


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as opened:
        yield opened


def elector(door: Door, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Elector:
    monkeypatch.setenv("KUBECONFIG", str(door.kubeconfig))
    return Elector(LEADER, Cluster(), store, clock=clock)


@dataclass
class Pair:
    """Two electors of one lease, each with a door of its own and one clock."""

    one: Elector
    other: Elector
    doors: tuple[Door, Door]
    clock: Clock


@pytest.fixture
def pair(stand_in: StandIn, alone: Store, monkeypatch: pytest.MonkeyPatch) -> Pair:
    clock, doors = Clock(), (stand_in.door(), stand_in.door())
    one, other = (elector(door, alone, clock, monkeypatch) for door in doors)
    return Pair(one, other, doors, clock)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[str]:
    """The address of a server with a certificate that nobody here trusts."""
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    pair, context = Authority(tmp_path / "other").issue("other"), ssl.SSLContext(
        ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_an_api_server_that_cannot_be_trusted_is_told_in_words(
        tmp_path: Path, other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where its certificate was renewed by an authority that this pod does not know yet."""
    trusted = Authority(tmp_path / "trusted").file
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump({
        "current-context": "it", "contexts": [{"name": "it", "context": {
            "cluster": "it", "user": "it"}}], "users": [{"name": "it", "user": {"token": "x"}}],
        "clusters": [{"name": "it", "cluster": {
            "server": other, "certificate-authority": str(trusted)}}]}))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    with pytest.raises(HoldfastError, match=r"GET /api: SSL.*CERTIFICATE_VERIFY_FAILED"):
        Cluster().find("/api", seconds=5)


def test_one_takes_the_lease_and_the_other_stands_by(pair: Pair, stand_in: StandIn,
                                                     alone: Store) -> None:
    for _ in range(20):
        pair.one.step()
        pair.other.step()
        pair.clock.now += DURATION / 8
        assert (pair.one.leads(), pair.other.leads()) == (True, False)
    spec = stand_in.get("leases", "holdfast")["spec"]
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == (pair.one.name, 1)
    assert spec["leaseDurationSeconds"] == DURATION
    assert pair.one.token == alone.claimed() == 1
    with pytest.raises(ConflictError, match="does not lead"):
        _ = pair.other.token


def test_a_holder_that_is_gone_is_replaced_a_duration_after_its_last_word(
        pair: Pair, stand_in: StandIn, alone: Store) -> None:
    pair.one.step()
    pair.other.step()
    pair.clock.now += DURATION - 0.01
    pair.other.step()
    assert not pair.other.leads()
    pair.clock.now += 0.02
    pair.other.step()
    assert pair.other.leads()
    assert pair.other.token == alone.claimed() == 2
    pair.one.step()
    assert pair.one.lost()
    assert stand_in.get("leases", "holdfast")["spec"]["holderIdentity"] == pair.other.name


def test_while_the_api_hangs_for_the_leader_there_are_never_two(pair: Pair) -> None:
    pair.one.step()
    pair.other.step()
    pair.doors[0].open.clear()
    led = []
    for _ in range(11):
        pair.clock.now += DURATION / 8
        if not led:
            with pytest.raises(HoldfastError, match="no answer within"):
                pair.one.step()
        pair.other.step()
        led.append((pair.one.leads(), pair.other.leads()))
    assert (True, True) not in led
    assert led[0] == (True, False)
    assert led[-1] == (False, True)
    pair.doors[0].open.set()
    pair.one.step()
    assert pair.one.lost()
    assert not pair.one.leads()


def test_of_two_that_see_a_lease_free_one_gets_it(pair: Pair, stand_in: StandIn) -> None:
    pair.one.step()
    pair.one.release()
    third = pair.other
    free = stand_in.get("leases", "holdfast")
    assert free["spec"]["holderIdentity"] == ""
    stand_in.put("leases", "holdfast", free)  # somebody writes between its look and its word
    third._take(free, pair.clock())
    assert not third.leads()
    third.step()
    assert third.leads()


def test_what_is_given_back_is_taken_at_once(pair: Pair) -> None:
    pair.one.step()
    pair.other.step()
    pair.one.release()
    assert not pair.one.leads()
    pair.other.step()
    assert pair.other.leads()
    assert pair.other.token == 2


def test_a_lease_that_was_deleted_gives_no_token_twice(pair: Pair, stand_in: StandIn) -> None:
    pair.one.step()
    del stand_in.objects["default", "leases", "holdfast"]
    pair.other.step()
    assert pair.other.token == 2
    pair.one.step()
    assert pair.one.lost()


def test_a_role_without_leases_is_told(pair: Pair, stand_in: StandIn) -> None:
    stand_in.forbidden.add("POST leases")
    with pytest.raises(HoldfastError, match=r"403 leases is forbidden.*right would be a Role"):
        pair.one.step()


def test_without_a_cluster_there_are_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="right would be a pod with a service account, or KUBEC"):
        Cluster()


def test_a_stale_leaders_writes_are_refused(store: Store) -> None:
    assert store.claim(1, "one")
    first = store.fenced(lambda: 1)
    first.advance("m", 0, ModelState(), decision=Decision("retrain", "why"), at=NOW, cause="c")
    assert store.claim(2, "two")
    assert not store.claim(1, "one")
    before = store.change()
    waiting = store.pending("m")
    assert waiting is not None
    for write in (
            lambda: first.advance("m", 1, ModelState(), at=NOW, cause="c"),
            lambda: first.settle(waiting.id, "done"),
            lambda: first.request(Request("r1", "train", "m", "c.yaml", NOW)),
            lambda: first.intend("m", "champion", "2", "1", NOW, "why"),
            lambda: first.trouble("m", NOW, "where", "what")):
        with pytest.raises(ConflictError, match="2 leads"):
            write()
    assert store.change() == before
    assert store.pending("m") == waiting
    assert store.fenced(lambda: 2).settle(waiting.id, "done")


def test_a_decision_bears_the_token_of_who_made_it(store: Store) -> None:
    from sqlalchemy import select

    from monitor.schema import decisions

    store.claim(7, "one")
    for number, writer in enumerate((store.fenced(lambda: 7), store)):
        writer.advance("m", number, ModelState(), decision=Decision("retrain", "why"),
                       at=NOW + number * timedelta(days=1), cause="c")
    with store._read() as connection:
        query = select(decisions.c.token).order_by(decisions.c.id)
        assert list(connection.execute(query).scalars()) == [7, None]


if "KUBECONFIG" in os.environ:

    def test_a_real_cluster_takes_the_lease(alone: Store) -> None:
        leader = Leader(lease=f"holdfast-test-{os.getpid()}")
        one, other = Elector(leader, Cluster(), alone), Elector(leader, Cluster(), alone)
        try:
            for _ in range(2):
                one.step()
                other.step()
                assert (one.leads(), other.leads()) == (True, False)
            one.release()
            other.step()
            assert other.token == 2
        finally:
            other._call("DELETE", f"{other._path}/{leader.lease}")

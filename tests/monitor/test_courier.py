"""The courier: every message reaches its service at least once, and no service holds up another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import apprise
import pytest

from monitor.courier import PAUSE, TRIES, Courier, mistakes, ordered
from monitor.deployment import Notify
from monitor.deps import Deps
from monitor.envelope import MARKS, Envelope, addressed
from monitor.messages import Message
from monitor.registry import Registry
from monitor.store import Store
from tests.monitor.stored import configuration
from tests.servers.services import Mail, Webhook, serving

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
OPENED = "episode 2026-03-09T00:00:00Z"


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with serving(Webhook()) as server:
        yield server
        server.answers.set()


def parts(folder: Path, store: Store, *names: str, **change: Any) -> Deps:
    config = configuration(folder, *(names or ("m",)), notify={"urls_env": "PEOPLE", **change})
    return Deps(config, "c.yaml", store, cast(Registry, None), None, None)


def opened(folder: Path) -> Store:
    return Store.open(f"sqlite:///{folder / 'store.db'}", clock=lambda: NOW)


def to(server: Webhook | Mail) -> str:
    scheme = "json" if isinstance(server, Webhook) else "mailto"
    host, port = server.server_address[:2]
    return f"{scheme}://{host!s}:{port}"


def test_a_service_that_never_answers_holds_up_nobody(
        tmp_path: Path, hook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    with serving(Webhook()) as mute, opened(tmp_path) as store:
        mute.answers.clear()
        monkeypatch.setenv("PEOPLE", f"{to(mute)}?rto=60\n{to(hook)}")
        deps = parts(tmp_path, store, "m", "n", timeout="1s")
        for name, place in (("m", 0), ("m", 1), ("n", 0), ("n", 1)):
            store.write_message(name, "k", place, title=name, body="moved")
        courier = Courier(deps, clock=lambda: clock[0])
        courier.deliver(NOW)
        courier.deliver(NOW)
        assert [item["title"] for item in hook.got] == ["m", "n"]
        assert mute.asked == 1  # and left alone for a while
        assert store.message_totals() == {"m": (1, 1, 1), "n": (1, 0, 1)}
        mute.answers.set()
        for thread in [item.thread for item in courier._late.values()]:
            thread.join()
        courier.deliver(NOW)  # what it took too late is not sent to it again
        clock[0] = PAUSE.total_seconds()
        courier.deliver(NOW)
        assert [item["title"] for item in mute.got] == ["m", "n"]
        assert store.unsent() == []


DELIVER = """
import sys
from datetime import UTC, datetime
from monitor.config import load
from monitor.courier import Courier
from monitor.deps import Deps
from monitor.store import Store

config = load(f"{sys.argv[1]}/holdfast.yaml").config
with Store.open(f"sqlite:///{sys.argv[1]}/store.db") as store:
    now = datetime(2026, 3, 10, 12, tzinfo=UTC)
    Courier(Deps(config, "", store, None, None, None)).deliver(now)
"""


def test_killed_between_the_service_and_the_row_it_is_told_again_under_the_same_key(
        tmp_path: Path, hook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEOPLE", to(hook))
    with opened(tmp_path) as store:
        deps = parts(tmp_path, store)
        store.write_message("m", OPENED, 0, title="m: alarm", body="moved")
        child = subprocess.Popen([sys.executable, "-c", DELIVER, str(tmp_path)])
        hook.taken = lambda: os.kill(child.pid, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        assert [item.title for item in store.unsent()] == ["m: alarm"]
        hook.taken = lambda: None
        for _ in range(2):
            Courier(deps).deliver(NOW)
        assert [item.body["title"] for item in hook.told] == ["m: alarm"] * 2
        assert len({item.key for item in hook.told}) == 1
        assert store.unsent() == []


def test_what_belongs_to_an_episode_is_one_thread_of_mails(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Mail()) as mail, opened(tmp_path) as store:
        monkeypatch.setenv("PEOPLE", f"{to(mail)}?from=h@example.org&to=a@example.org")
        for key in (OPENED, f"{OPENED} closed", "m-train-1"):
            store.write_message("m", key, 0, title=f"m: {key}", body="x < 2\nhttps://h/m")
        Courier(parts(tmp_path, store)).deliver(NOW)
        first, last, other = mail.got
        assert first["References"] == first["In-Reply-To"] == last["References"]
        assert first["References"].endswith("@holdfast>")
        assert other["References"] != first["References"]
        assert len({item["X-Holdfast-Key"] for item in mail.got}) == 3
        assert first.get_payload(decode=True) == b"x < 2\r\nhttps://h/m\r\n"


def test_a_pager_opens_and_closes_one_incident_per_episode(
        tmp_path: Path, hook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path) as store:
        monkeypatch.setenv("PEOPLE", f"{to(hook).replace('json', 'goalert')}?token={UUID(int=7)}")
        for key in (OPENED, f"{OPENED} closed"):
            store.write_message("m", key, 0, title="m", body="moved")
        Courier(parts(tmp_path, store)).deliver(NOW)
        first, last = hook.got
        assert first["dedup"] == last["dedup"]
        assert ("action" in first, last["action"]) == (False, "close")


ENVELOPE = Envelope("a1", "b2", "c3")
SERVICES = [
    ("mailto://u:p@example.org", "headers", {"In-Reply-To": "<b2@holdfast>",
                                             "References": "<b2@holdfast>",
                                             "X-Holdfast-Key": "a1"}),
    ("xml://example.org/a?b=c", "headers", {"Idempotency-Key": "a1", "X-Holdfast-Thread": "b2"}),
    ("form://example.org", "headers", {"Idempotency-Key": "a1", "X-Holdfast-Thread": "b2"}),
    ("pagerduty://ak@" + "i" * 32, "dedup", "c3"),
    ("pagerduty://ak@" + "i" * 32 + "?dedup=mine", "dedup", "mine"),
    ("firehydrant://" + "t" * 32, "dedup", "c3"),
    ("ilert://" + "k" * 32, "dedup", "c3"),
    ("squadcast://" + "k" * 32, "dedup", "c3"),
    ("opsimate://token@example.org", "dedup", "c3"),
    ("opsgenie://" + "k" * 36, "alias", "c3"),
    ("mastodon://token@example.org", "idempotency_key", "a1"),
    ("gchat://space/key/token", "thread_key", "b2"),
    ("gchat://space/key/token/mine", "thread_key", "mine"),
    ("slack://TFAAAAAAA/BFBBBBBBB/" + "c" * 24, "channels", [None]),
]


@pytest.mark.parametrize(("url", "name", "value"), SERVICES,
                         ids=[url.split("@")[0][:24] for url, *_ in SERVICES])
def test_marks_are_what_the_services_read(url: str, name: str, value: object) -> None:
    service = apprise.Apprise.instantiate(addressed(url, ENVELOPE))
    assert getattr(service, name) == value


def test_every_scheme_with_a_mark_is_one_of_apprise() -> None:
    details = apprise.Apprise().details()["schemas"]
    known = {name for item in details for kind in ("protocols", "secure_protocols")
             for name in item[kind] or ()}
    assert set(MARKS) <= known


def test_an_address_that_apprise_cannot_read_is_named_by_its_place(
        monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Notify(urls_env="PEOPLE")
    monkeypatch.setenv("PEOPLE", "json://127.0.0.1\nslakc://hidden/words\nhidden")
    found = list(mistakes(settings))
    assert [text.partition(";")[0] for text in found] == [
        "notify: Apprise cannot read address 2, of slakc://",
        "notify: Apprise cannot read address 3"]
    assert "hidden" not in f"{found}"
    monkeypatch.delenv("PEOPLE")
    assert "PEOPLE" in next(mistakes(settings))
    monkeypatch.setenv("PEOPLE", " ")
    assert next(mistakes(settings)).startswith("notify: no address is given")


def test_what_is_refused_again_and_again_lets_others_pass_with_its_whole_episode() -> None:
    def message(number: int, key: str, failures: int = 0) -> Message:
        return Message(number, "m", key, 0, "", "", NOW - timedelta(hours=9 - number), failures)

    waiting = [message(1, OPENED, TRIES), message(2, f"{OPENED} closed"), message(3, "m-train-1")]
    assert [item.id for item in ordered(waiting)] == [3, 1, 2]

"""What people may do, by forms, and what the pages of others may not."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest

from monitor.server import Server
from monitor.store import Store
from tests.monitor.surface import (
    PASSWORD,
    Opened,
    basic,
    cheap,
    client,
    opened,
    server,
)

__all__ = ["cheap", "opened", "server"]
pytestmark = pytest.mark.usefixtures("cheap")


class Browser:
    """A person without JavaScript: pages, their forms and a cookie jar."""

    def __init__(self, server: Server, **headers: str) -> None:
        self.client = client(server, headers={
            "Accept": "text/html", "Origin": server.url, "Sec-Fetch-Site": "same-origin",
            **headers}, follow_redirects=True)
        self.page = ""

    def get(self, path: str) -> httpx.Response:
        answer = self.client.get(path)
        self.page = answer.text
        return answer

    def send(self, **fields: str) -> httpx.Response:
        """Fill in the form of the page and send it."""
        form = re.search(r'<form method="post" action="([^"]+)">(.*?)</form>', self.page, re.DOTALL)
        assert form, self.page
        hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form[2]))
        if (chosen := re.search(r'<option value="([^"]+)"', form[2])) is not None:
            hidden["window"] = html.unescape(chosen[1])
        answer = self.client.post(form[1], data=hidden | fields)
        self.page = answer.text
        return answer

    def login(self, name: str = "anna", password: str = PASSWORD) -> httpx.Response:
        self.get("/login?next=/models/electricity")
        return self.send(name=name, password=password)


Visit = Callable[..., Browser]


@pytest.fixture
def browser() -> Iterator[Visit]:
    """A function that opens a browser."""
    with ExitStack() as stack:
        def visit(server: Server, **headers: str) -> Browser:
            made = Browser(server, **headers)
            stack.enter_context(made.client)
            return made

        yield visit


def test_a_person_logs_in_acts_and_logs_out(browser: Visit, server: Server, store: Store) -> None:
    anna = browser(server)
    assert anna.get("/models/electricity").url.path == "/login"
    page = anna.login()
    assert (page.status_code, page.url.path) == (200, "/models/electricity")
    assert "Logged in as anna" in page.text
    for action, fields in (("snooze", {"for": "3d"}), ("rebaseline", {"note": "<i>tariff</i>"}),
                           ("undo", {}), ("fault", {}), ("retrain", {"note": "a whim"})):
        assert f"/actions/electricity/{action}" in page.text or action == "undo"
        form = anna.get(f"/actions/electricity/{action}")
        assert "form-action 'self'" in form.headers["content-security-policy"]
        page = anna.send(**fields)
        assert (page.status_code, page.url.path) == (200, "/models/electricity"), page.text
    made = [(item.action, item.by, item.status) for item in store.orders("electricity")[::-1]]
    assert made == [("snooze", "anna", "done"), ("acknowledge", "anna", "done"),
                    ("acknowledge", "anna", "done"), ("acknowledge", "anna", "done"),
                    ("retrain", "anna", "asked")]
    assert "quiet until" in page.text
    assert "<i>tariff" not in page.text
    anna.get("/login")
    cookies = dict(anna.client.cookies)
    anna.send()
    assert anna.get("/models/electricity").url.path == "/login"
    anna.client.cookies.update(cookies)  # kept by a thief
    assert anna.get("/models/electricity").url.path == "/login"


def test_pressing_twice_is_pressing_once(browser: Visit, server: Server, store: Store) -> None:
    anna = browser(server)
    anna.login()
    anna.get("/actions/quiet/fault")
    page = anna.page
    for _ in range(2):
        anna.page = page
        assert anna.send(note="broken").url.path == "/models/quiet"
    assert len(store.orders("quiet")) == 1


def test_forms_are_taken_though_secrets_read_like_a_part_of_them(
        browser: Visit, server: Server, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens, keys and times hold digits; a database's port or name from the environment may."""
    monkeypatch.setattr("monitor.secrets._known", set("0123456789"))
    anna = browser(server)
    anna.login()
    anna.get("/actions/electricity/fault")
    assert anna.send(note="a broken sensor").url.path == "/models/electricity"
    assert [order.action for order in store.orders("electricity", newest=5)] == ["acknowledge"]


def test_what_cannot_be_done_is_told_on_the_form(
        browser: Visit, server: Server, store: Store) -> None:
    anna = browser(server)
    anna.login()
    anna.get("/actions/quiet/snooze")
    page = anna.send(**{"for": "1h"})
    assert page.status_code == 422
    assert "there is nothing to keep quiet" in page.text
    anna.get("/actions/electricity/snooze")
    assert "not understood" in anna.send(**{"for": "9999d"}).text
    assert anna.get("/actions/electricity/explode").status_code == 404
    assert anna.get("/actions/nope/retrain").status_code == 404
    assert store.orders("quiet") == store.orders("electricity") == []


def test_a_reader_reads(browser: Visit, server: Server) -> None:
    reader = browser(server)
    page = reader.login("reader")
    assert "reader may read, and not act" in page.text
    answer = reader.get("/actions/electricity/retrain")
    assert answer.status_code == 403
    assert "does not open this" in answer.text


def test_asking_by_get_changes_nothing(browser: Visit, server: Server, store: Store) -> None:
    anna = browser(server)
    anna.login()
    for action in ("retrain", "snooze", "fault", "expected", "rebaseline", "undo"):
        for query in ("", "?for=1h&window=2026-03-03&key=k&csrf=x"):
            assert anna.get(f"/actions/quiet/{action}{query}").status_code == 200
    for path in ("retrain", "snooze", "acknowledge"):
        assert anna.get(f"/api/models/quiet/{path}").status_code == 405
    assert store.orders("quiet") == []
    assert store.acknowledgements("quiet") == []


ELSEWHERE: list[tuple[str, dict[str, str], str | None]] = [
    ("no token", {}, None), ("an empty token", {}, ""), ("a wrong token", {}, "0" * 64),
    ("another origin", {"Origin": "https://evil.example"}, "right"),
    ("a hidden origin", {"Origin": "null"}, "right"),
    ("another site", {"Sec-Fetch-Site": "cross-site"}, "right"),
    ("a neighbour", {"Sec-Fetch-Site": "same-site"}, "right"),
]


@pytest.mark.parametrize("how", ["session", "basic"])
@pytest.mark.parametrize(("headers", "token"), [case[1:] for case in ELSEWHERE],
                         ids=[case[0] for case in ELSEWHERE])
def test_another_sites_page_cannot_act(browser: Visit, server: Server, store: Store, how: str,
                                       headers: dict[str, str], token: str | None) -> None:
    """What a browser sends by itself, be it a cookie or a password, is not enough."""
    anna = browser(server, **(basic("anna") if how == "basic" else {}))
    if how == "session":
        anna.login()
    anna.get("/actions/quiet/fault")
    right = re.findall(r'name="csrf" value="(\w+)"', anna.page)[0]
    fields = {"window": "2026-03-03", "key": "k"} | (
        {} if token is None else {"csrf": right if token == "right" else token})
    refused = anna.client.post("/actions/quiet/fault", data=fields, headers=headers)
    assert refused.status_code == 403
    by_json = anna.client.post("/api/models/quiet/acknowledge", headers=headers | (
        {} if token is None else {"X-CSRF-Token": right if token == "right" else token}),
        json={"window": "2026-03-03", "as": "fault"})
    assert by_json.status_code == 403
    as_text = anna.client.post("/api/models/quiet/acknowledge", headers=headers | {
        "Content-Type": "text/plain"}, content=json.dumps({"window": "2026-03-03", "as": "fault"}))
    assert as_text.status_code == 403
    assert store.acknowledgements("quiet") == store.orders("quiet") == []
    assert anna.client.post("/actions/quiet/fault", data=fields | {"csrf": right}
                            ).status_code == 200  # the same from the page itself


def test_another_persons_token_does_not_fit(browser: Visit, server: Server, store: Store) -> None:
    mine, theirs = browser(server), browser(server)
    mine.login()
    theirs.login()
    mine.get("/actions/quiet/fault")
    theirs.get("/actions/quiet/fault")
    stolen = re.findall(r'name="csrf" value="(\w+)"', mine.page)[0]
    assert theirs.client.post("/actions/quiet/fault", data={
        "csrf": stolen, "window": "2026-03-03", "key": "k"}).status_code == 403
    assert store.orders("quiet") == []


def test_nobody_is_logged_in_by_another_site(server: Server) -> None:
    fields = {"name": "anna", "password": PASSWORD, "door": "0" * 64}
    with client(server) as stranger:
        for headers in ({}, {"Origin": "https://evil.example"}):
            answer = stranger.post("/login", data=fields, headers=headers)
            assert answer.status_code == 403
            assert "holdfast=" not in str(answer.headers.get_list("set-cookie"))


def test_cookies_are_kept_from_scripts_and_other_sites(browser: Visit, server: Server) -> None:
    anna = browser(server)
    anna.get("/login")
    anna.client.follow_redirects = False
    [cookie] = anna.send(name="anna", password=PASSWORD).headers.get_list("set-cookie")
    assert cookie.split("; ")[1:] == ["Path=/", "HttpOnly", "SameSite=Strict", "Max-Age=28800"]


def test_behind_tls_cookies_are_bound_to_it(browser: Visit, opened: Opened) -> None:
    server = opened(trusted_proxies=["127.0.0.1"])
    anna = browser(server, **{"X-Forwarded-Proto": "https"})
    anna.client.follow_redirects = False
    door = anna.get("/login").headers["set-cookie"].split(";")[0]
    assert door.startswith("__Host-holdfast-door=")
    anna.client.headers["Cookie"] = door
    [cookie] = anna.send(name="anna", password=PASSWORD).headers.get_list("set-cookie")
    assert cookie.startswith("__Host-holdfast=")
    assert "Secure" in cookie.split("; ")


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example", "/\\evil.example",
                                       "evil", "/a b", "javascript:alert(1)", "/\r\nSet-Cookie: a"])
def test_after_logging_in_one_stays_here(browser: Visit, server: Server, elsewhere: str) -> None:
    anna = browser(server)
    anna.client.get("/login", params={"next": elsewhere})
    anna.get("/login")
    anna.client.follow_redirects = False
    answer = anna.send(name="anna", password=PASSWORD, next=elsewhere)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_passwords_are_guessed_at_the_door_a_few_times_only(browser: Visit, opened: Opened) -> None:
    anna = browser(opened(limits={"failures": 3}))
    for _ in range(3):
        assert anna.login(password="guess").status_code == 403
    late = anna.login()
    assert late.status_code == 429
    assert "Too many wrong passwords" in late.text

"""The guard, asked over real connections."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor import guard
from monitor.access import same_origin, well_formed
from monitor.errors import ConfigError
from monitor.server import Server
from monitor.store import Store
from tests.monitor.surface import (
    PASSWORD,
    TOKENS,
    Opened,
    basic,
    bearer,
    cheap,
    client,
    guarded,
    site,
)

__all__ = ["cheap"]
pytestmark = pytest.mark.usefixtures("cheap")


@pytest.fixture
def opened(store: Store, tmp_path: Path) -> Iterator[Opened]:
    """A function that opens a guarded surface with further settings of `http`."""
    with ExitStack() as stack:
        yield lambda **more: stack.enter_context(site(store, tmp_path, guarded(tmp_path, **more)))


def raw(server: Server, data: bytes, wait: float = 5.0) -> bytes:
    """Everything that the server answers to these bytes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=wait) as connection:
        connection.sendall(data)
        answer = b""
        try:
            while part := connection.recv(65536):
                answer += part
        except (TimeoutError, ConnectionError):
            pass
        return answer


def test_without_credentials_health_alone_answers(opened: Opened) -> None:
    with client(opened()) as site:
        assert site.get("/healthz").status_code == 200
        assert site.get("/readyz").status_code == 200
        for path in ("/", "/metrics", "/models/quiet", "/api/status", "/no/such"):
            answer = site.get(path)
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"] == (
                'Bearer realm="holdfast", Basic realm="holdfast", charset="UTF-8"')
            assert answer.json()["error"] == "Credentials are needed here."


def test_a_person_is_led_to_the_door(opened: Opened) -> None:
    with client(opened()) as site:
        answer = site.get("/models/quiet", headers={"Accept": "text/html"})
        assert (answer.status_code, answer.headers["location"]) == (
            303, "/login?next=/models/quiet")


@pytest.mark.parametrize("headers", [
    {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer"},
    {"Authorization": TOKENS["act"]}, {"Authorization": f"Basic {TOKENS['act']}"},
    {"Authorization": "Basic !!!"}, {"Authorization": "Negotiate abc"},
    {"Authorization": f"bearer {TOKENS['act']}x"}, basic("anna", "wrong"), basic("nobody"),
    basic("", ""), {"Authorization": "Basic /////w=="}, {"Authorization": b"Bearer \xff\xfe"}])
def test_wrong_credentials_open_nothing(opened: Opened, headers: dict[Any, Any]) -> None:
    with client(opened(public=["metrics", "read"])) as site:
        assert site.get("/").status_code == 200
        answer = site.get("/", headers=headers)  # what is wrong is told even where none is needed
        assert answer.status_code == 401
        assert answer.json()["error"] == "These credentials are not known here."


def test_credentials_that_differ_are_refused(opened: Opened) -> None:
    with client(opened()) as site:
        both = [("Authorization", f"Bearer {TOKENS['read']}"), ("Authorization", "Bearer x")]
        assert site.get("/", headers=both).status_code == 400


def test_metrics_are_public_while_the_rest_is_not(opened: Opened) -> None:
    with client(opened(public=["metrics"])) as site:
        assert site.get("/metrics").status_code == 200
        assert site.get("/").status_code == 401


def test_passwords_are_guessed_a_few_times_only(opened: Opened) -> None:
    with client(opened(limits={"failures": 3})) as site:
        for _ in range(3):
            assert site.get("/", headers=basic("anna", "guess")).status_code == 401
        late = site.get("/", headers=basic("anna"))
        assert late.status_code == 429
        assert 1 <= int(late.headers["retry-after"]) <= 21
        assert site.get("/healthz").status_code == 200
        told = site.get("/metrics", headers={}).status_code
        assert told == 401  # a request without any is none of them


def test_requests_are_limited_and_probes_apart_from_them(opened: Opened) -> None:
    with client(opened(public=["metrics", "read"], limits={"requests": 5})) as site:
        assert [site.get("/api/status").status_code for _ in range(7)] == [200] * 5 + [429] * 2
        answer = site.get("/api/status")
        assert int(answer.headers["retry-after"]) in range(1, 15)
        assert answer.json()["error"].startswith("Too many requests")
        assert site.get("/readyz").status_code == 200
        assert [site.get("/healthz").status_code for _ in range(9)] == [200] * 9


def test_a_proxy_is_believed_only_where_it_is_trusted(opened: Opened) -> None:
    settings = {"public": ["metrics", "read"], "limits": {"requests": 2}}
    for proxies, last in (([], 429), (["127.0.0.1"], 200)):
        with client(opened(trusted_proxies=proxies, **settings)) as site:
            codes = [site.get("/api/status", headers={"X-Forwarded-For": f"192.0.2.{n}"})
                     .status_code for n in range(4)]
            assert codes == [200, 200, last, last]
            secure = site.get("/healthz", headers={"X-Forwarded-Proto": "https"})
            assert ("strict-transport-security" in secure.headers) == bool(proxies)


def test_bodies_are_limited(opened: Opened) -> None:
    server = opened(limits={"body": 2048})
    head = (f"POST /api/models/quiet/retrain HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {TOKENS['act']}\r\n").encode()
    told = raw(server, head + b"Content-Length: 2049\r\n\r\n")
    assert told.startswith(b"HTTP/1.1 413 ")  # before any of it came
    assert b"connection: close" in told.lower()
    chunk = b"400\r\n" + b"x" * 1024 + b"\r\n"
    chunked = raw(server, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 3)
    assert chunked.startswith(b"HTTP/1.1 413 ")
    assert b"larger than 2048 bytes" in chunked
    for junk in (b"Content-Length: -1\r\n\r\n", b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
                 b"Content-Length: 99999999999999999999999\r\n\r\n",
                 b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"):
        assert raw(server, head + junk, wait=2)[9:12] in {b"400", b"404", b"405", b"413", b"422"}


def test_a_body_that_does_not_come_is_not_waited_for(
        opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "READING", 0.2)
    head = (f"POST /api/models/quiet/retrain HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {TOKENS['act']}\r\nContent-Length: 10\r\n\r\nabc").encode()
    assert raw(opened(), head).startswith(b"HTTP/1.1 408 ")


def test_a_connection_that_says_nothing_is_closed(
        opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.server.WAITING", 0.3)
    server = opened()
    for data in (b"", b"GET / HTTP/1.1\r\nHost: a"):
        assert raw(server, data) == b""  # closed, or the wait would have ended the test


def test_heads_are_limited(opened: Opened) -> None:
    server = opened(public=["metrics", "read"])
    with client(server) as site:
        assert site.get("/" + "a" * 4100).status_code == 414
        assert site.get("/?" + "a" * 4100).status_code == 414
        many = {f"X-{n}": "1" for n in range(120)}
        assert site.get("/healthz", headers=many).status_code == 431
        assert site.request("TRACE", "/").status_code == 405
        assert site.request("PROPFIND", "/").status_code == 405
    endless = raw(server, b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-A: " + b"a" * 60_000)
    assert endless == b"" or endless.startswith(b"HTTP/1.1 400 ")


def test_hosts(opened: Opened) -> None:
    server = opened(public=["metrics", "read"],
                    hosts=["holdfast.example.org", "*.inner.example.org"])
    with client(server) as site:
        for host, status in (
                ("holdfast.example.org", 200), ("HOLDFAST.example.org:443", 200),
                ("a.b.inner.example.org", 200), ("inner.example.org", 421),
                ("evil.example", 421), ("xholdfast.example.org", 421), ("127.0.0.1:8700", 200),
                ("[::1]:8700", 200), ("holdfast.example.org.", 200),
                ("holdfast.example.org@evil.example", 400), ("a b", 400), ("a,b", 400),
                ("holdfast.example.org:port", 400), ("", 400), ("a/b", 400)):
            assert site.get("/healthz", headers={"Host": host}).status_code == status, host
    assert raw(server, b"GET /healthz HTTP/1.1\r\n\r\n", 2)[9:12] == b"400"
    two = b"GET /healthz HTTP/1.1\r\nHost: holdfast.example.org\r\nHost: evil.example\r\n\r\n"
    assert raw(server, two, 2)[9:12] == b"400"


def test_headers_keep_browsers_careful(opened: Opened) -> None:
    with client(opened(public=["metrics", "read"])) as site:
        for answer in (site.get("/"), site.get("/no/such"), site.get("/metrics"),
                       site.get("/healthz"), site.post("/api/models/quiet/retrain")):
            for name, value in guard.HEADERS.items():
                assert answer.headers[name] == value
            assert "server" not in answer.headers
            assert "strict-transport-security" not in answer.headers
        page = site.get("/no/such", headers={"Accept": "text/html"})
        assert "default-src 'none'" in page.headers["content-security-policy"]


def test_a_request_id_is_kept_or_made(opened: Opened) -> None:
    with client(opened()) as site:
        kept = site.get("/healthz", headers={"X-Request-ID": "a1.b_c-D"})
        assert kept.headers["x-request-id"] == "a1.b_c-D"
        made = [site.get("/healthz", headers={"X-Request-ID": given}).headers["x-request-id"]
                for given in ("", "a b", "-x", "a" * 65, "<script>", b"\xe9")]
        assert all(len(one) == 32 and one.isalnum() for one in made)
        assert len(set(made)) == len(made)
        refused = site.get("/", headers={"X-Request-ID": "mine"})
        assert refused.json()["request_id"] == "mine"


def test_no_secret_is_told_anywhere(opened: Opened) -> None:
    secrets = [*TOKENS.values(), PASSWORD, "scrypt:"]
    with structlog.testing.capture_logs() as logs, client(opened()) as site:
        answers = [site.get(path, headers=headers)
                   for path in ("/", "/models/quiet", "/metrics", "/api/status", "/no/such")
                   for headers in (bearer("act"), bearer("metrics"), basic("anna"),
                                   basic("reader", "wrong"))]
        answers.append(site.get(f"/{TOKENS['act']}", headers=bearer("act")))
    told = [f"{answer.text} {answer.headers}" for answer in answers] + [str(logs)]
    assert any("wrong credentials" in str(line) for line in logs)
    for text in told:
        assert not [secret for secret in secrets if secret in text]


def test_what_nobody_foresaw_is_told_in_words(
        opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug with details")

    with structlog.testing.capture_logs() as logs, client(
            opened(public=["metrics", "read"])) as site:
        monkeypatch.setattr("monitor.pages.cards", broken)
        answer = site.get("/", headers={"X-Request-ID": "mine"})
        assert answer.status_code == 500
        assert "details" not in answer.text
        assert answer.json()["error"].endswith("under request id mine.")
        assert answer.headers["x-frame-options"] == "DENY"
    assert [line["error"] for line in logs if line["event"] == "not foreseen"] == ["RuntimeError"]


def test_only_so_many_connections_are_held(opened: Opened) -> None:
    server = opened(limits={"connections": 3})
    held = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(4)]
    try:
        time.sleep(0.1)
        with client(server) as site:
            assert site.get("/healthz").status_code == 503
    finally:
        for one in held:
            one.close()
    for _ in range(50):
        with client(server) as site:
            if site.get("/healthz").status_code == 200:
                return
        time.sleep(0.05)
    raise AssertionError("the connections that were closed still count")


NAMES = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S")), min_size=1,
                max_size=30)
VALUES = st.binary(max_size=200)


@settings(max_examples=30, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(headers=st.lists(st.tuples(st.one_of(NAMES, st.sampled_from(
    ["Authorization", "Cookie", "Host", "Origin", "Content-Length", "Content-Type",
     "Transfer-Encoding", "X-Request-ID", "X-Forwarded-For", "Expect"])), VALUES), max_size=8),
    method=st.sampled_from(["GET", "POST", "HEAD", "DELETE", "get", "\x00"]),
    path=st.sampled_from(["/", "/metrics", "/api/status", "//", "/%00", "/..%2f", "*", "/login"]))
def test_junk_is_answered_and_never_let_in(
        junk_site: Server, headers: list[tuple[str, bytes]], method: str, path: str) -> None:
    """Whatever the head holds, the server says no (or nothing), and lives."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n".encode()
    lines = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in headers)
    answer = raw(junk_site, head + lines + b"\r\n", wait=0.5)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 ")
    if answer and path != "/login":
        assert answer[9:10] in {b"4", b"3"}, answer[:200]
    with client(junk_site) as site:
        assert site.get("/healthz").status_code == 200


@pytest.fixture
def junk_site(opened: Opened) -> Server:
    return opened(limits={"requests": 100_000, "failures": 100_000})


def test_origins_are_those_of_the_host() -> None:
    host = "holdfast.example:8700"
    assert same_origin(host, None, None)
    assert same_origin(host, "http://holdfast.example:8700", None)
    assert same_origin(host, "https://HOLDFAST.example:8700", "same-origin")
    for origin, fetch in (("null", None), ("http://evil.example", None), (None, "cross-site"),
                          ("http://holdfast.example:8700", "same-site"), (None, "none"),
                          ("http://holdfast.example", None), ("http://[", None),
                          ("http://holdfast.example:8700.evil.example", None)):
        assert not same_origin(host, origin, fetch), (origin, fetch)


@given(st.text(max_size=50))
def test_any_text_is_a_host_or_none(text: str) -> None:
    assert well_formed(text) in {True, False}


def test_an_absent_secret_stops_the_start(store: Store, tmp_path: Path) -> None:
    http = guarded(tmp_path)
    (tmp_path / "token-act").unlink()
    with pytest.raises(ConfigError, match=r"http.tokens\[2\].token_file"), site(
            store, tmp_path, http):
        pass


def test_passwords_are_looked_at_two_at_a_time(
        opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    from monitor.credentials import Credentials

    now, most, lock = [0], [0], threading.Lock()
    real = Credentials.user

    def slow(self: Credentials, name: str, password: str) -> Any:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        try:
            return real(self, name, password)
        finally:
            with lock:
                now[0] -= 1

    monkeypatch.setattr(Credentials, "user", slow)
    server = opened()

    def ask() -> None:
        with client(server) as site:
            assert site.get("/api/status", headers=basic("anna")).status_code == 200

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 2


def test_httpx_is_told_who_may(opened: Opened) -> None:
    with httpx.Client(base_url=opened().url, trust_env=False, auth=("reader", PASSWORD)) as site:
        assert site.get("/").status_code == 200

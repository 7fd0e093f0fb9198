"""Guard: every request passes here first. Who asks, for what, how often, and how much of it.

A plain ASGI application around the other one. Bodies are read here, whole and within limits, before
anything else sees them. Every answer bears a request id and headers that keep browsers careful.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote

import structlog

from monitor.access import (
    PROBES,
    SAFE,
    Access,
    area,
    cookie_name,
    cookie_named,
    same_origin,
    well_formed,
)
from monitor.credentials import Area, Caller
from monitor.throttle import client_of

log = structlog.get_logger()

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS"})
LONGEST_URL = 4096
MOST_HEADERS = 100
LARGEST_HEADERS = 16_384
"""Bytes of all headers together; the server in front takes as many of a request's head."""
READING = 20.0
"""Seconds within which a body has to arrive."""
REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
FORM = "application/x-www-form-urlencoded"

HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with none, browsers say `Origin: null` of our own forms
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
"""Of every answer that does not say otherwise."""
HSTS = "max-age=31536000"


class Refusal(Exception):
    """Why a request is not answered, for people and, as ``why``, for the count."""

    def __init__(self, status: int, why: str, words: str, headers: dict[str, str] | None = None
                 ) -> None:
        super().__init__(words)
        self.status, self.why, self.words = status, why, words
        self.headers = headers or {}


class Problem(Protocol):
    """Makes the page of a refusal: an ASGI application."""

    def __call__(self, status: int, title: str, words: str) -> App: ...


@dataclass(slots=True)
class Asked:
    """One request, as far as it is known."""

    method: str
    path: str
    headers: dict[str, str]
    client: str
    secure: bool
    request_id: str
    area: Area
    caller: Caller | None = None
    body: bytes = b""


class Guard:
    """The ASGI application that lets requests through to ``app``."""

    def __init__(self, app: App, *, access: Access, problem: Problem) -> None:
        self._app, self._access, self._problem = app, access, problem

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send
                       ) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # no websockets: the server closes what is not accepted
        asked, answer = _asked(scope), _Answer(send)
        answer.headers = _headers(asked)
        with structlog.contextvars.bound_contextvars(http_request=asked.request_id):
            try:
                await self._admit(scope, asked, receive)
                _tell(scope, asked, self._access)
                await self._app(_routed(scope), _again(asked.body, receive), answer)
            except Refusal as refusal:
                await self._refuse(scope, asked, refusal, answer)
            except Exception as error:  # words in place of a closed connection
                log.error("not foreseen", path=asked.path, error=type(error).__name__,
                          exc_info=True)
                await self._refuse(scope, asked, Refusal(
                    500, "error", "Something went wrong that nobody foresaw; the log tells it "
                    f"under request id {asked.request_id}."), answer)

    async def _admit(self, scope: MutableMapping[str, Any], asked: Asked, receive: Receive
                     ) -> None:
        """Fill in who asks and the body; ``Refusal`` where the request goes no further."""
        _sizes(scope, asked)
        self._host(scope, asked)
        self._certificate(scope, asked)
        self._often(asked)
        if asked.path in PROBES:
            return
        asked.caller = await self._caller(asked)
        self._may(asked)
        if asked.method not in SAFE:
            asked.body = await _body(asked, receive, self._access.http.limits.body)
            self._forgery(asked)

    def _host(self, scope: MutableMapping[str, Any], asked: Asked) -> None:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or not well_formed(asked.headers.get("host", "")):
            raise Refusal(400, "host", "The Host header is absent or malformed.")
        if not self._access.host_fits(asked.headers["host"]):
            raise Refusal(421, "host", "This host name is not served here; http.hosts names those "
                                       "that are.")

    def _certificate(self, scope: MutableMapping[str, Any], asked: Asked) -> None:
        tls = self._access.http.tls
        if tls is None or tls.client_ca is None or asked.path in PROBES:
            return
        if not scope.get("extensions", {}).get("holdfast", {}).get("certificate"):
            raise Refusal(403, "certificate", "A client certificate is needed here.")

    def _often(self, asked: Asked) -> None:
        if asked.path == "/healthz":
            return
        counted = self._access.probes if asked.path in PROBES else self._access.requests
        wait = counted.take(asked.client)
        if wait:
            raise _later("requests", "Too many requests; come again in a while.", wait)

    async def _caller(self, asked: Asked) -> Caller | None:
        """Who shows credentials; a cookie that is over is none."""
        shown = asked.headers.get("authorization")
        if shown is None:
            held = cookie_named(asked.headers.get("cookie", ""), cookie_name(asked.secure))
            return self._access.sessions.caller(held) if held else None
        wait = self._access.failures.wait(asked.client)
        if wait:
            raise _later("failures", "Too many wrong credentials; come again in a while.", wait)
        kind, _, rest = shown.partition(" ")
        caller = None
        if kind.lower() == "bearer":
            caller = self._access.credentials.token(rest.strip())
        elif kind.lower() == "basic":
            caller = await self._access.password(*_basic(rest), asked.client)
        if caller is None:
            if kind.lower() != "basic":
                self._access.mistaken(asked.client, "token")
            raise self._unknown("These credentials are not known here.", "credentials")
        return caller

    def _may(self, asked: Asked) -> None:
        if self._access.allowed(asked.caller, asked.area):
            return
        if asked.area == "act" and not self._access.http.acts:
            if not asked.path.startswith(("/actions/", "/api/models/")):
                return  # nothing acts anywhere: the method does not fit
            raise Refusal(403, "off", "Acting is off: the configuration has no token or user of "
                                      "scope act (http.tokens, http.users).")
        if asked.caller is not None:
            raise Refusal(403, "scope", f"The scope of {asked.caller.name} is "
                                        f"{asked.caller.scope}, which does not open this.")
        if self._access.http.users and asked.method == "GET" and _is_person(asked):
            raise Refusal(303, "login", "Log in first.", {
                "Location": f"/login?next={quote(asked.path)}"})
        raise self._unknown("Credentials are needed here.", "anonymous")

    def _unknown(self, words: str, why: str) -> Refusal:
        return Refusal(401, why, words, {"WWW-Authenticate": self._access.offers()})

    def _forgery(self, asked: Asked) -> None:
        """What browsers send by themselves may come from a page of another site."""
        if asked.caller is not None and asked.caller.how == "token":
            return
        headers = asked.headers
        if not same_origin(headers["host"], headers.get("origin"), headers.get("sec-fetch-site")):
            raise Refusal(403, "forgery", "This request comes from another site's page.")
        if asked.caller is None or asked.path == "/login":
            return  # logging in: the page checks its own token
        given = headers.get("x-csrf-token") or form(asked.body, headers).get("csrf", "")
        if not self._access.sessions.formed(asked.caller.bound, given):
            raise Refusal(403, "forgery", "The form's token is absent or too old: open the page "
                          "anew and send it again. Programs bear a token (Authorization: Bearer).")

    async def _refuse(self, scope: MutableMapping[str, Any], asked: Asked, refusal: Refusal,
                      answer: _Answer) -> None:
        self._access.refused[refusal.why] += 1
        log.info("refused", status=refusal.status, why=refusal.why, method=asked.method,
                 path=asked.path[:200], client=asked.client,
                 caller=asked.caller.name if asked.caller else None)
        if answer.begun:
            raise ConnectionAbortedError("the answer had begun")  # the server cuts it off
        answer.headers |= refusal.headers
        if refusal.status in {408, 413, 414, 431}:
            answer.headers["Connection"] = "close"
        if _is_person(asked):
            page = self._problem(refusal.status, _TITLES.get(refusal.status, "Not now"),
                                 refusal.words)
            await page(scope, _again(b"", _nothing), answer)
            return
        body = json.dumps({"error": refusal.words, "request_id": asked.request_id}).encode()
        await answer({"type": "http.response.start", "status": refusal.status, "headers": [
            (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]})
        await answer({"type": "http.response.body",
                      "body": b"" if asked.method == "HEAD" else body})


_TITLES = {400: "Not understood", 401: "Who are you?", 403: "Not allowed", 404: "Not here",
           405: "Not possible", 413: "Too large", 421: "Not here", 429: "Too often",
           500: "Something went wrong", 303: "Log in first"}


class _Answer:
    """Sends an answer, with the headers that every answer has."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.headers: dict[str, str] = {}
        self.begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            held = list(message.get("headers", []))
            known = {name.lower() for name, _ in held}
            held += [(name.lower().encode(), value.encode("latin-1"))
                     for name, value in self.headers.items() if name.lower().encode() not in known]
            message = {**message, "headers": held}
        await self._send(message)


def _asked(scope: MutableMapping[str, Any]) -> Asked:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1")
               for name, value in scope["headers"]}
    given = headers.get("x-request-id", "")
    client = scope.get("client")
    return Asked(
        method=scope["method"], path=scope["path"], headers=headers,
        client=client_of(client[0]) if client else "unknown", secure=scope["scheme"] == "https",
        request_id=given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex,
        area=area(scope["method"], scope["path"]))


def _routed(scope: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The request as routes know it: HEAD is GET whose body the server leaves out."""
    return {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope


def _headers(asked: Asked) -> dict[str, str]:
    more = {"Strict-Transport-Security": HSTS} if asked.secure else {}
    return HEADERS | more | {"X-Request-ID": asked.request_id}


def _tell(scope: MutableMapping[str, Any], asked: Asked, access: Access) -> None:
    """Let pages know who asks, and what their forms have to carry."""
    state = scope.setdefault("state", {})
    state["caller"], state["request_id"], state["client"] = (
        asked.caller, asked.request_id, asked.client)
    state["csrf"] = access.sessions.form(asked.caller.bound) if asked.caller else ""
    state["form"] = form(asked.body, asked.headers)


def _sizes(scope: MutableMapping[str, Any], asked: Asked) -> None:
    if asked.method not in METHODS:
        raise Refusal(405, "method", "This method is not used here.",
                      {"Allow": ", ".join(sorted(METHODS))})
    url = len(scope.get("raw_path") or asked.path.encode()) + len(scope.get("query_string", b""))
    if url > LONGEST_URL:
        raise Refusal(414, "size", f"The address is longer than {LONGEST_URL} bytes.")
    if len(scope["headers"]) > MOST_HEADERS or sum(
            len(name) + len(value) for name, value in scope["headers"]) > LARGEST_HEADERS:
        raise Refusal(431, "size", f"There are more than {MOST_HEADERS} headers, or more than "
                                   f"{LARGEST_HEADERS} bytes of them.")
    if {"content-length", "transfer-encoding"} <= asked.headers.keys():
        raise Refusal(400, "size", "The body's length is told in two ways; one may be meant for a "
                                   "proxy on the way.")
    if sum(name == b"authorization" for name, _ in scope["headers"]) > 1:
        raise Refusal(400, "credentials", "There is more than one Authorization header.")


async def _body(asked: Asked, receive: Receive, most: int) -> bytes:
    """The whole body, whether its length was told or it comes in chunks."""
    told = asked.headers.get("content-length", "0")
    if not told.isdecimal() or int(told) > most:
        raise _large(most)
    held = bytearray()
    try:
        async with asyncio.timeout(READING):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refusal(400, "disconnect", "The body ended early.")
                held += message.get("body", b"")
                if len(held) > most:
                    raise _large(most)
                if not message.get("more_body", False):
                    return bytes(held)
    except TimeoutError:
        raise Refusal(408, "slow", "The body took too long to arrive.") from None


def _large(most: int) -> Refusal:
    return Refusal(413, "size", f"The body is larger than {most} bytes (http.limits.body).")


def _later(why: str, words: str, seconds: float) -> Refusal:
    return Refusal(429, why, words, {"Retry-After": str(max(1, round(seconds + 0.5)))})


def _again(body: bytes, receive: Receive) -> Receive:
    """Hands out the body that was read already, and then what the connection says."""
    told = False

    async def give() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return give


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def form(body: bytes, headers: dict[str, str]) -> dict[str, str]:
    """The fields of a form; {} where the body is none. The first of two alike counts."""
    if headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        return {}
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=50)
    except ValueError:
        return {}
    return dict(reversed(pairs))


def _basic(encoded: str) -> tuple[str, str]:
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return "", ""
    name, _, password = text.partition(":")
    return name, password


def _is_person(asked: Asked) -> bool:
    """Whether a page answers better than JSON."""
    return "text/html" in asked.headers.get("accept", "") and not asked.path.startswith(
        ("/api/", "/hooks/"))

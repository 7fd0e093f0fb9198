"""Access: what decides who may do what on the surface, in one place for the guard and the pages."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

import structlog
from starlette.concurrency import run_in_threadpool

from monitor.credentials import Area, Caller, Credentials, session_key
from monitor.sessions import Sessions
from monitor.surface import Http
from monitor.throttle import Throttle

log = structlog.get_logger()

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""
OPEN = frozenset({"/healthz", "/readyz", "/login", "/logout", "/hooks/mlflow"})
"""Paths that need no credentials: probes, where one gets them, and what bears a signature."""
LOGINS = 2
"""Passwords that are looked at at a time: each takes 32 MB and a processor."""
PROBES = frozenset({"/healthz", "/readyz"})


def area(method: str, path: str) -> Area:
    """What a request asks for; what changes something, and nobody thought of, is acting."""
    if path in OPEN:
        return "open"
    if path == "/metrics":
        return "metrics"
    if path.startswith("/hooks/"):
        return "hooks"
    if path.startswith("/actions/"):
        return "act"
    return "read" if method in SAFE else "act"


REASONS = ("anonymous", "certificate", "credentials", "disconnect", "error", "failures", "forgery",
           "host", "login", "method", "off", "requests", "scope", "size", "slow")
"""Why requests are refused."""


class Access:
    """The settings, the secrets, and what was counted of clients."""

    def __init__(self, http: Http) -> None:
        self.http = http
        self.credentials = Credentials(http)
        self.sessions = Sessions(session_key(http), self.credentials,
                                 http.session.total_seconds())
        self.requests = Throttle(http.limits.requests)
        self.probes = Throttle(http.limits.requests)
        self.failures = Throttle(http.limits.failures)
        self._logins = asyncio.Semaphore(LOGINS)
        self.refused = Counter(dict.fromkeys(REASONS, 0))
        """Requests that were refused, by why."""

    def allowed(self, caller: Caller | None, asked: Area) -> bool:
        """Whether the area is open to the caller."""
        return asked == "open" or asked in self.http.public or (
            caller is not None and caller.may(asked))

    async def password(self, name: str, password: str, client: str) -> Caller | None:
        """The user with that password; a wrong one is counted against the client."""
        async with self._logins:
            caller = await run_in_threadpool(self.credentials.user, name, password)
        if caller is None:
            self.mistaken(client, "password")
        return caller

    def mistaken(self, client: str, kind: str) -> None:
        """Count wrong credentials."""
        self.failures.take(client)
        log.warning("wrong credentials", client=client, kind=kind)

    def host_fits(self, host: str) -> bool:
        """Whether holdfast is asked under a name of its own, or by an address."""
        name = _bare(host)
        if not self.http.hosts or _is_address(name):
            return True
        return any(name == known or (known.startswith("*.") and name.endswith(known[1:]))
                   for known in (item.lower() for item in self.http.hosts))

    def offers(self) -> str:
        """The ways to show who one is, for ``WWW-Authenticate``."""
        ways = ['Bearer realm="holdfast"']
        if self.http.users:
            ways.append('Basic realm="holdfast", charset="UTF-8"')
        return ", ".join(ways)


def cookie_name(secure: bool) -> str:
    """The name of the session's cookie; under TLS one that no other host or path can set."""
    return "__Host-holdfast" if secure else "holdfast"


def set_cookie(value: str, *, name: str, secure: bool, seconds: float) -> str:
    """A ``Set-Cookie`` that scripts and other sites do not get; 0 seconds take it back."""
    parts = [f"{name}={value}", "Path=/", "HttpOnly", "SameSite=Strict",
             f"Max-Age={int(seconds)}"]
    return "; ".join([*parts, "Secure"] if secure else parts)


def cookie_named(header: str, name: str) -> str:
    """The value of one of the cookies that were sent; '' without it."""
    try:
        found = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return "" if found is None else found.value


def same_origin(host: str, origin: str | None, site: str | None) -> bool:
    """Whether the browser says that a page of this very host asks; True where it says nothing.

    Schemes are not compared: a proxy in front may end TLS.
    """
    if site is not None and site != "same-origin":
        return False
    return origin is None or _netloc(origin) == host.lower()


def well_formed(host: str) -> bool:
    """Whether it looks like a host with or without a port."""
    try:
        parts = urlsplit(f"//{host}")
        return bool(host) and parts.netloc == host and parts.username is None and (
            parts.port is None or parts.port >= 0) and not set(host) & set("/\\@ \t,;")
    except ValueError:
        return False


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _bare(host: str) -> str:
    """The name alone, in small letters, without a port or a final dot."""
    return (urlsplit(f"//{host}").hostname or "").rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True

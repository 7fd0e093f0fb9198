"""Sessions: who is logged in, in a signed cookie, and the tokens that forms carry against forgery.

A session is stateless but for those that were ended: the cookie names the user, bears a random
number and an end, and is signed (HMAC-SHA256). A form's token is a signature of that number, so
that another site, which cannot read pages, cannot make one.
"""

from __future__ import annotations

import base64
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from monitor.credentials import Caller, Credentials, same


@dataclass(frozen=True, slots=True)
class Session:
    """What a cookie says, once its signature and its end are fine."""

    name: str
    mark: str
    number: str
    until: int


class Sessions:
    """Issues cookies and form tokens, and reads them back."""

    def __init__(self, key: bytes, credentials: Credentials, life: float,
                 clock: Callable[[], float] = time.time) -> None:
        self._key, self._credentials, self.life, self._clock = key, credentials, life, clock
        self._ended: dict[str, int] = {}

    def begin(self, name: str) -> str:
        """The value of a new session's cookie for a user who showed the password."""
        mark, number = self._credentials.mark(name), secrets.token_urlsafe(16)
        until = int(self._clock() + self.life)
        body = ".".join([base64.urlsafe_b64encode(name.encode()).decode().rstrip("="),
                         mark or "", number, str(until)])
        return f"{body}.{self._sign('session', body)}"

    def caller(self, cookie: str) -> Caller | None:
        """Who is logged in by that cookie; None where it is forged, over, ended, or older than the
        user's password."""
        session = self._session(cookie)
        if session is None or session.number in self._ended:
            return None
        mark = self._credentials.mark(session.name)
        if mark is None or not same(mark, session.mark):
            return None
        return Caller(session.name, self._credentials.scope(session.name), "session",
                      session.number)

    def end(self, cookie: str) -> None:
        """Let the session be over."""
        session = self._session(cookie)
        if session is not None:
            now = self._clock()
            self._ended = {number: until for number, until in self._ended.items() if until > now}
            self._ended[session.number] = session.until

    def form(self, bound: str) -> str:
        """The token that a form carries for what it is bound to."""
        return self._sign("form", bound)

    def formed(self, bound: str, given: str) -> bool:
        """Whether it is the token of that."""
        return same(self.form(bound), given)

    def _session(self, cookie: str) -> Session | None:
        body, _, signature = cookie.rpartition(".")
        if not same(self._sign("session", body), signature):
            return None
        name, mark, number, until = body.split(".")
        padded = name + "=" * (-len(name) % 4)
        session = Session(base64.urlsafe_b64decode(padded).decode(), mark, number, int(until))
        return session if session.until > self._clock() else None

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.digest(self._key, f"{purpose}\0{text}".encode("utf-8", "surrogateescape"),
                           "sha256").hex()

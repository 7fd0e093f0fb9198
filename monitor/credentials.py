"""Credentials: tokens and passwords -> who asks, and what that opens.

Secrets are compared as digests, in constant time, each with all that are known, so that neither an
answer nor its time tells how near a guess was. Passwords are kept as scrypt hashes (RFC 7914).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import structlog

from monitor.errors import ConfigError, HoldfastError
from monitor.secrets import fetch
from monitor.surface import Http, Scope, Token, User

log = structlog.get_logger()

Area = Literal["open", "metrics", "read", "act", "hooks"]
OPENS: dict[Scope, frozenset[Area]] = {
    "metrics": frozenset({"metrics"}),
    "read": frozenset({"metrics", "read"}),
    "act": frozenset({"metrics", "read", "act", "hooks"}),
    "hooks": frozenset({"hooks"}),
}
"""Scope -> what it opens, beside what is open to everybody."""

COST = (2**15, 8, 3)
"""scrypt's N, r and p: 32 MB and about a quarter of a second a guess, as OWASP advises."""
LENGTH = 32
"""Bytes of a hash."""
SHORTEST_PASSWORD = 12
SHORTEST_TOKEN = 16
SHORTEST_KEY = 32
REREAD = 5.0
"""Seconds after which files of secrets are looked at again."""
KEPT = 300.0
"""Seconds for which a password that was right need not be hashed again ..."""
MOST = 1000
"""... of so many."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: ``how`` it was shown, and what a form's token is bound to."""

    name: str
    scope: Scope
    how: Literal["token", "basic", "session"]
    bound: str = ""

    def may(self, area: Area) -> bool:
        """Whether the caller's scope opens it."""
        return area in OPENS[self.scope]


def hashed(password: str, salt: bytes | None = None) -> str:
    """The scrypt hash of a password, as ``scrypt:N:r:p:salt:hash``."""
    salt = secrets.token_bytes(16) if salt is None else salt
    n, r, p = COST
    return ":".join(["scrypt", str(n), str(r), str(p), _text(salt),
                     _text(_scrypt(password, salt, COST))])


def matches(password: str, stored: str) -> bool:
    """Whether the hash is the password's; ``HoldfastError`` where it is no hash."""
    cost, salt, digest = _parsed(stored)
    return hmac.compare_digest(_scrypt(password, salt, cost), digest)


def _scrypt(password: str, salt: bytes, cost: tuple[int, int, int]) -> bytes:
    n, r, p = cost
    return hashlib.scrypt(password.encode("utf-8", "surrogateescape"), salt=salt, n=n, r=r, p=p,
                          maxmem=256 * n * r, dklen=LENGTH)


def _parsed(stored: str) -> tuple[tuple[int, int, int], bytes, bytes]:
    try:
        kind, n, r, p, salt, digest = stored.split(":")
        cost = (int(n), int(r), int(p))
        if kind != "scrypt" or not (2**10 <= cost[0] <= 2**20 and cost[1] * cost[2] <= 64):
            raise ValueError(kind)
        if len(_bytes(digest)) != LENGTH:
            raise ValueError(digest)
        return cost, _bytes(salt), _bytes(digest)
    except ValueError as error:
        raise HoldfastError("it is no hash; right would be what `holdfast password` "
                            "prints") from error


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode()


def _bytes(value: str) -> bytes:
    return base64.b64decode(value.encode(), altchars=b"-_", validate=True)


def digest(value: str) -> bytes:
    """What secrets are compared by."""
    return hashlib.sha256(value.encode("utf-8", "surrogateescape")).digest()


def same(one: str, other: str) -> bool:
    """Whether two secrets are the same, in a time that tells nothing."""
    return hmac.compare_digest(digest(one), digest(other))


class Credentials:
    """The tokens and users of the configuration; ``ConfigError`` where a secret is absent."""

    def __init__(self, http: Http, clock: Callable[[], float] = time.monotonic) -> None:
        self._http, self._clock = http, clock
        self._tokens: list[tuple[Token, bytes]] = []
        self._users: dict[str, tuple[User, str]] = {}
        self._right: dict[bytes, float] = {}
        self._salt = secrets.token_bytes(32)
        self._nobody = hashed(secrets.token_hex(16)) if http.users else ""
        mistakes = list(self._read())
        if mistakes:
            raise ConfigError(mistakes)
        self._looked = clock()

    def token(self, given: str) -> Caller | None:
        """Whose token it is; None where nobody's."""
        self._look_again()
        wanted, found = digest(given), None
        for token, known in self._tokens:  # all of them, whichever it is
            if hmac.compare_digest(wanted, known):
                found = token
        return None if found is None else Caller(found.name, found.scope, "token")

    def user(self, name: str, password: str) -> Caller | None:
        """The user with that password; None where there is none. Slow on purpose."""
        self._look_again()
        user, stored = self._users.get(name, (None, self._nobody))
        if not stored:
            return None
        key = hmac.digest(self._salt, f"{name}\0{password}\0{stored}".encode(), "sha256")
        if self._right.get(key, 0.0) < self._clock():
            if not matches(password, stored) or user is None:
                return None
            if len(self._right) >= MOST:
                self._right.clear()
            self._right[key] = self._clock() + KEPT
        return None if user is None else Caller(user.name, user.scope, "basic", f"basic {name}")

    def mark(self, name: str) -> str | None:
        """What changes with a user's password, and tells nothing of it; None without the user."""
        self._look_again()
        if name not in self._users:
            return None
        return digest(f"mark {self._users[name][1]}").hex()[:16]

    def scope(self, name: str) -> Literal["metrics", "read", "act"]:
        """The scope of a user who is known."""
        return self._users[name][0].scope

    def _look_again(self) -> None:
        """Read files of secrets anew; what cannot be read stays as it was."""
        if self._clock() - self._looked >= REREAD:
            self._looked = self._clock()
            for mistake in self._read():
                log.warning("a secret cannot be read; the last one stands", reason=mistake)

    def _read(self) -> Iterator[str]:
        """Read every secret; yields what is wrong."""
        tokens = {token.name: (token, known) for token, known in self._tokens}
        for place, token in enumerate(self._http.tokens):
            where = f"http.tokens[{place}]"
            text, mistake = _secret(where, token.token_env, token.token_file, "token")
            if mistake or len(text) < SHORTEST_TOKEN:
                yield mistake or (f"{where}: the token of {token.name} has {len(text)} characters; "
                                  f"right would be at least {SHORTEST_TOKEN}")
                continue
            tokens[token.name] = (token, digest(text))
        self._tokens = list(tokens.values())
        for place, user in enumerate(self._http.users):
            where = f"http.users[{place}]"
            text, mistake = _secret(where, user.hash_env, user.hash_file, "hash")
            if mistake:
                yield mistake
                continue
            try:
                _parsed(text)
            except HoldfastError as error:
                yield f"{where}: the hash of {user.name}: {error}"
                continue
            self._users[user.name] = (user, text)


def session_key(http: Http) -> bytes:
    """What sessions are signed with: the configured secret, else a new one."""
    if not http.session_key_env and not http.session_key_file:
        return secrets.token_bytes(32)
    text, mistake = _secret("http", http.session_key_env, http.session_key_file, "session_key")
    if not mistake and len(text) < SHORTEST_KEY:
        mistake = (f"http.session_key_{'env' if http.session_key_env else 'file'}: it has "
                   f"{len(text)} characters; right would be at least {SHORTEST_KEY}")
    if mistake:
        raise ConfigError([mistake])
    return digest(f"sessions {text}")


def mlflow_secret(http: Http) -> bytes | None:
    """What MLflow's registry webhooks are signed with; None where there are none."""
    env, file = http.mlflow_secret_env, http.mlflow_secret_file
    if not env and not file:
        return None
    text, mistake = _secret("http", env, file, "mlflow_secret")
    if not mistake and len(text) < SHORTEST_TOKEN:
        mistake = (f"http.mlflow_secret_{'env' if env else 'file'}: it has {len(text)} characters; "
                   f"right would be at least {SHORTEST_TOKEN}")
    if mistake:
        raise ConfigError([mistake])
    return text.encode()


def _secret(where: str, env: str, file: str, what: str) -> tuple[str, str]:
    """The secret, and what is wrong where there is none."""
    text = fetch(env, file)
    if text:
        return text, ""
    key, place = (f"{what}_env", env) if env else (f"{what}_file", file)
    why = "it is empty" if text == "" else (
        "the environment variable is not set" if env else "the file cannot be read")
    return "", f"{where}.{key}: {place}: {why}"

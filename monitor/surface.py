"""Surface: settings of what is served: where, to whom, and how much at a time."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Literal

from pydantic import Field, model_validator

from monitor.conditions import Size
from monitor.fields import Duration, Section, require

Scope = Literal["metrics", "read", "act", "hooks"]
NAME = r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$"
"""A name that is fit for records, forms and headers."""
HOST = r"^(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]{0,252})$"
"""A host name, without scheme or port; `*.` in front stands for one label or more."""


class Tls(Section):
    """TLS of pages, metrics and API. Files are read anew when they change, such as by
    cert-manager."""

    certificate: str
    """File with the server's certificate and what leads to its authority (PEM)."""
    private_key: str
    """File with its private key (PEM)."""
    client_ca: str | None = None
    """File with the authorities of clients (PEM): who shows no certificate of theirs is answered by
    `/healthz` and `/readyz` alone. Credentials are asked for all the same. Authorities that leave
    the file are forgotten at the next start."""


class Token(Section):
    """A bearer token of a program: `Authorization: Bearer …`."""

    name: str = Field(pattern=NAME)
    """Whose it is, for the record of what was done."""
    scope: Scope = "read"
    """What it opens: `metrics`; `read` (pages, API and metrics); `act` (everything); `hooks` (the
    webhooks alone)."""
    token_env: str = ""
    """Environment variable that holds it: 16 characters at least."""
    token_file: str = ""
    """Or a file that holds it, read anew when it changes."""

    @model_validator(mode="after")
    def _one_place(self) -> Token:
        _one_place(self.token_env, self.token_file, "token")
        return self


class User(Section):
    """A person, who logs in with a password, or a program with basic authentication."""

    name: str = Field(pattern=NAME)
    """Name to log in with, and for the record of what was done."""
    scope: Literal["metrics", "read", "act"] = "read"
    """What the person may do, as of tokens."""
    hash_env: str = ""
    """Environment variable that holds the password's hash, which `holdfast password` makes."""
    hash_file: str = ""
    """Or a file that holds it, read anew when it changes."""

    @model_validator(mode="after")
    def _one_place(self) -> User:
        _one_place(self.hash_env, self.hash_file, "hash")
        return self


class Rates(Section):
    """How much is served at a time."""

    body: Size = Field(default=262_144, ge=1024)
    """Largest body of a request; Alertmanager sends about 1500 bytes an alert."""
    requests: int = Field(default=600, ge=1)
    """Requests that one address may make in a minute, on average: as many at once at most. IPv6
    addresses count by their network of 64 bits."""
    failures: int = Field(default=10, ge=1)
    """Wrong passwords and tokens that one address may send in a minute."""
    connections: int = Field(default=200, ge=2)
    """Connections at a time, of everybody together; more are told to come again."""


class Http(Section):
    """Where metrics, health, pages and API are served, and to whom.

    Without tokens and users everybody may read, and nobody may act.
    """

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8700, ge=0, le=65535)
    """Port to listen on; 0 picks a free one."""
    url: str = Field(default="", pattern=r"^(https?://[^\s?#]+)?$")
    """Where people reach the pages, such as `https://holdfast.example.org`; for links from MLflow's
    pages and from messages."""
    tls: Tls | None = None
    """TLS; absent: plain HTTP, for this machine or behind a proxy that ends TLS."""
    public: list[Literal["metrics", "read"]] = ["metrics", "read"]
    """What needs no credentials: `metrics`, and `read` for pages and the reading part of the API.
    Health (`/healthz`, `/readyz`) always needs none, acting always needs some."""
    tokens: list[Token] = []
    """Bearer tokens of programs."""
    users: list[User] = []
    """People who may log in."""
    hosts: list[str] = []
    """Names under which holdfast is asked, such as `holdfast.example.org` or `*.example.org`; other
    names are refused. IP addresses always pass: probes and Prometheus use them. Empty: any name."""
    trusted_proxies: list[str] = []
    """Addresses or networks of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are
    believed."""
    session: Duration = Field(default=timedelta(hours=8), ge=timedelta(minutes=1),
                              le=timedelta(days=7))
    """How long a person stays logged in."""
    session_key_env: str = ""
    """Environment variable with the secret that sessions are signed with: 32 characters at least,
    the same for all daemons behind one address. Default: a new one with every start."""
    session_key_file: str = ""
    """Or a file that holds it."""
    mlflow_secret_env: str = ""
    """Environment variable with the secret of MLflow's registry webhooks, 16 characters at least:
    `POST /hooks/mlflow`, signed with it, wakes a model at once when its aliases moved. A nudge:
    aliases are polled all the same, and losing it loses nothing. Default: no such webhook."""
    mlflow_secret_file: str = ""
    """Or a file that holds it."""
    limits: Rates = Rates()
    """How much is served at a time."""

    @model_validator(mode="after")
    def _consistent(self) -> Http:
        for kind, names in (("tokens", [item.name for item in self.tokens]),
                            ("users", [item.name for item in self.users])):
            twice = sorted({name for name in names if names.count(name) > 1})
            require(not twice, kind, ", ".join(twice), "names that differ")
        scopes = self._scopes()
        for part, openers in (("read", {"read", "act"}), ("metrics", {"metrics", "read", "act"})):
            require(part in self.public or bool(scopes & openers), "public", f"without {part}",
                    f"{part} among it, or a token or user whose scope opens it: nobody could "
                    "see it")
        require(not (self.session_key_env and self.session_key_file), "session_key_env", "beside "
                "session_key_file", "one of the two")
        require(not (self.mlflow_secret_env and self.mlflow_secret_file), "mlflow_secret_env",
                "beside mlflow_secret_file", "one of the two")
        for place, host in enumerate(self.hosts):
            _host(host, place)
        return self

    @property
    def acts(self) -> bool:
        """Whether anybody may act."""
        return "act" in self._scopes()

    @property
    def hooked(self) -> bool:
        """Whether any webhook may call."""
        return bool({"act", "hooks"} & self._scopes())

    def _scopes(self) -> set[Scope]:
        return {item.scope for item in self.tokens} | {item.scope for item in self.users}


def _one_place(env: str, file: str, what: str) -> None:
    require(bool(env) != bool(file), f"{what}_env", "both or neither",
            f"exactly one of {what}_env and {what}_file")


def _host(host: str, place: int) -> None:
    require(re.fullmatch(HOST, host) is not None, f"hosts[{place}]", repr(host),
            "a name without scheme, port or path, such as holdfast.example.org")

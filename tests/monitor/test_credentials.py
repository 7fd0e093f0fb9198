"""Tokens, passwords and sessions."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitor import credentials
from monitor.credentials import Credentials, hashed, matches, session_key
from monitor.errors import ConfigError, HoldfastError
from monitor.secrets import redact
from monitor.sessions import Sessions
from monitor.surface import Http
from tests.data import ROOT
from tests.monitor.command import configured, holdfast
from tests.monitor.stored import configuration


@dataclass
class Clock:
    """Seconds that pass when they are told to."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


TOKEN = "a-token-of-prometheus"
Settings = Callable[..., Http]


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes that cost next to nothing."""
    monkeypatch.setattr(credentials, "COST", (2**10, 8, 1))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    def made(**more: Any) -> Http:
        (tmp_path / "token").write_text(TOKEN + "\n")
        (tmp_path / "hash").write_text(hashed("correct horse"))
        return Http.model_validate({
            "tokens": [{"name": "prometheus", "scope": "metrics",
                        "token_file": str(tmp_path / "token")}],
            "users": [{"name": "anna", "scope": "act", "hash_file": str(tmp_path / "hash")}],
            **more})

    return made


def test_a_token_is_known_by_its_digest_alone(settings: Settings,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    known, compared = Credentials(settings()), []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest",
                        lambda one, other: (compared.append((one, other)), real(one, other))[1])
    caller = known.token(TOKEN)
    assert caller is not None
    assert (caller.name, caller.scope, caller.how) == ("prometheus", "metrics", "token")
    for wrong in ("", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "ünïcode\udcff", "x" * 100_000):
        assert known.token(wrong) is None
    assert {(len(one), len(other)) for one, other in compared} == {(32, 32)}
    assert len(compared) == 7


def test_a_password_is_kept_as_a_salted_hash() -> None:
    one, other = hashed("correct horse"), hashed("correct horse")
    assert one != other
    assert one.startswith("scrypt:1024:8:1:")
    assert matches("correct horse", one)
    assert not matches("correct Horse", one)


def test_the_hash_is_the_one_of_rfc_7914() -> None:
    expected = bytes.fromhex(
        "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b3731622eaf30d92e22a3886ff109279d9830"
        "dac727afb94a83ee6d8360cbdfa2cc0640")[:32]
    assert credentials._scrypt("password", b"NaCl", (1024, 8, 16)) == expected


@pytest.mark.parametrize("text", ["", "secret", "scrypt:1:2:3:4:5", "scrypt:1024:8:1:???:???",
                                  "scrypt:99999999999:8:1:AAAA:AAAA", "bcrypt:1024:8:1:AAAA:AAAA"])
def test_what_is_no_hash_is_told(text: str) -> None:
    with pytest.raises(HoldfastError, match="holdfast password"):
        matches("x", text)


def test_users_are_known_and_strangers_cost_as_much(settings: Settings,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    known, clock, made = Credentials(settings(), clock := Clock()), clock, []
    real = credentials._scrypt
    monkeypatch.setattr(credentials, "_scrypt", lambda *a: (made.append(a[0]), real(*a))[1])
    assert known.user("anna", "wrong") is None
    assert known.user("nobody", "correct horse") is None
    caller = known.user("anna", "correct horse")
    assert caller is not None
    assert (caller.name, caller.scope, caller.how) == ("anna", "act", "basic")
    assert len(made) == 3
    assert known.user("anna", "correct horse") == caller
    assert len(made) == 3  # a right one need not be hashed with every request ...
    clock.now += credentials.KEPT + 1
    assert known.user("anna", "correct horse") == caller
    assert len(made) == 4  # ... for a while


def test_secrets_are_read_anew(settings: Settings, tmp_path: Path) -> None:
    clock = Clock()
    known = Credentials(settings(), clock)
    (tmp_path / "token").write_text("another-token-of-it")
    (tmp_path / "hash").write_text("broken")
    assert known.token(TOKEN) is not None
    clock.now += credentials.REREAD
    assert known.token(TOKEN) is None
    assert known.token("another-token-of-it") is not None
    assert known.user("anna", "correct horse") is not None  # what cannot be read stays
    assert redact("leaked another-token-of-it") == "leaked ***"


def test_every_absent_secret_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("short")
    (tmp_path / "empty").write_text("\n")
    http = Http.model_validate({
        "tokens": [{"name": "a", "token_env": "HOLDFAST_NO_SUCH"},
                   {"name": "b", "token_file": str(tmp_path / "short")},
                   {"name": "c", "token_file": str(tmp_path / "empty")}],
        "users": [{"name": "d", "hash_file": "/no/such"},
                  {"name": "e", "hash_file": str(tmp_path / "short")}]})
    with pytest.raises(ConfigError) as refused:
        Credentials(http)
    assert refused.value.mistakes == [
        "http.tokens[0].token_env: HOLDFAST_NO_SUCH: the environment variable is not set",
        "http.tokens[1]: the token of b has 5 characters; right would be at least 16",
        f"http.tokens[2].token_file: {tmp_path / 'empty'}: it is empty",
        "http.users[0].hash_file: /no/such: the file cannot be read",
        "http.users[1]: the hash of e: it is no hash; right would be what `holdfast password` "
        "prints"]


def test_sessions(settings: Settings, tmp_path: Path) -> None:
    http = settings()
    clock, wall = Clock(), Clock()
    known = Credentials(http, clock)
    sessions = Sessions(b"k" * 32, known, 3600, wall)
    one, other = sessions.begin("anna"), sessions.begin("anna")
    caller = sessions.caller(one)
    assert caller is not None
    assert (caller.name, caller.scope, caller.how) == ("anna", "act", "session")
    second = sessions.caller(other)
    assert second is not None
    assert sessions.formed(caller.bound, sessions.form(caller.bound))
    assert not sessions.formed(second.bound, sessions.form(caller.bound))
    sessions.end(one)
    assert sessions.caller(one) is None
    assert sessions.caller(other) == second
    (tmp_path / "hash").write_text(hashed("another password"))
    clock.now += credentials.REREAD
    assert sessions.caller(other) is None  # it was begun with the old password
    third = sessions.begin("anna")
    wall.now += 3599
    assert sessions.caller(third) is not None
    wall.now += 1
    assert sessions.caller(third) is None


def test_forged_cookies_are_nothing(settings: Settings) -> None:
    known = Credentials(settings())
    sessions, other = Sessions(b"k" * 32, known, 60), Sessions(b"l" * 32, known, 60)
    cookie = sessions.begin("anna")
    assert other.caller(cookie) is None
    for place in range(0, len(cookie), 7):
        for letter in ("A", ".", "\xff"):
            changed = cookie[:place] + letter + cookie[place + 1:]
            assert changed == cookie or sessions.caller(changed) is None
    for junk in ("", ".", "a.b.c.d.e", "....", "x" * 10_000, "\udcff"):
        assert sessions.caller(junk) is None
    assert sessions.caller(sessions.begin("nobody")) is None
    assert sessions.caller(f"{sessions.form('anna')}.{sessions.form('x')}") is None


def test_the_key_of_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert session_key(Http()) != session_key(Http())
    monkeypatch.setenv("HOLDFAST_SESSIONS", "s" * 32)
    http = Http(session_key_env="HOLDFAST_SESSIONS")
    assert session_key(http) == session_key(http)
    monkeypatch.setenv("HOLDFAST_SESSIONS", "short")
    with pytest.raises(ConfigError, match="it has 5 characters; right would be at least 32"):
        session_key(http)


@pytest.mark.parametrize(("given", "told"), [
    ({"tokens": [{"name": "a"}]}, "token_env: both or neither; right would be exactly one"),
    ({"tokens": [{"name": "a b", "token_env": "A"}]}, "http.tokens[0].name: 'a b'"),
    ({"tokens": [{"name": "a", "token_env": "A", "scope": "root"}]}, "http.tokens[0].scope"),
    ({"tokens": [{"name": "a", "token_env": "A"}, {"name": "a", "token_env": "B"}]},
     "http.tokens: a; right would be names that differ"),
    ({"public": []}, "http.public: without read; right would be read among it"),
    ({"public": ["read"]}, "http.public: without metrics; right would be metrics among it"),
    ({"public": ["metrics", "act"]}, "http.public[1]: 'act'"),
    ({"hosts": ["https://a.example"]}, "http.hosts[0]: 'https://a.example'; right would be a name"),
    ({"limits": {"body": 1}}, "http.limits.body: 1; right would be at least 1024"),
    ({"session": "1s"}, "http.session: '1s'; right would be at least 1 minute"),
    ({"session_key_env": "A", "session_key_file": "b"}, "http.session_key_env: beside"),
    ({"tls": {"certificate": "a.pem"}}, "http.tls.private_key: absent"),
])
def test_mistakes_are_told_in_words(tmp_path: Path, given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        configuration(tmp_path, http=given)
    assert told in "\n".join(refused.value.mistakes)


def test_the_documented_settings_are_settings() -> None:
    text = (ROOT / "docs" / "security.md").read_text("utf-8")
    http = Http.model_validate(yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])["http"])
    assert http.acts
    assert {token.scope for token in http.tokens} == {"metrics", "hooks", "act"}


def test_a_command_makes_hashes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from monitor.cli import main

    made = CliRunner().invoke(main, ["password"], input="a long password\n")
    assert made.exit_code == 0
    assert matches("a long password", made.stdout.strip())
    short = CliRunner().invoke(main, ["password"], input="short\n")
    assert short.exit_code == 2
    assert "right would be at least 12" in short.stderr


def test_check_tells_of_secrets_that_are_not_there(tmp_path: Path) -> None:
    file = configured(tmp_path, {"name": "m", "log": {
        "source": "no.parquet", "timestamp": "at"}}, http={
            "host": "0.0.0.0", "tokens": [{"name": "a", "token_file": "no-token"}],
            "tls": {"certificate": "no.pem", "private_key": "no.key"}})
    said = holdfast("check", file, "--json")
    assert f"http.tokens[0].token_file: {tmp_path / 'no-token'}: the file cannot be read" in (
        said.json["mistakes"])
    assert any(line.startswith(f"http.tls.certificate: {tmp_path / 'no.pem'}: No such file")
               for line in said.json["mistakes"])

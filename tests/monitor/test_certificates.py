"""TLS with certificates that are made here, and renewed while the server runs."""

from __future__ import annotations

import shutil
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from monitor import certificates
from monitor.certificates import Certificates
from monitor.errors import ConfigError
from monitor.server import Server
from monitor.store import Store
from monitor.surface import Tls
from tests.monitor.surface import bearer, cheap, guarded, site
from tests.servers.authority import Authority, Pair
from tests.servers.prometheus import Prometheus, prometheus

__all__ = ["cheap", "prometheus"]
pytestmark = pytest.mark.usefixtures("cheap")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "tls")


def tls(pair: Pair, **more: Any) -> dict[str, Any]:
    return {"certificate": str(pair.certificate), "private_key": str(pair.key), **more}


def trusting(authority: Authority, pair: Pair | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.file))
    if pair is not None:
        context.load_cert_chain(pair.certificate, pair.key)
    return context


def ask(server: Server, context: ssl.SSLContext, path: str = "/healthz", **headers: str
        ) -> httpx.Response:
    with httpx.Client(verify=context, trust_env=False, base_url=server.url) as client:
        return client.get(path, headers=headers)


def serial(server: Server, context: ssl.SSLContext) -> str:
    """The serial number of the certificate that serves now."""
    with httpx.Client(verify=context, trust_env=False, base_url=server.url) as client, \
            client.stream("GET", "/healthz") as answer:
        peer = answer.extensions["network_stream"].get_extra_info("ssl_object").getpeercert()
        return str(peer["serialNumber"])


def test_pages_and_metrics_by_tls(store: Store, tmp_path: Path, authority: Authority) -> None:
    with site(store, tmp_path, guarded(tmp_path, tls=tls(authority.issue("server")))) as server:
        assert server.url.startswith("https://")
        answer = ask(server, trusting(authority), "/metrics", **bearer("metrics"))
        assert answer.status_code == 200
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            ask(server, ssl.create_default_context())
        with pytest.raises(httpx.HTTPError):
            httpx.get(server.url.replace("https", "http"), trust_env=False)
        old = trusting(authority)
        old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        with pytest.warns(DeprecationWarning, match="TLS"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(httpx.ConnectError):
            ask(server, old)


def test_a_renewed_certificate_serves_without_a_restart(
        store: Store, tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
        ) -> None:
    """As a mounted Secret is: a link that is moved to another folder."""
    monkeypatch.setattr(certificates, "PERIOD", 0.05)
    mount = tmp_path / "mount"
    for name in ("one", "two", "three"):
        pair = authority.issue("server")
        (tmp_path / name).mkdir()
        shutil.copy(pair.certificate, tmp_path / name / "tls.crt")
        shutil.copy(pair.key, tmp_path / name / "tls.key")
    mount.symlink_to("one")
    settings = {"certificate": str(mount / "tls.crt"), "private_key": str(mount / "tls.key")}
    context = trusting(authority)

    def move(name: str) -> None:
        (tmp_path / "next").symlink_to(name)
        (tmp_path / "next").rename(mount)

    with site(store, tmp_path, guarded(tmp_path, tls=settings)) as server:
        first = serial(server, context)
        (tmp_path / "two" / "tls.key").write_bytes((tmp_path / "one" / "tls.key").read_bytes())
        move("two")  # half of it: a key of another certificate
        for _ in range(5):
            assert serial(server, context) == first
        move("three")
        for _ in range(200):
            if serial(server, context) != first:
                break
        assert serial(server, context) != first


def shaken(server: ssl.SSLContext, client: ssl.SSLContext, name: str | None) -> str:
    """A handshake in memory; the serial number of the certificate that the client met."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(back, there, server_hostname=name),
            server.wrap_bio(there, back, server_side=True)]
    left = list(ends)
    while left:
        for end in list(left):
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
                left.remove(end)
    peer = ends[0].getpeercert()
    assert peer is not None
    return str(peer["serialNumber"])


def test_no_handshake_fails_while_certificates_change(tmp_path: Path, authority: Authority) -> None:
    mount, known = tmp_path / "mount", {}
    for name in ("one", "two"):
        pair = authority.issue("server")
        (tmp_path / name).mkdir()
        shutil.copy(pair.certificate, tmp_path / name / "tls.crt")
        shutil.copy(pair.key, tmp_path / name / "tls.key")
    mount.symlink_to("one")
    found = Certificates(Tls(certificate=str(mount / "tls.crt"),
                             private_key=str(mount / "tls.key")))
    over = threading.Event()

    def renew() -> None:
        while not over.is_set():
            for name in ("two", "one"):
                (tmp_path / "next").symlink_to(name)
                (tmp_path / "next").rename(mount)
                assert found.refresh()

    thread = threading.Thread(target=renew)
    thread.start()
    nameless = trusting(authority)
    nameless.check_hostname = False
    try:
        for _ in range(300):
            for client, name in ((trusting(authority), "127.0.0.1"), (nameless, None)):
                known[shaken(found.context, client, name)] = name
    finally:
        over.set()
        thread.join()
    assert len(known) == 2


def test_renewed_authorities_know_other_clients(tmp_path: Path, authority: Authority) -> None:
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new", "new")
    trusted = tmp_path / "clients.pem"
    shutil.copy(old.file, trusted)
    found = Certificates(Tls.model_validate(tls(authority.issue("server"),
                                                client_ca=str(trusted))))
    clients = [trusting(authority, each.issue("prometheus")) for each in (old, new)]
    shaken(found.context, clients[0], "127.0.0.1")
    with pytest.raises(ssl.SSLError, match="verify failed"):
        shaken(found.context, clients[1], "127.0.0.1")
    shutil.copy(new.file, trusted)
    assert found.refresh()
    shaken(found.context, clients[1], "127.0.0.1")
    with pytest.raises(ssl.SSLError, match="verify failed"):
        shaken(found.context, clients[0], "127.0.0.1")


def test_mutual_tls_lets_probes_and_known_clients_in(
        store: Store, tmp_path: Path, authority: Authority) -> None:
    clients, others = Authority(tmp_path / "clients"), Authority(tmp_path / "others", "others")
    settings = tls(authority.issue("server"), client_ca=str(clients.file))
    with site(store, tmp_path, guarded(tmp_path, tls=settings, public=["metrics", "read"])
              ) as server:
        nobody = trusting(authority)
        assert ask(server, nobody, "/readyz").status_code == 200
        for path in ("/", "/metrics", "/api/status", "/login"):
            refused = ask(server, nobody, path, **bearer("act"))
            assert refused.status_code == 403
            assert refused.json()["error"] == "A client certificate is needed here."
        known = trusting(authority, clients.issue("prometheus"))
        assert ask(server, known, "/metrics").status_code == 200
        with pytest.raises((httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError)):
            ask(server, trusting(authority, others.issue("prometheus")), "/healthz")
    settings["client_ca"] = str(clients.file)
    with site(store, tmp_path, guarded(tmp_path, tls=settings)) as server:
        both = trusting(authority, clients.issue("prometheus"))
        assert ask(server, both, "/metrics").status_code == 401  # a certificate is no credential
        assert ask(server, both, "/metrics", **bearer("metrics")).status_code == 200


def test_a_real_prometheus_scrapes_with_a_token_and_a_certificate(
        store: Store, tmp_path: Path, authority: Authority,
        prometheus: Callable[..., Prometheus]) -> None:
    clients = Authority(tmp_path / "clients")
    shown = clients.issue("prometheus")
    settings = tls(authority.issue("server"), client_ca=str(clients.file))
    with site(store, tmp_path, guarded(tmp_path, tls=settings)) as server:
        running = prometheus(f"127.0.0.1:{server.port}", job={
            "scheme": "https",
            "authorization": {"credentials_file": str(tmp_path / "token-metrics")},
            "tls_config": {"ca_file": str(authority.file), "cert_file": str(shown.certificate),
                           "key_file": str(shown.key)}})
        [found] = running.wait_for('holdfast_episode_open{model="electricity"} == 1')
        assert found["metric"]["job"] == "holdfast"


def test_files_that_do_not_fit_are_told(tmp_path: Path, authority: Authority) -> None:
    one, other = authority.issue("one"), authority.issue("other")
    for settings, told in (
            (tls(one) | {"private_key": str(other.key)}, "key values mismatch"),
            (tls(one) | {"certificate": str(tmp_path / "no.pem")}, "No such file"),
            (tls(one) | {"certificate": str(one.key)}, "no pem of that kind"),
            (tls(one, client_ca=str(one.key)), "http.tls.client_ca"),
            (tls(one, client_ca="/no/such.pem"), "http.tls.client_ca: /no/such.pem: No such")):
        with pytest.raises(ConfigError, match=told):
            Certificates(Tls.model_validate(settings))

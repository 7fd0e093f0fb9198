"""Server: an application at a port, in a thread, by uvicorn, with limits on what a client holds."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from monitor.certificates import Certificates
from monitor.errors import HoldfastError
from monitor.surface import Http

HEAD = 16_384
"""Bytes that the head of a request may have."""
WAITING = 20.0
"""Seconds that a connection may take to bring its first request."""
QUIET = 30
"""Seconds that a connection is kept between two requests."""


class Server:
    """A running server; ``stop`` ends it."""

    def __init__(self, server: uvicorn.Server, thread: threading.Thread, host: str, port: int,
                 certificates: Certificates | None = None) -> None:
        self._server = server
        self._thread = thread
        self._certificates = certificates
        self.host = host
        self.port = port

    @property
    def url(self) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104
        return f"http{'s' if self._certificates else ''}://{host}:{self.port}"

    def stop(self) -> None:
        """Finish the answers that are being given and close the port."""
        self._server.should_exit = True
        self._thread.join(timeout=10)
        if self._certificates is not None:
            self._certificates.stop()


class Protocol(H11Protocol):
    """HTTP/1.1 that tells of a client's certificate, and waits for nobody for long."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.getpeercert():  # {} where none was shown or asked for
            self.app = _certified(self.app)
        self.loop.call_later(WAITING, self._hurry)

    def _hurry(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()


def _certified(app: Any) -> Any:
    async def certified(scope: dict[str, Any], receive: Any, send: Any) -> None:
        scope.setdefault("extensions", {})["holdfast"] = {"certificate": True}
        await app(scope, receive, send)

    return certified


def serve(app: Any, host: str, port: int, *, http: Http | None = None) -> Server:
    """Serve ``app`` in a thread, once it answers; port 0 takes a free one (``Server.port``)."""
    http = http or Http()
    certificates = Certificates(http.tls) if http.tls else None
    listener = _listener(host, port)
    bound: int = listener.getsockname()[1]
    config = uvicorn.Config(
        app, log_level="warning", log_config=None, access_log=False, server_header=False,
        lifespan="on", timeout_graceful_shutdown=5, timeout_keep_alive=QUIET, http=Protocol,
        ws="none", h11_max_incomplete_event_size=HEAD, limit_concurrency=http.limits.connections,
        proxy_headers=bool(http.trusted_proxies), forwarded_allow_ips=http.trusted_proxies)
    config.load()
    if certificates is not None:
        config.ssl = certificates.context
        certificates.start()
    server = uvicorn.Server(config)
    thread = threading.Thread(target=_run, args=(server, listener), name="web", daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    if not server.started:
        raise HoldfastError(f"http: the server on {host}:{bound} did not start; see its log")
    return Server(server, thread, host, bound, certificates)


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise HoldfastError(f"http: cannot listen on {host}:{port}: {error.strerror}; give "
                            "another http.host or http.port") from error
    return listener


def _run(server: uvicorn.Server, listener: socket.socket) -> None:
    with listener:
        server.run(sockets=[listener])

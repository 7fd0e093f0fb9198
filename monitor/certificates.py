"""Certificates: the server's TLS, with files that are read anew when they change."""

from __future__ import annotations

import ssl
import threading
from pathlib import Path

import structlog

from monitor.errors import ConfigError, HoldfastError
from monitor.surface import Tls

log = structlog.get_logger()

PERIOD = 10.0
"""Seconds between two looks at the files."""

Stamp = tuple[tuple[int, int, int], ...]


class Certificates:
    """``context`` serves with the newest certificate; ``start`` keeps it so until ``stop``.

    A renewed certificate is a context of its own, to which each new connection is handed as it
    begins: one that is at work is never changed, as a handshake would fail that meets the new
    certificate with the old key.
    """

    def __init__(self, tls: Tls) -> None:
        self._tls = tls
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._stamp = self._stamped()
        self._newest = self._made()
        self.context = self._made()
        self.context.sni_callback = self._hand_over

    def refresh(self) -> bool:
        """Whether another certificate serves from now on; one that does not fit is left out."""
        try:
            stamp = self._stamped()
            if stamp == self._stamp:
                return False
            made = self._made()  # in vain while key and certificate do not belong together
        except HoldfastError as error:
            log.warning("the certificate cannot be read; the last one stands", reason=str(error))
            return False
        self._newest, self._stamp = made, stamp
        log.info("another certificate serves", certificate=self._tls.certificate)
        return True

    def start(self) -> None:
        """Look after the files in the background."""
        self._thread = threading.Thread(target=self._follow, name="certificates", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End what ``start`` began."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _follow(self) -> None:
        while not self._stop.wait(PERIOD):
            self.refresh()

    def _hand_over(self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None,
                   _context: ssl.SSLContext) -> None:
        """Called by OpenSSL at each hello, with a name or without."""
        connection.context = self._newest

    def _made(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        context.set_alpn_protocols(["http/1.1"])
        if self._tls.client_ca is not None:
            context.verify_mode = ssl.CERT_OPTIONAL  # probes have none: the guard asks the others
        self._load(context)
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        tls = self._tls
        try:
            context.load_cert_chain(tls.certificate, tls.private_key, password=_no_password)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise ConfigError([f"http.tls.certificate: {tls.certificate} with {tls.private_key}: "
                               f"{_words(error)}; right would be PEM files that belong "
                               "together"]) from error
        if tls.client_ca is not None:
            try:
                context.load_verify_locations(tls.client_ca)
            except (OSError, ssl.SSLError) as error:
                raise ConfigError([f"http.tls.client_ca: {tls.client_ca}: {_words(error)}; right "
                                   "would be a PEM file of authorities"]) from error

    def _stamped(self) -> Stamp:
        """What changes when a file does, through the links of a mounted Secret too."""
        tls, found = self._tls, []
        for key, file in (("certificate", tls.certificate), ("private_key", tls.private_key),
                          ("client_ca", tls.client_ca)):
            if file is None:
                continue
            try:
                told = Path(file).stat()
            except OSError as error:
                raise ConfigError([f"http.tls.{key}: {file}: {_words(error)}; right would be a PEM "
                                   "file"]) from error
            found.append((told.st_mtime_ns, told.st_size, told.st_ino))
        return tuple(found)


def _no_password() -> str:
    raise ValueError("the key is encrypted")  # OpenSSL would ask on the terminal


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "no PEM of that kind in it").replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error)

"""Services that messages are sent to: a webhook and a mail server, on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import StreamRequestHandler, TCPServer
from typing import Any, TypeVar, cast


@dataclass(frozen=True, slots=True)
class Told:
    """One question to the webhook: its body, and the key and thread that came with it."""

    body: dict[str, Any]
    key: str | None
    thread: str | None


class Webhook(ThreadingHTTPServer):
    """Keeps what arrives, and answers with ``status``; silent until ``answers`` is set."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.asked = 0
        self.told: list[Told] = []
        self.answers = threading.Event()
        self.answers.set()
        self.taken: Callable[[], None] = _nothing

    @property
    def got(self) -> list[dict[str, Any]]:
        """The bodies of what it accepted."""
        return [item.body for item in self.told]


def _nothing() -> None:
    """What is done after a message was taken and before that is said."""


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        hook = cast(Webhook, self.server)
        hook.asked += 1
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if hook.status == 200:
            hook.told.append(Told(body, self.headers["Idempotency-Key"],
                                  self.headers["X-Holdfast-Thread"]))
        hook.taken()
        hook.answers.wait()
        self.send_response(hook.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


class Mail(TCPServer):
    """Takes every mail, and keeps it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Mailbox)
        self.got: list[Message] = []


class _Mailbox(StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline():
            if line.upper().startswith(b"DATA"):
                self.wfile.write(b"354 go on\r\n")
                lines = iter(self.rfile.readline, b".\r\n")
                cast(Mail, self.server).got.append(message_from_bytes(b"".join(lines)))
            self.wfile.write(b"250 fine\r\n")


S = TypeVar("S", bound=TCPServer)


@contextmanager
def serving(server: S) -> Iterator[S]:
    """The server while it answers."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()

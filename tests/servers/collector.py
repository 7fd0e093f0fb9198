"""A collector of traces: the real protocol, OTLP over HTTP, spoken by a server on loopback."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True, slots=True)
class Received:
    """A span as it arrived; ids are hexadecimal, a root's parent is ''."""

    name: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, Any]
    resource: dict[str, Any]
    words: list[str]
    error: str


@dataclass(slots=True)
class Collector:
    """Where spans are sent, and what came."""

    address: str
    spans: list[Received] = field(default_factory=list)

    def named(self, name: str) -> list[Received]:
        return [span for span in self.spans if span.name == name]


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that is up meanwhile."""
    found = Collector("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            fine = self.path == "/v1/traces"
            if fine:
                found.spans += _decoded(ExportTraceServiceRequest.FromString(body))
            self.send_response(200 if fine else 404)
            self.send_header("Content-Type", "application/x-protobuf")
            self.end_headers()
            self.wfile.write(ExportTraceServiceResponse().SerializeToString())

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _decoded(request: ExportTraceServiceRequest) -> Iterator[Received]:
    for part in request.resource_spans:
        resource = _values(part.resource.attributes)
        for scope in part.scope_spans:
            for span in scope.spans:
                yield Received(span.name, span.trace_id.hex(), span.span_id.hex(),
                               span.parent_span_id.hex(), _values(span.attributes), resource,
                               [event.name for event in span.events], span.status.message)


def _values(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}

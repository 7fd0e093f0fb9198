"""Traces: spans of what a process does, sent by OpenTelemetry where that is asked for.

Off, nothing of OpenTelemetry is imported and a span is a comparison. On, the provider is one of
its own, so that MLflow's is left alone. A collector that is away costs spans, never a tick.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from monitor.errors import ConfigError
from monitor.secrets import redact

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Tracer

PATIENCE = 5
"""Seconds that one sending may take, and the last one at the end of a process."""

_tracer: Tracer | None = None


def start(endpoint: str, sample: float, *, part: str) -> Callable[[], None]:
    """Send spans to the collector at ``endpoint`` by OTLP over HTTP; what is returned ends it.

    ``part`` is who speaks: the daemon or a retrain. An empty endpoint is that of the environment.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise ConfigError([f"traces: {error.name} is not installed; right would be pip install "
                           "'holdfast[otel]'"]) from error
    address = f"{endpoint.rstrip('/')}/v1/traces" if endpoint else None
    return begin(OTLPSpanExporter(endpoint=address, timeout=PATIENCE), sample, part=part)


def begin(exporter: SpanExporter, sample: float = 1.0, *, part: str) -> Callable[[], None]:
    """Hand spans to ``exporter``, below the span that ``TRACEPARENT`` names."""
    from opentelemetry.context import attach, detach
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    global _tracer
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(sample)), shutdown_on_exit=False,
        resource=Resource.create({"service.name": "holdfast", "service.version":
                                  version("holdfast"), "holdfast.part": part}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    above = {key: os.environ[key.upper()] for key in ("traceparent", "tracestate")
             if key.upper() in os.environ}
    token = attach(TraceContextTextMapPropagator().extract(above))
    _tracer = provider.get_tracer("holdfast")

    def end() -> None:
        global _tracer
        _tracer = None
        detach(token)
        last = threading.Thread(target=provider.shutdown, name="traces", daemon=True)
        last.start()
        last.join(PATIENCE)

    return end


@contextmanager
def span(name: str, **told: str | int) -> Iterator[None]:
    """What happens inside is one span, with attributes ``holdfast.*``; an error is told of it."""
    if _tracer is None:
        yield
        return
    from opentelemetry.trace import Status, StatusCode

    attributes = {f"holdfast.{key}": redact(value) if isinstance(value, str) else value
                  for key, value in told.items()}
    with _tracer.start_as_current_span(name, attributes=attributes, record_exception=False,
                                       set_status_on_exception=False) as made:
        try:
            yield
        except BaseException as error:
            made.set_status(Status(StatusCode.ERROR, redact(f"{type(error).__name__}: {error}")))
            raise


def note(words: str) -> None:
    """Something that happened within the open span."""
    if _tracer is not None:
        from opentelemetry.trace import get_current_span

        get_current_span().add_event(redact(words))


def ids() -> dict[str, str]:
    """``trace_id`` and ``span_id`` of the open span; nothing where there is none."""
    if _tracer is None:
        return {}
    from opentelemetry.trace import format_span_id, format_trace_id, get_current_span

    here = get_current_span().get_span_context()
    return {"trace_id": format_trace_id(here.trace_id),
            "span_id": format_span_id(here.span_id)} if here.is_valid else {}


def environment() -> dict[str, str]:
    """What a child's environment needs so that its spans lie below the open one."""
    if _tracer is None:
        return {}
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return {key.upper(): value for key, value in carrier.items()}

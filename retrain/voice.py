"""Voice: how a child is heard, by its log lines, which carry the request's id, and its span."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from structlog.contextvars import bound_contextvars

from monitor import logs, traces
from monitor.config import Config
from monitor.request import Request


def early(form: str = "auto", level: str = "info") -> None:
    """Lines as they look before, or without, a configuration.

    A file beside the request is for people; whatever else is no terminal is read by programs.
    """
    try:
        file = stat.S_ISREG(os.fstat(sys.stderr.fileno()).st_mode)
    except (OSError, ValueError):
        file = False
    logs.begin("console" if form == "auto" and file else form, level)


def speaking(request: Request) -> AbstractContextManager[None]:
    """Every line within says which request it is about."""
    return bound_contextvars(request_id=request.request_id, model=request.model)


@contextmanager
def heard(config: Config, request: Request) -> Iterator[None]:
    """Lines and spans as the configuration says."""
    early(config.log.format, config.log.level)
    if config.traces is None:
        yield
        return
    end = traces.start(config.traces.endpoint, config.traces.sample, part="retrain")
    try:
        with traces.span("retrain", model=request.model, request_id=request.request_id,
                         kind=request.kind):
            yield
    finally:
        end()

"""Logs: what a process writes on standard error, as JSON for programs or in words for people.

One formatter serves structlog and the loggers of the standard library, so that lines of uvicorn,
apscheduler, alembic and MLflow look alike. Secrets are masked last, in every value of every line.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import threading
from types import TracebackType
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor

from monitor.secrets import redact
from monitor.traces import ids

EVENTS: dict[str, str] = {
    # the daemon
    "serving": "metrics and pages are up at `url`",
    "watching": "the daemon ticks for `models`",
    "standing by": "the daemon waits for the lease under `name`",
    "leading": "the daemon holds the lease, with the fencing `token`",
    "the lease is not known": "the API server does not tell who leads, for `reason`",
    "the lease is another's": "the daemon leads no more; `holder` does",
    "the lease was not given back": "another daemon waits until it runs out, for `reason`",
    "stopped": "the daemon ended; ticks of `given_up` were cut off and are repeated",
    "crashed": "the process ends, or a thread of it did, for `reason`: a bug of holdfast",
    "unexpected": "a command failed in a way that nobody foresaw: a bug of holdfast",
    # a tick
    "tick": "a tick went well within `seconds`",
    "tick failed": "a tick ended for `reason`; `where` is the kind of trouble; the next one "
                   "catches up",
    "well again": "the first tick that went well after trouble",
    "store is away": "nothing can be read or kept, for `reason`; the next tick catches up",
    "ticks are behind": "ticks of `models` were due again before they had ended or begun, told "
                        "once in `every` seconds; they catch up, and with a longer "
                        "`schedule.every` they would keep up",
    "the clock went back": "the machine's, from `told`; the schedule wakes by the new time",
    "conflict": "another writer was faster; the next tick reads again",
    # what is known and decided
    "counted": "`increments` of counts are kept, as known up to `until`",
    "verdict": "`verdict` on the `window` and `revision`, for `reason`",
    "decision": "`action` was decided for `reason`",
    "phase": "the model went from phase `before` to `after`, for `reason`",
    "adopted": "alias `champion` names another `version`, and its baseline judges from `at` on",
    # effects
    "request made": "a request of `kind` waits to be worked on, for `reason`",
    "request started": "somebody works on the request from now on; `attempt` counts",
    "request ended": "the request came to `status`, for `reason`",
    "alias moved": "an alias was moved `to` a version, or left where `result` says so",
    "decision refused": "the decision `action` was not carried out, for `reason`",
    "reported": "the report of the window is at `uri`",
    "no report": "no report could be made, for `reason`",
    "notified": "`messages` reached people",
    "not notified": "`messages` did not reach people, or none could be made, for `reason`; "
                    "they are tried again",
    "notifying failed": "the notification service broke with `error`",
    "upkeep": "of the model's old rows `merged` counts became days, and `thinned` and `dropped` "
              "verdicts lost their statistics or went",
    "upkeep failed": "old rows of the model, or of all, stay as they are for now, for `reason`",
    # the surface
    "metrics are old": "the store does not answer the exporter, for `reason`",
    "metrics are fresh": "it answers again",
    "refused": "a question over HTTP was answered by `status`, and `why`",
    "wrong credentials": "`client` showed credentials of a `kind` that open nothing",
    "not foreseen": "an answer broke with `error`: a bug of holdfast",
    "a secret cannot be read; the last one stands": "a file of credentials is broken, for `reason`",
    "the certificate cannot be read; the last one stands": "TLS goes on with the old one, for "
                                                           "`reason`",
    "another certificate serves": "the `certificate` was renewed",
    "ordered": "somebody (`by`) asked for `action` by page, API or webhook: `order`",
    "order ended": "the `order` came to `status`; `note` says more",
    # a retrain
    "step": "the child begins `step`, or says `more` of it: `words`",
    "rung broke": "a library broke in a `rung` of the ladder; the others are tried all the same",
    "child ended": "the child's process ends with `code`, and why",
    "child failed": "the work broke where nobody foresaw it: a bug of holdfast or of a trainer",
}
"""Every event that holdfast logs -> what it says. ``docs/logs.md`` is made of it."""

ROOT = "holdfast"
"""The logger that structlog writes to."""
TOLD = "apscheduler.scheduler"
"""The logger that would tell of each waking that is skipped; the daemon tells of all at once."""


def begin(form: str, level: str) -> None:
    """Write lines from ``level`` on as ``form``: json, console, or auto (console on a terminal).

    Other libraries are heard from warnings on, with ``debug`` from information on.
    """
    root, ours = logging.getLogger(), logging.getLogger(ROOT)
    for handler in [item for item in root.handlers if isinstance(item, Standard)]:
        root.removeHandler(handler)
    handler = Standard()
    handler.setFormatter(_formatter(form))
    root.addHandler(handler)
    root.setLevel(logging.INFO if level == "debug" else logging.WARNING)
    ours.setLevel(level.upper())
    logging.getLogger(TOLD).setLevel(logging.INFO if level == "debug" else logging.ERROR)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(ours.level),
        logger_factory=lambda *_: ours,
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter])


def watch() -> None:
    """Have warnings and what ends the process or a thread told as lines, too."""
    logging.captureWarnings(True)
    sys.excepthook = _crashed
    threading.excepthook = lambda args: _crashed(
        args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback)


class Standard(logging.StreamHandler[TextIO]):
    """Writes to whatever standard error is at that moment."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def _formatter(form: str) -> logging.Formatter:
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *_SHARED],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.format_exc_info, _masked,
                    _words(sys.stderr.isatty()) if console else _json])


def _words(colors: bool) -> Processor:
    """Lines for people; steps of a retrain stand as they always stood."""
    plain = structlog.dev.ConsoleRenderer(
        colors=colors, sort_keys=False, exception_formatter=structlog.dev.plain_traceback)

    def render(logger: Any, name: str, event: EventDict) -> str:
        if event.get("event") != "step":
            return str(plain(logger, name, event))
        head = f"[{event['step']}]"
        whose = f"  ({event['request_id']})" if "request_id" in event else ""
        return (f"{' ' * len(head) if event['more'] else head} {event['seconds']:5.1f} s  "
                f"{event['words']}{whose}")

    return render


def _json(logger: Any, name: str, event: EventDict) -> str:
    first = {key: event[key] for key in ("timestamp", "level", "event") if key in event}
    return json.dumps(first | dict(event), ensure_ascii=False, allow_nan=False)


def _traced(logger: Any, name: str, event: EventDict) -> EventDict:
    """The ids of the span that is open, where traces are on."""
    event.update(ids())
    return event


def _masked(logger: Any, name: str, event: EventDict) -> EventDict:
    return {redact(str(key)): _plain(value) for key, value in event.items()}


def _plain(value: Any) -> Any:
    """``value`` in JSON's types, without secrets."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, dict):
        return {redact(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    return redact(str(value))


def _crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, (KeyboardInterrupt, SystemExit)):
        return
    structlog.get_logger().error("crashed", reason=f"{kind.__name__}: {error}",
                                 exc_info=(kind, error, trace))


_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars, structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True), _traced]

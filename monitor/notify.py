"""Notify: decisions, and alarms where nobody else pages, -> one message each, as rows.

A message is a row under a key, written once however often it is found, and then the courier's.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from urllib.parse import quote

import structlog

from monitor.config import Model
from monitor.courier import addresses
from monitor.deployment import Notify
from monitor.deps import Deps
from monitor.errors import ConflictError, HoldfastError
from monitor.secrets import redact
from monitor.window import EPOCH, isoformat

log = structlog.get_logger()

FRESH = timedelta(days=1)
"""What is older when it is first seen is history and not told."""

Told = tuple[str, str, str, str]
"""Key, title, reason in words, and the version that it is about ('': none)."""


def notify(model: Model, deps: Deps, now: datetime) -> None:
    """Write down what is new of the model."""
    settings = deps.config.notify
    if settings is None:
        return
    try:
        _notify(model, deps, now, settings)
    except ConflictError:
        raise
    except HoldfastError as error:
        log.error("not notified", model=model.name, messages=[], reason=str(error))


def _notify(model: Model, deps: Deps, now: datetime, settings: Notify) -> None:
    places = len(addresses(settings))
    alarms = settings.page_by == "apprise"
    for key, title, reason, version in _news(model, deps, now, alarms=alarms):
        for place in range(places):
            deps.store.write_message(model.name, key, place, title=title,
                                     body=redact(reason + _links(model, deps, settings, version)))


def _news(model: Model, deps: Deps, now: datetime, *, alarms: bool) -> Iterator[Told]:
    """Everything of the last day that people are told of, whether it was told or not."""
    name, store = model.name, deps.store
    for row in store.requests(name, newest=20):
        told = row.outcome or {}
        if row.request.kind == "score" or row.finished is None or now - row.finished > FRESH:
            continue
        if row.status == "registered":
            next_ = ("waits for a person" if model.policy.promotion == "manual"
                     else "passed the gate and is promoted")
            version = str(told.get("version", ""))
            yield (row.request.request_id, f"{name}: version {version} {next_}",
                   f"{row.request.reason}. {told.get('reason', '')}", version)
        elif row.status == "failed":
            yield (row.request.request_id, f"{name}: the retrain failed",
                   str(told.get("reason", "")), "")
    seen: list[str] = []
    for item in store.adoptions(name):
        if item.version is None or seen[-1:] == [item.version]:
            continue
        if seen and now - item.at <= FRESH:
            back = item.version in seen
            yield (f"adoption {item.version} {isoformat(item.at)}",
                   f"{name}: {'rolled back to' if back else 'promoted'} version {item.version}",
                   f"Version {item.version} serves after version {seen[-1]}.", item.version)
        seen.append(item.version)
    if alarms:
        yield from _alarms(model, deps, now)


def _alarms(model: Model, deps: Deps, now: datetime) -> Iterator[Told]:
    """Episodes that opened, ended, or go on after they were kept quiet."""
    name, reach = model.name, FRESH + model.calendar.reach
    quiet = deps.store.snoozes().get(name)
    for episode in deps.store.episodes(name, newest=5):
        key, until = f"episode {isoformat(episode.opened)}", EPOCH
        if quiet is not None and quiet.episode == episode.name:
            until = quiet.until
        if now < until:
            continue
        if until > EPOCH and episode.closed is None:
            if now - until <= FRESH:
                yield (f"{key} after {isoformat(until)}", f"{name}: the alarm goes on",
                       episode.reason, "")
        elif now - episode.opened <= reach:
            yield key, f"{name}: alarm", episode.reason, ""
        if episode.closed is not None and now - episode.closed <= reach:
            yield (f"{key} closed", f"{name}: the alarm is over",
                   f"Since {isoformat(episode.opened)}: {episode.reason}", "")


def _links(model: Model, deps: Deps, settings: Notify, version: str) -> str:
    """Where to read on, one a line."""
    found = []
    if base := settings.page_url or deps.config.http.url:
        found.append(f"{base.rstrip('/')}/models/{model.name}")
    if deps.config.mlflow.tracking_uri.startswith("http"):
        found.append(f"{deps.config.mlflow.tracking_uri.rstrip('/')}/#/models/"
                     f"{quote(model.registered, safe='')}"
                     + (f"/versions/{quote(version, safe='')}" if version else ""))
    if settings.runbooks_url:
        found.append(settings.runbooks_url)
    return "".join(f"\n{item}" for item in found)

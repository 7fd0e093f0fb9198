"""Desk: takes orders of people, programs and webhooks, and says what pages show of them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from monitor.byhand import in_the_way
from monitor.clerk import AT_ONCE, do
from monitor.config import Config, Model
from monitor.credentials import Caller
from monitor.errors import RefusedError
from monitor.secrets import redact, redacted
from monitor.store import Order, Store
from monitor.window import isoformat

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants: the action, its arguments, and a key under which it is one order."""

    action: str
    arguments: dict[str, Any]
    by: str
    key: str = ""


def take(wish: Wish, model: Model, store: Store) -> Order:
    """The order, done where that needs the store alone; ``RefusedError`` where it cannot be taken.

    The same key again is the same order, whatever became of it.
    """
    key = f"{wish.by}:{wish.key}" if wish.key else uuid.uuid4().hex
    known = store.ordered_as(model.name, key)
    if known is not None and _essence(known.action, known.arguments) != _essence(
            wish.action, wish.arguments):
        raise RefusedError("this key stands for another order already; right would be a new one")
    if known is None:
        if wish.action == "retrain":
            _may_retrain(model, store)
        known, fresh = store.order(model.name, wish.action, wish.arguments, key=key, by=wish.by)
        if fresh:
            log.info("ordered", model=model.name, action=wish.action, by=wish.by, order=known.id)
    known = store.joined(known)
    if known.status == "asked" and known.action in AT_ONCE:
        do(known, model, store, datetime.now(UTC))
        known = store.ordered_as(model.name, key) or known
    return known


def _essence(action: str, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """What makes two orders the same; the open episode and what it joins do not."""
    return action, {name: value for name, value in arguments.items()
                    if name not in ("episode", "joins")}


def _may_retrain(model: Model, store: Store) -> None:
    """What the store and the settings know; the rest is looked at once it is done."""
    if model.training.kind == "none":
        raise RefusedError(f"{model.name}: training.kind is none, holdfast only monitors this "
                           "model")
    row = store.open_request(model.name)
    if row is not None and not row.request.purpose:
        raise RefusedError(in_the_way(model, store, ""))


def snoozed(model: Model, store: Store, seconds: float) -> dict[str, Any]:
    """The arguments that keep the open episode quiet for so long; ``RefusedError`` without one."""
    episode = store.recorded(model.name).state.episode
    if episode is None:
        raise RefusedError(f"{model.name}: no episode is open, so there is nothing to keep quiet")
    return {"episode": episode, "seconds": seconds}


def signature(caller: Caller) -> str:
    """Whose order it is, for the record."""
    return f"{caller.name} (token)" if caller.how == "token" else caller.name


def told(order: Order) -> dict[str, Any]:
    """The order for programs, secrets masked in what people wrote."""
    return {"order": order.id, "model": order.model, "action": order.action,
            "by": redact(order.by), "at": isoformat(order.at),
            "arguments": redacted(order.arguments), "status": order.status,
            "note": redact(order.note),
            "finished": isoformat(order.finished) if order.finished else None}


@dataclass(frozen=True, slots=True)
class Acts:
    """What a model's page says of acting: whether the reader may, and what was ordered."""

    may: bool
    login: bool
    caller: Caller | None
    snooze: Any
    episode: bool
    trains: bool
    orders: list[Order]


def acts(model: Model, store: Store, config: Config, caller: Caller | None) -> Acts | None:
    """The same; None where nobody may act at all."""
    if not config.http.acts:
        return None
    episode = store.recorded(model.name).state.episode
    return Acts(may=caller is not None and caller.may("act"),
                login=bool(config.http.users) and caller is None, caller=caller,
                snooze=store.snooze(model.name, episode, datetime.now(UTC)),
                episode=episode is not None, trains=model.training.kind != "none",
                orders=store.orders(model.name, newest=20))

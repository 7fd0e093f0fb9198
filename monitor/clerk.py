"""Clerk: orders -> what was ordered, once, by the functions that the commands use.

What only needs the store is done by the daemon that was asked. A retrain waits for the one that
leads: its next tick, which an order brings forward, writes the request.
"""

from __future__ import annotations

from datetime import datetime

import structlog

from monitor import decide, journal
from monitor.byhand import Saying, acknowledge, in_the_way, wanted
from monitor.config import Model
from monitor.deps import Deps
from monitor.errors import ConfigError, RefusedError
from monitor.follow import matured, move
from monitor.orders import snoozed_until
from monitor.state import Decision, ModelState
from monitor.store import Order, Store
from monitor.window import isoformat

log = structlog.get_logger()

Ended = tuple[str, str]
"""A status, and what is to be said of it."""
AT_ONCE = frozenset({"acknowledge", "snooze"})
"""Actions that need the store alone."""
LOOK = "look"
"""A tick ahead of schedule: by the time that orders are done, it has looked."""


def fill(model: Model, deps: Deps, now: datetime) -> None:
    """Do what was ordered of the model and was not done yet."""
    for order in deps.store.waiting_orders(model.name):
        deps.assure()
        if order.action in AT_ONCE:
            do(order, model, deps.store, now)
            continue
        try:
            if order.action == LOOK:
                if order.at <= now:  # a later one came after this tick had looked
                    _end(order, deps.store, ("done", "looked at MLflow's aliases"))
                continue
            if _scoring(model, deps.store):
                continue
            ended = _alerted(order, model, deps, now) if "alert" in order.arguments else (
                _retrain(order, model, deps))
        except (ConfigError, RefusedError) as error:
            ended = "refused", str(error)
        _end(order, deps.store, ended)


def _scoring(model: Model, store: Store) -> bool:
    """Whether a scoring of versions is open, which ends soon: orders of retrains wait for it."""
    row = store.open_request(model.name)
    return row is not None and bool(row.request.purpose)


def do(order: Order, model: Model, store: Store, now: datetime) -> Ended:
    """What became of an order that needs the store alone; once ended it stays so."""
    if order.status != "asked":
        return order.status, order.note
    try:
        note = (_acknowledge if order.action == "acknowledge" else _snooze)(
            order, model, store, now)
        ended = "done", note
    except (ConfigError, RefusedError) as error:
        ended = "refused", str(error)
    _end(order, store, ended)
    return ended


def _end(order: Order, store: Store, ended: Ended) -> None:
    status, note = ended
    if store.settle_order(order.id, status, note):
        log.info("order ended", model=order.model, action=order.action, by=order.by, status=status,
                 note=note, order=order.id)


def _acknowledge(order: Order, model: Model, store: Store, now: datetime) -> str:
    arguments = order.arguments
    told = acknowledge(model, store, Saying(
        arguments["window"], arguments["as"], arguments["rebaseline"], arguments["note"]), now)
    return (f"{told['start']} to {told['end']}: {told['as']}"
            f"{', the reference starts anew' if told['rebaseline'] else ''}"
            f"{'' if told['news'] else ' (said before)'}; {told['follows']}")


def _snooze(order: Order, model: Model, store: Store, now: datetime) -> str:
    """Snoozing is the order's row itself, once it is done."""
    if store.recorded(model.name).state.episode != order.arguments["episode"]:
        raise RefusedError(f"{model.name}: the episode is over, so there is nothing to keep quiet")
    until = snoozed_until(order)
    return f"quiet until {isoformat(until)}" if until > now else "quiet no more"


def _retrain(order: Order, model: Model, deps: Deps) -> Ended:
    """The request is written, as by hand."""
    request = wanted(model, deps, reason=f"{order.arguments['reason']} (asked for by {order.by})",
                     bootstrap=order.arguments["bootstrap"], now=order.at)
    for row in deps.store.requests(model.name, newest=20):  # by what it asks: ids had other forms
        if (row.request.kind, row.request.known_at) == (request.kind, request.known_at):
            return "done", f"request {row.request.request_id}"
    if not deps.store.request(request, None):
        raise RefusedError(in_the_way(
            model, deps.store, "another request of this model is open; wait for it"))
    journal.requested(request)
    return "done", f"request {request.request_id}"


def _alerted(order: Order, model: Model, deps: Deps, now: datetime) -> Ended:
    """The state asks for a retrain, as after a verdict, where the policy lets it."""
    reason = f"alert {order.arguments['alert']}: {order.arguments['reason']}"
    labelled, refusals = matured(model, deps.store, now), []

    def fold(state: ModelState) -> tuple[ModelState, Decision] | ModelState:
        step = decide.alerted(state, reason, labelled, now, model=model)
        if isinstance(step, str):
            refusals.append(step)
            return state
        return step

    if move(model, deps.store, now, reason, fold):
        return "done", "a retrain is asked for"
    return "refused", f"no retrain: {refusals[-1]}"

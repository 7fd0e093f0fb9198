"""Actions: what people and programs may do to a model by page and by API. Each is an order.

Nothing acts on GET. Who asks was looked at by the guard; pages work without JavaScript, and every
form bears a key, so that pressing twice is pressing once.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Header, HTTPException, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from monitor import replies
from monitor.api import ERRORS, named
from monitor.byhand import acknowledged, stretch
from monitor.config import Config, Model
from monitor.desk import Wish, signature, snoozed, take, told
from monitor.errors import ConfigError, RefusedError
from monitor.fields import Duration, Words
from monitor.pages import Pages
from monitor.secrets import redacted
from monitor.store import Order, Store

KEY = re.compile(r"[A-Za-z0-9._-]{1,100}")
WINDOWS = 60
"""Newest windows that a form offers."""
LONGEST = timedelta(days=30)
"""How long an episode may be kept quiet with one word."""
CHOICES = {"1h": "an hour", "4h": "four hours", "1d": "a day", "3d": "three days", "7d": "a week",
           "0s": "no longer: let it be heard again"}
Text = Annotated[Words, Field(max_length=500)]


class _Wanted(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Retrain(_Wanted):
    """A candidate, asked for by hand."""

    reason: Text = "by hand"
    """Why, for the record."""
    bootstrap: bool = False
    """Train and register a first champion from the reference period."""


class Snooze(_Wanted):
    """Quiet for the alarms of the open episode; judging goes on."""

    for_: Duration = Field(alias="for", ge=timedelta(0), le=LONGEST)
    """How long from now on, such as `4h` or `3d`; `0s` ends it."""


class Acknowledge(_Wanted):
    """What is said of a window."""

    window: Annotated[str, Field(max_length=100)]
    """The window that starts at or holds a time, or a stretch FROM/TO."""
    as_: Literal["fault", "expected", "undone"] = Field(alias="as")
    """Broken data that teaches nothing, a change that is as it should be, or neither any more."""
    rebaseline: bool = False
    """With `expected`: the reference of the inputs starts anew there."""
    note: Text = ""
    """Why, for the record."""


DONE = "It was ordered before, under the same key, and is done"
REFUSED: dict[int | str, dict[str, Any]] = {
    409: {"model": replies.Order | replies.Problem, "description": "It cannot be done now"}}
WAITS: dict[int | str, dict[str, Any]] = {
    202: {"model": replies.Order, "description": "The daemon that leads does it within seconds"}}
"""Answers to orders, as declared beside the errors of every route."""
BY_HAND = Retrain()
Asked = Retrain | Snooze | Acknowledge
Key = Annotated[str | None, Header(alias="Idempotency-Key", pattern=KEY.pattern, max_length=100)]


def programs(store: Store, config: Config) -> APIRouter:
    """What programs may do, by JSON; a key in `Idempotency-Key` makes asking again harmless."""
    router = APIRouter(prefix="/api/models/{name}", responses=ERRORS, tags=["acting"])

    def ordered(name: str, asked: Asked, request: Request, key: str | None) -> Response:
        try:
            order = _order(asked, named(config, name), store, key or "",
                           signature(request.state.caller))
        except (ConfigError, RefusedError) as error:
            return JSONResponse(redacted({"error": _words(error)}), 409)
        return JSONResponse(told(order), {"asked": 202, "done": 200}.get(
            order.status, 409))

    @router.post("/retrain", status_code=202, response_model=replies.Order,
                 responses=REFUSED | {200: {"model": replies.Order, "description": DONE}})
    def retrain(name: str, request: Request, key: Key = None,
                asked: Annotated[Retrain, Body()] = BY_HAND) -> Response:
        """Ask for a candidate; the daemon that leads does it within seconds."""
        return ordered(name, asked, request, key)

    @router.post("/snooze", response_model=replies.Order, responses=REFUSED | WAITS)
    def snooze(name: str, request: Request, asked: Annotated[Snooze, Body()], key: Key = None
               ) -> Response:
        """Keep the alarms of the open episode quiet for a while."""
        return ordered(name, asked, request, key)

    @router.post("/acknowledge", response_model=replies.Order, responses=REFUSED | WAITS)
    def acknowledge(name: str, request: Request, asked: Annotated[Acknowledge, Body()],
                    key: Key = None) -> Response:
        """Say that a window is a fault, or was expected."""
        return ordered(name, asked, request, key)

    @router.get("/orders", response_model=list[replies.Order])
    def orders(name: str) -> Response:
        """What was ordered of the model, newest first, at most 100."""
        model = named(config, name)
        return JSONResponse([told(item) for item in store.orders(model.name, 100)])
    return router


def _order(asked: Asked, model: Model, store: Store, key: str, by: str) -> Order:
    if isinstance(asked, Snooze):
        wish = "snooze", snoozed(model, store, asked.for_.total_seconds())
    elif isinstance(asked, Acknowledge):
        stretch(model, asked.window)  # in words, before it is a row
        wish = "acknowledge", asked.model_dump(by_alias=True)
    else:
        wish = "retrain", asked.model_dump()
    return take(Wish(*wish, by, key), model, store)


@dataclass(frozen=True, slots=True)
class Form:
    """A page that asks before it acts: its words, and the button's."""

    title: str
    lead: str
    button: str
    said: str = ""


FORMS = {
    "retrain": Form(
        "Retrain", "A candidate is trained on the newest matured rows and held against the "
        "champion. It changes nothing by itself: what passes the gate waits for its promotion.",
        "Train a candidate"),
    "snooze": Form(
        "Snooze", "Alarms of the open episode stay quiet, for Alertmanager and in messages. "
        "Windows are judged as before, and an episode that opens later is heard.", "Snooze"),
    "fault": Form(
        "Mark as fault", "The window's data was broken: it teaches nothing. Its rows leave "
        "training and the reference, and an episode that it opened is closed.", "Mark as fault",
        "fault"),
    "expected": Form(
        "Mark as expected", "What was found in the window is as it should be: its drift and "
        "faults count no more, nor the same faults again.", "Mark as expected", "expected"),
    "rebaseline": Form(
        "Mark as expected and re-baseline", "What was found is as it should be from now on: the "
        "reference of the inputs starts anew with this window. While it is gathered, drift is "
        "not judged.", "Start the reference anew", "expected"),
    "undo": Form(
        "Take back", "What was said of a window counts no more: it is judged as it was found.",
        "Take it back", "undone"),
}
"""Action of a page -> its words; the command line says the same."""


def forms(pages: Pages, store: Store, config: Config) -> APIRouter:
    """The pages that ask before they act."""
    router = APIRouter(prefix="/actions/{name}/{action}", include_in_schema=False)

    def page(request: Request, model: Model, action: str, *, status: int = 200, mistake: str = ""
             ) -> Response:
        given = request.state.form
        return pages.render(
            "action.html", status, forms=True, name=model.name, action=action,
            form=FORMS[action], mistake=mistake, given=given, choices=CHOICES,
            csrf=request.state.csrf, caller=request.state.caller,
            key=uuid.uuid4().hex, windows=_windows(model, store, action),
            chosen=given.get("window") or request.query_params.get("window", ""),
            champion=store.recorded(model.name).state.champion)

    @router.get("")
    def show(name: str, action: str, request: Request) -> Response:
        return page(request, named(config, name), _known(action))

    @router.post("")
    def do(name: str, action: str, request: Request) -> Response:
        model, given = named(config, name), request.state.form
        try:
            key = given.get("key", "")
            if not KEY.fullmatch(key):
                raise RefusedError("the form has no key; open the page anew")
            order = _order(_filled(_known(action), given), model, store, key,
                           signature(request.state.caller))
        except (ConfigError, RefusedError, ValueError) as error:
            return page(request, model, action, status=422, mistake=_words(error))
        if order.status == "refused":
            return page(request, model, action, status=409, mistake=order.note)
        return RedirectResponse(f"/models/{model.name}#orders", 303)
    return router


def _known(action: str) -> str:
    if action not in FORMS:
        raise HTTPException(404, "There is no such action.")
    return action


def _filled(action: str, given: dict[str, str]) -> Asked:
    """What a form asks for; pydantic's ``ValueError`` where it does not fit."""
    if action == "retrain":
        return Retrain(reason=given.get("note") or "by hand",
                       bootstrap=given.get("bootstrap") == "yes")
    if action == "snooze":
        return Snooze.model_validate({"for": given.get("for", "")})
    return Acknowledge.model_validate({
        "window": given.get("window", ""), "as": FORMS[action].said,
        "rebaseline": action == "rebaseline", "note": given.get("note", "")})


def _windows(model: Model, store: Store, action: str) -> list[dict[str, Any]]:
    """Windows that a form offers, newest first: those that are no longer as promised stand out."""
    if action == "undo":
        return [{"where": f"{row['start']}/{row['end']}", "start": row["start"],
                 "end": row["end"], "verdict": row["as"]}
                for row in reversed(acknowledged(model.name, store, datetime.now(UTC)))]
    if not FORMS[action].said:
        return []
    rows = store.verdicts(model.name, segment="", newest=WINDOWS, latest_revision=True)
    return [{"where": f"{row.line['start']}/{row.line['end']}", "start": row.line["start"],
             "end": row.line["end"], "verdict": row.line["verdict"]} for row in reversed(rows)]


def _words(error: Exception) -> str:
    if isinstance(error, (ConfigError, RefusedError)):
        return str(error).removeprefix("--")
    return "A field is missing, too long or not understood."

"""Pages: what people read, rendered from the templates. Nothing here changes anything.

Pages need no JavaScript and load nothing from anywhere. Every value is escaped, and
secrets are masked on the way out. Reports are files that Evidently wrote: they run in a
sandbox without this page's origin and without a network.
"""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from monitor import contours, fleet
from monitor.api import DEEPEST, Offset, Text, named
from monitor.badge import badge
from monitor.bars import SHOWN, drawn
from monitor.config import Config, Model
from monitor.desk import acts
from monitor.need import LEVELS, Level
from monitor.page import TONES, WORDS, Card, card, cards, instant, limit, number, past
from monitor.runbook import runbooks
from monitor.secrets import redact, redacted
from monitor.state import Phase
from monitor.store import Report, Store
from monitor.timeline import timeline

TEMPLATES = Path(__file__).parent / "templates"

SANDBOX = ("sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; "
           "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; base-uri 'none'; "
           "form-action 'none'; frame-ancestors 'self'")
"""What a report may do: run its own plots, and nothing else."""
PART = 50
"""Models that the front page shows at a time."""
FEW = 12
"""Configured models up to which each has a whole card, even where nobody is needed."""
ASKED = ("phase", "needs", "text", "offset")
"""What the address of the front page may ask for."""
WRONG = "The address is not right"
_TAG = re.compile(r"(<[^>]*>)")
"""A tag; a ``>`` in what it was given is escaped."""
BADGE_SECONDS = 60
"""How long a badge may be shown without asking again."""


class Back(str):
    """What a form sends back for programs, such as its token: with a mask in it none would do."""

    __slots__ = ()


class Pages:
    """Renders the templates, with the headers that keep the pages harmless."""

    def __init__(self, refusal: Callable[[], str] = str) -> None:
        """``refusal`` tells why nothing new is kept, if so; every page says it."""
        self._environment = Environment(
            loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined,
            finalize=_finished, trim_blocks=True, lstrip_blocks=True)
        style = self._environment.get_template("style.css").render()
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        self.policy = (f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
                       "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
        self._environment.globals |= {"tones": TONES, "refusal": refusal}
        self._environment.filters |= {"instant": instant, "number": number, "limit": limit,
                                      "back": Back}

    def render(self, name: str, /, status: int = 200, *, forms: bool = False,
               frames: bool = False, **values: Any) -> HTMLResponse:
        """The page; one with ``forms`` may send them here, one with ``frames`` show pages from
        here, and of nowhere else."""
        body = self._environment.get_template(name).render(now=time.time(), **values)
        policy = self.policy.replace("form-action 'none'", "form-action 'self'", int(forms))
        policy += "; frame-src 'self'" * frames
        return HTMLResponse(body, status, {"Content-Security-Policy": policy})

    def problem(self, status: int, title: str, words: str) -> HTMLResponse:
        return self.render("problem.html", status, title=title, words=words)


def people(pages: Pages, store: Store, config: Config) -> APIRouter:
    """What people read."""
    router = APIRouter(include_in_schema=False)

    @router.get("/", response_class=HTMLResponse)
    def front(request: Request, phase: Phase | Literal[""] = "", needs: Level | Literal[""] = "",
              text: Text = "", offset: Offset = 0) -> Response:
        if strange := sorted(set(request.query_params) - set(ASKED)):
            return pages.problem(422, WRONG, f"{', '.join(strange)[:200]}: unknown here; right "
                                             f"would be {', '.join(ASKED)}")
        asked = fleet.Filter(phase, needs, text)
        return pages.render("status.html", forms=True, **_front(store, config, asked, offset))

    @router.get("/models/{name}", response_class=HTMLResponse)
    def model(name: str, request: Request) -> Response:
        configured = named(config, name)
        made = card(store, config, configured, trouble=store.troubles().get(name),
                    tick=store.ticks().get(name), untended=store.failing().get(name))
        return pages.render(
            "model.html", card=made, past=past(store, name), line=timeline(store, name),
            acts=acts(configured, store, config, request.state.caller),
            **_columns(store, configured, made))

    _badges(router, store, config)
    _reports(router, pages, store)
    _runbooks(router, pages)
    return router


def _reports(router: APIRouter, pages: Pages, store: Store) -> None:
    """Reports in a frame, which leads back and can be scrolled on a phone, and as they are."""

    def found(report_id: int) -> Report:
        made = store.report(report_id)
        if made is None:
            raise HTTPException(404, f"There is no report {report_id}.")
        if not Path(made.path).is_file():
            raise HTTPException(404, f"The file of report {report_id} is gone; MLflow keeps a copy "
                                     f"at {made.uri}.")
        return made

    @router.get("/reports/{report_id}", response_class=HTMLResponse)
    def report(report_id: int) -> Response:
        made = found(report_id)
        row = store.verdict(made.verdict_id)
        return pages.render("report.html", frames=True, report=made, line=row.line if row else None)

    @router.get("/reports/{report_id}/whole", response_class=FileResponse)
    def whole(report_id: int) -> Response:
        return FileResponse(found(report_id).path, media_type="text/html; charset=utf-8",
                            headers={"Content-Security-Policy": SANDBOX,
                                     "X-Frame-Options": "SAMEORIGIN"})


def _runbooks(router: APIRouter, pages: Pages) -> None:
    """What to do about an alert; rules link here, with or without the ending of the file."""

    @router.get("/runbooks", response_class=HTMLResponse)
    def books() -> Response:
        return pages.render("runbook.html", book=None, books=runbooks())

    @router.get("/runbooks/{alert}", response_class=HTMLResponse)
    def book(alert: str) -> Response:
        found = runbooks().get(alert.removesuffix(".md"))
        if found is None:
            raise HTTPException(404, f"There is no runbook called {alert}.")
        return pages.render("runbook.html", books={}, book={
            "alert": found.alert, "body": Markup(found.body)})  # noqa: S704 - no HTML in them


def _badges(router: APIRouter, store: Store, config: Config) -> None:
    """Phases as pictures; other sites may show them where reading is public."""
    public = "read" in config.http.public
    headers = {"Cache-Control": f"{'public' if public else 'private'}, max-age={BADGE_SECONDS}",
               "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
               "Cross-Origin-Resource-Policy": "cross-origin" if public else "same-origin"}

    @router.get("/badge/{name}.svg", response_class=Response)
    def picture(name: str) -> Response:
        words, _, tone = WORDS[store.recorded(named(config, name).name).state.phase]
        return Response(badge(redact(name), words.lower(), tone), media_type="image/svg+xml",
                        headers=headers)


def _front(store: Store, config: Config, asked: fleet.Filter, skip: int) -> dict[str, Any]:
    """A part of the fleet: whole cards, and rows for what needs nobody where there are many."""
    made = fleet.entries(store, config)
    kept = [item for item in made if asked.keeps(item)]
    shown = kept[skip : skip + PART]
    whole = [item.model for item in shown if len(made) <= FEW or item.need.level != "none"]
    counts = Counter(WORDS[item.recorded.state.phase][0].lower() for item in made)
    query = {"phase": asked.phase, "needs": asked.level, "text": asked.text}

    def part(offset: int) -> str:
        return "/?" + urlencode({key: value for key, value in query.items() if value}
                                | {"offset": offset})

    return {"shown": shown, "cards": {item.name: item for item in cards(store, config, whole)},
            "counts": counts.most_common(), "total": len(made), "found": len(kept), "skip": skip,
            "asked": asked, "phases": WORDS, "levels": LEVELS,
            "before": part(max(0, skip - PART)) if skip else None,
            "after": part(skip + PART) if skip + PART < min(len(kept), DEEPEST + 1) else None}


def _columns(store: Store, model: Model, made: Card) -> dict[str, Any]:
    """The columns of the newest verdict beside their reference, and how many more there are."""
    line = made.newest.line if made.newest else None
    found = contours.ranked(line) if line else []
    shown = contours.contours(store, model, line, found[:SHOWN]) if line and found else []
    return {"features": drawn(shown), "more": max(0, len(found) - SHOWN),
            "weighed": any(item.importance is not None for item in found)}


def _finished(value: Any) -> Any:
    """``value`` as it goes into a page: every secret in its texts replaced.

    Of what is HTML already the tags stay: a secret may read ``true``, and what a tag was given went
    through here before.
    """
    if isinstance(value, Back):
        return value
    if not isinstance(value, Markup):
        return redacted(value)
    parts = _TAG.split(str(value))
    return Markup("".join(  # noqa: S704 - it was safe before it was masked
        part if place % 2 else redact(part) for place, part in enumerate(parts)))

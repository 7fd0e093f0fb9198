"""Entrance: where people log in and out."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from monitor.access import Access, cookie_name, cookie_named, set_cookie
from monitor.pages import Pages

INSIDE = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*")
"""A place of this site alone."""
DOOR = 600.0
"""Seconds that a form for logging in is good for."""


def entrance(pages: Pages, access: Access) -> APIRouter:
    """Logging in and out, where the configuration knows users."""
    router = APIRouter(include_in_schema=False)

    def door(request: Request, status: int = 200, mistake: str = "") -> Response:
        """The form, with a token that is bound to a cookie of its own: nobody else logs one in."""
        number, secure = secrets.token_urlsafe(16), request.url.scheme == "https"
        answer = pages.render(
            "login.html", status, forms=True, caller=request.state.caller, mistake=mistake,
            csrf=request.state.csrf or access.sessions.form(f"door {number}"),
            door=access.sessions.form(f"door {number}"), next=_inside(request),
            known=request.state.form.get("name", "")[:64])
        answer.headers.append("Set-Cookie", set_cookie(
            number, name=f"{cookie_name(secure)}-door", secure=secure, seconds=DOOR))
        return answer

    @router.get("/login")
    def show(request: Request) -> Response:
        return door(request)

    @router.post("/login")
    async def login(request: Request) -> Response:
        given, secure = request.state.form, request.url.scheme == "https"
        number = cookie_named(request.headers.get("cookie", ""), f"{cookie_name(secure)}-door")
        if not number or not access.sessions.formed(f"door {number}", given.get("door", "")):
            return door(request, 403, "The form was too old. Please try once more.")
        if access.failures.wait(request.state.client):
            return door(request, 429, "Too many wrong passwords. Come again in a minute.")
        caller = await access.password(given.get("name", ""), given.get("password", ""),
                                       request.state.client)
        if caller is None:
            return door(request, 403, "No user of that name has that password.")
        answer = RedirectResponse(_inside(request), 303)
        answer.headers.append("Set-Cookie", set_cookie(
            access.sessions.begin(caller.name), name=cookie_name(secure), secure=secure,
            seconds=access.sessions.life))
        return answer

    @router.post("/logout")
    def logout(request: Request) -> Response:
        secure = request.url.scheme == "https"
        access.sessions.end(cookie_named(request.headers.get("cookie", ""), cookie_name(secure)))
        answer = RedirectResponse("/login", 303)
        answer.headers.append("Set-Cookie", set_cookie(
            "", name=cookie_name(secure), secure=secure, seconds=0))
        return answer
    return router


def _inside(request: Request) -> str:
    """Where to go on: a place here, or the front page."""
    read: Callable[[str, str], str] = request.state.form.get
    wanted = read("next", request.query_params.get("next", "/"))
    return wanted if INSIDE.fullmatch(wanted) else "/"

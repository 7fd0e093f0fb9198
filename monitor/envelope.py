"""Envelope: what goes with a message so that a service folds doubles and keeps a thread.

Apprise has no such field common to all; where a service has one, its URL names it. What the URL
says already is left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlsplit


@dataclass(frozen=True, slots=True)
class Envelope:
    """``key`` is the message's own, the same however often it is sent; ``thread`` that of the
    episode that it belongs to; ``incident`` is what a pager opens and closes by."""

    key: str
    thread: str
    incident: str


def _mail(envelope: Envelope) -> dict[str, str]:
    root = f"<{envelope.thread}@holdfast>"
    return {"+In-Reply-To": root, "+References": root, "+X-Holdfast-Key": envelope.key}


def _webhook(envelope: Envelope) -> dict[str, str]:
    return {"+Idempotency-Key": envelope.key, "+X-Holdfast-Thread": envelope.thread}


def _incident(envelope: Envelope) -> dict[str, str]:
    return {"dedup": envelope.incident}


def _alias(envelope: Envelope) -> dict[str, str]:
    return {"alias": envelope.incident}


def _post(envelope: Envelope) -> dict[str, str]:
    return {"key": envelope.key}


def _room(envelope: Envelope) -> dict[str, str]:
    return {"thread": envelope.thread}


MARKS: dict[str, Callable[[Envelope], dict[str, str]]] = {
    **dict.fromkeys(("mailto", "mailtos"), _mail),
    **dict.fromkeys(("json", "jsons", "xml", "xmls", "form", "forms"), _webhook),
    **dict.fromkeys(("pagerduty", "goalert", "goalerts", "firehydrant", "ilert", "squadcast",
                     "opsimate", "opsimates"), _incident),
    **dict.fromkeys(("opsgenie", "jira"), _alias),
    **dict.fromkeys(("mastodon", "mastodons", "toot", "toots"), _post),
    "gchat": _room,
}
"""Scheme of an Apprise URL -> the parameters that its service reads."""


def addressed(url: str, envelope: Envelope) -> str:
    """The URL with the envelope's marks; as it is where its service has none."""
    scheme, _, rest = url.partition("://")
    mark = MARKS.get(scheme.lower())
    marks = {} if mark is None else mark(envelope)
    parts = urlsplit(f"x://{rest}")
    if scheme.lower() == "gchat" and parts.path.strip("/").count("/") > 1:
        return url  # the thread is in the path
    said = {name.lower() for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    more = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}"
                    for name, value in marks.items() if name.lower() not in said)
    if not more:
        return url
    return f"{url}{'&' if '?' in url else '?'}{more}"

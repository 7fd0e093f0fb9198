"""Courier: messages that wait -> services, by Apprise, which only it imports.

A message is marked once its service took it, so a crash between the two sends it again under the
same key: at least once, never lost. No tick waits for a service, and none for another for longer
than ``notify.timeout``; one that failed is left alone for a while. A failure is a count.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any

import structlog

from monitor.deployment import Notify
from monitor.deps import Deps
from monitor.envelope import Envelope, addressed
from monitor.errors import ConfigError, HoldfastError
from monitor.hours import within
from monitor.messages import Message
from monitor.secrets import known, resolve
from monitor.window import isoformat

log = structlog.get_logger()

PAUSE, PAUSES = timedelta(minutes=1), timedelta(minutes=30)
"""How long a service that failed is left alone: doubled with every failure, up to the second."""
TRIES = 10
"""After so many failures what belongs to a message lets the others of its service pass."""

LOOK = 0.02
"""Seconds for which one thread is looked at before the next."""
LAST = 2.0
"""Seconds for what is on its way once the daemon is told to stop."""

Batch = list[Message]


@dataclass(frozen=True, slots=True)
class Sending:
    """Messages on their way, on a thread of their own; ``took`` is filled when it is known."""

    batch: Batch
    took: list[bool]
    thread: threading.Thread
    since: float


class Courier:
    """Sends what waits, to every address side by side; one per daemon."""

    def __init__(self, deps: Deps, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._deps = deps
        self._clock = clock
        self._late: dict[int, Sending] = {}
        self._rests: dict[int, tuple[float, timedelta]] = {}
        self._said = ""

    def deliver(self, now: datetime, *, go: Callable[[], bool] = lambda: True) -> None:
        """Send what waits unless hours are quiet, while ``go``; trouble is told, once."""
        settings = self._deps.config.notify
        if settings is None:
            return
        said = ""
        try:
            urls = addresses(settings)
            self._late_answers()
            if not urls:
                said = "there is no address"
            elif settings.quiet is None or not within(settings.quiet, settings.quiet_zone, now):
                self._deliver(urls, settings, go)
        except HoldfastError as error:
            said = str(error)
        if said not in ("", self._said):
            log.error("not notified", messages=[], reason=said)
        self._said = said

    def _deliver(self, urls: list[str], settings: Notify, go: Callable[[], bool]) -> None:
        """The next message of every address side by side, until all are through or left alone."""
        queues = self._queues(urls, digest=settings.digest)
        patience = settings.timeout.total_seconds()
        begun: dict[int, Sending] = {}
        while queues or begun:
            for place in [item for item in queues if item not in begun and go()]:
                self._deps.assure()
                begun[place] = self._begin(urls[place], queues[place].pop(0))
            if not go():
                patience = min(patience, LAST)
                queues.clear()
            for place, sending in list(begun.items()):
                sending.thread.join(LOOK)
                if sending.thread.is_alive() and time.monotonic() - sending.since < patience:
                    continue
                del begun[place]
                if not self._ended(place, sending) or not queues.get(place):
                    queues.pop(place, None)

    def _queues(self, urls: list[str], *, digest: bool) -> dict[int, list[Batch]]:
        """What each address that is not left alone is to be sent, in order."""
        names = {model.name for model in self._deps.config.models}
        waiting = [item for item in self._deps.store.unsent() if item.model in names]
        queues = {}
        for place in range(len(urls)):
            if self._clock() < self._rests.get(place, (0.0, PAUSE))[0]:
                continue
            mine = ordered([item for item in waiting if item.place == place])
            if digest:
                mine.sort(key=lambda item: item.model)
                queues[place] = [list(some) for _, some in groupby(mine, lambda item: item.model)]
            else:
                queues[place] = [[item] for item in mine]
        return {place: queue for place, queue in queues.items() if queue}

    def _begin(self, url: str, batch: Batch) -> Sending:
        service = _service(addressed(url, self._envelope(batch)))
        title, body = _text(batch)
        took: list[bool] = []

        def send() -> None:
            with _told():
                took.append(service is not None and bool(
                    service.notify(body=body, title=title, notify_type=_kind(batch),
                                   body_format="text")))

        thread = threading.Thread(target=send, name="notify", daemon=True)
        thread.start()
        return Sending(batch, took, thread, time.monotonic())

    def _ended(self, place: int, sending: Sending) -> bool:
        """Whether the service took it in time; otherwise the service is left alone for a while."""
        ids, model = [item.id for item in sending.batch], sending.batch[0].model
        if sending.took == [True]:
            self._rests.pop(place, None)
            self._deps.store.message_sent(ids, datetime.now(UTC))
            log.info("notified", model=model, messages=ids)
            return True
        pause = self._rests.get(place, (0.0, PAUSE))[1]
        self._rests[place] = (self._clock() + pause.total_seconds(), min(pause * 2, PAUSES))
        self._late.pop(place, None)
        reason = "the service did not take them"
        if sending.thread.is_alive():
            self._late[place] = sending
            reason = "the service did not answer in time"
        self._deps.store.message_failed(ids)
        log.warning("not notified", model=model, messages=ids, reason=reason)
        return False

    def _late_answers(self) -> None:
        """What a service took after its time was over is not sent to it again."""
        for place, sending in list(self._late.items()):
            if not sending.thread.is_alive():
                del self._late[place]
            if sending.took == [True]:
                self._rests.pop(place, None)
                ids = [item.id for item in sending.batch]
                self._deps.store.message_sent(ids, datetime.now(UTC))
                log.info("notified", model=sending.batch[0].model, messages=ids)

    def _envelope(self, batch: Batch) -> Envelope:
        """The same for the same messages, whichever process sends them."""
        store, first = self._deps.store, batch[0]
        home = store.deployment()
        alarm = _episode(first.key)
        about = alarm
        if alarm is None:
            about = next((isoformat(item.opened) for item in store.episodes(first.model, newest=20)
                          if item.opened <= first.created
                          and (item.closed is None or first.created <= item.closed)), None)
        key = _digest(home, first.model, *(item.key for item in batch))
        thread = key if about is None else _digest(home, first.model, f"episode {about}")
        return Envelope(key, thread, key if alarm is None else thread)


def addresses(settings: Notify) -> list[str]:
    """The secret addresses, one a line; known to redaction from here on."""
    where, place = ("urls_env", f"${{env:{settings.urls_env}}}") if settings.urls_env else (
        "urls_file", f"${{file:{settings.urls_file}}}")
    wrong: list[str] = []
    text: str = resolve(place, Path("/"), wrong, f"notify.{where}")
    if wrong:
        raise ConfigError(wrong)
    return known(text.split())


def mistakes(settings: Notify) -> Iterator[str]:
    """Addresses that nothing can be sent to, by their place: their text is a secret."""
    try:
        import apprise  # an extra
    except ImportError:
        yield "notify: needs pip install 'holdfast[notify]'"
        return
    logging.getLogger("apprise").disabled = True  # its words may hold the address
    try:
        urls = addresses(settings)
    except ConfigError as error:
        yield from error.mistakes
        return
    if not urls:
        yield "notify: no address is given; right would be Apprise URLs, one a line"
    for number, url in enumerate(urls, start=1):
        if apprise.Apprise.instantiate(url) is None:
            scheme, found, _ = url.partition("://")
            yield (f"notify: Apprise cannot read address {number}"
                   + (f", of {scheme}://" if found and scheme.isalnum() else "")
                   + "; right would be a URL as its page of the service says")


def ordered(waiting: Batch) -> Batch:
    """Oldest first; what a service refuses again and again lets the others pass, together with
    what is told of the same episode, whose end is never told before its begin."""
    worst: dict[tuple[str, str], int] = {}
    for item in waiting:
        group = _group(item)
        worst[group] = max(worst.get(group, 0), item.failures)
    return sorted(waiting, key=lambda item: (worst[_group(item)] >= TRIES, item.id))


def _service(url: str) -> Any | None:
    """What sends to this address; loading its code takes a while, which is no fault of it."""
    with _told():
        import apprise  # an extra

        logging.getLogger("apprise").disabled = True  # its words may hold the address
        # no limit of its own: its threads would outlive the daemon's end
        service = apprise.Apprise(asset=apprise.AppriseAsset(service_timeout=0))
        if service.add(url):
            return service
    return None


@contextmanager
def _told() -> Iterator[None]:
    """Another's code: whatever it raises is told by name, without its words."""
    try:
        yield
    except Exception as error:
        log.error("notifying failed", error=type(error).__name__)


def _group(item: Message) -> tuple[str, str]:
    return item.model, _episode(item.key) or item.key


def _episode(key: str) -> str | None:
    """When the episode opened that the message's key names."""
    kind, _, rest = key.partition(" ")
    return rest.split(" ")[0] if kind == "episode" else None


def _kind(batch: Batch) -> str:
    """How Apprise calls it; services that close incidents do so at ``success``."""
    key = batch[-1].key
    if len(batch) > 1 or _episode(key) is None:
        return "info"
    return "success" if key.endswith(" closed") else "warning"


def _digest(*parts: str) -> str:
    return sha256("\n".join(parts).encode()).hexdigest()[:32]


def _text(batch: Batch) -> tuple[str, str]:
    if len(batch) == 1:
        return batch[0].title, batch[0].body
    return (f"{batch[0].model}: {len(batch)} messages",
            "\n\n".join(f"{item.title}\n{item.body}" for item in batch))

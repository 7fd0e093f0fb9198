"""Daemon: the scheduler, which only wakes, and ``tick``, the table of contents of the system."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import FrameType

import structlog
from apscheduler.events import EVENT_JOB_MAX_INSTANCES, JobSubmissionEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from structlog.contextvars import bound_contextvars

from monitor.act import act
from monitor.clerk import fill
from monitor.cluster import Cluster
from monitor.config import Model
from monitor.courier import Courier
from monitor.deployment import TEND
from monitor.deps import Deps
from monitor.errors import ConflictError, HoldfastError, LostError
from monitor.follow import follow
from monitor.lease import Elector
from monitor.notify import notify
from monitor.secrets import redact
from monitor.traces import span
from monitor.upkeep import due, upkeep
from monitor.watch import watch
from monitor.window import isoformat

log = structlog.get_logger()

WORKERS = 2
"""Models that are looked at at the same time."""
GRACE = timedelta(seconds=5)
"""How long a running tick may take to end once the daemon is told to stop."""
HANDOVER = timedelta(seconds=18)
"""How long children may take to hand back their work, beside the running tick."""
AFTER = timedelta(seconds=2)
"""The same for those that a running tick has started after that."""
LOOK = timedelta(seconds=0.5)
"""How often the main thread looks whether it was told to stop."""
STANDBY = timedelta(seconds=0.1)
"""The same for a daemon that stands by."""
HEED = timedelta(seconds=2)
"""How often the store is asked whether something was ordered ..."""
AGAIN = timedelta(seconds=10)
"""... and how often a model is woken for what could not be done yet."""
DELIVER = timedelta(seconds=10)
"""How often messages that wait are sent."""
WATCH = timedelta(seconds=20)
"""How often it is asked whether work that runs elsewhere, or died, has ended."""
UPKEEP, COURIER, ENDS = "/upkeep", "/courier", "/ends"
"""What those are called among the jobs; no model is."""
BACK = timedelta(seconds=5)
"""How far the clock may go back without it being news: wakings are that late then."""
LAST = timedelta(seconds=23)
"""When the process ends whatever hangs: what a tick leaves undone, the next start does."""


def tick(model: Model, deps: Deps, now: datetime) -> None:
    """Everything holdfast does for one model: follow the world, judge the log, do what was ordered,
    act."""
    with deps.source(model) as source:
        with span("follow", model=model.name):
            follow(model, source, deps, now)
        with span("watch", model=model.name):
            watch(model, source, deps.store, now)
        with span("act", model=model.name):
            fill(model, deps, now)
            act(model, deps, now)


def attend(model: Model, deps: Deps, now: datetime) -> bool:
    """Whether the tick went well; its trouble becomes the model's state, never another's."""
    with bound_contextvars(model=model.name, tick=isoformat(now)):
        try:
            return _attended(model, deps, now)
        except ConflictError as error:
            log.info("conflict", model=model.name, reason=str(error))
            return True
        except HoldfastError as error:  # the store is away: it keeps neither tick nor trouble
            log.error("store is away", model=model.name, reason=str(error))
            return False


def _attended(model: Model, deps: Deps, now: datetime) -> bool:
    started = time.monotonic()
    try:
        deps.assure()
        with span("tick", model=model.name):
            tick(model, deps, now)
    except ConflictError:
        raise
    except Exception as error:  # the one broad catch: law 4
        _troubled(model, deps, now, error, seconds=time.monotonic() - started)
        return False
    if deps.store.untroubled(model.name):
        log.info("well again", model=model.name)
    seconds = time.monotonic() - started
    deps.store.ticked(model.name, now, seconds, True)
    log.debug("tick", model=model.name, seconds=round(seconds, 3))
    notify(model, deps, now)
    return True


def _troubled(model: Model, deps: Deps, now: datetime, error: Exception, *, seconds: float
              ) -> None:
    """Say what ended the tick, and keep it as the model's state where the store can."""
    known = isinstance(error, HoldfastError)
    message = redact(str(error) if known else f"{type(error).__name__}: {error}")
    log.error("tick failed", model=model.name, where=type(error).__name__, reason=message,
              exc_info=error if not known else None)
    deps.store.trouble(model.name, now, type(error).__name__, message)
    deps.store.ticked(model.name, now, seconds, False)


def candidate(deps: Deps) -> Elector | None:
    """Who asks for the lease; None where the configuration knows one daemon only."""
    leader = deps.config.leader
    if leader is None:
        return None
    return Elector(leader, Cluster(leader.namespace), deps.store)


def held(deps: Deps, elector: Elector | None) -> Deps:
    """The same parts for one who acts only while it leads."""
    if elector is None:
        return deps
    return replace(deps, store=deps.store.fenced(lambda: elector.token),
                   assure=lambda: elector.token)


class Daemon:
    """Wakes every model on schedule until it is told to stop."""

    def __init__(self, deps: Deps, elector: Elector | None = None) -> None:
        self._deps = deps
        self._elector = elector
        self._stopping = False
        self._busy: set[str] = set()
        self._heeded = 0.0
        self._woken: dict[str, float] = {}
        self._done: set[str] = set()
        self._behind: set[str] = set()
        self._said = -1e9
        self._seen = datetime.now(UTC)
        self._courier = Courier(deps)
        self._scheduler = BackgroundScheduler(
            timezone=UTC, executors={"default": ThreadPoolExecutor(WORKERS),
                                     UPKEEP: ThreadPoolExecutor(1),
                                     ENDS: ThreadPoolExecutor(1),
                                     COURIER: ThreadPoolExecutor(2)},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1})
        self._scheduler.add_listener(self._skipped, EVENT_JOB_MAX_INSTANCES)

    def run(self) -> bool:
        """Wake until SIGTERM or SIGINT; then running ticks end and requests are handed back.

        Of several daemons the one that holds the lease wakes, and ends once it is lost: as
        ``HoldfastError``, so that it is started again and stands by. False where a tick did not
        end in time: it may be cut off, the next one does the rest.
        """
        threading.Thread(target=self._last, name="holdfast-last", daemon=True).start()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._told)
        if self._elector is not None:
            self._elector.start()
            log.info("standing by", name=self._elector.name)
        while not self._stopping and not self._leads():
            time.sleep(STANDBY.total_seconds())
        if not self._stopping:
            self._schedule()
        while not self._stopping and self._leads():  # a signal is seen on waking
            time.sleep(LOOK.total_seconds())
            self._heed()
            self._look_at_the_clock()
            self._look_behind()
        return self._end()

    def _leads(self) -> bool:
        return self._elector is None or self._elector.leads()

    def _schedule(self) -> None:
        schedule = self._deps.config.schedule
        for model in self._deps.config.models:
            self._scheduler.add_job(
                self._wake, "interval", args=[model], id=model.name,
                seconds=schedule.every.total_seconds(), next_run_time=datetime.now(UTC),
                jitter=int(schedule.jitter.total_seconds()) or None)
        self._scheduler.add_job(self._tend, "interval", id=UPKEEP, executor=UPKEEP,
                                seconds=TEND.total_seconds())
        if self._deps.launcher is not None:
            self._scheduler.add_job(self._watch, "interval", id=ENDS, executor=ENDS,
                                    seconds=WATCH.total_seconds())
        if self._deps.config.notify is not None:
            self._scheduler.add_job(self._post, "interval", id=COURIER, executor=COURIER,
                                    seconds=DELIVER.total_seconds(), max_instances=2)
        self._scheduler.start()
        log.info("watching", models=[model.name for model in self._deps.config.models])

    def _heed(self) -> None:
        """Wake the models that something was ordered of, or whose candidate is there, ahead of
        schedule."""
        now = time.monotonic()
        if now - self._heeded < HEED.total_seconds():
            return
        self._heeded = now
        try:
            ordered = self._deps.store.ordered()
        except HoldfastError:
            return  # the ticks say so
        if self._deps.launcher is not None:
            self._done |= self._deps.launcher.done()
        for model in self._deps.config.models:
            name, since = model.name, now - self._woken.get(model.name, -1e9)
            if name in (ordered | self._done) - self._busy and since >= AGAIN.total_seconds():
                self._woken[name] = now
                self._done.discard(name)
                self._scheduler.modify_job(name, next_run_time=datetime.now(UTC))

    def _look_at_the_clock(self) -> None:
        """Wake all jobs where the clock went back: the next wakings lie at the time that it told
        before, which may be far away."""
        now = datetime.now(UTC)
        if now < self._seen - BACK:
            log.warning("the clock went back", told=isoformat(self._seen), at=isoformat(now))
            for job in self._scheduler.get_jobs():
                job.modify(next_run_time=now)
        self._seen = now

    def _skipped(self, event: JobSubmissionEvent) -> None:
        """A job was due while it waits or runs; of models it is told, all else may last."""
        if not event.job_id.startswith("/"):
            self._behind.add(event.job_id)

    def _look_behind(self) -> None:
        """Tell that ticks last longer than the schedule has them follow each other, once for all
        models and once an interval: the next one catches up."""
        every = self._deps.config.schedule.every.total_seconds()
        if self._behind and time.monotonic() - self._said >= every:
            behind, self._behind, self._said = self._behind, set(), time.monotonic()
            log.warning("ticks are behind", models=sorted(behind), every=every)

    def _end(self) -> bool:
        """See to what runs, in time, and give the lease away."""
        lost = not self._stopping
        self._stopping = True
        deadline = time.monotonic() + GRACE.total_seconds()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        self._hand_back(AFTER if lost else HANDOVER)
        while self._busy and time.monotonic() < deadline:
            time.sleep(0.05)
        self._hand_back(AFTER)  # what the running ticks have started meanwhile
        if self._elector is not None:
            self._elector.release()
        log.info("stopped", at=isoformat(datetime.now(UTC)), given_up=sorted(self._busy))
        if lost:
            raise LostError("the lease is lost: another daemon may act now; this one is to be "
                            "started again, and then stands by")
        return not self._busy

    def _hand_back(self, grace: timedelta) -> None:
        if self._deps.launcher is not None:
            self._deps.launcher.stop(grace)

    def _wake(self, model: Model) -> None:
        if not self._may():
            return
        self._busy.add(model.name)
        try:
            attend(model, self._deps, datetime.now(UTC))
        finally:
            self._busy.discard(model.name)

    def _tend(self) -> None:
        """See to old rows that are due, while this daemon leads."""
        deps, now = self._deps, datetime.now(UTC)
        self._busy.add(UPKEEP)
        try:
            upkeep(due(deps.config, deps.store, now), deps.config, deps.store, now, go=self._may)
        except HoldfastError as error:  # the store is away
            log.error("upkeep failed", reason=str(error))
        finally:
            self._busy.discard(UPKEEP)

    def _watch(self) -> None:
        """Note the models whose work has ended untold, while this daemon leads."""
        if self._deps.launcher is not None and self._may():
            self._done |= self._deps.launcher.over()

    def _post(self) -> None:
        """Send the messages that wait, while this daemon leads."""
        if COURIER in self._busy or not self._may():  # at most two of this are started
            return
        self._busy.add(COURIER)
        try:
            self._courier.deliver(datetime.now(UTC), go=self._may)
        finally:
            self._busy.discard(COURIER)

    def _may(self) -> bool:
        return not self._stopping and self._leads()

    def _told(self, number: int, frame: FrameType | None) -> None:
        """Only a flag: this interrupts the main thread anywhere, and a lock that it takes may be
        one that the main thread holds, be it an event's or that of starting a thread."""
        self._stopping = True

    def _last(self) -> None:
        """See to it that nothing that hangs keeps the process beyond ``LAST``."""
        while not self._stopping:
            time.sleep(LOOK.total_seconds())
        time.sleep(LAST.total_seconds())
        os._exit(0)

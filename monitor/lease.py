"""Lease: which of several daemons acts, by a Lease of the coordination.k8s.io API.

The holder renews within two thirds of the Lease's duration, counted on its own monotonic clock
from before it asked, or else leads no more; others wait for a whole duration since they last saw
a change. So clocks need not agree, and an API server that hangs leaves nobody in charge, not two.
The count of ``leaseTransitions`` is the fencing token: it grows with every holder, and the store
refuses what bears an older one.
"""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from monitor.cluster import Cluster, Refused
from monitor.deployment import Leader
from monitor.errors import ConflictError, HoldfastError
from monitor.store import Store

log = structlog.get_logger()

KEPT = 2 / 3
"""Share of the duration that the holder acts for without an answer."""
ASKS = 8
"""How often within a duration the API server is asked."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The Lease as another holds it, and when (monotonic) it was first seen so."""

    mark: tuple[Any, ...]
    at: float


class Elector:
    """Asks for the Lease until it is held, and then holds it until told to stop or until lost."""

    def __init__(self, leader: Leader, cluster: Cluster, store: Store, *,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.name = f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
        self._lease = leader.lease
        self._duration = leader.duration.total_seconds()
        self._cluster, self._store, self._clock = cluster, store, clock
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{cluster.namespace}/leases"
        self._until = -1.0
        self._token = 0
        self._seen: Seen | None = None
        self._ended = False
        self._stop = threading.Event()
        self._one = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def token(self) -> int:
        """The fencing token; ``ConflictError`` where this process does not lead."""
        if not self.leads():
            raise ConflictError(f"this daemon ({self.name}) does not lead: another one may act")
        return self._token

    def leads(self) -> bool:
        """Whether this process may act now."""
        return not self._ended and self._clock() < self._until

    def lost(self) -> bool:
        """Whether this process led and may not act any more."""
        return self._until >= 0 and not self.leads()

    def start(self) -> None:
        """Ask in the background."""
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Lead no more, and leave the Lease without a holder so that another takes it at once."""
        self._ended = True
        self._stop.set()
        if not self._one.acquire(timeout=self._duration / ASKS):
            return
        try:
            found = self._read()
            if found is not None and found["spec"].get("holderIdentity") == self.name:
                self._replace(found, "", found["spec"].get("leaseTransitions", 0))
        except HoldfastError as error:
            log.warning("the lease was not given back", lease=self._lease, reason=str(error))
        finally:
            self._one.release()

    def _run(self) -> None:
        said = ""
        while not self._stop.is_set() and not self.lost():
            try:
                with self._one:
                    self.step()
                said = ""
            except HoldfastError as error:
                if str(error) != said:
                    log.warning("the lease is not known", lease=self._lease, reason=str(error))
                said = str(error)
            except Exception as error:  # the thread must not die silently: a standby would wait on
                log.error("the lease is not known", lease=self._lease, reason=str(error),
                          exc_info=True)
            self._stop.wait(self._duration / ASKS)

    def step(self) -> None:
        """Look at the Lease once: renew it, take it, or wait."""
        if self._ended or self.lost():
            return
        began = self._clock()
        found = self._read()
        if found is None:
            self._take(None, began)
            return
        spec = found["spec"]
        if spec.get("holderIdentity") == self.name:
            self._hold(self._replace(found, self.name, spec.get("leaseTransitions", 0)), began)
            return
        if self.leads():
            self._ended = True
            log.error("the lease is another's", lease=self._lease,
                      holder=spec.get("holderIdentity"))
            return
        mark = (spec.get("holderIdentity"), spec.get("renewTime"), spec.get("leaseTransitions"),
                found["metadata"].get("resourceVersion"))
        if self._seen is None or self._seen.mark != mark:
            self._seen = Seen(mark, self._clock())
        patience = float(spec.get("leaseDurationSeconds") or self._duration)
        if not spec.get("holderIdentity") or self._clock() - self._seen.at >= patience:
            self._take(found, began)

    def _take(self, found: dict[str, Any] | None, began: float) -> None:
        """Become the holder, with a token above every earlier one; somebody else may be faster."""
        old = 0 if found is None else int(found["spec"].get("leaseTransitions") or 0)
        token = max(old, self._store.claimed()) + 1  # a Lease that was deleted counts from 0 again
        try:
            if found is None:
                made = self._call("POST", self._path, self._document({}, self.name, token))
            else:
                made = self._replace(found, self.name, token)
        except Refused as error:
            if error.status == 409:
                return
            raise
        self._hold(made, began)

    def _hold(self, made: dict[str, Any], began: float) -> None:
        """Lead from now on, once the store knows the token."""
        token, fresh = int(made["spec"]["leaseTransitions"]), self._until < 0
        if (fresh or token != self._token) and not self._store.claim(token, self.name):
            raise HoldfastError(f"the store knows a token above {token}, that of the lease; right "
                                "would be one lease for all daemons of a store")
        self._token = token
        self._until = began + KEPT * self._duration
        if fresh:
            log.info("leading", lease=self._lease, name=self.name, token=token)

    def _read(self) -> dict[str, Any] | None:
        return self._cluster.find(f"{self._path}/{self._lease}", seconds=self._duration / ASKS)

    def _replace(self, found: dict[str, Any], holder: str, token: int) -> dict[str, Any]:
        return self._call("PUT", f"{self._path}/{self._lease}",
                          self._document(found, holder, token))

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._cluster.call(method, path, body, seconds=self._duration / ASKS)

    def _document(self, found: dict[str, Any], holder: str, token: int) -> dict[str, Any]:
        """The Lease to write: that of ``found`` with its resourceVersion, held by ``holder``."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = dict(found.get("spec", {}))
        if holder and spec.get("holderIdentity") != holder:
            spec["acquireTime"] = now
        spec |= {"holderIdentity": holder, "renewTime": now, "leaseTransitions": token,
                 "leaseDurationSeconds": max(1, -int(-self._duration // 1)) if holder else 1}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": found.get("metadata") or {"name": self._lease,
                                                      "namespace": self._cluster.namespace},
                "spec": spec}

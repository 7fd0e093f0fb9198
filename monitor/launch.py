"""Launch: a request becomes a child process, and how that process fares.

The outcome of a request comes back through MLflow (``Registry.outcome``); a launcher only knows
whether somebody works on it. A Kubernetes Job (``jobs``) or a Ray job is another ``Launcher``.
"""

from __future__ import annotations

import fcntl
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from monitor import traces
from monitor.errors import HoldfastError
from monitor.request import Request, model_of
from monitor.secrets import redact

AGAIN = timedelta(minutes=1)
"""After how long a child that died is started again, at the first time; each later time it takes
ten times as long, so that what is away has time to come back."""
GRACE = timedelta(seconds=20)
"""How long a child may take to hand back its work when it is told to stop."""


class Launcher(Protocol):
    """Starts requests somewhere; all methods may be called again at any time."""

    def start(self, request: Request) -> None:
        """See to it that somebody works on the request; one that runs is left alone."""

    def running(self, request_id: str) -> bool:
        """Whether somebody works on the request now."""

    def failures(self, request_id: str) -> int:
        """How often work on the request ended while this launcher looked on."""

    def ended(self, request_id: str) -> str:
        """Why nobody will work on the request again; '' where it may be started once more."""

    def done(self) -> set[str]:
        """Models whose work came to an outcome since this was last asked, where that costs nothing
        to know."""

    def over(self) -> set[str]:
        """Models whose work ended otherwise since this was last asked: asked once in a while, as it
        may cost a question to somebody else for each that runs."""

    def stop(self, grace: timedelta = GRACE) -> None:
        """Ask all that run to hand back their work, and end those that do not."""


OUTCOME = (0, 42)
"""What a child ends with whose outcome is recorded."""


@dataclass
class LocalProcess:
    """Runs ``python -m retrain REQUEST.json`` in a folder per request below ``folder``.

    The folder holds the request, the child's log and its checkpoints; a child that was killed
    goes on from them when the request is started again. That a child works is known by the
    lock it holds on ``lock``, also after this process was replaced by another.
    """

    folder: Path
    command: tuple[str, ...] = (sys.executable, "-m", "retrain")
    _children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _ended: Counter[str] = field(default_factory=Counter)
    _whose: dict[str, str] = field(default_factory=dict)
    _died: dict[str, float] = field(default_factory=dict)
    _others: set[str] = field(default_factory=set)
    """Requests that another daemon's child was seen to work on."""

    def start(self, request: Request) -> None:
        """Start the child unless one works on this request; ``HoldfastError`` if it cannot."""
        if self.running(request.request_id):
            return
        self.failures(request.request_id)
        folder = self.place(request.request_id)
        self._whose[request.request_id] = request.model
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path = _write(folder / "request.json", request.to_json())
            with (folder / "log.txt").open("ab") as log, (folder / "lock").open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.set_inheritable(lock.fileno(), True)
                self._children[request.request_id] = subprocess.Popen(  # noqa: S603 - our own
                    [*self.command, str(path)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    start_new_session=True, pass_fds=(lock.fileno(),), env=_environment())
        except BlockingIOError:
            return
        except OSError as error:
            raise HoldfastError(f"the retraining of {request.model!r} cannot be started in "
                                f"{folder}: {error}; right would be a folder that can be "
                                "written to and enough memory") from error

    def running(self, request_id: str) -> bool:
        """Whether a child holds the request's lock."""
        child = self._children.get(request_id)
        if child is not None and child.poll() is None:
            return True
        held = _held(self.place(request_id) / "lock")
        if held:
            self._others.add(request_id)
        return held

    def failures(self, request_id: str) -> int:
        """How often a child of this launcher ended; one that died with its daemon is not told."""
        child = self._children.get(request_id)
        if child is not None and child.poll() is not None:
            self._children.pop(request_id, None)  # as it may have ended well meanwhile
            self._died.pop(request_id, None)
            self._ended[request_id] += 1
        return self._ended[request_id]

    def ended(self, request_id: str) -> str:
        """Nothing: a child that died is started again and goes on."""
        return ""

    def done(self) -> set[str]:
        """Models whose child ended with an outcome."""
        over = [name for name, child in list(self._children.items()) if child.poll() in OUTCOME]
        for name in over:
            self._children.pop(name, None)
        return {self._whose.pop(name) for name in over}

    def over(self) -> set[str]:
        """Models whose child died ``AGAIN`` ago, and those that another daemon's child worked for,
        however that ended."""
        now, found = time.monotonic(), set[str]()
        for name, child in list(self._children.items()):
            if child.poll() is None or child.poll() in OUTCOME:
                continue
            since = self._died.setdefault(name, now)
            wait = AGAIN.total_seconds() * 10 ** self._ended[name]
            if since != math.inf and now - since >= wait:
                self._died[name] = math.inf  # told once; the tick takes it from here
                found.add(self._whose[name])
        for name in tuple(self._others):  # a tick beside this may add to them
            if not _held(self.place(name) / "lock"):
                self._others.discard(name)
                found |= _asked_of(self.place(name))
        return found

    def stop(self, grace: timedelta = GRACE) -> None:
        """Tell this launcher's children to hand back; kill those that still run after ``grace``."""
        alive = [child for child in list(self._children.values()) if child.poll() is None]
        for child in alive:
            _signal(child, signal.SIGTERM)
        deadline = time.monotonic() + grace.total_seconds()
        for child in alive:
            with suppress(subprocess.TimeoutExpired):
                child.wait(max(0.0, deadline - time.monotonic()))
        for child in alive:
            _signal(child, signal.SIGKILL)
            child.wait()
        self._children.clear()

    def place(self, request_id: str) -> Path:
        """The folder of a request."""
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:+-]{0,199}", request_id):
            raise HoldfastError(f"request_id: {request_id!r}; right would be letters, digits and "
                                "any of _ . : + -")
        return self.folder / request_id

    def log(self, request_id: str, lines: int = 20) -> str:
        """The last lines that the child wrote, without secrets; '' when there are none."""
        try:
            text = (self.place(request_id) / "log.txt").read_text("utf-8", errors="replace")
        except OSError:
            return ""
        return redact("\n".join(text.splitlines()[-lines:]))


def _environment() -> dict[str, str]:
    """The child's environment: this one's, with imports from where this package lies."""
    here = str(Path(__file__).resolve().parents[1])
    paths = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
    return (os.environ | {"PYTHONPATH": os.pathsep.join(paths), "DO_NOT_TRACK": "1"}
            | traces.environment())


def _write(path: Path, text: str) -> Path:
    """Write a file so that it is there as a whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    return path


def _held(lock: Path) -> bool:
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _asked_of(folder: Path) -> set[str]:
    """The model of the request in this folder; none where it cannot be read."""
    with suppress(OSError):
        return {model_of((folder / "request.json").read_text("utf-8"))} - {""}
    return set()


def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)

"""The launcher with real child processes."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitor.config import Config, Log, Model
from monitor.daemon import Daemon
from monitor.deps import Deps
from monitor.errors import HoldfastError
from monitor.launch import LocalProcess
from monitor.registry import Registry
from monitor.request import Request
from monitor.store import Store
from monitor.window import parse_time

REQUEST = Request("r1", "train", "electricity", "holdfast.yaml", parse_time("1997-06-01"))
CHILD = """
import os, pathlib, signal, sys, time
place = pathlib.Path(sys.argv[1]).parent
with open(place / "pids", "a") as file:
    file.write(f"{os.getpid()}\\n")
def hand_back(*_):
    (place / "handed-back").touch()
    sys.exit(75)
signal.signal(signal.SIGTERM, hand_back if MILD else signal.SIG_IGN)
print("password is postgresql://me:hunter22@db/x", flush=True)
(place / "ready").touch()
time.sleep(60)
"""


def child(mild: bool) -> tuple[str, ...]:
    return (sys.executable, "-c", CHILD.replace("MILD", str(mild)))


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[LocalProcess]:
    launcher = LocalProcess(tmp_path, child(mild=True))
    yield launcher
    launcher.stop(timedelta(0))


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ready(launcher: LocalProcess) -> None:
    until((launcher.place("r1") / "ready").exists)


def pids(launcher: LocalProcess) -> list[int]:
    return [int(line) for line in (launcher.place("r1") / "pids").read_text().split()]


def test_a_request_reaches_the_child_as_a_file(launcher: LocalProcess) -> None:
    launcher.start(REQUEST)
    ready(launcher)
    assert launcher.running("r1")
    assert Request.from_json((launcher.place("r1") / "request.json").read_text()) == REQUEST


def test_starting_twice_starts_once(launcher: LocalProcess) -> None:
    launcher.start(REQUEST)
    ready(launcher)
    launcher.start(REQUEST)
    LocalProcess(launcher.folder, launcher.command).start(REQUEST)
    assert len(pids(launcher)) == 1


def test_another_daemon_sees_that_the_child_runs(launcher: LocalProcess) -> None:
    other = LocalProcess(launcher.folder, launcher.command)
    assert not other.running("r1")
    launcher.start(REQUEST)
    ready(launcher)
    assert other.running("r1")


def test_a_killed_child_is_started_again(launcher: LocalProcess) -> None:
    launcher.start(REQUEST)
    ready(launcher)
    os.kill(pids(launcher)[0], signal.SIGKILL)
    until(lambda: not launcher.running("r1"))
    launcher.start(REQUEST)
    until(lambda: len(pids(launcher)) == 2)
    assert launcher.running("r1")


def test_a_child_that_died_is_told_by_the_launcher_that_saw_it(launcher: LocalProcess) -> None:
    launcher.start(REQUEST)
    ready(launcher)
    assert launcher.failures("r1") == 0
    os.kill(pids(launcher)[0], signal.SIGKILL)
    until(lambda: not launcher.running("r1"))
    assert launcher.failures("r1") == 1
    assert LocalProcess(launcher.folder, launcher.command).failures("r1") == 0


@pytest.mark.parametrize(("code", "done"), [(0, {"electricity"}), (42, {"electricity"}),
                                            (75, set()), (2, set())])
def test_a_model_is_woken_once_its_candidate_is_there(tmp_path: Path, code: int, done: set[str]
                                                      ) -> None:
    """Ahead of schedule; a child that has to be started again waits for the next tick."""
    launcher = LocalProcess(tmp_path, (sys.executable, "-c", f"raise SystemExit({code})"))
    config = Config(models=[Model(name="electricity", log=Log(source="log.csv", timestamp="at"))])
    later = datetime.now(UTC) + timedelta(hours=1)
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as store:
        daemon = Daemon(Deps(config, "holdfast.yaml", store, Registry(config.mlflow), launcher,
                             None))
        daemon._scheduler.start(paused=True)
        job = daemon._scheduler.add_job(print, "interval", hours=1, id="electricity",
                                        next_run_time=later)
        launcher.start(REQUEST)
        until(lambda: not launcher.running("r1"))
        daemon._heed()
        daemon._scheduler.shutdown(wait=False)
        assert (job.next_run_time < later) == bool(done)
        assert launcher.done() == set()
        assert launcher.failures("r1") == (not done)


def test_a_child_that_died_is_told_after_a_while_and_once(
        launcher: LocalProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tick that follows starts it again; the second time that takes ten times as long."""
    monkeypatch.setattr("monitor.launch.AGAIN", timedelta(seconds=0.2))
    launcher.start(REQUEST)
    ready(launcher)
    assert launcher.over() == set()
    os.kill(pids(launcher)[0], signal.SIGKILL)
    until(lambda: not launcher.running("r1"))
    assert launcher.over() == set(), "what is away has time to come back"
    told: list[set[str]] = []
    until(lambda: told.append(launcher.over()) or told[-1] != set())
    assert (told[-1], launcher.over()) == ({"electricity"}, set())
    launcher.start(REQUEST)
    assert launcher.failures("r1") == 1
    until(lambda: len(pids(launcher)) == 2)
    os.kill(pids(launcher)[1], signal.SIGKILL)
    until(lambda: not launcher.running("r1"))
    launcher.over()
    time.sleep(0.4)
    assert launcher.over() == set()


def test_the_end_of_another_daemons_child_is_told(launcher: LocalProcess) -> None:
    launcher.start(REQUEST)
    ready(launcher)
    other = LocalProcess(launcher.folder, launcher.command)
    assert other.over() == set()
    assert other.running("r1")
    assert other.over() == set()
    os.kill(pids(launcher)[0], signal.SIGKILL)
    until(lambda: not launcher.running("r1"))
    assert (other.over(), other.over()) == ({"electricity"}, set())


def test_a_tick_may_see_a_child_while_others_are_looked_at(
        launcher: LocalProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    launcher._others.update(f"r{place}" for place in range(5))
    monkeypatch.setattr("monitor.launch._held",
                        lambda lock: launcher._others.add(f"{lock}") or True)
    assert launcher.over() == set()


def test_stop_lets_the_child_hand_back(launcher: LocalProcess) -> None:
    launcher.start(REQUEST)
    ready(launcher)
    launcher.stop()
    assert (launcher.place("r1") / "handed-back").exists()
    assert not launcher.running("r1")


def test_a_child_that_ignores_the_request_to_stop_is_killed(tmp_path: Path) -> None:
    launcher = LocalProcess(tmp_path, child(mild=False))
    launcher.start(REQUEST)
    ready(launcher)
    launcher.stop(timedelta(milliseconds=100))
    assert not launcher.running("r1")


def test_the_log_of_a_child_shows_no_password(launcher: LocalProcess) -> None:
    launcher.start(REQUEST)
    ready(launcher)
    assert launcher.log("r1") == "password is postgresql://me:***@db/x"


def test_a_request_id_is_never_a_path(launcher: LocalProcess) -> None:
    with pytest.raises(HoldfastError, match="request_id"):
        launcher.running("../../etc")

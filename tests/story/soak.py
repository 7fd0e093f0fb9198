"""Kill the loop at random moments, and compare what it leaves behind with an undisturbed life.

    python -m tests.story.soak [--kills 50] [--seed 0] [--folder FOLDER]

The life (``tests.story.life``) runs in a process of its own. SIGKILL hits that process and all of
its children at once, or (one time in three) the process alone while a retrain goes on; then it is
started again. A life that ends before all kills are spent is followed by another one.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.data import ROOT
from tests.story.life import doubled, live, settle_in, told

SHORT, LONG = (0.3, 8.0), (8.0, 60.0)
"""Seconds between two kills: most catch a start or a tick, one in four leaves more time."""


@dataclass(slots=True)
class Toll:
    """How many kills there were, and of what."""

    everybody: int = 0
    daemon: int = 0
    retrains: int = 0
    """Kills that hit a child at work."""
    lives: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        return self.everybody + self.daemon


def main() -> int:
    """0: all lives were equal; 1: they were not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="keep everything here (default: nowhere)")
    parser.add_argument("--live", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.live:
        live(given.live)
        return 0
    adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="holdfast-soak-") as scratch:
        folder = given.folder or Path(scratch)
        return soak(folder, given.kills, random.Random(given.seed))


def soak(folder: Path, kills: int, luck: random.Random) -> int:
    """Live once undisturbed and then, killed again and again, as often as the kills last."""
    began = time.monotonic()
    settle_in(folder / "undisturbed")
    while_alive(folder / "undisturbed")
    expected = told(folder / "undisturbed")
    say(began, "undisturbed life ended")
    toll = Toll()
    while toll.kills < kills and not toll.wrong:
        toll.lives += 1
        place = folder / f"life-{toll.lives}"
        settle_in(place)
        disturbed(place, toll, kills, luck, began)
        found = told(place)
        toll.wrong += doubled(place) + differences(expected, found)
        table(expected, found)
    print(f"\n{toll.kills} kills in {toll.lives} lives and {time.monotonic() - began:.0f} s: "
          f"{toll.everybody} of everybody, {toll.daemon} of the daemon alone, "
          f"{toll.retrains} while a child was at work")
    for line in toll.wrong:
        print(f"WRONG {line}")
    return 1 if toll.wrong else 0


def disturbed(place: Path, toll: Toll, kills: int, luck: random.Random, began: float) -> None:
    """One life, killed at random moments until it ends or all kills are spent."""
    process = start(place)
    while True:
        wait = luck.uniform(*(LONG if luck.random() < 0.25 else SHORT))
        if toll.kills >= kills:
            wait = 600.0
        with suppress(subprocess.TimeoutExpired):
            if process.wait(wait) != 0:
                raise SystemExit(f"the life in {place} broke: {(place / 'said').read_text()}")
            end_children()
            return
        if toll.kills >= kills:
            raise SystemExit(f"the life in {place} does not end")
        alone = luck.random() < 1 / 3
        toll.retrains += bool(children(process.pid) or children(os.getpid(), but=process.pid))
        process.kill()
        process.wait()
        if alone:
            toll.daemon += 1
        else:
            toll.everybody += 1
            end_children()
        say(began, f"kill {toll.kills} after {wait:.1f} s, at day "
                   f"{(place / 'cursor').read_text() if (place / 'cursor').exists() else 0}")
        process = start(place)


def start(place: Path) -> subprocess.Popen[bytes]:
    with (place / "said").open("ab") as said:
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.story.soak", "--live", str(place)],
            stdout=said, stderr=said, cwd=ROOT, env=os.environ | {"DO_NOT_TRACK": "1"})


def while_alive(place: Path) -> None:
    if start(place).wait() != 0:
        raise SystemExit(f"the undisturbed life broke: {(place / 'said').read_text()}")


def adopt_orphans() -> None:
    """Children of a killed process become ours, so that none of them escapes."""
    subreaper = 36  # PR_SET_CHILD_SUBREAPER
    if ctypes.CDLL(None, use_errno=True).prctl(subreaper, 1, 0, 0, 0) != 0:
        raise SystemExit("the soak needs Linux: orphans cannot be adopted here")


def children(parent: int, *, but: int = 0) -> list[int]:
    """Processes whose parent is ``parent`` and that are not over."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            state, mother = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            pid = int(entry.name)
            if int(mother) == parent and pid != but:
                if state == "Z" and parent == os.getpid():
                    os.waitpid(pid, 0)
                elif state != "Z":
                    found.append(pid)
    return found


def end_children() -> None:
    """Kill whatever is left below this process, generation after generation."""
    while found := children(os.getpid()):
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def differences(expected: dict[str, list[Any]], found: dict[str, list[Any]]) -> list[str]:
    """The first thing that differs of each kind, in words."""
    told = []
    for what, items in expected.items():
        if items != found[what]:
            pairs = zip([*items, "nothing"], [*found[what], "nothing"], strict=False)
            first = next(((one, other) for one, other in pairs if one != other), ("", ""))
            told.append(f"{what}: {len(items)} and {len(found[what])}, first {first[0]} and "
                        f"{first[1]}")
    return told


def table(expected: dict[str, list[Any]], found: dict[str, list[Any]]) -> None:
    print(f"{'':16}{'undisturbed':>14}{'killed':>10}   equal")
    for what, items in expected.items():
        print(f"{what:16}{len(items):14}{len(found[what]):10}   "
              f"{'yes' if items == found[what] else 'NO'}")


def say(began: float, line: str) -> None:
    print(f"{time.monotonic() - began:6.0f} s  {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

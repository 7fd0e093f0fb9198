"""A wall clock for child processes that a test sets, also while they run."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.servers import need


@dataclass(frozen=True, slots=True)
class Clock:
    """A file that says how far it is ahead of the machine's; children have it in memory."""

    file: Path
    library: Path

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process is started with to live by this clock."""
        return {"LD_PRELOAD": str(self.library), "CLOCK": str(self.file)}

    def set(self, instant: datetime) -> None:
        """It is ``instant`` now, to the second, and time goes on from there."""
        ahead = round((instant - datetime.now(UTC)).total_seconds()) + 1
        with self.file.open("r+b") as file:
            file.write(ahead.to_bytes(8, "little", signed=True))


def clock(folder: Path, instant: datetime) -> Clock:
    """A clock that shows ``instant``."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    need(compiler, "no C compiler, which makes the clock; `make servers` installs gcc")
    made = Clock(folder / "clock", folder / "clock.so")
    subprocess.run([str(compiler), "-shared", "-fPIC", "-O1", "-o", str(made.library),
                    str(Path(__file__).with_suffix(".c"))], check=True)
    made.file.write_bytes(bytes(8))
    made.set(instant)
    return made

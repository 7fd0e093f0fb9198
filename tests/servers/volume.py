"""A small volume of its own, in a mount namespace: it really fills up, and really is read-only."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers import need

COPY = ("import sqlite3, sys; source, copy = map(sqlite3.connect, sys.argv[1:]); "
        "source.backup(copy)")


@dataclass(frozen=True, slots=True)
class Volume:
    """A tmpfs at ``folder``, seen by what is started with ``prefix`` alone."""

    folder: Path
    holder: int
    """The process that keeps the namespace."""

    @property
    def prefix(self) -> tuple[str, ...]:
        return ("nsenter", f"--mount=/proc/{self.holder}/ns/mnt")

    @property
    def inside(self) -> Path:
        """The same folder, for this process."""
        return Path(f"/proc/{self.holder}/root{self.folder}")

    def copied(self, database: str, to: Path) -> str:
        """The URL of a copy of an SQLite database in it, as it stands now."""
        to.unlink(missing_ok=True)
        subprocess.run([*self.prefix, sys.executable, "-c", COPY, str(self.folder / database),
                        str(to)], check=True, timeout=60)
        return f"sqlite:///{to}"

    def fill(self) -> None:
        """Take all room that is left."""
        with (self.inside / "ballast").open("wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(bytes(1 << 16))
            except OSError:
                pass

    def empty(self) -> None:
        """Give the room back."""
        (self.inside / "ballast").unlink()

    def mount(self, how: str) -> None:
        """``rw`` or ``ro``; nobody may have a file open for writing."""
        subprocess.run([*self.prefix, "mount", "-o", f"remount,{how}", str(self.folder)],
                       check=True, timeout=20)


@contextmanager
def volume(folder: Path, size: str) -> Iterator[Volume]:
    """The folder as a volume of ``size``, such as `8m`."""
    need(os.geteuid() == 0 and shutil.which("nsenter"), "mounting a volume takes root and nsenter")
    folder.mkdir()
    command = f"mount -t tmpfs -o size={size} volume {folder} && echo there && exec sleep 600"
    with subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sh", "-ec", command],
                          stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        try:
            need(holder.stdout.readline() == "there\n", "this machine lets nobody mount a tmpfs")
            yield Volume(folder, holder.pid)
        finally:
            holder.kill()

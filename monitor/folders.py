"""Folders: the local file system as a place where files are listed."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Sequence

from monitor.partitions import Object


class Folders:
    """Folders and files of this machine."""

    by_prefix = False

    def names(self, folder: str) -> list[str]:
        """Names of the folders in a folder, without hidden ones."""
        try:
            with os.scandir(folder or ".") as entries:
                return sorted(entry.name for entry in entries
                              if not entry.name.startswith(".") and entry.is_dir())
        except OSError:  # absent, or removed since it was listed
            return []

    def files(self, folder: str, rest: Sequence[str], prefix: str = "") -> list[Object]:
        """Files below a folder that match the segments of a glob, by path."""
        below = "/".join((glob.escape(folder), *rest) if folder else rest)
        found = []
        for path in sorted(glob.iglob(below, recursive=True)):
            try:
                state = os.stat(path)
            except OSError:  # removed since it was listed
                continue
            if stat.S_ISREG(state.st_mode):
                found.append(Object(path, state.st_size, state.st_mtime_ns))
        return found

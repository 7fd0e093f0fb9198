"""``python -m retrain REQUEST.json``."""

import os
import signal
import sys
from typing import NoReturn

from monitor.logs import watch
from retrain.cli import main

LAST = 5.0
"""Seconds after which the process ends whatever a thread of it waits for."""


def leave(code: int) -> NoReturn:
    """End with this code. A signal may come while a library starts a thread, whose executor knows
    nothing of it then and never ends it: Python would wait for it for ever."""
    signal.signal(signal.SIGALRM, lambda *_: os._exit(code))
    signal.setitimer(signal.ITIMER_REAL, LAST)
    sys.exit(code)


if __name__ == "__main__":
    watch()
    try:
        ended = main()
    except SystemExit as told:
        ended = told.code if isinstance(told.code, int) else int(told.code is not None)
    leave(ended)

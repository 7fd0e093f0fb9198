"""The command line of one request: ``python -m retrain REQUEST.json``."""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import sys
import warnings
from pathlib import Path
from types import FrameType

import structlog

from monitor.errors import ConfigError, HoldfastError, RegistryError, SourceError
from monitor.registry import Outcome
from monitor.request import Request
from retrain.voice import early, speaking

log = structlog.get_logger()

FAILED = 42
"""Exit code: the outcome is recorded, and is `failed`; another try would end no other way."""
AGAIN = 75
"""Exit code: nothing is decided, start the request again (as sysexits.h has it)."""


def main(arguments: list[str] | None = None) -> int:
    """0: the outcome is recorded; 42: it is `failed`; 2: refused to start; 75: start it again."""
    parser = argparse.ArgumentParser(
        prog="python -m retrain",
        description="Works on one request and records the outcome in MLflow. Killed and started "
                    "again it goes on; a request that has an outcome is left alone.")
    parser.add_argument("request", type=Path, help="the request's JSON file; checkpoints are kept "
                                                   "in the folder `work` beside it")
    parser.add_argument("--work", type=Path, help="another folder for checkpoints")
    given = parser.parse_args(arguments)
    path: Path = given.request
    os.environ["DO_NOT_TRACK"] = "1"
    warnings.simplefilter("ignore")
    early()
    signal.signal(signal.SIGTERM, _hand_back)
    try:
        request = Request.from_json(path.read_text("utf-8"))
    except (HoldfastError, OSError) as error:
        return _say(str(error), 2)
    with speaking(request):
        return _answered(request, given.work or path.parent / "work")


def _answered(request: Request, folder: Path) -> int:
    """The exit code; what went wrong is said in words."""
    try:
        return _locked(request, folder)
    except (RegistryError, SourceError) as error:
        return _say(f"try again: {error}", AGAIN)
    except ConfigError as error:
        return _say("\n".join(error.mistakes), 2)
    except (HoldfastError, OSError) as error:
        return _say(str(error), 2)


def _locked(request: Request, folder: Path) -> int:
    """Work on the request unless another process does."""
    from retrain.job import run

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return _say(f"{request.request_id}: another process works on it", AGAIN)
        outcome: Outcome = run(request, folder)
    _say(f"{outcome.status}: {outcome.reason}", 0)
    return FAILED if outcome.status == "failed" else 0


def _hand_back(number: int, frame: FrameType | None) -> None:
    """Stop here: what is done lies in checkpoints and in MLflow."""
    sys.exit(AGAIN)


def _say(line: str, status: int) -> int:
    level = "info" if not status else "warning" if status == AGAIN else "error"
    getattr(log, level)("child ended", code=status, reason=line)
    return status

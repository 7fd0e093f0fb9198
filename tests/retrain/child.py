"""A process of its own for a request, forked from one that has read the libraries already.

It runs what ``python -m retrain`` runs; nine seconds of imports are spared each time. Limits of
memory, and deaths beside a server, are tried on real ones (`shop.start`).
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from pathlib import Path

_READY = multiprocessing.get_context("forkserver")
_READY.set_forkserver_preload(["retrain.cli", "monitor.source", "monitor.baseline",
                               "monitor.registry", "torch", "sklearn.ensemble", "mlflow",
                               # what a training, an export and MLflow import on their way
                               "torch._dynamo", "torch.export._trace",
                               "onnxscript.function_libs.torch_lib.ops", "skops.io", "skl2onnx",
                               "mlflow.store.tracking.sqlalchemy_store",
                               "ibis.backends.sql.compilers", "matplotlib.figure",
                               "matplotlib.backends.backend_agg"])
"""Nothing that starts a thread of its own, as ONNX Runtime does: no fork would have it."""


def worked(request: Path, log: Path, within: float) -> int | None:
    """The exit code of the process that works on the request; None after ``within`` seconds."""
    return forked(_work, str(request), log=log, within=within)


def forked(what: Callable[..., int], *given: str, log: Path, within: float) -> int | None:
    """The exit code that a function of a module gives in a process of its own, minus the signal
    that ended it; None after ``within`` seconds."""
    process = _READY.Process(target=_run, args=(what, given, str(log), dict(os.environ),
                                                os.getcwd()))
    process.start()
    process.join(within)
    code = process.exitcode
    if code is None:
        process.kill()
        process.join()
    process.close()
    return code


def _run(what: Callable[..., int], given: tuple[str, ...], log: str,
         environment: dict[str, str], folder: str) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.exit(what(*given))


def _work(request: str) -> int:
    from monitor.logs import watch
    from retrain.cli import main

    watch()
    return main([request])

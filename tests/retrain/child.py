"""A process of its own for a request, forked from one that has read the libraries already.

It runs what ``python -m retrain`` runs; nine seconds of imports are spared each time. Deaths and
limits of memory are tried on real ones (`shop.start`).
"""

from __future__ import annotations

import multiprocessing
import os
import sys
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
    process = _READY.Process(target=_work, args=(str(request), str(log), dict(os.environ),
                                                 os.getcwd()))
    process.start()
    process.join(within)
    code = process.exitcode
    if code is None:
        process.kill()
        process.join()
    process.close()
    return code


def _work(request: str, log: str, environment: dict[str, str], folder: str) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    from monitor.logs import watch
    from retrain.cli import main

    watch()
    sys.exit(main([request]))

"""`monitor` runs without torch and without `retrain`, and says so when asked."""

from __future__ import annotations

import subprocess
import sys

import pytest

MODULES = ["monitor.daemon", "monitor.web", "monitor.exporter", "monitor.report", "monitor.cli"]


@pytest.mark.parametrize("module", MODULES)
def test_the_daemon_never_loads_torch_or_retrain(module: str) -> None:
    code = (f"import sys, {module}; "
            "print([name for name in ('torch', 'retrain', 'onnxruntime') if name in sys.modules])")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_command_does_not_wait_for_what_few_of_them_need() -> None:
    """Each takes half a second or more to load, and most commands last no longer than that."""
    code = ("import sys, monitor.cli; print([name for name in ('scipy.stats', 'pandas', 'mlflow', "
            "'matplotlib', 'evidently') if name in sys.modules])")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"

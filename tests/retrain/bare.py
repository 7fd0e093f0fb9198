"""An interpreter with numpy and ONNX Runtime alone, asked what an artifact says."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from retrain.runtime import feed, session

SCRIPT = """
import importlib.util, json, sys
sys.path.append(sys.argv[1])
import numpy, onnxruntime
known = [name for name in ("torch", "pandas", "onnx", "mlflow", "retrain", "monitor")
         if importlib.util.find_spec(name)]
assert not known, known
session = onnxruntime.InferenceSession(sys.argv[2], providers=["CPUExecutionProvider"])
with numpy.load(sys.argv[3]) as given:
    fed = {item.name: given[item.name].astype(object) if item.type == "tensor(string)"
           else given[item.name] for item in session.get_inputs()}
names = [item.name for item in session.get_outputs()]
print(json.dumps({name: value.tolist() for name, value in zip(names, session.run(None, fed))}))
"""


def answered(artifact: Path, rows: pd.DataFrame, folder: Path) -> dict[str, NDArray[Any]]:
    """{output: values ``[n]``} of an ONNX file, by numpy and ONNX Runtime alone."""
    site = folder / "bare"
    site.mkdir(exist_ok=True)
    for package in ("numpy", "onnxruntime"):
        found = find_spec(package)
        assert found is not None
        assert found.origin is not None
        home = Path(found.origin).parent
        for part in (home, home.with_name(f"{package}.libs")):
            if part.exists() and not (site / part.name).exists():
                (site / part.name).symlink_to(part)
    fed = {name: value.astype(str) if value.dtype == object else value
           for name, value in feed(session(artifact), rows).items()}
    np.savez(folder / "fed.npz", **fed)  # type: ignore[arg-type]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", SCRIPT, str(site), str(artifact),
         str(folder / "fed.npz")], capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    return {name: np.array(values).reshape(-1) for name, values in json.loads(done.stdout).items()}

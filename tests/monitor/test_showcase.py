"""The demo's servers: an earlier demo's are ended, and nobody else's."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from monitor import showcase


@contextmanager
def process(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", *words],
                             start_new_session=True)
    try:
        while b"sleep" not in Path(f"/proc/{child.pid}/cmdline").read_bytes():
            time.sleep(.01)  # it has no words of its own yet
        yield child
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize(("words", "ended"), [
    (("mlflow", "sqlite:///{}/mlflow.db"), True), (("monitor.showcase", "{}"), True),
    (("mlflow", "sqlite:///elsewhere/mlflow.db"), False), (("mlflow", "{}-two"), False),
    (("editor", "{}/holdfast.yaml"), False)])
def test_an_id_that_another_process_has_by_now_is_left_alone(
        tmp_path: Path, words: tuple[str, ...], ended: bool) -> None:
    with process(*(word.format(tmp_path) for word in words)) as child:
        showcase.keep(tmp_path, {"mlflow": showcase.Server(child.pid, "http://127.0.0.1:1")})
        assert showcase.stop(tmp_path) == ["mlflow"]
        if ended:
            assert child.wait(10) != 0
        else:
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(.3)

"""The README's pictures, made anew: ``python -m tests.docs.pictures docs/pictures``.

The deployment is the README's own: its log, its configuration, its champion. It is looked at once a
day, as the daemon does; what ``/metrics`` told each day is given to a real Prometheus with that
day's time, and the panels of the dashboard are drawn from its answers. The page is the daemon's.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from monitor.config import Loaded, load
from monitor.daemon import attend
from monitor.deps import Deps
from monitor.exporter import Snapshot
from monitor.registry import Registry
from monitor.store import Store
from monitor.web import create_app, serve
from tests.docs.fenced import blocks
from tests.servers import free_port
from tests.servers.browser import browsing
from tests.servers.process import end, ready
from tests.servers.prometheus import Prometheus, promtool
from tests.story import panels

FIRST, LAST = datetime(2026, 2, 6, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)
STEP = timedelta(hours=6)
ROWS = 28
"""Rows of the dashboard's grid that are shown."""


def prepare(folder: Path) -> Loaded:
    """The README's log, configuration and champion; the folder is the current one from here on."""
    os.chdir(folder)
    for block in blocks("README.md"):
        if block.file == "holdfast.yaml":
            Path(block.file).write_text(block.text)
        if block.language == "python":
            exec(compile(block.text, "README.md", "exec"), {})
    return load(Path("holdfast.yaml"))


def lived(deps: Deps) -> Iterator[str]:
    """Look at the models as time goes by; what Prometheus is told then, as lines with times."""
    snapshot, at = Snapshot(deps.store, deps.config), FIRST
    while at <= LAST:
        for model in deps.config.models:
            assert attend(model, deps, at)
        snapshot.refresh()
        text = snapshot.render("")[0].decode()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = {"job": "holdfast", "instance": "holdfast:8700", **sample.labels}
                told = ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items())
                if sample.name.startswith("holdfast_"):
                    yield f"{sample.name}{{{told}}} {sample.value} {at.timestamp():.0f}"
        at += STEP


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


@contextmanager
def remembering(folder: Path, told: list[str]) -> Iterator[Prometheus]:
    """A Prometheus that was told all of it in its time."""
    (folder / "told").write_text("\n".join([*sorted(told), "# EOF", ""]))
    subprocess.run([promtool(), "tsdb", "create-blocks-from", "openmetrics", folder / "told",
                    folder / "data"], check=True, capture_output=True)
    (folder / "prometheus.yml").write_text("scrape_configs: []\n")
    address = f"http://127.0.0.1:{free_port()}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["prometheus", f"--config.file={folder / 'prometheus.yml'}",
             f"--storage.tsdb.path={folder / 'data'}", "--storage.tsdb.retention.time=100y",
             "--query.lookback-delta=12h",
             f"--web.listen-address={address.removeprefix('http://')}"], stdout=log, stderr=log)
    try:
        ready(address, process, folder / "log", name="Prometheus")
        yield Prometheus(address)
    finally:
        end(process)


def keep(shown: bytes, file: Path) -> None:
    """In so few colours that it stays small."""
    image = Image.open(io.BytesIO(shown)).convert("RGB")
    image.quantize(96, dither=Image.Dither.NONE).save(file, optimize=True)


def draw(folder: Path, out: Path) -> None:
    """Live through it, and take both pictures."""
    loaded = prepare(folder)
    (name,) = (model.name for model in loaded.config.models)
    with Store.open(loaded.config.store) as store:
        told = list(lived(Deps(loaded.config, str(loaded.path), store,
                               Registry(loaded.config.mlflow), None, None)))
        with remembering(folder, told) as asked, browsing(1160, 700) as page:
            when = panels.When(LAST.timestamp(), (LAST - FIRST).total_seconds())
            found = list(panels.answers("model", asked, "", name, when=when))
            page.set_content(panels.page("model", found, ROWS))
            keep(page.screenshot(full_page=True), out / "dashboard.png")
        server = serve(create_app(store, loaded.config, Snapshot(store, loaded.config)),
                       "127.0.0.1", 0)
        with browsing(1180, 1120) as page:
            page.goto(f"{server.url}/models/{name}")
            keep(page.screenshot(), out / "page.png")
        server.stop()


if __name__ == "__main__":
    target = Path(sys.argv[1]).resolve()
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="holdfast-pictures-") as made:
        draw(Path(made), target)

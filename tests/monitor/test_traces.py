"""Traces: what a tick did as spans, sent where they are asked for and nowhere else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from monitor import traces
from monitor.config import load
from monitor.daemon import attend
from monitor.secrets import resolve
from monitor.simulate import START
from monitor.window import isoformat
from tests.data import ROOT
from tests.monitor.command import holdfast
from tests.retrain.shop import shop
from tests.servers.collector import collecting
from tests.story.deployment import deploy


def tree(spans: Sequence[ReadableSpan]) -> dict[str, set[str]]:
    """The names of the spans that lie below each name; '' is above all."""
    names = {span.context.span_id: span.name for span in spans}
    found: dict[str, set[str]] = {}
    for span in spans:
        above = names[span.parent.span_id] if span.parent else ""
        found.setdefault(above, set()).add(span.name)
    return found


def test_a_tick_is_a_tree_of_spans(tmp_path: Path, mlflow_uri: str) -> None:
    deployment, kept = deploy(tmp_path, mlflow_uri), InMemorySpanExporter()
    reference = deployment.loaded.config.models[0].reference.to
    assert reference is not None
    with deployment.deps() as deps:
        end = traces.begin(kept, part="test")
        try:
            assert attend(deps.config.models[0], deps, reference + timedelta(days=1))
        finally:
            end()
        assert attend(deps.config.models[0], deps, reference + timedelta(days=2))
    spans = kept.get_finished_spans()
    assert tree(spans) == {"": {"tick"}, "tick": {"follow", "watch", "act"}, "follow": {"query"},
                           "watch": {"query", "judge"}}
    assert {dict(span.attributes or {})["holdfast.model"] for span in spans} == {"deliveries"}
    assert len({span.context.trace_id for span in spans}) == 1, "none after the end"


def test_an_error_is_told_without_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_TEST", "s3cr3t-passphrase")
    resolve("${env:HOLDFAST_TEST}", tmp_path, [])
    kept = InMemorySpanExporter()
    end = traces.begin(kept, part="test")
    with suppress(ValueError), traces.span("tick", model="m"):
        traces.note("s3cr3t-passphrase")
        raise ValueError("s3cr3t-passphrase")
    end()
    [span] = kept.get_finished_spans()
    assert span.status.description == "ValueError: ***"
    assert [event.name for event in span.events] == ["***"]


def test_a_retrain_lies_below_the_span_that_launched_it(tmp_path: Path, mlflow_uri: str) -> None:
    """Through real processes and the real protocol: the command, its child, a collector."""
    config = shop(tmp_path, mlflow_uri)
    with collecting() as collector:
        settings = yaml.safe_load(config.read_text())
        settings |= {"traces": {"endpoint": collector.address}, "log": {"format": "json"}}
        config.write_text(yaml.safe_dump(settings))
        said = holdfast("retrain", config, "--model", "shop", "--bootstrap", "--now",
                        isoformat(START))
        assert said.out.startswith("refused"), said
    [launch], [retrain] = collector.named("launch"), collector.named("retrain")
    assert (retrain.trace, retrain.parent) == (launch.trace, launch.id)
    assert launch.resource["service.name"] == retrain.resource["service.name"] == "holdfast"
    assert (launch.resource["holdfast.part"], retrain.resource["holdfast.part"]) == (
        "daemon", "retrain")
    assert retrain.attributes["holdfast.model"] == "shop"
    assert any(words.startswith("rows of 'shop'") for words in retrain.words)
    request = retrain.attributes["holdfast.request_id"]
    log = Path(load(config).config.folder) / "requests" / request / "log.txt"
    lines = log.read_text().splitlines()
    assert lines
    assert all(f'"request_id": "{request}"' in line and '"model": "shop"' in line
               for line in lines)
    assert f'"trace_id": "{launch.trace}"' in lines[0]


def test_a_collector_that_is_away_costs_no_tick(tmp_path: Path, mlflow_uri: str) -> None:
    deployment = deploy(tmp_path, mlflow_uri)
    path, away = deployment.loaded.path, {"traces": {"endpoint": "http://127.0.0.1:9"}}
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | away))
    said = holdfast("once", path, "--now", isoformat(START + timedelta(days=26)))
    assert said.code == 0, said


def test_off_nothing_of_opentelemetry_is_loaded() -> None:
    code = ("import sys, monitor.cli, monitor.daemon, retrain.cli; from monitor import traces\n"
            "with traces.span('tick', model='m'): traces.note('x'); assert not traces.ids()\n"
            "assert not traces.environment()\n"
            "print([name for name in sys.modules if name.startswith('opentelemetry')])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.stdout == "[]\n"

"""A real MLflow server tells a real surface that an alias moved."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities.webhook import WebhookEvent
from mlflow.webhooks.delivery import _generate_hmac_signature

from monitor.nudge import TOLERANCE, Nudge, heard
from monitor.store import Store
from tests.monitor.surface import client, site
from tests.servers import free_port
from tests.servers.mlflow import start_mlflow, stop_mlflow

SECRET = "a-secret-of-the-registry"
BODY = '{"entity": "model_version_alias", "action": "created", "data": {"name": "quiet"}}'
NOW = 1_790_000_000


def signed(body: str = BODY, *, stamp: str = str(NOW), delivery: str = "d-1",
           secret: str = SECRET) -> dict[str, str]:
    """The headers, as MLflow itself makes them."""
    return {"x-mlflow-delivery-id": delivery, "x-mlflow-timestamp": stamp,
            "x-mlflow-signature": _generate_hmac_signature(secret, delivery, stamp, body)}


def test_what_mlflow_signed_is_heard() -> None:
    assert heard(signed(), BODY.encode(), secret=SECRET.encode(), now=NOW + 9) == Nudge(
        "d-1", "model_version_alias.created", "quiet")


@pytest.mark.parametrize("headers", [
    {}, signed(secret="another-secret-of-it"), signed() | {"x-mlflow-delivery-id": "d-2"},
    signed() | {"x-mlflow-timestamp": str(NOW + 1)}, signed(BODY + " "),
    signed(stamp=str(NOW - TOLERANCE - 1)), signed(stamp=f"{NOW + TOLERANCE + 1:.0f}"),
    signed(stamp="soon"), signed(delivery="d 1"), signed() | {"x-mlflow-signature": "v1,\u00e9"}])
def test_what_is_forged_altered_or_old_is_not(headers: dict[str, str]) -> None:
    assert heard(headers, BODY.encode(), secret=SECRET.encode(), now=NOW) is None


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"entity": 1, "action": 2, "data": 3}'])
def test_what_is_no_event_of_a_model_is_not(body: str) -> None:
    assert heard(signed(body), body.encode(), secret=SECRET.encode(), now=NOW) is None


@pytest.fixture
def secretive(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "secret").write_text(SECRET)
    return {"mlflow_secret_file": str(tmp_path / "secret")}


def test_a_delivery_wakes_the_model_once(store: Store, tmp_path: Path,
                                         secretive: dict[str, str]) -> None:
    headers = signed(stamp=str(int(time.time())))
    with site(store, tmp_path, secretive) as server, client(server) as outside:
        for _ in range(2):
            answer = outside.post("/hooks/mlflow", content=BODY, headers=headers)
            assert (answer.status_code, answer.json()) == (202, {"models": ["quiet"]})
        assert outside.post("/hooks/mlflow", content=BODY + " ", headers=headers
                            ).status_code == 401
    assert store.ordered() == {"quiet"}
    (order,) = store.orders("quiet")
    assert (order.action, order.by) == ("look", "mlflow")


def test_without_a_secret_there_is_no_such_webhook(store: Store, tmp_path: Path) -> None:
    with site(store, tmp_path, {}) as server, client(server) as outside:
        assert outside.post("/hooks/mlflow", content=BODY, headers=signed()
                            ).status_code in {404, 405}


def test_a_real_server_tells_of_an_alias_that_somebody_set(
        store: Store, tmp_path: Path, secretive: dict[str, str],
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOWED_SCHEMES", "http")  # https alone, by default ...
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS", "true")  # ... and no loopback
    address = f"http://127.0.0.1:{free_port()}"
    (tmp_path / "mlflow").mkdir()
    process = start_mlflow(tmp_path / "mlflow", address)
    try:
        with site(store, tmp_path, secretive) as server:
            people = MlflowClient(address, address)
            people.create_webhook("holdfast", f"{server.url}/hooks/mlflow", [
                WebhookEvent.from_str("model_version_alias.created")], secret=SECRET)
            people.create_registered_model("quiet")
            people.create_model_version("quiet", "s3://bucket/nowhere")
            people.set_registered_model_alias("quiet", "champion", "1")
            ends = time.monotonic() + 60
            while not store.ordered():
                assert time.monotonic() < ends, "MLflow told nothing"
                time.sleep(0.1)
    finally:
        stop_mlflow(process)
    (order,) = store.orders("quiet")
    assert order.arguments == {"event": "model_version_alias.created"}

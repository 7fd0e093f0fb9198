"""Images: raw or encoded bytes in a column become a small graph that answers them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image as Picture
from sklearn.linear_model import LogisticRegression

from monitor.errors import ContractError, HoldfastError
from monitor.request import Request
from monitor.window import parse_time
from retrain.checkpoints import Checkpoints
from retrain.contract import Contract, default
from retrain.finetune import probabilities
from retrain.image import Image
from retrain.pixels import Pixels
from retrain.runtime import columns, session
from tests.data import stream
from tests.monitor.command import holdfast
from tests.retrain.bare import answered
from tests.retrain.real import PICTURES, image_champion, images
from tests.retrain.shop import work
from tests.retrain.test_finetune import Killed, accuracy, same_weights
from tests.servers.mlflow import founded


def contract(frame: pd.DataFrame) -> Contract:
    return default(frame, "binary", classes=(0, 1))


def png(raw: bytes, kind: str = "PNG") -> bytes:
    buffer = BytesIO()
    Picture.fromarray(np.frombuffer(raw, np.uint8).reshape(28, 28)).save(buffer, kind)
    return buffer.getvalue()


def test_it_beats_a_linear_model_of_the_pixels() -> None:
    data = images()
    pixels = [Pixels("image", 28, 28, 1).transform(part)[0] / 255
              for part in (data.train, data.holdout)]
    linear = LogisticRegression(max_iter=200).fit(pixels[0], data.train["_label"])
    assert accuracy(image_champion(), data.holdout) > linear.score(
        pixels[1], data.holdout["_label"]) - 0.02
    assert accuracy(image_champion(), data.holdout) > data.holdout["_label"].mean() + 0.02


def test_the_artifact_takes_raw_bytes_and_files_and_answers_as_torch_does(tmp_path: Path) -> None:
    rows = images().holdout.head(60).copy()
    expected = probabilities(image_champion(), rows)
    path = Image().export(image_champion(), contract(rows), tmp_path / "m.onnx")
    [item] = session(path).get_inputs()
    assert (item.type, item.shape) == ("tensor(uint8)", ["N", 784])
    np.testing.assert_allclose(columns(session(path), rows)["probability"], expected[:, 1],
                               atol=1e-5)
    rows["image"] = [png(raw) for raw in rows["image"]]
    np.testing.assert_allclose(columns(session(path), rows)["probability"], expected[:, 1],
                               atol=1e-5)
    again = Image().export(image_champion(), contract(rows), tmp_path / "again.onnx")
    assert again.read_bytes() == path.read_bytes()


def test_an_absent_image_is_black_and_another_size_is_refused(tmp_path: Path) -> None:
    rows = images().holdout.head(3).copy()
    artifact = session(Image().export(image_champion(), contract(rows), tmp_path / "m.onnx"))
    rows["image"] = [None, b"", bytes(784)]
    assert len(set(columns(artifact, rows)["probability"].tolist())) == 1
    rows["image"] = [bytes(10)] * 3
    with pytest.raises(ContractError, match="784 raw bytes"):
        columns(artifact, rows)


def test_shapes_are_guessed_declared_or_asked_for() -> None:
    frame = pd.DataFrame({"image": [bytes(12)], "_label": [1]})
    assert Pixels.fit(frame, ["image"]) == Pixels("image", 2, 2, 3)
    assert Pixels.fit(frame, ["image"], [3, 4]) == Pixels("image", 3, 4, 1)
    tall = BytesIO()
    Picture.new("RGB", (5, 7)).save(tall, "JPEG")
    assert Pixels.fit(frame.assign(image=[tall.getvalue()]), ["image"]).height == 7
    with pytest.raises(HoldfastError, match=r"settings: \{shape"):
        Pixels.fit(frame.assign(image=[bytes(11)]), ["image"])
    with pytest.raises(HoldfastError, match="one binary column"):
        Pixels.fit(frame.assign(other=[b"x"]), ["image", "other"])
    with pytest.raises(HoldfastError, match="kernels"):
        Image().fresh(images(), replace(PICTURES, settings={"kernel": [4]}))


def test_kernels_go_where_they_are_missed_least_and_int8_follows(tmp_path: Path) -> None:
    data, whole = images(), image_champion()
    small = Image().pruned(whole, 0.5, data, options=PICTURES)
    assert sum(item.numel() for item in small.module.parameters()) < 0.5 * sum(
        item.numel() for item in whole.module.parameters())
    assert accuracy(small, data.holdout) > accuracy(whole, data.holdout) - 0.03
    source = Image().export(small, contract(data.train), tmp_path / "fp32.onnx")
    target = Image().quantized(source, tmp_path / "int8.onnx", calibration=data.train)
    exact, close = (columns(session(path), data.holdout) for path in (source, target))
    assert np.mean(exact["prediction"] != close["prediction"]) < 0.02
    assert target.read_bytes() == Image().quantized(
        source, tmp_path / "again.onnx", calibration=data.train).read_bytes()


def test_what_is_saved_is_loaded_and_goes_on(tmp_path: Path) -> None:
    path = Image().save(image_champion(), tmp_path / "weights.safetensors")
    loaded = Image().load(path)
    assert (loaded.spec, loaded.encoder) == (image_champion().spec, image_champion().encoder)
    later = images(3900, 4150, 4250, 4400)  # the sick are fewer now
    tuned = Image().tuned(loaded, later, PICTURES)
    assert same_weights(loaded, image_champion())
    assert tuned.loss < tuned.history[0]["validation_loss"]


def test_a_killed_training_ends_with_the_same_weights(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, options = images(0, 400, 600, 700), replace(PICTURES, epochs=3)
    whole, saved = Image().fresh(data, options), Checkpoints.save

    def dies(self: Checkpoints, *given: object) -> None:
        saved(self, *given)  # type: ignore[arg-type]
        raise Killed

    with monkeypatch.context() as patched, suppress(Killed):
        patched.setattr(Checkpoints, "save", dies)
        Image().fresh(data, options, checkpoints=Checkpoints(tmp_path))
    assert any(tmp_path.iterdir())
    assert same_weights(whole, Image().fresh(data, options, checkpoints=Checkpoints(tmp_path)))


def configured(folder: Path) -> Path:
    """A model whose log holds an image, its answer and its label a row."""
    frame = stream("pneumonia_mnist").drop(columns="split").head(2800)
    frame["answer"], frame["version"] = frame["label"], "1"
    frame.to_parquet(folder / "log.parquet", index=False)
    config = {"mlflow": {"tracking_uri": founded(f"sqlite:///{folder / 'mlflow.db'}")}, "models": [{
        "name": "lungs",
        "log": {"source": "log.parquet", "timestamp": "timestamp", "model_version": "version",
                "prediction": "answer", "label": "label", "features": {"include": ["image"]}},
        "maturity": {"delay": "1d"},
        "reference": {"from": "2024-01-01T00:00:00Z", "to": "2024-01-15T00:00:00Z"},
        "training": {"kind": "torch-image", "window": "10d", "holdout": "3d", "epochs": 3,
                     "widths": [16], "prune": [0.5], "accuracy_budget": 0.05}}]}
    path = folder / "holdfast.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


# what MLflow says about type hints is not what is tested here
@pytest.mark.filterwarnings("ignore")
def test_a_model_of_images_is_watched_trained_and_served(tmp_path: Path) -> None:
    path = configured(tmp_path)
    known = parse_time("2024-01-19T00:00:00Z")
    asked = Request("lungs-bootstrap-1", "bootstrap", "lungs", str(path), known,
                    reason="the test asks", options={"report": False})
    outcome = work(asked, tmp_path)
    assert (outcome.status, outcome.version) == ("registered", "1"), outcome.reason
    assert outcome.result["holdout"]["candidate"]["value"] > 0.8
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    mlflow.set_registry_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    served = mlflow.pyfunc.load_model("models:/lungs@champion")
    rows = images().holdout[["image"]].head(5)
    answers = served.predict(rows)
    assert answers["probability"].between(0, 1).all()
    [artifact] = Path(mlflow.artifacts.download_artifacts(
        "models:/lungs@champion", dst_path=str(tmp_path / "got"))).rglob("*.onnx")
    bare = answered(artifact, rows, tmp_path)
    np.testing.assert_allclose(bare["probability"], answers["probability"], atol=1e-6)
    assert bare["prediction"].tolist() == answers["prediction"].tolist()
    said = holdfast("replay", path, "--from", "2024-01-15", "--to", "2024-01-18", "--json")
    assert said.code == 0, said.err
    assert len(said.lines) >= 3
    assert not any(line["faults"] for line in said.lines)

"""Texts: the graph splits them into the words that training saw, and answers as torch does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.config import load
from monitor.errors import HoldfastError
from monitor.registry import Registry
from monitor.request import Kind, Request
from monitor.window import parse_time
from retrain.contract import Contract, default
from retrain.export import tokens
from retrain.finetune import probabilities
from retrain.graph import ELEMENTS, IR_VERSION, OPSETS, TOKENIZER, Graph
from retrain.runtime import columns, session
from retrain.text import Text
from retrain.vocabulary import UNKNOWN, Words, split
from tests.data import stream
from tests.retrain.bare import answered
from tests.retrain.real import SENTENCES, text_champion, texts
from tests.retrain.shop import work
from tests.retrain.test_finetune import accuracy, same_weights
from tests.servers.mlflow import founded

WORDS = Words(("title", "body"), ("the", "of", "x2", "é", "naïve", "日本"), 6)


def contract(frame: pd.DataFrame) -> Contract:
    return default(frame, "multiclass", classes=text_champion().classes)


def tokenizer(encoder: Words) -> onnxruntime.InferenceSession:
    """The graph's part that splits texts, alone."""
    graph = Graph(encoder.inputs)
    answer = tokens(graph, encoder)
    output = onnx.helper.make_tensor_value_info(answer, ELEMENTS["long"], ["N", encoder.length])
    model = graph.model([output])
    return onnxruntime.InferenceSession(model.SerializeToString(),
                                        providers=["CPUExecutionProvider"])


SPLITTER = tokenizer(WORDS)

WORDLIKE = st.lists(st.sampled_from(["the", "THE", "Of", "x2", "É", "é", "naïve", "日本", "-", "\n",
                                     "\u00a0", "_", "0", "𝒳"]), max_size=12).map(" ".join)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(*[st.one_of(st.text(), WORDLIKE)] * 2), min_size=1, max_size=4))
def test_the_graph_splits_as_python_does(rows: list[tuple[str, str]]) -> None:
    frame = pd.DataFrame(rows, columns=["title", "body"], dtype=object)
    [asked] = WORDS.transform(frame)
    [got] = SPLITTER.run(None, {name: frame[name].to_numpy(object) for name in WORDS.names})
    np.testing.assert_array_equal(got, asked)


def test_words_are_small_ascii_runs_and_all_beyond_ascii() -> None:
    assert split("The Étale x2-site, 日本!") == ["the", "Étale", "x2", "site", "日本"]
    [codes] = WORDS.transform(pd.DataFrame({"title": ["THE new", None], "body": ["of", np.nan]}))
    assert codes.tolist() == [[2, UNKNOWN, 3, 0, 0, 0], [0] * 6]


def test_it_is_in_the_league_of_a_bag_of_words() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    data = texts()
    bag = make_pipeline(TfidfVectorizer(max_features=8000), LogisticRegression(max_iter=200))
    said = [part["title"] + " " + part["abstract_snippet"] for part in (data.train, data.holdout)]
    bag.fit(said[0], data.train["_label"])
    assert accuracy(text_champion(), data.holdout) > bag.score(
        said[1], data.holdout["_label"]) - 0.05


def test_the_artifact_takes_raw_text_and_answers_as_torch_does(tmp_path: Path) -> None:
    rows = texts().holdout.head(80).copy()
    rows.loc[3, "title"] = None
    rows.loc[4, ["title", "abstract_snippet"]] = ["", np.nan]
    expected = probabilities(text_champion(), rows)
    path = Text().export(text_champion(), contract(texts().train), tmp_path / "m.onnx")
    got = columns(session(path), rows)
    shares = np.stack([got[f"probability_{name}"] for name in text_champion().classes], axis=1)
    np.testing.assert_allclose(shares, expected, atol=1e-5)
    assert path.read_bytes() == Text().export(
        text_champion(), contract(texts().train), tmp_path / "again.onnx").read_bytes()


def test_words_lose_dimensions_and_become_bytes(tmp_path: Path) -> None:
    data, whole = texts(), text_champion()
    small = Text().pruned(whole, 0.5, data, options=SENTENCES)
    assert small.spec.size < whole.spec.size
    assert accuracy(small, data.holdout) > accuracy(whole, data.holdout) - 0.03
    source = Text().export(small, contract(data.train), tmp_path / "fp32.onnx")
    target = Text().quantized(source, tmp_path / "int8.onnx", calibration=data.train)
    exact, close = (columns(session(path), data.holdout) for path in (source, target))
    assert np.mean(exact["prediction"] != close["prediction"]) < 0.03
    tables = [item for item in onnx.load(target).graph.initializer
              if list(item.dims) == [small.spec.words, small.spec.size + 2]]
    assert [item.data_type for item in tables] == [onnx.TensorProto.INT8]
    assert target.read_bytes() == Text().quantized(
        source, tmp_path / "again.onnx", calibration=data.train).read_bytes()


def test_the_table_that_is_served_is_the_attention_that_was_trained() -> None:
    whole, rows = text_champion(), texts().holdout.head(200).copy()
    rows.loc[3, ["title", "abstract_snippet"]] = None
    given = torch.from_numpy(whole.encoder.transform(rows)[0])
    served = whole.module.served
    with torch.no_grad():
        torch.testing.assert_close(served(given), whole.module(given), atol=1e-5, rtol=1e-5)
    weights = served.table[:, -2:].sum(dim=1)
    assert float(weights[0]) == 0
    assert float(weights.max()) == pytest.approx(1)
    steps = served.table[:, -2] * 127
    torch.testing.assert_close(steps, steps.round(), atol=1e-4, rtol=0)


def test_tuning_learns_words_that_were_rare_before(tmp_path: Path) -> None:
    path = Text().save(text_champion(), tmp_path / "weights.safetensors")
    loaded, data = Text().load(path), texts()
    assert same_weights(loaded, text_champion())
    later = replace(data, train=data.train.head(800).assign(
        title=data.train["title"].head(800) + " graphenomics"))
    tuned = Text().tuned(loaded, later, replace(SENTENCES, epochs=1))
    assert "graphenomics" in tuned.encoder.vocabulary
    assert tuned.spec.words == tuned.encoder.rows
    assert "graphenomics" not in loaded.encoder.vocabulary


def test_numbers_are_no_text_and_settings_are_known() -> None:
    with pytest.raises(HoldfastError, match=r"columns: \["):
        Text().fresh(texts(), replace(SENTENCES, settings={"columns": ["num_authors"]}))
    with pytest.raises(HoldfastError, match="tokens"):
        Text().fresh(texts(), replace(SENTENCES, settings={"tokens": 3}))


def test_the_tokenizer_is_named_only_where_it_is_used(tmp_path: Path) -> None:
    path = Text().export(text_champion(), contract(texts().train), tmp_path / "m.onnx")
    model = onnx.load(path)
    assert {item.domain for item in model.opset_import} == {*OPSETS, TOKENIZER}
    assert model.ir_version == IR_VERSION


def configured(folder: Path) -> Path:
    """A model whose log holds a title and an abstract, its answer and its label a row."""
    frame = stream("arxiv_physics_text").drop(columns=["arxiv_id", "num_authors"]).head(4200)
    frame = frame.astype({"primary_cat": str})
    frame["timestamp"] = pd.Timestamp("2024-01-01") + np.arange(len(frame)) * pd.Timedelta("20min")
    frame["answer"], frame["version"] = frame["primary_cat"], "1"
    frame.to_parquet(folder / "log.parquet", index=False)
    config = {"mlflow": {"tracking_uri": founded(f"sqlite:///{folder / 'mlflow.db'}")}, "models": [{
        "name": "papers",
        "log": {"source": "log.parquet", "timestamp": "timestamp", "model_version": "version",
                "prediction": "answer", "label": "primary_cat"},
        "maturity": {"delay": "1d"},
        "reference": {"from": "2024-01-01T00:00:00Z", "to": "2024-01-15T00:00:00Z"},
        "training": {"kind": "torch-text", "window": "50d", "holdout": "7d", "epochs": 6,
                     "settings": {"words": 2000}, "widths": [16], "prune": [0.5],
                     "accuracy_budget": 0.05, "windows": ["all"], "ladder": ["tune"]}}]}
    path = folder / "holdfast.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def asked(path: Path, kind: Kind, day: str, **given: str) -> Request:
    return Request(f"papers-{kind}-1", kind, "papers", str(path), parse_time(f"{day}T00:00:00Z"),
                   reason="the test asks", options={"report": False}, **given)


# what MLflow says about type hints is not what is tested here
@pytest.mark.filterwarnings("ignore")
def test_from_a_log_of_texts_to_a_challenger_that_is_served(tmp_path: Path) -> None:
    path = configured(tmp_path)
    first = work(asked(path, "bootstrap", "2024-01-19"), tmp_path)
    assert (first.status, first.version) == ("registered", "1"), first.reason
    second = work(asked(path, "train", "2024-02-25", champion="1"), tmp_path)
    assert (second.status, second.version) == ("registered", "2"), second.reason
    registry = Registry(load(path).config.mlflow)
    assert registry.aliases("papers") == {"champion": "1", "challenger": "2"}
    holdout = second.result["holdout"]
    assert holdout["candidate"]["value"] > holdout["version 1"]["value"]
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    rows = texts().holdout[["title", "abstract_snippet"]].head(40)
    served = mlflow.pyfunc.load_model("models:/papers@challenger").predict(rows)
    [artifact] = Path(mlflow.artifacts.download_artifacts(
        "models:/papers@challenger", dst_path=str(tmp_path / "got"))).rglob("*.onnx")
    got = answered(artifact, rows, tmp_path)
    assert got["prediction"].tolist() == served["prediction"].tolist()
    shares = [name for name in served if name != "prediction"]
    np.testing.assert_allclose(np.stack([got[name] for name in shares]),
                               served[shares].to_numpy().T, atol=1e-6)

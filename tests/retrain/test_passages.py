"""Transformers: a folder is adopted, learns by LoRA, gets smaller, and one graph takes raw text."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from string import ascii_lowercase, digits, punctuation

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertModel

from monitor.errors import HoldfastError
from monitor.request import Request
from monitor.window import parse_time
from retrain.contract import Contract, default
from retrain.export import pieces
from retrain.finetune import Network, output, probabilities
from retrain.graph import ELEMENTS, Graph
from retrain.passages import Passages, confined
from retrain.pieces import Pieces
from retrain.pretrained import pretrained, quiet
from retrain.runtime import columns, session
from retrain.trainer import Options, Split
from retrain.trainers import trainer
from retrain.transformer import Transformer, adapt, merge
from tests.retrain.real import texts
from tests.retrain.shop import work
from tests.retrain.test_finetune import same_weights
from tests.servers.mlflow import founded

TINY = Options("multiclass", epochs=2, batch=64, rate=5e-3, tuning_rate=1e-3,
               settings={"columns": ["title"], "length": 24, "rank": 4})


def few() -> Split:
    data = texts()
    return Split(*(part.head(count).reset_index(drop=True) for part, count in (
        (data.train, 1200), (data.validation, 400), (data.holdout, 400))))


def wordpiece(*, lower: bool = True) -> Tokenizer:
    """A tokenizer as BERT's: letters, their continuations, marks, and frequent words of titles."""
    letters = ascii_lowercase + digits + ("" if lower else ascii_lowercase.upper())
    counts = Counter(word for title in texts().train["title"] for word in
                     (title.lower() if lower else title).split() if word.isalpha())
    frequent = sorted(counts, key=lambda word: (-counts[word], word))[:600]
    vocabulary = dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *punctuation,
                                *(f"##{letter}" for letter in letters), "##ing", "##tion", "##s",
                                *frequent])
    made = Tokenizer(models.WordPiece({piece: place for place, piece in enumerate(vocabulary)},
                                      unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=lower)  # type: ignore[assignment]
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()  # type: ignore[assignment]
    made.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return made


def adopted(folder: Path, kind: str = "bert") -> Path:
    """A folder with a tiny transformer of random weights, as ``save_pretrained`` writes one."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = wordpiece()
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(1)
    size = tokenizer.get_vocab_size()
    with quiet():
        made = BertModel(BertConfig(
            vocab_size=size, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=64, max_position_embeddings=64)) if kind == "bert" else \
            DistilBertModel(DistilBertConfig(vocab_size=size, dim=32, n_layers=1, n_heads=2,
                                             hidden_dim=64, max_position_embeddings=64))
        made.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return adopted(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def options(folder: Path) -> Options:
    return replace(TINY, settings={**TINY.settings, "folder": str(folder)})


@pytest.fixture(scope="module")
def champion(options: Options) -> Network:
    return Passages().fresh(few(), options)


def contract(fitted: Network) -> Contract:
    return default(few().train[["title", "_label"]], "multiclass", classes=fitted.classes)


@cache
def encoder(lower: bool = True) -> Pieces:
    return Pieces.fit(few().train, ["title"], wordpiece(lower=lower).to_str(), length=24)


def graph_of(encoder: Pieces) -> onnxruntime.InferenceSession:
    """The part of the graph that cuts texts, alone."""
    graph = Graph(encoder.inputs)
    answer = pieces(graph, encoder)
    model = graph.model([onnx.helper.make_tensor_value_info(
        answer, ELEMENTS["long"], ["N", encoder.length])])
    return onnxruntime.InferenceSession(model.SerializeToString(),
                                        providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("lower", [True, False])
def test_known_words_become_the_very_pieces_of_the_tokenizer(lower: bool) -> None:
    made, found = wordpiece(lower=lower), encoder(lower)
    titles = [title for title in few().train["title"] if title.isascii()]
    known = [title for title in titles if set(found.split(title)) <= set(found.words)
             and made.token_to_id("[UNK]") + 1 not in found.cut(found.split(title))]
    assert len(known) > 30
    [codes] = found.transform(pd.DataFrame({"title": known}))
    made.enable_truncation(found.length)
    made.enable_padding(length=found.length)
    assert np.maximum(codes - 1, 0).tolist() == [item.ids for item in made.encode_batch(known)]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.text(), st.lists(st.sampled_from(
    ["the", "Quantum", "FIELDS", "x2", "é", "\u00a0", "—", "日本", "-", "(", "zzz", "\n", "'"]),
    max_size=30).map(" ".join)), min_size=1, max_size=4), st.booleans())
def test_the_graph_cuts_as_python_does(rows: list[str], lower: bool) -> None:
    frame = pd.DataFrame({"title": pd.Series(rows, dtype=object)})
    [asked] = encoder(lower).transform(frame)
    [got] = cutter(lower).run(None, {"title": frame[["title"]].to_numpy(object)})
    np.testing.assert_array_equal(got, asked)


@cache
def cutter(lower: bool) -> onnxruntime.InferenceSession:
    return graph_of(encoder(lower))


def test_merged_matrices_answer_as_they_did_beside_the_body(champion: Network) -> None:
    rows = few().holdout
    [given] = map(torch.from_numpy, champion.encoder.transform(rows))
    module = Transformer(champion.spec)
    module.load_state_dict(champion.module.state_dict())
    module.eval()
    with torch.no_grad():
        before = module(given)
        adapt(module, 4, 0)
        torch.testing.assert_close(module(given), before)
        for name, value in module.named_parameters():
            if "lora_B" in name:
                value.normal_(std=0.05)
        module.eval()
        beside = module(given)
        merge(module)
        after = module(given)
    assert float((beside - before).abs().max()) > 0.01
    torch.testing.assert_close(after, beside, atol=1e-5, rtol=1e-5)
    assert all(item.requires_grad for item in module.parameters())
    assert not any("lora" in name for name in module.state_dict())


def test_it_learns_repeatably_and_leaves_the_rest_of_the_body(
        champion: Network, options: Options, folder: Path) -> None:
    assert champion.loss < champion.history[0]["validation_loss"] - 0.05
    assert same_weights(champion, Passages().fresh(few(), options))
    before = pretrained(str(folder)).body.state_dict()
    after = champion.module.body.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.endswith("weight") and "embeddings" not in name for name in changed)
    later = replace(few(), train=few().train.assign(title=few().train["title"] + " graphenomics"))
    tuned = Passages().tuned(champion, later, replace(options, epochs=1, head_epochs=1))
    assert "graphenomics" in tuned.encoder.words
    assert tuned.history[-1]["epoch"] == 2
    assert same_weights(champion, Passages().fresh(few(), options)), "the start stays as it is"


@pytest.fixture(scope="module")
def small(champion: Network, options: Options) -> Network:
    return Passages().pruned(champion, 0.5, few(), options=replace(options, epochs=1))


def test_only_inner_units_of_feeding_layers_go(champion: Network, small: Network, tmp_path: Path
                                               ) -> None:
    assert small.spec.inner == (32, 32)
    assert small.module.head.in_features == champion.module.head.in_features
    loaded = Passages().load(Passages().save(small, tmp_path / "weights.safetensors"))
    assert (loaded.spec, loaded.encoder) == (small.spec, small.encoder)
    torch.testing.assert_close(output(loaded, few().holdout), output(small, few().holdout))


def test_the_artifact_takes_raw_text_and_answers_as_torch_does(small: Network, tmp_path: Path
                                                               ) -> None:
    rows = few().holdout.head(80).copy()
    rows.loc[3, "title"] = None
    rows.loc[4, "title"] = ""
    expected = probabilities(small, rows)
    path = Passages().export(small, contract(small), tmp_path / "fp32.onnx")
    got = columns(session(path), rows)
    shares = np.stack([got[f"probability_{name}"] for name in small.classes], axis=1)
    np.testing.assert_allclose(shares, expected, atol=1e-5)
    assert path.read_bytes() == Passages().export(
        small, contract(small), tmp_path / "again.onnx").read_bytes()
    target = Passages().quantized(path, tmp_path / "int8.onnx", calibration=few().train)
    close = columns(session(target), rows)
    assert np.mean(got["prediction"] != close["prediction"]) < 0.1
    kinds = Counter(node.op_type for node in onnx.load(target).graph.node)
    assert kinds["MatMulInteger"] + kinds["DynamicQuantizeMatMul"] >= 8
    assert target.stat().st_size < 0.75 * path.stat().st_size


def test_pieces_that_no_word_is_cut_into_are_left_out(champion: Network) -> None:
    fewer = replace(champion.encoder, words=champion.encoder.words[:50])
    whole = Network(champion.module, champion.spec, fewer)
    bare = confined(whole)
    assert bare.module.body.get_input_embeddings().num_embeddings < 200
    torch.testing.assert_close(output(bare, few().holdout), output(whole, few().holdout))


def test_other_encoders_are_taken_too(tmp_path: Path) -> None:
    place = adopted(tmp_path / "distilbert", "distilbert")
    fitted = Passages().fresh(few(), replace(TINY, epochs=1, settings={
        **TINY.settings, "folder": str(place)}))
    assert len(fitted.module.feeding) == 1


def test_folders_that_cannot_be_adopted_are_told_in_words(folder: Path, tmp_path: Path) -> None:
    def refused(words: str, **settings: object) -> None:
        with pytest.raises(HoldfastError, match=words):
            Passages().fresh(few(), replace(TINY, settings={"columns": ["title"], **settings}))

    def told(name: str, **changes: object) -> str:
        copy = adopted(tmp_path / name)
        config = json.loads((copy / "config.json").read_text())
        (copy / "config.json").write_text(json.dumps(config | changes))
        return str(copy)

    refused("folder: absent")
    refused("holds no config.json and no tokenizer.json", folder=str(tmp_path / "none"))
    refused("code of its own", folder=told("code", auto_map={"AutoModel": "mine.Model"}))
    refused("writes texts", folder=told("decoder", is_decoder=True))
    refused("knows .* pieces", folder=told("pieces", vocab_size=100))
    pickled = adopted(tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    refused("pickles are not read", folder=str(pickled))
    bytewise = adopted(tmp_path / "bytewise")
    made = json.loads((bytewise / "tokenizer.json").read_text())
    made["model"] = {"type": "BPE", "vocab": made["model"]["vocab"], "merges": []}
    (bytewise / "tokenizer.json").write_text(json.dumps(made))
    refused("kind BPE cannot be drawn", folder=str(bytewise))
    refused("known to this trainer", folder=str(folder), heads=2)


def test_a_missing_extra_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrain.trainers.importable", lambda name: name != "peft")
    with pytest.raises(HoldfastError, match=r"needs peft.*holdfast\[retrain,transformers\]"):
        trainer("transformers-text")


def configured(place: Path, folder: Path) -> Path:
    """A model whose log holds a title, its answer and its label a row."""
    frame = texts().train[["title", "_label"]].rename(columns={"_label": "label"})
    frame["timestamp"] = pd.date_range("2024-01-01", periods=len(frame), freq="7min", tz="UTC")
    frame["answer"], frame["version"] = frame["label"], "1"
    frame.to_parquet(place / "log.parquet", index=False)
    config = {"mlflow": {"tracking_uri": founded(f"sqlite:///{place / 'mlflow.db'}")}, "models": [{
        "name": "papers", "task": "multiclass",
        "log": {"source": "log.parquet", "timestamp": "timestamp", "model_version": "version",
                "prediction": "answer", "label": "label"},
        "maturity": {"delay": "1h"},
        "reference": {"from": "2024-01-01T00:00:00Z", "to": "2024-01-15T00:00:00Z"},
        "training": {"kind": "transformers-text", "window": "15d", "holdout": "4d", "epochs": 1,
                     "prune": [0.5], "accuracy_budget": 0.5, "renew": False,
                     "settings": {"folder": str(folder), "length": 16}}}]}
    path = place / "holdfast.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_a_whole_job_ends_in_a_small_version(tmp_path: Path) -> None:
    path = configured(tmp_path, adopted(tmp_path / "distilbert", "distilbert"))
    outcome = work(Request("papers-bootstrap-1", "bootstrap", "papers", str(path),
                           parse_time("2024-01-20T12:00:00Z"), reason="the test asks",
                           options={"report": False}), tmp_path)
    assert (outcome.status, outcome.version) == ("registered", "1"), outcome.reason
    assert outcome.result["point"] == "pruned-50-int8", outcome.result

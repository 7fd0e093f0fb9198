"""Check: every mistake at once, what is switched off, what is set aside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from tests.monitor.command import configured, holdfast

DAYS = 40


@pytest.fixture
def log(tmp_path: Path) -> dict[str, Any]:
    """A log of 40 days, its labels in another table, as a mapping that is right."""
    at = pd.date_range("2026-01-01", periods=DAYS * 24, freq="h")
    rows = pd.DataFrame({"at": at, "request": range(len(at)), "serial": range(len(at)),
                         "guess": ["yes", "no"] * (len(at) // 2),
                         "likely": [0.7, 0.2] * (len(at) // 2),
                         "size": [row % 17 for row in range(len(at))],
                         "session": [f"s{row}" for row in range(len(at))],
                         "same": 1.0, "zone": ["a", "b", "c"] * (len(at) // 3)})
    rows.to_parquet(tmp_path / "log.parquet", index=False)
    pd.DataFrame({"key": rows["request"], "truth": rows["guess"], "known": at}).to_parquet(
        tmp_path / "labels.parquet", index=False)
    return {"source": "log.parquet", "timestamp": "at", "ingested_at": "at", "id": "request",
            "prediction": "guess", "score": "likely", "positive_label": "yes",
            "labels": {"source": "labels.parquet", "id": "key", "value": "truth",
                       "timestamp": "known"}, "segments": ["zone"]}


def mistakes(folder: Path, *models: dict[str, Any], **settings: Any) -> list[str]:
    said = holdfast("check", configured(folder, *models, **settings), "--json")
    assert said.code == (2 if said.json["mistakes"] else 0)
    found: list[str] = said.json["mistakes"]
    return found


def test_a_trainer_that_is_not_there_is_found_before_it_is_needed(tmp_path: Path,
                                                                  log: dict[str, Any]) -> None:
    [said] = mistakes(tmp_path, {"name": "a", "log": log,
                                 "training": {"kind": "no_such.place:Trainer"}})
    assert "models[0].training.kind: no module 'no_such.place' can be imported here" in said
    assert not mistakes(tmp_path, {"name": "a", "log": log, "training": {"kind": "json:tool"}})


def test_golden_sets_must_be_there_with_their_labels(tmp_path: Path, log: dict[str, Any]) -> None:
    pd.DataFrame({"at": ["2026-01-01"], "size": [1], "truht": ["yes"]}).to_parquet(
        tmp_path / "golden.parquet")
    sets = [{"name": "fine", "source": "golden.parquet", "label": "truht"},
            {"name": "typo", "source": "golden.parquet"}, {"name": "gone", "source": "no.parquet"}]
    typo, gone = mistakes(tmp_path, {"name": "a", "log": log, "benchmarks": sets})
    assert typo == ("models[0].benchmarks[1].label: 'truth' is not a column; did you mean "
                    "'truht'?")
    assert gone.startswith("models[0].benchmarks[2].source: ")
    assert "no.parquet" in gone


def test_a_right_configuration_names_what_is_watched_and_what_is_set_aside(
        tmp_path: Path, log: dict[str, Any]) -> None:
    file = configured(tmp_path, {"name": "a", "log": log})
    said = holdfast("check", file, "--json")
    assert said.code == 0
    found = said.json
    assert found["mistakes"] == []
    assert found["features"] == {"a": ["serial", "size", "session", "same", "zone"]}
    assert set(found["set_aside"]["a"]) == {"serial", "session"}
    assert found["warnings"] == [
        "models[0].registered_model: 'a' has no alias `champion`: nothing is judged until somebody "
        "sets it (or `holdfast retrain --bootstrap` trains one)"]
    words = holdfast("check", file)
    assert "a: watches 3 features: size, same, zone" in words.out
    assert "a: sets serial aside: " in words.out
    assert words.out.endswith("the configuration is fine\n")


def test_every_shape_mistake_is_named_with_its_path_and_what_would_be_right(tmp_path: Path) -> None:
    wrong = {"name": "bad name!", "task": "poetry", "surprise": 1,
             "log": {"source": "x.parquet", "timestam": "at", "timezone": "Mars/Base", "score": 5},
             "reference": {"from": "2026-02-01", "to": "2026-01-01"},
             "window": {"length": "1d", "step": "5h"},
             "policy": {"alarm_budget": "lots", "retrain": {"on": ["angry"]}}}
    found = mistakes(tmp_path, wrong, http={"port": 99999}, schedule={"every": "0s", "jitter": "-"})
    assert found == [
        "schedule.every: '0s'; right would be at least 1 second",
        "schedule.jitter: '-' is not a duration; write a number and a unit, such as 90s, 15m, 1h, "
        "7d or 2w",
        "http.port: 99999; right would be at most 65535",
        "models[0].name: 'bad name!'; right would be text that matches "
        "^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$",
        "models[0].task: 'poetry'; right would be 'binary', 'multiclass' or 'regression'",
        "models[0].log.timestamp: absent, and there is no default",
        'models[0].log.score: 5; right would be text, in quotes: "5" or a mapping of keys to '
        "values",
        "models[0].log.timestam: unknown key; did you mean 'timestamp'?",
        "models[0].reference.to: 2026-01-01T00:00:00Z; right would be a time after `from`",
        "models[0].window.step: 5h; right would be a divisor of the length 1d",
        "models[0].policy.alarm_budget: 'lots' is no number per time; write `1 per 90d`",
        "models[0].policy.retrain.on[0]: 'angry'; right would be 'losing', 'degraded', "
        "'drifted', 'estimated' or 'compression'",
        "models[0].surprise: unknown key; right would be one of name, registered_model, task, log, "
        "maturity, reference, window, privacy, policy, training, benchmarks, audit"]


def test_a_number_where_a_text_belongs_is_told_with_the_text(tmp_path: Path) -> None:
    log = {"source": "x.parquet", "timestamp": "at", "prediction": "answer"}
    assert mistakes(tmp_path, {"name": 12, "log": log | {"positive_label": True},
                               "policy": {"alarm_budget": 3}}) == [
        'models[0].name: 12; right would be text, in quotes: "12"',
        'models[0].log.positive_label: True; right would be text, in quotes: "true"',
        "models[0].policy.alarm_budget: 3 is no number per time; write `1 per 90d`"]


def test_every_column_that_is_not_there_is_named_at_once(
        tmp_path: Path, log: dict[str, Any]) -> None:
    wrong = {"name": "a", "log": log | {
        "timestamp": "att", "ingested_at": "arrived", "prediction": "gues", "score": "likel",
        "labels": {"source": "labels.parquet", "id": "kee", "value": "truth", "timestamp": "x"},
        "segments": ["zon"], "features": {"include": ["siz"], "categorical": ["ser"]}},
        "reference": {"source": "absent.parquet"}, "privacy": {"drop": ["sessio"], "hash": ["q"]}}
    other = {"name": "b", "log": log | {"source": "absent/*.parquet"}}
    found = mistakes(tmp_path, wrong, other, store="mysql://u:hunter22@host/db")
    assert [line.partition(": ")[0] for line in found] == [
        "store", *(f"models[0].{key}" for key in (
            "reference.source", "log.timestamp", "log.ingested_at", "log.prediction", "log.score",
            "log.labels.id", "log.labels.timestamp", "log.features.include[0]",
            "log.features.categorical[0]", "log.segments[0]", "privacy.drop[0]",
            "privacy.hash[0]")), "models[1].log"]
    assert "'gues' is not a column; did you mean 'guess'?" in found[4]
    assert "'arrived' is not a column; right would be one of at, guess, likely, " in found[3]
    assert "mysql:// is not supported; right would be sqlite:///FILE or postgresql" in found[0]
    assert "no file matches" in found[-1]
    assert "hunter22" not in "".join(found)


def test_values_that_cannot_be_right_are_named(tmp_path: Path, log: dict[str, Any]) -> None:
    plain = {key: log[key] for key in ("source", "prediction")}
    pd.read_parquet(tmp_path / "log.parquet").iloc[:0].to_parquet(tmp_path / "empty.parquet")
    found = mistakes(
        tmp_path, {"name": "text", "log": plain | {"timestamp": "session"}},
        {"name": "empty", "log": plain | {"timestamp": "at"},
         "reference": {"from": "2030-01-01", "to": "2030-02-01"}},
        {"name": "class", "log": log | {"positive_label": "YES"}},
        {"name": "none", "log": {"source": "log.parquet", "timestamp": "at",
                                 "features": {"include": []}}},
        {"name": "rows", "log": plain | {"source": "empty.parquet", "timestamp": "at"}})
    assert [line.partition(";")[0] for line in found] == [
        "models[0].log.timestamp: no row has an instant in 'session', if there are rows",
        "models[1].reference: holds no rows",
        "models[2].log.positive_label: 'YES' is no class of the reference",
        "models[3].log.features: no column is left to watch",
        "models[4].log.timestamp: no row has an instant in 'at', if there are rows"]
    assert found[2].endswith("as the log writes it: no, yes")
    assert found[0].endswith("or texts such as 2026-01-31T06:00:00Z")


def test_labels_that_no_answer_can_equal_are_named(tmp_path: Path, log: dict[str, Any]) -> None:
    rows = pd.read_parquet(tmp_path / "log.parquet")
    rows["truth"] = rows["guess"]
    plain = {"source": "log.parquet", "timestamp": "at", "prediction": "guess", "label": "truth"}
    for labels in ([1, 0], [True, False]):
        rows["truth"] = labels * (len(rows) // 2)
        rows.to_parquet(tmp_path / "log.parquet", index=False)
        [said] = mistakes(tmp_path, {"name": "a", "log": plain})
        assert said.startswith("models[0].log.label: labels are ")
        assert "answers are no, yes: each of them would count as wrong" in said
    for answers, labels in (([1, 0], [1.0, 0.0]), (["yes", "no"], ["no", "no"])):
        rows["guess"], rows["truth"] = answers * (len(rows) // 2), labels * (len(rows) // 2)
        rows.to_parquet(tmp_path / "log.parquet", index=False)
        assert not mistakes(tmp_path, {"name": "a", "log": plain})
    assert "watches 1 feature: size" in holdfast("check", configured(
        tmp_path, {"name": "a", "log": plain | {"features": {"include": ["size"]}}})).out


def test_what_every_absent_optional_key_switches_off(tmp_path: Path, log: dict[str, Any]) -> None:
    plain = {"source": "log.parquet", "timestamp": "at", "features": {"include": ["size"]}}
    scored = {**plain, "score": "likely"}
    said = holdfast("check", configured(tmp_path, {"name": "a", "log": plain},
                                        {"name": "b", "log": scored},
                                        {"name": "c", "log": log, "training": {"kind": "torch"},
                                         "reference": {"from": "2026-01-01", "to": "2026-02-01"}}),
                    "--json")
    notes = said.json["switched_off"]
    assert [note.split("): ")[1].partition(" is ")[0] for note in notes if "(a)" in note] == [
        "log.ingested_at", "log.id", "log.model_version", "log.prediction", "log.score",
        "log.label or log.labels", "log.segments", "reference", "training.kind"]
    assert any("(b)" in note and "log.positive_label is absent" in note for note in notes)
    assert [note for note in notes if "(c)" in note] == [
        "models[2] (c): log.model_version is absent: every row is taken as the champion's: "
        "versions cannot be told apart"]


def test_a_log_that_is_too_young_is_a_warning(tmp_path: Path, log: dict[str, Any]) -> None:
    young = {"name": "a", "log": log, "window": {"length": "2d"}}
    said = holdfast("check", configured(tmp_path, young), "--json")
    assert said.code == 0
    assert "too little for a reference" in said.json["warnings"][1]


def test_databases_say_which_table_they_miss(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "logs.duckdb")) as connection:
        connection.execute("CREATE TABLE log AS SELECT now()::TIMESTAMP AS at, 1 AS size")
    found = mistakes(
        tmp_path,
        *({"name": f"m{index}", "log": {"timestamp": "at", **log}} for index, log in enumerate((
            {"source": "duckdb://logs.duckdb", "table": "logg"}, {"source": "duckdb://logs.duckdb"},
            {"source": "duckdb://absent.duckdb", "table": "log"},
            {"source": "postgresql://u:hunter22@127.0.0.1:1/db", "table": "log"}))))
    for line, words in zip(found, ('"log"', "needs `table` or `query`", "no such file",
                                   "postgresql://u:***@127.0.0.1:1/db: the server does not answer"),
                           strict=True):
        assert words in line
